"""A flag, a saved state and an engine that may die between any two of its writes. No database, no clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from flagbrake.model.flag import Serve
from flagbrake.rollout import machine
from flagbrake.rollout.plan import Plan
from flagbrake.rollout.split import share_served
from flagbrake.rollout.state import Command, Event, Intent, Live, Observation, State, Verb
from flagbrake.rollout.verdict import Assessment, Verdict

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Crashed(Exception):
    """The engine died here."""


@dataclass
class World:
    """The engine's loop over :func:`machine.next`, with everything it would reach as plain fields."""

    plan: Plan
    before: Serve
    now: datetime = BEGAN
    version: int = 1
    serve: Serve = ""
    on: bool = True
    killed: str = ""
    readable: bool = True
    verdict: Verdict = Verdict.PASS
    saved: str = ""
    events: list[Event] = field(default_factory=list)
    engine_writes: list[tuple[Intent, Serve]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.serve = self.before
        state = State(version="1", revision=1, started_at=self.now)
        self.saved = json.dumps(state.to_data())

    @property
    def state(self) -> State:
        return State.from_data(json.loads(self.saved))

    @property
    def canary_share(self) -> int:
        return share_served(self.serve, self.plan.canary)

    def live(self) -> Live | None:
        return Live(str(self.version), self.on, self.serve, self.version) if self.readable else None

    def write(self, serve: Serve) -> None:
        self.serve = serve
        self.version += 1

    def assessments(self, state: State) -> Sequence[Assessment]:
        # A judge that compares has nothing to say before the first step.
        verdict = Verdict.NO_DATA if state.step < 0 else self.verdict
        words = f"{self.plan.canary} fails 8.1 %, {self.plan.baseline} 2.0 %"
        return tuple(Assessment(check.metric, verdict, words) for check in self.plan.checks)

    def tick(self, command: Command | None = None, *, dies_at: int | None = None) -> None:
        """One tick; with ``dies_at`` it dies at the n-th point where something was or is about to be made durable."""
        point = iter(range(1000))

        def maybe_die() -> None:
            if next(point) == dies_at:
                raise Crashed

        state = self.state
        for _ in range(8):
            live = self.live()
            if live is not None:
                state = self._judged(state)
            seen = Observation(live, tuple(self.assessments(state)), self.killed, command=command)
            decision = machine.next(state, self.plan, self.before, seen, self.now)
            command = None
            maybe_die()
            # State and events are one transaction.
            self.saved = json.dumps(decision.state.to_data())
            self.events.extend(decision.events)
            state = decision.state
            maybe_die()
            if decision.write is None:
                return
            assert state.intent == decision.write, "an intent is in the state before it is written"
            if str(self.version) == decision.write.expected:
                meant = machine.serve_meant(self.plan, self.before, decision.write)
                self.engine_writes.append((decision.write, meant))
                self.write(meant)
            maybe_die()
        raise AssertionError("a tick does not end")

    def _judged(self, state: State) -> State:
        windows = state.windows.cut_when_due(
            self.now, self.plan.interval, at_least_from=machine.bake_ends(state, self.plan)
        )
        while (due := windows.due(self.now, self.plan.settle)) is not None:
            windows = windows.judged(due)
        return replace(state, windows=windows)

    def command(self, verb: Verb, reason: str = "because") -> None:
        self.tick(Command(verb, "ana", reason))

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def steps(self) -> list[int]:
        return [event.data["step"] for event in self.events if event.kind == "step"]

    def copy(self) -> World:
        values = SimpleNamespace(**vars(self))
        twin = World(self.plan, self.before)
        vars(twin).update(vars(values), events=list(self.events), engine_writes=list(self.engine_writes))
        return twin


def plan_of(*percents: float, bake: str = "60s", **rest: object) -> Plan:
    """A short plan: windows of 10 s, settled after 5 s."""
    given = {"interval": "10s", "settle": "5s", **rest}
    return Plan.from_data(
        {"flag": "agents.refunds", "canary": "v2", "baseline": "v1", "steps": list(percents), "bake": bake, **given}
    )
