"""Rows to an immutable snapshot. A row that cannot be read keeps its last good version and raises an alarm."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from flagbrake.errors import FlagbrakeError, InvalidInput
from flagbrake.evaluate.ruleset import Ruleset
from flagbrake.model import codec
from flagbrake.model.clause import Op
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.kill import EVERYTHING, Kill, KillSnapshot
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.ports.clock import SystemClock
from flagbrake.store.adopted import LANE, kill_of
from flagbrake.store.kills import _read as read_kills


class Kind(StrEnum):
    """What a stored document is; also the name of its alarm's first part."""

    FLAG = "flag"
    SEGMENT = "segment"
    MANIFEST = "manifest"


#: What identifies a document within its environment.
Name = tuple[Kind, str]


class Source(StrEnum):
    """Where a snapshot came from."""

    NOWHERE = "nowhere"
    STORE = "store"
    LAST_KNOWN_GOOD = "last-known-good"


@dataclass(frozen=True, slots=True)
class Row:
    """One stored document.

    ``gone``: archived or deleted, so not served. ``adopted``: made from a row of somebody else's table;
    ``fault``: why that could not be done.
    """

    kind: Kind
    key: str
    document: str
    checksum: str
    revision: int
    version: int = 0
    gone: bool = False
    adopted: bool = False
    fault: str = ""

    @property
    def name(self) -> Name:
        """What identifies the row within its environment."""
        return self.kind, self.key


