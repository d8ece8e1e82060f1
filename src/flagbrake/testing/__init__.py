"""For tests of programs that use flags: a provider, a control, a lock and a clock in memory, and fixtures.

Installed as a pytest plugin: ``override_flag`` and ``kill`` are there without an import. Importing this
module loads nothing else; the names below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagbrake.testing.clock import FakeClock
    from flagbrake.testing.control import MemoryControl
    from flagbrake.testing.lock import MemoryLock
    from flagbrake.testing.provider import MemoryProvider, Tracked

if "pytest" in sys.modules:
    # pytest collects fixtures from its plugins' names; a demo or a notebook does without.
    from flagbrake.testing.fixtures import kill as kill
    from flagbrake.testing.fixtures import override_flag as override_flag

__all__ = ["FakeClock", "MemoryControl", "MemoryLock", "MemoryProvider", "Tracked"]

_HOMES = {
    "FakeClock": "clock",
    "MemoryControl": "control",
    "MemoryLock": "lock",
    "MemoryProvider": "provider",
    "Tracked": "provider",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'flagbrake.testing' has no attribute '{name}'")
    return getattr(importlib.import_module(f"flagbrake.testing.{home}"), name)
