"""Named leases between the threads of one process."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta

from flagbrake.errors import LockBusy
from flagbrake.ports.clock import Clock, SystemClock
from flagbrake.ports.lock import Lease, Lock

#: How often a waiter looks whether a lease has run out; a release wakes it at once.
_LOOK = 0.02


class MemoryLock(Lock):
    """Leases as the store keeps them: they run out by ``clock``, and every taking has a higher fence."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._leases: dict[str, Lease] = {}
        self._fences: dict[str, int] = {}

    def acquire(self, name: str, *, ttl: float, wait: float = 0.0) -> Lease:
        """Take a lease for ``ttl`` seconds, waiting up to ``wait`` real seconds.

        Raises:
            LockBusy: somebody else holds it; ``after`` says for how long.
        """
        until = time.monotonic() + wait
        with self._changed:
            while (left := self._held_for(name)) > 0:
                patience = until - time.monotonic()
                if patience <= 0:
                    fact = f"'{name}' is being changed by somebody else (for {left:.1f} s at most)."
                    raise LockBusy(fact, cure="again in a moment", after=left)
                self._changed.wait(min(patience, _LOOK))
            return self._give(name, uuid.uuid4().hex, self._fences.get(name, 0) + 1, ttl)

    def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Extend a lease that is still ours.

        Raises:
            LockBusy: it ran out, or somebody else has it.
        """
        with self._changed:
            held = self._leases.get(lease.name)
            if held is None or held.fence != lease.fence or self._held_for(lease.name) <= 0:
                raise LockBusy(f"The lease of '{lease.name}' is lost.", cure="take it again and read again")
            return self._give(lease.name, lease.owner, lease.fence, ttl)

    def release(self, lease: Lease) -> None:
        """Give it back; giving back a lost lease does nothing."""
        with self._changed:
            held = self._leases.get(lease.name)
            if held is not None and held.fence == lease.fence:
                del self._leases[lease.name]
                self._changed.notify_all()

    def _held_for(self, name: str) -> float:
        lease = self._leases.get(name)
        return 0.0 if lease is None else (lease.expires_at - self._clock.now()).total_seconds()

    def _give(self, name: str, owner: str, fence: int, ttl: float) -> Lease:
        lease = Lease(name, owner, fence, self._clock.now() + timedelta(seconds=ttl))
        self._leases[name] = lease
        self._fences[name] = fence
        return lease
