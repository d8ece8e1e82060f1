"""What a rollout remembers between ticks, what a tick sees, and what it may ask for. Frozen; JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from flagbrake.model.flag import Serve
from flagbrake.rollout.verdict import Assessment
from flagbrake.rollout.windows import Windows


class Phase(StrEnum):
    """Where a rollout stands. PAUSED and ERROR_PAUSED are how a running one with pause reasons is shown."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    ERROR_PAUSED = "error-paused"
    PROMOTING = "promoting"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    COMPLETED = "completed"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"


TERMINAL: Final = frozenset({Phase.ROLLED_BACK, Phase.COMPLETED, Phase.ABORTED, Phase.SUPERSEDED})


class Stage(StrEnum):
    """What a running rollout is doing."""

    APPLYING = "applying"
    BAKING = "baking"
    JUDGING = "judging"
    APPROVAL = "awaiting-approval"
    NONE = ""


class Reason(StrEnum):
    """Why a rollout is paused. Several can hold at once; a person's resume clears them."""

    OPERATOR = "operator"
    DRIFT = "drift"
    KILLED = "killed"
    ERROR = "error"


class IntentKind(StrEnum):
    """What a write is for."""

    STEP = "step"
    ROLLBACK = "rollback"
    REASSERT = "reassert"


@dataclass(frozen=True, slots=True)
class Intent:
    """A write decided on and recorded before it is made, against the version it was decided on.

    ``step`` is the step it leads to; a rollback leads to -1.
    """

    kind: IntentKind
    step: int
    expected: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """All that is remembered. ``step`` is the last step confirmed on the flag (-1: none), ``goal`` the one decided on.

    ``version`` and ``revision`` are the flag's as last confirmed; ``adopted`` is a split that a person set
    and the plan took over; ``ends_as`` says what a rollback under way ends in.
    """

    phase: Phase = Phase.PENDING
    stage: Stage = Stage.NONE
    step: int = -1
    goal: int = -1
    intent: Intent | None = None
    version: str = ""
    revision: int | None = None
    started_at: datetime | None = None
    step_at: datetime | None = None
    data_at: datetime | None = None
    pauses: Mapping[Reason, str] = field(default_factory=lambda: MappingProxyType({}))
    approved: int = -1
    adopted: int | None = None
    reassert: bool = False
    ends_as: Phase | None = None
    by: str = ""
    why: str = ""
    windows: Windows = field(default_factory=Windows)
    memories: tuple[Mapping[str, Any], ...] = ()
    assessments: tuple[Mapping[str, Any], ...] = ()
    blind: str = ""
    error: str = ""
    outbox: tuple[Mapping[str, Any], ...] = ()

    @property
    def terminal(self) -> bool:
        """True when nothing will happen any more."""
        return self.phase in TERMINAL

    @property
    def shown(self) -> Phase:
        """The phase as people see it."""
        if self.phase in {Phase.PENDING, Phase.RUNNING, Phase.PROMOTING} and self.pauses:
            return Phase.ERROR_PAUSED if Reason.ERROR in self.pauses else Phase.PAUSED
        return self.phase

    def to_data(self) -> dict[str, Any]:
        """As JSON data; :meth:`from_data` gives back an equal state."""
        return {
            "phase": self.phase.value,
            "stage": self.stage.value,
            "step": self.step,
            "goal": self.goal,
            "intent": None
            if self.intent is None
            else {
                "kind": self.intent.kind.value,
                "step": self.intent.step,
                "expected": self.intent.expected,
                "by": self.intent.by,
                "reason": self.intent.reason,
            },
            "version": self.version,
            "revision": self.revision,
            "started_at": _iso(self.started_at),
            "step_at": _iso(self.step_at),
            "data_at": _iso(self.data_at),
            "pauses": {reason.value: words for reason, words in self.pauses.items()},
            "approved": self.approved,
            "adopted": self.adopted,
            "reassert": self.reassert,
            "ends_as": self.ends_as.value if self.ends_as else None,
            "by": self.by,
            "why": self.why,
            "windows": self.windows.to_data(),
            "memories": list(self.memories),
            "assessments": list(self.assessments),
            "blind": self.blind,
            "error": self.error,
            "outbox": list(self.outbox),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> State:
        """From JSON data that :meth:`to_data` wrote."""
        intent = data["intent"]
        return cls(
            phase=Phase(data["phase"]),
            stage=Stage(data["stage"]),
            step=data["step"],
            goal=data["goal"],
            intent=None
            if intent is None
            else Intent(IntentKind(intent["kind"]), intent["step"], intent["expected"], intent["by"], intent["reason"]),
            version=data["version"],
            revision=data["revision"],
            started_at=_moment(data["started_at"]),
            step_at=_moment(data["step_at"]),
            data_at=_moment(data["data_at"]),
            pauses=MappingProxyType({Reason(reason): words for reason, words in data["pauses"].items()}),
            approved=data["approved"],
            adopted=data["adopted"],
            reassert=data["reassert"],
            ends_as=Phase(data["ends_as"]) if data["ends_as"] else None,
            by=data["by"],
            why=data["why"],
            windows=Windows.from_data(data["windows"]),
            memories=tuple(data["memories"]),
            assessments=tuple(data["assessments"]),
            blind=data["blind"],
            error=data["error"],
            outbox=tuple(data["outbox"]),
        )


@dataclass(frozen=True, slots=True)
class Live:
    """The flag as read now, at the place the plan moves. ``serve`` is ``None`` when that rule is gone."""

    version: str
    on: bool
    serve: Serve | None
    revision: int | None = None


class Verb(StrEnum):
    """What a person can ask of a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    PROMOTE_FULL = "promote-full"
    ABORT = "abort"
    SUPERSEDE = "supersede"


@dataclass(frozen=True, slots=True)
class Command:
    """A person's word."""

    verb: Verb
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tick sees. ``live`` is ``None`` when the flag could not be read, ``error`` when it never can be so."""

    live: Live | None
    assessments: tuple[Assessment, ...] = ()
    killed: str = ""
    error: str = ""
    command: Command | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, written once. ``notice`` is the notice's kind, empty when nobody is told."""

    kind: str
    words: str
    by: str
    data: Mapping[str, Any] = field(default_factory=dict)
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, what happened on the way, and the write that is due (``None``: nothing to write)."""

    state: State
    events: tuple[Event, ...] = ()
    write: Intent | None = None


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
