"""The lane that switches the vendor's own flags off, so that programs without flagbrake see a kill too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from flagbrake.control import changes, prior
from flagbrake.control.coverage import Catalogue, covered
from flagbrake.control.journal import Journal, Recorded, after_of
from flagbrake.control.prior import Prior
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import InvalidInput, NotFound, Unavailable
from flagbrake.model.codec import checksum, dumps, kill_from_data, kill_to_data
from flagbrake.model.flag import Flag
from flagbrake.model.kill import Kill, KillSnapshot, ScopeKind
from flagbrake.model.manifest import Manifest
from flagbrake.model.state import Capability, Change, FlagState, Replace, SetOn, Support
from flagbrake.ports.clock import Clock
from flagbrake.ports.kills import KillLane

#: How far back in a flag's or a scope's record the lane looks.
_BACK: Final = 500
_HOLD, _FREE = "vendor-off:hold", "vendor-off:free"
_TOOK, _LIFTED = "vendor-off:took", "vendor-off:lifted"
#: The trace that no state has.
_EDITED: Final = {"version": "", "checksum": ""}


@dataclass(frozen=True, slots=True)
class Held:
    """A flag that is off for kills: what it was before the first of them, as it was left, and for whom."""

    prior: Prior
    left: Prior | None
    holders: frozenset[str]

    def as_left(self, now: FlagState) -> bool:
        """True if nobody touched the flag since this lane switched it off."""
        if self.left is not None:
            return self.left.unchanged(now)
        # The process died between the write and its record: only our own deed may be in it.
        before = self.prior.flag
        if before is None or now.flag.on:
            return False
        return changes.already(replace(now.flag, on=before.on, off_variant=before.off_variant), before)


class VendorOffLane(KillLane):
    """Switches off the flags that a kill covers, with their safe variant as off variant where the vendor has one.

    The journal holds, per flag, what it was before and for which kills it is off; the flag comes back when the
    last of them is lifted: the vendor's own document is put back, exactly, or, if people edited it meanwhile,
    only its switch and off variant.

    Args:
        writer: writes the flags.
        manifest: the declarations: which flags a scope covers and what is safe.
        journal: keeps the record; nothing is switched off without it.
        standing: the kills that stand; the lane tells which of them it holds.
        clock: of the journal's entries.
    """

    name: ClassVar[str] = "vendor-off"
    durable: ClassVar[bool] = True
    in_part: ClassVar[bool] = True

    def __init__(
        self,
        writer: FlagWriter,
        *,
        environment: str,
        manifest: Callable[[], Manifest],
        journal: Journal,
        standing: Callable[[], KillSnapshot],
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._environment = environment
        self._manifest = manifest
        self._journal = journal
        self._standing = standing
        self._clock = clock

    # --- the lane -------------------------------------------------------------------------------------------

    def kill(self, kill: Kill, *, deadline: float) -> Kill:
        """Switch off every flag that the kill covers by a static scope; again does what is left.

        Raises:
            NotFound: a kill of one flag that the vendor does not have.
            Unavailable: not all in time.
            FlagbrakeError: as :meth:`FlagWriter.modify`.
        """
        end = time.monotonic() + deadline
        left: dict[str, dict[str, str]] = {}
        manifest = self._manifest()
        for key in self._covered(kill, manifest):
            self._in_time(end, key)
            declaration = manifest.get(key)
            safe = kill.serve or (declaration.safe_variant if declaration else None)
            try:
                state = self._switch_off(key, kill, safe)
            except NotFound:
                if kill.scope.path == key:
                    raise
                continue  # declared here, not made there: nothing serves it
            left[key] = _trace(state)
        # Found again by its scope, and without knowing that: a kill lifted elsewhere is still to be lifted here.
        self._record(self.name, _TOOK, kill, by=kill.by, reason=kill.reason, after={"kill": kill_to_data(kill)})
        self._record(str(kill.scope), _TOOK, kill, by=kill.by, reason=kill.reason, after={"left": left})
        return replace(kill, lane=self.name)

    def lift(self, kill: Kill, *, by: str, reason: str, deadline: float) -> int:
        """Bring back every flag that no other kill holds.

        Raises:
            NotFound: this lane does not hold the kill.
            Unavailable: not all in time; again does what is left.
            FlagbrakeError: as :meth:`FlagWriter.modify`.
        """
        end = time.monotonic() + deadline
        if not (self._took(kill) or self.held(kill)):
            raise NotFound(f"The lane {self.name} does not hold {kill.id}.")
        for key in self._touched(kill):
            self._in_time(end, key)
            self._bring_back(key, kill, by=by, reason=reason)
        self._record(str(kill.scope), _LIFTED, kill, by=by, reason=reason, after={})
        return kill.epoch

    def read(self) -> KillSnapshot:
        """The kills that this lane took whole, lifted elsewhere or not; what it took in part is to be finished."""
        standing = self._standing()
        known = {kill.id: kill for kill in (*self._recent(), *standing.kills)}
        kills = tuple(replace(kill, lane=self.name) for kill in known.values() if self._took(kill))
        return KillSnapshot(standing.environment, standing.epoch, kills)

    def _recent(self) -> Iterator[Kill]:
        for entry in self._journal.entries(self.name, _BACK):
            data = after_of(entry, "kill")
            if data is not None:
                with contextlib.suppress(InvalidInput):
                    yield kill_from_data(data)

    # --- what restore asks -------------------------------------------------------------------------------------

    def held(self, kill: Kill) -> dict[str, Held]:
        """By key the flags that are off for this kill."""
        found = ((key, self._held(key)) for key in self._covered(kill, self._manifest()))
        return {key: held for key, held in found if held is not None and kill.id in held.holders}

    # --- one flag ----------------------------------------------------------------------------------------------

    def _switch_off(self, key: str, kill: Kill, safe: str | None) -> FlagState:
        edited = False

        def decide(state: FlagState) -> Change | None:
            nonlocal edited
            held = self._held(key)
            edited = held is not None and not (held.prior.unchanged(state) or held.as_left(state))
            if held is None or kill.id not in held.holders:
                # Under the flag's lock and before the write: without a record nothing is switched off.
                before = {"flags": prior.keep([state])}
                self._record(_subject(key), _HOLD, kill, by=kill.by, reason=kill.reason, before=before, after={})
            return self._off(state, safe)

        state = self._writer.modify(key, decide, by=kill.by, reason=kill.reason)
        # Edited by people under an earlier kill: no state is "as we left it" any more.
        left = _EDITED if edited else _trace(state)
        self._record(_subject(key), _HOLD, kill, by=kill.by, reason=kill.reason, after={"left": left})
        return state

    def _off(self, state: FlagState, safe: str | None) -> Change | None:
        flag = state.flag
        choosable = self._writer.control.capabilities.get(Capability.OFF_SERVES_SAFE) is Support.FULL
        wanted = safe if safe in flag.variant_names and choosable else flag.off_variant
        if not flag.on and flag.off_variant == wanted:
            return None
        return SetOn(state.ref.key, on=False, off_variant=None if flag.off_variant == wanted else wanted)

    def _bring_back(self, key: str, kill: Kill, *, by: str, reason: str) -> None:
        def decide(state: FlagState) -> Change | None:
            held = self._held(key)
            if held is None or held.holders - {kill.id}:
                return None
            return self._back(state, held)

        with contextlib.suppress(NotFound):  # deleted meanwhile, by somebody who could
            self._writer.modify(key, decide, by=by, reason=reason)
        self._record(_subject(key), _FREE, kill, by=by, reason=reason, after={})

    def _back(self, state: FlagState, held: Held) -> Change | None:
        before = held.prior
        if before.unchanged(state):
            return None
        exact = self._writer.control.capabilities.get(Capability.NATIVE_RESTORE) is Support.FULL
        if held.as_left(state) and exact and before.flag is not None and before.native is not None:
            return Replace(before.flag, native=before.native)
        return _switch_back(state, before.flag)

    # --- the record --------------------------------------------------------------------------------------------

    def _held(self, key: str) -> Held | None:
        """What the record says about a flag, ``None`` if nothing holds it."""
        first: Prior | None = None
        left: Prior | None = None
        holders: set[str] = set()
        for entry in reversed(self._journal.entries(_subject(key), _BACK)):
            who = after_of(entry, "id")
            if entry.action == _FREE:
                holders.discard(who)
                if not holders:
                    first = left = None
            elif entry.action == _HOLD:
                before = next(iter(_priors(entry)), None)
                first = first or before
                left = _left(key, entry) or left
                holders.add(who)
        return Held(first, left, frozenset(holders)) if first is not None and holders else None

    def _took(self, kill: Kill) -> bool:
        for entry in self._journal.entries(str(kill.scope), _BACK):
            if after_of(entry, "id") == kill.id and entry.action in {_TOOK, _LIFTED}:
                return entry.action == _TOOK
        return False

    def _touched(self, kill: Kill) -> tuple[str, ...]:
        """The flags it may have switched off, declared so still or not."""
        keys = dict.fromkeys(self._covered(kill, self._manifest()))
        for entry in self._journal.entries(str(kill.scope), _BACK):
            if after_of(entry, "id") == kill.id and entry.action == _TOOK:
                keys.update(dict.fromkeys(after_of(entry, "left") or ()))
        return tuple(key for key in keys if (held := self._held(key)) is not None and kill.id in held.holders)

    def _covered(self, kill: Kill, manifest: Manifest) -> Iterator[str]:
        names = frozenset({kill.scope.path}) if kill.scope.kind is ScopeKind.FLAG else frozenset[str]()
        for flag in covered(kill.scope, Catalogue(self._environment, manifest, names=names)):
            if not flag.conditional:
                yield flag.flag

    def _record(
        self,
        subject: str,
        action: str,
        kill: Kill,
        *,
        by: str,
        reason: str,
        after: Mapping[str, Any],
        before: Any = None,
    ) -> None:
        self._journal.record(
            at=self._clock.now(),
            by=by,
            action=action,
            subject=subject,
            reason=reason,
            before=before,
            after={"id": kill.id, **after},
            lane=self.name,
        )

    def _in_time(self, end: float, key: str) -> None:
        if time.monotonic() >= end:
            raise Unavailable(f"There was no time left for flag '{key}'.", cure="it is tried again")


def _subject(key: str) -> str:
    return f"off:{key}"


def _trace(state: FlagState) -> dict[str, str]:
    return {"version": state.version, "checksum": checksum(dumps(state.native))}


def _priors(entry: Recorded) -> Sequence[Prior]:
    return (prior.kept(entry.before.get("flags")) or ()) if isinstance(entry.before, Mapping) else ()


def _left(key: str, entry: Recorded) -> Prior | None:
    trace = after_of(entry, "left")
    return Prior(key, trace["version"], trace["checksum"]) if isinstance(trace, Mapping) else None


def _switch_back(state: FlagState, before: Flag | None) -> Change | None:
    """People edited it while it was off: their edit stays, only our own deed is undone."""
    if before is None or state.flag.on == before.on:
        return None
    off_variant = before.off_variant if before.off_variant in state.flag.variant_names else None
    changed = off_variant is not None and off_variant != state.flag.off_variant
    return SetOn(state.ref.key, on=before.on, off_variant=off_variant if changed else None)
