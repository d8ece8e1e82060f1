"""Puts the rooms together: the provider for agents, the control plane for operators."""

from __future__ import annotations

from flagbrake.wiring.agent import provider
from flagbrake.wiring.settings import configuration
from flagbrake.wiring.plane import ControlPlane, control_plane

__all__ = ["ControlPlane", "configuration", "control_plane", "provider"]
