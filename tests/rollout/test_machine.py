"""The rollout machine: what it does, step by step, and what it never does, whatever happens."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flagbrake.model.flag import ramp
from flagbrake.model.values import WHOLE
from flagbrake.rollout.split import shape
from flagbrake.rollout.state import Command, IntentKind, Phase, Reason, Stage, State, Verb
from flagbrake.rollout.verdict import Verdict
from tests.rollout.world import Crashed, World, plan_of


def baked(world: World) -> World:
    """Let the present step's bake time pass, and its last window settle."""
    world.pass_time(60)
    world.tick()
    world.pass_time(6)
    world.tick()
    return world


def test_a_rollout_walks_its_steps_and_completes():
    """Steps are applied in order, each after the bake time of the one before, the last one bakes too."""
    world = World(plan_of(1, 25, 100), "v1")
    world.tick()
    assert (world.canary_share, world.state.step, world.state.stage) == (1000, 0, Stage.BAKING)
    world.pass_time(59)
    world.tick()
    assert world.canary_share == 1000
    world.pass_time(7)
    world.tick()
    world.pass_time(6)
    world.tick()
    assert world.canary_share == 25_000
    assert baked(world).serve == "v2"
    assert world.state.phase is Phase.RUNNING
    assert baked(world).state.phase is Phase.COMPLETED
    assert world.steps() == [0, 1, 2]
    assert [event.data["share"] for event in world.events if event.kind == "step"] == [1000, 25_000, WHOLE]


def test_a_failing_check_rolls_back_at_once_and_says_why():
    """Rollback does not wait for the bake time; the previous serve is put back exactly; the words are plain."""
    before = ramp("v2", 0, "v1")
    world = World(plan_of(1, 100), before)
    world.tick()
    world.verdict = Verdict.FAIL
    world.pass_time(1)
    world.tick()
    assert world.serve == before
    assert world.state.phase is Phase.ROLLED_BACK
    assert world.events[-1].words == "v2 fails 8.1 %, v1 2.0 %: rolled back"
    assert world.events[-1].notice == "rollback"


def test_rollback_is_evaluated_while_paused():
    """A pause holds the traffic where it is; it never holds a rollback."""
    world = World(plan_of(5, 100), "v1")
    world.tick()
    world.command(Verb.PAUSE)
    assert world.state.shown is Phase.PAUSED
    world.verdict = Verdict.FAIL
    world.tick()
    assert (world.state.phase, world.serve) == (Phase.ROLLED_BACK, "v1")


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.NO_DATA, Verdict.ERROR])
def test_only_a_pass_advances_and_only_a_fail_rolls_back(verdict: Verdict):
    """Unknown holds: no data and a blind judge are neither a pass nor a failure of the canary."""
    world = World(plan_of(5, 100), "v1", verdict=verdict)
    world.tick()
    for _ in range(5):
        baked(world)
    assert (world.canary_share, world.state.phase, world.state.stage) == (5000, Phase.RUNNING, Stage.JUDGING)


def test_no_data_rolls_back_only_when_the_plan_says_so_and_after_its_grace():
    """``on_no_data = rollback`` waits for the grace."""
    world = World(plan_of(5, 100, on_no_data="rollback", no_data_grace="5m"), "v1", verdict=Verdict.NO_DATA)
    world.tick()
    world.pass_time(299)
    world.tick()
    assert world.state.phase is Phase.RUNNING
    world.pass_time(2)
    world.tick()
    assert world.state.phase is Phase.ROLLED_BACK
    assert world.events[-1].words == "no outcomes of v2 for 5m: rolled back"


def test_an_approval_is_the_last_gate_and_promote_gives_it():
    """A step with ``approval`` waits after everything else is satisfied, and is told of once."""
    world = World(plan_of(5, {"set_weight": 100, "approval": True}), "v1")
    world.tick()
    for _ in range(3):
        baked(world)
    assert (world.canary_share, world.state.stage) == (5000, Stage.APPROVAL)
    assert world.kinds().count("awaiting-approval") == 1
    world.command(Verb.PROMOTE)
    assert world.serve == "v2"
    assert next(event.by for event in world.events if event.kind == "step" and event.data["step"] == 1) == "ana"


