"""The store's lane: kills as checksummed rows, and what they covered, so that restore can be exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from sqlalchemy import Connection, insert, select

from flagbrake.errors import Conflict, InvalidInput, NotFound
from flagbrake.model.codec import checksum, dumps, kill_from_data, kill_to_data, loads
from flagbrake.model.kill import EVERYTHING, Kill, KillSnapshot, Scope, ScopeKind
from flagbrake.ports.kills import KillLane
from flagbrake.store import schema
from flagbrake.store.adoption import Adoption
from flagbrake.store.audit import Audit
from flagbrake.store.engine import DEADLINE, Database
from flagbrake.store.flags import DECLARATION, FLAG, FlagRows, ManifestRows, StoredFlag

#: Above this many covered flags a kill keeps their versions and checksums, and leaves the documents to the
#: audit: a kill of everything must not wait for ten thousand documents.
_DOCUMENTS: Final = 200


@dataclass(frozen=True, slots=True)
class Lifted:
    """A kill that was lifted, by whom and why."""

    kill: Kill
    at: datetime
    by: str
    reason: str
    epoch: int


class StoreLane(KillLane):
    """Kills of one environment.

    Lifted kills move to a table of their own: whatever happens to a standing row's fields, short of its
    disappearance, it stands. A row that is not what was written counts as a kill of every scope it may
    have had. Kills and lifts write their audit entry in the same transaction.
    """

    name: ClassVar[str] = "store"
    durable: ClassVar[bool] = True
    #: True: core need not write the lane's own entry.
    audits_itself: ClassVar[bool] = True

    def __init__(self, database: Database, audit: Audit, adoption: Adoption) -> None:
        self._adoption = adoption
        self._db = database
        self._audit = audit
        self._flags = FlagRows(database, FLAG)
        self._manifest = ManifestRows(database, DECLARATION)

    def kill(self, kill: Kill, *, deadline: float = DEADLINE, prior: Any = None) -> Kill:
        """Store a kill; return it with the epoch it got. Storing the same id again returns what stands.

        ``prior`` is what the covered flags were, as JSON data that the lane keeps and gives back as it is.
        Left out, the store's own flags are kept: a list of ``key``, ``version``, ``checksum`` and, for a
        kill of few flags, the document as ``native`` and as ``flag``.

        Raises:
            InvalidInput: the kill belongs to another environment.
            Conflict: this kill was lifted already; a late retry must not bring it back.
            StoreUnavailable, LockBusy, NotAllowed: nothing was stored (or, after StoreUnavailable, maybe).
        """
        if kill.environment != self._db.environment:
            raise InvalidInput(
                f"The kill of {kill.scope} is for {kill.environment}, this store serves {self._db.environment}.",
                cure=f"the configuration of {kill.environment}",
            )
        with self._db.transaction(deadline=deadline) as conn:
            self._db.lock_counter(conn)
            standing = self._row(conn, kill.id)
            if standing is not None:
                return next(_read(standing, self._db.environment))
            if self._lifted_epoch(conn, kill.id) is not None:
                raise Conflict(f"The kill {kill.id} was lifted already.", cure="a new kill")
            epoch = self._db.bump(conn)
            placed = replace(kill, epoch=epoch, lane=self.name)
            row = self._sealed(placed, self._covered(conn, kill.scope) if prior is None else prior)
            conn.execute(insert(schema.kill).values(row))
            self._audit.append(
                conn,
                at=kill.at,
                by=kill.by,
                action="kill",
                subject=str(kill.scope),
                reason=kill.reason,
                after=kill_to_data(placed),
                lane=self.name,
            )
            self._announce(conn)
        return placed

    def lift(self, kill: Kill, *, by: str, reason: str, deadline: float = DEADLINE) -> int:
        """Lift a kill by its id, damaged or not; return the epoch. Lifting again returns the first epoch.

        Raises:
            NotFound: there never was such a kill here.
        """
        with self._db.transaction(deadline=deadline) as conn:
            self._db.lock_counter(conn)
            row = self._row(conn, kill.id)
            if row is None and self._adoption.let_go(conn, kill):
                return self._let_go(conn, kill, by=by, reason=reason)
            if row is None:
                lifted = self._lifted_epoch(conn, kill.id)
                if lifted is None:
                    raise NotFound(f"No kill {kill.id} in {self._db.environment}.", cure="flagbrake kills")
                return lifted
            epoch = self._db.bump(conn)
            at = self._db.clock.now()
            gone = {
                **row,
                "lifted_at": schema.micros(at),
                "lifted_by": schema.clean(by, 300),
                "lifted_reason": schema.clean(reason),
                "lifted_epoch": epoch,
            }
            conn.execute(insert(schema.kill_lifted).values(gone))
            table = schema.kill
            conn.execute(table.delete().where(*self._db.mine(table), table.c.id == kill.id))
            self._audit.append(
                conn,
                at=at,
                by=by,
                action="lift",
                subject=row["scope"],
                reason=reason,
                before=kill_to_data(next(_read(row, self._db.environment))),
                after={"id": kill.id, "lifted_epoch": epoch},
                lane=self.name,
            )
            self._announce(conn)
        return epoch

    def _let_go(self, conn: Connection, kill: Kill, *, by: str, reason: str) -> int:
        # The table's own trigger has raised the counters; the row is somebody else's and stays where it is.
        epoch = self._db.bump(conn)
        self._audit.append(
            conn,
            at=self._db.clock.now(),
            by=by,
            action="lift",
            subject=str(kill.scope),
            reason=reason,
            before=kill_to_data(kill),
            after={"id": kill.id, "lifted_epoch": epoch},
            lane=kill.lane,
        )
        self._announce(conn)
        return epoch

    def read(self) -> KillSnapshot:
        """All kills that stand, as of one moment; ``epoch`` is that of the last kill or lift."""
        with self._db.reading() as conn:
            return self.snapshot(conn)

    def snapshot(self, conn: Connection) -> KillSnapshot:
        """As ``read``, in the caller's transaction."""
        epoch = self._db.counters(conn).kill_epoch
        foreign = self._adoption.kills(conn, lambda: self._flags.keys(conn=conn))
        return KillSnapshot(self._db.environment, epoch, self.own(conn) + foreign)

    def own(self, conn: Connection) -> tuple[Kill, ...]:
        """The kills of flagbrake's own table, without those of an adopted one."""
        return tuple(kill for row in self._standing(conn) for kill in _read(row, self._db.environment))

    def prior(self, kill_id: str) -> Any:
        """What was kept with a standing or lifted kill, as given; ``None`` if it is not what was written.

        Raises:
            NotFound: no such kill.
        """
        with self._db.reading() as conn:
            row = self._row(conn, kill_id) or self._row(conn, kill_id, lifted=True)
        if row is None:
            raise NotFound(f"No kill {kill_id} in {self._db.environment}.", cure="flagbrake kills")
        if checksum(row["prior"]) != row["prior_checksum"]:
            return None
        return loads(row["prior"])

    def remember(self, kill_id: str, prior: Any) -> None:
        """Replace what is kept with a standing kill: a vendor's flags are read after the kill, not before it.

        Raises:
            NotFound: no such kill stands.
        """
        table = schema.kill
        change = table.update().where(*self._db.mine(table), table.c.id == kill_id).values(_prior(prior))
        with self._db.transaction() as conn:
            if conn.execute(change).rowcount == 0:
                raise NotFound(f"No kill {kill_id} stands in {self._db.environment}.", cure="flagbrake kills")

    def lifted(self, limit: int = 50) -> list[Lifted]:
        """Kills that were lifted, the latest first."""
        table = schema.kill_lifted
        query = select(table).where(*self._db.mine(table)).order_by(table.c.lifted_epoch.desc()).limit(limit)
        with self._db.reading() as conn:
            rows = conn.execute(query).mappings().all()
        return [
            Lifted(
                next(_read(row, self._db.environment)),
                schema.moment(row["lifted_at"]),
                row["lifted_by"],
                row["lifted_reason"],
                row["lifted_epoch"],
            )
            for row in rows
        ]

    # --- inside ----------------------------------------------------------------------------------------

    def _standing(self, conn: Connection) -> Sequence[Mapping[Any, Any]]:
        table = schema.kill
        # Without the prior states, which may be long: this is read at every kill and by every listing.
        columns = (table.c.id, table.c.scope, table.c.document, table.c.checksum, table.c.epoch)
        query = select(*columns).where(*self._db.mine(table)).order_by(table.c.epoch, table.c.id)
        return conn.execute(query).mappings().all()

    def _row(self, conn: Connection, kill_id: str, *, lifted: bool = False) -> dict[str, Any] | None:
        table = schema.kill_lifted if lifted else schema.kill
        query = select(table).where(*self._db.mine(table), table.c.id == kill_id)
        row = conn.execute(query).mappings().first()
        return None if row is None else {str(k): v for k, v in row.items()}

    def _lifted_epoch(self, conn: Connection, kill_id: str) -> int | None:
        table = schema.kill_lifted
        query = select(table.c.lifted_epoch).where(*self._db.mine(table), table.c.id == kill_id)
        epoch: int | None = conn.execute(query).scalar()
        return epoch

    def _announce(self, conn: Connection) -> None:
        standing = self.own(conn)
        self._db.announce_kills(conn, [kill_to_data(kill) for kill in standing])

    def _sealed(self, kill: Kill, prior: Any) -> dict[str, Any]:
        document = dumps(kill_to_data(kill))
        return {
            **self._db.home,
            "id": kill.id,
            "scope": str(kill.scope),
            "document": document,
            "checksum": checksum(document),
            "epoch": kill.epoch,
            **_prior(prior),
        }

    def _covered(self, conn: Connection, scope: Scope) -> list[dict[str, Any]]:
        """The store's own flags that a scope covers, by their key or their declared scopes."""
        scopes: dict[str, tuple[Scope, ...]] = {}
        # A flag's scope covers flags by their keys only: an emergency does not read everything else for it.
        for row in () if scope.kind is ScopeKind.FLAG else self._manifest.all(conn=conn):
            try:
                scopes[row.key] = row.decode().scopes if '"scopes"' in row.document else ()
            except InvalidInput:
                continue  # an unreadable declaration must not hinder a kill
        found = {
            key: {"key": key, "version": token, "checksum": token.partition(":")[2]}
            for key, token in self._flags.tokens(under=scope.path if scope.kind is ScopeKind.FLAG else "", conn=conn)
            if any(scope.covers(own) for own in (Scope(ScopeKind.FLAG, key), *scopes.get(key, ())))
        }
        if len(found) <= _DOCUMENTS:
            return [_before(row) for row in self._flags.some(found, conn=conn)]
        return list(found.values())


