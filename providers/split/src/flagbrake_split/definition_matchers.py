"""Pure: matchers in the management API's words <-> matchers in the SDK's.

The names of fields in a definition are those of Split's reference of matcher types; ``between`` for versions and
``treatments`` for a dependency on several are our reading, no page names them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from flagbrake_split.matcher_types import BETWEEN, JSON, LISTS, NUMBERS, SEGMENTS, TEXTS, complete

_LIST_SDK: Final = {admin: sdk for sdk, (admin, _) in LISTS.items()}
_TEXT_SDK: Final = {admin: sdk for sdk, (admin, _) in TEXTS.items()}
_NUMBER_SDK: Final = {admin: pair for pair, (admin, _) in NUMBERS.items()}
_BETWEEN_SDK: Final = {admin: kind for kind, (admin, _) in BETWEEN.items()}


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
    elif kind in SEGMENTS:
        name = matcher.get("string")
        sdk = SEGMENTS[kind == "IN_RULE_BASED_SEGMENT" or name in rule_based]
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
    return complete(whole, traffic_type)


def definition_matcher(matcher: Mapping[str, Any]) -> JSON:  # noqa: PLR0911 - one answer per shape
    """A matcher of the SDK's form in the words of a definition; a type that is not known keeps its name."""
    kind = str(matcher["matcherType"])
    attribute = (matcher.get("keySelector") or {}).get("attribute")
    common: JSON = {"negate": bool(matcher.get("negate"))}
    if attribute is not None:
        common["attribute"] = attribute
    if kind in LISTS:
        return {"type": LISTS[kind][0], **common, "strings": list(matcher["whitelistMatcherData"]["whitelist"])}
    if kind in TEXTS:
        return {"type": TEXTS[kind][0], **common, "string": matcher["stringMatcherData"]}
    if kind in SEGMENTS:
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
        name = BETWEEN[ends["dataType"]][0] if kind == "BETWEEN" else kind
        return {"type": name, **common, "between": {"from": ends["start"], "to": ends["end"]}}
    if (data := matcher.get("unaryNumericMatcherData")) is not None and (kind, data["dataType"]) in NUMBERS:
        field = "number" if data["dataType"] == "NUMBER" else "date"
        return {"type": NUMBERS[kind, data["dataType"]][0], **common, field: data["value"]}
    return {"type": kind, **common}


def label(matchers: Iterable[Mapping[str, Any]]) -> str:
    """What impressions call a rule of these matchers of a definition, where rules have no names."""
    named = " and ".join(
        f"{m.get('attribute') or 'key'} {'not ' if m.get('negate') else ''}{str(m.get('type')).lower()}"
        for m in matchers
    )
    return named[:100]