def test_a_killed_flag_pauses_and_is_never_turned_on():
    """A kill is a person's word: the rollout waits, and goes on only when a person resumes after the restore."""
    world = World(plan_of(5, 100), "v1")
    world.tick()
    world.killed = "flag:agents.refunds is killed: too many refunds (by bo)"
    world.tick()
    assert Reason.KILLED in world.state.pauses
    world.command(Verb.RESUME)
    assert Reason.KILLED in world.state.pauses
    world.killed = ""
    baked(baked(world))
    assert world.canary_share == 5000
    world.command(Verb.RESUME)
    baked(world)
    assert world.canary_share == WHOLE


def test_a_flag_switched_off_counts_as_killed_and_a_rollback_leaves_it_off():
    """The split is put back under the kill; the switch is not touched."""
    world = World(plan_of(5, 100), "v1")
    world.tick()
    world.on = False
    world.version += 1
    world.tick()
    assert world.state.pauses == {Reason.KILLED: "flag 'agents.refunds' is off"}
    world.verdict = Verdict.FAIL
    world.tick()
    assert (world.state.phase, world.serve, world.on) == (Phase.ROLLED_BACK, "v1", False)


def test_an_edit_beside_the_split_is_no_drift():
    """A new description makes a new version; the rollout notes it and cuts its windows there."""
    world = World(plan_of(5, 100), "v1")
    world.tick()
    world.version += 1
    world.tick()
    assert (world.state.shown, world.state.version) == (Phase.RUNNING, "3")
    assert world.state.windows.revision == 3
    assert world.kinds()[-1] == "edited"


def test_drift_pauses_and_resume_puts_the_plan_back():
    """By default somebody else's split stops the rollout; resuming means that the plan is right."""
    world = World(plan_of(5, 50, 100), "v1")
    world.tick()
    world.write(ramp("v2", 70_000, "v1"))
    world.tick()
    assert "somebody changed the split" in world.state.pauses[Reason.DRIFT]
    assert world.canary_share == 70_000
    world.command(Verb.RESUME)
    assert world.canary_share == 5000
    assert world.state.shown is Phase.RUNNING


def test_drift_can_be_put_back_or_adopted():
    """``reassert`` restores the plan's split; ``adopt`` goes on from the one found, never downwards."""
    world = World(plan_of(5, 50, 100, on_drift="reassert"), "v1")
    world.tick()
    world.write(ramp("v2", 70_000, "v1"))
    world.tick()
    assert world.canary_share == 5000
    world = World(plan_of(5, 50, 100, on_drift="adopt"), "v1")
    world.tick()
    world.write(ramp("v2", 70_000, "v1"))
    world.tick()
    assert (world.canary_share, world.state.step) == (70_000, 1)
    assert baked(world).canary_share == WHOLE


def test_a_rollback_leaves_a_hotfix_alone():
    """Somebody already took the canary out by hand: their split stays, and the words say so."""
    world = World(plan_of(5, 100), "v1")
    world.tick()
    world.write("v3")
    world.verdict = Verdict.FAIL
    world.tick()
    assert (world.state.phase, world.serve) == (Phase.ROLLED_BACK, "v3")
    assert world.events[-1].words.endswith("(v2 was not served any more)")


def test_abort_rolls_back_under_the_persons_name():
    """Abort is a rollback that a person asked for."""
    world = World(plan_of(5, 100), "v1")
    world.tick()
    world.command(Verb.ABORT, "wrong prompt")
    assert (world.state.phase, world.serve) == (Phase.ABORTED, "v1")
    assert world.events[-1].words == "aborted by ana: wrong prompt"
    assert world.engine_writes[-1][0].by == "ana"


def test_promote_full_goes_to_the_last_step_and_no_further():
    """``promote --full`` leaves out the steps between; a plan that ends at 95 % ends there."""
    world = World(plan_of(5, 50, 95), "v1")
    world.tick()
    world.command(Verb.PROMOTE_FULL)
    assert (world.canary_share, world.state.phase) == (95_000, Phase.COMPLETED)


def test_at_100_percent_a_comparing_judge_is_not_asked_for_more():
    """Without a control there is nothing to compare: the last bake passes, and the step says so."""
    world = World(plan_of(50, 100), "v1")
    world.tick()
    baked(world)
    assert "no control remains" in world.events[-1].words
    world.verdict = Verdict.NO_DATA
    assert baked(world).state.phase is Phase.COMPLETED


