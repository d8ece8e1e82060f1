"""One writer per flag at a time, across machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """A lock that is held: ``fence`` grows with every taking, ``expires_at`` is when a successor may take it."""

    name: str
    owner: str
    fence: int
    expires_at: datetime


class Lock(ABC):
    """Named leases with fencing numbers."""

    @abstractmethod
    def acquire(self, name: str, *, ttl: float, wait: float = 0.0) -> Lease:
        """Take a lease for ``ttl`` seconds, waiting up to ``wait`` seconds.

        Raises:
            LockBusy: somebody else holds it.
            StoreUnavailable: the lock's store did not answer.
        """

    @abstractmethod
    def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Extend a lease that is still ours, else raise LockBusy."""

    @abstractmethod
    def release(self, lease: Lease) -> None:
        """Give it back; giving back a lost lease does nothing."""

    @contextmanager
    def held(self, name: str, *, ttl: float, wait: float = 0.0) -> Iterator[Lease]:
        """Hold a lease for the length of a block."""
        lease = self.acquire(name, ttl=ttl, wait=wait)
        try:
            yield lease
        finally:
            self.release(lease)
