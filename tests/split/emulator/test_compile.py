"""From a definition of the management API to the split that the real SDK reads."""

from __future__ import annotations

from typing import Any

import pytest
from splitio.models import rule_based_segments, splits

from flagbrake_split.emulator.compile import (
    MATCHER_TYPES,
    Hashing,
    NotCompilable,
    compile_matcher,
    compile_segment,
    compile_split,
    definition_of,
    matcher_of,
)
from flagbrake_split.translate import Hashing as TheirHashing
from flagbrake_split.translate import split_from_definition

HASHING = Hashing(seed=1699838640, allocation_seed=-1525261488)
VALUES: dict[str, dict[str, Any]] = {
    "ALL_KEYS": {},
    "IN_SEGMENT": {"string": "vip"},
    "IN_RULE_BASED_SEGMENT": {"string": "beta"},
    "IN_SPLIT": {"depends": {"splitName": "other", "treatments": ["on", "v2"]}},
    "BOOLEAN": {"attribute": "paid", "bool": True},
    "MATCHES_STRING": {"attribute": "mail", "string": "@example"},
    "BETWEEN_DATE": {"attribute": "since", "between": {"from": 1_600_000_000_000, "to": 1_700_000_000_000}},
    "BETWEEN_NUMBER": {"attribute": "age", "between": {"from": 18, "to": 99}},
    "BETWEEN_SEMVER": {"attribute": "app", "between": {"from": "1.0.0", "to": "2.0.0"}},
    **{kind: {"attribute": "since", "date": 1_600_000_000_000} for kind in MATCHER_TYPES if kind.startswith("ON_")},
    **{kind: {"attribute": "age", "number": 18} for kind in MATCHER_TYPES if kind.endswith("EQUAL_NUMBER")},
    "EQUAL_NUMBER": {"attribute": "age", "number": 18},
    **{kind: {"attribute": "tags", "strings": ["a", "b"]} for kind in MATCHER_TYPES if kind.endswith("_SET")},
    "IN_LIST_STRING": {"attribute": "plan", "strings": ["pro"]},
    "STARTS_WITH_STRING": {"attribute": "plan", "strings": ["p"]},
    "ENDS_WITH_STRING": {"attribute": "plan", "strings": ["o"]},
    "CONTAINS_STRING": {"attribute": "plan", "strings": ["r"]},
    "IN_LIST_SEMVER": {"attribute": "app", "strings": ["1.0.0"]},
    **{kind: {"attribute": "app", "string": "1.2.3"} for kind in MATCHER_TYPES if kind.endswith("TO_SEMVER")},
}


def split(**definition: Any) -> dict[str, Any]:
    """A compiled definition."""
    whole = {
        "name": "refunds",
        "treatments": [{"name": "v2", "configurations": '{"model": "b"}'}, {"name": "v1"}],
        "defaultTreatment": "v1",
        "defaultRule": [{"treatment": "v2", "size": 30}, {"treatment": "v1", "size": 70}],
        **definition,
    }
    return compile_split(whole, hashing=HASHING, change_number=7, rule_based={"beta"})


def test_every_matcher_has_an_example() -> None:
    """The table below asks every matcher type."""
    assert set(VALUES) == MATCHER_TYPES


@pytest.mark.parametrize("kind", sorted(VALUES))
@pytest.mark.parametrize("negate", [False, True])
def test_matchers(kind: str, negate: bool) -> None:
    """The SDK reads every matcher type, and the way back gives the same matcher."""
    matcher = {"type": kind, "negate": negate, **VALUES[kind]}
    compiled = compile_matcher(matcher, traffic_type="user")
    parsed = splits.from_raw(
        split(rules=[{"condition": {"matchers": [matcher]}, "buckets": [{"treatment": "v2", "size": 100}]}])
    )
    assert len(parsed.conditions) == 2, "an unknown matcher would have left the SDK's substitute, which is alone"
    assert parsed.conditions[0].matchers[0]._matcher_type == compiled["matcherType"]
    assert matcher_of(compiled) == matcher


@pytest.mark.parametrize(
    "matcher",
    [{"type": "SOUNDS_LIKE"}, {"string": "x"}, {"type": "IN_LIST_STRING"}, {"type": "IN_SPLIT", "depends": {}}],
)
def test_what_no_sdk_understands(matcher: dict[str, Any]) -> None:
    """An unknown type, or a type without its value, is refused: an SDK would answer control to the whole flag."""
    with pytest.raises(NotCompilable):
        compile_matcher(matcher, traffic_type="user")


def test_order() -> None:
    """Individual keys, individual segments, rules, the default rule for everybody: in this order."""
    made = split(
        treatments=[{"name": "v2", "segments": ["vip"], "keys": ["ann"]}, {"name": "v1", "keys": ["bob", "cleo"]}],
        rules=[
            {
                "condition": {"combiner": "AND", "matchers": [{"type": "BOOLEAN", "attribute": "paid", "bool": True}]},
                "buckets": [{"treatment": "v1", "size": 100}],
            }
        ],
    )
    shown = [
        (c["conditionType"], [m["matcherType"] for m in c["matcherGroup"]["matchers"]], c["partitions"][0]["treatment"])
        for c in made["conditions"]
    ]
    assert shown == [
        ("WHITELIST", ["WHITELIST"], "v2"),
        ("WHITELIST", ["WHITELIST"], "v1"),
        ("WHITELIST", ["IN_SEGMENT"], "v2"),
        ("ROLLOUT", ["EQUAL_TO_BOOLEAN"], "v1"),
        ("ROLLOUT", ["ALL_KEYS"], "v2"),
    ]


