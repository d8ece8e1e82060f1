"""Who listens, and waiting until everybody has said that it is applied."""

from __future__ import annotations

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
    beating without leaving stays missing: it may be cut off from the store and still be at work.
    """
    start = clock.monotonic()
    seen = {process.id: process for process in before}
    left: dict[str, Process] = {}
    fault = ""
    pause, longest = _PAUSES
    bell = threading.Event()
    while True:
        elapsed = clock.monotonic() - start
        try:
            # Whoever was alive at the start is looked at to the end, even when it goes silent meanwhile.
            now = {p.id: p for p in look(listeners, environment, within=ALIVE + elapsed, applied=epoch)}
        except Exception as error:  # noqa: BLE001 - it is stored already: what cannot be learnt is unknown
            fault = str(error) or type(error).__name__
        else:
            fault = ""
            left |= {i: p for i, p in seen.items() if i not in now}
            seen = now
            if all(p.epoch >= epoch for p in seen.values()):
                break
        if elapsed >= wait:
            break
        bell.wait(min(pause, max(0.0, wait - elapsed)))
        pause = min(pause * 1.5, longest)
    waited = (clock.monotonic() - start) * 1000
    if fault:
        _log.error("acknowledgements could not be read: %s", fault)
        return Hearing(known=False, detail=fault, waited_ms=waited)
    live = sorted(seen.values(), key=name_of)
    return Hearing(
        live=tuple(name_of(p) for p in live),
        applied=tuple(Ack(name_of(p), _ms(p, since)) for p in live if p.epoch >= epoch),
        missing=tuple(name_of(p) for p in live if p.epoch < epoch),
        left=tuple(sorted(name_of(p) for p in left.values())),
        waited_ms=waited,
    )


def unreported(plane: Plane) -> Hearing:
    """What is known of a vendor's flag: it reads back as written; who has applied it, nobody says."""
    place = f"{plane.control.name if plane.control else plane.store}, environment {plane.environment}"
    level = "" if plane.acknowledged_in else "level 0: "
    return Hearing(reported=False, detail=f"{level}no process reports; written and read back in {place}")


def _ms(process: Process, since: datetime) -> float | None:
    if process.applied_at is None:
        return None
    return max(0.0, (process.applied_at - since).total_seconds() * 1000)
