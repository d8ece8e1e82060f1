"""Settings, checked against the adapters that are installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flagbrake import config, registry
from flagbrake.config import Config
from flagbrake.errors import ConfigError
from flagbrake.model.codec import declaration_from_data
from flagbrake.model.manifest import Manifest
from flagbrake.ports.adapter import Adapter, AdapterSettings, StoreAccess


def configuration(
    source: str | Path | Mapping[str, Any] | None = None, *, admin: bool = False, **overrides: Any
) -> Config:
    """Read and check the settings; see :func:`flagbrake.config.load`."""
    names = {*registry.OURS, *registry.adapter_names()}
    settings = config.load(source, adapters=names, admin=admin, **overrides)
    declared(settings)
    return settings


def declared(settings: Config) -> Manifest:
    """The declarations of ``[flags.KEY]``."""
    entries = {
        key: declaration_from_data({**entry, "flag": key}, where=f"flags.{key}")
        for key, entry in settings.flags.items()
    }
    return Manifest(MappingProxyType(entries))


def adapter_of(settings: Config, *, admin: bool) -> Adapter:
    """The adapter that ``use`` names, its own table checked.

    Raises:
        UnknownProvider, MissingExtra: it cannot be loaded.
        ConfigError: an unknown option, or an admin option where agents would read it.
    """
    adapter = registry.adapter(settings.use)
    given = settings.options.get(settings.use, {})
    config.refuse_unknown_options(settings.use, given, adapter.options)
    if not admin:
        for key in given:
            if key in adapter.admin_options:
                raise ConfigError(
                    f"[{settings.use}] {key} is an admin secret in a file that agents read.",
                    cure=f"move it to {config.ADMIN_FILE}",
                )
    return adapter


def adapter_settings(settings: Config, store: StoreAccess | None) -> AdapterSettings:
    """What the adapter is handed, secrets resolved."""
    options = settings.resolved(settings.use, settings.options.get(settings.use, {}))
    return AdapterSettings(settings.project, settings.environment, options, store)
