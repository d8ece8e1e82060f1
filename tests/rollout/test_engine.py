"""The engine on a real store: measures, advances, rolls back, survives, tells."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import Conflict, InvalidInput, NoEngine, NotAllowed, NotFound, Unavailable
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Bucketing, Distribution, Rule, Weight, ramp
from flagbrake.model.kill import Kill, Scope
from flagbrake.model.state import Archive, Replace, SetDistribution, SetOn
from flagbrake.ports.metrics import MetricSource
from flagbrake.ports.notify import Notifier
from flagbrake.rollout.engine import Engine
from flagbrake.rollout.state import Phase, Stage
from flagbrake.rollout.watchdog import Watchdog
from flagbrake_sql.control import SqlControl
from tests.rollout.conftest import FLAG, Bench
from tests.support.waiting import wait_until


def test_a_sound_version_walks_to_100_percent(bench: Bench):
    """Outcomes from the store carry the rollout through every step; each write is audited once, in order."""
    started = bench.service.start(bench.plan(5, 50, 100), by="ana", reason="v2 is ready", here=True)
    assert (started.phase, started.percent) == (Phase.PENDING, "0")
    bench.pass_time(300, traffic=lambda: bench.record(v1=(20, 1), v2=(10, 0)))
    status = bench.service.status(FLAG)
    assert (status.phase, status.percent, status.words) == (Phase.COMPLETED, "100", "v2 has 100 %: completed")
    assert bench.control.read(FLAG).flag.default == "v2"
    writes = [e for e in reversed(bench.store.audit.entries(FLAG)) if e.action == "set-distribution"]
    assert [entry.reason.split(" (")[0] for entry in writes] == [f"rollout step {n} of 3" for n in (1, 2, 3)]
    assert bench.store.audit.verify() is None
    kinds = [event.kind for event in bench.service.history(FLAG) if event.kind != "window"]
    assert kinds == ["started", "step", "step", "step", "completed"]


def test_a_worse_version_is_rolled_back_and_the_reason_is_plain(bench: Bench):
    """The previous split is put back exactly, and one line says why, with its numbers."""
    bucketing = Bucketing(salt="imported")
    before = Distribution((Weight("v1", 100_000), Weight("v2", 0)), bucketing)
    bench.writer.apply(SetDistribution(FLAG, before), by="ana")
    bench.service.start(bench.plan(10, 100), by="ana", here=True)
    bench.engine.tick()
    during = bench.control.read(FLAG).flag.default
    assert during == Distribution((Weight("v1", 90_000), Weight("v2", 10_000)), bucketing)
    bench.pass_time(120, traffic=lambda: bench.record(v1=(90, 2), v2=(10, 4)))
    status = bench.service.status(FLAG)
    assert (status.phase, status.percent) == (Phase.ROLLED_BACK, "0")
    assert bench.control.read(FLAG).flag.default == before
    assert status.words.startswith("v2 fails 40.0 %, v1 2.2 %")
    assert status.words.endswith(": rolled back")
    rollback = [notice for notice in bench.notices.notices if notice.event == "rollback"]
    assert len(rollback) == 1
    assert "v2 fails 40.0 %, v1 2.2 %: rolled back" in rollback[0].text


def test_who_watches_an_engine_hears_what_happens_and_nothing_else(bench: Bench):
    """Once for each event, when it is saved; a tick in which nothing happens tells nothing."""
    heard: list[tuple[str, str, str]] = []
    started = bench.service.start(bench.plan(10, 100), by="ana", here=True)
    bench.engine.told = lambda flag, rollout, event: heard.append((flag, rollout, event.kind))
    bench.engine.tick()
    assert heard == [(FLAG, started.id, "step")]
    bench.engine.tick()
    assert len(heard) == 1
    bench.pass_time(120, traffic=lambda: bench.record(v1=(90, 2), v2=(10, 4)))
    assert [kind for _, _, kind in heard if kind != "window"] == ["step", "rolling-back", "rolled-back"]


def test_two_splits_are_never_pooled(bench: Bench):
    """A window counts only runs of its own revision: an agent that has not seen the step yet is left out."""
    bench.service.start(bench.plan(10, 100), by="ana", here=True)
    bench.record(v1=(50, 50))
    bench.engine.tick()
    bench.pass_time(30, traffic=lambda: bench.record(v1=(9, 0), v2=(1, 0)))
    tally = bench.service.status(FLAG).assessments[0]["tally"]
    assert tally["baseline_bad"] == 0


def test_runs_that_settle_late_are_counted_where_they_started(bench: Bench):
    """Counting at the window's end would miss slow runs; it is judged ``settle`` later."""
    bench.service.start(bench.plan(10, 100), by="ana", here=True)
    bench.engine.tick()
    bench.clock.move(10)
    bench.engine.tick()
    bench.record(v1=(9, 0), v2=(5, 0), late=4)
    bench.clock.move(5)
    bench.engine.tick()
    assert bench.service.status(FLAG).assessments[0]["tally"]["canary"] == 5


