"""The rollout machine: one pure function from state and observation to the next state and the write it wants.

::

    pending -> running(step i: applying -> baking -> judging [-> awaiting-approval]) -> completed
                  |  shown as paused / error-paused while pause reasons hold
                  |-> promoting -> completed          a person says "all the way"
                  |-> rolling-back -> rolled-back     a check failed
                  |-> rolling-back -> aborted         a person says stop
                  '-> superseded                      another rollout took the flag over

Order within a tick: confirm what was written, take a person's command, look for drift and kills, then
rollback, and only then advance. Rollback is asked every tick, paused or not; only advancing waits for the
bake time, the minimum sample, the verdict and an approval. A write is an intent that is in the state before
it is made; the next look at the flag tells whether it was, so a crash anywhere neither loses nor repeats it.
A flag that is off or killed pauses the rollout, and nothing here ever turns it on.

At 100 % no control remains: a judge that compares has nothing more to say about later runs, only about
windows still settling. Judges that need no control (thresholds) go on; plans that end below 100 % keep one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from flagbrake.model.flag import Serve
from flagbrake.model.values import WHOLE, percent_of
from flagbrake.rollout.durations import shown_duration
from flagbrake.rollout.plan import OnDrift, OnNoData, Plan
from flagbrake.rollout.split import is_two_way, serve_at, shape, share_served
from flagbrake.rollout.state import (
    Command,
    Decision,
    Event,
    Intent,
    IntentKind,
    Live,
    Observation,
    Phase,
    Reason,
    Stage,
    State,
    Verb,
)
from flagbrake.rollout.verdict import Assessment, Verdict
from flagbrake.rollout.windows import Windows

ENGINE = "engine"


def next(state: State, plan: Plan, before: Serve, seen: Observation, now: datetime) -> Decision:  # noqa: A001 - the machine's verb
    """The next state, what happened, and the write that is due.

    Args:
        state: as last saved.
        plan: the rollout's plan.
        before: what the flag served before the rollout.
        seen: the flag, the verdicts and a person's command, as of ``now``.
        now: aware.
    """
    if state.terminal:
        return Decision(state)
    return _Tick(state, plan, before, seen, now).run()


def serve_meant(plan: Plan, before: Serve, intent: Intent) -> Serve:
    """What an intent writes."""
    if intent.kind is IntentKind.ROLLBACK:
        return before
    return _serve_at(plan, before, plan.share(intent.step))


def bake_ends(state: State, plan: Plan) -> datetime | None:
    """When the present step's bake time is over; ``None`` before the first step."""
    if state.step < 0 or state.step_at is None:
        return None
    return state.step_at + plan.steps[state.step].bake


def bake_over(state: State, plan: Plan, now: datetime) -> bool:
    """True when the bake time has passed and every window that began within it is judged."""
    end = bake_ends(state, plan)
    if end is None or now < end:
        return False
    return not plan.steps[state.step].bake or state.windows.clear_until(end)


def _serve_at(plan: Plan, before: Serve, share: int) -> Serve:
    return serve_at(share, canary=plan.canary, baseline=plan.baseline, before=before)


