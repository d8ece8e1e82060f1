"""The way out for outcomes: a bounded queue and one thread that writes batches. Never blocks the caller."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flagbrake.errors import Unavailable
from flagbrake.model.outcome import Outcome
from flagbrake.ports.outcomes import OutcomeSink

_log = logging.getLogger("flagbrake.outcomes")

#: Seconds to wait after the first failed write and at most.
_BACKOFF: Final = (0.1, 5.0)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the outcomes put since this process (or its fork) started.

    ``dropped``: the queue was full. ``refused``: the sink could not take them, ever.
    """

    written: int
    pending: int
    dropped: int
    refused: int


class OutcomeQueue:
    """Takes outcomes at once and writes them soon.

    While the sink answers :class:`Unavailable` the batch is kept and tried again, within the bound; beyond it
    new outcomes are dropped and counted. A forked child starts with an empty queue: the parent writes its own.

    Args:
        sink: writes batches, called from the queue's thread only.
        bound: outcomes kept at most.
        batch: outcomes per write at most.
        linger: seconds that a first outcome waits for company.
        close_within: seconds that the end of the process may wait for the last write.
    """

    def __init__(
        self,
        sink: OutcomeSink,
        bound: int = 10_000,
        *,
        batch: int = 500,
        linger: float = 0.1,
        close_within: float = 2.0,
    ) -> None:
        self._sink = sink
        self._bound = bound
        self._batch = batch
        self._linger = linger
        self._close_within = close_within
        self._start_afresh()
        _queues.add(self)
        atexit.register(_close, weakref.ref(self))

    def _start_afresh(self) -> None:
        self._waiting: deque[Outcome] = deque()
        self._in_hand: Sequence[Outcome] = ()
        self._changed = threading.Condition()  # reentrant: a signal handler may end a run too
        self._thread: threading.Thread | None = None
        self._closing = False
        self._hurry = False
        self._written = self._dropped = self._refused = 0
        self._told_full = False

    # --- the caller's side --------------------------------------------------------------------------------

    def put(self, outcome: Outcome) -> bool:
        """Take an outcome; False when it was dropped. Never blocks on I/O, never raises."""
        with self._changed:
            if self._closing or len(self._waiting) + len(self._in_hand) >= self._bound:
                self._dropped += 1
                tell, self._told_full = not self._told_full, True
            else:
                self._waiting.append(outcome)
                tell = False
                if self._thread is None and not self._begin():
                    return True
                if len(self._waiting) in {1, self._batch}:
                    self._changed.notify_all()
                return True
        if tell:
            _log.warning(
                "Outcomes are being dropped: the queue holds %d and the store does not take them.", self._bound
            )
        return False

    def _begin(self) -> bool:
        thread = threading.Thread(target=self._work, name="flagbrake-outcomes", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is ending, or no thread is to be had: close() writes what waits.
            return False
        self._thread = thread
        return True

    @property
    def counts(self) -> Counts:
        """How many were written, wait, were dropped or refused."""
        with self._changed:
            pending = len(self._waiting) + len(self._in_hand)
            return Counts(self._written, pending, self._dropped, self._refused)

    def flush(self, timeout: float = 5.0) -> bool:
        """Write everything that was put before; False when ``timeout`` seconds did not suffice."""
        deadline = time.monotonic() + timeout
        with self._changed:
            goal = self._done() + len(self._waiting) + len(self._in_hand)
            self._hurry = True
            self._changed.notify_all()
            while self._done() < goal:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def _done(self) -> int:
        return self._written + self._refused

    def reopen(self) -> None:
        """Take outcomes again after :meth:`close`; without one before it, change nothing."""
        with self._changed:
            self._closing = False

    def close(self, timeout: float | None = None) -> bool:
        """Flush and stop; what comes later is dropped. False when something could not be written in time."""
        timeout = self._close_within if timeout is None else timeout
        deadline = time.monotonic() + timeout
        with self._changed:
            alone = self._thread is None and bool(self._waiting)
        if alone:
            with self._changed:
                self._begin()
        clean = self.flush(timeout)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread, left = self._thread, len(self._waiting) + len(self._in_hand)
        if thread is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
        if left:
            _log.warning("%d outcomes could not be written before the end of the process.", left)
        return clean

    # --- the thread's side ----------------------------------------------------------------------------------

    def _work(self) -> None:
        pause = 0.0
        while True:
            batch = self._next(pause)
            if batch is None:
                return
            try:
                refused = self._write(batch)
            except Unavailable as error:
                if not pause:
                    _log.warning("Outcomes wait: %s", error)
                first, most = _BACKOFF
                pause = min(most, pause * 2 or first)
                continue
            if pause:
                _log.info("Outcomes are written again.")
            pause = 0.0
            with self._changed:
                self._in_hand = ()
                self._refused += refused
                self._written += len(batch) - refused
                self._told_full = False
                self._changed.notify_all()

    def _next(self, pause: float) -> Sequence[Outcome] | None:
        """The batch in hand after ``pause`` seconds, else the next one; ``None`` at the end."""
        with self._changed:
            if self._in_hand:
                if not self._closing:
                    self._changed.wait_for(lambda: self._closing or self._hurry, pause)
                self._hurry = False
                # Closing: what could not be written by now will not be.
                if not self._closing:
                    return self._in_hand
                self._thread = None  # under the lock, so that a reopened queue knows it needs a new one
                return None
            while not self._waiting:
                if self._closing:
                    self._thread = None
                    return None
                self._hurry = False
                self._changed.wait()
            self._changed.wait_for(
                lambda: self._closing or self._hurry or len(self._waiting) >= self._batch, self._linger
            )
            self._in_hand = tuple(itertools.islice(self._waiting, self._batch))
            for _ in self._in_hand:
                self._waiting.popleft()
            return self._in_hand

    def _write(self, batch: Sequence[Outcome]) -> int:
        """Write a batch, one by one if it is refused whole; return how many were refused."""
        try:
            self._sink.write(batch)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one outcome that cannot be stored must not stop the others
            if len(batch) == 1:
                _log.warning("An outcome was refused.", exc_info=error)
                return 1
            return sum(self._write((outcome,)) for outcome in batch)
        return 0


_queues: weakref.WeakSet[OutcomeQueue] = weakref.WeakSet()


def _close(queue: weakref.ref[OutcomeQueue]) -> None:
    found = queue()
    if found is not None:
        found.close()


def _after_fork() -> None:
    for queue in _queues:
        queue._start_afresh()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_after_fork)
