"""Why a flag answered what it answered: the facts, as data and as plain lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flagbrake.model.values import percent_of


@dataclass(frozen=True, slots=True)
class ClauseResult:
    """One condition. ``seen`` is the attribute's value, ``None`` when absent; ``note`` says what is not obvious."""

    attribute: str
    op: str
    values: tuple[Any, ...]
    negate: bool
    seen: Any
    matched: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule, in order. ``used`` marks the one that served; rules after it are shown as they would be."""

    id: str
    description: str
    matched: bool
    used: bool
    clauses: tuple[ClauseResult, ...]
    serve: str


@dataclass(frozen=True, slots=True)
class PrerequisiteResult:
    """One prerequisite: which variants are asked for and what the other flag serves."""

    flag: str
    wanted: tuple[str, ...]
    served: str | None
    met: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Slice:
    """A variant's stretch of buckets: from ``start`` up to, without, ``end``, of 100,000."""

    variant: str
    start: int
    end: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class GateResult:
    """The gate before a split: who is inside takes part, the rest gets ``outside``, or goes on to the next rule."""

    unit: str | None
    algorithm: str
    bucket: int | None
    end: int
    inside: bool | None
    outside: str | None


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Where the unit fell. ``bucket`` is of 100,000; ``None`` when the context does not name the unit."""

    attribute: str
    unit: str | None
    algorithm: str
    salt: str
    bucket: int | None
    slices: tuple[Slice, ...]
    gate: GateResult | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One answer and everything that led to it.

    ``decided_by`` is ``off``, ``prerequisite``, ``target``, ``rule``, ``default`` or ``error``. ``rules``
    lists all of them, also behind the one that served. ``value`` is ``None`` with ``error`` set, or when the
    flag serves the caller's default.
    """

    flag: str
    version: int
    on: bool
    targeting_key: str | None
    decided_by: str
    variant: str | None
    value: Any
    reason: str
    error: str = ""
    target: str | None = None
    prerequisites: tuple[PrerequisiteResult, ...] = ()
    rules: tuple[RuleResult, ...] = ()
    split: SplitResult | None = None
    default: str = ""

    def to_data(self) -> dict[str, Any]:
        """JSON data: the same fields, nested; dates as ISO 8601."""
        data: dict[str, Any] = _jsonable(dataclasses.asdict(self))
        return data

    def render(self) -> str:
        """Plain text, one fact a line."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        answer = f"error: {self.error}" if self.error else self.variant or "the default of the caller"
        value = "" if self.error or self.variant is None else f" = {self.value!r}"
        yield f"{self.flag} (version {self.version}) for {self.targeting_key or 'no targeting key'}: {answer}{value}"
        yield f"  reason {self.reason}, decided by {self.decided_by}"
        if not self.on:
            yield "  the flag is off: nothing below is asked"
        for asked in self.prerequisites:
            wanted = " or ".join(asked.wanted)
            state = "met" if asked.met else "NOT MET"
            served = asked.note or f"it serves {asked.served}"
            yield f"  prerequisite {asked.flag} must serve {wanted}: {state} ({served})"
        if self.target is not None:
            yield f"  the unit is named in the targets of {self.target}"
        for number, rule in enumerate(self.rules, 1):
            yield from _rule_lines(number, rule)
        if self.default:
            used = " <- serves" if self.decided_by == "default" else ""
            yield f"  default: {self.default}{used}"
        if self.split is not None:
            yield from _split_lines(self.split)


def _rule_lines(number: int, rule: RuleResult) -> Iterator[str]:
    state = "matches" if rule.matched else "does not match"
    used = " <- serves" if rule.used else ""
    about = f" ({rule.description})" if rule.description else ""
    yield f"  rule {number} '{rule.id}'{about} {state}: {rule.serve}{used}"
    for clause in rule.clauses:
        sign = "yes" if clause.matched else "no "
        sense = "not " if clause.negate else ""
        seen = clause.note or ("it is absent" if clause.seen is None else f"it is {clause.seen!r}")
        values = ", ".join(repr(v) for v in clause.values[:5]) + (", ..." if len(clause.values) > 5 else "")
        yield f"    {sign} {clause.attribute} {sense}{clause.op} [{values}]: {seen}"


def _split_lines(split: SplitResult) -> Iterator[str]:
    yield f"  split by {split.attribute} ({split.unit or 'absent'}), {split.algorithm} with salt '{split.salt}'"
    if split.gate is not None:
        gate = split.gate
        state = "unknown" if gate.inside is None else "inside" if gate.inside else f"outside, gets {gate.outside}"
        yield f"    gate: bucket {_shown(gate.bucket)}, inside below {gate.end}: {state}"
    yield f"    bucket {_shown(split.bucket)} of 100000"
    for part in split.slices:
        chosen = " <- here" if part.chosen else ""
        share = percent_of(part.end - part.start)
        yield f"    {part.variant}: {part.start} up to {part.end} ({share} %){chosen}"


def _shown(bucket: int | None) -> str:
    return "unknown" if bucket is None else str(bucket)


def _jsonable(value: Any) -> Any:
    match value:
        case dict():
            return {str(k): _jsonable(v) for k, v in value.items()}
        case list() | tuple():
            return [_jsonable(v) for v in value]
        case set() | frozenset():
            return sorted((_jsonable(v) for v in value), key=repr)
        case datetime():
            return value.isoformat()
        case str() | int() | float() | None:
            return value
        case _:
            return repr(value)
