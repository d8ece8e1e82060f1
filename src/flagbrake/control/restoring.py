"""One restore: compared with what was before the kill, lifted in all lanes, waited for, told, recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flagbrake.control.coverage import Catalogue, covered, nearest
from flagbrake.control.flag_lane import FlagKillLane
from flagbrake.control.hearing import hear, unreported
from flagbrake.control.lanes import Fanout, LaneOutcome, lifting
from flagbrake.control.plane import Plane, inside, log, reason_of
from flagbrake.control.prior import Prior, difference
from flagbrake.errors import (
    Conflict,
    FlagbrakeError,
    Interrupted,
    InvalidInput,
    KillUnheard,
    NotFound,
    RestoreIncomplete,
    Unsupported,
)
from flagbrake.kill.convention import covering
from flagbrake.model.kill import Kill, Scope, ScopeKind
from flagbrake.model.receipt import Hearing, LaneResult, RestoreReceipt, Standing, Took
from flagbrake.model.state import FlagState, Replace
from flagbrake.model.words import counted
from flagbrake.ports.kills import KillLane


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator said."""

    target: str | Scope
    by: str
    reason: str
    lift_only: bool = False
    overwrite: bool = False
    wait: float = 10.0


def restore(plane: Plane, wish: Wish) -> RestoreReceipt:
    """Do it; documented at :meth:`KillSwitch.restore`."""
    since = plane.clock.now()
    if not wish.reason.strip():
        raise InvalidInput("A restore needs a reason.", cure="--reason TEXT")
    if wish.lift_only and wish.overwrite:
        raise InvalidInput("--lift-only and --overwrite exclude each other.", cure="one of them")
    standing = plane.standing(watched=True)
    kills = select(str(wish.target).strip(), standing)
    edited = () if wish.lift_only else _compare(plane, kills)
    if edited and not wish.overwrite:
        raise _edited(edited)
    # The wish is recorded before anything is lifted: else a later retry could take a half-lifted kill for
    # a half-made one. Without a record nothing is lifted: to kill is never refused, to un-kill is.
    for k in kills:
        after = {"lift_only": wish.lift_only, "overwrite": wish.overwrite}
        plane.record(k, "restore:intent", by=wish.by, reason=wish.reason, after=after)
    overwritten = tuple(_put_back(plane, p, now, wish) for p, now in edited)
    outcomes = _lift(plane, kills, standing, wish)
    lanes = tuple(outcome.result for outcome in outcomes)
    pending = [r for r in lanes if r.took is not Took.TOOK]
    receipt = RestoreReceipt(
        environment=plane.environment,
        store=plane.store,
        kills=kills,
        lanes=lanes,
        hearing=_hearing(plane, outcomes, since, wish) if not pending else Hearing(known=False, detail="not lifted"),
        overwritten=overwritten,
        still_killed=_still(plane, kills),
    )
    receipt = _recorded(plane, receipt, wish)
    error = _error(receipt, standing, pending)
    receipt = _told(plane, receipt, wish, error)
    if receipt.hearing.interrupted:
        fact, cure = (error.fact, error.cure) if error else (f"The kill of {kills[0].scope} is lifted.", "")
        raise Interrupted(fact, cure=cure, receipt=receipt)
    if error is not None:
        error.receipt = receipt
        raise error
    return receipt


# --- which kills ---------------------------------------------------------------------------------------


def select(text: str, standing: Standing) -> tuple[Kill, ...]:
    """The standing kills that a target names: by id (with those killed along), by scope, or by its path.

    Raises:
        NotFound: nothing like it is killed here; what is, is told.
        InvalidInput: several scopes have this path.
    """
    kills = [item.kill for item in standing.kills]
    chosen = [k for k in kills if k.id == text]
    if not chosen:
        scopes = sorted({k.scope for k in kills if text in {str(k.scope), k.scope.path}})
        if len(scopes) > 1 and ":" not in text:
            cure = " or ".join(str(scope) for scope in scopes)
            raise InvalidInput(f"'{text}' is killed as {len(scopes)} things in {standing.environment}.", cure=cure)
        chosen = [k for k in kills if k.scope in scopes]
    if not chosen:
        raise _not_killed(text, standing)
    ids = {k.id for k in chosen}
    along = [k for k in kills if k not in chosen and k.id.rpartition(".")[0] in ids]
    return (*chosen, *along)


