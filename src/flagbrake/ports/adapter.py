"""What an adapter distribution offers under the entry point ``flagbrake.adapters``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from flagbrake.errors import Unsupported
from flagbrake.ports.control import FlagControl
from flagbrake.ports.emulator import Emulator
from flagbrake.ports.provider import FlagProvider

#: The version of this port; an adapter made for another one is refused at load.
ADAPTER_API: Final = 1


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """The store, and the feed this process reads it through (``None`` in the control plane).

    Typed loosely here: ports stand below the store, and only the SQL adapter looks inside.
    """

    store: Any
    feed: Any = None


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What wiring hands to an adapter.

    ``options`` is the adapter's table of the TOML file with secrets already resolved. ``store`` is there
    when a store is configured.
    """

    project: str
    environment: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    store: StoreAccess | None = None


class Adapter(ABC):
    """Makes the two halves of one vendor."""

    api: ClassVar[int] = ADAPTER_API
    name: ClassVar[str]
    #: Keys allowed in the adapter's table, each with one line of help; a key that is not here is an error.
    options: ClassVar[Mapping[str, str]] = {}
    #: Options only the control plane may read (admin tokens).
    admin_options: ClassVar[frozenset[str]] = frozenset()
    #: True if the adapter reads its flags from the store itself.
    needs_store: ClassVar[bool] = False

    @abstractmethod
    def provider(self, settings: AdapterSettings) -> FlagProvider:
        """The data plane; opens nothing before ``initialize``."""

    @abstractmethod
    def control(self, settings: AdapterSettings) -> FlagControl:
        """The control plane."""

    def emulator(self, *, environment: str, port: int = 0, file: Path | None = None) -> Emulator:
        """The vendor on this machine, not started: for development and tests without an account.

        Args:
            environment: the environment whose keys its ``settings`` hold.
            port: on loopback; 0 takes a free one.
            file: where its state is kept between two runs; in memory only unless given.

        Raises:
            Unsupported: this adapter brings none.
        """
        raise Unsupported(f"There is no emulator for '{self.name}'.")
