"""Forks while threads use a database: waited out, so that a child never inherits an open SQLite file."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

#: Seconds a fork waits for the transactions of other threads.
_PATIENCE: Final = 5.0


class Forkable(Protocol):
    """What must be told about forks."""

    def before_fork(self) -> None:
        """In the parent, with no transaction under way (unless one outlived the patience)."""

    def after_fork_in_child(self) -> None:
        """In the child, where only this thread exists."""


class ForkGate:
    """Counts the threads inside transactions; a fork closes the gate until they are out.

    SQLite keeps file locks per process: a child that inherits an open connection believes that it holds
    locks only its parent has, and another process may then delete the log under it ("How To Corrupt An
    SQLite Database File", section 2.6). So the parent closes its connections before it forks.
    """

    def __init__(self) -> None:
        self._reset()
        self._members: weakref.WeakSet[Forkable] = weakref.WeakSet()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._inside: dict[int, int] = {}
        self._closed_by: int | None = None

    def join(self, member: Forkable) -> None:
        """Tell ``member`` of every fork as long as it lives."""
        self._members.add(member)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Be inside a transaction."""
        me = threading.get_ident()
        changed = self._changed
        with changed:
            # A thread that is inside already goes on, else it would wait for a fork that waits for it.
            while self._closed_by not in {None, me} and me not in self._inside:
                changed.wait(_PATIENCE)
            self._inside[me] = self._inside.get(me, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                left = self._inside.get(me, 0) - 1
                if left > 0:
                    self._inside[me] = left
                else:
                    self._inside.pop(me, None)
                self._changed.notify_all()

    def before(self) -> None:
        """Close the gate, wait, tell the members."""
        me = threading.get_ident()
        end = time.monotonic() + _PATIENCE
        with self._changed:
            self._closed_by = me
            while (left := end - time.monotonic()) > 0 and any(thread != me for thread in self._inside):
                self._changed.wait(left)
        for member in list(self._members):
            member.before_fork()

    def after_in_parent(self) -> None:
        """Open the gate."""
        with self._changed:
            self._closed_by = None
            self._changed.notify_all()

    def after_in_child(self) -> None:
        """Start anew: the other threads, and the locks they held, are gone."""
        self._reset()
        for member in list(self._members):
            member.after_fork_in_child()


gate: Final = ForkGate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=gate.before, after_in_parent=gate.after_in_parent, after_in_child=gate.after_in_child)
