"""Work in daemon threads with a deadline each, so that one that hangs delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Overdue(Exception):
    """The work is still running at its deadline; it may finish later and nobody will hear of it."""


class Job(Generic[T]):
    """One piece of work, started at once in its own daemon thread.

    A pool would be joined at interpreter exit: a hung vendor call would then hang the command line.
    """

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        self.name = name
        self.started = time.monotonic()
        self._work = work
        self._done = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None
        self._ended = self.started
        threading.Thread(target=self._run, name=f"flagbrake-{name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that asks
            self._error = error
        finally:
            self._ended = time.monotonic()
            self._done.set()

    @property
    def done(self) -> bool:
        """True when the work has ended, well or not."""
        return self._done.is_set()

    @property
    def ms(self) -> float | None:
        """Milliseconds the work took, ``None`` while it runs."""
        return (self._ended - self.started) * 1000 if self.done else None

    @property
    def value(self) -> T | None:
        """The result if the work has ended well by now, else ``None``; never waits."""
        return self._value if self.done else None

    def result(self, *, within: float) -> T:
        """The result, at the latest ``within`` seconds after the start of the work.

        Raises:
            Overdue: it is still running.
            BaseException: whatever the work raised.
        """
        if not self._done.wait(max(0.0, self.started + within - time.monotonic())):
            raise Overdue(f"no answer within {within:g} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def call(name: str, work: Callable[[], T], *, within: float) -> T:
    """Run ``work`` in a thread of its own and return its result.

    Raises:
        Overdue: it is still running after ``within`` seconds.
    """
    return Job(name, work).result(within=within)