def test_whole() -> None:
    """Everything that a definition says stands in the split, with the seeds that it does not say."""
    made = split(
        killed=True,
        trafficAllocation=50,
        prerequisites=[{"n": "a", "ts": ["on"]}, {"name": "b", "treatments": ["v1", "v2"]}],
    )
    assert made["killed"] is True
    assert (made["trafficAllocation"], made["trafficAllocationSeed"]) == (50, HASHING.allocation_seed)
    assert (made["algo"], made["seed"], made["changeNumber"], made["status"]) == (2, HASHING.seed, 7, "ACTIVE")
    assert made["configurations"] == {"v2": '{"model": "b"}'}
    assert made["prerequisites"] == [{"n": "a", "ts": ["on"]}, {"n": "b", "ts": ["v1", "v2"]}]
    assert splits.from_raw(made).killed


def test_rule_based_segments_by_name() -> None:
    """A rule that asks for a segment asks for its rules where the segment has rules."""
    matchers = [{"type": "IN_SEGMENT", "string": name} for name in ("beta", "vip")]
    made = split(rules=[{"condition": {"matchers": matchers}, "buckets": [{"treatment": "v2", "size": 100}]}])
    kinds = [m["matcherType"] for m in made["conditions"][0]["matcherGroup"]["matchers"]]
    assert kinds == ["IN_RULE_BASED_SEGMENT", "IN_SEGMENT"]


def test_back() -> None:
    """A split from the back door is shown as the definition that compiles into it."""
    made = split(
        treatments=[
            {"name": "v2", "keys": ["ann"], "segments": ["vip"], "configurations": "{}"},
            {"name": "v1"},
            {"name": "v3", "configurations": "3"},
        ],
        rules=[
            {
                "condition": {"matchers": [{"type": "ALL_KEYS", "negate": True}]},
                "buckets": [{"treatment": "v1", "size": 100}],
            }
        ],
        prerequisites=[{"n": "a", "ts": ["on"]}],
        impressionsDisabled=True,
    )
    again = compile_split(definition_of(made), hashing=HASHING, change_number=7)
    for condition in [*made["conditions"], *again["conditions"]]:
        condition.pop("label")
    assert again == made


def test_back_impossible() -> None:
    """What no definition says is refused by name."""
    made = split()
    target = compile_matcher({"type": "IN_LIST_STRING", "strings": ["ann"]}, traffic_type="user")
    made["conditions"].append({**made["conditions"][0], "conditionType": "WHITELIST"})
    made["conditions"][-1]["matcherGroup"] = {"combiner": "AND", "matchers": [target]}
    with pytest.raises(NotCompilable, match="after a rule"):
        definition_of(made)


def test_rule_based_segment() -> None:
    """The SDK reads a rule-based segment, with what it excludes."""
    made = compile_segment(
        {
            "name": "beta",
            "rules": [{"condition": {"matchers": [{"type": "BOOLEAN", "attribute": "paid", "bool": True}]}}],
            "excludedKeys": ["ann"],
            "excludedSegments": [
                {"name": "vip", "type": "standard_segment"},
                {"name": "alpha", "type": "rule_based_segment"},
            ],
        },
        change_number=3,
        traffic_type="user",
    )
    parsed = rule_based_segments.from_raw(made)
    assert parsed.excluded.get_excluded_keys() == ["ann"]
    assert [s.type.value for s in parsed.excluded.get_excluded_segments()] == ["standard", "rule-based"]
    assert len(parsed.conditions) == 1


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_two_readings(kind: str) -> None:
    """The emulator and the adapter, written apart, read a definition in the same way."""
    whole = {
        "name": "refunds",
        "killed": True,
        "treatments": [
            {"name": "v2", "keys": ["ann"], "segments": ["vip"], "configurations": "{}"},
            {"name": "v1", "keys": ["bob"]},
        ],
        "defaultTreatment": "v1",
        "trafficAllocation": 70,
        "prerequisites": [{"name": "parent", "treatments": ["on"]}],
        "rules": [
            {
                "condition": {"combiner": "AND", "matchers": [{"type": kind, **VALUES[kind]}]},
                "buckets": [{"treatment": "v2", "size": 100}],
            }
        ],
        "defaultRule": [{"treatment": "v2", "size": 30}, {"treatment": "v1", "size": 70}],
    }
    here = compile_split(whole, hashing=HASHING, change_number=7, rule_based={"beta"})
    there = split_from_definition(
        whole, hashing=TheirHashing(HASHING.seed, HASHING.allocation_seed), change_number=7, rule_based={"beta"}
    )
    assert here == there
