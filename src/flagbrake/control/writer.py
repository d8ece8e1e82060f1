"""The only place that writes flags: lock, read, compare, write, read back, verify."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from flagbrake.control import changes
from flagbrake.control.deadlines import Overdue, call
from flagbrake.control.held import Held
from flagbrake.control.journal import Journal, Recorded
from flagbrake.errors import Conflict, FlagbrakeError, InvalidInput, LockBusy, NotFound, RetryLater, Unavailable
from flagbrake.model.change import intended, verb
from flagbrake.model.codec import checksum, dumps, flag_to_data
from flagbrake.model.flag import Flag
from flagbrake.model.state import Archive, Change, Create, FlagState, Replace, Support
from flagbrake.ports.clock import Clock, SystemClock
from flagbrake.ports.control import FlagControl
from flagbrake.ports.lock import Lock

_log = logging.getLogger("flagbrake.control")
T = TypeVar("T")

#: A definition longer than this (as JSON) enters the audit by its checksum only.
_AUDITED: Final = 64_000


class FlagWriter:
    """Writes one control's flags, one writer per flag at a time across machines.

    ``ttl`` is the length of a lease, ``wait`` how long to wait for a busy one, ``request`` the deadline of
    one call to the control, all in seconds. What is guaranteed: exact on SQL; on a vendor without
    compare-and-swap at most one stale write after a controller that was frozen for longer than a lease.
    """

    def __init__(
        self,
        control: FlagControl,
        *,
        lock: Lock,
        audit: Journal | None = None,
        clock: Clock | None = None,
        ttl: float = 30.0,
        wait: float = 10.0,
        request: float = 10.0,
    ) -> None:
        self.control = control
        self._lock = lock
        self._audit = audit
        self._clock = clock or SystemClock()
        self._ttl = ttl
        self._wait = wait
        self._request = request

    def apply(self, change: Change, *, by: str, reason: str = "", expected: str | None = None) -> FlagState:
        """Make a change true and return the flag as read back. A change that is true already writes nothing.

        Args:
            change: what to write.
            by: the person or program, for the audit.
            reason: why, for the audit.
            expected: the version the caller decided on; another one is refused.

        Raises:
            Unsupported: the control does not declare what the change needs as FULL. Nothing was written.
            InvalidInput: an unknown variant or rule, or a split finer than the control can set.
            NotFound: no such flag.
            LockBusy: somebody else is writing this flag.
            Conflict: the version is not ``expected`` (nothing was written), or what was read back is not
                what was meant (something was).
            Unavailable: the control did not answer; the message says whether it was written, or that
                nobody knows.
        """
        self.check(change)

        def work(held: Held) -> FlagState:
            before = self._before(change)
            if expected is not None and (before is None or before.version != expected):
                raise self._moved(change.key, before, expected)
            return self._write(held, change, before, by=by, reason=reason)

        return self._locked(change.key, work)

    def modify(self, key: str, decide: Callable[[FlagState], Change | None], *, by: str, reason: str = "") -> FlagState:
        """Read, let ``decide`` turn the state into a change (``None``: leave it), write: all under one lock.

        Raises:
            Unsupported, InvalidInput, NotFound, LockBusy, Conflict, Unavailable: as :meth:`apply`.
        """

        def work(held: Held) -> FlagState:
            state = self._read(key)
            change = decide(state)
            if change is None:
                return state
            self.check(change)
            return self._write(held, change, state, by=by, reason=reason)

        return self._locked(key, work)

    def check(self, change: Change) -> None:
        """Refuse what the control cannot do, before anything is locked or read.

        Raises:
            Unsupported: a capability is not FULL.
            InvalidInput: a split is finer than the control can set, or does not add up to 100 %.
        """
        for capability in changes.required(change):
            if self.control.capabilities.get(capability) is not Support.FULL:
                raise self.control.unsupported(capability)
        changes.check_splits(change, resolution=self.control.split_resolution, control=self.control.name)

    # --- the walk ------------------------------------------------------------------------------------

    def _locked(self, key: str, work: Callable[[Held], T]) -> T:
        name = str(self.control.ref(key))
        held = Held.take(self._lock, name, ttl=self._ttl, wait=self._wait, clock=self._clock)
        try:
            return work(held)
        finally:
            held.give_back()

    def _write(self, held: Held, change: Change, before: FlagState | None, *, by: str, reason: str) -> FlagState:
        meant = intended(before.flag if before else None, change)
        if before is not None and _nothing_to_do(before, meant, change):
            return before
        held.ensure(self._request)
        self._record(change, "intent", by, reason, before.flag if before else None, meant)
        written = self._send(held, change, by=by, reason=reason, before=before, meant=meant)
        after = self._verified(change, written, meant)
        self._record_result(change, "", by, reason, before.flag if before else None, after.flag)
        try:
            held.still_ours()
        except LockBusy as error:
            raise Conflict(
                f"The lock of '{change.key}' was lost in the middle of writing; it shows the change now "
                f"(version {after.version}), but somebody else may be writing it.",
                cure="look again",
            ) from error
        return after

    def _before(self, change: Change) -> FlagState | None:
        try:
            return self._read(change.key)
        except NotFound:
            # A document put back (Replace) may be of a flag that somebody deleted: the control decides.
            if isinstance(change, Create | Replace):
                return None
            raise
        except InvalidInput:
            # What is stored cannot be read any more: a whole definition may take its place.
            if isinstance(change, Replace):
                return None
            raise

    def _send(
        self, held: Held, change: Change, *, by: str, reason: str, before: FlagState | None, meant: Flag
    ) -> FlagState:
        """Send the change; when the answer is lost, reading tells what became of it."""
        expected = before.version if before else None

        def request() -> FlagState:
            return self.control.apply(change, expected=expected, by=by, comment=reason)

        pending = False
        try:
            return held.run(f"apply-{change.key}", request, within=self._request)
        except (Overdue, Unavailable) as error:
            _log.warning("no answer to a write of flag %s, reading back: %s", change.key, error)
            pending = isinstance(error, Unavailable) and error.pending
            held.abandoned |= pending
        except FlagbrakeError as error:
            self._record_result(change, "refused", by, reason, before.flag if before else None, None, str(error))
            raise
        except Exception:  # noqa: BLE001 - whatever broke in the adapter, the reading tells what became of the write
            _log.exception("the control failed in a write of flag %s, reading back", change.key)
        after = self._read_after_silence(change)
        meant = self._spelt(change, meant)
        if after is None and before is not None and isinstance(change, Archive):
            # Vendors stop showing what is archived.
            after = replace(before, flag=replace(before.flag, archived=True), read_at=self._clock.now())
        if after is not None and not changes.difference(after.flag, meant, change):
            if pending:
                held.abandoned = False  # it has landed
            return after
        outcome, same = "unconfirmed", before is not None and after is not None and after.version == before.version
        if same or (before is None and after is None):
            fact = f"'{self.control.name}' did not answer: the change of '{change.key}' is not written"
            fact += " (a request that hangs may still land)." if held.abandoned else "."
        else:
            fact = (
                f"'{self.control.name}' did not answer: '{change.key}' changed, but not into what was meant"
                f" ({changes.difference(after.flag, meant, change) if after else 'it is gone'})."
            )
        self._record_result(
            change, outcome, by, reason, before.flag if before else None, after.flag if after else None, fact
        )
        raise Unavailable(fact, cure="look at the flag and repeat the command")

    def _spelt(self, change: Change, meant: Flag) -> Flag:
        """What was meant, in the words of the vendor; a document of its own is in them already."""
        whole = isinstance(change, Create) or (isinstance(change, Replace) and change.native is None)
        return self.control.spelt(meant) if whole else meant

    def _read_after_silence(self, change: Change) -> FlagState | None:
        try:
            return self._read(change.key)
        except NotFound:
            return None
        except (FlagbrakeError, OSError) as error:
            self._record_result(change, "unconfirmed", "", "", None, None, str(error))
            raise Unavailable(
                f"'{self.control.name}' did not answer twice: nobody knows whether '{change.key}' was written.",
                cure="look at the flag when it answers again",
            ) from error

    def _verified(self, change: Change, written: FlagState, meant: Flag) -> FlagState:
        asked = self.control.reads_back and not isinstance(change, Archive)
        after = written if asked else self._read_back(change, written)
        if missed := changes.difference(after.flag, self._spelt(change, meant), change):
            raise Conflict(
                f"'{change.key}' does not show what was written (version {after.version}): {missed}.",
                cure="look at the flag: somebody may have changed it at the same moment",
            )
        return after

    def _read_back(self, change: Change, written: FlagState) -> FlagState:
        try:
            return self._read(change.key)
        except NotFound:
            # Vendors stop showing what is archived.
            if isinstance(change, Archive) and written.flag.archived:
                return written
            raise Conflict(f"'{change.key}' was written and is gone.", cure="look at the flag") from None
        except (Unavailable, RetryLater) as error:
            raise Unavailable(
                f"'{self.control.name}' accepted the change of '{change.key}' and then did not answer, "
                "so it could not be verified.",
                cure="look at the flag",
            ) from error

    def _read(self, key: str) -> FlagState:
        try:
            return call(f"read-{key}", lambda: self.control.read(key), within=self._request)
        except Overdue as error:
            raise Unavailable(
                f"'{self.control.name}' did not answer about '{key}' within {self._request:g} s.", cure="try again"
            ) from error

    # --- telling -------------------------------------------------------------------------------------

    def _moved(self, key: str, before: FlagState | None, expected: str) -> Conflict:
        if before is None:
            return Conflict(f"Flag '{key}' is gone (version {expected} was expected).", cure="look again")
        who = ""
        for entry in self._entries(key):
            if ":" not in entry.action:
                who = f" Last change here: {entry.action} by {entry.by} at {entry.at:%Y-%m-%d %H:%M:%S} UTC."
                break
        return Conflict(
            f"Flag '{key}' is at version {before.version}, not {expected}: somebody changed it.{who}",
            cure="look at it and decide again",
        )

    def _entries(self, key: str) -> tuple[Recorded, ...]:
        try:
            return tuple(self._audit.entries(key, 20)) if self._audit else ()
        except FlagbrakeError:
            return ()  # only a better message is lost

    def _record(
        self, change: Change, stage: str, by: str, reason: str, before: Flag | None, meant: Flag | None
    ) -> None:
        if self._audit is None or self.control.audits_itself:
            return
        action = f"{verb(change)}:{stage}" if stage else verb(change)
        self._audit.record(
            at=self._clock.now(),
            by=by,
            action=action,
            subject=change.key,
            reason=reason,
            before=_for_audit(before),
            after=_for_audit(meant),
            lane=self.control.name,
        )

    def _record_result(
        self,
        change: Change,
        stage: str,
        by: str,
        reason: str,
        before: Flag | None,
        after: Flag | None,
        fact: str = "",
    ) -> None:
        # The write has happened or has not: an audit that fails now must not change what the caller hears.
        try:
            self._record(change, stage, by, f"{reason} ({fact})" if fact else reason, before, after)
        except FlagbrakeError:
            _log.exception("the result of a write of flag %s could not be audited", change.key)


def _nothing_to_do(before: FlagState, meant: Flag, change: Change) -> bool:
    if isinstance(change, Replace) and change.native is not None and dumps(before.native) != dumps(change.native):
        return False
    return changes.already(before.flag, meant)


def _for_audit(flag: Flag | None) -> Any:
    if flag is None:
        return None
    document = flag_to_data(flag)
    text = dumps(document)
    return document if len(text) <= _AUDITED else {"key": flag.key, "checksum": checksum(text), "length": len(text)}
