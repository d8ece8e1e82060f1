"""Finds adapters and notifiers by the entry points of installed distributions."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from flagbrake.errors import ConfigError, MissingExtra, UnknownProvider
from flagbrake.ports.adapter import ADAPTER_API, Adapter

if TYPE_CHECKING:
    from flagbrake.ports.notify import Notifier

#: Adapters that have an extra of this name, installed or not.
OURS: Final = ("launchdarkly", "split", "sql", "unleash")


def adapter_names() -> tuple[str, ...]:
    """The installed adapters, sorted."""
    return tuple(sorted(_points("flagbrake.adapters")))


def adapter(name: str) -> Adapter:
    """Load one adapter.

    Raises:
        UnknownProvider: nothing installed has this name.
        MissingExtra: it is installed, but something it needs is not.
        ConfigError: it was made for another version of the adapter port.
    """
    point = _points("flagbrake.adapters").get(name)
    if point is None:
        installed = ", ".join(adapter_names()) or "none"
        raise UnknownProvider(f"No provider '{name}'. Installed: {installed}.", cure=_cure(name))
    try:
        made: Adapter = point.load()()
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"Provider '{name}' needs the module '{error.name}', which is not installed.",
            cure=f"pip install 'flagbrake[{name}]'",
        ) from error
    if made.api != ADAPTER_API:
        raise ConfigError(
            f"Provider '{name}' speaks version {made.api} of the adapter port, this flagbrake speaks {ADAPTER_API}.",
            cure="install the same minor version of both",
        )
    return made


def notifier(name: str) -> type[Notifier]:
    """Load one notifier class.

    Raises:
        ConfigError: nothing installed has this name.
    """
    points = _points("flagbrake.notifiers")
    point = points.get(name)
    if point is None:
        raise ConfigError(f"No notifier '{name}'. Installed: {', '.join(sorted(points)) or 'none'}.")
    loaded: type[Notifier] = point.load()
    return loaded


def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _cure(name: str) -> str:
    if name in OURS:
        return f"pip install 'flagbrake[{name}]'"
    near = difflib.get_close_matches(name, {*OURS, *adapter_names()}, n=1)
    return f'use = "{near[0]}"' if near else "pip install the distribution that offers it"
