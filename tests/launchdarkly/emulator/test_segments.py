"""The management API of segments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import launchdarkly_api as generated
import launchdarkly_api.api.segments_api as vendor
import pytest

from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from flagbrake_launchdarkly.emulator.segment_patching import BATCH, KINDS
from tests.launchdarkly.emulator.clients import SEMANTIC, Api

HERE = "/segments/default/production"
COUNTRY = {"contextKind": "user", "attribute": "country", "op": "in", "values": ["NO"], "negate": False}
#: For segments that are kept elsewhere, which the emulator does not know.
BIG = {
    "addBigSegmentExcludedTargets",
    "addBigSegmentIncludedTargets",
    "processBigSegmentImport",
    "removeBigSegmentExcludedTargets",
    "removeBigSegmentIncludedTargets",
}


@pytest.fixture
def beta(api: Api) -> Any:
    """A segment with two users, an organisation left out, and two rules."""
    api.ask("POST", HERE, generated.UserSegment, 201, json={"key": "beta", "name": "Beta", "tags": ["x"]})
    return semantic(
        api,
        {"kind": "addIncludedTargets", "contextKind": "user", "values": ["u1", "u2"]},
        {"kind": "addExcludedTargets", "contextKind": "org", "values": ["acme"]},
        {"kind": "addRule", "clauses": [COUNTRY], "description": "Norway"},
        {"kind": "addRule", "clauses": [{**COUNTRY, "values": ["SE"]}]},
    )


def semantic(api: Api, *instructions: Any, status: int = 200) -> Any:
    """A semantic patch of the segment."""
    body = {"environmentKey": "production", "comment": "c", "instructions": list(instructions)}
    headers = {"Content-Type": SEMANTIC}
    content = json.dumps(body)
    return api.ask("PATCH", f"{HERE}/beta", generated.UserSegment, status, content=content, headers=headers)


def _contexts(part: str) -> Callable[[Any], Any]:
    return lambda segment: {one["contextKind"]: one["values"] for one in segment[part]}


def _rule(index: int) -> Callable[[Any], Any]:
    return lambda segment: segment["rules"][index]


Row = tuple[str, Callable[[Any], dict[str, Any]], Callable[[Any], Any], Any]
EFFECTS: list[Row] = [
    ("updateName", lambda s: {"value": "N"}, lambda s: s["name"], "N"),
    ("addTags", lambda s: {"values": ["a"]}, lambda s: s["tags"], ["a", "x"]),
    ("removeTags", lambda s: {"values": ["x"]}, lambda s: s["tags"], []),
    (
        "addIncludedTargets",
        lambda s: {"contextKind": "org", "values": ["umbrella"]},
        _contexts("includedContexts"),
        {"org": ["umbrella"]},
    ),
    ("addExcludedTargets", lambda s: {"contextKind": "user", "values": ["u9"]}, lambda s: s["excluded"], ["u9"]),
    ("removeIncludedTargets", lambda s: {"contextKind": "user", "values": ["u1"]}, lambda s: s["included"], ["u2"]),
    (
        "removeExcludedTargets",
        lambda s: {"contextKind": "org", "values": ["acme"]},
        _contexts("excludedContexts"),
        {"org": []},
    ),
    ("addIncludedUsers", lambda s: {"values": ["u3"]}, lambda s: s["included"], ["u1", "u2", "u3"]),
    ("addExcludedUsers", lambda s: {"values": ["u3"]}, lambda s: s["excluded"], ["u3"]),
    ("removeIncludedUsers", lambda s: {"values": ["u1", "u7"]}, lambda s: s["included"], ["u2"]),
    ("removeExcludedUsers", lambda s: {"values": ["u1"]}, lambda s: s["excluded"], []),
    ("addRule", lambda s: {"clauses": [COUNTRY], "beforeRuleId": s["rules"][0]["_id"]}, lambda s: len(s["rules"]), 3),
    ("removeRule", lambda s: {"ruleId": s["rules"][0]["_id"]}, lambda s: len(s["rules"]), 1),
    (
        "reorderRules",
        lambda s: {"ruleIds": [r["_id"] for r in s["rules"]][::-1]},
        lambda s: s["rules"][1]["description"],
        "Norway",
    ),
    (
        "updateRuleDescription",
        lambda s: {"ruleId": s["rules"][1]["_id"], "description": "Sweden"},
        lambda s: s["rules"][1]["description"],
        "Sweden",
    ),
    (
        "updateRuleRolloutAndContextKind",
        lambda s: {"ruleId": s["rules"][0]["_id"], "weight": 5000, "contextKind": "org"},
        lambda s: (s["rules"][0]["weight"], s["rules"][0]["rolloutContextKind"]),
        (5000, "org"),
    ),
    (
        "addClauses",
        lambda s: {"ruleId": s["rules"][0]["_id"], "clauses": [COUNTRY]},
        lambda s: len(s["rules"][0]["clauses"]),
        2,
    ),
    (
        "removeClauses",
        lambda s: {"ruleId": s["rules"][0]["_id"], "clauseIds": [s["rules"][0]["clauses"][0]["_id"]]},
        lambda s: s["rules"][0]["clauses"],
        [],
    ),
    (
        "updateClause",
        lambda s: {**_clause(s), "clause": {**COUNTRY, "op": "endsWith"}},
        lambda s: s["rules"][0]["clauses"][0]["op"],
        "endsWith",
    ),
    (
        "addValuesToClause",
        lambda s: {**_clause(s), "values": ["DK"]},
        lambda s: s["rules"][0]["clauses"][0]["values"],
        ["NO", "DK"],
    ),
    (
        "removeValuesFromClause",
        lambda s: {**_clause(s), "values": ["NO"]},
        lambda s: s["rules"][0]["clauses"][0]["values"],
        [],
    ),
]


def _clause(segment: Any) -> dict[str, str]:
    return {"ruleId": segment["rules"][0]["_id"], "clauseId": segment["rules"][0]["clauses"][0]["_id"]}


def test_every_kind_is_known() -> None:
    """The kinds are those of the vendor's own text, but for big segments; those are refused as unknown."""
    text = vendor.SegmentsApi.patch_segment.__doc__
    assert set(re.findall(r"(?<!#)#### (\w+)", text)) == set(KINDS) | BIG
    assert {kind for kind, *_ in EFFECTS} == set(KINDS)


