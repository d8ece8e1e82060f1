"""The adapter: makes the Unleash provider and its control from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final

from flagbrake.errors import ConfigError
from flagbrake.ports.adapter import Adapter, AdapterSettings
from flagbrake.ports.control import FlagControl
from flagbrake.ports.emulator import Emulator
from flagbrake.ports.options import Check, address, read, seconds, seconds_or_never, secret, switch, text
from flagbrake.ports.provider import FlagProvider


class UnleashAdapter(Adapter):
    """Unleash, hosted or one's own; everything that its open-source edition has."""

    name: ClassVar[str] = "unleash"
    options: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "url": "the server's address, ending in /api",
            "token": "backend token of the environment (project:environment.secret)",
            "admin_token": "personal or service token for the admin API",
            "unleash_project": "the project's name in Unleash, where it is not flagbrake's (default)",
            "unleash_environment": "the environment's name in Unleash, where it is not flagbrake's",
            "app_name": "this program's name in Unleash (flagbrake)",
            "refresh_interval": "seconds between two fetches (15)",
            "metrics_interval": "seconds between two reports of use; 0 sends none (60)",
            "timeout": "seconds for one request, and for the data at a start (5)",
            "streaming": "hear of changes by the server's stream instead of polling; Enterprise only (false)",
            "cache_directory": "folder for a last known good copy (none)",
            "bootstrap": "file with what /api/client/features answers, for a start without the server (none)",
        }
    )
    admin_options: ClassVar[frozenset[str]] = frozenset({"admin_token"})

    def provider(self, settings: AdapterSettings) -> FlagProvider:
        """The data plane.

        Raises:
            ConfigError: an option is missing or is none of its kind.
        """
        from flagbrake_unleash.provider import UnleashProvider  # late: the control plane does without the SDK
        from flagbrake_unleash.sdk import SdkSettings

        options = _read(settings, "token", "a backend token")
        return UnleashProvider(
            SdkSettings(
                options["url"],
                options["token"],
                environment=options["unleash_environment"],
                **{name: options[name] for name in _SDK if name in options},
            )
        )

    def control(self, settings: AdapterSettings) -> FlagControl:
        """The control plane.

        Raises:
            ConfigError: an option is missing or is none of its kind.
        """
        from flagbrake_unleash.control import UnleashControl  # late: agents do without httpx

        options = _read(settings, "admin_token", "an admin token")
        return UnleashControl(
            options["url"],
            options["admin_token"],
            project=settings.project,
            environment=settings.environment,
            native_project=options.get("unleash_project", "default"),
            native_environment=options["unleash_environment"],
            timeout=options.get("timeout", 5.0),
        )

    def emulator(self, *, environment: str, port: int = 0, file: Path | None = None) -> Emulator:
        """The real server on this machine; ``file`` is a folder that keeps its database."""
        from flagbrake_unleash.emulator import UnleashEmulator

        return UnleashEmulator(environment=environment, port=port, file=file)


def _read(settings: AdapterSettings, key: str, what: str) -> dict[str, Any]:
    """The table, checked; with the address and this key."""
    found = read("unleash", settings.options, _CHECKS)
    for option, needed in (("url", "the server's address"), (key, what)):
        if option not in found:
            raise ConfigError(f"[unleash] {option} is missing.", cure=f"{option} = ... ({needed})")
    found["url"] = found["url"].removesuffix("/api") + "/api"
    return {"unleash_environment": settings.environment, **found}


_CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "url": address,
        "token": secret,
        "admin_token": secret,
        "unleash_project": text,
        "unleash_environment": text,
        "app_name": text,
        "refresh_interval": seconds,
        "metrics_interval": seconds_or_never,
        "timeout": seconds,
        "streaming": switch,
        "cache_directory": text,
        "bootstrap": text,
    }
)
#: What the SDK is made with, under the same names as in the table.
_SDK: Final = (
    "app_name",
    "refresh_interval",
    "metrics_interval",
    "timeout",
    "streaming",
    "cache_directory",
    "bootstrap",
)
