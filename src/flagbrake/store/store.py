"""The store as one object; each kind of row has a file of its own."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from sqlalchemy import select

from flagbrake.ports.clock import Clock
from flagbrake.store import schema
from flagbrake.store.adoption import Adoption
from flagbrake.store.audit import Audit
from flagbrake.store.engine import Database
from flagbrake.store.engines import Engines
from flagbrake.store.flags import DECLARATION, FLAG, SEGMENT, FlagRows, ManifestRows, SegmentRows
from flagbrake.store.kills import StoreLane
from flagbrake.store.locks import StoreLock
from flagbrake.store.opening import prepare
from flagbrake.store.outcomes import Outcomes
from flagbrake.store.processes import Processes
from flagbrake.store.rollouts import Rollouts


def open_store(url: str, *, project: str, environment: str, clock: Clock | None = None, create: bool = False) -> Store:
    """Open the store of one environment.

    ``url`` is ``sqlite:///path`` or ``postgresql://user:password@host/database``. With ``create`` the file,
    the tables and their upgrades are made where they are missing; without it nothing is ever made. With
    ``clock`` that clock judges leases and presence, else PostgreSQL's own (on SQLite the machine's).

    Raises:
        ConfigError: no such store, no tables, tables of another age, an address that is none.
        MissingExtra: PostgreSQL without psycopg.
        NotAllowed, StoreUnavailable, LockBusy: as named.
    """
    database = Database(url, project=project, environment=environment, clock=clock, create=create)
    try:
        prepare(database, create=create)
    except BaseException:
        database.close()
        raise
    return Store(database)


class Store:
    """One environment of one project in one database. Threads may share it; a fork rebuilds its connections."""

    def __init__(self, database: Database) -> None:
        self.db = database
        self.project = database.project
        self.environment = database.environment
        self.url_shown = database.shown
        self.clock = database.clock
        self.flags = FlagRows(database, FLAG)
        self.segments = SegmentRows(database, SEGMENT)
        self.manifest = ManifestRows(database, DECLARATION)
        self.audit = Audit(database)
        self.adoption = Adoption(database)
        self.kills = StoreLane(database, self.audit, self.adoption)
        self.locks = StoreLock(database)
        self.processes = Processes(database)
        self.outcomes = Outcomes(database)
        self.rollouts = Rollouts(database)
        self.engines = Engines(database)

    def revision(self) -> int:
        """The environment's revision: one more with every control transaction; 0 before the first."""
        with self.db.reading() as conn:
            return self.db.counters(conn).revision

    def environments(self) -> list[str]:
        """The environments of this project that anything was ever written in."""
        table = schema.revision
        query = select(table.c.environment).where(table.c.project == self.project).order_by(table.c.environment)
        with self.db.reading() as conn:
            return list(conn.execute(query).scalars())

    def close(self) -> None:
        """Close every connection."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.url_shown!r}, project={self.project!r}, environment={self.environment!r})"
