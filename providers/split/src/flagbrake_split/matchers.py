"""Pure: matchers in the SDK's words and in the management API's words <-> clauses in the Split dialect.

The SDK's form is the common ground: every clause becomes one, and every matcher of a definition does. The names
of fields in a definition are those of Split's reference of matcher types; ``between`` for versions and
``treatments`` for a dependency on several are our reading, no page names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import product
from math import prod
from typing import Any, Final

from flagbrake.model.clause import SPLIT, TARGETING_KEY, USER, Attribute, Clause, OffFlag, Op, Regex
from flagbrake.model.loss import Loss, Severity
from flagbrake_split import guarding

JSON = dict[str, Any]

#: Every field that holds a matcher's value in the SDK's form; a matcher has one of them.
_DATA: Final = (
    "userDefinedSegmentMatcherData",
    "whitelistMatcherData",
    "unaryNumericMatcherData",
    "betweenMatcherData",
    "dependencyMatcherData",
    "booleanMatcherData",
    "stringMatcherData",
    "betweenStringMatcherData",
)
_LISTS: Final = {
    "WHITELIST": ("IN_LIST_STRING", Op.IN),
    "STARTS_WITH": ("STARTS_WITH_STRING", Op.STARTS_WITH),
    "ENDS_WITH": ("ENDS_WITH_STRING", Op.ENDS_WITH),
    "CONTAINS_STRING": ("CONTAINS_STRING", Op.CONTAINS),
    "EQUAL_TO_SET": ("EQUAL_SET", Op.SET_EQUAL),
    "CONTAINS_ANY_OF_SET": ("ANY_OF_SET", Op.SET_ANY),
    "CONTAINS_ALL_OF_SET": ("ALL_OF_SET", Op.SET_ALL),
    "PART_OF_SET": ("PART_OF_SET", Op.SET_PART),
    "IN_LIST_SEMVER": ("IN_LIST_SEMVER", Op.SEMVER_IN),
}
_TEXTS: Final = {
    "MATCHES_STRING": ("MATCHES_STRING", Op.MATCHES),
    "EQUAL_TO_SEMVER": ("EQUAL_TO_SEMVER", Op.SEMVER_EQUAL),
    "GREATER_THAN_OR_EQUAL_TO_SEMVER": ("GREATER_THAN_OR_EQUAL_TO_SEMVER", Op.SEMVER_GREATER_OR_EQUAL),
    "LESS_THAN_OR_EQUAL_TO_SEMVER": ("LESS_THAN_OR_EQUAL_TO_SEMVER", Op.SEMVER_LESS_OR_EQUAL),
}
_NUMBERS: Final = {
    ("EQUAL_TO", "NUMBER"): ("EQUAL_NUMBER", Op.EQUAL),
    ("EQUAL_TO", "DATETIME"): ("ON_DATE", Op.ON),
    ("GREATER_THAN_OR_EQUAL_TO", "NUMBER"): ("GREATER_THAN_OR_EQUAL_NUMBER", Op.GREATER_OR_EQUAL),
    ("GREATER_THAN_OR_EQUAL_TO", "DATETIME"): ("ON_OR_AFTER_DATE", Op.ON_OR_AFTER),
    ("LESS_THAN_OR_EQUAL_TO", "NUMBER"): ("LESS_THAN_OR_EQUAL_NUMBER", Op.LESS_OR_EQUAL),
    ("LESS_THAN_OR_EQUAL_TO", "DATETIME"): ("ON_OR_BEFORE_DATE", Op.ON_OR_BEFORE),
}
_BETWEEN: Final = {
    "NUMBER": ("BETWEEN_NUMBER", Op.BETWEEN),
    "DATETIME": ("BETWEEN_DATE", Op.BETWEEN_DATES),
}
#: A rule that would become more rules than this does not look into lists.
_MOST: Final = 32
_SEGMENTS: Final = ("IN_SEGMENT", "IN_RULE_BASED_SEGMENT")

_LIST_OF: Final = {op: sdk for sdk, (_, op) in _LISTS.items()}
_TEXT_OF: Final = {op: sdk for sdk, (_, op) in _TEXTS.items()}
_NUMBER_OF: Final = {op: pair for pair, (_, op) in _NUMBERS.items()}
_BETWEEN_OF: Final = {op: kind for kind, (_, op) in _BETWEEN.items()}


class Untranslatable(Exception):
    """A matcher or clause that the other side has no words for; the message says which."""


# --- SDK matcher <-> clause ----------------------------------------------------------------------------


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
    if kind in _SEGMENTS:
        return Op.SEGMENT, (matcher["userDefinedSegmentMatcherData"]["segmentName"],)
    if kind in _LISTS:
        return _LISTS[kind][1], tuple(matcher["whitelistMatcherData"]["whitelist"])
    if kind in _TEXTS:
        return _TEXTS[kind][1], (matcher["stringMatcherData"],)
    if kind == "EQUAL_TO_BOOLEAN":
        return Op.IS, (matcher["booleanMatcherData"],)
    if kind == "IN_SPLIT_TREATMENT":
        return Op.FLAG, tuple(matcher["dependencyMatcherData"]["treatments"])
    if kind == "BETWEEN_SEMVER":
        ends = matcher["betweenStringMatcherData"]
        return Op.SEMVER_BETWEEN, (ends["start"], ends["end"])
    if kind == "BETWEEN":
        ends = matcher["betweenMatcherData"]
        return _BETWEEN[ends["dataType"]][1], (ends["start"], ends["end"])
    data = matcher.get("unaryNumericMatcherData")
    if data is not None and (kind, data["dataType"]) in _NUMBERS:
        return _NUMBERS[kind, data["dataType"]][1], (data["value"],)
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
        matchers = [_complete(m, traffic_type) for group in choice for m in group]
        made.append(matchers or [_complete({"matcherType": "ALL_KEYS"}, traffic_type)])
    return made, losses


def _complete(matcher: JSON, traffic_type: str) -> JSON:
    selector = {"trafficType": traffic_type, "attribute": matcher.get("attribute")}
    whole: JSON = {
        "keySelector": selector,
        "matcherType": matcher["matcherType"],
        "negate": matcher.get("negate", False),
    }
    return {**whole, **{name: matcher[name] for name in _DATA if name in matcher}}


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
            "matcherType": _SEGMENTS[name in rule_based],
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


# --- definition matcher <-> SDK matcher ------------------------------------------------------------------

_LIST_SDK: Final = {admin: sdk for sdk, (admin, _) in _LISTS.items()}
_TEXT_SDK: Final = {admin: sdk for sdk, (admin, _) in _TEXTS.items()}
_NUMBER_SDK: Final = {admin: pair for pair, (admin, _) in _NUMBERS.items()}
_BETWEEN_SDK: Final = {admin: kind for kind, (admin, _) in _BETWEEN.items()}


def sdk_matcher(matcher: Mapping[str, Any], *, traffic_type: str = "user", rule_based: Collection[str] = ()) -> JSON:
    """A matcher of a definition in the SDK's form; a type that is not known keeps its name and fails there."""
    kind = str(matcher.get("type"))
    whole: JSON = {"attribute": matcher.get("attribute"), "negate": bool(matcher.get("negate"))}
    if kind in _LIST_SDK:
        whole |= {
            "matcherType": _LIST_SDK[kind],
            "whitelistMatcherData": {"whitelist": list(matcher.get("strings") or ())},
        }
    elif kind in _TEXT_SDK:
        whole |= {"matcherType": _TEXT_SDK[kind], "stringMatcherData": matcher.get("string")}
    elif kind in _NUMBER_SDK:
        sdk, data_type = _NUMBER_SDK[kind]
        value = matcher.get("number" if data_type == "NUMBER" else "date")
        whole |= {"matcherType": sdk, "unaryNumericMatcherData": {"dataType": data_type, "value": value}}
    elif kind in _BETWEEN_SDK or kind == "BETWEEN_SEMVER":
        ends = matcher.get("between") or {}
        data = {"start": ends.get("from"), "end": ends.get("to")}
        if kind == "BETWEEN_SEMVER":
            whole |= {"matcherType": kind, "betweenStringMatcherData": data}
        else:
            whole |= {"matcherType": "BETWEEN", "betweenMatcherData": {"dataType": _BETWEEN_SDK[kind], **data}}
    elif kind in _SEGMENTS:
        name = matcher.get("string")
        sdk = _SEGMENTS[kind == "IN_RULE_BASED_SEGMENT" or name in rule_based]
        whole |= {"matcherType": sdk, "userDefinedSegmentMatcherData": {"segmentName": name}}
    elif kind == "BOOLEAN":
        whole |= {"matcherType": "EQUAL_TO_BOOLEAN", "booleanMatcherData": matcher.get("bool")}
    elif kind == "IN_SPLIT":
        depends = matcher.get("depends") or {}
        named = depends.get("treatments", depends.get("treatment"))
        treatments = [named] if isinstance(named, str) else list(named or ())
        data = {"split": depends.get("splitName"), "treatments": treatments}
        whole |= {"matcherType": "IN_SPLIT_TREATMENT", "dependencyMatcherData": data}
    else:
        whole |= {"matcherType": kind}
    return _complete(whole, traffic_type)


