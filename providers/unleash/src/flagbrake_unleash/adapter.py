"""The adapter: makes the Unleash provider and its control from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from flagbrake.errors import ConfigError
from flagbrake.ports.adapter import Adapter, AdapterSettings
from flagbrake.ports.control import FlagControl
from flagbrake.ports.emulator import Emulator
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

        options = _Options(settings)
        return UnleashProvider(
            SdkSettings(
                url=options.url(),
                token=options.text("token", required="a backend token"),
                app_name=options.text("app_name") or "flagbrake",
                environment=options.text("unleash_environment") or settings.environment,
                refresh_interval=options.seconds("refresh_interval", 15.0),
                metrics_interval=options.seconds("metrics_interval", 60.0, zero=True),
                timeout=options.seconds("timeout", 5.0),
                cache_directory=options.text("cache_directory") or None,
                bootstrap=options.text("bootstrap") or None,
                streaming=options.switch("streaming"),
            )
        )

    def control(self, settings: AdapterSettings) -> FlagControl:
        """The control plane.

        Raises:
            ConfigError: an option is missing or is none of its kind.
        """
        from flagbrake_unleash.control import UnleashControl  # late: agents do without httpx

        options = _Options(settings)
        return UnleashControl(
            options.url(),
            options.text("admin_token", required="an admin token"),
            project=settings.project,
            environment=settings.environment,
            native_project=options.text("unleash_project") or "default",
            native_environment=options.text("unleash_environment") or settings.environment,
            timeout=options.seconds("timeout", 5.0),
        )

    def emulator(self, *, environment: str, port: int = 0, file: Path | None = None) -> Emulator:
        """The real server on this machine; ``file`` is a folder that keeps its database."""
        from flagbrake_unleash.emulator import UnleashEmulator

        return UnleashEmulator(environment=environment, port=port, file=file)


class _Options:
    """The adapter's table, checked."""

    def __init__(self, settings: AdapterSettings) -> None:
        self._options: Mapping[str, Any] = settings.options

    def url(self) -> str:
        url = self.text("url", required="the server's address")
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"[unleash] url is '{url}'.", cure="https://HOST/api")
        url = url.rstrip("/")
        return url if url.endswith("/api") else f"{url}/api"

    def text(self, name: str, *, required: str = "") -> str:
        value = self._options.get(name, "")
        if not isinstance(value, (str, Path)):
            raise ConfigError(f"[unleash] {name} is no text.", cure=f'{name} = "..."')
        if required and not value:
            raise ConfigError(f"[unleash] {name} is missing.", cure=f"{name} = ... ({required})")
        return str(value)

    def seconds(self, name: str, default: float, *, zero: bool = False) -> float:
        value = self._options.get(name, default)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or value < 0 or (value == 0 and not zero):
            raise ConfigError(f"[unleash] {name} is {value!r}.", cure=f"a number of seconds, such as {default:g}")
        return float(value)

    def switch(self, name: str) -> bool:
        value = self._options.get(name, False)
        if not isinstance(value, bool):
            raise ConfigError(f"[unleash] {name} is {value!r}.", cure="true or false")
        return value
