"""Our evaluator answers as splitio-client does; the short form of ``make proof-split-twin``."""

from __future__ import annotations

from random import Random

from openfeature.evaluation_context import EvaluationContext

from tests.proofs.split_random import MATCHERS, World
from tests.proofs.split_twin import Seen, Theirs, compare, ours


def test_ten_thousand_pairs_agree():
    """Treatment, value and reason agree in 10,000 pairs, in which everything came up; docs/proofs has 100,000."""
    wrong, seen = compare(10_000, seed=3)
    assert not wrong, wrong[0]
    assert {kind for kind in MATCHERS if seen.asked[kind] >= 800} == set(MATCHERS)
    assert {kind for kind in MATCHERS if seen.served[kind] >= 20} == set(MATCHERS)
    outcomes = ("killed", "prerequisites not met", "not in split", "whitelist", "rollout", "default rule")
    assert {name for name in outcomes if seen.outcomes[name] >= 100} == set(outcomes)
    assert min(seen.outcomes["definition not found"], seen.outcomes["targeting rule type unsupported by sdk"]) > 0
    assert {"STATIC", "DEFAULT", "DISABLED", "TARGETING_MATCH", "SPLIT"} <= seen.reasons.keys()
    assert min(seen.hashes["murmur"], seen.hashes["legacy"]) > 2_000
    assert min(seen.routes["split"], seen.routes["split twice"], seen.routes["definition"]) > 50


def condition(kind, **data):
    matcher = {"keySelector": None, "matcherType": kind, "negate": False, **data}
    group = {"combiner": "AND", "matchers": [matcher]}
    return {
        "conditionType": "ROLLOUT",
        "label": "l",
        "matcherGroup": group,
        "partitions": [{"treatment": "on", "size": 100}],
    }


def rule_based(name, match, keys, segments):
    excluded = {"keys": keys, "segments": [{"name": n, "type": kind} for n, kind in segments]}
    changed = {"trafficTypeName": "user", "status": "ACTIVE", "changeNumber": 1}
    return {"name": name, "conditions": [match], "excluded": excluded, **changed}


def test_the_one_known_difference():
    """Where an excluded rule-based segment itself excludes, the SDK takes more out, or stops looking; ours does not."""
    named = condition("WHITELIST", whitelistMatcherData={"whitelist": ["a"]})
    inner = rule_based("inner", named, ["c"], [("s", "standard")])
    outer = rule_based("outer", condition("ALL_KEYS"), [], [("inner", "rule-based"), ("t", "standard")])
    asked = condition("IN_RULE_BASED_SEGMENT", userDefinedSegmentMatcherData={"segmentName": "outer"})
    split = {
        "name": "f",
        "trafficTypeName": "user",
        "status": "ACTIVE",
        "changeNumber": 1,
        "killed": False,
        "defaultTreatment": "off",
        "seed": 1,
        "configurations": {},
        "conditions": [asked],
    }
    world = World([split], {"s": ["b"], "t": ["c"]}, [inner, outer], {"f": {"on": True, "off": False}})
    theirs, rules = Theirs(world), ours(world, Random(1), Seen())
    answers = {key: (theirs.ask("f", key, {})[0], asked_of(rules, key)) for key in "abcd"}
    assert answers == {"a": ("off", "off"), "b": ("off", "on"), "c": ("on", "off"), "d": ("on", "on")}


def asked_of(rules, key):
    return rules.evaluate("f", EvaluationContext(key)).variant
