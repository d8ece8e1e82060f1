"""Feature flags with a brake: OpenFeature over several vendors, one kill switch, rollouts that roll back.

::

    from openfeature import api
    import flagbrake

    api.set_provider_and_wait(flagbrake.provider())
    api.get_client().get_boolean_value("new-search", False)

Public names load on first use, so ``import flagbrake`` costs an agent next to nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flagbrake._version import __version__

if TYPE_CHECKING:
    from flagbrake.errors import FlagbrakeError, Halted, ToolDenied
    from flagbrake.kill import halt
    from flagbrake.outcomes.run import report, run
    from flagbrake.wiring import control_plane, provider, swap_provider

_HOMES = {
    "FlagbrakeError": "flagbrake.errors",
    "Halted": "flagbrake.errors",
    "ToolDenied": "flagbrake.errors",
    "control_plane": "flagbrake.wiring",
    "provider": "flagbrake.wiring",
    "report": "flagbrake.outcomes.run",
    "run": "flagbrake.outcomes.run",
    "swap_provider": "flagbrake.wiring",
}

# A library is silent until its user says where its log goes.
logging.getLogger("flagbrake").addHandler(logging.NullHandler())

__all__ = [
    "FlagbrakeError",
    "Halted",
    "ToolDenied",
    "__version__",
    "control_plane",
    "halt",
    "provider",
    "report",
    "run",
    "swap_provider",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "halt":
        return importlib.import_module("flagbrake.kill.halt")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'flagbrake' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
