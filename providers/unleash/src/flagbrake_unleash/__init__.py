"""Unleash for flagbrake: the SDK as an OpenFeature provider, the management API as a control."""

from flagbrake_unleash.adapter import UnleashAdapter

__all__ = ["UnleashAdapter"]
