"""What a process knows about kills."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import timeit

import pytest

from flagbrake.kill.board import Board, Life
from flagbrake.model.kill import KillMode, Liveness, Scope, UnknownPolicy
from flagbrake.model.manifest import Declaration
from tests.kill.support import ENVIRONMENT, LaneInHand, declared, kill, view
from tests.support.waiting import wait_until


class Hand:
    """A monotonic clock held in the hand."""

    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


@pytest.fixture
def clock():
    return Hand()


class Acknowledgements:
    def __init__(self):
        self.epochs = []

    def applied(self, epoch, at):
        self.epochs.append(epoch)


def test_a_kill_is_seen_and_lifted(board, lane):
    """Killed covers what is under it; lifted it is alive again."""
    made = lane.kill("agent:refunds")
    assert board.is_killed("agent:refunds.tools")
    assert board.is_killed(Scope.parse("agent:refunds"))
    assert not board.is_killed("agent:orders")
    assert board.killed_by(["agent:orders", "agent:refunds"]).id == made.id
    assert board.liveness("agent:refunds").state is Liveness.KILLED
    assert board.liveness("agent:orders").state is Liveness.ALIVE
    lane.lift()
    assert not board.is_killed("agent:refunds")


def test_lanes_are_a_union(board):
    """One lane lifting its kill does not lift the other's."""
    store, vendor = LaneInHand(board, "store"), LaneInHand(board, "vendor-flag")
    store.kill("agent:refunds", mode=KillMode.DRAIN)
    vendor.kill("agent:refunds", ident="v")
    assert board.killed_by(["agent:refunds"]).id == "v"
    vendor.lift()
    assert board.killed_by(["agent:refunds"]).mode is KillMode.DRAIN
    store.lift()
    assert board.killed_by(["agent:refunds"]) is None


def test_before_anything_is_heard_the_state_is_unknown():
    """No lane, no knowledge: UNKNOWN without an age, and the policy decides."""
    assert Board().liveness("agent:x") == Life(Liveness.UNKNOWN, None)
    assert not Board().is_killed("agent:x")
    assert Board(policy=UnknownPolicy.CLOSED).is_killed("agent:x")
    expecting = Board(ENVIRONMENT, policy=UnknownPolicy.CLOSED, lanes=["store", "page"])
    LaneInHand(expecting, "store")
    assert expecting.is_killed("agent:x"), "the page has not been heard"
    LaneInHand(expecting, "page")
    assert not expecting.is_killed("agent:x")


@pytest.mark.parametrize(
    ("policy", "killed", "alive"),
    [(UnknownPolicy.LAST_KNOWN, True, False), (UnknownPolicy.CLOSED, True, True), (UnknownPolicy.OPEN, False, False)],
)
def test_a_silent_lane_is_unknown_and_the_policy_decides(clock, policy, killed, alive):
    """After valid_until: last-known keeps the kills, closed kills everything, open forgets them."""
    board = Board(ENVIRONMENT, policy=policy, monotonic=clock)
    board.receive(view(1, kill("agent:refunds"), valid_until=clock.at + 5))
    assert board.is_killed("agent:refunds")
    assert not board.is_killed("agent:orders")
    clock.at += 5
    assert board.is_killed("agent:refunds") is killed
    assert board.is_killed("agent:orders") is alive
    assert board.liveness("agent:refunds") == Life(Liveness.UNKNOWN, 5.0)
    board.receive(view(1, kill("agent:refunds"), valid_until=clock.at + 5))
    assert board.liveness("agent:refunds").state is Liveness.KILLED
    assert board.liveness("agent:orders").state is Liveness.ALIVE


