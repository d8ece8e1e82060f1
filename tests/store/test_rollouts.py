"""Rollouts and engines as rows."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta

import pytest

from flagbrake.errors import Conflict, LockBusy, NotFound
from flagbrake.store import Store
from flagbrake.store.rollouts import RolloutEvent, RolloutRow
from tests.store.clock import HandClock


def create(store: Store, rollout_id: str = "r1", flag: str = "checkout", **rest) -> RolloutRow:
    return store.rollouts.create(rollout_id, flag=flag, plan='{"steps":[1]}', state='{"step":0}', by="ann", **rest)


def test_a_rollout_comes_back_as_created(timed: Store, clock: HandClock):
    """Plan and state are kept as given; it is active, unclaimed, at its first seq."""
    row = create(timed, status="running", due_at=clock.now())
    assert timed.rollouts.get("r1") == row
    assert (row.active, row.status, row.seq, row.fence, row.owner) == (True, "running", 1, 0, "")
    assert (row.plan, row.state, row.created_by, row.created_at) == ('{"steps":[1]}', '{"step":0}', "ann", clock.now())
    assert timed.rollouts.get("r9") is None


def test_a_flag_has_one_active_rollout(timed: Store):
    """A second one is refused until the first is over; other flags are free."""
    create(timed)
    with pytest.raises(Conflict, match="'checkout' has an active rollout"):
        create(timed, "r2")
    create(timed, "r3", "basket")
    timed.rollouts.save("r1", "{}", expected_seq=1, active=False, status="completed")
    create(timed, "r2")
    assert {row.id for row in timed.rollouts.active()} == {"r2", "r3"}
    assert [row.id for row in timed.rollouts.active("checkout")] == ["r2"]
    assert {row.id for row in timed.rollouts.latest("checkout")} == {"r1", "r2"}


def test_due_is_active_and_time_has_come(timed: Store, clock: HandClock):
    """Not before its time, not when nothing is due, not when it is over."""
    create(timed, due_at=clock.now() + timedelta(seconds=5))
    create(timed, "r2", "basket")
    assert timed.rollouts.due(clock.now()) == []
    assert [row.id for row in timed.rollouts.due(clock.forward(5))] == ["r1"]
    timed.rollouts.save("r1", "{}", expected_seq=1, due_at=None)
    assert timed.rollouts.due(clock.now()) == []


def test_a_claim_is_a_lease_with_a_fence(timed: Store, clock: HandClock):
    """One owner until it expires; each claim raises the fence."""
    create(timed)
    row, fence = timed.rollouts.claim("r1", "a", 30, clock.now())
    assert (row.owner, fence) == ("a", 1)
    with pytest.raises(LockBusy, match="driven by a"):
        timed.rollouts.claim("r1", "b", 30, clock.forward(29))
    assert timed.rollouts.claim("r1", "b", 30, clock.forward(1))[1] == 2
    timed.rollouts.release("r1", fence=1)
    with pytest.raises(LockBusy):
        timed.rollouts.claim("r1", "a", 30, clock.now())
    timed.rollouts.release("r1", fence=2)
    assert timed.rollouts.claim("r1", "a", 30, clock.now())[1] == 3
    assert timed.rollouts.claim("r1", "a", 30, clock.now())[1] == 4
    with pytest.raises(NotFound):
        timed.rollouts.claim("r9", "a", 30, clock.now())


def test_a_lost_claim_cannot_save(timed: Store, clock: HandClock):
    """After another claim the old fence is refused, and nothing of its save is there."""
    create(timed)
    _, old = timed.rollouts.claim("r1", "a", 30, clock.now())
    _, new = timed.rollouts.claim("r1", "b", 30, clock.forward(31))
    event = RolloutEvent(clock.now(), "step", "5 %")
    with pytest.raises(Conflict, match="moved by somebody else"):
        timed.rollouts.save("r1", '{"step":1}', fence=old, expected_seq=1, events=[event])
    assert timed.rollouts.events("r1") == []
    saved = timed.rollouts.save("r1", '{"step":1}', fence=new, expected_seq=1, events=[event], status="running")
    assert (saved.seq, saved.state, saved.status) == (2, '{"step":1}', "running")
    with pytest.raises(Conflict):
        timed.rollouts.save("r1", '{"step":2}', fence=new, expected_seq=1)


def test_a_persons_save_and_an_engines_do_not_overwrite_each_other(timed: Store, clock: HandClock):
    """A pause between an engine's claim and its save makes the save fail, and the other way round."""
    create(timed)
    row, fence = timed.rollouts.claim("r1", "engine", 30, clock.now())
    timed.rollouts.save("r1", '{"paused":true}', expected_seq=row.seq)
    with pytest.raises(Conflict):
        timed.rollouts.save("r1", '{"step":1}', fence=fence, expected_seq=row.seq)


def test_what_happened_is_kept_in_order(timed: Store, clock: HandClock):
    """Events only append; the newest few can be asked for."""
    create(timed)
    for seq in range(1, 4):
        events = [RolloutEvent(clock.forward(1), "step", f"{seq}.{n}", by="engine", data={"n": n}) for n in range(2)]
        timed.rollouts.save("r1", "{}", expected_seq=seq, events=events)
    found = timed.rollouts.events("r1")
    assert [event.message for event in found] == ["1.0", "1.1", "2.0", "2.1", "3.0", "3.1"]
    assert [event.seq for event in found] == [1, 2, 3, 4, 5, 6]
    assert found[-1].data == {"n": 1}
    assert timed.rollouts.events("r1", limit=2) == found[-2:]


def test_a_save_is_part_of_the_callers_transaction(timed: Store):
    """State and audit entry commit together or not at all."""
    create(timed)
    with pytest.raises(ZeroDivisionError), timed.db.transaction() as conn:  # noqa: PT012 - the end raises
        timed.rollouts.save("r1", '{"step":1}', expected_seq=1, conn=conn)
        raise ZeroDivisionError
    row = timed.rollouts.get("r1")
    assert row is not None
    assert row.seq == 1
    assert timed.revision() == 0


def test_of_many_engines_one_claims_and_one_saves(store: Store):
    """Eight threads: one claim; eight saves of the same seq: one lands."""
    create(store)
    now = store.clock.now()
    claims, saves = [], []

    def engine(name: str) -> None:
        with contextlib.suppress(LockBusy):
            claims.append(store.rollouts.claim("r1", name, 60, now))
        with contextlib.suppress(Conflict):
            saves.append(store.rollouts.save("r1", f'"{name}"', expected_seq=1))

    threads = [threading.Thread(target=engine, args=(f"e{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(claims), len(saves)) == (1, 1)


def test_engines_show_their_last_tick(timed: Store, clock: HandClock):
    """Live within so many seconds; the last one is known even when it is gone."""
    assert timed.engines.last() is None
    first = clock.now()
    timed.engines.beat("a", "host1", 11, first)
    timed.engines.beat("b", "host2", 12, clock.forward(5))
    timed.engines.beat("a", "host1", 11, clock.forward(5))
    last = timed.engines.last()
    assert last is not None
    assert (last.id, last.host, last.pid, last.started_at, last.seen_at) == ("a", "host1", 11, first, clock.now())
    assert [engine.id for engine in timed.engines.live(5)] == ["a", "b"]
    assert [engine.id for engine in timed.engines.live(5, now=clock.forward(1))] == ["a"]
    clock.forward(3600)
    assert timed.engines.live(60) == []
    assert timed.engines.last() == last
