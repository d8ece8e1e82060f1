"""The few SELECTs of a feed, in SQL that every database understands. They see rows as stored, damaged ones too."""

# ruff: noqa: S608 - statements are put together from this file's own constants; every value is a parameter
from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from flagbrake.errors import StoreUnavailable
from flagbrake.store.adopted import Adopted, Role, flags_of
from flagbrake.store.snapshot import KillRow, Kind, Name, Row, overlay
from flagbrake.store.watch.base import Select, Watch

_HERE: Final = "WHERE project = ? AND environment = ?"
_TABLES: Final = {Kind.FLAG: "flagbrake_flag", Kind.SEGMENT: "flagbrake_segment", Kind.MANIFEST: "flagbrake_manifest"}
_COLUMNS: Final = "key, document, checksum, revision, version, archived, deleted"
_SERVED: Final = "AND NOT archived AND NOT deleted"
#: How many keys one statement may name (SQLite's oldest limit is 999 parameters).
_CHUNK: Final = 500

_KILL: Final = ("project", "environment", "id", "scope", "epoch", "document", "checksum")

Home = tuple[str, str]


def counters(watch: Watch, home: Home) -> tuple[int, int]:
    """The revision and the epoch of the last kill or lift; zeros before the first control transaction."""
    return _counters(watch.peek(f"SELECT revision, kill_epoch FROM flagbrake_revision {_HERE}", home))


def counters_within(select: Select, home: Home) -> tuple[int, int]:
    """The same inside a transaction."""
    return _counters(select(f"SELECT revision, kill_epoch FROM flagbrake_revision {_HERE}", home))


def _counters(found: list[tuple[int, ...]]) -> tuple[int, int]:
    return (found[0][0], found[0][1]) if found else (0, 0)


def glance(watch: Watch, home: Home) -> tuple[int, int, list[KillRow]]:
    """The counters and all standing kills in one statement, so of one moment: what a kill needs, and no more."""
    columns = ", ".join(f"k.{column}" for column in _KILL)
    found = watch.peek(
        f"SELECT r.revision, r.kill_epoch, {columns} FROM flagbrake_revision r"
        " LEFT JOIN flagbrake_kill k ON k.project = r.project AND k.environment = r.environment"
        " WHERE r.project = ? AND r.environment = ? ORDER BY k.epoch, k.id",
        home,
    )
    if not found:
        return 0, 0, []
    rows: list[KillRow] = [dict(zip(_KILL, row[2:], strict=True)) for row in found if row[4] is not None]
    return found[0][0], found[0][1], rows


def identity(watch: Watch, home: Home) -> str | None:
    """The first link of the audit chain, which no two stores share; empty before the first entry.

    ``None`` for a role that may not read it: what was witnessed then counts for every store at this address.
    """
    try:
        found = watch.peek(f"SELECT hash FROM flagbrake_audit {_HERE} AND seq = 1", home)
    except StoreUnavailable:
        return None
    return str(found[0][0]) if found else ""


def adoption(select: Select, home: Home) -> tuple[Adopted, ...]:
    """The tables of other software that are served here."""
    found = select(f"SELECT role, table_name, columns FROM flagbrake_adoption {_HERE}", home)
    return tuple(Adopted(Role(role), table, tuple(json.loads(columns))) for role, table, columns in found)


def kills(select: Select, home: Home) -> list[KillRow]:
    """All standing kills, with every column that their seal covers."""
    found = select(f"SELECT {', '.join(_KILL)} FROM flagbrake_kill {_HERE} ORDER BY epoch, id", home)
    return [dict(zip(_KILL, row, strict=True)) for row in found]


def adopted_kills(select: Select, home: Home, adopted: Collection[Adopted]) -> list[KillRow]:
    """The rows of an adopted table of kill switches, active or not."""
    rows: list[KillRow] = []
    for table in adopted:
        if table.role is Role.KILLS:
            for row in table.rows(select(table.select(), ())):
                name = str(row["name"])
                rows.append({"id": name, "adopted": row, "is_flag": _is_flag(select, home, adopted, name)})
    return rows


def _is_flag(select: Select, home: Home, adopted: Collection[Adopted], name: str) -> bool:
    if select(f"SELECT 1 FROM flagbrake_flag {_HERE} {_SERVED} AND key = ?", (*home, name)):
        return True
    tables = [table.table for table in adopted if table.role is Role.FLAGS]
    return any(select(f'SELECT 1 FROM "{table}" WHERE name = ?', (name,)) for table in tables)


def documents(
    select: Select,
    home: Home,
    kinds: Collection[Kind],
    known: Mapping[Name, Row],
    revision: int | None,
    adopted: Collection[Adopted],
) -> tuple[list[Row], frozenset[str]]:
    """What changed since a revision (``None``: whatever is not as known), adopted flags included.

    Also the names that an adopted table shares with flagbrake's own.
    """
    if revision is None:
        rows = differing(select, home, kinds, {name: row for name, row in known.items() if not row.adopted})
    else:
        rows = since(select, home, kinds, revision)
    if Kind.FLAG not in kinds:
        return rows, frozenset()
    texts: dict[str, str] = {}
    faults: dict[str, str] = {}
    for table in adopted:
        if table.role is Role.FLAGS:
            texts, faults = flags_of(table.rows(select(table.select(), ())))
    return overlay(rows, known, texts, faults)


def since(select: Select, home: Home, kinds: Collection[Kind], revision: int) -> list[Row]:
    """Every document that changed after a revision, the gone ones included; one statement for all kinds."""
    parts = [f"SELECT '{kind}', {_COLUMNS} FROM {_TABLES[kind]} {_HERE} AND revision > ?" for kind in kinds]
    found = select(" UNION ALL ".join(parts), (*home, revision) * len(parts))
    return [row for kind, *rest in found for row in _rows(Kind(str(kind)), [tuple(rest)])]


def differing(select: Select, home: Home, kinds: Collection[Kind], known: Mapping[Name, Row]) -> list[Row]:
    """Every document that is not as in ``known``, whatever its revision says: after a loss of contact."""
    rows: list[Row] = []
    for kind in kinds:
        table = _TABLES[kind]
        held = {key: row for (of, key), row in known.items() if of is kind}
        if not held:
            rows += _rows(kind, select(f"SELECT {_COLUMNS} FROM {table} {_HERE} {_SERVED}", home))
            continue
        there = select(f"SELECT key, checksum, version FROM {table} {_HERE} {_SERVED}", home)
        other = [k for k, c, v in there if (h := held.get(k)) is None or h.checksum != c or h.version != v]
        for start in range(0, len(other), _CHUNK):
            chunk = other[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows += _rows(kind, select(f"SELECT {_COLUMNS} FROM {table} {_HERE} AND key IN ({marks})", (*home, *chunk)))
        left = held.keys() - {key for key, _, _ in there}
        rows += [Row(kind, key, "", "", held[key].revision, held[key].version, gone=True) for key in left]
    return rows


def _rows(kind: Kind, found: list[tuple[object, ...]]) -> Iterator[Row]:
    for key, document, checksum, revision, version, archived, deleted in found:
        yield Row(
            kind,
            _text(key),
            _text(document),
            _text(checksum),
            _whole(revision),
            _whole(version),
            bool(archived or deleted),
        )


def _text(value: object) -> str:
    # SQLite lets a damaged or hand-edited row hold any type: the checksum will refuse it, not this line.
    return value if isinstance(value, str) else repr(value)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
