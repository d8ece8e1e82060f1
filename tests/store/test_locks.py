"""Locks: one holder, fences that only grow."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta

import pytest

from flagbrake.errors import LockBusy
from flagbrake.store import Store
from tests.store.clock import HandClock
from tests.support.waiting import wait_until


def test_a_lock_has_one_holder(store: Store):
    """A second taker is refused, told who holds it and for how long."""
    lease = store.locks.acquire("checkout", ttl=30)
    with pytest.raises(LockBusy) as caught:
        store.locks.acquire("checkout", ttl=30)
    assert str(os.getpid()) in str(caught.value)
    assert caught.value.after is not None
    assert 25 < caught.value.after <= 30
    store.locks.acquire("basket", ttl=30)
    store.locks.release(lease)
    store.locks.acquire("checkout", ttl=30)


def test_fences_only_grow(store: Store):
    """Every taking has a higher fence than all before it, releases or not."""
    fences = []
    for _ in range(4):
        with store.locks.held("checkout", ttl=30) as lease:
            fences.append(lease.fence)
    assert fences == sorted(set(fences))


def test_an_expired_lease_passes_on(timed: Store, clock: HandClock):
    """Expiry is judged by the given clock; the old holder can neither renew, nor use, nor release it."""
    old = timed.locks.acquire("checkout", ttl=10)
    assert old.expires_at == clock.now() + timedelta(seconds=10)
    clock.forward(9.999)
    with pytest.raises(LockBusy):
        timed.locks.acquire("checkout", ttl=10)
    clock.forward(0.001)
    new = timed.locks.acquire("checkout", ttl=10)
    assert new.fence > old.fence
    with pytest.raises(LockBusy, match="was lost"):
        timed.locks.renew(old, ttl=10)
    timed.locks.release(old)
    with pytest.raises(LockBusy):
        timed.locks.acquire("checkout", ttl=10)
    with timed.db.transaction() as conn:
        timed.locks.check(conn, new)
        with pytest.raises(LockBusy, match="was lost"):
            timed.locks.check(conn, old)


def test_a_lease_can_be_renewed(timed: Store, clock: HandClock):
    """Renewal extends from now, keeps the fence, and works while nobody else has taken it."""
    lease = timed.locks.acquire("checkout", ttl=10)
    clock.forward(6)
    renewed = timed.locks.renew(lease, ttl=10)
    assert (renewed.fence, renewed.expires_at) == (lease.fence, clock.now() + timedelta(seconds=10))
    clock.forward(9)
    with pytest.raises(LockBusy):
        timed.locks.acquire("checkout", ttl=10)
    clock.forward(5)
    timed.locks.renew(renewed, ttl=10)


def test_an_expired_lease_is_not_good_for_a_write(timed: Store, clock: HandClock):
    """check() refuses a lease that ran out, even if nobody took it yet."""
    lease = timed.locks.acquire("checkout", ttl=10)
    clock.forward(10)
    with pytest.raises(LockBusy), timed.db.transaction() as conn:
        timed.locks.check(conn, lease)


def test_expiry_without_a_clock_is_the_databases(store: Store):
    """A short lease expires by the store's own time, and a waiting taker gets it then."""
    store.locks.acquire("checkout", ttl=0.2)
    start = time.monotonic()
    lease = store.locks.acquire("checkout", ttl=5, wait=10)
    assert 0.05 < time.monotonic() - start < 5
    assert lease.fence == 2


def test_a_waiting_taker_gets_it_when_it_is_released(store: Store):
    """Waiting ends soon after the release, not at the end of the ttl."""
    first = store.locks.acquire("checkout", ttl=60)
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(store.locks.acquire("checkout", ttl=60, wait=20)))
    thread.start()
    store.locks.release(first)
    wait_until(lambda: got, why="the second taker")
    thread.join()


def test_of_many_takers_one_wins(store: Store):
    """Twelve threads at once: one lease."""
    leases, refused = [], []
    ready = threading.Barrier(12)

    def take() -> None:
        ready.wait()
        try:
            leases.append(store.locks.acquire("checkout", ttl=60))
        except LockBusy:
            refused.append(1)

    threads = [threading.Thread(target=take) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(leases), len(refused)) == (1, 11)