def _before(row: StoredFlag) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": row.key, "version": row.token, "checksum": row.checksum}
    if row.intact:
        entry["native"] = entry["flag"] = row.data()
    return entry


def _prior(prior: Any) -> dict[str, str]:
    text = dumps(prior)
    return {"prior": text, "prior_checksum": checksum(text)}


def _read(row: Mapping[Any, Any], environment: str) -> Iterator[Kill]:
    """The kill of a row; of a damaged row one corrupt kill per scope that any part of it still names."""
    kill: Kill | None
    try:
        kill = kill_from_data(loads(row["document"]))
    except InvalidInput:
        kill = None
    if kill is not None and checksum(row["document"]) == row["checksum"]:
        told = (row["id"], row["scope"], row["epoch"], environment)
        if told == (kill.id, str(kill.scope), kill.epoch, kill.environment):
            yield kill
            return
    scopes = {scope for scope in (kill.scope if kill else None, _scope(row["scope"])) if scope is not None}
    for scope in sorted(scopes) or [EVERYTHING]:
        yield Kill(
            id=row["id"],
            scope=scope,
            environment=environment,
            reason=f"The stored kill {row['id']} is damaged, so it counts as killed.",
            by=kill.by if kill else "unknown",
            at=kill.at if kill else datetime.fromtimestamp(0, UTC),
            epoch=int(row["epoch"]),
            corrupt=True,
        )


def _scope(text: Any) -> Scope | None:
    try:
        return Scope.parse(str(text))
    except InvalidInput:
        return None
