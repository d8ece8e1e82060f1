"""Where outcomes go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flagbrake.model.outcome import Outcome


class OutcomeSink(Protocol):
    """Stores batches of outcomes. Called from the outcome queue's thread."""

    def write(self, batch: Sequence[Outcome]) -> None:
        """Store all of them once; a row seen before (run id and metric) changes nothing.

        Raises:
            StoreUnavailable: not stored; the queue keeps them within its bound and tries again.
        """
