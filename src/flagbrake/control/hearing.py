"""Who listens, and waiting until everybody has said that it is applied."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from flagbrake.control.deadlines import call
from flagbrake.model.receipt import Ack, Hearing
from flagbrake.ports.clock import Clock
from flagbrake.ports.kills import Process

if TYPE_CHECKING:
    from flagbrake.control.plane import Plane

_log = logging.getLogger("flagbrake.control")

#: A process that was not heard of for so many seconds is not alive (three missed beats).
ALIVE: Final = 6.0
#: The pause between two looks grows from the first to the second, in seconds.
_PAUSES: Final = (0.002, 0.05)


class Listeners(Protocol):
    """The processes of the store."""

    def live(self, within: float = ALIVE, *, applied: int | None = None) -> Sequence[Process]:
        """Processes heard of within so many seconds; of those that ended orderly, those that had applied ``applied``.

        Raises:
            StoreUnavailable: nobody knows.
        """


class Nobody:
    """The listeners of level 0."""

    def live(self, within: float = ALIVE, *, applied: int | None = None) -> Sequence[Process]:
        """None that anybody knows of."""
        return ()


def name_of(process: Process) -> str:
    """How an operator finds it: its name, host and pid."""
    place = f"{process.host}/{process.pid}"
    return f"{process.name} ({place})" if process.name else place


def look(
    listeners: Listeners,
    environment: str,
    *,
    within: float = ALIVE,
    applied: int | None = None,
    deadline: float = 2.0,
) -> list[Process]:
    """The live processes of this environment, and those that ended after applying the epoch ``applied``.

    Raises:
        FlagbrakeError, Overdue: the store did not say.
    """
    found = call("listeners", lambda: list(listeners.live(within, applied=applied)), within=deadline)
    return [process for process in found if process.environment == environment]


def hear(
    listeners: Listeners,
    environment: str,
    *,
    epoch: int,
    since: datetime,
    wait: float,
    clock: Clock,
    before: Sequence[Process] = (),
) -> Hearing:
    """Wait until every live process has applied ``epoch``, at most ``wait`` seconds.

    Processes that appear meanwhile are waited for too. One that a kill ended has heard it. One that stops
    beating without leaving stays missing: it may be cut off from the store and still be at work. Ctrl-C ends
    the waiting and is told as ``interrupted``: who has confirmed by then is what the operator asks next.
    """
    roll = _Roll(listeners, environment, epoch, clock, before)
    interrupted = False
    try:
        roll.call(wait)
    except KeyboardInterrupt:
        interrupted = True
        with contextlib.suppress(KeyboardInterrupt):
            roll.look()  # whoever confirmed since the last look
    waited = roll.elapsed * 1000
    if roll.fault:
        _log.error("acknowledgements could not be read: %s", roll.fault)
        return Hearing(known=False, detail=roll.fault, waited_ms=waited, interrupted=interrupted)
    live = sorted(roll.seen.values(), key=name_of)
    return Hearing(
        live=tuple(name_of(p) for p in live),
        applied=tuple(Ack(name_of(p), _ms(p, since)) for p in live if p.epoch >= epoch),
        missing=tuple(name_of(p) for p in live if p.epoch < epoch),
        left=tuple(sorted(name_of(p) for p in roll.left.values())),
        waited_ms=waited,
        interrupted=interrupted,
    )


class _Roll:
    """The processes that are waited for, as they were seen last."""

    def __init__(
        self, listeners: Listeners, environment: str, epoch: int, clock: Clock, before: Sequence[Process]
    ) -> None:
        self._listeners = listeners
        self._environment = environment
        self._epoch = epoch
        self._clock = clock
        self._start = clock.monotonic()
        self.seen = {process.id: process for process in before}
        self.left: dict[str, Process] = {}
        self.fault = "nobody was asked yet"

    @property
    def elapsed(self) -> float:
        return self._clock.monotonic() - self._start

    def call(self, wait: float) -> None:
        """Look until everybody has applied it, at most ``wait`` seconds."""
        pause, longest = _PAUSES
        bell = threading.Event()
        while True:
            elapsed = self.elapsed
            if self.look() or elapsed >= wait:
                return
            bell.wait(min(pause, max(0.0, wait - elapsed)))
            pause = min(pause * 1.5, longest)

    def look(self) -> bool:
        """Ask the store once; true if everybody has applied it."""
        # Whoever was alive at the start is looked at to the end, even when it goes silent meanwhile.
        within = ALIVE + self.elapsed
        try:
            now = {p.id: p for p in look(self._listeners, self._environment, within=within, applied=self._epoch)}
        except Exception as error:  # noqa: BLE001 - it is stored already: what cannot be learnt is unknown
            self.fault = str(error) or type(error).__name__
            return False
        self.fault = ""
        self.left |= {i: p for i, p in self.seen.items() if i not in now}
        self.seen = now
        return all(p.epoch >= self._epoch for p in now.values())


def unreported(plane: Plane) -> Hearing:
    """What is known of a vendor's flag: it reads back as written; who has applied it, nobody says."""
    place = f"{plane.control.name if plane.control else plane.store}, environment {plane.environment}"
    level = "" if plane.acknowledged_in else "level 0: "
    return Hearing(reported=False, detail=f"{level}no process reports; written and read back in {place}")


def _ms(process: Process, since: datetime) -> float | None:
    if process.applied_at is None:
        return None
    return max(0.0, (process.applied_at - since).total_seconds() * 1000)
