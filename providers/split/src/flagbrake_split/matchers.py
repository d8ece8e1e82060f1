"""Pure: matchers in the SDK's words <-> clauses in the Split dialect.

The SDK's form is the common ground: every clause becomes one, and every matcher of a definition does, see
``definition_matchers``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from itertools import product
from math import prod
from typing import Any, Final

from flagbrake.model.clause import SPLIT, TARGETING_KEY, USER, Attribute, Clause, OffFlag, Op, Regex
from flagbrake.model.loss import Loss, Severity
from flagbrake_split import guarding
from flagbrake_split.matcher_types import BETWEEN, JSON, LISTS, NUMBERS, SEGMENTS, TEXTS, complete

#: A rule that would become more rules than this does not look into lists.
_MOST: Final = 32

_LIST_OF: Final = {op: sdk for sdk, (_, op) in LISTS.items()}
_TEXT_OF: Final = {op: sdk for sdk, (_, op) in TEXTS.items()}
_NUMBER_OF: Final = {op: pair for pair, (_, op) in NUMBERS.items()}
_BETWEEN_OF: Final = {op: kind for kind, (_, op) in BETWEEN.items()}


class Untranslatable(Exception):
    """A matcher or clause that the other side has no words for; the message says which."""


def clause_of(matcher: Mapping[str, Any]) -> Clause:
    """A matcher of the SDK's form as a clause.

    Raises:
        Untranslatable: an unknown type, or its value is missing. (The SDK answers ``control`` to the flag.)
    """
    kind = str(matcher.get("matcherType"))
    name = (matcher.get("keySelector") or {}).get("attribute")
    attribute = Attribute() if name is None else _attribute(name)
    try:
        op, values = _meaning(kind, matcher)
    except (KeyError, TypeError) as error:
        raise Untranslatable(f"a matcher {kind} without its value ({error})") from None
    if op is Op.FLAG:
        attribute = Attribute((matcher["dependencyMatcherData"]["split"],))
    elif op is Op.ALWAYS or (op is Op.SEGMENT and name is None):
        attribute = Attribute()
    elif op is Op.SEGMENT:
        raise Untranslatable(f"a matcher {kind} of the attribute '{name}'")
    return Clause(attribute, op, values, bool(matcher.get("negate")), SPLIT)


def _attribute(name: str) -> Attribute:
    """An attribute by its name in Split, where ours that stand inside a structure have the names we write."""
    parsed = Attribute.parse(name)
    return parsed if parsed.kind and str(parsed) == name else Attribute((name,))


def _meaning(kind: str, matcher: Mapping[str, Any]) -> tuple[Op, tuple[Any, ...]]:  # noqa: PLR0911 - one per shape
    if kind == "ALL_KEYS":
        return Op.ALWAYS, ()
    if kind in SEGMENTS:
        return Op.SEGMENT, (matcher["userDefinedSegmentMatcherData"]["segmentName"],)
    if kind in LISTS:
        return LISTS[kind][1], tuple(matcher["whitelistMatcherData"]["whitelist"])
    if kind in TEXTS:
        return TEXTS[kind][1], (matcher["stringMatcherData"],)
    if kind == "EQUAL_TO_BOOLEAN":
        return Op.IS, (matcher["booleanMatcherData"],)
    if kind == "IN_SPLIT_TREATMENT":
        return Op.FLAG, tuple(matcher["dependencyMatcherData"]["treatments"])
    if kind == "BETWEEN_SEMVER":
        ends = matcher["betweenStringMatcherData"]
        return Op.SEMVER_BETWEEN, (ends["start"], ends["end"])
    if kind == "BETWEEN":
        ends = matcher["betweenMatcherData"]
        return BETWEEN[ends["dataType"]][1], (ends["start"], ends["end"])
    data = matcher.get("unaryNumericMatcherData")
    if data is not None and (kind, data["dataType"]) in NUMBERS:
        return NUMBERS[kind, data["dataType"]][1], (data["value"],)
    raise Untranslatable(f"the matcher type {kind}")


def matchers_of(
    clauses: tuple[Clause, ...], *, traffic_type: str, rule_based: Collection[str] = ()
) -> tuple[list[list[JSON]], list[Loss]]:
    """Clauses that must all match, as conditions of matchers of which any must match.

    One clause may need several conditions: Split has one value where ours may have more.

    Raises:
        Untranslatable: Split has no words for a clause.
    """
    losses: list[Loss] = []
    alternatives = [_alternatives(clause, rule_based, lists=True) for clause in clauses]
    if prod(map(len, alternatives)) > _MOST:
        alternatives = [_alternatives(clause, rule_based, lists=False) for clause in clauses]
    for index, clause in enumerate(clauses):
        note = _difference(clause)
        if note:
            losses.append(
                Loss(f"clauses[{index}]", note, "unusual values of the attribute match otherwise", Severity.EDGE)
            )
    made: list[list[JSON]] = []
    for choice in product(*alternatives):
        matchers = [complete(m, traffic_type) for group in choice for m in group]
        made.append(matchers or [complete({"matcherType": "ALL_KEYS"}, traffic_type)])
    return made, losses


def _alternatives(clause: Clause, rule_based: Collection[str], *, lists: bool) -> list[list[JSON]]:
    """Any of these groups; in a group, all. ``lists``: look into lists where that is meant."""
    data = _data_of(clause, rule_based)
    common: JSON = {} if clause.op in {Op.ALWAYS, Op.SEGMENT, Op.FLAG} else {"attribute": _name(clause.attribute)}
    said = [{**common, **one} for one in data]
    guard = [{**common, **guarding.texts_of(clause)}] if guarding.needs_no_text(clause) else []
    lists = lists and guarding.looks_into_lists(clause)
    elements = [{**common, **guarding.elements_of(clause)}] if lists else []
    if clause.negate:
        # Missing is no match, negated or not; where Split would match it, something must be there.
        there = [{**common, **guarding.PRESENT}] if guarding.needs_presence(clause) else []
        return [[*map(_not, [*said, *elements]), *there], *([text] for text in guard)]
    return [[one, *map(_not, guard)] for one in [*said, *elements]]


def _not(matcher: JSON) -> JSON:
    return {**matcher, "negate": True}


def _difference(clause: Clause) -> str:
    there = clause.semantics
    if there == SPLIT or clause.op in {Op.ALWAYS, Op.SEGMENT}:
        return ""
    if clause.op is Op.FLAG:
        return "" if there.off_flag is OffFlag.SERVES else "a flag that is off counts as serving nothing"
    differ = [
        name
        for name in ("coercion", "list_mode", "case", "regex", "semver", "dates")
        if getattr(there, name) != getattr(SPLIT, name)
    ]
    return f"'{clause.op}' with other semantics than Split's ({', '.join(differ)})" if differ else ""


def _name(attribute: Attribute) -> str | None:
    if attribute.kind == USER and attribute.path == (TARGETING_KEY,):
        return None
    return attribute.path[0] if attribute.kind == USER and len(attribute.path) == 1 else str(attribute)


def _data_of(clause: Clause, rule_based: Collection[str]) -> list[JSON]:
    op, values = clause.op, clause.values
    if op in {Op.LESS, Op.GREATER}:
        return _strict_bounds(clause)
    if op is Op.PRESENT:
        return [guarding.PRESENT]
    if op is Op.EQUAL and all(isinstance(v, str) for v in values):
        op = Op.IN
    if op is Op.IN and guarding.needs_no_text(clause):
        return [_unary(Op.EQUAL, value) for value in values]
    if op in _LIST_OF:
        return [{"matcherType": _LIST_OF[op], "whitelistMatcherData": {"whitelist": list(_all_texts(clause))}}]
    if op is Op.MATCHES and clause.semantics.regex is not Regex.PYTHON:
        raise Untranslatable(f"regular expressions of '{clause.semantics.regex}'")
    if op is Op.MATCHES:
        return [{"matcherType": "MATCHES_STRING", "stringMatcherData": text} for text in _all_patterns(clause)]
    single = _SINGLE.get(op)
    if single is None:
        raise Untranslatable(f"the operator '{op}'")
    return single(clause, rule_based)


def _strict_bounds(clause: Clause) -> list[JSON]:
    if not clause.values or not all(type(v) is int for v in clause.values):
        raise Untranslatable(f"the operator '{clause.op}' with fractions (Split has at least and at most)")
    if clause.op is Op.LESS:
        return [_unary(Op.LESS_OR_EQUAL, max(clause.values) - 1)]
    return [_unary(Op.GREATER_OR_EQUAL, min(clause.values) + 1)]


def _all_texts(clause: Clause) -> tuple[str, ...]:
    if not all(isinstance(v, str) for v in clause.values):
        raise Untranslatable(f"the operator '{clause.op}' with values that are not texts")
    return clause.values


def _all_numbers(clause: Clause) -> tuple[Any, ...]:
    if not all(type(v) in (int, float) for v in clause.values):
        raise Untranslatable(f"the operator '{clause.op}' with values that are not numbers")
    return clause.values


def _all_patterns(clause: Clause) -> tuple[str, ...]:
    for pattern in _all_texts(clause):
        try:
            re.compile(pattern)
        except re.error as error:
            raise Untranslatable(f"{pattern!r}, which is no regular expression ({error})") from None
    return clause.values


def _unary(op: Op, value: Any) -> JSON:
    kind, data_type = _NUMBER_OF[op]
    return {"matcherType": kind, "unaryNumericMatcherData": {"dataType": data_type, "value": value}}


def _each_number(clause: Clause, _rule_based: Collection[str]) -> list[JSON]:
    return [_unary(clause.op, value) for value in _all_numbers(clause)]


def _each_segment(clause: Clause, rule_based: Collection[str]) -> list[JSON]:
    return [
        {
            "matcherType": SEGMENTS[name in rule_based],
            "userDefinedSegmentMatcherData": {"segmentName": name},
        }
        for name in _all_texts(clause)
    ]


def _each_text(clause: Clause, _rule_based: Collection[str]) -> list[JSON]:
    return [{"matcherType": _TEXT_OF[clause.op], "stringMatcherData": value} for value in _all_texts(clause)]


def _each_boolean(clause: Clause, _rule_based: Collection[str]) -> list[JSON]:
    if not all(isinstance(v, bool) for v in clause.values):
        raise Untranslatable(f"the operator '{clause.op}' with values that are not true or false")
    return [{"matcherType": "EQUAL_TO_BOOLEAN", "booleanMatcherData": value} for value in clause.values]


def _dependency(clause: Clause, _rule_based: Collection[str]) -> list[JSON]:
    if not clause.values:
        raise Untranslatable("a dependency on no treatment")
    data = {"split": clause.attribute.path[0], "treatments": list(_all_texts(clause))}
    return [{"matcherType": "IN_SPLIT_TREATMENT", "dependencyMatcherData": data}]


def _between(clause: Clause, _rule_based: Collection[str]) -> list[JSON]:
    if len(clause.values) != 2:
        raise Untranslatable(f"the operator '{clause.op}' with {len(clause.values)} bounds")
    start, end = clause.values
    if clause.op is Op.SEMVER_BETWEEN:
        _all_texts(clause)
        return [{"matcherType": "BETWEEN_SEMVER", "betweenStringMatcherData": {"start": start, "end": end}}]
    _all_numbers(clause)
    data = {"dataType": _BETWEEN_OF[clause.op], "start": start, "end": end}
    return [{"matcherType": "BETWEEN", "betweenMatcherData": data}]


def _always(_clause: Clause, _rule_based: Collection[str]) -> list[JSON]:
    return [{"matcherType": "ALL_KEYS"}]


_SINGLE: Final[dict[Op, Callable[[Clause, Collection[str]], list[JSON]]]] = {
    **dict.fromkeys(_NUMBER_OF, _each_number),
    **dict.fromkeys(_TEXT_OF, _each_text),
    **dict.fromkeys((*_BETWEEN_OF, Op.SEMVER_BETWEEN), _between),
    Op.SEGMENT: _each_segment,
    Op.IS: _each_boolean,
    Op.FLAG: _dependency,
    Op.ALWAYS: _always,
}
