"""What is left to do: lanes that did not answer, kills whose time is over. Called in a loop by the engine."""

from __future__ import annotations

from collections.abc import Sequence

from flagbrake.control.lanes import Fanout, lifting, put
from flagbrake.control.plane import Plane, log
from flagbrake.errors import FlagbrakeError
from flagbrake.model.kill import Kill, OnExpiry
from flagbrake.model.receipt import LaneResult, StandingKill, Took

_BY = "flagbrake"


def retry_pending(plane: Plane) -> tuple[LaneResult, ...]:
    """Finish in every lane what people began: put a kill into lanes that lack it, lift it where it was left.

    Only kills made here travel to other lanes. Nothing is lifted that a person did not lift in some lane.
    """
    results: list[LaneResult] = []
    for item in plane.standing().kills:
        intent = plane.intent(item.kill)
        if intent == "restore" and item.pending:
            results += _finish_lifting(plane, item)
        elif intent == "kill" and item.pending:
            results += _finish_killing(plane, item)
    return tuple(results)


def _finish_killing(plane: Plane, item: StandingKill) -> Sequence[LaneResult]:
    lanes = [lane for lane in plane.lanes if lane.name in item.pending]
    outcomes = Fanout(lanes, (item.kill,), put, deadline=plane.deadlines.lane).outcomes()
    return [_settled(plane, item.kill, o.result, "stands now in") for o in outcomes]


def _finish_lifting(plane: Plane, item: StandingKill) -> Sequence[LaneResult]:
    lanes = [lane for lane in plane.lanes if lane.name in item.lanes]
    wish = next((e for e in plane.history(item.kill) if e.action.startswith("restore")), None)
    by, reason = (wish.by, wish.reason) if wish is not None else (_BY, "begun in another lane")
    outcomes = Fanout(lanes, (item.kill,), lifting(by=by, reason=reason), deadline=plane.deadlines.lane).outcomes()
    return [_settled(plane, item.kill, o.result, "is lifted now in") for o in outcomes]


def _settled(plane: Plane, kill: Kill, result: LaneResult, verb: str) -> LaneResult:
    if result.took is Took.TOOK:
        text = f"{kill.scope} {verb} the lane {result.lane} too"
        data = {"scope": str(kill.scope), "id": kill.id, "lane": result.lane}
        plane.tell("pending-lane", text, by=_BY, data=data).results()
    else:
        log.warning("the lane %s is still %s for %s: %s", result.lane, result.took.value, kill.id, result.detail)
    return result


def announce_expired(plane: Plane) -> tuple[Kill, ...]:
    """Tell, once each, of kills whose time is over. They stand: an expiry never brings anything back."""
    told: list[Kill] = []
    for item in plane.standing().kills:
        kill = item.kill
        if not item.expired or item.lifting:
            continue
        ask = kill.on_expiry is OnExpiry.ASK
        reason = "a decision is asked for" if ask else "it stays killed"
        try:
            if any(entry.action == "expiry" for entry in plane.history(kill)):
                continue
            # Recorded first: who cannot record would tell again at every look.
            plane.record(kill, "expiry", by=_BY, reason=reason, after={"expires_at": str(kill.expires_at)})
        except FlagbrakeError as error:
            log.warning("the expiry of %s could not be recorded: %s", kill.id, error)
            continue
        text = f"The kill of {kill.scope} in {plane.environment} ({kill.reason}, by {kill.by}) is past its time: "
        text += "restore it, or kill it again." if ask else "it stays killed."
        data = {"scope": str(kill.scope), "id": kill.id, "on_expiry": kill.on_expiry.value}
        plane.tell("expiry", text, by=_BY, data=data).results()
        told.append(kill)
    return tuple(told)