def definition_matcher(matcher: Mapping[str, Any]) -> JSON:  # noqa: PLR0911 - one answer per shape
    """A matcher of the SDK's form in the words of a definition; a type that is not known keeps its name."""
    kind = str(matcher["matcherType"])
    attribute = (matcher.get("keySelector") or {}).get("attribute")
    common: JSON = {"negate": bool(matcher.get("negate"))}
    if attribute is not None:
        common["attribute"] = attribute
    if kind in _LISTS:
        return {"type": _LISTS[kind][0], **common, "strings": list(matcher["whitelistMatcherData"]["whitelist"])}
    if kind in _TEXTS:
        return {"type": _TEXTS[kind][0], **common, "string": matcher["stringMatcherData"]}
    if kind in _SEGMENTS:
        return {"type": kind, **common, "string": matcher["userDefinedSegmentMatcherData"]["segmentName"]}
    if kind == "EQUAL_TO_BOOLEAN":
        return {"type": "BOOLEAN", **common, "bool": matcher["booleanMatcherData"]}
    if kind == "IN_SPLIT_TREATMENT":
        data = matcher["dependencyMatcherData"]
        named = data["treatments"]
        which = {"treatment": named[0]} if len(named) == 1 else {"treatments": list(named)}
        return {"type": "IN_SPLIT", **common, "depends": {"splitName": data["split"], **which}}
    if kind in {"BETWEEN", "BETWEEN_SEMVER"}:
        ends = matcher["betweenMatcherData" if kind == "BETWEEN" else "betweenStringMatcherData"]
        name = _BETWEEN[ends["dataType"]][0] if kind == "BETWEEN" else kind
        return {"type": name, **common, "between": {"from": ends["start"], "to": ends["end"]}}
    if (data := matcher.get("unaryNumericMatcherData")) is not None and (kind, data["dataType"]) in _NUMBERS:
        field = "number" if data["dataType"] == "NUMBER" else "date"
        return {"type": _NUMBERS[kind, data["dataType"]][0], **common, field: data["value"]}
    return {"type": kind, **common}


def label(matchers: Iterable[Mapping[str, Any]]) -> str:
    """What impressions call a rule of these matchers of a definition, where rules have no names."""
    named = " and ".join(
        f"{m.get('attribute') or 'key'} {'not ' if m.get('negate') else ''}{str(m.get('type')).lower()}"
        for m in matchers
    )
    return named[:100]
