"""Flags and segments to closures: everything that can be decided beforehand is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from openfeature.flag_evaluation import Reason

from flagbrake.evaluate.bucketing import algorithm
from flagbrake.evaluate.clauses import Predicate, Rules, all_of
from flagbrake.evaluate.serving import Answer, Inside, Served, facts, off, one, passing, position, serve
from flagbrake.model.clause import TARGETING_KEY, USER, structure_of
from flagbrake.model.flag import Flag, KeySet, Prerequisite, Rule, Segment, SegmentRule
from flagbrake.model.values import WHOLE

#: Answers for a targeting key, attributes and the present ruleset.
Compiled = Callable[[str | None, Mapping[str, Any], Rules], Answer]
#: The answer for a unit named one by one, ``None`` where it is not named.
Targeted = Callable[[str | None, Mapping[str, Any]], Served | None]


def compile_flag(flag: Flag) -> Compiled:
    """Compile a flag that ``check`` has passed."""
    if not flag.on:
        return _without_rules(off(flag, facts(flag)))
    body = _body(flag)
    return _with_prerequisites(flag, body) if flag.prerequisites else body


def _without_rules(served: Served) -> Compiled:
    return lambda key, attributes, _rules: served(key, attributes)


def _body(flag: Flag) -> Compiled:
    plain = not (flag.targets or flag.rules or flag.prerequisites)
    default = serve(flag, flag.default, Reason.STATIC if plain else Reason.DEFAULT, facts(flag))
    targeted = _targets(flag)
    rules = tuple(_rule(flag, rule) for rule in flag.rules)
    if not rules and targeted is None:
        return _without_rules(default)
    ruled = _rules(rules, default) if rules else _without_rules(default)
    return ruled if targeted is None else _with_targets(targeted, ruled)


def _rule(flag: Flag, rule: Rule) -> tuple[Predicate, Predicate | None, Served]:
    first, rest = all_of(rule.clauses[:1]) or _always, all_of(rule.clauses[1:])
    inside = passing(rule.serve, flag.key)
    if inside is not None:
        rest = _both(rest, inside)
    return first, rest, serve(flag, rule.serve, Reason.TARGETING_MATCH, facts(flag, rule=rule.id))


def _both(clauses: Predicate | None, inside: Inside) -> Predicate:
    if clauses is None:
        return lambda key, attributes, _rules: inside(key, attributes)
    return lambda key, attributes, rules: clauses(key, attributes, rules) and inside(key, attributes)


def _always(_key: str | None, _attributes: Mapping[str, Any], _rules: Rules) -> bool:
    return True


def _rules(compiled: tuple[tuple[Predicate, Predicate | None, Served], ...], default: Served) -> Compiled:
    # The first clause stands apart: most rules fail there, or have no other.
    def ruled(key: str | None, attributes: Mapping[str, Any], rules: Rules) -> Answer:
        for first, rest, served in compiled:
            if first(key, attributes, rules) and (rest is None or rest(key, attributes, rules)):
                return served(key, attributes)
        return default(key, attributes)

    return ruled


def _with_targets(targeted: Targeted, body: Compiled) -> Compiled:
    def answer(key: str | None, attributes: Mapping[str, Any], rules: Rules) -> Answer:
        served = targeted(key, attributes)
        return body(key, attributes, rules) if served is None else served(key, attributes)

    return answer


def _targets(flag: Flag) -> Targeted | None:
    """One dictionary lookup per context kind, however many units are named. The first naming wins."""
    by_kind: dict[str, dict[str | None, tuple[int, Served]]] = {}
    for index, target in enumerate(flag.targets):
        fresh: dict[str | None, tuple[int, Served]] = dict.fromkeys(
            target.keys, (index, one(flag, target.variant, Reason.TARGETING_MATCH, facts(flag)))
        )
        named = by_kind.get(target.kind)
        by_kind[target.kind] = {**fresh, **named} if named else fresh
    if not by_kind:
        return None
    if by_kind.keys() == {USER}:
        find = by_kind[USER].get
        nobody = (0, None)
        return lambda key, _attributes: find(key, nobody)[1]
    kinds = tuple(by_kind.items())

    def among(key: str | None, attributes: Mapping[str, Any]) -> Served | None:
        hits = [named.get(key if kind == USER else key_of(kind, attributes)) for kind, named in kinds]
        return min((hit for hit in hits if hit is not None), key=itemgetter(0), default=(0, None))[1]

    return among


def key_of(kind: str, attributes: Mapping[str, Any]) -> str | None:
    """The key of the context of another kind, ``None`` where there is none."""
    nested = attributes.get(structure_of(kind))
    found = nested.get(TARGETING_KEY) if isinstance(nested, Mapping) else None
    return found if isinstance(found, str) and found else None


def _with_prerequisites(flag: Flag, body: Compiled) -> Compiled:
    asked = tuple((p.flag, frozenset(p.variants), p.off_flag, _failed(flag, p)) for p in flag.prerequisites)

    def answer(key: str | None, attributes: Mapping[str, Any], rules: Rules) -> Answer:
        for other, variants, off_flag, failed in asked:
            if not rules.serves(other, variants, key, attributes, off_flag):
                return failed(key, attributes)
        return body(key, attributes, rules)

    return answer


def _failed(flag: Flag, prerequisite: Prerequisite) -> Served:
    return off(flag, facts(flag, prerequisite=prerequisite.flag))


def compile_segment(segment: Segment) -> Predicate:
    """Compile a segment that was checked: included, else excluded (by key or by segment), else any rule."""
    included = _key_sets(segment.included)
    excluded = _key_sets(segment.excluded)
    others = segment.excluded_segments
    rules = tuple(_segment_rule(segment, rule) for rule in segment.rules)

    def member(key: str | None, attributes: Mapping[str, Any], ruleset: Rules) -> bool:
        if included is not None and included(key, attributes):
            return True
        if excluded is not None and excluded(key, attributes):
            return False
        if others and any(ruleset.member(other, key, attributes) for other in others):
            return False
        return any(matches(key, attributes, ruleset) for matches in rules)

    return member


def _key_sets(sets: tuple[KeySet, ...]) -> Callable[[str | None, Mapping[str, Any]], bool] | None:
    by_kind: dict[str, frozenset[str]] = {}
    for named in sets:
        by_kind[named.kind] = by_kind.get(named.kind, frozenset()) | frozenset(named.keys)
    if not by_kind:
        return None
    users = by_kind.pop(USER, frozenset())
    kinds = tuple(by_kind.items())

    def named_here(key: str | None, attributes: Mapping[str, Any]) -> bool:
        return key in users or any(key_of(kind, attributes) in keys for kind, keys in kinds)

    return named_here


def _segment_rule(segment: Segment, rule: SegmentRule) -> Predicate:
    matches = all_of(rule.clauses) or _always
    made = algorithm(rule.bucketing.algorithm)
    if rule.share == WHOLE and made.place is None:
        return matches
    place = position(rule.bucketing, segment.key)
    bound = made.bound(rule.share)
    return lambda key, attributes, rules: matches(key, attributes, rules) and place(key, attributes) < bound
