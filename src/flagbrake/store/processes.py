"""Who listens: every process says that it lives and which epoch it has applied."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select, update

from flagbrake.errors import FlagbrakeError
from flagbrake.ports.kills import Process
from flagbrake.store import schema
from flagbrake.store.engine import Database
from flagbrake.store.forking import gate

if TYPE_CHECKING:
    from flagbrake.store.store import Store

_log = logging.getLogger("flagbrake.store")

#: Seconds between two signs of life.
BEAT: Final = 2.0


class Processes:
    """What others see of the processes of this environment."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def live(self, within: float = 6.0, *, applied: int | None = None) -> list[Process]:
        """Processes that were seen in the last ``within`` seconds and have not left, by the store's clock.

        With ``applied`` also those that left after they had applied that epoch: a process that a kill ends
        at once has heard it, and is gone before anybody can ask.

        Raises:
            StoreUnavailable: nobody knows.
        """
        table = schema.process
        there = table.c.left_at.is_(None)
        if applied is not None:
            there |= table.c.epoch >= applied
        query = (
            select(table)
            .where(*self._db.mine(table), there, table.c.seen_at >= self._db.now() - int(within * 1_000_000))
            .order_by(table.c.started_at, table.c.id)
        )
        with self._db.reading() as conn:
            return [
                Process(
                    id=row["id"],
                    host=row["host"],
                    pid=row["pid"],
                    environment=row["environment"],
                    started_at=schema.moment(row["started_at"]),
                    seen_at=schema.moment(row["seen_at"]),
                    epoch=row["epoch"],
                    applied_at=None if row["applied_at"] is None else schema.moment(row["applied_at"]),
                    name=row["name"],
                )
                for row in conn.execute(query).mappings()
            ]

    def prune(self, *, older: timedelta = timedelta(days=1)) -> int:
        """Delete the rows of processes not seen for so long; return how many. Needs the right to delete."""
        table = schema.process
        gone = table.c.seen_at < self._db.now() - int(older.total_seconds() * 1_000_000)
        with self._db.transaction() as conn:
            return conn.execute(table.delete().where(*self._db.mine(table), gone)).rowcount


class Presence:
    """This process's own row (an AckSink), written by a thread of its own: no caller ever waits for it.

    While the store does not answer, the newest epoch is kept and written when it does. In a forked child
    the first ``applied`` (or ``start``) begins a row of the child's own.
    """

    def __init__(self, store: Store, *, name: str = "", beat: float = BEAT) -> None:
        self._db: Database = store.db
        self._name = name
        self._beat = beat
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._news: tuple[int, int] | None = None
        self._renew()
        gate.join(self)

    @property
    def id(self) -> str:
        """The id of this process's row."""
        return self._id

    def start(self) -> None:
        """Appear among the live processes; the row is there when this returns, if the store answers."""
        self._ensure()
        self._written.wait(self._beat)

    def applied(self, epoch: int, at: datetime) -> None:
        """Note that everything up to ``epoch`` is applied; it is written at once, by the thread."""
        self._ensure()
        with self._guard:
            if self._news is None or epoch >= self._news[0]:
                self._news = (epoch, schema.micros(at))
        self._bell.set()

    def leave(self) -> None:
        """Disappear from the live processes and stop the thread. It can be started again."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._leaving.set()
        self._bell.set()
        # Not for ever: a database that hangs must not keep the process from ending.
        thread.join(self._beat + 3.0)

    def before_fork(self) -> None:
        """Nothing to close: the thread's transaction, if any, has been waited out."""

    def after_fork_in_child(self) -> None:
        """The thread stayed with the parent, and so does its row."""
        self._starting = threading.Lock()
        self._thread = None
        self._renew()

    # --- the thread --------------------------------------------------------------------------------

    def _renew(self) -> None:
        """A fresh identity: at the start, in a forked child, after leaving."""
        self._id = uuid.uuid4().hex
        self._guard = threading.Lock()
        self._bell = threading.Event()
        self._leaving = threading.Event()
        self._written = threading.Event()
        self._news = None
        self._inserted = False
        self._started_at = schema.micros(self._db.clock.now())

    def _ensure(self) -> None:
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                if self._leaving.is_set():
                    self._renew()
                thread = threading.Thread(target=self._run, name="flagbrake-presence", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        failed = False
        while not self._leaving.is_set():
            self._bell.clear()
            try:
                self._write()
            except FlagbrakeError as error:
                if not failed:
                    _log.warning("This process cannot say that it lives: %s", error.fact)
                failed = True
                # Ringing does not hurry an attempt that has just failed.
                self._leaving.wait(self._beat)
            else:
                failed = False
                self._written.set()
                self._bell.wait(self._beat)
        with contextlib.suppress(FlagbrakeError):  # the row ages out by itself
            self._write(left=True)

    def _write(self, *, left: bool = False) -> None:
        with self._guard:
            news = self._news
        table = schema.process
        epoch, applied_at = (0, None) if news is None else news
        now = self._db.now()
        values: dict[str, Any] = {"seen_at": now, "epoch": epoch, "applied_at": applied_at}
        if left:
            values["left_at"] = now
        with self._db.transaction() as conn:
            if self._inserted:
                found = conn.execute(update(table).where(table.c.id == self._id).values(values)).rowcount
                if found or left:
                    return
            elif left:
                return
            row = {
                "id": self._id,
                **self._db.home,
                "name": self._name,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started_at": self._started_at,
            }
            conn.execute(insert(table).values({**row, **values}))
        self._inserted = True
