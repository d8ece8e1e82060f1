"""The adapter: makes the SQL provider and its control from the configured store."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from flagbrake.errors import ConfigError
from flagbrake.ports.adapter import Adapter, AdapterSettings, StoreAccess
from flagbrake.ports.control import FlagControl
from flagbrake.ports.provider import FlagProvider


class SqlAdapter(Adapter):
    """Flags in the store itself: SQLite or PostgreSQL, whatever ``[store] url`` says."""

    name: ClassVar[str] = "sql"
    options: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"timeout": "seconds a start waits for the database before it serves the last known good (5)"}
    )
    needs_store: ClassVar[bool] = True

    def provider(self, settings: AdapterSettings) -> FlagProvider:
        """The data plane, on the process's shared feed, or on one of its own when there is none.

        Raises:
            ConfigError: no store is configured, or the timeout is not a number above 0.
        """
        from flagbrake_sql.provider import SqlProvider  # late: the control plane does without

        access = _access(settings)
        timeout = settings.options.get("timeout", 5.0)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
            raise ConfigError(f"[sql] timeout is {timeout!r}, not a number of seconds above 0.", cure="timeout = 5")
        feed = access.feed
        if feed is None:
            from flagbrake.store.feed import StoreFeed

            url = access.store.db.url.render_as_string(hide_password=False)
            feed = StoreFeed(url, project=settings.project, environment=settings.environment)
        return SqlProvider(feed, timeout=float(timeout))

    def control(self, settings: AdapterSettings) -> FlagControl:
        """The control plane, on the opened store.

        Raises:
            ConfigError: no store is configured.
        """
        from flagbrake_sql.control import SqlControl  # late: agents never write

        return SqlControl(_access(settings).store)


def _access(settings: AdapterSettings) -> StoreAccess:
    if settings.store is None:
        raise ConfigError("The SQL provider needs a store.", cure='[store] url = "sqlite:///flagbrake.db"')
    return settings.store