def test_a_late_window_of_the_step_before_still_rolls_back_from_100_percent():
    """Runs that settle after the last step count: the verdict is asked until the end."""
    world = World(plan_of(50, 100), "v1")
    world.tick()
    baked(world)
    assert world.serve == "v2"
    world.verdict = Verdict.FAIL
    world.tick()
    assert (world.serve, world.state.phase) == ("v1", Phase.ROLLED_BACK)


def test_a_rollback_waits_for_a_flag_that_cannot_be_read_and_is_not_forgotten():
    """The decision is latched; the write follows when the flag answers."""
    world = World(plan_of(5, 100), "v1")
    world.tick()
    world.readable = False
    world.command(Verb.ABORT)
    assert world.state.phase is Phase.ROLLING_BACK
    world.readable = True
    world.tick()
    assert (world.state.phase, world.serve) == (Phase.ABORTED, "v1")


def test_the_verdict_of_one_step_never_carries_the_next():
    """Without bake times each step still needs a look of its own."""
    world = World(plan_of(1, 50, 100, bake="0s"), "v1")
    for share in (1000, 50_000, WHOLE):
        world.tick()
        assert world.canary_share == share


def with_an_intent_that_was_not_written() -> World:
    """The engine died after it recorded the second step and before it wrote it."""
    world = World(plan_of(5, 50, 100), "v1")
    world.tick()
    world.pass_time(60)
    world.tick()
    world.pass_time(6)
    with contextlib.suppress(Crashed):
        world.tick(dies_at=1)
    assert world.state.intent is not None
    assert world.canary_share == 5000
    return world


def test_an_intent_is_carried_out_after_a_crash_whatever_was_edited_beside_the_split():
    """The version moved, the decision stands: the step is written once, against the new version."""
    world = with_an_intent_that_was_not_written()
    world.version += 1
    world.tick()
    assert (world.canary_share, world.steps()) == (50_000, [0, 1])


@pytest.mark.parametrize("rollback", [False, True])
def test_nothing_is_written_while_the_flag_cannot_be_read(rollback: bool):
    """A recorded intent waits until it is known what became of it."""
    world = with_an_intent_that_was_not_written()
    if rollback:
        world.verdict = Verdict.FAIL
        with contextlib.suppress(Crashed):
            world.tick(dies_at=1)
        assert world.state.intent is not None
        assert world.state.intent.kind is IntentKind.ROLLBACK
    world.readable = False
    world.tick()
    assert len(world.engine_writes) == 1


@pytest.mark.parametrize("by_check", [True, False])
def test_a_rollback_gives_up_a_step_that_was_not_written(by_check: bool):
    """The canary gets no more on the way back."""
    world = with_an_intent_that_was_not_written()
    if by_check:
        world.verdict = Verdict.FAIL
        world.tick()
    else:
        world.command(Verb.ABORT)
    assert [intent.kind for intent, _ in world.engine_writes] == [IntentKind.STEP, IntentKind.ROLLBACK]
    assert world.serve == "v1"


def test_a_state_survives_json():
    """What is saved is all there is."""
    world = World(plan_of(5, 100), "v1")
    world.tick()
    world.command(Verb.PAUSE)
    assert State.from_data(json.loads(json.dumps(world.state.to_data()))) == world.state