def _not_killed(text: str, standing: Standing) -> NotFound:
    names = sorted({str(item.kill.scope) for item in standing.kills})
    near = nearest(text, [*names, *(n.partition(":")[2] for n in names)])
    silent = "; ".join(f"the lane {lane} could not be read: {inside(why)}" for lane, why in standing.unread)
    fact = f"Nothing named '{text}' is killed in {standing.environment} ({standing.store})"
    return NotFound(
        f"{fact}; {silent}." if silent else f"{fact}.",
        cure=", ".join(near or names[:5])
        or ("flagbrake kills, when all lanes answer" if silent else "flagbrake kills: nothing is killed here"),
    )


# --- what was before -----------------------------------------------------------------------------------

_Edited = tuple[tuple[Prior, FlagState | None], ...]


def _compare(plane: Plane, kills: Sequence[Kill]) -> _Edited:
    """The flags that are not what they were before the (first) kill.

    Raises:
        Conflict: nobody knows what they were.
        FlagbrakeError: a flag could not be read.
    """
    edited: dict[str, tuple[Prior, FlagState | None]] = {}
    seen: set[str] = set()
    for k in kills:
        held = plane.held(k)
        for p in _before(plane, k):
            if p.key in seen:
                continue  # killed twice: what was before the first kill counts
            seen.add(p.key)
            now = plane.state(p.key)
            ours = p.key in held and now is not None and held[p.key].as_left(now)
            if now is None or not (ours or p.unchanged(now)):
                edited[p.key] = (p, now)
    return tuple(edited.values())


def _before(plane: Plane, kill: Kill) -> Sequence[Prior]:
    if kill.scope.kind is ScopeKind.EVERYTHING:
        return ()  # nobody asks whether any flag at all was edited
    known = plane.before(kill)
    if known is not None:
        return known
    if plane.control is None or not _covers_flags(plane, kill):
        return ()
    raise Conflict(
        f"What the flags under {kill.scope} were before the kill {kill.id} (by {kill.by}) is not known here, "
        "so they cannot be compared.",
        cure="--lift-only: lift the kill and keep the flags as they are",
    )


def _covers_flags(plane: Plane, kill: Kill) -> bool:
    if kill.scope.kind is ScopeKind.FLAG:
        return True
    return any(not flag.conditional for flag in covered(kill.scope, Catalogue(plane.environment, plane.manifest())))


def _edited(edited: _Edited) -> Conflict:
    names = ", ".join(p.key for p, _ in edited)
    were = "was" if len(edited) == 1 else "were"
    return Conflict(
        f"{names} {were} edited since the kill; nothing was restored.",
        cure="--lift-only to keep the edit, or --overwrite to put back what was there before",
        detail="\n".join(difference(p, now) for p, now in edited),
    )


def _put_back(plane: Plane, prior: Prior, now: FlagState | None, wish: Wish) -> str:
    """Write the document from before the kill; the flag stays killed until all are back."""
    if prior.flag is None or prior.native is None:
        raise Conflict(
            f"Of '{prior.key}' only the version before the kill was kept, not the document.",
            cure="--lift-only, and mend the flag by hand",
        )
    if plane.writer is None:
        raise Unsupported(f"'{prior.key}' cannot be written from here.", cure="--lift-only")
    change = Replace(prior.flag, native=prior.native)
    expected = now.version if now is not None else None
    plane.writer.apply(change, by=wish.by, reason=wish.reason, expected=expected)
    return prior.key


# --- lifting -------------------------------------------------------------------------------------------


def _lift(plane: Plane, kills: Sequence[Kill], standing: Standing, wish: Wish) -> tuple[LaneOutcome, ...]:
    """Lift in every lane that holds one of them, and in those that did not say."""
    wanted = {k.id for k in kills}
    holding = {lane for item in standing.kills if item.kill.id in wanted for lane in item.lanes}
    holding |= {lane for lane, _ in standing.unread}
    asked = (*plane.lanes, *plane.watched)
    deed, distinct = lifting(by=wish.by, reason=wish.reason), list({k.id: k for k in kills}.values())

    def lift(lanes: Sequence[KillLane]) -> tuple[LaneOutcome, ...]:
        return Fanout(lanes, distinct, deed, deadline=plane.deadlines.lane).outcomes()

    # First the vendor's own flags come back: who is let go then finds what was there before.
    flags = lift([lane for lane in asked if lane.in_part])
    return flags + lift([lane for lane in asked if lane.name in holding and not lane.in_part])


