"""Somebody else's tables in the control plane: their flags are listed and written in place, their kills lifted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, inspect, select, text

from flagbrake.errors import FlagbrakeError, InvalidInput
from flagbrake.model.clause import USER
from flagbrake.model.codec import checksum, dumps, flag_to_data, loads
from flagbrake.model.flag import Distribution, Flag
from flagbrake.model.kill import Kill
from flagbrake.model.values import WHOLE, percent_of
from flagbrake.store import schema
from flagbrake.store.adopted import LANE, Adopted, Role, flag_of, kill_of
from flagbrake.store.engine import Database

_PERCENT: Final = 1000


class Adoption:
    """What is adopted in one environment; see :mod:`flagbrake.store.adopt` for how it came to be."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def tables(self, conn: Connection) -> Mapping[Role, Adopted]:
        """What is adopted here, by role."""
        table = schema.adoption
        query = select(table.c.role, table.c.table_name, table.c.columns).where(*self._db.mine(table))
        return {Role(role): Adopted(Role(role), name, tuple(loads(cols))) for role, name, cols in conn.execute(query)}

    # --- flags ------------------------------------------------------------------------------------------

    def flags(self, conn: Connection) -> list[Flag]:
        """The adopted flags that can be read, each with the version that agents see."""
        adopted = self.tables(conn).get(Role.FLAGS)
        found = []
        for row in _rows(conn, adopted) if adopted else ():
            try:
                found.append(versioned(flag_of(row)))
            except FlagbrakeError:
                continue  # the feed raises the alarm; a listing is not the place
        return found

    def flag(self, conn: Connection, key: str, *, lock: bool = False) -> Flag | None:
        """One adopted flag; with ``lock`` its row stays as it is until the transaction ends.

        Raises:
            InvalidInput: the row holds something that is no flag.
        """
        adopted = self.tables(conn).get(Role.FLAGS)
        if adopted is None:
            return None
        suffix = " FOR UPDATE" if lock and not self._db.is_sqlite else ""
        rows = adopted.rows(
            [tuple(r) for r in conn.execute(text(f"{adopted.select()} WHERE name = :name{suffix}"), {"name": key})]
        )
        return versioned(flag_of(rows[0])) if len(rows) == 1 else None

    def write(self, conn: Connection, flag: Flag) -> None:
        """Put a flag's state, share and targets into its row.

        Raises:
            InvalidInput: the table has no column for something that the flag has.
        """
        adopted = self.tables(conn)[Role.FLAGS]
        share = _share(flag)
        values: dict[str, Any] = {"enabled": flag.on}
        if "rollout_percentage" in adopted.columns:
            values["rollout_percentage"] = self._percentage(conn, adopted, flag.key, share)
        elif share != WHOLE:
            raise _cannot(flag.key, "a percentage")
        keys = [key for targets in flag.targets for key in targets.keys]
        if "whitelist" in adopted.columns:
            values["whitelist"] = _as_before(conn, adopted, flag.key, keys)
        elif keys:
            raise _cannot(flag.key, "targets")
        columns = ", ".join(f"{name} = :{name}" for name in values)
        # The table's name and the columns are our constants: TABLES names them.
        statement = f'UPDATE "{adopted.table}" SET {columns} WHERE name = :name'  # noqa: S608
        conn.execute(text(statement), {**values, "name": flag.key})

    def _percentage(self, conn: Connection, adopted: Adopted, key: str, share: int) -> Any:
        types = {c["name"]: c["type"] for c in inspect(conn).get_columns(adopted.table)}
        if share % _PERCENT == 0:
            return share // _PERCENT
        if types["rollout_percentage"].python_type is int:
            below = share // _PERCENT
            raise InvalidInput(
                f"{adopted.table}.rollout_percentage holds whole percents; {percent_of(share)} % of '{key}' is none.",
                cure=f"{below} or {below + 1}",
            )
        return share / _PERCENT

    # --- kills ------------------------------------------------------------------------------------------

    def kills(self, conn: Connection, own: Callable[[], Iterable[str]]) -> tuple[Kill, ...]:
        """The kills that stand in an adopted table; ``own`` tells the keys of flagbrake's own flags."""
        adopted = self.tables(conn).get(Role.KILLS)
        if adopted is None:
            return ()
        epoch = self._db.counters(conn).kill_epoch
        names = {*own(), *(flag.key for flag in self.flags(conn))}
        found = (
            kill_of(row, environment=self._db.environment, epoch=epoch, is_flag=str(row["name"]) in names)
            for row in _rows(conn, adopted)
        )
        return tuple(kill for kill, _ in filter(None, found))

    def let_go(self, conn: Connection, kill: Kill) -> bool:
        """Set ``active`` to false where this kill stands; False if it does not stand in an adopted table."""
        adopted = self.tables(conn).get(Role.KILLS)
        name = kill.id.removeprefix(f"{LANE}:")
        if adopted is None or name == kill.id:
            return False
        statement = f'UPDATE "{adopted.table}" SET active = :active WHERE name = :name'  # noqa: S608 - as above
        return conn.execute(text(statement), {"active": False, "name": name}).rowcount > 0


def versioned(flag: Flag) -> Flag:
    """An adopted flag's version is made of its content: equal versions mean equal definitions everywhere."""
    return replace(flag, version=int(checksum(dumps(flag_to_data(replace(flag, version=0))))[:12], 16))


def _rows(conn: Connection, adopted: Adopted) -> list[dict[str, Any]]:
    return adopted.rows([tuple(row) for row in conn.execute(text(adopted.select()))])


def _share(flag: Flag) -> int:
    """The share of ``on``; anything else the table cannot hold."""
    shape = (flag.rules, flag.prerequisites, flag.off_variant, set(flag.variant_names), flag.archived)
    targeted = {(targets.variant, targets.kind) for targets in flag.targets}
    if shape != ((), (), "off", {"on", "off"}, False) or not targeted <= {("on", USER)}:
        raise _cannot(flag.key, "rules, prerequisites, other variants or an archive")
    if isinstance(flag.default, Distribution):
        if flag.default.gate is not None or flag.default.bucketing != type(flag.default.bucketing)():
            raise _cannot(flag.key, "a bucketing of its own")
        if flag.default.weights[0].variant != "on":
            raise _cannot(flag.key, "a split that lists 'off' first")
        return flag.default.share("on")
    return WHOLE if flag.default == "on" else 0


def _as_before(conn: Connection, adopted: Adopted, key: str, keys: list[str]) -> Any:
    """The whitelist in the form its row has: an array column, a JSON list or a comma list."""
    query = text(f'SELECT whitelist FROM "{adopted.table}" WHERE name = :name')  # noqa: S608 - as above
    before = conn.execute(query, {"name": key}).scalar()
    if isinstance(before, list):
        return keys
    stripped = str(before or "").strip()
    if stripped and stripped[0] not in "[{" and not any("," in k for k in keys):
        return ",".join(keys)
    if stripped.startswith("{"):
        return "{" + ",".join(json.dumps(k, ensure_ascii=False) for k in keys) + "}"
    return json.dumps(keys, ensure_ascii=False) if keys or before is not None else None


def _cannot(key: str, what: str) -> InvalidInput:
    fact = f"'{key}' lives in an adopted table, which has no place for {what}."
    return InvalidInput(fact, cure=f"flagbrake flag create {key}, which then counts instead")