def test_no_data_holds(bench: Bench):
    """A step without outcomes waits; it neither advances nor fails."""
    bench.service.start(bench.plan(10, 100), by="ana", here=True)
    bench.pass_time(600, every=30)
    status = bench.service.status(FLAG)
    assert (status.phase, status.stage, status.verdict) == (Phase.RUNNING, Stage.JUDGING, "no_data")
    assert bench.canary_share == 10_000


class Sulking(MetricSource):
    """A source that does not answer while ``away``."""

    name = "sulking"

    def __init__(self, inner: MetricSource) -> None:
        self.inner = inner
        self.away = True

    def query(self, query):
        if self.away:
            raise Unavailable("Prometheus did not answer.")
        return self.inner.query(query)


def test_a_blind_judge_holds_tells_once_and_misses_nothing(bench: Bench):
    """An outage of the metric source is not a failure of the canary; the windows are judged when it is back."""
    source = Sulking(bench.engine.sources["outcomes"])
    bench.engine.sources = {"outcomes": source}
    bench.service.start(bench.plan(10, 100), by="ana", here=True)
    bench.pass_time(100, traffic=lambda: bench.record(v1=(45, 1), v2=(5, 0)))
    status = bench.service.status(FLAG)
    assert (status.phase, status.verdict, bench.canary_share) == (Phase.RUNNING, "error", 10_000)
    assert [notice.data["kind"] for notice in bench.notices.notices].count("blind") == 1
    source.away = False
    bench.pass_time(5)
    assert bench.service.status(FLAG).assessments[0]["tally"]["canary"] >= 90


def test_a_kill_pauses_and_the_engine_never_lifts_it(bench: Bench):
    """While the flag is killed nothing grows; after the lift a person resumes."""
    bench.service.start(bench.plan(10, 100), by="ana", here=True)
    bench.engine.tick()
    scope = Scope.parse(f"flag:{FLAG}")
    kill = bench.store.kills.kill(Kill("k1", scope, "test", "too many refunds", "bo", bench.clock.now(), 0))
    bench.pass_time(200, traffic=lambda: bench.record(v1=(9, 0), v2=(9, 0)))
    status = bench.service.status(FLAG)
    assert status.phase is Phase.PAUSED
    assert status.pauses == (f"flag:{FLAG} is killed: too many refunds (by bo)",)
    assert bench.canary_share == 10_000
    assert bench.store.kills.read().kills == (kill,)
    with pytest.raises(Conflict, match="Still paused"):
        bench.service.resume(FLAG, by="ana")
    bench.store.kills.lift(kill, by="ana", reason="mended")
    bench.service.resume(FLAG, by="ana")
    assert bench.service.status(FLAG).phase is Phase.RUNNING


def test_a_flag_turned_off_stays_off(bench: Bench):
    """Somebody's switch is theirs; an abort puts the split back and leaves the switch."""
    bench.service.start(bench.plan(10, 100), by="ana", here=True)
    bench.engine.tick()
    bench.writer.apply(SetOn(FLAG, on=False), by="bo")
    bench.engine.tick()
    assert bench.service.status(FLAG).pauses == (f"flag '{FLAG}' is off",)
    bench.service.abort(FLAG, by="ana", reason="not today")
    flag = bench.control.read(FLAG).flag
    assert (flag.on, flag.default) == (False, "v1")


def test_a_rollout_needs_an_engine_or_the_word_here(bench: Bench):
    """Nobody watching is refused before anything is written."""
    with pytest.raises(NoEngine, match="flagbrake engine, or --here"):
        bench.service.start(bench.plan(10, 100), by="ana")
    assert bench.store.rollouts.active() == []
    bench.engine.tick()
    assert bench.service.start(bench.plan(10, 100), by="ana").engine_live