#: One standing kill as stored: all columns that its seal covers.
KillRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a process serves from, as of one revision. Replaced whole, never changed.

    ``alarms`` maps what is wrong (``flag:KEY``, ``kill:ID``, ``last-known-good``, ...) to one line with the
    fact and the cure.
    """

    revision: int
    ruleset: Ruleset
    manifest: Manifest
    kills: KillSnapshot
    loaded_at: datetime
    source: Source
    alarms: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    #: Of what reads others (prerequisites, segments): what it reads.
    reads: Mapping[Name, frozenset[Name]] = field(default_factory=lambda: MappingProxyType({}))


def nothing(environment: str, now: datetime) -> Snapshot:
    """The snapshot before any data: no flag, no kill, not to be served as knowledge."""
    return Snapshot(
        0, Ruleset({}, clock=SystemClock().now), Manifest(), KillSnapshot(environment, 0), now, Source.NOWHERE
    )


@dataclass(frozen=True, slots=True)
class Advance:
    """A new snapshot, the flags whose answers may differ, and the rows that proved good."""

    snapshot: Snapshot
    changed: frozenset[str]
    good: tuple[Row, ...]


#: From how many rows on a load is large.
_MANY: Final = 1000

#: Finds the last good row of a name, to be used when the new one cannot be read.
Fallback = Callable[[Name], Row | None]


def advance(
    before: Snapshot,
    rows: Iterable[Row],
    *,
    revision: int,
    now: datetime,
    source: Source = Source.STORE,
    fallback: Fallback = lambda _name: None,
) -> Advance:
    """Apply changed rows to a snapshot; what is not in ``rows`` is kept as it is, compiled closures included."""
    read = _Reading(before)
    rows = list(rows)
    with _uncollected(len(rows) >= _MANY):
        for row in rows:
            try:
                read.take(row, None if row.gone else _READ[row.kind](row))
            except FlagbrakeError as error:
                read.refuse(row, error, _last(before, row, fallback))
    ruleset = read.ruleset()
    for row, why in read.rejected(ruleset):
        # What can be read but not evaluated: the ruleset kept its own last good version, if it had one.
        read.refuse(row, why, _last(before, row, fallback))
        ruleset = read.ruleset()
    snapshot = replace(
        before,
        revision=revision,
        ruleset=ruleset,
        manifest=read.manifest(),
        loaded_at=now,
        source=source,
        alarms=MappingProxyType(read.alarms),
        reads=_reads_after(before.reads, read.flags, read.segments),
    )
    # What read the thing before may answer differently too, so its old reads count as well as its new ones.
    affected = _affected(before.reads, read.changed) | _affected(snapshot.reads, read.changed)
    return Advance(snapshot, affected, tuple(read.good.values()))


@contextmanager
def _uncollected(large: bool) -> Iterator[None]:
    """Keep the collector of cycles out of a large load, whose million live objects it would search in vain."""
    pause = large and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()


def overlay(
    changed: list[Row],
    known: Mapping[Name, Row],
    documents: Mapping[str, str],
    faults: Mapping[str, str],
) -> tuple[list[Row], frozenset[str]]:
    """Add what changed among adopted flags; return also the names that flagbrake's own table has as well (it wins).

    An adopted flag's version is made of its content: equal versions mean equal definitions everywhere.
    """
    own = {row.key for row in known.values() if row.kind is Kind.FLAG and not row.adopted}
    for row in changed:
        if row.kind is Kind.FLAG:
            (own.discard if row.gone else own.add)(row.key)
    held = {row.key: row for row in known.values() if row.adopted and row.key not in own}
    rows = list(changed)
    for key in documents.keys() - own:
        document = documents[key]
        if key not in held or held[key].document != document:
            sealed = codec.checksum(document)
            rows.append(Row(Kind.FLAG, key, document, sealed, 0, int(sealed[:12], 16), adopted=True))
    rows += [Row(Kind.FLAG, key, "", "", 0, adopted=True, fault=faults[key]) for key in faults.keys() - own]
    gone = held.keys() - documents.keys() - faults.keys()
    rows += [Row(Kind.FLAG, key, "", "", 0, gone=True, adopted=True) for key in gone]
    return rows, frozenset((documents.keys() | faults.keys()) & own)


class _Reading:
    """What a batch of rows comes to, while it is read."""

    def __init__(self, before: Snapshot) -> None:
        self._before = before
        self._tables: dict[Kind, dict[str, Any]] = {kind: {} for kind in Kind}
        self.alarms = dict(before.alarms)
        self.good: dict[Name, Row] = {}

    @property
    def flags(self) -> dict[str, Flag | None]:
        return self._tables[Kind.FLAG]

    @property
    def segments(self) -> dict[str, Segment | None]:
        return self._tables[Kind.SEGMENT]

    @property
    def changed(self) -> list[Name]:
        return [(kind, key) for kind in (Kind.FLAG, Kind.SEGMENT) for key in self._tables[kind]]

    def take(self, row: Row, noun: Any) -> None:
        self._tables[row.kind][row.key] = noun
        self.alarms.pop(f"{row.kind}:{row.key}", None)
        self.good[row.name] = row

    def refuse(self, row: Row, error: FlagbrakeError, last: Row | None) -> None:
        self._tables[row.kind].pop(row.key, None)
        self.good.pop(row.name, None)
        if last is not None:
            self.take(last, _READ[last.kind](last))
        served = last is not None or _held(self._before, row)
        self.alarms[f"{row.kind}:{row.key}"] = _complaint(row, error, served=served)

    def ruleset(self) -> Ruleset:
        before = self._before.ruleset
        return before.changed(self.flags, self.segments) if self.flags or self.segments else before

    def rejected(self, ruleset: Ruleset) -> list[tuple[Row, FlagbrakeError]]:
        names = {Kind.FLAG: "{}", Kind.SEGMENT: "segment:{}"}
        refused = ruleset.rejected
        return [
            (row, refused[name])
            for row in self.good.values()
            if row.kind in names and (name := names[row.kind].format(row.key)) in refused
        ]

    def manifest(self) -> Manifest:
        declarations: dict[str, Declaration | None] = self._tables[Kind.MANIFEST]
        if not declarations:
            return self._before.manifest
        merged = {**self._before.manifest.declarations, **declarations}
        return Manifest(MappingProxyType({key: found for key, found in merged.items() if found is not None}))


def standing(
    rows: Iterable[KillRow], *, environment: str, epoch: int, known: KillSnapshot
) -> tuple[KillSnapshot, dict[str, str]]:
    """The standing kills of stored rows, and the alarms among them.

    A damaged row counts as a kill of every scope that it may have had, as it was known here before too.
    """
    before = {kill.id: kill for kill in known.kills}
    kills: list[Kill] = []
    alarms: dict[str, str] = {}
    for row in rows:
        if "adopted" in row:
            found = kill_of(row["adopted"], environment=environment, epoch=epoch, is_flag=row["is_flag"])
            if found is not None:
                kills.append(found[0])
                if found[1]:
                    alarms[f"kill:{row['id']}"] = _doubt(found[0], found[1])
            continue
        read = list(read_kills(row, environment))
        damaged = [kill for kill in read if kill.corrupt]
        last = before.get(str(row["id"]))
        if damaged and last is not None and last.scope not in {kill.scope for kill in read}:
            read.append(replace(last, corrupt=True))
        kills += read
        if damaged:
            scopes = ", ".join(str(kill.scope) for kill in read)
            alarms[f"kill:{row['id']}"] = (
                f"Kill '{row['id']}' is damaged in the store, so {scopes} counts as killed."
                f" Try: flagbrake restore {row['id']}, then kill again if it must stand"
            )
    return KillSnapshot(environment, epoch, tuple(kills)), alarms


def _doubt(kill: Kill, wrong: str) -> str:
    fact = wrong.rstrip(".")
    return f"Kill switch '{kill.id}' cannot be read ({fact}), so {kill.scope} counts as killed. Try: mend the row"


def announced(data: Iterable[Any], *, environment: str, epoch: int, known: KillSnapshot) -> KillSnapshot:
    """The standing kills as they travel in an announcement; a strange one counts as a kill of everything.

    Kills in adopted tables do not travel: they stand as known until the next read.
    """
    before = {kill.id: kill for kill in known.kills}
    kills: list[Kill] = [kill for kill in known.kills if kill.lane == LANE]
    for item in data:
        try:
            kills.append(codec.kill_from_data(item))
        except InvalidInput as error:
            found = before.get(str(item.get("id"))) if isinstance(item, dict) else None
            kills.append(
                found or everything(environment, epoch=epoch, reason=f"an announcement is unreadable: {error}")
            )
    return KillSnapshot(environment, epoch, tuple(kills))


def everything(environment: str, *, epoch: int, reason: str) -> Kill:
    """The kill that stands for knowledge that was lost: everything, until somebody looks."""
    at = datetime.fromtimestamp(0, UTC)
    return Kill("unreadable", EVERYTHING, environment, reason, "flagbrake", at, epoch, corrupt=True)


def _data(row: Row, *, versioned: bool = True) -> Any:
    if row.fault:
        raise InvalidInput(row.fault, cure="mend the row in its own table")
    if codec.checksum(row.document) != row.checksum:
        raise InvalidInput("its checksum does not match: the row was damaged or edited by hand.")
    data = codec.loads(row.document)
    if versioned and isinstance(data, dict):
        data["version"] = row.version  # the row's column counts; documents are kept without it
    return data


def _flag(row: Row) -> Flag:
    flag = codec.flag_from_data(_data(row))
    if flag.key != row.key:
        raise InvalidInput(f"its document is flag '{flag.key}'.")
    return flag


def _segment(row: Row) -> Segment:
    segment = codec.segment_from_data(_data(row))
    if segment.key != row.key:
        raise InvalidInput(f"its document is segment '{segment.key}'.")
    return segment


def _declaration(row: Row) -> Declaration:
    declaration = codec.declaration_from_data(_data(row, versioned=False))
    if declaration.flag != row.key:
        raise InvalidInput(f"its document declares '{declaration.flag}'.")
    return declaration


_READ: Final[Mapping[Kind, Callable[[Row], Any]]] = {
    Kind.FLAG: _flag,
    Kind.SEGMENT: _segment,
    Kind.MANIFEST: _declaration,
}


def _last(before: Snapshot, row: Row, fallback: Fallback) -> Row | None:
    """The last good row from outside the snapshot, when the snapshot itself has no version of it."""
    last = None if _held(before, row) else fallback(row.name)
    if last is None or last.gone or last == row:
        return None
    try:
        _READ[last.kind](last)
    except FlagbrakeError:
        return None
    return last


def _held(before: Snapshot, row: Row) -> bool:
    held: Mapping[str, Any] = {
        Kind.FLAG: before.ruleset.flags,
        Kind.SEGMENT: before.ruleset.segments,
        Kind.MANIFEST: before.manifest.declarations,
    }[row.kind]
    return row.key in held


def _complaint(row: Row, error: FlagbrakeError, *, served: bool) -> str:
    what = {Kind.FLAG: "Flag", Kind.SEGMENT: "Segment", Kind.MANIFEST: "The declaration of"}[row.kind]
    then = "its last good version is served" if served else "it is not served"
    fact = error.fact.rstrip(".")
    cure = error.cure or "write it again"
    where = "in feature_flags" if row.adopted else f"at revision {row.revision}"
    return f"{what} '{row.key}' {where} cannot be used: {fact}; {then}. Try: {cure}"


def _reads_after(
    before: Mapping[Name, frozenset[Name]],
    flags: Mapping[str, Flag | None],
    segments: Mapping[str, Segment | None],
) -> Mapping[Name, frozenset[Name]]:
    things: list[tuple[Name, Flag | Segment | None]] = [((Kind.FLAG, key), flag) for key, flag in flags.items()]
    things += [((Kind.SEGMENT, key), segment) for key, segment in segments.items()]
    now = {name: _reads(thing) if thing is not None else frozenset[Name]() for name, thing in things}
    if not any(now.values()) and not any(name in before for name in now):
        return before
    return MappingProxyType({name: read for name, read in {**before, **now}.items() if read})


def _reads(thing: Flag | Segment) -> frozenset[Name]:
    """The flags and segments whose change may change this thing's answer."""
    found: set[Name] = set()
    if isinstance(thing, Flag):
        found.update((Kind.FLAG, p.flag) for p in thing.prerequisites)
    for rule in thing.rules:
        for clause in rule.clauses:
            if clause.op is Op.SEGMENT:
                found.update((Kind.SEGMENT, str(value)) for value in clause.values)
            elif clause.op is Op.FLAG:
                found.update((Kind.FLAG, part) for part in clause.attribute.path)
    return frozenset(found)


def _affected(reads: Mapping[Name, frozenset[Name]], changed: Iterable[Name]) -> frozenset[str]:
    """The changed flags and every flag that reads a changed flag or segment, however indirectly."""
    affected = set(changed)
    grown = True
    while grown:
        more = {name for name, read in reads.items() if name not in affected and not affected.isdisjoint(read)}
        affected |= more
        grown = bool(more)
    return frozenset(key for kind, key in affected if kind is Kind.FLAG)
