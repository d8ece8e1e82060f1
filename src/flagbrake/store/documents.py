"""Rows that hold one document each: flags, segments and declarations are kept alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Connection, Table, select

from flagbrake.errors import Conflict, InvalidInput
from flagbrake.model.codec import checksum, dumps, loads
from flagbrake.store import schema
from flagbrake.store.engine import Database

T = TypeVar("T")

_LONGEST: Final = 300
#: How many keys one statement names.
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How one kind of noun becomes a document and back. The document never holds the version: the row does."""

    noun: str
    table: Table
    key: Callable[[T], str]
    write: Callable[[T], dict[str, Any]]
    #: Data and the row's version to the noun.
    read: Callable[[Any, int], T]
    archived: Callable[[T], bool] = lambda _noun: False


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """One row. ``document`` is canonical JSON, empty in the tombstone of a deleted row.

    ``revision`` is the environment's revision of the row's last change; ``version`` counts this row's own
    changes and never repeats, not even after deletion.
    """

    key: str
    document: str
    checksum: str
    revision: int
    version: int
    updated_at: datetime
    archived: bool
    deleted: bool
    kind: Kind[T] = field(repr=False, compare=False)

    @property
    def token(self) -> str:
        """The version for compare-and-swap: equal tokens mean equal definitions."""
        return _token(self.version, self.checksum)

    @property
    def intact(self) -> bool:
        """False if the document is not what was written."""
        return checksum(self.document) == self.checksum

    def data(self) -> Any:
        """The document as JSON data.

        Raises:
            InvalidInput: the row is a tombstone, or damaged.
        """
        where = f"{self.kind.noun} '{self.key}'"
        if self.deleted:
            raise InvalidInput(f"The {where} is deleted.")
        if not self.intact:
            raise InvalidInput(
                f"The stored {where} is not what was written: its checksum is wrong.",
                cure=f"flagbrake history {self.key}, then set it again",
            )
        return loads(self.document, where=where)

    def decode(self) -> T:
        """The noun, with the row's version.

        Raises:
            InvalidInput: the row is a tombstone, damaged, or not understood by this version.
        """
        return self.kind.read(self.data(), self.version)


