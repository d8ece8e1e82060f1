"""Who watches the engine: any other process that can read the store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from flagbrake.errors import FlagbrakeError, LockBusy
from flagbrake.ports.notify import Notice, Notifier
from flagbrake.rollout.engine import deliver
from flagbrake.rollout.service import SILENT_AFTER
from flagbrake.store import Store

_log = logging.getLogger("flagbrake.rollout")

#: One silence is told once a day by whichever process sees it first.
_TOLD_FOR: Final = 86_400.0


class Watchdog:
    """Alarms when a rollout is active and no engine has ticked for ``silent_after`` seconds.

    Call :meth:`check` now and then; it is one cheap read while all is well. A silence is told once however
    many processes watch, as long as they may take the store's locks; a process with the restricted role
    tells it once for itself.
    """

    def __init__(
        self,
        store: Store,
        *,
        notifiers: Sequence[Notifier] = (),
        silent_after: float = SILENT_AFTER,
        by: str = "watchdog",
    ) -> None:
        self._store = store
        self._notifiers = notifiers
        self._silent_after = silent_after
        self._by = by
        self._told = ""

    def check(self, now: datetime) -> str:
        """The alarm's words while the engine is silent, empty while all is well; tells of it the first time.

        Raises:
            StoreUnavailable: nobody knows.
        """
        active = self._store.rollouts.active()
        if not active:
            return ""
        last = self._store.engines.last()
        since = max([row.created_at for row in active[:1]] + ([last.seen_at] if last else []))
        silent = (now - since).total_seconds()
        if silent <= self._silent_after:
            return ""
        flags = ", ".join(sorted(row.flag for row in active))
        what = f"the engine has not ticked for {silent:.0f} s" if last else "no engine has ever ticked here"
        words = f"{what} while {flags} {'is' if len(active) == 1 else 'are'} being rolled out: nothing would roll back"
        silence = f"engine-silent:{since.isoformat()}"
        if self._told != silence:
            self._told = silence
            if self._first(silence):
                data = {"flags": flags, "silent_seconds": round(silent), "cure": "flagbrake engine"}
                deliver(self._notifiers, Notice("alarm", self._store.environment, words, self._by, now, data))
        return words

    def _first(self, silence: str) -> bool:
        try:
            self._store.locks.acquire(silence, ttl=_TOLD_FOR)
        except LockBusy:
            return False
        except FlagbrakeError as error:
            _log.debug("the silence of the engine is told without asking others: %s", error)
        return True
