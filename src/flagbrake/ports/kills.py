"""Where kills travel: lanes that carry them, the feed a process reads, the acknowledgements it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol

from flagbrake.model.kill import Kill, KillSnapshot, Scope
from flagbrake.model.manifest import Manifest


class KillLane(ABC):
    """One way a kill can travel. The effective state is the union of all lanes."""

    #: Shown to the operator: ``store``, ``host-page``, ``vendor-off``, ``vendor-flag``.
    name: ClassVar[str]
    #: Does a kill in this lane survive every process and this machine's restart?
    durable: ClassVar[bool]
    #: May it hold a kill in part, which ``read`` does not show? Then every lifting asks it.
    in_part: ClassVar[bool] = False

    def check(self, kill: Kill) -> None:  # noqa: B027 - most lanes carry every kill
        """Raise Unsupported or InvalidInput for a kill that this lane cannot carry; asks nobody."""

    @abstractmethod
    def kill(self, kill: Kill, *, deadline: float) -> Kill:
        """Put a kill in the lane within ``deadline`` seconds; return it with the epoch it got."""

    @abstractmethod
    def lift(self, kill: Kill, *, by: str, reason: str, deadline: float) -> int:
        """Take a kill out of the lane; return the epoch of the lifting."""

    @abstractmethod
    def read(self) -> KillSnapshot:
        """All kills that stand in this lane."""

    def holding(self, scopes: Collection[Scope]) -> tuple[Kill, ...]:
        """The kills of exactly these scopes: asked before a kill is written, so as fast as the lane can."""
        return tuple(kill for kill in self.read().kills if kill.scope in scopes)


@dataclass(frozen=True, slots=True)
class KillView:
    """What a feed hands to the board: kills, manifest, and how long they may be believed."""

    snapshot: KillSnapshot
    manifest: Manifest
    #: ``time.monotonic()`` after which the state is UNKNOWN.
    valid_until: float


class KillFeed(Protocol):
    """Delivers the kill state to a process. Called from the feed's own thread; never raises into it."""

    def subscribe(self, receive: Callable[[KillView], None]) -> Callable[[], None]:
        """Call ``receive`` with the present view now and after every change and refresh; return the unsubscriber."""


@dataclass(frozen=True, slots=True)
class Process:
    """One live process, as others see it."""

    id: str
    host: str
    pid: int
    environment: str
    started_at: datetime
    seen_at: datetime
    epoch: int
    applied_at: datetime | None = None
    name: str = ""


class AckSink(Protocol):
    """Takes a process's acknowledgements; must not block the caller."""

    def applied(self, epoch: int, at: datetime) -> None:
        """This process has applied everything up to ``epoch``."""