class _Tick:
    """One call of :func:`next`: replaces its own state step by step, touches nothing else."""

    def __init__(self, state: State, plan: Plan, before: Serve, seen: Observation, now: datetime) -> None:
        self.state = state
        self.plan = plan
        self.before = before
        self.seen = seen
        self.now = now
        self.events: list[Event] = []
        #: True once the verdicts seen are those of another step.
        self.outdated = False

    def run(self) -> Decision:
        self._confirm()
        if self.seen.command is not None and not self.state.terminal:
            self._obey(self.seen.command)
        if self.state.terminal:
            return self._decided(None)
        self._watch()
        self._judge()
        if self.state.phase is Phase.ROLLING_BACK:
            return self._decided(self._roll_back())
        return self._decided(None if self.state.pauses else self._advance())

    def _decided(self, write: Intent | None) -> Decision:
        return Decision(self.state, tuple(self.events), write)

    def _set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def _tell(self, kind: str, words: str, *, by: str = ENGINE, notice: str = "", **data: Any) -> None:
        self.events.append(Event(kind, words, by, data, notice))

    # --- what became of the last write -----------------------------------------------------------------

    def _confirm(self) -> None:
        intent, live = self.state.intent, self.seen.live
        if intent is None or live is None:
            return
        meant = serve_meant(self.plan, self.before, intent)
        moved = live.version != intent.expected
        if live.serve == meant or (moved and shape(live.serve) == shape(meant)):
            self._set(intent=None, version=live.version, revision=live.revision, error="")
            self._confirmed(intent, live)
        elif moved:
            # Somebody else was first. The decision stands (goal, phase); the write is decided on anew.
            self._set(intent=None)

    def _confirmed(self, intent: Intent, live: Live) -> None:
        match intent.kind:
            case IntentKind.ROLLBACK:
                self._end(wrote=True)
            case IntentKind.REASSERT:
                self._set(reassert=False, adopted=None, step_at=self.now, windows=self._windows(live))
                share = percent_of(self.plan.share(self.state.step))
                self._tell("reasserted", f"{self.plan.canary} put back to {share} %", by=intent.by, notice="rollout")
            case IntentKind.STEP:
                self._step_confirmed(intent, live)

    def _step_confirmed(self, intent: Intent, live: Live) -> None:
        plan, share = self.plan, self.plan.share(intent.step)
        first = self.state.step < 0
        self.outdated = True
        self._set(step=intent.step, adopted=None, step_at=self.now, data_at=None, stage=Stage.BAKING)
        delay = {"delay": plan.initial_delay} if first else {}
        self._set(windows=self.state.windows.begin(self.now, step=intent.step, revision=live.revision, **delay))
        words = f"step {intent.step + 1} of {len(plan.steps)}: {plan.canary} at {percent_of(share)} %"
        if share == WHOLE and any(judge.compares for judge in plan.judges()):
            words += "; no control remains, so nothing is compared any more"
        self._tell(
            "step", words, by=intent.by, notice="rollout",
            step=intent.step, share=share, version=live.version, expected=intent.expected,
        )  # fmt: skip

    # --- a person's word ---------------------------------------------------------------------------------

    def _obey(self, command: Command) -> None:
        if self.state.phase is Phase.ROLLING_BACK:
            return
        by, why = command.by, f": {command.reason}" if command.reason else ""
        match command.verb:
            case Verb.PAUSE:
                self._pause(Reason.OPERATOR, f"paused by {by}{why}", by=by)
            case Verb.RESUME:
                drifted = Reason.DRIFT in self.state.pauses and self.state.step >= 0
                self._set(pauses=MappingProxyType({}), reassert=self.state.reassert or drifted, error="")
                self._tell("resumed", f"resumed by {by}{why}", by=by, notice="rollout")
            case Verb.PROMOTE | Verb.PROMOTE_FULL if not self.state.pauses:
                self._promote(command.verb, by, why)
            case Verb.ABORT:
                self._begin_rollback(Phase.ABORTED, by=by, why=f"aborted by {by}{why}")
            case Verb.SUPERSEDE:
                self._set(phase=Phase.SUPERSEDED, stage=Stage.NONE, intent=None, why=f"superseded by {by}{why}")
                self._tell("superseded", self.state.why, by=by, notice="rollout")
            case _:
                pass

    def _promote(self, verb: Verb, by: str, why: str) -> None:
        last = self.plan.last
        if verb is Verb.PROMOTE_FULL:
            self._set(phase=Phase.PROMOTING, goal=last, approved=last, by=by)
            self._tell("promoted", f"promoted to the last step by {by}{why}", by=by)
        elif self.state.step == last:
            self._complete(by=by)
        elif self.state.goal == self.state.step:
            goal = self.state.step + 1
            self._set(goal=goal, approved=max(self.state.approved, goal), by=by)
            self._tell("promoted", f"step {goal + 1} ordered by {by}{why}", by=by)

    def _pause(self, reason: Reason, words: str, *, by: str = ENGINE, notice: str = "rollout") -> None:
        if reason in self.state.pauses:
            return
        self._set(pauses=MappingProxyType({**self.state.pauses, reason: words}))
        self._tell("paused", words, by=by, notice=notice, reason=reason.value)

    # --- drift, kills, errors ------------------------------------------------------------------------------

    def _watch(self) -> None:
        live, state = self.seen.live, self.state
        if state.phase is Phase.PENDING:
            self._set(phase=Phase.RUNNING)
        if live is None:
            if self.seen.error:
                self._set(error=self.seen.error)
                self._pause(Reason.ERROR, self.seen.error, notice="alarm")
            return
        killed = self.seen.killed or ("" if live.on else f"flag '{self.plan.flag}' is off")
        if killed and state.phase is not Phase.ROLLING_BACK:
            self._pause(Reason.KILLED, killed)
        if self.state.intent is None and live.version != state.version:
            self._moved(live)

    def _moved(self, live: Live) -> None:
        if live.revision != self.state.windows.revision and self.state.windows.start is not None:
            self._set(windows=self._windows(live))
        if shape(live.serve) == shape(self._expected()):
            self._set(version=live.version, revision=live.revision)
            self._tell("edited", "the flag was edited; its split is what it should be", version=live.version)
            return
        if self.state.phase is Phase.ROLLING_BACK or self.state.reassert or Reason.DRIFT in self.state.pauses:
            return
        found = _described(live.serve)
        words = f"somebody changed the split of '{self.plan.flag}' to {found}"
        begun, policy = self.state.step >= 0, self.plan.on_drift
        if policy is OnDrift.REASSERT and begun and live.serve is not None:
            self._set(reassert=True)
            self._tell("drift", f"{words}; it is put back", notice="alarm", version=live.version)
        elif policy is OnDrift.ADOPT and begun and self._adoptable(live):
            self._adopt(live, words)
        else:
            self._pause(Reason.DRIFT, words, notice="alarm")

    def _adoptable(self, live: Live) -> bool:
        canary = share_served(live.serve, self.plan.canary)
        return canary > 0 and is_two_way(live.serve, self.plan.canary, self.plan.baseline)

    def _adopt(self, live: Live, words: str) -> None:
        share = share_served(live.serve, self.plan.canary)
        reached = [index for index, step in enumerate(self.plan.steps) if step.share <= share]
        step = max([self.state.step, *reached])
        self._set(step=step, goal=step, adopted=share, version=live.version, revision=live.revision)
        self._set(step_at=self.now, windows=self._windows(live), stage=Stage.BAKING)
        self._tell("adopted", f"{words}; the rollout goes on from there", notice="alarm", share=share, step=step)

    def _expected(self) -> Serve:
        if self.state.step < 0:
            return self.before
        share = self.plan.share(self.state.step) if self.state.adopted is None else self.state.adopted
        return _serve_at(self.plan, self.before, share)

    def _windows(self, live: Live) -> Windows:
        return self.state.windows.begin(self.now, step=max(self.state.step, 0), revision=live.revision)

    # --- rollback ------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        if self.state.phase is Phase.ROLLING_BACK or self.state.step < 0:
            return
        for assessment in self.seen.assessments:
            if assessment.verdict is Verdict.FAIL:
                self._begin_rollback(Phase.ROLLED_BACK, by=ENGINE, why=assessment.words, assessment=assessment)
                return
        if self.plan.on_no_data is OnNoData.ROLLBACK and self._silent():
            grace = shown_duration(self.plan.no_data_grace)
            why = f"no outcomes of {self.plan.canary} for {grace}"
            self._begin_rollback(Phase.ROLLED_BACK, by=ENGINE, why=why)

    def _silent(self) -> bool:
        if self.state.blind or Reason.KILLED in self.state.pauses or self.state.step_at is None:
            return False
        since = max(self.state.step_at, self.state.data_at or self.state.step_at)
        return self.now - since > self.plan.no_data_grace

    def _begin_rollback(self, ends_as: Phase, *, by: str, why: str, assessment: Assessment | None = None) -> None:
        self._set(phase=Phase.ROLLING_BACK, stage=Stage.NONE, intent=None, ends_as=ends_as, by=by, why=why)
        data: Mapping[str, Any] = {"assessment": assessment.to_data()} if assessment else {}
        self._tell("rolling-back", why, by=by, **data)

    def _roll_back(self) -> Intent | None:
        live = self.seen.live
        if live is None or self.state.intent is not None:
            # A flag that cannot be read is not written to: nobody knows what became of the last write.
            return self.state.intent if live is not None else None
        if live.serve == self.before or not share_served(live.serve, self.plan.canary):
            # Back already, or somebody took the canary out by hand: their split stays.
            self._set(version=live.version, revision=live.revision)
            self._end(wrote=False)
            return None
        intent = Intent(IntentKind.ROLLBACK, -1, live.version, self.state.by, self._rolled_back_words())
        self._set(intent=intent)
        return intent

    def _rolled_back_words(self) -> str:
        return f"{self.state.why}: rolled back" if self.state.ends_as is Phase.ROLLED_BACK else self.state.why

    def _end(self, *, wrote: bool) -> None:
        ends_as = self.state.ends_as or Phase.ROLLED_BACK
        words = self._rolled_back_words()
        if not wrote:
            words += f" ({self.plan.canary} was not served any more)" if self.state.step >= 0 else " before it began"
        self._set(phase=ends_as, stage=Stage.NONE, intent=None, error="", pauses=MappingProxyType({}))
        self._tell(
            ends_as.value, words, by=self.state.by, notice="rollback",
            version=self.state.version, step=self.state.step, wrote=wrote,
        )  # fmt: skip

    # --- advance -------------------------------------------------------------------------------------------

    def _advance(self) -> Intent | None:
        live = self.seen.live
        if live is None or self.state.intent is not None:
            return self.state.intent if live is not None else None
        if self.state.reassert and live.serve == self._expected() and self.state.adopted is None:
            self._set(reassert=False)  # somebody put it back already
        if self.state.reassert:
            return self._intend(IntentKind.REASSERT, self.state.step, live, ENGINE, "drift is put back")
        if self.state.goal == self.state.step and not self._decide_goal():
            return None
        by = self.state.by or ENGINE
        reason = f"rollout step {self.state.goal + 1} of {len(self.plan.steps)}"
        return self._intend(IntentKind.STEP, self.state.goal, live, by, reason)

    def _intend(self, kind: IntentKind, step: int, live: Live, by: str, reason: str) -> Intent:
        intent = Intent(kind, step, live.version, by, reason)
        self._set(intent=intent, stage=Stage.APPLYING)
        return intent

    def _decide_goal(self) -> bool:
        """Set the goal to the next step if everything allows it."""
        state, plan = self.state, self.plan
        if state.phase is Phase.PROMOTING and state.step == plan.last:
            self._complete(by=state.by)
            return False
        if state.step >= 0:
            if self.outdated or not bake_over(state, plan, self.now):
                self._stage(Stage.BAKING if self.now < (bake_ends(state, plan) or self.now) else Stage.JUDGING)
                return False
            if not all(self._passes(index) for index in range(len(plan.checks))):
                self._stage(Stage.JUDGING)
                return False
            if state.step == plan.last:
                self._complete(by=ENGINE)
                return False
        goal = state.step + 1
        if plan.steps[goal].approval and state.approved < goal:
            if state.stage is not Stage.APPROVAL:
                share = percent_of(plan.share(goal))
                self._tell("awaiting-approval", f"step {goal + 1} ({share} %) waits for an approval", notice="rollout")
            self._stage(Stage.APPROVAL)
            return False
        self._set(goal=goal, by="")
        return True

    def _passes(self, index: int) -> bool:
        judge = self.plan.judges()[index]
        if judge.compares and self.plan.share(self.state.step) == WHOLE:
            return True
        assessments = self.seen.assessments
        return index < len(assessments) and assessments[index].verdict is Verdict.PASS

    def _stage(self, stage: Stage) -> None:
        if self.state.stage is not stage:
            self._set(stage=stage)

    def _complete(self, *, by: str) -> None:
        share = percent_of(self.plan.share(self.state.step))
        why = f"{self.plan.canary} has {share} %: completed"
        self._set(phase=Phase.COMPLETED, stage=Stage.NONE, goal=self.state.step, why=why)
        self._tell("completed", why, by=by, notice="rollout", step=self.state.step, version=self.state.version)


def _described(serve: Serve | None) -> str:
    parts = shape(serve)
    if parts is None:
        return "nothing (its rule is gone)"
    return ", ".join(f"{name} {percent_of(share)} %" for name, share in parts.items() if isinstance(share, int))
