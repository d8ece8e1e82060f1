"""Pure: a definition of the management API -> the split that SDKs download, and back as far as it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hashing:
    """What the vendor assigns to a flag in an environment and no definition shows."""

    seed: int
    allocation_seed: int
    algo: int = 2


class NotCompilable(ValueError):
    """The definition says something that no SDK understands."""


# --- matchers ----------------------------------------------------------------------------------------

_Data = Callable[[JSON], JSON]


def _whitelist(matcher: JSON) -> JSON:
    return {"whitelistMatcherData": {"whitelist": list(matcher["strings"])}}


def _text(matcher: JSON) -> JSON:
    return {"stringMatcherData": matcher["string"]}


def _segment(matcher: JSON) -> JSON:
    return {"userDefinedSegmentMatcherData": {"segmentName": matcher["string"]}}


def _number(matcher: JSON) -> JSON:
    return {"unaryNumericMatcherData": {"dataType": "NUMBER", "value": matcher["number"]}}


def _date(matcher: JSON) -> JSON:
    return {"unaryNumericMatcherData": {"dataType": "DATETIME", "value": matcher["date"]}}


def _between(data_type: str) -> _Data:
    def data(matcher: JSON) -> JSON:
        ends = matcher["between"]
        return {"betweenMatcherData": {"dataType": data_type, "start": ends["from"], "end": ends["to"]}}

    return data


def _between_texts(matcher: JSON) -> JSON:
    return {"betweenStringMatcherData": {"start": matcher["between"]["from"], "end": matcher["between"]["to"]}}


def _bool(matcher: JSON) -> JSON:
    return {"booleanMatcherData": matcher["bool"]}


def _depends(matcher: JSON) -> JSON:
    depends = matcher["depends"]
    named = depends.get("treatments", depends.get("treatment"))
    treatments = [named] if isinstance(named, str) else list(named)
    return {"dependencyMatcherData": {"split": depends["splitName"], "treatments": treatments}}


def _nothing(_: JSON) -> JSON:
    return {}


#: Matcher type of a definition -> (matcher type of the SDK, its data).
_MATCHERS: Final[Mapping[str, tuple[str, _Data]]] = MappingProxyType(
    {
        "ALL_KEYS": ("ALL_KEYS", _nothing),
        "IN_SEGMENT": ("IN_SEGMENT", _segment),
        "IN_RULE_BASED_SEGMENT": ("IN_RULE_BASED_SEGMENT", _segment),
        "IN_SPLIT": ("IN_SPLIT_TREATMENT", _depends),
        "BOOLEAN": ("EQUAL_TO_BOOLEAN", _bool),
        "ON_DATE": ("EQUAL_TO", _date),
        "ON_OR_AFTER_DATE": ("GREATER_THAN_OR_EQUAL_TO", _date),
        "ON_OR_BEFORE_DATE": ("LESS_THAN_OR_EQUAL_TO", _date),
        "BETWEEN_DATE": ("BETWEEN", _between("DATETIME")),
        "EQUAL_SET": ("EQUAL_TO_SET", _whitelist),
        "ANY_OF_SET": ("CONTAINS_ANY_OF_SET", _whitelist),
        "ALL_OF_SET": ("CONTAINS_ALL_OF_SET", _whitelist),
        "PART_OF_SET": ("PART_OF_SET", _whitelist),
        "EQUAL_NUMBER": ("EQUAL_TO", _number),
        "LESS_THAN_OR_EQUAL_NUMBER": ("LESS_THAN_OR_EQUAL_TO", _number),
        "GREATER_THAN_OR_EQUAL_NUMBER": ("GREATER_THAN_OR_EQUAL_TO", _number),
        "BETWEEN_NUMBER": ("BETWEEN", _between("NUMBER")),
        "IN_LIST_STRING": ("WHITELIST", _whitelist),
        "STARTS_WITH_STRING": ("STARTS_WITH", _whitelist),
        "ENDS_WITH_STRING": ("ENDS_WITH", _whitelist),
        "CONTAINS_STRING": ("CONTAINS_STRING", _whitelist),
        "MATCHES_STRING": ("MATCHES_STRING", _text),
        "EQUAL_TO_SEMVER": ("EQUAL_TO_SEMVER", _text),
        "GREATER_THAN_OR_EQUAL_TO_SEMVER": ("GREATER_THAN_OR_EQUAL_TO_SEMVER", _text),
        "LESS_THAN_OR_EQUAL_TO_SEMVER": ("LESS_THAN_OR_EQUAL_TO_SEMVER", _text),
        "BETWEEN_SEMVER": ("BETWEEN_SEMVER", _between_texts),
        "IN_LIST_SEMVER": ("IN_LIST_SEMVER", _whitelist),
    }
)

#: Every matcher type that a definition may hold.
MATCHER_TYPES: Final = frozenset(_MATCHERS)


def compile_matcher(
    matcher: JSON, *, traffic_type: str, rule_based: Collection[str] = (), known_only: bool = True
) -> JSON:
    """One matcher. A segment named in ``rule_based`` is matched by its rules.

    Without ``known_only`` a type that nobody knows goes through by its name, as a newer vendor would send it.

    Raises:
        NotCompilable: an unknown type, or a value that its type needs is missing.
    """
    kind = matcher.get("type")
    if kind == "IN_SEGMENT" and matcher.get("string") in rule_based:
        kind = "IN_RULE_BASED_SEGMENT"
    if not isinstance(kind, str) or (kind not in _MATCHERS and known_only):
        raise NotCompilable(f"there is no matcher type {kind!r}")
    sdk_type, data = _MATCHERS.get(kind, (kind, _nothing))
    try:
        found = data(matcher)
    except (KeyError, TypeError) as error:
        raise NotCompilable(f"a matcher {kind} lacks its value ({error})") from error
    return {
        "keySelector": {"trafficType": traffic_type, "attribute": matcher.get("attribute") or None},
        "matcherType": sdk_type,
        "negate": bool(matcher.get("negate", False)),
        **found,
    }


# --- a whole split -------------------------------------------------------------------------------------


def compile_split(
    definition: JSON,
    *,
    hashing: Hashing,
    change_number: int,
    traffic_type: str = "user",
    flag_sets: Collection[str] = (),
    rule_based: Collection[str] = (),
    archived: bool = False,
) -> JSON:
    """The split as SDKs download it: individual targets, then rules, then the default rule.

    Raises:
        NotCompilable: see :func:`compile_matcher`.
    """
    treatments = definition.get("treatments", [])
    return {
        "name": definition["name"],
        "trafficTypeName": traffic_type,
        "status": "ARCHIVED" if archived else "ACTIVE",
        "changeNumber": change_number,
        "killed": bool(definition.get("killed", False)),
        "defaultTreatment": definition["defaultTreatment"],
        "algo": hashing.algo,
        "seed": hashing.seed,
        "trafficAllocation": definition.get("trafficAllocation", 100),
        "trafficAllocationSeed": hashing.allocation_seed,
        "configurations": {t["name"]: t["configurations"] for t in treatments if t.get("configurations")},
        "sets": sorted(flag_sets),
        "impressionsDisabled": bool(definition.get("impressionsDisabled", False)),
        "prerequisites": [_prerequisite(p) for p in definition.get("prerequisites") or ()],
        "conditions": [
            *_individual(treatments, traffic_type),
            *(_rule(rule, traffic_type, rule_based) for rule in definition.get("rules") or ()),
            _condition(
                "ROLLOUT",
                "default rule",
                [compile_matcher({"type": "ALL_KEYS"}, traffic_type=traffic_type)],
                definition["defaultRule"],
            ),
        ],
    }


def _individual(treatments: list[JSON], traffic_type: str) -> list[JSON]:
    """The keys of all treatments, then their segments, each in the order of treatments."""

    def made(treatment: JSON, label: str, matcher: JSON) -> JSON:
        everybody = [{"treatment": treatment["name"], "size": 100}]
        return _condition("WHITELIST", label, [compile_matcher(matcher, traffic_type=traffic_type)], everybody)

    keys = [
        made(t, "whitelisted", {"type": "IN_LIST_STRING", "strings": t["keys"]}) for t in treatments if t.get("keys")
    ]
    segments = [
        made(t, "whitelisted segment", {"type": "IN_SEGMENT", "string": name})
        for t in treatments
        for name in t.get("segments") or ()
    ]
    return [*keys, *segments]


def _rule(rule: JSON, traffic_type: str, rule_based: Collection[str]) -> JSON:
    matchers = [
        compile_matcher(matcher, traffic_type=traffic_type, rule_based=rule_based, known_only=False)
        for matcher in rule["condition"]["matchers"]
    ]
    return _condition("ROLLOUT", _label(rule), matchers, rule["buckets"])


def _label(rule: JSON) -> str:
    named = " and ".join(
        f"{m.get('attribute') or 'key'} {'not ' if m.get('negate') else ''}{m['type'].lower()}"
        for m in rule["condition"]["matchers"]
    )
    return named[:100]


def _condition(kind: str, label: str, matchers: list[JSON], buckets: list[JSON]) -> JSON:
    return {
        "conditionType": kind,
        "label": label,
        "matcherGroup": {"combiner": "AND", "matchers": matchers},
        "partitions": [{"treatment": b["treatment"], "size": b["size"]} for b in buckets],
    }


def _prerequisite(item: JSON) -> JSON:
    # The SDK's short names pass through; the long ones are our reading of the management side.
    if "n" in item:
        return {"n": item["n"], "ts": list(item["ts"])}
    return {"n": item["name"], "ts": list(item["treatments"])}


def compile_segment(
    definition: JSON, *, change_number: int, traffic_type: str, rule_based: Collection[str] = (), archived: bool = False
) -> JSON:
    """A rule-based segment as SDKs download it."""
    conditions = [
        {
            "conditionType": "ROLLOUT",
            "matcherGroup": {
                "combiner": "AND",
                "matchers": [
                    compile_matcher(matcher, traffic_type=traffic_type, rule_based=rule_based)
                    for matcher in rule["condition"]["matchers"]
                ],
            },
        }
        for rule in definition.get("rules") or ()
    ]
    excluded = [
        {"name": s["name"], "type": str(s["type"]).removesuffix("_segment").replace("_", "-")}
        for s in definition.get("excludedSegments") or ()
    ]
    return {
        "name": definition["name"],
        "trafficTypeName": traffic_type,
        "status": "ARCHIVED" if archived else "ACTIVE",
        "changeNumber": change_number,
        "conditions": conditions,
        "excluded": {"keys": list(definition.get("excludedKeys") or ()), "segments": excluded},
    }


# --- back ------------------------------------------------------------------------------------------------


def definition_of(split: JSON) -> JSON:
    """The definition that would compile into this split, for what was put in by the back door.

    Raises:
        NotCompilable: no definition says it (a rule before an individual target, a target that is more than keys).
    """
    treatments: dict[str, JSON] = {}

    def treatment(name: str) -> JSON:
        return treatments.setdefault(name, {"name": name})

    conditions = list(split["conditions"])
    default_rule = [{"treatment": split["defaultTreatment"], "size": 100}]
    if conditions and _for_everybody(conditions[-1]):
        default_rule = [dict(partition) for partition in conditions.pop()["partitions"]]
    rules = []
    for condition in conditions:
        if condition.get("conditionType", "WHITELIST") != "WHITELIST":
            rules.append(_rule_of(condition))
            continue
        if rules:
            raise NotCompilable("an individual target after a rule")
        _add_individual(treatment, condition)
    used = [split["defaultTreatment"], *(b["treatment"] for b in default_rule)]
    used += [b["treatment"] for rule in rules for b in rule["buckets"]]
    for name in [*used, *(split.get("configurations") or {})]:
        treatment(name)
    for name, text in (split.get("configurations") or {}).items():
        treatment(name)["configurations"] = text if isinstance(text, str) else json.dumps(text)
    return {
        "name": split["name"],
        "killed": split["killed"],
        "treatments": list(treatments.values()),
        "defaultTreatment": split["defaultTreatment"],
        "trafficAllocation": split.get("trafficAllocation", 100),
        "rules": rules,
        "defaultRule": default_rule,
        **({"prerequisites": split["prerequisites"]} if split.get("prerequisites") else {}),
        **({"impressionsDisabled": True} if split.get("impressionsDisabled") else {}),
    }


def _for_everybody(condition: JSON) -> bool:
    matchers = condition["matcherGroup"]["matchers"]
    return len(matchers) == 1 and matchers[0]["matcherType"] == "ALL_KEYS" and not matchers[0]["negate"]


def _add_individual(treatment: Callable[[str], JSON], condition: JSON) -> None:
    matchers, partitions = condition["matcherGroup"]["matchers"], condition["partitions"]
    matcher = matchers[0]
    attribute = (matcher.get("keySelector") or {}).get("attribute")
    if len(matchers) != 1 or len(partitions) != 1 or matcher["negate"] or attribute:
        raise NotCompilable("an individual target that is more than a list of keys or a segment")
    target = treatment(partitions[0]["treatment"])
    if matcher["matcherType"] == "WHITELIST":
        target["keys"] = [*target.get("keys", ()), *matcher["whitelistMatcherData"]["whitelist"]]
    elif matcher["matcherType"] == "IN_SEGMENT":
        target["segments"] = [*target.get("segments", ()), matcher["userDefinedSegmentMatcherData"]["segmentName"]]
    else:
        raise NotCompilable(f"an individual target by {matcher['matcherType']}")


def _rule_of(condition: JSON) -> JSON:
    matchers = [matcher_of(matcher) for matcher in condition["matcherGroup"]["matchers"]]
    buckets = [{"treatment": p["treatment"], "size": p["size"]} for p in condition["partitions"]]
    return {"condition": {"combiner": "AND", "matchers": matchers}, "buckets": buckets}


def matcher_of(matcher: JSON) -> JSON:
    """The matcher of a definition that compiles into this one."""
    kind = _kind_of(matcher)
    result: JSON = {"type": kind, "negate": bool(matcher.get("negate", False))}
    attribute = (matcher.get("keySelector") or {}).get("attribute")
    if attribute:
        result["attribute"] = attribute
    if (data := matcher.get("whitelistMatcherData")) is not None:
        result["strings"] = list(data["whitelist"])
    elif (data := matcher.get("userDefinedSegmentMatcherData")) is not None:
        result["string"] = data["segmentName"]
    elif (data := matcher.get("unaryNumericMatcherData")) is not None:
        result["date" if data["dataType"] == "DATETIME" else "number"] = data["value"]
    elif (data := matcher.get("betweenMatcherData") or matcher.get("betweenStringMatcherData")) is not None:
        result["between"] = {"from": data["start"], "to": data["end"]}
    elif (data := matcher.get("dependencyMatcherData")) is not None:
        result["depends"] = {"splitName": data["split"], "treatments": list(data["treatments"])}
    elif (data := matcher.get("booleanMatcherData")) is not None:
        result["bool"] = data
    elif (data := matcher.get("stringMatcherData")) is not None:
        result["string"] = data
    return result


def _kind_of(matcher: JSON) -> str:
    data = matcher.get("unaryNumericMatcherData") or matcher.get("betweenMatcherData") or {}
    dates = data.get("dataType") == "DATETIME"
    for kind, (sdk_type, _) in _MATCHERS.items():
        if sdk_type == matcher["matcherType"] and kind.endswith("_DATE") == dates:
            return kind
    return str(matcher["matcherType"])  # of a newer vendor
