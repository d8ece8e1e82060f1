"""What this process runs with: the board, the guard, where outcomes go. Set once, by wiring."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

from openfeature.provider import FeatureProvider

from flagbrake.errors import ConfigError
from flagbrake.kill.board import Board
from flagbrake.model.outcome import Outcome


class Recorder(Protocol):
    """Takes outcomes; never blocks, never raises."""

    def put(self, outcome: Outcome) -> bool:
        """False when it was dropped."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The data plane of one process.

    ``provider`` is the guard that was given to OpenFeature; ``domain`` the client domain it was bound to
    (``None``: the default one); ``queue`` is ``None`` where outcomes go nowhere.
    """

    board: Board
    environment: str = ""
    provider: FeatureProvider | None = None
    queue: Recorder | None = None
    domain: str | None = None


_lock = threading.Lock()
_installed: list[Runtime] = []


def install(runtime: Runtime) -> Runtime:
    """Make ``runtime`` the current one of this process; return it."""
    with _lock:
        _installed.append(runtime)
    return runtime


def uninstall(runtime: Runtime | None = None) -> None:
    """Take away ``runtime``, or the current one; the one installed before it becomes current again."""
    with _lock:
        if runtime is None:
            del _installed[-1:]
        else:
            _installed[:] = [r for r in _installed if r is not runtime]


def installed() -> Runtime | None:
    """The current runtime, ``None`` when there is none."""
    try:
        return _installed[-1]
    except IndexError:
        return None


def current() -> Runtime:
    """The current runtime.

    Raises:
        ConfigError: nothing is installed, so nothing could be killed.
    """
    try:
        return _installed[-1]
    except IndexError:
        raise ConfigError(
            "No kill switch is installed in this process: flagbrake.provider() was not called.",
            cure="api.set_provider(flagbrake.provider()) at the start of the program",
        ) from None
