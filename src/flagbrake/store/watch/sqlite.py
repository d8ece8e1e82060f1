"""SQLite: inotify as a hint, then looks at ``PRAGMA data_version`` with growing gaps.

A commit becomes visible only after its bytes were written (and synced): reading right at the inotify event
misses it. So an event starts a burst of looks, the first after about a millisecond, whose gaps double until
they reach the safety poll. Every look of twenty processes is taken from the writer on the same machine, so a
burst is short when a commit was just seen: what is left in the queue is most likely that commit's own. Without
inotify there is a plain poll.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import sqlite3
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flagbrake.errors import ConfigError, FlagbrakeError, StoreUnavailable
from flagbrake.store.forking import gate
from flagbrake.store.watch.base import NOTHING, Select, Signal, Watch

log = logging.getLogger("flagbrake.store")

#: Seconds between looks when nothing hints at a commit.
SAFETY: Final = 0.25
#: Seconds between looks where there is no inotify.
POLL: Final = 0.05
#: struct inotify_event without its name (man 7 inotify).
_EVENT: Final = struct.Struct("iIII")
_FIRST_GAP: Final = 0.001
#: The first gap after a commit was seen, and the growth of gaps from there on.
_SECOND_GAP: Final = 0.005
_SECOND_GROWTH: Final = 4
#: The longest gap while the log is being written all the time (a large transaction).
_LONGEST_WHILE_WRITTEN: Final = 0.008
#: How long a statement may wait for a lock (a reader of a WAL database waits only for a recovery).
_BUSY: Final = 1.0


class SqliteWatch(Watch):
    """One raw connection (SQLAlchemy would add nothing to three SELECTs) and one inotify descriptor."""

    def __init__(self, path: str | Path, *, poll: float | None = None, inotify: bool = True) -> None:
        super().__init__()
        self.path = Path(path)
        self._poll = poll or POLL
        self._use_inotify = inotify
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._written = 0
        self._seen = -1
        self._gap, self._growth, self._next = SAFETY, 2, 0.0
        self._hints: _Hints | None = None
        #: Sleepers that the bell wakes, and one of them a hint too.
        self._dull, self._alert = select.poll(), select.poll()

    # --- opening ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect to the file as it is now.

        Raises:
            ConfigError: the file is not a database.
            StoreUnavailable: no such file, no permission.
        """
        with gate.passing():
            if self._hints is None and self._use_inotify:
                self._hints = _hints(self.path)
            self.means = "inotify" if self._hints else "poll"
            self._dull, self._alert = select.poll(), select.poll()
            for sleeper in (self._dull, self._alert):
                sleeper.register(self.bell.fileno(), select.POLLIN)
            if self._hints is not None:
                self._alert.register(self._hints.fileno(), select.POLLIN)
            self._gap, self._next = self._longest, 0.0
            self._connect()

    def _connect(self) -> sqlite3.Connection:
        try:
            stat = os.stat(self.path)  # noqa: PTH116 - pathlib adds microseconds to every look
            # Opened for writing where allowed, because only such a connection can recover a hot journal;
            # query_only keeps it from writing anything else.
            db = sqlite3.connect(
                f"file:{quote(str(self.path))}?mode=rw",
                uri=True,
                timeout=_BUSY,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                db.execute("PRAGMA query_only = ON")
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.Error:
                db.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise self._unavailable(error) from error
        self._db = db
        self._identity = (stat.st_dev, stat.st_ino)
        self._written = stat.st_mtime_ns
        self._seen = -1  # a new connection counts anew: the first look reports a change
        return db

    def close(self) -> None:
        """Close the connection and the hints."""
        with gate.passing():
            self._disconnect()
            if self._hints is not None:
                self._hints.close()
                self._hints = None

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    # --- waiting ------------------------------------------------------------------------------------

    @property
    def _longest(self) -> float:
        return SAFETY if self._hints else self._poll

    def wait(self, timeout: float) -> Signal:
        """Sleep until the next look is due or a hint brings it forward; look; return when a commit is seen."""
        deadline = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            if now >= self._next:
                hinted = self._hints is not None and self._hints.about_us()
                if self._look():
                    self._rest(_SECOND_GAP, _SECOND_GROWTH)
                    return Signal(changed=True)
                longer = min(self._gap * self._growth, self._longest)
                if not hinted:
                    self._rest(longer, self._growth)
                elif self._growth == _SECOND_GROWTH:
                    self._rest(_FIRST_GAP, 2)  # a new commit, begun since the last one was seen
                else:
                    self._rest(min(longer, _LONGEST_WHILE_WRITTEN), 2)
            left = deadline - now
            if left <= 0:
                return NOTHING
            if self._slept(min(self._next - now, left)):
                return NOTHING

    def _rest(self, gap: float, growth: int) -> None:
        self._gap, self._growth, self._next = gap, growth, time.monotonic() + gap

    def _slept(self, seconds: float) -> bool:
        """Sleep; True if the bell rang. In a burst hints stay in the queue: they ask for what is due anyway."""
        sleeper = self._alert if self._gap > _LONGEST_WHILE_WRITTEN else self._dull
        ready = [fd for fd, _ in sleeper.poll(max(0.0, seconds) * 1000)]
        if self.bell.fileno() in ready:
            self.bell.silence()
            return True
        if ready and self._hints is not None and self._hints.about_us():
            # Not all processes of a machine at the same moment.
            self._rest(_FIRST_GAP * random.uniform(0.7, 1.3), 2)  # noqa: S311 - not a secret
        return False

    def _look(self) -> bool:
        """True if another connection committed since the last look, or the file is another one."""
        with gate.passing():
            if self._db is not None and self._gap >= self._longest:
                self._check_identity()
            db = self._db or self._connect()
            try:
                (version,) = db.execute("PRAGMA data_version").fetchone()
            except sqlite3.OperationalError as error:
                if _is_busy(error):
                    return False
                raise self._unavailable(error) from error
            except sqlite3.Error as error:
                raise self._unavailable(error) from error
            changed = version != self._seen
            self._seen = version
            return bool(changed)

    def _check_identity(self) -> None:
        """A database that was replaced under its name is another database; the open one is a ghost."""
        try:
            stat = os.stat(self.path)  # noqa: PTH116 - pathlib adds microseconds to every look
        except OSError as error:
            raise self._unavailable(error) from error
        if (stat.st_dev, stat.st_ino) != self._identity:
            log.warning("The database %s was replaced; reading the new file.", self.path)
            self.generation += 1
            self._disconnect()
        elif stat.st_mtime_ns != self._written:
            # A checkpoint, or a backup copied over the file, which an open connection's cache would hide.
            self._disconnect()

    # --- reading ------------------------------------------------------------------------------------

    def peek(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """One SELECT; SQLite waits at most its busy timeout."""
        with gate.passing():
            db = self._db or self._connect()
            try:
                return db.execute(sql, tuple(parameters)).fetchall()
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    @contextmanager
    def reading(self) -> Iterator[Select]:
        """One deferred transaction on the watching connection."""
        with gate.passing():
            db = self._db or self._connect()

            def select_(sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
                return db.execute(sql, tuple(parameters)).fetchall()

            try:
                db.execute("BEGIN")
                try:
                    yield select_
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    # --- forking ------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close the connection (``forking`` says why); the next look opens it again."""
        self._disconnect()

    def abandon(self) -> None:
        """Drop the inherited descriptors. There is no open connection: ``before_fork`` closed it."""
        self._db = None
        if self._hints is not None:
            self._hints.close()
            self._hints = None
        self.bell.close()

    def _unavailable(self, error: Exception) -> FlagbrakeError:
        if isinstance(error, FileNotFoundError):
            return StoreUnavailable(f"There is no database at {self.path}.", cure="flagbrake init")
        if isinstance(error, sqlite3.Error) and _is_busy(error):
            return StoreUnavailable(f"The database {self.path} is locked.", cure="find who holds it: fuser FILE")
        if "not a database" in str(error):
            return ConfigError(f"{self.path} is not a SQLite database.", cure="another path, or move that file away")
        if "no such table" in str(error):
            return StoreUnavailable(f"The database {self.path} has no flagbrake tables.", cure="flagbrake init")
        return StoreUnavailable(f"The database {self.path} cannot be read: {error}.", cure="flagbrake doctor")


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class _Hints:
    """Events of the database's directory, reduced to "something touched the database or its journal"."""

    def __init__(self, path: Path) -> None:
        from inotify_simple import INotify, flags

        real = Path(os.path.realpath(path))
        names = (real.name, f"{real.name}-wal", f"{real.name}-journal", path.name)
        self._names = frozenset(os.fsencode(name) for name in names)
        self._inotify = INotify(nonblocking=True)
        mask = flags.MODIFY | flags.CREATE | flags.MOVED_TO | flags.DELETE
        try:
            for folder in {str(real.parent), str(path.parent)}:
                self._inotify.add_watch(folder, mask)
        except OSError:
            self._inotify.close()
            raise

    def fileno(self) -> int:
        return int(self._inotify.fileno())

    def about_us(self) -> bool:
        """Empty the queue; True if any of it concerns the database."""
        found = False
        while True:
            try:
                # Read by hand: every process of a machine does this for every write of the log.
                events = os.read(self._inotify.fileno(), 65536)
            except OSError:
                return found
            at = 0
            while at < len(events) and not found:
                _, _, _, length = _EVENT.unpack_from(events, at)
                name = events[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
                # An overflowed queue has an event without a name: count it as ours.
                found = not name or name in self._names
                at += _EVENT.size + length
            if len(events) < 32768:
                return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._inotify.close()


def _hints(path: Path) -> _Hints | None:
    """Hints where the system can give them, else ``None`` (a warning is not due: the poll works)."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return _Hints(path)
    except (ImportError, OSError) as error:
        log.info("No inotify for %s (%s); looking every %d ms instead.", path, error, POLL * 1000)
        return None