class Documents(Generic[T]):
    """The rows of one kind in one environment."""

    def __init__(self, database: Database, kind: Kind[T]) -> None:
        self._db = database
        self._kind = kind

    def get(self, key: str, *, conn: Connection | None = None) -> Stored[T] | None:
        """One row, ``None`` if there is none (or it is deleted)."""
        table = self._kind.table
        query = self._select().where(table.c.key == key, table.c.deleted.is_(False))
        with self._db.looking(conn) as reader:
            row = reader.execute(query).mappings().first()
        return self._stored(row) if row else None

    def all(self, *, conn: Connection | None = None) -> list[Stored[T]]:
        """All rows that are not deleted, archived ones included, by key."""
        table = self._kind.table
        query = self._select().where(table.c.deleted.is_(False)).order_by(table.c.key)
        with self._db.looking(conn) as reader:
            return [self._stored(row) for row in reader.execute(query).mappings()]

    def since(self, revision: int, *, conn: Connection | None = None) -> list[Stored[T]]:
        """Rows changed after ``revision``, tombstones included, in the order of their change."""
        table = self._kind.table
        query = self._select().where(table.c.revision > revision).order_by(table.c.revision, table.c.key)
        with self._db.looking(conn) as reader:
            return [self._stored(row) for row in reader.execute(query).mappings()]

    def keys(self, *, conn: Connection | None = None) -> list[str]:
        """The keys of all rows that are not deleted."""
        table = self._kind.table
        query = select(table.c.key).where(*self._db.mine(table), table.c.deleted.is_(False)).order_by(table.c.key)
        with self._db.looking(conn) as reader:
            return list(reader.execute(query).scalars())

    def tokens(self, *, under: str = "", conn: Connection | None = None) -> list[tuple[str, str]]:
        """Key and token of all rows that are not deleted, without their documents.

        With ``under`` only of that key and of the keys that begin with it and a dot.
        """
        table = self._kind.table
        query = (
            select(table.c.key, table.c.version, table.c.checksum)
            .where(*self._db.mine(table), table.c.deleted.is_(False))
            .order_by(table.c.key)
        )
        if under:
            query = query.where((table.c.key == under) | table.c.key.startswith(f"{under}.", autoescape=True))
        with self._db.looking(conn) as reader:
            return [(key, _token(version, seal)) for key, version, seal in reader.execute(query)]

    def some(self, keys: Iterable[str], *, conn: Connection | None = None) -> list[Stored[T]]:
        """The rows of these keys that are not deleted, by key."""
        table = self._kind.table
        wanted = sorted(set(keys))
        found: list[Stored[T]] = []
        with self._db.looking(conn) as reader:
            for start in range(0, len(wanted), _CHUNK):
                query = self._select().where(
                    table.c.key.in_(wanted[start : start + _CHUNK]), table.c.deleted.is_(False)
                )
                found += [self._stored(row) for row in reader.execute(query.order_by(table.c.key)).mappings()]
        return found

    def write(self, conn: Connection, noun: T, *, expected: str | None = None) -> Stored[T]:
        """Put one in place, in the caller's transaction; its version grows by one, whatever it says itself.

        Raises:
            Conflict: ``expected`` is given and is not the stored token ("" expects that there is none).
        """
        key = self._kind.key(noun)
        # The counter's lock first: from here to commit nobody else writes in this environment.
        self._db.lock_counter(conn)
        if expected is not None:
            found = self.get(key, conn=conn)
            self._compare(key, expected, found.token if found else "")
        return self.write_all(conn, [noun])[0]

    def write_all(self, conn: Connection, nouns: Iterable[T]) -> list[Stored[T]]:
        """Put many in place, in the caller's transaction, at one revision.

        Raises:
            InvalidInput: a key no database can hold.
        """
        texts = {self._kind.key(noun): (noun, dumps(self._kind.write(noun))) for noun in nouns}
        if not texts:
            return []
        for key in texts:
            if not key or key != schema.clean(key, _LONGEST):
                raise InvalidInput(
                    f"{key[:40]!r} cannot be the key of a {self._kind.noun}.",
                    cure=f"1 to {_LONGEST} characters of text",
                )
        revision = self._bump(conn, texts)
        at = schema.micros(self._db.clock.now())
        versions = self._versions(conn, list(texts))
        rows = [
            {
                **self._db.home,
                "key": key,
                "document": text,
                "checksum": checksum(text),
                "revision": revision,
                "version": versions.get(key, 0) + 1,
                "updated_at": at,
                "archived": self._kind.archived(noun),
                "deleted": False,
            }
            for key, (noun, text) in texts.items()
        ]
        table = self._kind.table
        insert = self._db.insert(table)
        changed = {c.name: insert.excluded[c.name] for c in table.c if not c.primary_key}
        conn.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changed), rows)
        return [self._stored(row) for row in rows]

    def delete(self, conn: Connection, key: str, *, expected: str | None = None) -> int:
        """Delete one, leaving a tombstone; return the revision.

        Raises:
            Conflict: as for ``write``.
        """
        self._db.lock_counter(conn)
        found = self.get(key, conn=conn)
        if expected is not None:
            self._compare(key, expected, found.token if found else "")
        revision = self._bump(conn, [key])
        table = self._kind.table
        gone = {
            "document": "",
            "checksum": checksum(""),
            "revision": revision,
            "version": table.c.version + 1,
            "updated_at": schema.micros(self._db.clock.now()),
            "deleted": True,
        }
        conn.execute(table.update().where(*self._db.mine(table), table.c.key == key).values(gone))
        return revision

    def _bump(self, conn: Connection, keys: Iterable[str]) -> int:
        if self._kind.table is schema.flag:
            return self._db.bump(conn, flags=keys)
        return self._db.bump(conn, other=True)

    def _versions(self, conn: Connection, keys: list[str]) -> dict[str, int]:
        table = self._kind.table
        found: dict[str, int] = {}
        for start in range(0, len(keys), _CHUNK):
            some = keys[start : start + _CHUNK]
            query = select(table.c.key, table.c.version).where(*self._db.mine(table), table.c.key.in_(some))
            found.update((key, version) for key, version in conn.execute(query))
        return found

    def _compare(self, key: str, expected: str, found: str) -> None:
        if expected != found:
            now = f"it is at {found} now" if found else "it does not exist now"
            raise Conflict(
                f"The {self._kind.noun} '{key}' was changed by somebody else: {now}, not at {expected or 'nothing'}.",
                cure="read it again, then decide again",
            )

    def _select(self) -> Any:
        return select(self._kind.table).where(*self._db.mine(self._kind.table))

    def _stored(self, row: Mapping[Any, Any]) -> Stored[T]:
        return Stored(
            key=row["key"],
            document=row["document"],
            checksum=row["checksum"],
            revision=row["revision"],
            version=row["version"],
            updated_at=schema.moment(row["updated_at"]),
            archived=bool(row["archived"]),
            deleted=bool(row["deleted"]),
            kind=self._kind,
        )


def _token(version: int, seal: str) -> str:
    return f"{version}:{seal}"
