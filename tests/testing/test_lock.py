"""The lock and the clock of the tests behave like the real ones."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from flagbrake.errors import LockBusy
from flagbrake.testing import FakeClock, MemoryLock


def test_one_holder_at_a_time():
    """Of many threads that add to one number under the lock none loses an addition."""
    lock, total = MemoryLock(), [0]

    def add():
        for _ in range(50):
            with lock.held("n", ttl=30, wait=30):
                before = total[0]
                total[0] = before + 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert total == [200]


def test_busy_says_for_how_long():
    """A held lock raises LockBusy with the seconds that are left; another name is free."""
    clock = FakeClock()
    lock = MemoryLock(clock)
    lock.acquire("a", ttl=10)
    clock.advance(4)
    with pytest.raises(LockBusy) as busy:
        lock.acquire("a", ttl=10)
    assert busy.value.after == 6
    lock.acquire("b", ttl=10)


def test_a_lease_that_ran_out_is_lost():
    """The successor has a higher fence; the old holder can neither renew nor take the new lease away."""
    clock = FakeClock()
    lock = MemoryLock(clock)
    old = lock.acquire("a", ttl=10)
    clock.advance(10)
    new = lock.acquire("a", ttl=10)
    assert new.fence > old.fence
    with pytest.raises(LockBusy):
        lock.renew(old, ttl=10)
    lock.release(old)
    with pytest.raises(LockBusy):
        lock.acquire("a", ttl=10)
    renewed = lock.renew(new, ttl=60)
    assert renewed.fence == new.fence
    lock.release(renewed)
    assert lock.acquire("a", ttl=1).fence > new.fence


def test_the_clock_moves_only_when_told():
    """Wall and monotonic time advance together; a jump moves the wall clock only."""
    clock = FakeClock(datetime(2026, 5, 1, tzinfo=UTC))
    ticks = clock.monotonic()
    clock.advance(1.5)
    assert clock.monotonic() - ticks == 1.5
    clock.jump(datetime(2026, 4, 1, tzinfo=UTC))
    assert clock.now() == datetime(2026, 4, 1, tzinfo=UTC)
    assert clock.monotonic() - ticks == 1.5
    with pytest.raises(ValueError, match="jump"):
        clock.advance(-1)
