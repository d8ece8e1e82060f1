"""A lock inside one process, for harnesses without a store."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime, timedelta

from flagbrake.errors import LockBusy
from flagbrake.ports.lock import Lease, Lock


class ProcessLock(Lock):
    """Leases in memory; they expire like real ones."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._changed = threading.Condition()
        self._fences = itertools.count(1)

    def acquire(self, name: str, *, ttl: float, wait: float = 0.0) -> Lease:
        """Take a lease, waiting up to ``wait`` seconds; raises LockBusy."""
        deadline = time.monotonic() + wait
        with self._changed:
            while (held := self._leases.get(name)) is not None and held.expires_at > datetime.now(UTC):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LockBusy(f"'{name}' is held by {held.owner}.", cure="try again")
                self._changed.wait(min(left, 0.05))
            return self._put(name, ttl)

    def _put(self, name: str, ttl: float) -> Lease:
        expires = datetime.now(UTC) + timedelta(seconds=ttl)
        lease = Lease(name, threading.current_thread().name, next(self._fences), expires)
        self._leases[name] = lease
        return lease

    def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Extend a lease that is still ours; raises LockBusy."""
        with self._changed:
            held = self._leases.get(lease.name)
            if held is None or held.fence != lease.fence:
                raise LockBusy(f"'{lease.name}' is not ours any more.", cure="start again")
            expires = datetime.now(UTC) + timedelta(seconds=ttl)
            renewed = Lease(lease.name, lease.owner, lease.fence, expires)
            self._leases[lease.name] = renewed
            return renewed

    def release(self, lease: Lease) -> None:
        """Give it back."""
        with self._changed:
            held = self._leases.get(lease.name)
            if held is not None and held.fence == lease.fence:
                del self._leases[lease.name]
                self._changed.notify_all()
