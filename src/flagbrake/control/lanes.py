"""All lanes at once, each in its own thread with its own deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from flagbrake.control.deadlines import Job, Overdue
from flagbrake.errors import FlagbrakeError, NotFound, RetryLater, Unavailable
from flagbrake.model.kill import Kill
from flagbrake.model.receipt import LaneResult, Took
from flagbrake.model.words import counted
from flagbrake.ports.kills import KillLane

#: A lane is told its own deadline; its thread is waited for a little longer, so that it can say why.
GRACE: Final = 0.25

#: One deed on one kill in one lane, within so many seconds: the epoch it got, and the kill as the lane has it.
Deed = Callable[[KillLane, Kill, float], Kill]


@dataclass(slots=True)
class _Progress:
    """What a lane's thread has done so far; read by the commander when the time is up."""

    done: dict[str, Kill] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LaneOutcome:
    """A lane's result and the kills it took (by id), with the epoch each got."""

    result: LaneResult
    done: Mapping[str, Kill]


class Fanout:
    """The same deeds in every lane; started when made, asked for lane by lane."""

    def __init__(self, lanes: Sequence[KillLane], kills: Sequence[Kill], deed: Deed, *, deadline: float) -> None:
        self._deadline = deadline
        self._kills = kills
        self._running = [(lane, *self._start(lane, deed)) for lane in lanes]
        self._hurried = False

    def hurry(self) -> None:
        """Wait for no lane any more: what has not answered by now is pending."""
        self._hurried = True

    def _start(self, lane: KillLane, deed: Deed) -> tuple[_Progress, Job[None]]:
        progress, end = _Progress(), time.monotonic() + self._deadline

        def work() -> None:
            for kill in self._kills:
                progress.done[kill.id] = deed(lane, kill, max(0.05, end - time.monotonic()))

        return progress, Job(f"lane-{lane.name}", work)

    def outcome(self, name: str) -> LaneOutcome | None:
        """The outcome of one lane, waiting for it alone; ``None`` if there is no such lane."""
        return next((self._outcome(lane, p, job) for lane, p, job in self._running if lane.name == name), None)

    def outcomes(self) -> tuple[LaneOutcome, ...]:
        """The outcome of every lane, when all have answered or their deadline has passed."""
        return tuple(self._outcome(lane, progress, job) for lane, progress, job in self._running)

    def _outcome(self, lane: KillLane, progress: _Progress, job: Job[None]) -> LaneOutcome:
        took, detail, ms = Took.TOOK, "", None
        try:
            job.result(within=0.0 if self._hurried else self._deadline + GRACE)
            ms = job.ms
        except Overdue:
            took, detail = Took.PENDING, "no answer yet" if self._hurried else f"no answer within {self._deadline:g} s"
        except (Unavailable, RetryLater) as error:
            took, detail = Took.PENDING, str(error)
        except FlagbrakeError as error:
            took, detail = Took.FAILED, str(error)
        except Exception as error:  # noqa: BLE001 - a broken lane is a result like any other
            took, detail = Took.PENDING, f"{type(error).__name__}: {error}"
        done = dict(progress.done)
        if took is not Took.TOOK and len(self._kills) > 1:
            detail = f"{len(done)} of {counted(len(self._kills), 'kill')}; {detail}"
        epoch = max((kill.epoch for kill in done.values()), default=None)
        return LaneOutcome(LaneResult(lane.name, lane.durable, took, epoch, ms, detail), done)


def put(lane: KillLane, kill: Kill, seconds: float) -> Kill:
    """Put a kill in a lane; when the answer is lost, reading tells whether it is there."""
    end = time.monotonic() + seconds
    try:
        return lane.kill(kill, deadline=seconds)
    except Unavailable:
        if end - time.monotonic() <= 0:
            raise
        found = next((k for k in lane.read().kills if k.id == kill.id), None)
        if found is None:
            raise
        return found


def lifting(*, by: str, reason: str) -> Deed:
    """The deed that takes a kill out of a lane; a lane that does not hold it has lifted it."""

    def lift(lane: KillLane, kill: Kill, seconds: float) -> Kill:
        try:
            return replace(kill, epoch=lane.lift(kill, by=by, reason=reason, deadline=seconds))
        except NotFound:
            return replace(kill, epoch=lane.read().epoch)

    return lift
