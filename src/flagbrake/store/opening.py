"""Opening a store: its schema is checked, and made or upgraded when asked."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, inspect, text

from flagbrake.errors import ConfigError
from flagbrake.store import schema
from flagbrake.store.engine import Database

_NAME: Final = re.compile(r"v(\d+)_(\d+)_(\d+)")
#: One advisory lock for everybody who makes or upgrades flagbrake's tables in a PostgreSQL database.
_UPGRADE_LOCK: Final = 0x666C6167


def prepare(database: Database, *, create: bool) -> None:
    """See that the tables are there and of a version this code can use.

    With ``create`` missing tables are made and older ones upgraded, by one process at a time.

    Raises:
        ConfigError: no tables or older ones (without ``create``), or ones too new for this code.
        NotAllowed: the role may not make tables.
        StoreUnavailable: the database did not answer.
    """
    with database.reading() as conn:
        found = version(conn)
    if found != schema.SCHEMA_HEAD and not newer(found, shown=database.shown):
        if not create:
            raise _missing(database.shown, found)
        # Generous: an upgrade may have to rewrite a table, and others wait for it here.
        with database.transaction(deadline=120.0) as conn:
            if not database.is_sqlite:
                conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            found = version(conn)
            if found != schema.SCHEMA_HEAD and not newer(found, shown=database.shown):
                from flagbrake.store.migrations.run import upgrade

                upgrade(conn)


def version(conn: Connection) -> str | None:
    """The schema's version in the database, ``None`` when there is none."""
    if not inspect(conn).has_table(schema.VERSION_TABLE):
        return None
    found: str | None = conn.execute(text(f"SELECT version_num FROM {schema.VERSION_TABLE}")).scalar()  # noqa: S608 - our constant
    return found


def newer(found: str | None, *, shown: str) -> bool:
    """True if the tables are newer than this code, yet usable: of the next minor version at most.

    Raises:
        ConfigError: they are newer than that, or not ours.
    """
    if found is None:
        return False
    there, here = _parts(found), _parts(schema.SCHEMA_HEAD)
    if there is None or here is None:
        raise ConfigError(f"{shown} has tables of an unknown version '{found}'.", cure="another database")
    if there <= here:
        return False
    if there[0] != here[0] or there[1] > here[1] + 1:
        raise ConfigError(
            f"{shown} was upgraded by flagbrake {there[0]}.{there[1]}; this is {here[0]}.{here[1]}, which is too old.",
            cure=f"pip install 'flagbrake~={there[0]}.{there[1]}.0'",
        )
    return True


def _parts(name: str) -> tuple[int, int, int] | None:
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _missing(shown: str, found: str | None) -> ConfigError:
    if found is None:
        return ConfigError(f"{shown} has no flagbrake tables.", cure="flagbrake init")
    return ConfigError(
        f"{shown} has tables of version {found}, older than this flagbrake's {schema.SCHEMA_HEAD}.",
        cure="flagbrake init, which upgrades them and keeps what is in them",
    )