class Anything(RuleBasedStateMachine):
    """Ticks, crashes, commands, kills, edits and verdicts in any order.

    Nobody else touches the split here (drift has its own tests), so every change of the canary's share is
    the engine's.
    """

    @initialize(
        shares=st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True),
        approvals=st.lists(st.booleans(), min_size=5, max_size=5),
        began_split=st.booleans(),
    )
    def begin(self, shares: list[int], approvals: list[bool], began_split: bool):
        steps = [
            {"set_weight": share, "approval": approval}
            for share, approval in zip(sorted(shares), approvals, strict=False)
        ]
        self.world = World(plan_of(*steps), ramp("v2", 0, "v1") if began_split else "v1")
        self.ordered_full = False
        self.promoted = 0

    @rule(seconds=st.sampled_from([0, 1, 6, 30, 60, 66]), dies_at=st.none() | st.integers(0, 9))
    def tick(self, seconds: int, dies_at: int | None):
        self.world.pass_time(seconds)
        with contextlib.suppress(Crashed):
            self.world.tick(dies_at=dies_at)

    @rule(verb=st.sampled_from([Verb.PAUSE, Verb.RESUME, Verb.PROMOTE]), dies_at=st.none() | st.integers(0, 9))
    def command(self, verb: Verb, dies_at: int | None):
        with contextlib.suppress(Crashed):
            self.world.tick(Command(verb, "ana"), dies_at=dies_at)

    @precondition(lambda self: self.world.state.step >= 0)
    @rule(dies_at=st.none() | st.integers(0, 9))
    def promote_full(self, dies_at: int | None):
        self.ordered_full = True
        with contextlib.suppress(Crashed):
            self.world.tick(Command(Verb.PROMOTE_FULL, "ana"), dies_at=dies_at)

    @rule(verdict=st.sampled_from([Verdict.PASS, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.FAIL]))
    def judge(self, verdict: Verdict):
        self.world.verdict = verdict

    @rule()
    def edit_beside_the_split(self):
        self.world.version += 1

    @rule(on=st.booleans())
    def switch(self, on: bool):
        if self.world.on != on:
            self.world.on = on
            self.world.version += 1

    @rule(killed=st.booleans())
    def kill(self, killed: bool):
        self.world.killed = "killed by bo" if killed else ""

    @rule(readable=st.booleans())
    def hide(self, readable: bool):
        self.world.readable = readable

    @invariant()
    def no_step_is_skipped_or_confirmed_twice(self):
        """Steps come one after another; only a person's order to go all the way leaves any out."""
        steps = self.world.steps()
        last = self.world.plan.last
        expected = list(range(len(steps)))
        if self.ordered_full and steps and steps[-1] == last and steps != expected:
            assert steps[:-1] == list(range(len(steps) - 1))
        else:
            assert steps == expected

    @invariant()
    def each_write_is_made_once(self):
        """A write that landed is never made again: intents of steps are unique, and there is one rollback at most."""
        kinds = [(intent.kind, intent.step) for intent, _ in self.world.engine_writes]
        assert len(kinds) == len(set(kinds))
        assert all(kind is not IntentKind.REASSERT for kind, _ in kinds)

    @invariant()
    def the_share_is_a_step_of_the_plan_and_never_above_what_was_confirmed_or_intended(self):
        """Never above the plan: the canary has the share of the step confirmed, or of the one being written."""
        world = self.world
        state = world.state
        allowed = {0, world.plan.share(state.step), world.plan.share(state.goal)}
        assert world.canary_share in allowed
        assert world.canary_share <= world.plan.share(max(state.step, state.goal))

    @invariant()
    def after_the_end_nothing_moves(self):
        """A rollback put the split before back, exactly; a completion leaves the last step's."""
        world = self.world
        match world.state.phase:
            case Phase.ROLLED_BACK | Phase.ABORTED:
                assert world.serve == world.before
            case Phase.COMPLETED:
                assert world.canary_share == world.plan.share(world.plan.last)
            case _:
                pass

    @invariant()
    def while_off_or_killed_the_share_does_not_grow(self):
        """Kept by comparing with the share at the last moment it was alive."""
        world = self.world
        alive = world.on and not world.killed
        if alive or not hasattr(self, "share_alive"):
            self.share_alive = world.canary_share
        # A write recorded before the kill may still be confirmed, but no new one is made.
        assert world.canary_share <= self.share_alive

    @invariant()
    def rollback_is_always_reachable(self):
        """From any state, an abort and a few ticks put the split before back, and never turn the flag on."""
        if self.world.state.terminal:
            return
        twin = self.world.copy()
        twin.readable = True
        twin.command(Verb.ABORT)
        for _ in range(3):
            twin.tick()
        # A rollback that a check had already begun keeps its own name.
        assert twin.state.phase in {Phase.ABORTED, Phase.ROLLED_BACK}
        assert shape(twin.serve) == shape(twin.before)
        assert twin.on == self.world.on


Anything.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAnything = Anything.TestCase
