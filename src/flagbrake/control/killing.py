"""One kill: written to all lanes at once, waited for, told, recorded."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flagbrake.control import prior
from flagbrake.control.aim import Target, look_around, take_aim
from flagbrake.control.coverage import covered, dependents
from flagbrake.control.deadlines import Job, Overdue, call
from flagbrake.control.hearing import hear, look, unreported
from flagbrake.control.lanes import Fanout, LaneOutcome, put
from flagbrake.control.notices import Telling
from flagbrake.control.plane import Plane, Survey, log, reason_of
from flagbrake.errors import FlagbrakeError, Interrupted, InvalidInput, KillFailed, KillUnheard, Unavailable
from flagbrake.model.kill import Kill, KillMode, OnExpiry, Scope, ScopeKind
from flagbrake.model.receipt import Covered, Hearing, KillReceipt, Took
from flagbrake.model.words import counted
from flagbrake.ports.kills import Process


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator said."""

    target: str | Scope
    by: str
    reason: str
    mode: KillMode = KillMode.HALT
    serve: str | None = None
    expires_in: timedelta | None = None
    on_expiry: OnExpiry = OnExpiry.STAY
    with_dependents: bool = False
    arm: bool = False
    wait: float = 10.0


def kill(plane: Plane, order: Order) -> KillReceipt:
    """Do it; documented at :meth:`KillSwitch.kill`."""
    since = plane.clock.now()
    if order.expires_in is not None and order.expires_in <= timedelta(0):
        raise InvalidInput("A kill cannot expire before it begins.", cure="a time such as 2h")
    target = take_aim(plane, order.target, arm=order.arm, flag_needed=order.serve is not None)
    main = _kill_of(plane, order, target, since)
    doubts = _doubts(target, order)
    kills: tuple[Kill, ...] = (main,)
    if order.with_dependents:
        along, doubt = _along(plane, target, main)
        kills, doubts = (main, *along), doubts + doubt
    if plane.main_lane is not None:
        # What it cannot carry must not stand in the others alone: at level 0 that would be half a kill.
        plane.main_lane.check(main)
    already = _already(plane, kills)
    kills = tuple(already.get(k.id, k) for k in kills)
    main = kills[0]
    act = _Act(plane, target, kills)
    hearing, outcomes, survey = act.learn(since, order.wait)
    stored = _stored(kills, outcomes)
    doubts += tuple(f"{k.scope} was not killed along" for k in kills[1:] if k.id not in stored)
    flags = covered(main.scope, survey.catalogue)
    lanes = tuple(outcome.result for outcome in outcomes)
    receipt = KillReceipt(
        environment=plane.environment,
        store=plane.store,
        kills=tuple(stored.get(k.id, k) for k in kills),
        lanes=lanes,
        hearing=hearing,
        covered=flags,
        doubts=doubts,
        warnings=_told_already(already) + warnings(target, flags, survey, named=main.serve is not None),
    )
    failed = main.id not in stored
    error = _error(receipt, order, failed=failed)
    try:
        receipt = _recorded(plane, receipt, survey, failed=failed)
        receipt = act.told(receipt, error)
    except KeyboardInterrupt:
        act.interrupted = True
    if act.interrupted:
        fact, cure = (error.fact, error.cure) if error else (f"The kill of {main.scope} is stored {_where(plane)}.", "")
        raise Interrupted(fact, cure=cure, receipt=receipt)
    if error is not None:
        error.receipt = receipt
        raise error
    return receipt


