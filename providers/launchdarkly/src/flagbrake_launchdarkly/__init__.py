"""LaunchDarkly for flagbrake: the SDK as an OpenFeature provider, the management API as a control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagbrake_launchdarkly.adapter import LaunchDarklyAdapter
    from flagbrake_launchdarkly.control import LaunchDarklyControl
    from flagbrake_launchdarkly.provider import LaunchDarklyProvider

__all__ = ["LaunchDarklyAdapter", "LaunchDarklyControl", "LaunchDarklyProvider"]

_HOMES = {"LaunchDarklyAdapter": "adapter", "LaunchDarklyControl": "control", "LaunchDarklyProvider": "provider"}


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): loading the adapter must not load the vendor's SDK.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"flagbrake_launchdarkly.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