def test_one_active_rollout_per_flag_and_a_replacement_keeps_what_was_before(bench: Bench):
    """A second rollout is refused; a replacement goes on from the split it finds and rolls back to the first's."""
    first = bench.service.start(bench.plan(10, 100), by="ana", here=True)
    bench.engine.tick()
    with pytest.raises(Conflict, match="active rollout"):
        bench.service.start(bench.plan(20, 100), by="bo", here=True)
    bench.service.start(bench.plan(20, 100), by="bo", here=True, replace=True)
    assert bench.service.status(first.id).phase is Phase.SUPERSEDED
    bench.engine.tick()
    assert bench.canary_share == 20_000
    bench.service.abort(FLAG, by="bo")
    assert bench.control.read(FLAG).flag.default == "v1"


def test_what_cannot_be_rolled_out_is_refused_with_a_cure(bench: Bench):
    """An unknown variant, a flag that is off, a third variant, a step that is not more than now."""
    plan = bench.plan(10, 100)
    with pytest.raises(NotFound, match="no variant 'v9'"):
        bench.service.start(bench.plan(10, canary="v9"), by="ana", here=True)
    bench.writer.apply(SetOn(FLAG, on=False), by="ana")
    with pytest.raises(InvalidInput, match="is off"):
        bench.service.start(plan, by="ana", here=True)
    bench.writer.apply(SetOn(FLAG, on=True), by="ana")
    bench.writer.apply(SetDistribution(FLAG, "v3"), by="ana")
    with pytest.raises(InvalidInput, match="serves v3"):
        bench.service.start(plan, by="ana", here=True)
    bench.writer.apply(SetDistribution(FLAG, Distribution((Weight("v2", 50_000), Weight("v1", 50_000)))), by="ana")
    with pytest.raises(InvalidInput, match="gets 50 %"):
        bench.service.start(plan, by="ana", here=True)


def test_promote_abort_and_history(bench: Bench):
    """People's words are carried out at once, under their names, whether or not an engine runs."""
    bench.service.start(bench.plan(1, 10, 100), by="ana", here=True)
    bench.engine.tick()
    assert bench.service.promote(FLAG, by="bo", reason="looks good").percent == "10"
    assert bench.service.abort(FLAG, by="cy", reason="wrong prompt").phase is Phase.ABORTED
    last = bench.service.history(FLAG)[-1]
    assert (last.kind, last.by, last.message) == ("aborted", "cy", "aborted by cy: wrong prompt")
    with pytest.raises(Conflict, match="is over"):
        bench.service.pause(FLAG, by="bo")


def test_two_engines_do_every_step_once(bench: Bench):
    """Claims and fences: a second engine finds nothing left to do."""
    other: Engine = bench.another_engine()
    bench.service.start(bench.plan(1, 10, 100, bake="10s"), by="ana", here=True)
    for _ in range(40):
        bench.record(v1=(30, 0), v2=(30, 0))
        bench.clock.move(5)
        other.tick(bench.clock.now())
        bench.engine.tick(bench.clock.now())
    events = [event for event in bench.service.history(FLAG) if event.kind == "step"]
    assert [event.data["step"] for event in events] == [0, 1, 2]
    assert bench.service.status(FLAG).phase is Phase.COMPLETED


def test_a_claim_that_was_lost_saves_nothing(bench: Bench):
    """An engine that was frozen past its lease is fenced off."""
    started = bench.service.start(bench.plan(1, 100), by="ana", here=True)
    row, fence = bench.store.rollouts.claim(started.id, "frozen", 30, bench.clock.now())
    bench.clock.move(31)
    bench.engine.tick(bench.clock.now())
    assert bench.canary_share == 1000
    with pytest.raises(Conflict):
        bench.store.rollouts.save(started.id, row.state, expected_seq=row.seq, fence=fence)


def test_a_silent_engine_is_told_once(bench: Bench):
    """Any other process alarms when a rollout is active and the engine stopped ticking."""
    watchdog = Watchdog(bench.store, notifiers=[bench.notices], silent_after=30)
    second = Watchdog(bench.store, notifiers=[bench.notices], silent_after=30)
    bench.engine.tick()
    bench.service.start(bench.plan(1, 100), by="ana")
    assert watchdog.check(bench.clock.now()) == ""
    bench.clock.move(31)
    words = watchdog.check(bench.clock.now())
    assert words == f"the engine has not ticked for 31 s while {FLAG} is being rolled out: nothing would roll back"
    bench.clock.move(5)
    assert watchdog.check(bench.clock.now())
    assert second.check(bench.clock.now())
    assert [notice.event for notice in bench.notices.notices].count("alarm") == 1


class Broken(MetricSource):
    """Raises what no port allows."""

    name = "broken"

    def query(self, query):
        raise RuntimeError("bug")