class _Act:
    """A kill under way. Ctrl-C ends its waiting, not what was begun."""

    def __init__(self, plane: Plane, target: Target, kills: tuple[Kill, ...]) -> None:
        self.plane = plane
        self.kills = kills
        self._target = target
        # Beside the writing, not before it: who listens now may be ended by the kill before anybody can ask.
        self._before = Job("listeners-before", lambda: look(plane.listeners, plane.environment))
        self.fanout = Fanout(plane.lanes, kills, put, deadline=plane.deadlines.lane)
        self._survey: Job[Survey] | None = None
        self._hearing: Hearing | None = None
        self._telling: list[Telling] = []
        self.interrupted = False

    def learn(self, since: datetime, wait: float) -> tuple[Hearing, tuple[LaneOutcome, ...], Survey]:
        """What became of it, waited for; after Ctrl-C as it is known by then."""
        try:
            return self._learn(since, wait)
        except KeyboardInterrupt:
            self._hurry()
            return self._learn(since, wait)

    def _learn(self, since: datetime, wait: float) -> tuple[Hearing, tuple[LaneOutcome, ...], Survey]:
        self._hearing = self._hearing or self._hear(since, wait)
        return self._hearing, self.fanout.outcomes(), self._surveyed()

    def _hurry(self) -> None:
        self.interrupted = True
        self.fanout.hurry()

    def _hear(self, since: datetime, wait: float) -> Hearing:
        """Wait for the lane that is acknowledged, and only for that, then for the acknowledgements."""
        plane, main = self.plane, self.kills[0]
        lane = plane.main_lane.name if plane.main_lane is not None else plane.acknowledged_in
        outcome = self.fanout.outcome(lane)
        # Only now, so that reading many flags does not slow the writing of the kill.
        self._survey = self._survey or Job("survey", lambda: look_around(plane, self._target))
        if outcome is None or main.id not in outcome.done:
            why = outcome.result.detail if outcome is not None else "there is no such lane"
            return Hearing(known=False, detail=f"the lane '{lane}' did not take it: {why}")
        if not self._telling:
            self._tell(
                "kill", f"{main.scope} is killed ({main.mode.value}) {_where(plane)} by {main.by}: {main.reason}"
            )
        if not plane.acknowledged_in:
            return unreported(plane)
        epoch = max(taken.epoch for taken in outcome.done.values())
        hearing = hear(
            plane.listeners,
            plane.environment,
            epoch=epoch,
            since=since,
            wait=0.0 if self.interrupted else wait,
            clock=plane.clock,
            before=self._listening_before(),
        )
        if hearing.interrupted:
            self._hurry()
        return hearing

    def _listening_before(self) -> list[Process]:
        try:
            return self._before.result(within=0.05)
        except Exception:  # noqa: BLE001 - a broken table of listeners keeps no kill from being made
            return []  # hearing tells itself when the listeners cannot be read

    def _surveyed(self) -> Survey:
        """What was read beside the kill, or what was known before it."""
        assert self._survey is not None
        known = self._target.survey
        try:
            return self._survey.result(within=0.0 if self.interrupted else self.plane.deadlines.flags)
        except Exception as error:  # noqa: BLE001 - it only describes the kill
            return replace(known, fault=reason_of(error))

    def told(self, receipt: KillReceipt, error: FlagbrakeError | None) -> KillReceipt:
        """Tell the rest, collect what became of all notices."""
        main = self.kills[0]
        if not self._telling and not isinstance(error, KillFailed):
            self._tell("kill", f"{main.scope} is killed ({main.mode.value}) {_where(self.plane)} by {main.by}.")
        for lane in receipt.lanes:
            if lane.took is not Took.TOOK and not isinstance(error, KillFailed):
                fact = f"{main.scope}: the lane {lane.told}"
                self._tell("pending-lane", fact, lane=lane.lane)
        if error is not None:
            self._tell("alarm", error.fact)
        notices = tuple(result for telling in self._telling for result in telling.results())
        return replace(receipt, notices=notices)

    def _tell(self, event: str, text: str, **more: Any) -> None:
        main = self.kills[0]
        data = {"scope": str(main.scope), "id": main.id, "mode": main.mode.value, "reason": main.reason, **more}
        self._telling.append(self.plane.tell(event, text, by=main.by, data=data))


# --- before ------------------------------------------------------------------------------------------


def _kill_of(plane: Plane, order: Order, target: Target, since: datetime) -> Kill:
    return Kill(
        id=f"k-{secrets.token_hex(4)}",
        scope=target.scope,
        environment=plane.environment,
        # An emergency is not refused for a missing word.
        reason=order.reason.strip() or "(no reason given)",
        by=order.by,
        at=since,
        epoch=0,
        mode=order.mode,
        serve=order.serve,
        serve_value=_serve_value(order, target),
        expires_at=since + order.expires_in if order.expires_in is not None else None,
        on_expiry=order.on_expiry,
    )


