"""Puts the rooms together: the provider for agents, the control plane for operators.

Names load on first use: an agent process never imports the control plane.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from flagbrake.wiring.agent import Parts, provider, provider_parts
    from flagbrake.wiring.handover import swap_provider
    from flagbrake.wiring.plane import ControlPlane, control_plane
    from flagbrake.wiring.settings import configuration

__all__ = ["ControlPlane", "Parts", "configuration", "control_plane", "provider", "provider_parts", "swap_provider"]

_HOMES: Final = {
    "ControlPlane": "plane",
    "Parts": "agent",
    "configuration": "settings",
    "control_plane": "plane",
    "provider": "agent",
    "provider_parts": "agent",
    "swap_provider": "handover",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"flagbrake.wiring.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'flagbrake.wiring' has no attribute '{name}'")
