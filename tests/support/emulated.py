"""A vendor that tests can take away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from flagbrake.ports.vendor_sdk import SdkProvider

_PATIENT: Final = 20.0
_SHORT: Final = 1.0


class _Emulator(Protocol):
    def start(self) -> object: ...

    def stop(self) -> object: ...


class Emulated:
    """An emulator and what was made over it. A start takes what a busy machine takes, and is short without a vendor."""

    emulator: _Emulator
    providers: Sequence[SdkProvider]
    #: Seconds that a provider made now waits for data.
    start_timeout: float = _PATIENT

    def away(self) -> None:
        """The vendor stops."""
        self._wait(_SHORT)
        self.emulator.stop()

    def back(self) -> None:
        """It is there again."""
        self.emulator.start()
        self._wait(_PATIENT)

    def _wait(self, seconds: float) -> None:
        self.start_timeout = seconds
        for provider in self.providers:
            provider._timeout = seconds
