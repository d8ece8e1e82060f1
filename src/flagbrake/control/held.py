"""A lease in the hand: how much of it is left, and calls that end before it does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

from flagbrake.control.deadlines import Overdue, call
from flagbrake.errors import FlagbrakeError, LockBusy
from flagbrake.ports.clock import Clock
from flagbrake.ports.lock import Lease, Lock

_log = logging.getLogger("flagbrake.control")
T = TypeVar("T")

#: Seconds between the deadline of a request and the end of the lease, so that a successor never overlaps it.
MARGIN: Final = 2.0


class Held:
    """One taken lease.

    Its age is counted from before it was asked for, by the clock that shows more (monotonic time stands
    still while a laptop sleeps, wall time may be set back), so it is never believed for too long.
    """

    def __init__(self, lock: Lock, lease: Lease, *, ttl: float, clock: Clock, since: tuple[float, datetime]) -> None:
        self.lease = lease
        #: True while a write may still land: the lease is then not given back, so that a successor waits it out.
        self.abandoned = False
        self._lock = lock
        self._ttl = ttl
        self._clock = clock
        self._since = since

    @classmethod
    def take(cls, lock: Lock, name: str, *, ttl: float, wait: float, clock: Clock) -> Held:
        """Take the lock.

        Raises:
            LockBusy, StoreUnavailable: as the lock says.
        """
        since = (clock.monotonic(), clock.now())
        held = cls(lock, lock.acquire(name, ttl=ttl, wait=wait), ttl=ttl, clock=clock, since=since)
        if clock.monotonic() - since[0] > MARGIN:
            # It was waited for: nobody here knows when it began, a renewal does.
            held._renew()
        return held

    @property
    def left(self) -> float:
        """Seconds of the lease that may still be used."""
        monotonic, wall = self._since
        age = max(self._clock.monotonic() - monotonic, (self._clock.now() - wall).total_seconds())
        return self._ttl - age - min(MARGIN, self._ttl / 4)

    def ensure(self, seconds: float) -> None:
        """See to it that at least ``seconds`` (or half of a short lease) are left.

        Raises:
            LockBusy: the lease is not ours any more.
        """
        if self.left < min(seconds, self._ttl / 2):
            self._renew()

    def still_ours(self) -> None:
        """Raise LockBusy if the lease ran out and somebody else took it."""
        if self.left <= 0:
            self._renew()

    def _renew(self) -> None:
        since = (self._clock.monotonic(), self._clock.now())
        self.lease = self._lock.renew(self.lease, ttl=self._ttl)
        self._since = since

    def run(self, name: str, work: Callable[[], T], *, within: float) -> T:
        """Write with a deadline of ``within`` seconds, or of what is left of the lease if that is less.

        Raises:
            Overdue: no answer in time; the work may still land.
        """
        try:
            return call(name, work, within=max(0.0, min(within, self.left)))
        except Overdue:
            self.abandoned = True
            raise

    def give_back(self) -> None:
        """Release it, unless a write may still land."""
        if self.abandoned:
            return
        try:
            self._lock.release(self.lease)
        except LockBusy:
            return
        except FlagbrakeError as error:
            # It runs out by itself; what was done under it stands.
            _log.warning("the lock %s could not be given back and will run out: %s", self.lease.name, error)
