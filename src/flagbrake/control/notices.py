"""Telling people, all notifiers at once; one that fails fails nothing but itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from flagbrake.control.deadlines import Job, Overdue
from flagbrake.model.receipt import NoticeResult
from flagbrake.ports.notify import Notice, Notifier

_log = logging.getLogger("flagbrake.control")

#: Seconds a notifier has, unless said otherwise.
DEADLINE: Final = 5.0


class Telling:
    """Notices on their way: sent when made, asked for when the command is done with everything else."""

    def __init__(self, notifiers: Sequence[Notifier], notice: Notice, *, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._jobs = [(n, Job(f"notify-{n.name}", lambda n=n: n.notify(notice))) for n in notifiers]  # type: ignore[misc]

    def results(self) -> tuple[NoticeResult, ...]:
        """One result per notifier, when all have answered or their deadline has passed."""
        return tuple(self._result(notifier, job) for notifier, job in self._jobs)

    def _result(self, notifier: Notifier, job: Job[None]) -> NoticeResult:
        try:
            job.result(within=self._deadline)
        except Overdue:
            fact = f"no answer within {self._deadline:g} s"
        except Exception as error:  # noqa: BLE001 - whatever a notifier does, the kill stands
            fact = f"{type(error).__name__}: {error}"
        else:
            return NoticeResult(notifier.name, delivered=True)
        _log.error("the notifier %s did not deliver: %s", notifier.name, fact)
        return NoticeResult(notifier.name, delivered=False, detail=fact)


def dispatch(notifiers: Sequence[Notifier], notice: Notice, *, deadline: float = DEADLINE) -> tuple[NoticeResult, ...]:
    """Deliver to all notifiers in parallel; never raises, takes at most ``deadline`` seconds."""
    return Telling(notifiers, notice, deadline=deadline).results()
