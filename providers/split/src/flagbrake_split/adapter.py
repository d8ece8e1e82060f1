"""The adapter: makes the Split (Harness FME) provider and its control from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from flagbrake.ports.adapter import Adapter, AdapterSettings
from flagbrake.ports.control import FlagControl
from flagbrake.ports.emulator import Emulator
from flagbrake.ports.provider import FlagProvider
from flagbrake_split.options import ADMIN_OPTIONS, CONTROL_OPTIONS, ApiOptions
from flagbrake_split.sdk_options import AGENT_OPTIONS, SdkOptions


class SplitAdapter(Adapter):
    """Split (Harness FME)."""

    name: ClassVar[str] = "split"
    options: ClassVar[Mapping[str, str]] = MappingProxyType({**AGENT_OPTIONS, **CONTROL_OPTIONS})
    admin_options: ClassVar[frozenset[str]] = ADMIN_OPTIONS

    def provider(self, settings: AdapterSettings) -> FlagProvider:
        """The data plane; the vendor's SDK is loaded when it starts.

        Raises:
            ConfigError: an option that cannot be used, or no SDK key.
        """
        from flagbrake_split.provider import SplitProvider  # late: the control plane does without

        return SplitProvider(SdkOptions.read(settings.options))

    def control(self, settings: AdapterSettings) -> FlagControl:
        """The control plane; nothing is asked before it is used.

        Raises:
            ConfigError: an option that cannot be used, or no admin key.
        """
        from flagbrake_split.api_v2 import ApiV2  # late: agents do without
        from flagbrake_split.control import SplitControl

        options = ApiOptions.read(settings.options, project=settings.project, environment=settings.environment)
        api = ApiV2.connect(
            key=options.admin_key,
            workspace=options.workspace,
            environment=options.environment_name,
            url=options.admin_url,
            traffic_type=options.traffic_type,
            harness=options.harness,
            timeout=options.admin_timeout,
        )
        return SplitControl(api, project=settings.project, environment=settings.environment)

    def emulator(self, *, environment: str, port: int = 0, file: Path | None = None) -> Emulator:
        """Split on this machine, not started."""
        from flagbrake_split.emulator import SplitEmulator  # late: it needs the extra [emulator]

        return SplitEmulator(environment, port=port, file=file)