def _already(plane: Plane, wanted: tuple[Kill, ...]) -> dict[str, Kill]:
    """By the id of a wanted kill the same one that stands: a repeated command waits for that and adds nothing.

    Asked of the main lane only and not for long; where it does not say, the kill is simply written.
    """
    lane = plane.main_lane
    if lane is None:
        return {}
    scopes = {k.scope for k in wanted}
    try:
        standing = call("standing", lambda: lane.holding(scopes), within=plane.deadlines.look)
    except Exception as error:  # noqa: BLE001 - a lane that cannot be read may still be written
        log.warning("what is killed already could not be read: %s", reason_of(error))
        return {}

    def nature(kill: Kill) -> tuple[Any, ...]:
        return kill.scope, kill.mode, kill.serve, kill.expires_at

    there = {nature(k): k for k in standing if not k.corrupt and k.lane == lane.name}
    return {k.id: there[nature(k)] for k in wanted if k.expires_at is None and nature(k) in there}


def _told_already(already: Mapping[str, Kill]) -> tuple[str, ...]:
    return tuple(
        f"{k.scope} was killed already, by {k.by} at {k.at:%Y-%m-%d %H:%M:%S} UTC: {k.reason} ({k.id})"
        for k in already.values()
    )


def _serve_value(order: Order, target: Target) -> Any:
    """The value of the variant that the operator named, ``None`` when the flag could not be read.

    Raises:
        InvalidInput: it fits neither the scope nor the flag.
        Unavailable: a fallback whose variant cannot be checked.
    """
    fallback = order.mode is KillMode.FALLBACK
    if fallback and order.serve is None:
        raise InvalidInput("A fallback names the variant to serve.", cure="--serve VARIANT")
    if order.serve is None:
        return None
    if target.scope.kind is not ScopeKind.FLAG:
        raise InvalidInput(
            f"A variant can be named for a flag only, not for {target.scope}.", cure="flag:KEY, or no variant"
        )
    state = target.flag
    if state is None:
        if fallback:
            raise Unavailable(
                f"The variants of {target.scope} cannot be read, so a fallback cannot be checked "
                f"({target.survey.fault or 'there is no such flag'}).",
                cure="kill it without a fallback",
            )
        return None
    variant = state.flag.variant(order.serve)
    if variant is None or order.serve in state.flag.valueless:
        fact = f"has no variant '{order.serve}'" if variant is None else f"has no value for variant '{order.serve}'"
        raise InvalidInput(
            f"{target.scope} {fact}; nothing was killed.",
            cure=" or ".join(name for name in state.flag.variant_names if name not in state.flag.valueless),
        )
    return variant.value


def _along(plane: Plane, target: Target, main: Kill) -> tuple[tuple[Kill, ...], tuple[str, ...]]:
    """The kills of the dependents. They halt or drain like the first, but a variant named is the first's own."""
    try:
        survey = call(
            "dependents", lambda: look_around(plane, target, prerequisites=True), within=plane.deadlines.flags
        )
    except Overdue as error:
        survey = replace(target.survey, fault=reason_of(error))
    if survey.fault:
        return (), (f"the dependents of {main.scope} could not be found: {survey.fault}",)
    keys = [flag.flag for flag in covered(main.scope, survey.catalogue)]
    found = dependents(keys, survey.catalogue)
    mode = KillMode.HALT if main.mode is KillMode.FALLBACK else main.mode
    along = (
        replace(main, id=f"{main.id}.{n}", scope=Scope(ScopeKind.FLAG, d.flag), mode=mode, serve=None, serve_value=None)
        for n, d in enumerate(found, 1)
    )
    return tuple(along), ()


def _doubts(target: Target, order: Order) -> tuple[str, ...]:
    if target.known is None and not order.arm:
        return (f"whether {target.scope} exists could not be checked: {target.survey.fault}",)
    return ()


# --- after -------------------------------------------------------------------------------------------


def _stored(kills: tuple[Kill, ...], outcomes: tuple[LaneOutcome, ...]) -> Mapping[str, Kill]:
    """What durable lanes took, by id."""
    durable = [outcome for outcome in outcomes if outcome.result.durable]
    return {k.id: outcome.done[k.id] for k in kills for outcome in reversed(durable) if k.id in outcome.done}


