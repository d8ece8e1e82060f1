"""The acts about rollouts: one that is caught, one that passes. The engine decides, this only looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from flagbrake.demo.crew import Count, DemoFailed, counts, errors
from flagbrake.demo.settings import FLAG
from flagbrake.demo.show import Row, Scene
from flagbrake.demo.stage import OPERATOR, Stage
from flagbrake.model.flag import Distribution
from flagbrake.model.values import WHOLE, percent_of, share_of
from flagbrake.rollout.plan import Plan
from flagbrake.rollout.state import Phase

if TYPE_CHECKING:
    from flagbrake.rollout.service import RolloutStatus

#: Short bakes, for an audience: minutes become seconds. The judge and its error rate stay what they are.
PLAN: Final[Mapping[str, Any]] = {
    "steps": "1,5,25,50,100",
    "bake": "3s",
    "interval": "1s",
    "settle": "1s",
    "checks": [{"min_sample": 30}],
}
_LONGEST_SECONDS: Final = 150.0
_LOOK_SECONDS: Final = 0.2
_NOTHING: Final = Count(0, 0)


def caught(stage: Stage, canary: str, plan: Mapping[str, Any] = PLAN) -> bool:
    """A rollout of a version with a defect: the engine must roll it back by itself. Returns whether it did."""
    status, _, seconds = _roll_out(stage, canary, plan)
    kinds = ", ".join(f"{number} {kind}" for kind, number in errors(stage.workers, canary).most_common())
    stage.show.say(f"{status.words} ({kinds})", "bold")
    tally = status.assessments[0]["tally"] if status.assessments else {}
    given = counts(stage.workers).get(canary, _NOTHING)
    account = stage.account
    account.fact(
        f"runs of {canary} until detection", f"{tally.get('canary', 0)} judged, {tally.get('canary_bad', 0)} had failed"
    )
    account.fact(
        f"runs of {canary} in all",
        f"{given.runs}, {given.failures} failed; gone {seconds:.1f} s after the start, at {_top(status)} % at most",
    )
    account.fact(f"decision on {canary}", status.words)
    default = stage.plane.control.read(FLAG).flag.default
    held = status.phase is Phase.ROLLED_BACK and default == "v1" and bool(status.why)
    account.promise(f"{canary} was caught and rolled back by itself, with a reason", held=held)
    return held


def passed(stage: Stage, canary: str, plan: Mapping[str, Any] = PLAN) -> None:
    """A rollout of a sound version: it must reach everybody."""
    status, steps, seconds = _roll_out(stage, canary, plan)
    stage.show.say(status.words, "bold")
    way = " -> ".join(step for step in steps if step != "0")
    stage.account.fact(f"decision on {canary}", f"{status.words}; {way} % in {seconds:.0f} s")
    default = stage.plane.control.read(FLAG).flag.default
    share = default.share(canary) if isinstance(default, Distribution) else WHOLE * (default == canary)
    held = status.phase is Phase.COMPLETED and share == WHOLE
    stage.account.promise(f"{canary}, mended, went to 100 %", held=held)


def _roll_out(stage: Stage, canary: str, options: Mapping[str, Any]) -> tuple[RolloutStatus, list[str], float]:
    """Start a rollout and watch until it ends; returns its last status, the percentages seen, the seconds."""
    earlier = counts(stage.workers)
    begun = time.monotonic()
    rollouts = stage.plane.rollouts
    plan = Plan.from_options(FLAG, canary, "v1", **options)
    started = rollouts.start(plan, by=OPERATOR, reason=f"{canary} is ready")
    steps: list[str] = []
    pause = threading.Event()
    with stage.show.live() as update:
        while True:
            status = rollouts.status(started.id)
            if status.percent not in steps[-1:]:
                steps.append(status.percent)
            update(_scene(status, counts(stage.workers), earlier))
            if status.terminal:
                return status, steps, time.monotonic() - begun
            if time.monotonic() > begun + _LONGEST_SECONDS:
                raise DemoFailed(f"The rollout of {canary} did not end: {status.words}.", cure="a faster machine")
            stage.crew.check()
            pause.wait(_LOOK_SECONDS)


def _scene(status: RolloutStatus, now: Mapping[str, Count], earlier: Mapping[str, Count]) -> Scene:
    share = share_of(status.percent)
    shares = {status.canary: share, status.baseline: WHOLE - share}
    rows = [
        Row(
            version,
            f"{percent_of(shares[version])} %",
            now.get(version, _NOTHING).minus(earlier.get(version, _NOTHING)),
        )
        for version in sorted(shares)
    ]
    judged = status.assessments[0] if status.assessments else {}
    if status.terminal:
        phase = status.phase.value
    elif status.step < 0:
        phase = "starting"
    elif share == WHOLE:
        phase = f"step {status.step + 1} of {len(status.steps)}, baking; nobody is left to compare with"
    else:
        phase = f"step {status.step + 1} of {len(status.steps)}, {status.verdict.replace('_', ' ') or 'no data'}"
    return Scene(
        title=f"{FLAG}: {status.canary} against {status.baseline}",
        step="" if status.terminal or status.step < 0 else f"{status.percent} %",
        phase=phase,
        words="" if status.terminal or share == WHOLE else status.words,
        rows=rows,
        evidence=judged.get("evidence"),
        limit=judged.get("limit"),
    )


def _top(status: RolloutStatus) -> str:
    """The largest share the canary had."""
    return status.steps[max(status.step, 0)]
