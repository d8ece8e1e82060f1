"""The audit: append-only, each entry sealed with the hash of the one before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Required, TypedDict, Unpack

from sqlalchemy import Connection, select

from flagbrake.model.codec import dumps, loads
from flagbrake.store import schema
from flagbrake.store.engine import Database

#: What an entry's hash covers, besides the hash before it.
_SEALED: Final = (
    "project",
    "environment",
    "seq",
    "at",
    "by",
    "action",
    "subject",
    "lane",
    "reason",
    "before",
    "after",
    "previous",
)


class Fields(TypedDict, total=False):
    """What is to be recorded; ``before`` and ``after`` are JSON data without secrets."""

    at: Required[datetime]
    by: Required[str]
    action: Required[str]
    subject: Required[str]
    reason: str
    before: Any
    after: Any
    lane: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to what, why, when, and how it was before and after (JSON data)."""

    seq: int
    at: datetime
    by: str
    action: str
    subject: str
    lane: str
    reason: str
    before: Any
    after: Any
    hash: str


class Audit:
    """One chain per environment. The head is kept in the counter row, whose lock keeps the chain from forking."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def append(self, conn: Connection, **fields: Unpack[Fields]) -> AuditEntry:
        """Append one entry in the caller's transaction: it is there exactly if the transaction commits."""
        self._db.lock_counter(conn)
        counter = schema.revision
        seq, previous = conn.execute(
            select(counter.c.audit_seq, counter.c.audit_hash).where(*self._db.mine(counter))
        ).one()
        row: dict[str, Any] = {
            **self._db.home,
            "seq": seq + 1,
            "at": schema.micros(fields["at"]),
            "by": schema.clean(fields["by"], 300),
            "action": schema.clean(fields["action"], 100),
            "subject": schema.clean(fields["subject"], 500),
            "lane": schema.clean(fields.get("lane", ""), 100),
            "reason": schema.clean(fields.get("reason", "")),
            "before": _text(fields.get("before")),
            "after": _text(fields.get("after")),
            "previous": previous,
        }
        row["hash"] = seal(row)
        conn.execute(schema.audit.insert().values(row))
        head = {"audit_seq": row["seq"], "audit_hash": row["hash"]}
        conn.execute(counter.update().where(*self._db.mine(counter)).values(head))
        return _entry(row)

    def record(self, **fields: Unpack[Fields]) -> AuditEntry:
        """Append one entry in a transaction of its own.

        Raises:
            StoreUnavailable, LockBusy, NotAllowed: it was not written.
        """
        with self._db.transaction() as conn:
            return self.append(conn, **fields)

    def entries(
        self,
        subject: str | None = None,
        limit: int = 50,
        *,
        action: str | None = None,
        before: int | None = None,
        conn: Connection | None = None,
    ) -> list[AuditEntry]:
        """The newest entries, newest first; ``before`` (a seq) pages back."""
        table = schema.audit
        query = select(table).where(*self._db.mine(table)).order_by(table.c.seq.desc()).limit(limit)
        if subject is not None:
            query = query.where(table.c.subject == subject)
        if action is not None:
            query = query.where(table.c.action == action)
        if before is not None:
            query = query.where(table.c.seq < before)
        with self._db.looking(conn) as reader:
            return [_entry(row) for row in reader.execute(query).mappings()]

    def verify(self, *, conn: Connection | None = None) -> int | None:
        """``None`` if the chain is whole, else the seq of the first entry that is missing or was changed.

        It sees changed, missing and added entries; who can write the whole table and the counter row can
        also forge a whole chain, so keep a copy of the head elsewhere where that matters.
        """
        table, counter = schema.audit, schema.revision
        previous, expected = "", 1
        with self._db.looking(conn) as reader:
            head = reader.execute(
                select(counter.c.audit_seq, counter.c.audit_hash).where(*self._db.mine(counter))
            ).first()
            query = select(table).where(*self._db.mine(table)).order_by(table.c.seq)
            # A page at a time: an audit may be longer than memory likes.
            last = 0
            while rows := reader.execute(query.where(table.c.seq > last).limit(1000)).mappings().all():
                for row in rows:
                    if row["seq"] != expected or row["previous"] != previous or row["hash"] != seal(row):
                        return expected
                    previous, expected, last = row["hash"], expected + 1, row["seq"]
        seq, sealed = head or (0, "")
        if seq >= expected:
            return expected
        return expected - 1 if (seq, sealed) != (expected - 1, previous) else None


def seal(row: Mapping[Any, Any]) -> str:
    """The hash of an entry: SHA-256 of the canonical JSON of its fields, the previous hash among them."""
    return hashlib.sha256(dumps([row[name] for name in _SEALED]).encode()).hexdigest()


def _entry(row: Mapping[Any, Any]) -> AuditEntry:
    return AuditEntry(
        seq=row["seq"],
        at=schema.moment(row["at"]),
        by=row["by"],
        action=row["action"],
        subject=row["subject"],
        lane=row["lane"],
        reason=row["reason"],
        before=_data(row["before"]),
        after=_data(row["after"]),
        hash=row["hash"],
    )


def _text(data: Any) -> str | None:
    return None if data is None else dumps(data)


def _data(text: str | None) -> Any:
    return None if text is None else loads(text)