def test_policies_differ_per_scope_and_flag(clock):
    """The nearest scope's policy counts; a flag's declaration goes before."""
    board = Board(
        ENVIRONMENT,
        policies={Scope.parse("agent:pay"): UnknownPolicy.CLOSED, Scope.parse("agent:pay.test"): UnknownPolicy.OPEN},
        monotonic=clock,
    )
    manifest = declared(Declaration("strict", unknown_policy=UnknownPolicy.CLOSED), Declaration("lax"))
    board.receive(view(1, manifest=manifest, valid_until=clock.at + 5))
    assert board.ruling("strict") is None
    clock.at += 6
    assert board.is_killed("agent:pay.refunds")
    assert not board.is_killed("agent:pay.test.x")
    assert not board.is_killed("agent:talk")
    assert board.ruling("strict").kill.id == "unknown"
    assert board.ruling("lax") is None


def test_a_lane_that_goes_back_never_resurrects(board, caplog):
    """A lower epoch than the highest seen: UNKNOWN, closed, until it has caught up."""
    board.receive(view(7, kill("agent:refunds")))
    with caplog.at_level(logging.ERROR, "flagbrake.kill"):
        board.receive(view(5))
    assert "ALARM" in caplog.text
    assert board.is_killed("agent:refunds")
    assert board.is_killed("agent:orders"), "what was lost cannot be told"
    assert board.liveness("agent:orders").state is Liveness.UNKNOWN
    assert [str(k.scope) for k in board.standing()] == ["agent:refunds"], "what it no longer says is not forgotten"
    board.receive(view(6))
    assert board.is_killed("agent:orders")
    board.receive(view(7, kill("agent:refunds")))
    assert board.is_killed("agent:refunds")
    assert not board.is_killed("agent:orders")


def test_a_witnessed_epoch_counts_before_the_lane_speaks(board):
    """The highest epoch may come from outside: a witness file survives the process."""
    board.expect("store", at_least=9)
    board.receive(view(8))
    assert board.is_killed("agent:orders")
    board.receive(view(9))
    assert not board.is_killed("agent:orders")


def test_a_corrupt_kill_counts_as_killed_and_alarms_once(board, caplog):
    """A row that cannot be parsed is KILLED plus one alarm, not one per refresh."""
    broken = kill("agent:refunds", corrupt=True)
    with caplog.at_level(logging.ERROR, "flagbrake.kill"):
        board.receive(view(1, broken))
        board.receive(view(1, broken))
    assert board.is_killed("agent:refunds")
    assert caplog.text.count("ALARM") == 1


def test_another_environment_is_never_obeyed(board, caplog):
    """A staging lane or kill cannot stop production; it is logged."""
    with caplog.at_level(logging.ERROR, "flagbrake.kill"):
        board.receive(view(1, kill("*", environment="staging"), environment="staging"))
        board.receive(view(1, kill("*", environment="staging")))
    assert not board.is_killed("agent:refunds")
    assert "staging" in caplog.text


def test_nothing_reaches_the_feed(board, lane, caplog):
    """Neither nonsense from a lane nor a failing listener or sink raises into the feed; the kill stands."""

    class Broken:
        def applied(self, epoch, at):
            raise RuntimeError("no")

    def listener(old, new):
        raise RuntimeError("no")

    board.subscribe(listener)
    board.acknowledge(Broken())
    lane.kill("agent:refunds")
    board.receive(None)
    board.receive(object(), lane="other")
    assert board.is_killed("agent:refunds")
    assert board.liveness("agent:orders").state is Liveness.UNKNOWN


def test_listeners_hear_changes_and_not_refreshes(board, lane):
    """A refresh that changes nothing wakes nobody; unsubscribed ones hear nothing."""
    heard = []
    stop = board.subscribe(lambda old, new: heard.append((len(old.kills), len(new.kills))))
    lane.say()
    lane.say()
    lane.kill("agent:refunds")
    lane.say()
    lane.lift()
    assert heard == [(0, 1), (1, 0)]
    stop()
    lane.kill("agent:refunds")
    assert len(heard) == 2


