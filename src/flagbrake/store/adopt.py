"""Adopting the tables that many teams start with: checked, recorded, and made to announce their changes."""

from __future__ import annotations

import getpass
import hashlib
import json
from typing import Final

from sqlalchemy import Connection, delete, inspect

from flagbrake.errors import InvalidInput, NotFound
from flagbrake.model.codec import kill_to_data
from flagbrake.store import schema
from flagbrake.store.adopted import TABLES, Adopted, Role
from flagbrake.store.store import Store

#: On PostgreSQL. Deferred to the commit and run once per transaction, so that the counter's row is locked
#: for a moment only, however long the other software's transaction takes. SECURITY DEFINER, because that
#: software's role need not know our tables.
_FUNCTION: Final = """
CREATE OR REPLACE FUNCTION flagbrake_adopted_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE
  mark text := 'flagbrake.told_' || TG_ARGV[4];
  reached bigint;
BEGIN
  IF current_setting(mark, true) = txid_current()::text THEN
    RETURN NULL;
  END IF;
  UPDATE flagbrake_revision
     SET revision = revision + 1,
         kill_epoch = CASE WHEN TG_ARGV[3] = 'kills' THEN revision + 1 ELSE kill_epoch END
   WHERE project = TG_ARGV[0] AND environment = TG_ARGV[1]
  RETURNING revision INTO reached;
  PERFORM pg_notify(TG_ARGV[2],
                    json_build_object('revision', reached, 'flags', NULL, 'kills', NULL, 'reload', true)::text);
  PERFORM set_config(mark, txid_current()::text, true);
  RETURN NULL;
END $$
"""


def adopt(store: Store, *, by: str = "") -> tuple[str, ...]:
    """Serve ``feature_flags``, ``kill_switches`` and ``agent_logs`` in place, those of them that exist.

    Adopting again brings the record and the triggers up to date. Return the tables' names.

    Raises:
        NotFound: none of them is in this database.
        InvalidInput: a table lacks a column without which it cannot be read.
        NotAllowed: the role may not put triggers on them.
    """
    with store.db.transaction() as conn:
        found = [adopted for role in TABLES if (adopted := _examine(conn, role)) is not None]
        if not found:
            names = ", ".join(name for name, _, _ in TABLES.values())
            raise NotFound(f"None of {names} is in {store.url_shown}.", cure="the URL of the database that has them")
        store.db.bump(conn, other=True)
        # The kills in them count from now on, so whoever reads kills must read them.
        store.db.announce_kills(conn, [kill_to_data(kill) for kill in store.kills.own(conn)])
        _record(store, conn, found)
        for adopted in found:
            if adopted.role is not Role.OUTCOMES:
                _announce(store, conn, adopted)
        store.audit.append(
            conn,
            at=store.clock.now(),
            by=by or _somebody(),
            action="adopt",
            subject=", ".join(adopted.table for adopted in found),
            after={adopted.role.value: [adopted.table, *adopted.columns] for adopted in found},
        )
    return tuple(adopted.table for adopted in found)


def _examine(conn: Connection, role: Role) -> Adopted | None:
    name, needed, others = TABLES[role]
    looking = inspect(conn)
    if not looking.has_table(name):
        return None
    if name in looking.get_view_names():
        raise InvalidInput(f"{name} is a view, which cannot tell of changes.", cure="adopt the table behind it")
    columns = {column["name"] for column in looking.get_columns(name)}
    missing = [column for column in needed if column not in columns]
    if missing:
        has = ", ".join(sorted(columns))
        raise InvalidInput(
            f"{name} has no column {', '.join(missing)} (it has {has}).", cure=f"a table with {', '.join(needed)}"
        )
    return Adopted(role, name, tuple(column for column in (*needed, *others) if column in columns))


def _record(store: Store, conn: Connection, found: list[Adopted]) -> None:
    table = schema.adoption
    conn.execute(delete(table).where(*store.db.mine(table)))
    at = schema.micros(store.clock.now())
    rows = [
        {"role": a.role.value, "table_name": a.table, "columns": json.dumps(a.columns), "adopted_at": at} for a in found
    ]
    conn.execute(table.insert(), [{**store.db.home, **row} for row in rows])


def _announce(store: Store, conn: Connection, adopted: Adopted) -> None:
    """Let every change of the table raise the revision, in the very transaction that makes it."""
    home = hashlib.sha256(json.dumps([store.project, store.environment]).encode()).hexdigest()[:12]
    trigger = f"flagbrake_{adopted.role}_{home}"
    if store.db.is_sqlite:
        _announce_on_sqlite(store, conn, adopted, trigger)
    else:
        _announce_on_postgresql(store, conn, adopted, trigger)


def _announce_on_sqlite(store: Store, conn: Connection, adopted: Adopted, trigger: str) -> None:
    epoch = ", kill_epoch = revision + 1" if adopted.role is Role.KILLS else ""
    where = f"project = {_quoted(store.project)} AND environment = {_quoted(store.environment)}"
    change = f"UPDATE flagbrake_revision SET revision = revision + 1{epoch} WHERE {where}"  # noqa: S608 - quoted
    for event in ("INSERT", "UPDATE", "DELETE"):
        name = f'"{trigger}_{event.lower()}"'
        conn.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
        conn.exec_driver_sql(f'CREATE TRIGGER {name} AFTER {event} ON "{adopted.table}" BEGIN {change}; END')


def _announce_on_postgresql(store: Store, conn: Connection, adopted: Adopted, trigger: str) -> None:
    home = conn.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    conn.exec_driver_sql(_FUNCTION.format(schema=home).replace("%", "%%"))
    told = hashlib.sha256(trigger.encode()).hexdigest()[:12]
    values = (store.project, store.environment, store.db.channel, adopted.role.value, told)
    arguments = ", ".join(_quoted(value) for value in values)
    call = f"EXECUTE FUNCTION flagbrake_adopted_changed({arguments})".replace("%", "%%")
    table = f'"{adopted.table}"'
    for name in (trigger, f"{trigger}_all"):
        conn.exec_driver_sql(f'DROP TRIGGER IF EXISTS "{name}" ON {table}')
    conn.exec_driver_sql(
        f'CREATE CONSTRAINT TRIGGER "{trigger}" AFTER INSERT OR UPDATE OR DELETE ON {table}'
        f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW {call}"
    )
    conn.exec_driver_sql(f'CREATE TRIGGER "{trigger}_all" AFTER TRUNCATE ON {table} FOR EACH STATEMENT {call}')


def _quoted(value: str) -> str:
    """A text as an SQL literal; statements that define triggers take no parameters."""
    if "\x00" in value or "\\" in value:
        raise InvalidInput("A project or environment of adopted tables cannot hold a backslash.", cure="another name")
    return "'" + value.replace("'", "''") + "'"


def _somebody() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
