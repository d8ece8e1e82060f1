"""The adapter: makes the LaunchDarkly provider and its control from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from flagbrake.ports.adapter import Adapter, AdapterSettings
from flagbrake.ports.control import FlagControl
from flagbrake.ports.emulator import Emulator
from flagbrake.ports.provider import FlagProvider
from flagbrake_launchdarkly.options import AGENT_OPTIONS, CONTROL_OPTIONS, ApiOptions, SdkOptions


class LaunchDarklyAdapter(Adapter):
    """LaunchDarkly."""

    name: ClassVar[str] = "launchdarkly"
    options: ClassVar[Mapping[str, str]] = MappingProxyType({**AGENT_OPTIONS, **CONTROL_OPTIONS})
    admin_options: ClassVar[frozenset[str]] = frozenset({"api_token"})

    def provider(self, settings: AdapterSettings) -> FlagProvider:
        """The data plane; the vendor's SDK is loaded when it starts.

        Raises:
            ConfigError: an option that cannot be used, or no SDK key.
        """
        from flagbrake_launchdarkly.provider import LaunchDarklyProvider  # late: the control plane does without

        return LaunchDarklyProvider(SdkOptions.read(settings.options))

    def control(self, settings: AdapterSettings) -> FlagControl:
        """The control plane, through the management API.

        Raises:
            ConfigError: an option that cannot be used, or no token.
        """
        from flagbrake_launchdarkly.control import LaunchDarklyControl  # late: agents never write

        options = ApiOptions.read(settings.options, project=settings.project, environment=settings.environment)
        return LaunchDarklyControl(options, project=settings.project, environment=settings.environment)

    def emulator(self, *, environment: str, port: int = 0, file: Path | None = None) -> Emulator:
        """LaunchDarkly on this machine.

        Raises:
            ConfigError: the file holds something else.
            MissingExtra: starlette or uvicorn is not installed.
        """
        from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator  # late: only who emulates needs it

        return LaunchDarklyEmulator(environment=environment, port=port, file=file)
