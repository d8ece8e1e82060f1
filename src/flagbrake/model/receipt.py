"""What an operator gets back from a kill and a restore: facts as they were seen, nothing assumed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flagbrake.model.kill import Kill, Scope
from flagbrake.model.words import counted


class Took(StrEnum):
    """What a lane made of a kill or a lifting."""

    TOOK = "took"
    PENDING = "pending"  # no answer in time, or not now: it may still land and is tried again
    FAILED = "failed"  # refused


@dataclass(frozen=True, slots=True)
class LaneResult:
    """One lane's answer. ``epoch`` is the revision it took effect at; ``ms`` how long the answer took."""

    lane: str
    durable: bool
    took: Took
    epoch: int | None = None
    ms: float | None = None
    detail: str = ""

    @property
    def told(self) -> str:
        """``vendor-off is pending: no answer within 5 s``, as part of a sentence."""
        return f"{self.lane} {'is pending' if self.took is Took.PENDING else self.took.value}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Ack:
    """One process has applied it, ``ms`` after the command began.

    Two machines' clocks are compared, so it is as good as they agree; ``None`` when the process did not say.
    """

    process: str
    ms: float | None


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who listens, who has applied it, who is missing.

    ``left`` are processes that ended while they were waited for. ``known`` is False when the
    acknowledgements could not be read: then nobody knows who heard. ``reported`` is False where no process
    could report: kills of vendor flags are read by processes, and none of them answers. ``interrupted`` when
    Ctrl-C ended the waiting: then it is what was known by then.
    """

    live: tuple[str, ...] = ()
    applied: tuple[Ack, ...] = ()
    missing: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    waited_ms: float = 0.0
    known: bool = True
    detail: str = ""
    reported: bool = True
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """True if somebody listens and everybody who does has applied it."""
        return self.known and bool(self.applied) and not self.missing

    @property
    def last_ms(self) -> float | None:
        """Milliseconds from the command's start to the last process that said when."""
        return max((ack.ms for ack in self.applied if ack.ms is not None), default=None)

    def __str__(self) -> str:
        if not self.reported:
            return self.detail
        if not self.known:
            return f"nobody knows who heard it: {self.detail}"
        if not self.live:
            return "no live process listens"
        text = f"{len(self.applied)}/{counted(len(self.live), 'live process')}"
        if self.last_ms is not None:
            text += f", the last after {self.last_ms:.1f} ms"
        return text + (f"; missing: {', '.join(self.missing)}" if self.missing else "")


@dataclass(frozen=True, slots=True)
class Covered:
    """A flag that a scope covers.

    ``safe`` is what it serves while killed, ``None`` when undeclared: then its off variant. ``because`` is
    the flag's own scope that is covered; ``off_variant`` is ``None`` when there is none or it was not read;
    ``conditional`` when only contexts of this scope are concerned (``tenant:acme``); ``needs`` the covered
    flag it depends on, when it is listed as a dependent.
    """

    flag: str
    because: Scope
    safe: str | None = None
    off_variant: str | None = None
    conditional: bool = False
    needs: str = ""

    @property
    def serves(self) -> str:
        """What people read: the safe variant, or ``undeclared`` and what serves instead."""
        if self.safe is not None:
            return self.safe
        return f"undeclared (off variant: {self.off_variant})" if self.off_variant else "undeclared (off variant)"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a kill would cover. ``None`` where the flags could not be read."""

    environment: str
    store: str
    scope: Scope
    covered: tuple[Covered, ...] | None
    dependents: tuple[Covered, ...] | None
    live: tuple[str, ...] | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoticeResult:
    """Whether a notifier delivered; ``detail`` says why not."""

    notifier: str
    delivered: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class KillReceipt:
    """What became of a kill.

    ``kills`` holds the kill itself first, then those of dependents. ``doubts`` are facts that keep this
    from being a success; ``warnings`` are not. What each lane made of it stands in ``lanes`` alone.
    """

    environment: str
    store: str
    kills: tuple[Kill, ...]
    lanes: tuple[LaneResult, ...]
    hearing: Hearing
    covered: tuple[Covered, ...] | None = None
    doubts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notices: tuple[NoticeResult, ...] = ()

    @property
    def kill(self) -> Kill:
        """The kill of the scope that was named."""
        return self.kills[0]


@dataclass(frozen=True, slots=True)
class RestoreReceipt:
    """What became of a restore.

    ``overwritten`` are flags whose document from before the kill was put back; ``still_killed`` are other
    kills that go on covering what was restored.
    """

    environment: str
    store: str
    kills: tuple[Kill, ...]
    lanes: tuple[LaneResult, ...]
    hearing: Hearing
    overwritten: tuple[str, ...] = ()
    still_killed: tuple[Kill, ...] = ()
    warnings: tuple[str, ...] = ()
    notices: tuple[NoticeResult, ...] = ()


@dataclass(frozen=True, slots=True)
class StandingKill:
    """One kill that stands: in which lanes, in which not (pending), for how many seconds.

    ``expired`` marks one whose time is over: it stands until a person decides. ``lifting`` marks one that
    was restored but that a lane still holds.
    """

    kill: Kill
    lanes: tuple[str, ...]
    pending: tuple[str, ...] = ()
    age: float = 0.0
    expired: bool = False
    lifting: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """All kills that stand here. ``unread`` are lanes that did not answer, with the reason."""

    environment: str
    store: str
    kills: tuple[StandingKill, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
