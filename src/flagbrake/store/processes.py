"""Who listens: every process says that it lives and which epoch it has applied."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, insert, select, update

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
        there: ColumnElement[bool] = table.c.left_at.is_(None)
        if applied is not None:
            there = there | (table.c.epoch >= applied)
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


@dataclass(slots=True)
class _Life:
    """One row and the thread that writes it: from a start, or a fork, to leaving."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: int = 0
    #: The newest epoch and when it was applied; replaced whole, so that reading it needs no lock.
    news: tuple[int, int | None] = (0, None)
    bell: threading.Event = field(default_factory=threading.Event)
    leaving: threading.Event = field(default_factory=threading.Event)
    written: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Presence:
    """This process's own row (an AckSink), written by a thread of its own: no caller ever waits for it.

    While the store does not answer, the newest epoch is kept and written when it does. In a forked child
    the first ``applied`` (or ``start``) begins a row of the child's own.
    """

    def __init__(self, store: Store, *, name: str = "", beat: float = BEAT) -> None:
        self._db: Database = store.db
        self._name = name
        self._beat = beat
        self._guard = threading.Lock()
        self._life = _Life()
        gate.join(self)

    @property
    def id(self) -> str:
        """The id of this process's row."""
        return self._life.id

    def start(self) -> None:
        """Appear among the live processes; the row is there when this returns, if the store answers."""
        self._tell(0, None).written.wait(self._beat)

    def applied(self, epoch: int, at: datetime) -> None:
        """Note that everything up to ``epoch`` is applied; it is written at once, by the thread."""
        self._tell(epoch, schema.micros(at)).bell.set()

    def leave(self) -> None:
        """Disappear from the live processes and stop the thread. It can be started again."""
        with self._guard:
            life, self._life = self._life, _Life()
        if life.thread is None:
            return
        life.leaving.set()
        life.bell.set()
        # Not for ever: a database that hangs must not keep the process from ending.
        life.thread.join(self._beat + 3.0)

    def before_fork(self) -> None:
        """Nothing to close: the thread's transaction, if any, has been waited out."""

    def after_fork_in_child(self) -> None:
        """The thread stayed with the parent, and so does its row."""
        self._guard = threading.Lock()
        self._life = _Life()

    # --- the thread --------------------------------------------------------------------------------

    def _tell(self, epoch: int, at: int | None) -> _Life:
        with self._guard:
            life = self._life
            if epoch > life.news[0] or life.news[1] is None:
                life.news = (epoch, at)
            if life.thread is None:
                life.started_at = schema.micros(self._db.clock.now())
                life.thread = threading.Thread(target=self._run, args=(life,), name="flagbrake-presence", daemon=True)
                life.thread.start()
        return life

    def _run(self, life: _Life) -> None:
        inserted = failed = False
        while not life.leaving.is_set():
            life.bell.clear()
            try:
                self._write(life, inserted=inserted)
            except FlagbrakeError as error:
                if not failed:
                    _log.warning("This process cannot say that it lives: %s", error.fact)
                failed = True
                # The bell does not hurry an attempt that has just failed.
                life.leaving.wait(self._beat)
            else:
                inserted, failed = True, False
                life.written.set()
                life.bell.wait(self._beat)
        if inserted:
            with contextlib.suppress(FlagbrakeError):  # the row ages out by itself
                self._write(life, inserted=True, left=True)

    def _write(self, life: _Life, *, inserted: bool, left: bool = False) -> None:
        table = schema.process
        now = self._db.now()
        epoch, applied_at = life.news
        values: dict[str, Any] = {"seen_at": now, "epoch": epoch, "applied_at": applied_at}
        if left:
            values["left_at"] = now
        with self._db.transaction(durable=False) as conn:
            # Two plain statements, no upsert: the restricted role may not read what an upsert reads.
            if inserted and conn.execute(update(table).where(table.c.id == life.id).values(values)).rowcount:
                return
            if left:
                return
            row = {
                "id": life.id,
                **self._db.home,
                "name": schema.clean(self._name, 300),
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started_at": life.started_at,
            }
            conn.execute(insert(table).values({**row, **values}))
