"""The lane that is a vendor flag: ``kill.<scope>``, a boolean that serves true to everybody while it kills."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Final

from flagbrake.control.journal import Journal
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import Conflict, FlagbrakeError, InvalidInput, NotFound, Unsupported
from flagbrake.model.codec import kill_from_data, kill_to_data
from flagbrake.model.flag import Flag, Serve
from flagbrake.model.kill import Kill, KillMode, KillSnapshot, Scope
from flagbrake.model.reserved import kill_flag, looks_like_kill, new_kill_flag, scope_of
from flagbrake.model.state import Change, Create, FlagState, Replace, SetOn
from flagbrake.model.values import FlagKind
from flagbrake.ports.clock import Clock, SystemClock
from flagbrake.ports.kills import KillLane

_log = logging.getLogger("flagbrake.control")

#: What the lane writes in the journal, and how far back it looks for it.
_KILL: Final = "kill:flag"
_LIFT: Final = "lift:flag"
_HISTORY: Final = 50


class FlagKillLane(KillLane):
    """Kills as flags of the vendor: durable there, seen and switched in its own interface as well.

    A flag says on or off and nothing else, so this lane takes kills of mode ``halt`` that name no variant;
    who killed and why is the comment of the write and an entry in the journal. Every write goes through the
    writer: under the flag's lock, and read back. A vendor has no epochs: they are 0 here.

    Args:
        writer: the only way to write a flag.
        environment: the one that the writer's control writes in.
        journal: where the lane remembers whose kill a flag is.
        keys: the keys of all flags, where that is cheaper to ask than the flags themselves.
    """

    name: ClassVar[str] = "vendor-flag"
    durable: ClassVar[bool] = True

    def __init__(
        self,
        writer: FlagWriter,
        *,
        environment: str,
        journal: Journal,
        keys: Callable[[], Iterable[str]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._writer = writer
        self._control = writer.control
        self._dot = writer.control.reserved_dot
        self._environment = environment
        self._journal = journal
        self._keys = keys
        self._clock = clock or SystemClock()

    # --- writing ------------------------------------------------------------------------------------------

    def check(self, kill: Kill) -> None:
        """Refuse what a flag cannot say.

        Raises:
            Unsupported: another mode than ``halt``, or a variant to serve.
            InvalidInput: a scope whose flag would have too long a name.
        """
        if kill.mode is not KillMode.HALT or kill.serve is not None:
            what = f"mode {kill.mode.value}" if kill.mode is not KillMode.HALT else "a variant to serve"
            raise Unsupported(
                f"A vendor flag carries a halt and nothing else; {kill.scope} asks for {what}.",
                cure="a halt; [store] url = ... for the rest",
            )
        new_kill_flag(kill.scope, dot=self._dot)

    def kill(self, kill: Kill, *, deadline: float) -> Kill:
        """Turn the scope's flag on, made first where it is missing.

        Raises:
            Unsupported: another mode than ``halt``, or a variant to serve; nothing was written.
            InvalidInput: a scope whose flag would have too long a name; nothing was written.
            Conflict: it was written and does not read back as on.
            FlagbrakeError: as :meth:`FlagWriter.apply`.
        """
        self.check(kill)
        key = new_kill_flag(kill.scope, dot=self._dot)
        before = self._state(key)
        change: Change = SetOn(key, on=True)
        if before is None:
            change = Create(_switch(key, kill, on=True))
        elif not _everybody(replace(before.flag, on=True)):
            # Somebody gave it rules, another kind, a false default: to kill is more urgent than to ask why.
            change = Replace(_switch(key, kill, on=True))
        after = self._writer.apply(change, by=kill.by, reason=f"kill {kill.id}: {kill.reason}")
        if not _everybody(after.flag):
            raise Conflict(f"'{key}' was written and does not serve true to everybody.", cure="look at the flag")
        done = replace(kill, lane=self.name)
        self._note(done, _KILL, by=kill.by, reason=kill.reason, state=after)
        return done

    def lift(self, kill: Kill, *, by: str, reason: str, deadline: float) -> int:
        """Turn the scope's flag off.

        Raises:
            NotFound: it is not on.
            Conflict: it was written and still serves true.
            FlagbrakeError: as :meth:`FlagWriter.apply`.
        """
        key = kill_flag(kill.scope, dot=self._dot)
        before = self._state(key)
        if before is None or not _kills(before.flag):
            raise NotFound(f"The flag '{key}' is not on.", cure="flagbrake kills")
        harmless = not _kills(replace(before.flag, on=False))
        change = SetOn(key, on=False) if harmless else Replace(_switch(key, kill, on=False))
        after = self._writer.apply(change, by=by, reason=f"restore {kill.id}: {reason}")
        if _kills(after.flag):
            raise Conflict(f"'{key}' was turned off and still kills.", cure="look at the flag")
        self._note(kill, _LIFT, by=by, reason=reason, state=after)
        return 0

    def _state(self, key: str) -> FlagState | None:
        try:
            return self._control.read(key)
        except NotFound:
            return None

    def _note(self, kill: Kill, action: str, *, by: str, reason: str, state: FlagState) -> None:
        after = {"id": kill.id, "flag": state.ref.key, "version": state.version, "kill": kill_to_data(kill)}
        try:
            self._journal.record(
                at=self._clock.now(),
                by=by,
                action=action,
                subject=str(kill.scope),
                reason=reason,
                after=after,
                lane=self.name,
            )
        except FlagbrakeError:
            # The flag is written: that nobody will know whose it is must not undo it.
            _log.exception("whose kill the flag '%s' is could not be recorded", state.ref.key)

    # --- reading ------------------------------------------------------------------------------------------

    def read(self) -> KillSnapshot:
        """Every kill flag that is on, whoever turned it on; one that cannot be read counts as on."""
        return KillSnapshot(self._environment, 0, tuple(self._standing(self._candidates())))

    def holding(self, scopes: Collection[Scope]) -> tuple[Kill, ...]:
        """Asks for the flags of these scopes by name: to list all flags of a vendor takes long."""
        states = (self._state(kill_flag(scope, dot=self._dot)) for scope in scopes)
        return tuple(self._standing(state for state in states if state is not None))

    def _standing(self, states: Iterable[FlagState]) -> Iterator[Kill]:
        for state in states:
            try:
                scope = scope_of(state.ref.key, dot=self._dot)
            except InvalidInput:
                continue  # somebody's own flag; doctor tells
            if _kills(state.flag):
                yield self._known(scope, state) or self._found(scope, state)

    def _candidates(self) -> Iterator[FlagState]:
        if self._keys is None:
            states: Iterable[FlagState | None] = self._control.states()
        else:
            states = (self._state(key) for key in self._keys() if looks_like_kill(key, dot=self._dot))
        for state in states:
            if state is not None and not state.flag.archived and looks_like_kill(state.ref.key, dot=self._dot):
                yield state

    def _known(self, scope: Scope, state: FlagState) -> Kill | None:
        """The kill as this lane wrote it, unless it lifted it since."""
        for entry in self._journal.entries(str(scope), _HISTORY):
            if entry.action not in {_KILL, _LIFT} or not isinstance(entry.after, Mapping):
                continue
            if entry.action == _LIFT:
                return None
            kill = kill_from_data(entry.after["kill"])
            corrupt = state.flag.kind is not FlagKind.BOOLEAN
            if entry.after.get("version") == state.version and not corrupt:
                return kill
            note = f"{kill.reason} (the flag was changed at {self._control.name} since)"
            return replace(kill, reason=note, corrupt=corrupt)
        return None

    def _found(self, scope: Scope, state: FlagState) -> Kill:
        """A kill that was not made here. Since when it stands, the flag does not say."""
        told = f": {state.flag.description}" if state.flag.description else ""
        return Kill(
            id=state.ref.key,
            scope=scope,
            environment=self._environment,
            reason=f"turned on at {self._control.name}{told}",
            by=self._control.name,
            at=state.read_at,
            epoch=0,
            lane=self.name,
            corrupt=state.flag.kind is not FlagKind.BOOLEAN,
        )


def _switch(key: str, kill: Kill, *, on: bool) -> Flag:
    text = f"flagbrake: kills {kill.scope} while it is on. {kill.by}: {kill.reason}"
    return replace(Flag.boolean(key), on=on, default="on", off_variant="off", description=text)


def _everybody(flag: Flag) -> bool:
    """Serves true, whoever asks."""
    return (
        flag.kind is FlagKind.BOOLEAN
        and not flag.archived
        and flag.on
        and not (flag.rules or flag.targets or flag.prerequisites)
        and _values(flag, flag.default) == {True}
    )


def _kills(flag: Flag) -> bool:
    """May serve true to a process that asks, or cannot be read by it as a switch."""
    if flag.archived:
        return False
    if flag.kind is not FlagKind.BOOLEAN:
        return True
    if not flag.on:
        return flag.off_variant is not None and _values(flag, flag.off_variant) == {True}
    return True in _values(flag, flag.default) or bool(flag.rules or flag.targets)


def _values(flag: Flag, serve: Serve) -> set[object]:
    names = [serve] if isinstance(serve, str) else [weight.variant for weight in serve.weights if weight.share]
    return {found.value for name in names if (found := flag.variant(name)) is not None}
