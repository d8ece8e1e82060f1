"""LaunchDarkly for flagbrake: the SDK as an OpenFeature provider, the management API as a control."""

from flagbrake_launchdarkly.adapter import LaunchDarklyAdapter

__all__ = ["LaunchDarklyAdapter"]
