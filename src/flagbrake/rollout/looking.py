"""What a tick sees: the flag, the kills, and the windows that are due, counted and judged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from flagbrake.control.deadlines import Overdue, call
from flagbrake.errors import FlagbrakeError, NotFound, RetryLater, Unavailable
from flagbrake.kill.convention import covering, flag_scopes
from flagbrake.model.flag import FlagRef
from flagbrake.model.manifest import Manifest
from flagbrake.ports.control import FlagControl
from flagbrake.ports.metrics import MetricSource, Query, Window
from flagbrake.rollout import machine
from flagbrake.rollout.plan import Check, Plan
from flagbrake.rollout.split import serve_of
from flagbrake.rollout.state import Event, Live, State
from flagbrake.rollout.verdict import Arms, Assessment, Judge, Verdict
from flagbrake.rollout.windows import Closed
from flagbrake.store import Store

_log = logging.getLogger("flagbrake.rollout")
T = TypeVar("T")

#: Seconds one question to a vendor or a metric source may take.
DEADLINE: Final = 8.0
#: Windows judged in one tick at most: an engine that was away for a day catches up over several.
_WINDOWS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Look:
    """The flag now, or why it cannot be read: ``passing`` will mend itself, ``lasting`` needs a person."""

    live: Live | None
    passing: str = ""
    lasting: str = ""


def look_at_flag(control: FlagControl, plan: Plan) -> Look:
    """Read the flag at the place the plan moves."""
    try:
        state = _ask(f"read-{plan.flag}", lambda: control.read(plan.flag))
    except (Unavailable, RetryLater) as error:
        return Look(None, passing=str(error))
    except FlagbrakeError as error:
        return Look(None, lasting=str(error))
    flag = state.flag
    if flag.archived:
        return Look(None, lasting=f"Flag '{plan.flag}' is archived.")
    live = Live(state.version, flag.on, serve_of(flag, plan.rule), flag.version or None)
    if live.serve is None:
        return Look(None, lasting=f"Flag '{plan.flag}' has no rule '{plan.rule}' any more.")
    return Look(live)


def standing_kill(store: Store, manifest: Callable[[], Manifest], flag: str) -> str:
    """One line about a kill that covers the flag; empty when there is none.

    Raises:
        Unavailable: the store did not answer.
    """
    scopes = flag_scopes(flag, manifest().get(flag))
    kills = covering(store.kills.read().kills, scopes)
    return f"{kills[0].scope} is killed: {kills[0].reason} (by {kills[0].by})" if kills else ""


def judge_windows(
    state: State, plan: Plan, sources: Mapping[str, MetricSource], ref: FlagRef, now: datetime
) -> tuple[State, list[Event]]:
    """Cut the open window if it is time, count and judge every window that has settled.

    A window is judged by all checks or by none: a source that does not answer leaves it in the queue, so that
    each is judged once, and never with a guess.
    """
    events: list[Event] = []
    windows = state.windows.cut_when_due(now, plan.interval, at_least_from=machine.bake_ends(state, plan))
    memories, data_at, blind = state.memories, state.data_at, ""
    judges = plan.judges()
    for _ in range(_WINDOWS_AT_ONCE):
        window = windows.due(now, plan.settle)
        if window is None:
            break
        try:
            counts = _count(plan, sources, ref, window)
            memories = tuple(
                memory if (found := counts[_place(check)]) is None else judge.observe(memory, window.id, found)
                for judge, check, memory in zip(judges, plan.checks, memories, strict=True)
            )
        except FlagbrakeError as error:
            blind = str(error)
            break
        windows = windows.judged(window)
        if any(found is not None and found.canary for found in counts.values()):
            data_at = window.end
        events.append(_window_event(window, counts))
    if blind and not state.blind:
        events.append(Event("blind", f"the judge is blind: {blind}", machine.ENGINE, notice="alarm"))
    elif state.blind and not blind:
        events.append(Event("seeing", "the judge sees again", machine.ENGINE, notice="rollout"))
    return replace(state, windows=windows, memories=memories, data_at=data_at, blind=blind), events


def assess(state: State, plan: Plan, now: datetime) -> tuple[Assessment, ...]:
    """Each check's verdict now. A blind judge that has not failed the canary says ERROR."""
    arms = Arms(plan.canary, plan.baseline)
    over = machine.bake_over(state, plan, now)
    found = []
    for judge, memory in zip(plan.judges(), state.memories, strict=True):
        assessment = judge.assess(memory, arms, step=max(state.step, 0), bake_over=over)
        if state.blind and assessment.verdict is not Verdict.FAIL:
            assessment = replace(assessment, verdict=Verdict.ERROR, words=state.blind)
        found.append(assessment)
    return tuple(found)


def fresh(judges: tuple[Judge, ...]) -> tuple[Mapping[str, Any], ...]:
    """The memories before anything was seen."""
    return tuple(judge.fresh() for judge in judges)


def _count(plan: Plan, sources: Mapping[str, MetricSource], ref: FlagRef, window: Closed) -> dict[str, Window | None]:
    counts: dict[str, Window | None] = {}
    for check in plan.checks:
        if _place(check) in counts:
            continue
        source = sources.get(check.source)
        if source is None:
            raise NotFound(f"There is no metric source '{check.source}'.", cure=" or ".join(sources) or "install one")
        query = Query(
            flag=plan.flag,
            environment=ref.environment,
            metric=check.metric,
            canary=plan.canary,
            baseline=plan.baseline,
            start=window.start,
            end=window.end,
            revision=window.revision,
        )
        counts[_place(check)] = _ask(f"query-{check.source}", lambda s=source, q=query: s.query(q))  # type: ignore[misc]
    return counts


def _ask(name: str, work: Callable[[], T]) -> T:
    try:
        return call(name, work, within=DEADLINE)
    except Overdue as error:
        raise Unavailable(f"{name}: no answer within {DEADLINE:g} s.") from error
    except FlagbrakeError:
        raise
    except Exception as error:
        # An adapter's or a metric source's own bug: the rollout holds, and the log has the trace.
        _log.exception("%s failed", name)
        raise Unavailable(f"{name}: {type(error).__name__}: {error}") from error


def _place(check: Check) -> str:
    return f"{check.source}/{check.metric}"


def _window_event(window: Closed, counts: Mapping[str, Window | None]) -> Event:
    found = {
        place: None if w is None else [w.canary, w.canary_bad, w.baseline, w.baseline_bad]
        for place, w in counts.items()
    }
    data = {
        "step": window.step,
        "window": window.index,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "revision": window.revision,
        "counts": found,
    }
    return Event("window", f"window {window.index + 1} of step {window.step + 1}", machine.ENGINE, data)
