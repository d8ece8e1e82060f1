"""Our evaluator answers as Unleash's engine does; the short form of ``make proof-unleash-twin``."""

from __future__ import annotations

import json
from random import Random

from openfeature.evaluation_context import EvaluationContext

from flagbrake.model.loss import Severity
from flagbrake_unleash.translate import read_feature
from tests.proofs.unleash_random import OPERATORS, STRATEGIES, World
from tests.proofs.unleash_twin import Seen, Theirs, answer, compare, ours


def test_ten_thousand_pairs_agree():
    """On or off, variant and value agree in 10,000 pairs, in which everything came up; docs/proofs has 100,000."""
    wrong, seen = compare(10_000, seed=3)
    assert not wrong, wrong[0]
    assert {name for name in OPERATORS if seen.operators[name] >= 300} == set(OPERATORS)
    assert {name for name in OPERATORS if seen.served[name] >= 10} == set(OPERATORS)
    assert {name for name in STRATEGIES if seen.strategies[name] >= 200} == set(STRATEGIES)
    known = ("on", "off", "disabled", "variant", "dependent on", "dependent off", "drawn")
    assert {name for name in known if seen.answers[name] >= 60} == set(known)
    assert seen.answers["drawn, and all lots alike"] < seen.answers["drawn"] / 2
    assert {"STATIC", "DEFAULT", "DISABLED", "TARGETING_MATCH", "SPLIT"} <= seen.reasons.keys()
    assert min(seen.routes["read"], seen.routes["written"]) > 100


def test_one_bad_part_switches_the_feature_off():
    """The engine cannot read a feature of which one strategy is broken: it is off for everybody, and that is told."""
    fine = {"name": "default", "constraints": []}
    for bad in (
        {"name": "flexibleRollout", "parameters": {"rollout": "160"}},
        {"name": "default", "segments": [7]},
        {"name": "default", "constraints": [{"contextName": "age", "operator": "NUM_GT", "value": "abc"}]},
        {"name": "default", "constraints": [{"contextName": "age", "operator": "STR_CONTAINS", "values": []}]},
    ):
        feature = {"name": "f", "enabled": True, "strategies": [fine, bad]}
        read = read_feature(feature, {})
        assert [loss.severity for loss in read.losses] == [Severity.NOTE]
        world = World([feature], [])
        asked = answer(ours(world, Random(0), Seen()), feature, EvaluationContext("u1"), Seen())
        assert asked == Theirs(world).ask("f", {"userId": "u1"}) == (False, None, None)


def test_the_known_difference():
    """A parent without a group is dealt by its child's name, but only when the child asks: ours deals it by its own."""
    parent = {
        "name": "p",
        "enabled": True,
        "strategies": [{"name": "flexibleRollout", "parameters": {"rollout": "50"}}],
    }
    child = {"name": "c", "enabled": True, "strategies": [], "dependencies": [{"feature": "p"}]}
    world = World([parent, child], [])
    theirs, units = Theirs(world), [f"u{n}" for n in range(200)]
    assert any(theirs.ask("p", {"userId": u})[0] != theirs.ask("c", {"userId": u})[0] for u in units)
    losses = read_feature(child, {}, others={"p": parent}).losses
    assert [loss.severity for loss in losses] == [Severity.UNITS]
    grouped = json.loads(json.dumps(parent))
    grouped["strategies"][0]["parameters"]["groupId"] = "g"
    theirs = Theirs(World([grouped, child], []))
    assert all(theirs.ask("p", {"userId": u})[0] == theirs.ask("c", {"userId": u})[0] for u in units)
    assert not read_feature(child, {}, others={"p": grouped}).losses
