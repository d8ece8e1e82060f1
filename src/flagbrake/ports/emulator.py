"""A vendor on this machine: what ``flagbrake emulate`` starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self


class Emulator(ABC):
    """A local server that speaks a vendor's protocol, or the vendor's real server on loopback."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, once it is started."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """The adapter's table of flagbrake.toml that points an agent at it."""

    @property
    @abstractmethod
    def admin_settings(self) -> Mapping[str, Any]:
        """The adapter's table of flagbrake.admin.toml that points the control plane at it."""

    @abstractmethod
    def start(self) -> Self:
        """Start; returns when it answers.

        Raises:
            ConfigError: the port is taken, or the file cannot be used.
            MissingExtra: what it is made of is not installed.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop; nothing is left running. It may be started again and keeps its port."""

    @abstractmethod
    def wait(self) -> None:
        """Block until it is stopped, or until Ctrl-C (KeyboardInterrupt)."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
