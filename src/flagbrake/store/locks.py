"""Locks as rows: leases with fencing numbers that only grow."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
import uuid

from sqlalchemy import ColumnElement, Connection, literal, select

from flagbrake.errors import LockBusy, StoreUnavailable
from flagbrake.ports.lock import Lease, Lock
from flagbrake.store import schema
from flagbrake.store.engine import Database

_log = logging.getLogger("flagbrake.store")


class StoreLock(Lock):
    """Expiry is judged by the store's clock: PostgreSQL's own time, or the clock that the store was given.

    A lock is not reentrant. Nothing renews it behind the holder's back.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def acquire(self, name: str, *, ttl: float, wait: float = 0.0) -> Lease:
        """Take a lease, asking again until ``wait`` seconds are over."""
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
        end = time.monotonic() + wait
        pause = threading.Event()
        while True:
            try:
                return self._take(name, owner, ttl)
            except LockBusy:
                left = end - time.monotonic()
                if left <= 0:
                    raise
            # Jitter, so that those who wait do not ask in step.
            pause.wait(min(left, random.uniform(0.02, 0.06)))  # noqa: S311 - not a secret

    def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Extend a lease that nobody else has taken, even one that has just expired."""
        table = schema.lock
        with self._db.transaction() as conn:
            row = conn.execute(
                table.update()
                .where(*self._held(lease))
                .values(expires_at=self._db.now() + _micros(ttl))
                .returning(table.c.expires_at)
            ).first()
        if row is None:
            raise _lost(lease)
        return Lease(lease.name, lease.owner, lease.fence, schema.moment(row.expires_at))

    def release(self, lease: Lease) -> None:
        """Give it back. The row stays, and with it the fence. Out of reach, it expires by itself."""
        try:
            with self._db.transaction() as conn:
                conn.execute(schema.lock.update().where(*self._held(lease)).values(owner="", expires_at=0))
        except (StoreUnavailable, LockBusy) as error:
            # Raising here would hide what became of the work that the lock was held for.
            _log.warning("The lock '%s' was not given back and will expire: %s", lease.name, error.fact)

    def check(self, conn: Connection, lease: Lease) -> None:
        """See in the caller's transaction that a lease is still ours, and keep it so until commit.

        Raises:
            LockBusy: somebody else took it, or it has expired.
        """
        table = schema.lock
        mine = select(table.c.fence).where(*self._held(lease), table.c.expires_at > self._db.now())
        if conn.execute(mine.with_for_update()).first() is None:
            raise _lost(lease)

    def _take(self, name: str, owner: str, ttl: float) -> Lease:
        table = schema.lock
        now = self._db.now()
        expires = now + literal(_micros(ttl))
        insert = self._db.insert(table).values(**self._db.home, name=name, owner=owner, fence=1, expires_at=expires)
        # One statement decides: of two takers the second sees the first one's row and changes nothing.
        take = insert.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={"owner": owner, "fence": table.c.fence + 1, "expires_at": expires},
            where=table.c.expires_at <= now,
        ).returning(table.c.fence, table.c.expires_at)
        with self._db.transaction() as conn:
            row = conn.execute(take).first()
            if row is None:
                raise self._busy(conn, name)
        return Lease(name, owner, row.fence, schema.moment(row.expires_at))

    def _busy(self, conn: Connection, name: str) -> LockBusy:
        table = schema.lock
        query = select(table.c.owner, table.c.expires_at - self._db.now()).where(
            *self._db.mine(table), table.c.name == name
        )
        owner, left = conn.execute(query).one()
        who = ":".join(owner.split(":")[:2])
        after = max(0.0, left / 1_000_000)
        return LockBusy(f"'{name}' is being changed by {who}.", cure=f"again in {after:.0f} s at most", after=after)

    def _held(self, lease: Lease) -> tuple[ColumnElement[bool], ...]:
        table = schema.lock
        return (
            *self._db.mine(table),
            table.c.name == lease.name,
            table.c.owner == lease.owner,
            table.c.fence == lease.fence,
        )


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _lost(lease: Lease) -> LockBusy:
    return LockBusy(f"The lock '{lease.name}' was lost: it expired or another took it.", cure="begin again")
