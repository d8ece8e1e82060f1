"""What a feed needs from a database: to wait for the next commit, and to read consistently."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

#: Runs one SELECT (placeholders are ``?``) and returns its rows.
Select = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

#: Seconds after which a feed reads the revision counter even when nothing was noticed.
SAFETY_POLL = 1.0


@dataclass(frozen=True, slots=True)
class Signal:
    """What a wait ended with: a commit may have happened, and the messages that came with it."""

    changed: bool = False
    messages: tuple[str, ...] = ()


NOTHING = Signal()


class Bell:
    """Wakes a thread that sleeps in ``poll``; may be rung from any thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._read

    def ring(self) -> None:
        """Wake the sleeper; a bell that already rings, or is closed, stays as it is."""
        try:
            os.write(self._write, b"!")
        except OSError:
            return

    def silence(self) -> None:
        """Take all rings away."""
        try:
            while os.read(self._read, 64):
                pass
        except OSError:
            return

    def close(self) -> None:
        """Close both ends."""
        for fd in (self._read, self._write):
            try:
                os.close(fd)
            except OSError:
                continue
        self._read = self._write = -1


class Watch(ABC):
    """One connection, used by one thread, touched only inside ``forking.gate``.

    Only :meth:`wake` and :meth:`before_fork` may be called from another thread. Every method may raise
    ``StoreUnavailable``; the feed then closes the watch and opens it again later.
    """

    #: How commits are noticed, for people: ``inotify``, ``poll``, ``listen``.
    means: str = "poll"

    def __init__(self) -> None:
        self.bell = Bell()
        #: Grows when the database behind the address turns out to be another one.
        self.generation = 0

    @abstractmethod
    def open(self) -> None:
        """Connect, and from here on notice every commit."""

    @abstractmethod
    def wait(self, timeout: float) -> Signal:
        """Return at the next commit, when woken, or after ``timeout`` seconds. False alarms are allowed."""

    @abstractmethod
    def peek(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """One SELECT by itself, answered within seconds or not at all."""

    @abstractmethod
    @contextmanager
    def reading(self) -> Iterator[Select]:
        """One read transaction: everything selected in it is of one moment."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; the watch can be opened again."""

    def verify(self) -> None:  # noqa: B027 - a watch without a push channel has nothing to prove
        """Prove that pushes arrive, once, after the first load; fall back to polling when they do not."""

    def before_fork(self) -> None:  # noqa: B027 - most connections may be inherited unused
        """In the parent, just before a fork, with no statement under way."""

    @abstractmethod
    def abandon(self) -> None:
        """In a forked child: let go of the parent's connection without talking on it."""

    def wake(self) -> None:
        """End a wait early."""
        self.bell.ring()

    def dispose(self) -> None:
        """Close for good."""
        self.close()
        self.bell.close()
