"""The watch that fits an address."""

from __future__ import annotations

from sqlalchemy.engine import URL

from flagbrake.store.engine import notify_channel, shown, sqlite_path
from flagbrake.store.watch.base import Watch


def watch_of(url: URL, project: str, environment: str, *, poll: float | None = None) -> Watch:
    """A watch, not opened. ``poll``: seconds between looks where commits cannot be announced."""
    if url.get_backend_name() == "sqlite":
        from flagbrake.store.watch.sqlite import SqliteWatch

        return SqliteWatch(sqlite_path(url), poll=poll)
    from flagbrake.store.watch.postgresql import PostgresqlWatch

    return PostgresqlWatch(
        url.render_as_string(hide_password=False),
        channel=notify_channel(project, environment),
        shown=shown(url),
        poll=poll,
    )