@pytest.mark.parametrize(("kind", "make", "look", "wanted"), EFFECTS, ids=[kind for kind, *_ in EFFECTS])
def test_effect(
    api: Api, beta: Any, kind: str, make: Callable[[Any], Any], look: Callable[[Any], Any], wanted: Any
) -> None:
    """An instruction does what the vendor says, and raises the version if it changed something."""
    after = semantic(api, {"kind": kind, **make(beta)})
    assert look(after) == wanted
    assert after["version"] == beta["version"] + (kind != "removeExcludedUsers")
    assert api.ask("GET", f"{HERE}/beta", generated.UserSegment) == after


@pytest.mark.parametrize(
    "instruction",
    [
        {"kind": "dance"},
        *({"kind": kind, "values": ["u"]} for kind in sorted(BIG)),
        {"kind": "addExcludedTargets", "contextKind": "user", "values": ["u1"]},
        {"kind": "addIncludedTargets", "contextKind": "org", "values": ["acme"]},
        {"kind": "addIncludedTargets", "contextKind": "org", "values": [str(n) for n in range(BATCH + 1)]},
        {"kind": "updateRuleDescription", "ruleId": "nope"},
        {"kind": "addRule", "clauses": [COUNTRY], "beforeRuleId": "nope"},
        {"kind": "reorderRules", "ruleIds": []},
    ],
    ids=lambda one: one["kind"],
)
def test_refused(api: Api, beta: Any, instruction: Any) -> None:
    """What does not fit is refused, and what stood before it is not done."""
    semantic(api, {"kind": "updateName", "value": "half"}, instruction, status=400)
    assert api.ask("GET", f"{HERE}/beta", generated.UserSegment) == beta


def test_patch_by_path(api: Api, beta: Any) -> None:
    """JSON patch with a tested version, and merge patch."""
    body = [
        {"op": "test", "path": "/version", "value": beta["version"]},
        {"op": "add", "path": "/included/-", "value": "u5"},
        {"op": "add", "path": "/rules/-", "value": {"clauses": [COUNTRY]}},
    ]
    after = api.ask("PATCH", f"{HERE}/beta", generated.UserSegment, json=body)
    assert after["included"] == ["u1", "u2", "u5"]
    assert after["rules"][2]["clauses"][0]["_id"]
    assert api.ask("PATCH", f"{HERE}/beta", status=409, json={"patch": body})["code"] == "optimistic_locking_error"
    merged = api.ask("PATCH", f"{HERE}/beta", generated.UserSegment, json={"merge": {"name": "M"}})
    assert merged["name"] == "M"
    dry = api.ask("PATCH", f"{HERE}/beta", generated.UserSegment, json={"name": "D"}, params={"dryRun": "true"})
    assert (dry["name"], api.ask("GET", f"{HERE}/beta")["name"]) == ("D", "M")
    api.ask("PATCH", f"{HERE}/beta", status=422, json=[{"op": "remove", "path": "/nowhere"}])
    api.ask("PATCH", f"{HERE}/beta", status=400, json=[{"op": "replace", "path": "/key", "value": "x"}])
    api.ask("PATCH", f"{HERE}/beta", status=400, json=[{"op": "remove", "path": "/rules"}])
    api.ask("PATCH", f"{HERE}/beta", status=400, json={"instructions": []})


def test_life(ld: LaunchDarklyEmulator, api: Api, beta: Any) -> None:
    """Listed, made once, seeded by the back door, deleted; a new one under its key is newer to SDKs."""
    assert api.ask("GET", HERE, generated.UserSegments)["totalCount"] == 1
    api.ask("POST", HERE, status=409, json={"key": "beta", "name": "again"})
    api.ask("POST", HERE, status=400, json={"key": "x"})
    api.ask("GET", "/segments/default/nowhere", status=404)
    clause = {"attribute": "plan", "op": "in", "values": ["pro"], "negate": False}
    seed = {"key": "s", "version": 7, "included": ["u"], "rules": [{"id": "r", "clauses": [clause]}]}
    assert ld.put_segment("test", seed) == 7
    assert ld.put_segment("test", {"key": "s", "version": 3, "excluded": ["v"]}) == 8
    seeded = api.ask("GET", "/segments/default/test/s", generated.UserSegment)
    assert (seeded["included"], seeded["rules"][0]["clauses"][0]["values"]) == (["u"], ["pro"])
    api.ask("DELETE", f"{HERE}/beta", status=204)
    api.ask("GET", f"{HERE}/beta", status=404)
    assert ld.everything("production")["segments"] == {}
    again = api.ask("POST", HERE, generated.UserSegment, 201, json={"key": "beta", "name": "Beta"})
    assert again["version"] > beta["version"] + 1
    ld.delete_segment("test", "s")
    ld.delete_segment("test", "s")
    assert api.ask("GET", "/segments/default/test")["items"] == []
