"""Upgrading the tables, from Python."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def configuration(conn: Connection | None = None) -> Config:
    """Alembic's configuration for our migrations, on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = conn
    return config


def upgrade(conn: Connection) -> None:
    """Bring the tables to the newest version, inside the connection's transaction."""
    # Its progress is of no interest to whoever starts an agent with logging at INFO.
    log = logging.getLogger("alembic")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        command.upgrade(configuration(conn), "head")
    finally:
        log.setLevel(before)
