"""The adapter: makes the Split (Harness FME) provider and its control from the settings."""

from __future__ import annotations

from typing import ClassVar

from flagbrake.errors import Unsupported
from flagbrake.ports.adapter import Adapter, AdapterSettings
from flagbrake.ports.control import FlagControl
from flagbrake.ports.provider import FlagProvider


class SplitAdapter(Adapter):
    """Split (Harness FME)."""

    name: ClassVar[str] = "split"

    def provider(self, settings: AdapterSettings) -> FlagProvider:
        """The data plane."""
        raise Unsupported("'split' cannot do this yet: provider.")

    def control(self, settings: AdapterSettings) -> FlagControl:
        """The control plane."""
        raise Unsupported("'split' cannot do this yet: control.")
