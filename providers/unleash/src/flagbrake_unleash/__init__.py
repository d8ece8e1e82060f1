"""Unleash for flagbrake: the SDK as an OpenFeature provider, the admin API as a control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagbrake_unleash.adapter import UnleashAdapter
    from flagbrake_unleash.control import UnleashControl
    from flagbrake_unleash.provider import UnleashProvider

__all__ = ["UnleashAdapter", "UnleashControl", "UnleashProvider"]

_HOMES = {"UnleashAdapter": "adapter", "UnleashControl": "control", "UnleashProvider": "provider"}


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): an agent loads no httpx, the control plane no SDK.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"flagbrake_unleash.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