def test_what_stops_agents_comes_before_the_acknowledgement(board, lane):
    """Stop, then acknowledge, then tell."""
    order = []

    class Sink:
        def applied(self, epoch, at):
            order.append(f"ack {epoch}")

    board.acknowledge(Sink())
    order.clear()
    board.subscribe(lambda old, new: order.append("late"), late=True)
    board.subscribe(lambda old, new: order.append("soon"))
    lane.kill("agent:refunds")
    assert order == ["soon", "ack 1", "late"]


def test_each_epoch_is_acknowledged_once(board, lane):
    """New epochs are acknowledged, refreshes are not, a step back never is; a late sink hears the present one."""
    sink, late = Acknowledgements(), Acknowledgements()
    board.acknowledge(sink, lane="store")
    lane.kill("agent:refunds")
    lane.say()
    board.receive(view(9), lane="page")
    board.receive(view(0))
    lane.kill("agent:orders")
    board.acknowledge(late, lane="store")
    assert sink.epochs == [0, 1, 2]
    assert late.epochs == [2]


def test_waiting_ends_with_the_change(board, lane):
    """wait() wakes when a kill arrives from another thread and gives up in time."""
    assert not board.wait(lambda s: bool(s.kills), timeout=0.01)
    thread = threading.Timer(0.02, lane.kill, ["agent:refunds"])
    thread.start()
    assert board.wait(lambda s: bool(s.kills), timeout=5)
    thread.join()


def test_waiting_sees_silence(board):
    """wait() also wakes when a lane goes stale."""
    board.receive(view(1, valid_until=time.monotonic() + 0.05))
    assert board.wait(lambda s: s.unknown, timeout=5)


def test_a_memory_of_scopes_is_bounded(board, lane):
    """Asking for a million tenants does not fill the memory."""
    lane.kill("tenant:t5")
    for n in range(10_000):
        assert board.is_killed(f"tenant:t{n}") is (n == 5)
    assert len(board.view.killed) <= 4096


def test_many_threads_see_one_state(board, lane):
    """While lanes write, readers never see a scope alive that is killed in every view."""
    other = LaneInHand(board, "vendor-flag")
    lane.kill("agent:refunds")
    wrong = []
    stop = threading.Event()

    def read():
        while not stop.is_set():
            if not board.is_killed("agent:refunds") or board.ruling("f") is not None:
                wrong.append(board.view.state)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(200):
        (lane if n % 2 else other).kill(f"agent:x{n}")
        board.receive(view(n, valid_until=time.monotonic() + 0.0001), lane="page")
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(board.state.kills) == 201


def test_a_fork_leaves_a_board_that_answers_and_goes_stale(board, lane):
    """In a forked child no feed runs: locks work, kills hold, and silence shows as UNKNOWN."""
    lane.kill("agent:refunds")
    held = threading.Event()
    go = threading.Event()

    def hold():
        with board._lock:
            held.set()
            go.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        code = 1
        try:
            killed = board.is_killed("agent:refunds")
            board.receive(view(2, kill("agent:refunds"), valid_until=time.monotonic() - 1))
            code = 0 if killed and board.liveness("agent:orders").state is Liveness.UNKNOWN else 2
        finally:
            os._exit(code)
    go.set()
    thread.join()
    status = wait_until(lambda: _reaped(child), why="the child ends")
    assert status == ("exit", 0)


def _reaped(child):
    pid, status = os.waitpid(child, os.WNOHANG)
    return ("exit", os.waitstatus_to_exitcode(status)) if pid else None


def test_asking_is_cheap(board, lane):
    """is_killed() is asked before every step: within ten times the cost of an empty call, on a busy machine too."""
    asked, empty = math.inf, math.inf
    for _ in range(200):  # interleaved and short, so that what else runs disturbs both alike
        asked = min(asked, timeit.timeit(lambda: board.is_killed("agent:refunds"), number=200) / 200)
        empty = min(empty, timeit.timeit(lambda: None, number=200) / 200)
    print(f"is_killed {(asked - empty) * 1e9:.0f} ns beside an empty call of {empty * 1e9:.0f} ns")
    assert asked < 10 * empty
