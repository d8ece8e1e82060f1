"""Upgrading the tables, from Python."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

if TYPE_CHECKING:
    from alembic.config import Config


def configuration(conn: Connection | None = None) -> Config:
    """Alembic's configuration for our migrations, on an open connection."""
    from alembic.config import Config  # late: it logs as it is imported

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = conn
    return config


def upgrade(conn: Connection) -> None:
    """Bring the tables to the newest version, inside the connection's transaction."""
    with _quiet():
        from alembic import command  # late: as above

        command.upgrade(configuration(conn), "head")


@contextmanager
def _quiet() -> Iterator[None]:
    # Its progress is of no interest to whoever starts an agent with logging at INFO.
    log = logging.getLogger("alembic")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)
