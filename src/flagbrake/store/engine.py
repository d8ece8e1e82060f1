"""The database: transactions, the revision counter, announcements to watchers."""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, cast, create_engine, event, func, literal, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import Pool, QueuePool

from flagbrake.errors import ConfigError, MissingExtra
from flagbrake.ports.clock import Clock, SystemClock
from flagbrake.store import schema
from flagbrake.store.faults import translated
from flagbrake.store.forking import gate

#: Seconds a transaction may wait for another writer, and a statement may run, when nothing else is said.
DEADLINE: Final = 5.0
#: PostgreSQL refuses a NOTIFY payload of 8000 bytes or more (its manual, NOTIFY).
PAYLOAD_LIMIT: Final = 7999
_CONNECT_TIMEOUT: Final = 5
_WRITE: Final = "flagbrake_write"
_DEADLINE: Final = "flagbrake_deadline"
_DURABLE: Final = "flagbrake_durable"
_PENDING: Final = "flagbrake_announcement"


def notify_channel(project: str, environment: str) -> str:
    """The PostgreSQL channel of one environment: hashed, because a channel's name is at most 63 bytes."""
    name = json.dumps([project, environment], ensure_ascii=False)
    return "flagbrake_" + hashlib.sha256(name.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Counters:
    """Where an environment stands: its revision, and the revision of its last kill or lift."""

    revision: int = 0
    kill_epoch: int = 0


@dataclass(slots=True)
class Announcement:
    """What one control transaction changed; sent in the same transaction, so it arrives exactly if that commits."""

    revision: int
    flags: set[str] = field(default_factory=set)
    other: bool = False
    kills: list[Any] | None = None

    def payload(self) -> str:
        """The JSON that travels.

        ``kills`` are ALL standing kills when a kill changed, else null. ``flags`` are the changed keys.
        ``reload`` tells the receiver to read everything since its revision: because segments or
        declarations changed, or because the whole would exceed PostgreSQL's limit (kills stay in before
        flags do).
        """
        flags = sorted(self.flags)
        tries: tuple[dict[str, Any], ...] = (
            {"flags": flags, "kills": self.kills, "reload": self.other},
            {"flags": None, "kills": self.kills, "reload": True},
            {"flags": None, "kills": None, "reload": True},
        )
        for body in tries:
            payload = json.dumps(
                {"revision": self.revision, **body}, ensure_ascii=False, separators=(",", ":"), sort_keys=True
            )
            if len(payload.encode()) <= PAYLOAD_LIMIT:
                return payload
        raise AssertionError  # the last try has a fixed size


class Database:
    """One database as one environment of one project sees it. Threads may share it; a fork rebuilds it.

    ``shown`` is the address without its password. With ``clock`` given, leases and presence are judged by
    that clock; without it PostgreSQL's own time judges them, so that machines need not agree on the time
    (on SQLite all processes share one machine's clock anyway).
    """

    def __init__(
        self, url: str, *, project: str, environment: str, clock: Clock | None = None, create: bool = False
    ) -> None:
        parsed = parse_url(url)
        self.url = parsed
        self.project = project
        self.environment = environment
        self.shown = shown(parsed)
        self.clock: Clock = clock or SystemClock()
        self.channel = notify_channel(project, environment)
        self._judged_here = clock is not None or self.is_sqlite
        self._abandoned: list[Pool] = []
        self._engine = _sqlite_engine(parsed, create=create) if self.is_sqlite else _postgresql_engine(parsed)
        gate.join(self)

    @property
    def is_sqlite(self) -> bool:
        """True for a SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path | None:
        """The SQLite file, ``None`` on a server."""
        return sqlite_path(self.url) if self.is_sqlite else None

    # --- transactions --------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, *, deadline: float = DEADLINE, durable: bool = True) -> Iterator[Connection]:
        """A write transaction: all or nothing, durable when the block ends.

        On SQLite it takes the write lock at once (BEGIN IMMEDIATE), so it never fails half way through.
        Without ``durable`` its commit does not wait for the disk there (a crash of the process loses nothing,
        a power cut may): for rows that come by the hundred, whose syncs a kill would have to wait for.
        ``deadline`` bounds the waiting for other writers and each statement, in seconds.

        Raises:
            LockBusy, NotAllowed, ConfigError, StoreUnavailable: nothing was written, except that a commit
                whose answer was lost (StoreUnavailable) must be read back.
        """
        with gate.passing(), translated(self.shown), self._engine.connect() as plain:
            conn = plain.execution_options(**{_WRITE: True, _DEADLINE: deadline, _DURABLE: durable})
            conn.info.pop(_PENDING, None)
            with conn.begin():
                yield conn
                self._announce(conn)

    @contextmanager
    def reading(self, *, deadline: float = DEADLINE) -> Iterator[Connection]:
        """A read-only transaction that sees one moment, however many statements it takes.

        Raises:
            NotAllowed, ConfigError, StoreUnavailable: as named.
        """
        options: dict[str, Any] = {_DEADLINE: deadline}
        if not self.is_sqlite:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with gate.passing(), translated(self.shown), self._engine.connect() as plain:
            conn = plain.execution_options(**options)
            with conn.begin():
                yield conn

    def writing(self, conn: Connection | None) -> AbstractContextManager[Connection]:
        """The caller's write transaction if there is one, else one of its own."""
        return self.transaction() if conn is None else nullcontext(conn)

    def looking(self, conn: Connection | None) -> AbstractContextManager[Connection]:
        """The caller's transaction if there is one, else a reading one of its own."""
        return self.reading() if conn is None else nullcontext(conn)

    def now(self) -> ColumnElement[int]:
        """The present in microseconds, as an SQL expression, by the clock that judges leases and presence."""
        if self._judged_here:
            return literal(schema.micros(self.clock.now()), BigInteger)
        return cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)

    # --- the counter ---------------------------------------------------------------------------------

    def bump(self, conn: Connection, *, flags: Iterable[str] = (), other: bool = False) -> int:
        """The revision of this control transaction: one more than the last one's.

        The first call locks the environment's counter row until commit, so control transactions of one
        environment follow one another; later calls in the same transaction return the same number.
        ``flags`` and ``other`` (a segment or declaration changed) are announced at commit.
        """
        pending: Announcement | None = conn.info.get(_PENDING)
        if pending is None:
            pending = conn.info[_PENDING] = Announcement(self._next_revision(conn))
        pending.flags.update(flags)
        pending.other = pending.other or other
        return pending.revision

    def announce_kills(self, conn: Connection, standing: Sequence[Any]) -> None:
        """Let the kills that now stand (as data) travel with this transaction's announcement."""
        revision = self.bump(conn)
        conn.execute(self._my_counter().values(kill_epoch=revision))
        pending: Announcement = conn.info[_PENDING]
        pending.kills = list(standing)

    def counters(self, conn: Connection) -> Counters:
        """Where the environment stands; zeros before its first control transaction."""
        table = schema.revision
        row = conn.execute(select(table.c.revision, table.c.kill_epoch).where(*self.mine(table))).first()
        return Counters(*row) if row else Counters()

    def mine(self, table: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """The conditions that keep a statement inside this environment."""
        return table.c.project == self.project, table.c.environment == self.environment

    @property
    def home(self) -> dict[str, str]:
        """The columns every row of this environment carries."""
        return {"project": self.project, "environment": self.environment}

    def _my_counter(self) -> Any:
        return schema.revision.update().where(*self.mine(schema.revision))

    def _next_revision(self, conn: Connection) -> int:
        self.lock_counter(conn)
        conn.execute(self._my_counter().values(revision=schema.revision.c.revision + 1))
        return self.counters(conn).revision

    def lock_counter(self, conn: Connection) -> None:
        """Lock the environment's counter row until commit, making it if this is the first time."""
        table = schema.revision
        lock = select(table.c.revision).where(*self.mine(table)).with_for_update()
        if conn.execute(lock).first() is None:
            fresh = self.insert_new(
                table, [{**self.home, "revision": 0, "kill_epoch": 0, "audit_seq": 0, "audit_hash": ""}]
            )
            conn.execute(fresh)
            conn.execute(lock)

    def insert_new(self, table: Any, rows: Sequence[dict[str, Any]]) -> Any:
        """INSERT that leaves rows alone whose key exists. It needs no right to read (restricted role)."""
        return self.insert(table).values(rows).on_conflict_do_nothing()

    def insert(self, table: Any) -> Any:
        """The dialect's INSERT, which knows ON CONFLICT."""
        if self.is_sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    def _announce(self, conn: Connection) -> None:
        pending: Announcement | None = conn.info.pop(_PENDING, None)
        if pending is not None and not self.is_sqlite:
            conn.execute(select(func.pg_notify(self.channel, pending.payload())))

    # --- life ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close every connection; a later use opens new ones."""
        self._engine.dispose()

    def before_fork(self) -> None:
        """In the parent: close idle connections of a SQLite file, which a child must not inherit."""
        if self.is_sqlite:
            self._engine.dispose()

    def after_fork_in_child(self) -> None:
        """In the child: leave what is still the parent's alone, unclosed, and make new connections when needed."""
        # Closing them would end the parent's sessions, so the old pool is kept from the collector.
        self._abandoned.append(self._engine.pool)
        self._engine.dispose(close=False)

    def __repr__(self) -> str:
        return f"Database({self.shown!r}, project={self.project!r}, environment={self.environment!r})"


# --- addresses ---------------------------------------------------------------------------------------


def parse_url(url: str) -> URL:
    """``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``postgresql://user:password@host/database``.

    Raises:
        ConfigError: another kind of address, or none. The address is never repeated: it may hold a password.
    """
    cure = "sqlite:///flags.db or postgresql://user@host/database"
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise ConfigError("The store's URL cannot be read as one.", cure=cure) from None
    if backend == "sqlite":
        if parsed.database in {None, "", ":memory:"}:
            raise ConfigError("A SQLite store needs a file: memory is not shared by processes.", cure=cure)
        return parsed.set(drivername="sqlite")
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError(f"A store cannot be kept in '{parsed.drivername}'.", cure=cure)


def shown(url: URL) -> str:
    """The address without password and options."""
    plain = URL.create(
        url.get_backend_name(), username=url.username, host=url.host, port=url.port, database=url.database
    )
    return plain.render_as_string(hide_password=True)


def sqlite_path(url: URL) -> Path:
    """The absolute path of a SQLite address; ``~`` is the home folder."""
    return Path(url.database or "").expanduser().absolute()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sqlite_engine(url: URL, *, create: bool) -> Engine:
    path = sqlite_path(url)
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The folder {path.parent} cannot be made ({error.strerror}).", cure="another path"
            ) from error
    elif not path.exists():
        raise ConfigError(f"There is no store at {path}.", cure="flagbrake init")
    # A store that is there is never made again: a deleted file must fail, not come back empty.
    modes = itertools.chain(("rwc",) if create else (), itertools.repeat("rw"))

    def connect() -> sqlite3.Connection:
        address = f"file:{quote(str(path))}?mode={next(modes)}"
        return sqlite3.connect(address, uri=True, timeout=DEADLINE, isolation_level=None, check_same_thread=False)

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=5,
        max_overflow=10,
        pool_timeout=DEADLINE,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        record.info["file"] = _identity(path)
        cursor = connection.cursor()
        _write_ahead(cursor)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "checkout")
    def same_file(_connection: Any, record: Any, _proxy: Any) -> None:
        if _identity(path) != record.info["file"]:
            # Moved or replaced under us: a write would go into a file that nobody reads. The pool opens it anew.
            raise DisconnectionError

    # isolation_level=None stops sqlite3 from beginning transactions by itself, too late and in part;
    # this is SQLAlchemy's documented recipe for real ones.
    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        options = conn.get_execution_options()
        conn.exec_driver_sql(f"PRAGMA busy_timeout={max(1, int(options.get(_DEADLINE, DEADLINE) * 1000))}")
        if options.get(_WRITE):
            # FULL syncs the log at every commit: a kill that was confirmed survives a power cut.
            conn.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options[_DURABLE] else 'NORMAL'}")
        conn.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITE) else "BEGIN")

    return engine


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Use the write-ahead log. When several switch a fresh file at once, SQLite refuses some without waiting."""
    end = time.monotonic() + DEADLINE
    pause = threading.Event()
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
            pause.wait(0.01)
        else:
            return


def _postgresql_engine(url: URL) -> Engine:
    import importlib.util

    if importlib.util.find_spec("psycopg") is None:
        raise MissingExtra(
            "PostgreSQL needs psycopg, which is not installed.", cure="pip install 'flagbrake[postgresql]'"
        )
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT,
        # A host that vanished is noticed within seconds, not after the kernel's two hours.
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        # Prepared statements do not survive PgBouncer's transaction pooling.
        "prepare_threshold": None,
    }
    for given in url.query:
        arguments.pop(given, None)
    engine = create_engine(
        url,
        connect_args=arguments,
        pool_size=5,
        max_overflow=10,
        pool_timeout=DEADLINE,
        pool_pre_ping=True,
        hide_parameters=True,
    )

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        # Local to the transaction, so that nothing leaks to others through a connection pooler.
        ms = max(1, int(conn.get_execution_options().get(_DEADLINE, DEADLINE) * 1000))
        # The lock's comes first, so that waiting for another writer is told from a slow database.
        conn.exec_driver_sql(f"SET LOCAL lock_timeout={ms}; SET LOCAL statement_timeout={ms + ms // 10 + 20}")

    return engine
