"""Building an explanation: the same compiled pieces as an evaluation, asked one by one."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from flagbrake.errors import NotFound
from flagbrake.evaluate.bucketing import algorithm, unit_text
from flagbrake.evaluate.clauses import predicate, reader, reader_of
from flagbrake.evaluate.compile import key_of
from flagbrake.evaluate.explanation import (
    ClauseResult,
    Explanation,
    GateResult,
    PrerequisiteResult,
    RuleResult,
    Slice,
    SplitResult,
)
from flagbrake.evaluate.serving import passing, position
from flagbrake.model.clause import USER, Clause, OffFlag, OnMissing, Op
from flagbrake.model.flag import Bucketing, Distribution, Flag, Prerequisite, Rule, Serve
from flagbrake.model.values import USE_DEFAULT, WHOLE, percent_of

if TYPE_CHECKING:
    from flagbrake.evaluate.ruleset import Ruleset


def explain(ruleset: Ruleset, key: str, context: EvaluationContext) -> Explanation:
    """Explain one answer.

    Raises:
        NotFound: no such flag; the nearest is named.
    """
    flag = ruleset.flag(key)
    if flag is None:
        raise _not_found(ruleset, key)
    return _Explaining(ruleset, flag, context).explain()


def _not_found(ruleset: Ruleset, key: str) -> NotFound:
    from difflib import get_close_matches

    rejected = ruleset.rejected.get(key)
    if rejected is not None:
        return NotFound(f"Flag '{key}' cannot be evaluated: {rejected.fact}", cure=rejected.cure)
    near = get_close_matches(key, [k for k, f in ruleset.flags.items() if not f.archived], n=1)
    archived = " any more: it is archived" if key in ruleset.flags else ""
    return NotFound(f"Flag '{key}' does not exist{archived}.", cure=f"'{near[0]}'" if near else "")


class _Explaining:
    """One flag, one context."""

    def __init__(self, ruleset: Ruleset, flag: Flag, context: EvaluationContext) -> None:
        self._ruleset = ruleset
        self._flag = flag
        self._key = context.targeting_key
        self._attributes = context.attributes
        self._context = context

    def explain(self) -> Explanation:
        flag = self._flag
        answer: FlagResolutionDetails[Any] | None = None
        error = ""
        try:
            answer = self._ruleset.evaluate(flag.key, self._context)
        except OpenFeatureError as trouble:
            error = f"{trouble.error_code}: {trouble.error_message}"
        prerequisites = tuple([self._prerequisite(p) for p in flag.prerequisites])
        target = self._target()
        stopped = not flag.on or any(not p.met for p in prerequisites)
        matched = [self._clauses(rule) for rule in flag.rules]
        found = enumerate(zip(flag.rules, matched, strict=True))
        first = next((i for i, (r, clauses) in found if all(c.matched for c in clauses) and self._lets_in(r)), None)
        used = None if stopped or target is not None else first
        results = [
            _rule(rule, clauses, used=used == index)
            for index, (rule, clauses) in enumerate(zip(flag.rules, matched, strict=True))
        ]
        decided = self._decided_by(prerequisites, target, used)
        split = flag.rules[used].serve if used is not None else flag.default
        value = None if answer is None or answer.value is USE_DEFAULT else answer.value
        return Explanation(
            flag=flag.key,
            version=flag.version,
            on=flag.on,
            targeting_key=self._key,
            decided_by="error" if error and decided not in {"rule", "default"} else decided,
            variant=answer.variant if answer else None,
            value=value,
            reason=str(answer.reason if answer else Reason.ERROR),
            error=error,
            target=target,
            prerequisites=prerequisites,
            rules=tuple(results),
            split=self._split(split) if decided in {"rule", "default"} and isinstance(split, Distribution) else None,
            default=_serve_text(flag.default),
        )

    def _decided_by(self, prerequisites: tuple[PrerequisiteResult, ...], target: str | None, used: int | None) -> str:
        if not self._flag.on:
            return "off"
        if any(not p.met for p in prerequisites):
            return "prerequisite"
        if target is not None:
            return "target"
        return "default" if used is None else "rule"

    def _prerequisite(self, asked: Prerequisite) -> PrerequisiteResult:
        other = self._ruleset.flag(asked.flag)
        if other is None:
            return PrerequisiteResult(asked.flag, asked.variants, None, met=False, note="it does not exist")
        try:
            given = self._ruleset.evaluate(asked.flag, self._context)
        except OpenFeatureError as error:
            note = f"{error.error_code}: {error.error_message}"
            return PrerequisiteResult(asked.flag, asked.variants, None, met=False, note=note)
        off = given.reason is Reason.DISABLED and "prerequisite" not in given.flag_metadata
        counts = not off or asked.off_flag is OffFlag.SERVES
        met = given.variant in asked.variants if counts else asked.off_flag is OffFlag.MET
        note = "" if counts else "it is off"
        return PrerequisiteResult(asked.flag, asked.variants, given.variant, met=met, note=note)

    def _target(self) -> str | None:
        for target in self._flag.targets:
            unit = self._key if target.kind == USER else key_of(target.kind, self._attributes)
            if unit and unit in target.keys:
                return target.variant
        return None

    def _lets_in(self, rule: Rule) -> bool:
        """Is the unit inside the gate of a rule that others go past? Where that cannot be told, the rule decides."""
        inside = passing(rule.serve, self._flag.key)
        try:
            return inside is None or inside(self._key, self._attributes)
        except OpenFeatureError:
            return True

    def _clauses(self, rule: Rule) -> tuple[ClauseResult, ...]:
        return tuple(self._clause(clause) for clause in rule.clauses)

    def _clause(self, clause: Clause) -> ClauseResult:
        read = reader_of(clause)
        seen = None if clause.op is Op.ALWAYS else read(self._key, self._attributes)
        note = ""
        try:
            matched = predicate(clause)(self._key, self._attributes, self._ruleset)
        except OpenFeatureError as error:
            matched, note = False, f"{error.error_code}: {error.error_message}"
        if clause.op is Op.SEGMENT:
            seen, note = None, note or self._membership(clause)
        elif clause.op is Op.FLAG:
            seen, note = None, note or "the other flag decides"
        elif clause.op is Op.ALWAYS:
            note = "always"
        elif seen is None and clause.negate and clause.op is not Op.PRESENT:
            strict = clause.semantics.on_missing is OnMissing.NO_MATCH
            note = "it is absent, which matches nothing" if strict else "it is absent, which counts as no match"
        return ClauseResult(str(clause.attribute), clause.op.value, clause.values, clause.negate, seen, matched, note)

    def _membership(self, clause: Clause) -> str:
        states = []
        for name in clause.values:
            if name not in self._ruleset.segments:
                states.append(f"segment '{name}' does not exist")
            else:
                inside = self._ruleset.member(name, self._key, self._attributes)
                states.append(f"{'in' if inside else 'not in'} '{name}'")
        return ", ".join(states)

    def _split(self, split: Distribution) -> SplitResult:
        bucket, unit = self._bucket(split.bucketing)
        slices = []
        gate = None
        inside: bool | None = True
        if split.gate is not None:
            gate_bucket, gate_unit = self._bucket(split.gate.bucketing)
            share = split.gate.share
            inside = share == WHOLE or (None if gate_bucket is None else gate_bucket < share)
            name = split.gate.bucketing.algorithm
            gate = GateResult(gate_unit, name, gate_bucket, share, inside, split.gate.outside)
        ends = list(accumulate(w.share for w in split.weights))
        only = sum(1 for w in split.weights if w.share) == 1
        for weight, end in zip(split.weights, ends, strict=True):
            start = end - weight.share
            here = only and weight.share > 0 if bucket is None else start <= bucket < end
            slices.append(Slice(weight.variant, start, end, chosen=bool(inside) and here))
        salt = split.bucketing.salt or self._flag.key
        attribute = str(split.bucketing.attribute)
        return SplitResult(attribute, unit, split.bucketing.algorithm, salt, bucket, tuple(slices), gate)

    def _unit(self, bucketing: Bucketing) -> str | None:
        if bucketing.override is not None:
            named = unit_text(reader(bucketing.override)(self._key, self._attributes))
            if named is not None:
                return named
        return unit_text(reader(bucketing.attribute)(self._key, self._attributes))

    def _bucket(self, bucketing: Bucketing) -> tuple[int | None, str | None]:
        unit = self._unit(bucketing)
        made = algorithm(bucketing.algorithm)
        if unit is None and made.place is None:
            return None, None
        try:
            place = position(bucketing, self._flag.key)(self._key, self._attributes)
        except OpenFeatureError:
            return None, unit
        return made.bucket(place), unit


def _serve_text(serve: Serve) -> str:
    if isinstance(serve, str):
        return serve
    shares = ", ".join(f"{w.variant} {percent_of(w.share)} %" for w in serve.weights)
    return f"split {shares}" if serve.gate is None else f"split {shares}, of {percent_of(serve.gate.share)} % of units"


def _rule(rule: Rule, clauses: tuple[ClauseResult, ...], *, used: bool) -> RuleResult:
    matched = all(c.matched for c in clauses)
    return RuleResult(rule.id, rule.description, matched, used, clauses, _serve_text(rule.serve))
