"""Which rollout engines are alive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select

from flagbrake.store import schema
from flagbrake.store.engine import Database


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """One engine and its last tick."""

    id: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime


class Engines:
    """Heartbeats of engines. They bump no revision."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def beat(self, engine_id: str, host: str, pid: int, at: datetime) -> None:
        """Say that an engine ticked at ``at``.

        Raises:
            StoreUnavailable, LockBusy, NotAllowed: as named.
        """
        table = schema.engine
        stamp = schema.micros(at)
        insert = self._db.insert(table).values(
            **self._db.home, id=engine_id, host=host, pid=pid, started_at=stamp, seen_at=stamp
        )
        upsert = insert.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={"host": host, "pid": pid, "seen_at": stamp, "left_at": None},
        )
        with self._db.transaction(durable=False) as conn:
            conn.execute(upsert)

    def leave(self, engine_id: str, at: datetime) -> None:
        """Say that an engine ended in order: it is not live any more, though it ticked a moment ago.

        Raises:
            StoreUnavailable, LockBusy, NotAllowed: as named.
        """
        table = schema.engine
        mine = table.update().where(*self._db.mine(table), table.c.id == engine_id)
        with self._db.transaction(durable=False) as conn:
            conn.execute(mine.values(left_at=schema.micros(at)))

    def live(self, within: float, *, now: datetime | None = None) -> list[EngineSeen]:
        """Engines that ticked in the last ``within`` seconds and have not left, the latest first."""
        since = schema.micros(now or self._db.clock.now()) - int(within * 1_000_000)
        return [e for e in self._all(schema.engine.c.left_at.is_(None)) if schema.micros(e.seen_at) >= since]

    def last(self) -> EngineSeen | None:
        """The engine that ticked last, alive or not; ``None`` if there never was one."""
        return next(iter(self._all()), None)

    def _all(self, *conditions: ColumnElement[bool]) -> list[EngineSeen]:
        table = schema.engine
        query = (
            select(table.c.id, table.c.host, table.c.pid, table.c.started_at, table.c.seen_at)
            .where(*self._db.mine(table), *conditions)
            .order_by(table.c.seen_at.desc(), table.c.id)
        )
        with self._db.reading() as conn:
            return [
                EngineSeen(engine, host, pid, schema.moment(started), schema.moment(seen))
                for engine, host, pid, started, seen in conn.execute(query)
            ]
