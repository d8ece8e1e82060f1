"""LaunchDarkly on this machine: the SDKs' protocol and the management API, for development and tests.

``with LaunchDarklyEmulator() as launchdarkly:`` serves both at ``launchdarkly.url``.
"""

from flagbrake_launchdarkly.emulator.emulator import LaunchDarklyEmulator

__all__ = ["LaunchDarklyEmulator"]
