"""Who hears of snapshots and kills. One that fails costs the others nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flagbrake.ports.kills import KillView
from flagbrake.store.snapshot import Snapshot, Source

log = logging.getLogger("flagbrake.store")


class FeedEvent(StrEnum):
    """What a listener is told."""

    LOADED = "loaded"  # the first data, from the store or from last known good
    CHANGED = "changed"  # another revision
    ALARM = "alarm"  # the alarms changed
    STALE = "stale"  # contact lost
    FRESH = "fresh"  # contact regained


@dataclass(frozen=True, slots=True)
class FeedState:
    """``age``: seconds since the data was known to be true, ``None`` before any. ``detail``: why it is stale."""

    fresh: bool
    age: float | None
    source: Source
    detail: str = ""
    means: str = ""


Listener = Callable[[Snapshot, frozenset[str], FeedEvent], None]
Receiver = Callable[[KillView], None]


class Audience:
    """Listeners (snapshots) and receivers (kill views), called one after the other under one lock."""

    def __init__(self) -> None:
        #: Whoever changes what is told holds it, so that nobody hears things out of order.
        self.lock = threading.RLock()
        self._listeners: list[Listener] = []
        self._receivers: list[Receiver] = []

    def after_fork_in_child(self) -> None:
        """A lock that another thread held at the fork is held for ever: take a new one."""
        self.lock = threading.RLock()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; return the way to remove it."""
        with self.lock:
            self._listeners.append(listener)
        return lambda: self._forget(self._listeners, listener)

    def subscribe(self, receive: Receiver, present: Callable[[], KillView | None]) -> Callable[[], None]:
        """Add a receiver and hand it the present view, if there is one; return the way to remove it."""
        with self.lock:
            self._receivers.append(receive)
            view = present()
            if view is not None:
                self._hand(receive, view)
        return lambda: self._forget(self._receivers, receive)

    def tell(self, snapshot: Snapshot, changed: frozenset[str], event: FeedEvent) -> None:
        """Call every listener."""
        for listener in tuple(self._listeners):
            try:
                listener(snapshot, changed, event)
            except Exception:
                log.exception("A listener of the feed failed.")

    def show(self, view: KillView) -> None:
        """Call every receiver."""
        for receive in tuple(self._receivers):
            self._hand(receive, view)

    def _hand(self, receive: Receiver, view: KillView) -> None:
        try:
            receive(view)
        except Exception:
            log.exception("A receiver of kills failed.")

    def _forget(self, members: list[Any], member: Any) -> None:
        with self.lock, suppress(ValueError):
            members.remove(member)
