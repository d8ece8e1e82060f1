"""Ctrl-C while a kill waits: the waiting ends, not the kill, and what is known by then is told."""

from __future__ import annotations

import threading

import pytest

from flagbrake.control.plane import Deadlines
from flagbrake.errors import (
    Interrupted,
)
from flagbrake.model.kill import Scope, ScopeKind
from flagbrake.model.receipt import Took
from tests.control.doubles import MemoryLane, Rung

KEY = "agents.refunds"
FLAG = Scope(ScopeKind.FLAG, KEY)


def test_ctrl_c_ends_the_waiting_for_those_who_do_not_confirm(bench):
    """What is known by then is told: the lane that took it, who confirmed, who did not; and it is recorded."""
    bench.listen("one")
    bench.listen("stuck", deaf=True)
    rung = Rung(bench.store.processes, lambda: any(p.epoch > 0 for p in bench.store.processes.live()))
    with pytest.raises(Interrupted, match=r"is stored in test.*only 1 of 2 live.*Missing: stuck \(") as interrupt:
        bench.switch(listeners=rung).kill(KEY, by="ann", reason="x", wait=30)
    rung.thread.join()
    receipt = interrupt.value.receipt
    assert [(r.lane, r.took) for r in receipt.lanes] == [("store", Took.TOOK)]
    assert [ack.process.split()[0] for ack in receipt.hearing.applied] == ["one"]
    assert receipt.hearing.waited_ms < 20_000
    assert bench.audited(str(FLAG)) == ["kill", "kill:result"]
    assert "alarm" in bench.ear.events()


def test_ctrl_c_ends_the_waiting_for_a_lane(bench):
    """A lane that has not answered by then is pending; the kill goes on in it."""
    bench.listen("one")
    release, lane = threading.Event(), MemoryLane("vendor-off")
    lane.before = lambda: release.wait(30)
    rung = Rung(bench.store.processes, lambda: any(p.epoch > 0 for p in bench.store.processes.live()))
    try:
        with pytest.raises(Interrupted, match="is stored in test") as interrupt:
            bench.switch(lane, listeners=rung, deadlines=Deadlines(lane=30.0)).kill(KEY, by="ann", reason="x")
    finally:
        release.set()
        rung.thread.join()
    assert {r.lane: r.took for r in interrupt.value.receipt.lanes} == {"store": Took.TOOK, "vendor-off": Took.PENDING}
    assert interrupt.value.receipt.lanes[1].detail == "no answer yet"
