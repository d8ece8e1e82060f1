"""A clock that a test holds."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeClock:
    """Wall and monotonic time that move only when told to, together. Safe to share between threads."""

    def __init__(self, at: datetime = _START, *, monotonic: float = 1000.0) -> None:
        self._lock = threading.Lock()
        self._now = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        self._monotonic = monotonic

    def now(self) -> datetime:
        """The moment, aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""
        return self._monotonic

    def advance(self, seconds: float) -> datetime:
        """Let ``seconds`` pass; return the new moment.

        Raises:
            ValueError: negative: time does not run backwards; ``jump`` sets the wall clock.
        """
        if seconds < 0:
            raise ValueError(f"{seconds} seconds cannot pass. Try: jump(), which sets the wall clock only")
        with self._lock:
            self._monotonic += seconds
            self._now += timedelta(seconds=seconds)
            return self._now

    def jump(self, to: datetime) -> None:
        """Set the wall clock, also backwards, as an operator or NTP does; monotonic time stays."""
        with self._lock:
            self._now = to.astimezone(UTC) if to.tzinfo else to.replace(tzinfo=UTC)