def _hearing(plane: Plane, outcomes: Sequence[LaneOutcome], since: Any, wish: Wish) -> Hearing:
    lanes = {outcome.result.lane for outcome in outcomes}
    if not plane.acknowledged_in or (FlagKillLane.name in lanes and plane.acknowledged_in not in lanes):
        # What stood in a vendor's flag alone no process has acknowledged, and none will its lifting.
        return unreported(plane)
    heard_in = next((o for o in outcomes if o.result.lane == plane.acknowledged_in), None)
    if heard_in is None or heard_in.result.epoch is None:
        return Hearing(known=False, detail=f"the lane '{plane.acknowledged_in}' did not hold it")
    epoch = heard_in.result.epoch
    return hear(plane.listeners, plane.environment, epoch=epoch, since=since, wait=wish.wait, clock=plane.clock)


def _still(plane: Plane, kills: Sequence[Kill]) -> tuple[Kill, ...]:
    """Other kills that cover what was restored."""
    lifted = {k.id for k in kills}
    others = [item.kill for item in plane.standing(watched=True).kills if item.kill.id not in lifted]
    return covering(others, [k.scope for k in kills])


# --- telling -------------------------------------------------------------------------------------------


def _recorded(plane: Plane, receipt: RestoreReceipt, wish: Wish) -> RestoreReceipt:
    after = {
        "lanes": {r.lane: r.took.value for r in receipt.lanes},
        "overwritten": list(receipt.overwritten),
        "applied": len(receipt.hearing.applied) if receipt.hearing.known else None,
        "missing": list(receipt.hearing.missing),
    }
    try:
        for k in receipt.kills:
            plane.record(k, "restore:result", by=wish.by, reason=wish.reason, after=after)
    except FlagbrakeError as error:
        log.exception("the result of the restore of %s could not be recorded", receipt.kills[0].id)
        note = f"The result could not be recorded: {reason_of(error)}"
        return replace(receipt, warnings=(*receipt.warnings, note))
    return receipt


def _error(
    receipt: RestoreReceipt, standing: Standing, pending: Sequence[LaneResult]
) -> RestoreIncomplete | KillUnheard | None:
    scope, hearing = receipt.kills[0].scope, receipt.hearing
    where = f"{receipt.environment} ({receipt.store})"
    if pending:
        said = "; ".join(inside(r.told) for r in pending)
        unread = {lane for lane, _ in standing.unread}
        stands = "may still stand" if all(r.lane in unread for r in pending) else "still stands"
        return RestoreIncomplete(f"The kill of {scope} {stands} in {where}: {said}.", cure="repeat the restore")
    if not hearing.reported:
        return None
    if not hearing.known:
        return KillUnheard(f"The kill of {scope} is lifted in {where}, but {hearing}.", cure="look at the processes")
    if hearing.missing:
        return KillUnheard(
            f"The kill of {scope} is lifted in {where}, but only {len(hearing.applied)} of "
            f"{counted(len(hearing.live), 'live process')} confirmed it "
            f"within {hearing.waited_ms / 1000:.1f} s. Missing: {', '.join(hearing.missing)}.",
            cure="look at the missing ones: they may still be stopped",
        )
    return None


def _told(plane: Plane, receipt: RestoreReceipt, wish: Wish, error: FlagbrakeError | None) -> RestoreReceipt:
    main = receipt.kills[0]
    text = f"{main.scope} is restored in {plane.environment} ({plane.store}) by {wish.by}: {wish.reason}"
    event = "restore"
    if isinstance(error, RestoreIncomplete):
        event, text = "pending-lane", error.fact
    elif error is not None:
        text = f"{text}. {error.fact}"
    if receipt.still_killed:
        text += f". Still killed by {', '.join(f'{k.scope} ({k.id})' for k in receipt.still_killed)}"
    data = {
        "scope": str(main.scope),
        "ids": [k.id for k in receipt.kills],
        "reason": wish.reason,
        "overwritten": list(receipt.overwritten),
    }
    notices = plane.tell(event, text, by=wish.by, data=data).results()
    return replace(receipt, notices=notices)
