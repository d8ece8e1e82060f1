"""The control plane on our own store: every change is one transaction, with its audit entry in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar

from sqlalchemy import Connection

from flagbrake.errors import InvalidInput, NotFound
from flagbrake.evaluate import check
from flagbrake.evaluate.checks import FLAG_NODE, MOST_ASKED, needs_of_flag, needs_of_segment
from flagbrake.model.change import intended, verb
from flagbrake.model.codec import flag_from_data, flag_to_data
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.history import VendorEntry
from flagbrake.model.state import (
    Archive,
    Capability,
    Change,
    Create,
    FlagState,
    Replace,
    SetOn,
    Support,
)
from flagbrake.ports.control import FlagControl
from flagbrake.store import Store
from flagbrake.store.adoption import versioned
from flagbrake.store.flags import StoredFlag
from flagbrake_sql import errors

_log = logging.getLogger("flagbrake.sql")

#: Changes that must work on a flag whose surroundings are broken: turning off, archiving.
_ALWAYS = (SetOn, Archive)


class SqlControl(FlagControl):
    """Flags in the store of one environment. Exact: nothing is lost or half done, whoever else writes."""

    name: ClassVar[str] = "sql"
    capabilities: ClassVar[Mapping[Capability, Support]] = MappingProxyType(dict.fromkeys(Capability, Support.FULL))
    split_resolution: ClassVar[int] = 1
    audits_itself: ClassVar[bool] = True

    def __init__(self, store: Store) -> None:
        self._store = store
        self.project = store.project
        self.environment = store.environment

    def read(self, key: str) -> FlagState:
        """One flag, an archived one too.

        Raises:
            NotFound: no such flag; the nearest keys are named.
            InvalidInput: the row is damaged.
            StoreUnavailable: the database did not answer.
        """
        with self._store.db.reading() as conn:
            found = self._store.flags.get(key, conn=conn)
            if found is not None:
                return self._state(found)
            adopted = self._store.adoption.flag(conn, key)
            if adopted is not None:
                return self._adopted_state(adopted)
            raise self._no_flag(conn, key)

    def apply(self, change: Change, *, expected: str | None = None, by: str = "", comment: str = "") -> FlagState:
        """Write one change; a change that is true already writes nothing.

        Raises:
            NotFound, Conflict, InvalidInput: as the port says; nothing was written.
            LockBusy, NotAllowed: nothing was written. StoreUnavailable: read, it may have been.
        """
        store = self._store
        with store.db.transaction() as conn:
            # From here to commit nobody else writes in this environment, so what is read is what is replaced.
            store.db.lock_counter(conn)
            found = store.flags.get(change.key, conn=conn)
            # Where both have a flag of this name ours is served, so Create puts ours beside theirs.
            if found is None and not isinstance(change, Create):
                adopted = store.adoption.flag(conn, change.key, lock=True)
                if adopted is not None:
                    return self._apply_adopted(conn, adopted, change, expected=expected, by=by, comment=comment)
            if expected is not None and (found is None or found.token != expected):
                if found is None and not isinstance(change, Replace):
                    raise self._no_flag(conn, change.key)
                raise errors.moved(change.key, found=found.token if found else "none", expected=expected)
            flag = self._changed(conn, found, change)
            if found is not None and found.intact and replace(flag, version=found.version) == _whole(found):
                return self._state(found)
            if not isinstance(change, _ALWAYS):
                # What is written must be readable: the codec is stricter than the type checker.
                flag_from_data(flag_to_data(flag))
                self._check(conn, flag)
            written = store.flags.write(conn, flag)
            store.audit.append(
                conn,
                at=written.updated_at,
                by=by,
                action=verb(change),
                subject=change.key,
                reason=comment,
                before=found.data() if found is not None and found.intact else None,
                after=written.data(),
            )
        return self._state(written)

    def states(self) -> Iterator[FlagState]:
        """All flags that are not archived. A damaged row is left out with an alarm in the log."""
        yield from self.readable(self._state, (row for row in self._store.flags.all() if not row.archived))
        own = set(self._store.flags.keys())
        with self._store.db.reading() as conn:
            adopted = self._store.adoption.flags(conn)
        yield from (self._adopted_state(flag) for flag in adopted if flag.key not in own)

    def segments(self) -> Iterator[Segment]:
        """All segments. A damaged row is left out with an alarm in the log."""
        return self.readable(lambda row: row.decode(), self._store.segments.all())

    def history(self, key: str, limit: int = 20) -> Iterator[VendorEntry]:
        """The store's audit about a flag, newest first."""
        return (VendorEntry(e.at, e.by, e.action, e.reason) for e in self._store.audit.entries(key, limit))

    # --- inside ----------------------------------------------------------------------------------------

    def _no_flag(self, conn: Connection, key: str) -> NotFound:
        known = [*self._store.flags.keys(conn=conn), *(flag.key for flag in self._store.adoption.flags(conn))]
        return errors.no_flag(key, known, self.environment)

    def _apply_adopted(
        self, conn: Connection, found: Flag, change: Change, *, expected: str | None, by: str, comment: str
    ) -> FlagState:
        """Write a flag of an adopted table in place."""
        before = self._adopted_state(found)
        if expected is not None and expected != before.version:
            raise errors.moved(change.key, found=before.version, expected=expected)
        flag = _native(change) if isinstance(change, Replace) and change.native is not None else None
        if flag is None:
            flag = intended(found, change)
        after = self._adopted_state(versioned(flag))
        if after.version == before.version:
            return before
        self._store.adoption.write(conn, flag)
        self._store.audit.append(
            conn,
            at=self._store.clock.now(),
            by=by,
            action=verb(change),
            subject=change.key,
            reason=comment,
            before=before.native,
            after=after.native,
        )
        return after

    def _adopted_state(self, flag: Flag) -> FlagState:
        native = flag_to_data(replace(flag, version=0))
        return FlagState(self.ref(flag.key), flag, str(flag.version), native, self._store.clock.now())

    def _state(self, row: StoredFlag) -> FlagState:
        return FlagState(
            ref=self.ref(row.key),
            flag=row.decode(),
            version=row.token,
            native=row.data(),
            read_at=self._store.clock.now(),
        )

    def _changed(self, conn: Connection, found: StoredFlag | None, change: Change) -> Flag:
        """The flag as the change wants it."""
        if isinstance(change, Create):
            if found is not None:
                raise errors.exists(change.key, archived=found.archived)
            return change.flag
        if isinstance(change, Replace):
            return change.flag if change.native is None else _native(change)
        if found is None:
            raise self._no_flag(conn, change.key)
        return intended(found.decode(), change)

    def _check(self, conn: Connection, flag: Flag) -> None:
        """Refuse what evaluators would refuse, looking only at what this flag asks, however deep."""
        flags: dict[str, Flag] = {}
        segments: dict[str, Segment] = {}
        ahead = set(needs_of_flag(flag)) - {(FLAG_NODE, flag.key)}
        while ahead and len(flags) + len(segments) <= MOST_ASKED:
            kind, key = ahead.pop()
            if kind == FLAG_NODE:
                if key in flags or (row := self._store.flags.get(key, conn=conn)) is None:
                    continue
                flags[key] = row.decode()
                ahead |= needs_of_flag(flags[key]) - {(FLAG_NODE, flag.key)}
            else:
                if key in segments or (found := self._store.segments.get(key, conn=conn)) is None:
                    continue
                segments[key] = found.decode()
                ahead |= needs_of_segment(segments[key])
        check(flag, flags=flags, segments=segments)


def _native(change: Replace) -> Flag:
    flag = flag_from_data(change.native, where=f"flag '{change.key}'")
    if flag.key != change.key:
        raise errors.wrong_native(change.key, flag.key)
    return flag


def _whole(row: StoredFlag) -> Flag | None:
    try:
        return row.decode()
    except InvalidInput:
        return None  # not understood any more: it may be replaced
