"""What a kill means: which scopes it covers, which kill decides, what a killed flag serves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext

from flagbrake.model.clause import TARGETING_KEY, USER, Attribute, structure_of
from flagbrake.model.kill import Kill, KillMode, OnExpiry, Scope, ScopeKind
from flagbrake.model.manifest import Declaration

#: Strictest first. A fallback is the weakest: every other mode beats it.
STRICTNESS: Final[Mapping[KillMode, int]] = {
    KillMode.HALT: 0,
    KillMode.DRAIN: 1,
    KillMode.DENY_TOOL: 2,
    KillMode.FALLBACK: 3,
}


# --- scopes ------------------------------------------------------------------------------------------


def as_scope(scope: Scope | str) -> Scope:
    """A scope from itself or its text; raises InvalidInput for a text without a known kind."""
    return scope if isinstance(scope, Scope) else _parsed(scope)


# The same few texts are checked before every step of an agent.
_parsed = lru_cache(maxsize=4096)(Scope.parse)


def flag_scopes(flag: str, declaration: Declaration | None = None) -> tuple[Scope, ...]:
    """The scopes of a flag that no context changes: ``flag:KEY`` always, then those of the manifest."""
    own = Scope(ScopeKind.FLAG, flag)
    return (own, *declaration.scopes) if declaration is not None else (own,)


def context_scopes(declaration: Declaration | None, context: EvaluationContext | None) -> tuple[Scope, ...]:
    """The scopes that declared attributes of this context name; an absent attribute names none."""
    if declaration is None or context is None or not declaration.scope_attributes:
        return ()
    found: list[Scope] = []
    for source in declaration.scope_attributes:
        value = _read(context, source.attribute)
        values = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
        found += (Scope(source.kind, str(v)) for v in values if v is not None and v != "")
    return tuple(found)


def _read(context: EvaluationContext, attribute: Attribute) -> Any:
    path = attribute.path
    value: Any = context.attributes
    if attribute.kind != USER:
        value = value.get(structure_of(attribute.kind))
    elif path == (TARGETING_KEY,):
        return context.targeting_key
    for part in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def covering(kills: Iterable[Kill], scopes: Iterable[Scope]) -> tuple[Kill, ...]:
    """The kills that cover any of the scopes, in the order given."""
    wanted = tuple(scopes)
    return tuple(k for k in kills if any(k.scope.covers(s) for s in wanted) or k.scope.kind is ScopeKind.EVERYTHING)


def union(lanes: Iterable[Sequence[Kill]]) -> tuple[Kill, ...]:
    """All kills of all lanes; the same kill standing in two lanes appears once per lane."""
    return tuple(k for lane in lanes for k in lane)


# --- which kill decides --------------------------------------------------------------------------------


def mode_of(kill: Kill) -> KillMode:
    """The mode that counts: an unreadable row, and a fallback outside a flag scope, halt."""
    if kill.corrupt:
        return KillMode.HALT
    if kill.mode is KillMode.FALLBACK and (kill.scope.kind is not ScopeKind.FLAG or not kill.serve):
        return KillMode.HALT
    return kill.mode


def strictest(kills: Iterable[Kill]) -> Kill | None:
    """The kill that decides, the same one in whatever order the lanes answer; ``None`` without kills."""
    return min(kills, key=_order, default=None)


def _order(kill: Kill) -> tuple[int, int, str, str]:
    # Among equals the newest is named: it is the one people are talking about.
    return (STRICTNESS[mode_of(kill)], -kill.epoch, kill.id, kill.lane)


def refusing(kills: Iterable[Kill], modes: frozenset[KillMode]) -> Kill | None:
    """The strictest kill whose mode is one of ``modes``.

    Each question ("may this run go on?", "may it start?", "may it use this tool?") asks for the modes that
    refuse it, so that one more kill can only refuse more.
    """
    return strictest(k for k in kills if mode_of(k) in modes)


#: Modes that end a run in progress.
ENDS_RUN: Final = frozenset({KillMode.HALT})
#: Modes that refuse a new run.
REFUSES_RUN: Final = frozenset({KillMode.HALT, KillMode.DRAIN})
#: Modes that refuse a tool to a run that may itself go on.
DENIES_TOOL: Final = frozenset({KillMode.DENY_TOOL})


def expired(kill: Kill, now: datetime) -> bool:
    """Past its expiry. It still stands: an expiry marks, it never resurrects."""
    return kill.expires_at is not None and kill.expires_at <= now


def awaits_decision(kill: Kill, now: datetime) -> bool:
    """Expired, and declared to ask a person (``on_expiry = ask``)."""
    return kill.on_expiry is OnExpiry.ASK and expired(kill, now)


# --- what a killed flag serves ---------------------------------------------------------------------------


class Source(StrEnum):
    """Where a killed flag's answer comes from."""

    SAFE = "safe"  # the manifest's safe variant
    NAMED = "named"  # the variant the killer named
    OFF = "off"  # undeclared: the vendor's off variant


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the convention says about one killed flag.

    ``variant`` and ``value`` are ``None`` when unknown here: the guard asks the provider for them.
    """

    kill: Kill
    mode: KillMode
    source: Source
    variant: str | None = None
    value: Any = None
    undeclared: bool = False

    def metadata(self) -> dict[str, bool | int | float | str]:
        """Flag metadata, identical on every vendor."""
        found: dict[str, bool | int | float | str] = {
            "killed": True,
            "kill_id": self.kill.id,
            "kill_scope": str(self.kill.scope),
            "kill_reason": self.kill.reason,
            "kill_epoch": self.kill.epoch,
            "kill_mode": self.mode.value,
        }
        if self.undeclared:
            found["safe"] = "undeclared"
        return found


def rule(kills: Iterable[Kill], declaration: Declaration | None) -> Ruling | None:
    """What a flag serves under the kills that match it, ``None`` when there are none.

    A fallback serves its variant only when every matching kill is a fallback to that same variant. Anything
    else serves the declared safe variant; without a declaration, the variant named by the newest of the
    strictest kills that name one; without that, the vendor's off variant, marked ``undeclared``.
    """
    matching = sorted(kills, key=_order)
    if not matching:
        return None
    kill = matching[0]
    mode = mode_of(kill)
    if mode is KillMode.FALLBACK and len({k.serve for k in matching}) == 1:
        return Ruling(kill, mode, Source.NAMED, kill.serve, _value_named(matching, kill.serve))
    if declaration is not None and declaration.safe_variant is not None:
        return Ruling(kill, mode, Source.SAFE, declaration.safe_variant, declaration.safe_value)
    # A fallback's variant is where its author wanted the users to be; under a stricter kill it means nothing.
    named = next((k.serve for k in matching if k.serve and mode_of(k) is not KillMode.FALLBACK), None)
    if named is not None:
        return Ruling(kill, mode, Source.NAMED, named, _value_named(matching, named))
    return Ruling(kill, mode, Source.OFF, undeclared=True)


def _value_named(kills: Sequence[Kill], variant: str | None) -> Any:
    return next((k.serve_value for k in kills if k.serve == variant and k.serve_value is not None), None)


def unheard(scope: Scope, environment: str, *, lane: str, why: str, at: datetime, epoch: int = 0) -> Kill:
    """The kill that stands in for a state that cannot be known, where the policy is ``closed``."""
    return Kill("unknown", scope, environment, why, "flagbrake", at, epoch, lane=lane)
