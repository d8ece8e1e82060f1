"""Rollouts as rows: a state that moves by compare-and-swap, under a lease with a fence, and what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypedDict, Unpack

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import IntegrityError

from flagbrake.errors import Conflict, LockBusy, NotFound
from flagbrake.model.codec import dumps, loads
from flagbrake.store import schema
from flagbrake.store.engine import Database


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout as stored. ``plan`` and ``state`` are JSON texts that only the rollout room understands.

    ``seq`` counts the saves; ``fence`` the claims; ``due_at`` is when an engine should look next, ``None``
    when it need not.
    """

    id: str
    flag: str
    active: bool
    status: str
    plan: str
    state: str
    seq: int
    due_at: datetime | None
    owner: str
    fence: int
    lease_expires_at: datetime
    created_at: datetime
    created_by: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RolloutEvent:
    """One thing that happened in a rollout, in plain words and as data."""

    at: datetime
    kind: str
    message: str
    by: str = ""
    data: Any = field(default_factory=dict)
    seq: int = 0


class Columns(TypedDict, total=False):
    """What a save may change besides the state."""

    status: str
    due_at: datetime | None
    active: bool


_NEVER: Final = 0


class Rollouts:
    """The rollouts of one environment. Nothing here bumps the revision or wakes a watcher."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(
        self,
        rollout_id: str,
        *,
        flag: str,
        plan: str,
        state: str,
        by: str,
        status: str = "",
        due_at: datetime | None = None,
        conn: Connection | None = None,
    ) -> RolloutRow:
        """Store a new, active rollout.

        Raises:
            Conflict: the flag has an active rollout already, or the id is taken.
        """
        now = schema.micros(self._db.clock.now())
        row = {
            **self._db.home,
            "id": rollout_id,
            "flag": flag,
            "active_flag": flag,
            "status": status,
            "plan": plan,
            "state": state,
            "seq": 1,
            "due_at": None if due_at is None else schema.micros(due_at),
            "owner": "",
            "fence": 0,
            "lease_expires_at": _NEVER,
            "created_at": now,
            "created_by": by,
            "updated_at": now,
        }
        try:
            with self._db.writing(conn) as writer:
                writer.execute(insert(schema.rollout).values(row))
        except IntegrityError as error:
            raise Conflict(
                f"The flag '{flag}' has an active rollout already.",
                cure="flagbrake rollout status; abort or promote that one first",
            ) from error
        return _row(row)

    def get(self, rollout_id: str, *, conn: Connection | None = None) -> RolloutRow | None:
        """One rollout, ``None`` if there is none."""
        return next(iter(self._rows(schema.rollout.c.id == rollout_id, conn=conn)), None)

    def active(self, flag: str | None = None, *, conn: Connection | None = None) -> list[RolloutRow]:
        """Rollouts that are not over, of one flag if it is named (then one at most)."""
        table = schema.rollout
        wanted = table.c.active_flag.is_not(None) if flag is None else table.c.active_flag == flag
        return self._rows(wanted, conn=conn)

    def latest(self, flag: str | None = None, limit: int = 50) -> list[RolloutRow]:
        """Rollouts, over or not, the newest first."""
        table = schema.rollout
        rows = self._rows(*(() if flag is None else (table.c.flag == flag,)))
        return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)[:limit]

    def due(self, now: datetime) -> list[RolloutRow]:
        """Active rollouts that should be looked at by now, whoever holds them."""
        table = schema.rollout
        return self._rows(table.c.active_flag.is_not(None), table.c.due_at <= schema.micros(now))

    def claim(self, rollout_id: str, owner: str, ttl: float, now: datetime) -> tuple[RolloutRow, int]:
        """Take the lease of an active rollout for ``ttl`` seconds from ``now``; return it and the new fence.

        The same owner may claim again; every claim raises the fence, so earlier claims can save no more.

        Raises:
            LockBusy: another owner holds it. NotFound: no such rollout is active.
        """
        table = schema.rollout
        stamp = schema.micros(now)
        free = (table.c.lease_expires_at <= stamp) | (table.c.owner == owner)
        take = (
            table.update()
            .where(*self._db.mine(table), table.c.id == rollout_id, table.c.active_flag.is_not(None), free)
            .values(owner=owner, fence=table.c.fence + 1, lease_expires_at=stamp + int(ttl * 1_000_000))
        )
        with self._db.transaction() as conn:
            taken = conn.execute(take).rowcount
            row = self.get(rollout_id, conn=conn)
        if row is None or not row.active:
            raise NotFound(
                f"No active rollout {rollout_id} in {self._db.environment}.", cure="flagbrake rollout status"
            )
        if not taken:
            left = (row.lease_expires_at - now).total_seconds()
            raise LockBusy(
                f"The rollout {rollout_id} is being driven by {row.owner}.", cure=f"again in {left:.0f} s", after=left
            )
        return row, row.fence

    def release(self, rollout_id: str, *, fence: int) -> None:
        """Give a lease back; a lost one is left alone."""
        table = schema.rollout
        mine = (*self._db.mine(table), table.c.id == rollout_id, table.c.fence == fence)
        with self._db.transaction() as conn:
            conn.execute(table.update().where(*mine).values(owner="", lease_expires_at=_NEVER))

    def save(
        self,
        rollout_id: str,
        state: str,
        *,
        expected_seq: int,
        fence: int | None = None,
        events: Sequence[RolloutEvent] = (),
        conn: Connection | None = None,
        **columns: Unpack[Columns],
    ) -> RolloutRow:
        """Replace the state and append what happened, in one transaction; return the row as it stands.

        An engine gives the ``fence`` of its claim; a person's command gives none and relies on the seq.

        Raises:
            Conflict: somebody saved or claimed in the meantime; nothing was written.
        """
        table = schema.rollout
        expected = [*self._db.mine(table), table.c.id == rollout_id, table.c.seq == expected_seq]
        if fence is not None:
            expected.append(table.c.fence == fence)
        values: dict[str, Any] = {
            "state": state,
            "seq": expected_seq + 1,
            "updated_at": schema.micros(self._db.clock.now()),
        }
        if "status" in columns:
            values["status"] = columns["status"]
        if "due_at" in columns:
            due_at = columns["due_at"]
            values["due_at"] = None if due_at is None else schema.micros(due_at)
        if "active" in columns:
            values["active_flag"] = table.c.flag if columns["active"] else None
        with self._db.writing(conn) as writer:
            if not writer.execute(table.update().where(*expected).values(values)).rowcount:
                raise Conflict(
                    f"The rollout {rollout_id} was moved by somebody else.", cure="read it again, then decide again"
                )
            self.append(writer, rollout_id, events)
            row = self.get(rollout_id, conn=writer)
        assert row is not None
        return row

    def append(self, conn: Connection, rollout_id: str, events: Sequence[RolloutEvent]) -> None:
        """Append to what happened, in the caller's transaction, after the rollout's row was written in it."""
        if not events:
            return
        table = schema.rollout_event
        mine = (*self._db.mine(table), table.c.rollout_id == rollout_id)
        last = conn.execute(select(func.max(table.c.seq)).where(*mine)).scalar() or 0
        rows = [
            {
                **self._db.home,
                "rollout_id": rollout_id,
                "seq": last + number,
                "at": schema.micros(event.at),
                "kind": event.kind,
                "by": event.by,
                "message": event.message,
                "data": dumps(event.data),
            }
            for number, event in enumerate(events, 1)
        ]
        conn.execute(insert(table), rows)

    def events(self, rollout_id: str, limit: int | None = None) -> list[RolloutEvent]:
        """What happened, in order: everything, or the newest ``limit``."""
        table = schema.rollout_event
        query = select(table).where(*self._db.mine(table), table.c.rollout_id == rollout_id)
        with self._db.reading() as conn:
            rows = conn.execute(query.order_by(table.c.seq.desc()).limit(limit)).mappings().all()
        return [
            RolloutEvent(
                at=schema.moment(row["at"]),
                kind=row["kind"],
                message=row["message"],
                by=row["by"],
                data=loads(row["data"]),
                seq=row["seq"],
            )
            for row in reversed(rows)
        ]

    def _rows(self, *conditions: Any, conn: Connection | None = None) -> list[RolloutRow]:
        table = schema.rollout
        query = select(table).where(*self._db.mine(table), *conditions).order_by(table.c.created_at, table.c.id)
        with self._db.looking(conn) as reader:
            return [_row(row) for row in reader.execute(query).mappings()]


def _row(row: Mapping[Any, Any]) -> RolloutRow:
    return RolloutRow(
        id=row["id"],
        flag=row["flag"],
        active=row["active_flag"] is not None,
        status=row["status"],
        plan=row["plan"],
        state=row["state"],
        seq=row["seq"],
        due_at=None if row["due_at"] is None else schema.moment(row["due_at"]),
        owner=row["owner"],
        fence=row["fence"],
        lease_expires_at=schema.moment(row["lease_expires_at"]),
        created_at=schema.moment(row["created_at"]),
        created_by=row["created_by"],
        updated_at=schema.moment(row["updated_at"]),
    )
