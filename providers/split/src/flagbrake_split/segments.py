"""Pure: segments of Split (lists of keys, and rule-based ones in both vocabularies) <-> the model's segment.

Excluded are the members of an excluded segment. The Python SDK 10.7 differs where an excluded rule-based segment
itself excludes somebody (``RuleBasedSegmentMatcher._match_dep_rb_segments``): those it excludes by a segment count
as excluded as well, and a key that it excludes by name ends the search through the other exclusions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flagbrake.model.clause import Clause
from flagbrake.model.flag import KeySet, Segment, SegmentRule
from flagbrake.model.loss import Loss, Translated
from flagbrake.model.values import WHOLE
from flagbrake_split.definition_matchers import definition_matcher, sdk_matcher
from flagbrake_split.matchers import Untranslatable, clause_of, matchers_of

JSON = dict[str, Any]


def segment_from_keys(name: str, keys: Iterable[str], *, version: int = 0) -> Segment:
    """A standard segment: a list of keys."""
    return Segment(name, included=(KeySet(tuple(keys)),), version=max(version, 0))


def keys_from_segment(segment: Segment) -> Translated[tuple[str, ...]]:
    """The keys of a standard segment; everything else a segment may have is a loss."""
    losses = []
    keys: dict[str, None] = {}
    for index, named in enumerate(segment.included):
        if named.kind == "user":
            keys.update(dict.fromkeys(named.keys))
        else:
            fact = f"keys of context kind '{named.kind}'"
            losses.append(Loss(f"included[{index}]", fact, "they are not in the segment"))
    if segment.rules or segment.excluded or segment.excluded_segments:
        losses.append(Loss("rules", "rules or exclusions", "a list of keys has none: a rule-based segment has"))
    return Translated(tuple(keys), tuple(losses))


def is_rule_based(segment: Segment) -> bool:
    """Does Split need a rule-based segment for it?"""
    return bool(segment.rules or segment.excluded or segment.excluded_segments)


def segment_from_split(document: Mapping[str, Any]) -> Translated[Segment]:
    """A rule-based segment in the SDK's form (an entry of ``rbs`` in ``splitChanges``)."""
    losses: list[Loss] = []
    rules = []
    for index, condition in enumerate(document.get("conditions") or ()):
        clauses: list[Clause] = []
        try:
            clauses.extend(clause_of(matcher) for matcher in condition["matcherGroup"]["matchers"])
        except Untranslatable as trouble:
            losses.append(Loss(f"conditions[{index}]", str(trouble), "the rule is left out: fewer members"))
            continue
        rules.append(SegmentRule(tuple(clauses)))
    excluded = document.get("excluded") or {}
    keys = tuple(excluded.get("keys") or ())
    version = document.get("changeNumber")
    segment = Segment(
        document["name"],
        excluded=(KeySet(keys),) if keys else (),
        rules=tuple(rules),
        version=version if isinstance(version, int) and version > 0 else 0,
        excluded_segments=tuple(s["name"] for s in excluded.get("segments") or ()),
    )
    return Translated(segment, tuple(losses))


def split_from_segment(
    segment: Segment, *, base: Mapping[str, Any] | None = None, rule_based: Collection[str] = ()
) -> Translated[JSON]:
    """A segment as a rule-based one in the SDK's form; keys that are included become a rule."""
    there = base or {}
    traffic_type = there.get("trafficTypeName") or "user"
    losses: list[Loss] = []
    conditions = []
    for index, named in enumerate(segment.included):
        if named.kind != "user":
            fact = f"keys of context kind '{named.kind}'"
            losses.append(Loss(f"included[{index}]", fact, "they are not in the segment"))
            continue
        matcher = {"type": "IN_LIST_STRING", "strings": list(named.keys)}
        conditions.append(_condition([sdk_matcher(matcher, traffic_type=traffic_type)]))
        if segment.excluded or segment.excluded_segments:
            losses.append(Loss(f"included[{index}]", "keys that no exclusion touches", "an excluded key is not in it"))
    for index, rule in enumerate(segment.rules):
        if rule.share != WHOLE:
            losses.append(Loss(f"rules[{index}].share", "a share of units", "all whom the rule matches are in it"))
        try:
            said, notes = matchers_of(rule.clauses, traffic_type=traffic_type, rule_based=rule_based)
        except Untranslatable as trouble:
            losses.append(Loss(f"rules[{index}]", str(trouble), "the rule is not written: fewer members"))
            continue
        losses.extend(Loss(f"rules[{index}].{n.where}", n.what, n.effect, n.severity) for n in notes)
        conditions.extend(_condition(matchers) for matchers in said)
    excluded_keys = [key for named in segment.excluded if named.kind == "user" for key in named.keys]
    document: JSON = {
        **there,
        "name": segment.key,
        "trafficTypeName": traffic_type,
        "status": there.get("status", "ACTIVE"),
        "changeNumber": there.get("changeNumber", segment.version),
        "conditions": conditions,
        "excluded": {
            "keys": excluded_keys,
            "segments": [
                {"name": name, "type": "rule-based" if name in rule_based else "standard"}
                for name in segment.excluded_segments
            ],
        },
    }
    return Translated(document, tuple(losses))


def _condition(matchers: list[JSON]) -> JSON:
    return {"conditionType": "ROLLOUT", "matcherGroup": {"combiner": "AND", "matchers": matchers}}


def segment_from_definition(definition: Mapping[str, Any], *, rule_based: Collection[str] = ()) -> Translated[Segment]:
    """A rule-based segment in the words of the management API."""
    traffic_type = (definition.get("trafficType") or {}).get("name") or "user"
    conditions = [
        _condition(
            [
                sdk_matcher(matcher, traffic_type=traffic_type, rule_based=rule_based)
                for matcher in rule["condition"]["matchers"]
            ]
        )
        for rule in definition.get("rules") or ()
    ]
    excluded = {"keys": definition.get("excludedKeys"), "segments": definition.get("excludedSegments")}
    return segment_from_split(
        {
            "name": definition["name"],
            "changeNumber": definition.get("lastUpdateTime") or 0,
            "conditions": conditions,
            "excluded": excluded,
        }
    )


def definition_from_segment(
    segment: Segment, *, base: Mapping[str, Any] | None = None, rule_based: Collection[str] = ()
) -> Translated[JSON]:
    """A segment as a rule-based one in the words of the management API."""
    written = split_from_segment(segment, rule_based=rule_based)
    split = written.result
    rules = [
        {
            "condition": {
                "combiner": "AND",
                "matchers": [definition_matcher(m) for m in condition["matcherGroup"]["matchers"]],
            }
        }
        for condition in split["conditions"]
    ]
    document: JSON = {
        **(base or {}),
        "name": segment.key,
        "rules": rules,
        "excludedKeys": split["excluded"]["keys"],
        "excludedSegments": split["excluded"]["segments"],
    }
    return Translated(document, written.losses)
