"""Scopes and kills."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from flagbrake.errors import InvalidInput


class ScopeKind(StrEnum):
    """What a kill can name."""

    FLAG = "flag"
    AGENT = "agent"
    SERVICE = "service"
    VERSION = "version"
    TENANT = "tenant"
    TOOL = "tool"
    MODEL = "model"
    EVERYTHING = "*"


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """``kind:path``. Paths are dotted; a scope covers itself and what is under it; ``*`` covers all."""

    kind: ScopeKind
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Parse ``agent:refunds``, ``flag:checkout`` or ``*``.

        Raises:
            InvalidInput: no kind, an unknown kind, or an empty path.
        """
        if text == "*":
            return EVERYTHING
        kind, colon, path = text.partition(":")
        kinds = ", ".join(k.value for k in ScopeKind if k is not ScopeKind.EVERYTHING)
        if not colon or kind not in set(ScopeKind) or kind == "*":
            raise InvalidInput(f"'{text}' is not a scope.", cure=f"KIND:PATH with a kind of {kinds}; or *")
        if not path or path.startswith(".") or path.endswith(".") or ".." in path:
            raise InvalidInput(f"The path of scope '{text}' is empty or has an empty part.", cure=f"{kind}:NAME")
        return cls(ScopeKind(kind), path)

    def covers(self, other: Scope) -> bool:
        """True if killing this scope kills ``other``."""
        if self.kind is ScopeKind.EVERYTHING:
            return True
        return self.kind is other.kind and (other.path == self.path or other.path.startswith(self.path + "."))

    def __str__(self) -> str:
        return "*" if self.kind is ScopeKind.EVERYTHING else f"{self.kind.value}:{self.path}"


EVERYTHING: Final = Scope(ScopeKind.EVERYTHING)


class KillMode(StrEnum):
    """Strictest first: halt > drain > deny-tool. ``fallback`` exists for flag scopes only."""

    HALT = "halt"
    DRAIN = "drain"
    DENY_TOOL = "deny-tool"
    FALLBACK = "fallback"


class OnExpiry(StrEnum):
    """What an expired kill does. It never resurrects silently."""

    STAY = "stay"
    ASK = "ask"


class UnknownPolicy(StrEnum):
    """What a scope does while its kill state is UNKNOWN."""

    LAST_KNOWN = "last-known"
    CLOSED = "closed"
    OPEN = "open"


class Liveness(StrEnum):
    """The state of a scope as this process knows it."""

    ALIVE = "alive"
    KILLED = "killed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, as it stands in a lane.

    ``epoch`` is the environment's revision at which it took effect. ``serve`` names the variant to serve:
    the fallback variant in ``fallback`` mode, or the one named on the spot for an undeclared flag, with
    its value in ``serve_value`` when the killer knew it. ``corrupt`` marks a row that could not be read:
    it counts as killed.
    """

    id: str
    scope: Scope
    environment: str
    reason: str
    by: str
    at: datetime
    epoch: int
    mode: KillMode = KillMode.HALT
    serve: str | None = None
    serve_value: Any = None
    expires_at: datetime | None = None
    on_expiry: OnExpiry = OnExpiry.STAY
    lane: str = "store"
    corrupt: bool = False


@dataclass(frozen=True, slots=True)
class KillSnapshot:
    """All standing kills of one environment, as read at one moment from one lane."""

    environment: str
    epoch: int
    kills: tuple[Kill, ...] = ()