def warnings(target: Target, flags: tuple[Covered, ...], survey: Survey, *, named: bool = False) -> tuple[str, ...]:
    """What an operator should know about what is covered; ``named``: the variant to serve was given."""
    found = []
    if target.known is False:
        found.append(f"No list shows {target.scope}: it stops only what checks exactly this scope.")
    if target.known is None:
        found.append(f"Whether {target.scope} exists could not be checked: {target.survey.fault}")
    if not named:
        undeclared = [flag for flag in flags if flag.safe is None]
        found += [f"'{f.flag}' has no declared safe variant: it serves its off variant." for f in undeclared[:_LISTED]]
        if len(undeclared) > _LISTED:
            found.append(f"... and {counted(len(undeclared) - _LISTED, 'more flag')} without a declared safe variant.")
    if survey.fault:
        found.append(f"The flags could not all be read, so the list of covered flags may be short: {survey.fault}")
    return tuple(found)


#: So many flags are named one by one in warnings.
_LISTED = 10


def _recorded(plane: Plane, receipt: KillReceipt, survey: Survey, *, failed: bool) -> KillReceipt:
    """Write the result, and what the flags were, to the audit; a kill does not fail for it."""
    try:
        call("audit", lambda: _record(plane, receipt, survey, failed=failed), within=plane.deadlines.audit)
    except Exception as error:  # noqa: BLE001 - the kill stands whatever the audit says
        log.error("the result of kill %s could not be recorded: %s", receipt.kill.id, error)
        note = f"The result could not be recorded: {reason_of(error)}"
        return replace(receipt, warnings=(*receipt.warnings, note))
    return receipt


def _record(plane: Plane, receipt: KillReceipt, survey: Survey, *, failed: bool) -> None:
    hearing = receipt.hearing
    for k in receipt.kills:
        after: dict[str, Any] = {
            "lanes": {r.lane: r.took.value for r in receipt.lanes},
            "mode": k.mode.value,
            "stored": not failed,
            "applied": len(hearing.applied) if hearing.known else None,
            "live": len(hearing.live) if hearing.known else None,
            "missing": list(hearing.missing),
            "with": [other.id for other in receipt.kills if other.id != k.id],
        }
        before = None if failed else _kept(plane, k, survey)
        plane.record(
            k, "kill:failed" if failed else "kill:result", by=k.by, reason=k.reason, before=before, after=after
        )


def _kept(plane: Plane, kill: Kill, survey: Survey) -> dict[str, Any] | None:
    """What the covered flags were, unless the lane kept it in the kill's own transaction."""
    if plane.kept(kill.id):
        return None
    keys = [flag.flag for flag in covered(kill.scope, survey.catalogue) if not flag.conditional]
    if kill.scope.kind is ScopeKind.EVERYTHING:
        keys = []
    if any(key not in survey.states for key in keys):
        return None
    return {"flags": prior.keep(survey.states[key] for key in keys)}


def _error(receipt: KillReceipt, order: Order, *, failed: bool) -> KillFailed | KillUnheard | None:
    """What keeps this kill from being a success."""
    scope, hearing = receipt.kill.scope, receipt.hearing
    where = f"{receipt.environment} ({receipt.store})"
    if failed:
        said = "; ".join(r.told for r in receipt.lanes) or "there is no lane"
        late = " It may still land." if any(r.took is Took.PENDING for r in receipt.lanes) else ""
        return KillFailed(
            f"{scope} is NOT known to be killed in {where}: no durable lane took it ({said}).{late}",
            cure="repeat it; switch it off at the vendor; stop the processes",
        )
    stored = f"The kill of {scope} is stored in {where}"
    if not hearing.reported:
        return _doubtful(receipt, stored)
    if not hearing.known:
        return KillUnheard(f"{stored}, but {hearing}.", cure="flagbrake kills, and look at the processes")
    if not hearing.live and not order.arm:
        return KillUnheard(
            f"{stored}, but no live process listens there.",
            cure="the right --environment and store; or --arm if nobody is expected to listen",
        )
    if hearing.missing:
        return KillUnheard(
            f"{stored}, but only {len(hearing.applied)} of {counted(len(hearing.live), 'live process')} confirmed it "
            f"within {hearing.waited_ms / 1000:.1f} s. Missing: {', '.join(hearing.missing)}.",
            cure="stop the missing ones by hand",
        )
    return _doubtful(receipt, stored)


def _doubtful(receipt: KillReceipt, stored: str) -> KillUnheard | None:
    if receipt.doubts:
        return KillUnheard(f"{stored}, but {'; '.join(receipt.doubts)}.", cure="check the scope; flagbrake kills")
    return None


def _where(plane: Plane) -> str:
    return f"in {plane.environment} ({plane.store})"