def test_one_broken_rollout_does_not_stop_the_others(bench: Bench):
    """A bug in a source blinds its rollout only, and the status says so."""
    bench.engine.sources = {**bench.engine.sources, "broken": Broken()}
    bench.service.start(bench.plan(10, 100, checks=[{"source": "broken"}]), by="ana", here=True)
    bench.pass_time(60)
    assert "RuntimeError: bug" in bench.service.status(FLAG).blind


class Deaf(Notifier):
    """Fails whenever it is told something."""

    name = "deaf"

    def notify(self, notice):
        raise OSError("nobody there")


def test_a_failing_notifier_fails_nothing(bench: Bench):
    """Others are told, and the rollout ends as it should."""
    bench.engine.notifiers = [Deaf(), bench.notices]
    bench.service.start(bench.plan(1, 100), by="ana", here=True)
    bench.engine.tick()
    assert bench.service.abort(FLAG, by="ana").phase is Phase.ABORTED
    assert [notice.event for notice in bench.notices.notices] == ["rollout", "rollout", "rollback"]


class Forbidding(SqlControl):
    """Reads, but may not write."""

    def apply(self, change, *, expected=None, by="", comment=""):
        raise NotAllowed("The token may not write flags.", cure="another token")


def test_a_refused_write_is_told_once_and_tried_again(bench: Bench):
    """The rollout stays where it is; when the token is mended it goes on by itself."""
    bench.service.start(bench.plan(1, 100), by="ana", here=True)
    writer, bench.engine.writer = bench.engine.writer, FlagWriter(Forbidding(bench.store), lock=bench.store.locks)
    bench.pass_time(30)
    status = bench.service.status(FLAG)
    assert status.words.startswith("cannot write: The token may not write flags.")
    assert [notice.data["kind"] for notice in bench.notices.notices].count("error") == 1
    bench.engine.writer = writer
    bench.pass_time(5)
    assert (bench.canary_share, bench.service.status(FLAG).error) == (1000, "")


def test_a_flag_that_is_gone_pauses_with_an_alarm(bench: Bench):
    """An archived flag needs a person; the rollout says so and waits."""
    bench.service.start(bench.plan(1, 100), by="ana", here=True)
    bench.engine.tick()
    bench.writer.apply(Archive(FLAG), by="bo")
    bench.pass_time(20)
    status = bench.service.status(FLAG)
    assert status.phase is Phase.ERROR_PAUSED
    assert "is archived" in status.words
    assert [notice.event for notice in bench.notices.notices].count("alarm") == 1


def test_somebody_elses_split_pauses_and_the_status_says_whose_turn_it_is(bench: Bench):
    """Drift on a real flag: the hand-made split stays until a person resumes, then the plan's is put back."""
    bench.service.start(bench.plan(5, 100), by="ana", here=True)
    bench.engine.tick()
    bench.writer.apply(SetDistribution(FLAG, Distribution((Weight("v2", 60_000), Weight("v1", 40_000)))), by="bo")
    bench.engine.tick()
    status = bench.service.status(FLAG)
    assert status.pauses == (f"somebody changed the split of '{FLAG}' to v2 60 %, v1 40 %",)
    assert bench.canary_share == 60_000
    bench.service.resume(FLAG, by="ana")
    assert bench.canary_share == 5000


def test_a_rule_can_be_rolled_out_and_the_rest_of_the_flag_is_left_alone(bench: Bench):
    """``rule`` names the place; rollback puts that rule's serve back."""
    clause = Clause(Attribute.parse("country"), Op.IN, ("NZ",))
    flag = bench.control.read(FLAG).flag
    bench.writer.apply(Replace(dataclasses.replace(flag, rules=(Rule("nz", (clause,), "v1"),))), by="ana")
    bench.service.start(bench.plan(20, 100, rule="nz"), by="ana", here=True)
    bench.engine.tick()
    flag = bench.control.read(FLAG).flag
    assert flag.default == "v1"
    assert flag.rules[0].serve == ramp("v2", 20_000, "v1")
    bench.service.abort(FLAG, by="ana")
    assert bench.control.read(FLAG).flag.rules[0].serve == "v1"


def test_the_loop_ticks_until_it_is_told_to_stop(bench: Bench):
    """``run_forever`` beats, works, and ends when asked."""
    bench.service.start(bench.plan(1, 100), by="ana", here=True)
    stop = threading.Event()
    loop = threading.Thread(target=bench.engine.run_forever, args=(stop,), kwargs={"interval": 0.01})
    loop.start()
    try:
        wait_until(lambda: bench.canary_share == 1000, why="the first step")
    finally:
        stop.set()
        loop.join(10)
    assert not loop.is_alive()
    assert bench.store.engines.last() is not None
