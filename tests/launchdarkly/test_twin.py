"""Our evaluator answers a translated LaunchDarkly flag as LaunchDarkly's SDK answers the original."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from ldclient import Config, LDClient
from ldclient.versioned_data_kind import FEATURES, SEGMENTS
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from flagbrake.evaluate.vendors import launchdarkly as dialect
from flagbrake.model.clause import LAUNCHDARKLY, Coercion, Contexts, Dates, ListMode, OnMissing, Semver
from flagbrake.model.loss import Severity
from flagbrake_launchdarkly.connection import _evaluation
from flagbrake_launchdarkly.context import context_maker
from flagbrake_launchdarkly.options import SdkOptions
from flagbrake_launchdarkly.provider import LaunchDarklyProvider
from flagbrake_launchdarkly.received import Received
from flagbrake_launchdarkly.translate import conditions
from tests.proofs import launchdarkly_worlds as worlds
from tests.proofs.launchdarkly_twin import _placed, compare, ours_of

#: Every operator of the model that a LaunchDarkly clause becomes.
OPERATORS = {
    "after",
    "always",
    "before",
    "contains",
    "ends_with",
    "greater",
    "greater_or_equal",
    "in",
    "less",
    "less_or_equal",
    "matches",
    "segment",
    "semver_equal",
    "semver_greater",
    "semver_less",
    "starts_with",
}


def test_fifteen_thousand_pairs_agree():
    """The short form of the proof ``python -m tests.proofs.launchdarkly_twin``; its full result is in docs/proofs.

    It has seen every operator match and fail, every reason, and models written back.
    """
    done = compare(15_000, seed=20_261)
    assert not done.wrong, done.wrong[0]
    seen = {(op, hit) for (op, hit), times in done.clauses.items() if times >= 20}
    assert {(op, hit) for op in OPERATORS for hit in (True, False)} <= seen
    least = {"FALLTHROUGH": 3000, "RULE_MATCH": 1000, "TARGET_MATCH": 100, "OFF": 500, "PREREQUISITE_FAILED": 500}
    least |= {"ERROR": 20, "NO_TARGETING_KEY": 50}
    assert not {reason: done.reasons[reason] for reason, times in least.items() if done.reasons[reason] < times}
    assert done.written_back > 1000


def test_units_of_another_kind_agree():
    """With ``context_kind`` the kinds of the documents are read as those of the model, and written back."""
    done = compare(12_000, seed=11, unit="device")
    assert not done.wrong, done.wrong[0]
    least = {"FALLTHROUGH": 1000, "RULE_MATCH": 500, "TARGET_MATCH": 50, "NO_TARGETING_KEY": 5}
    assert not {reason: done.reasons[reason] for reason, times in least.items() if done.reasons[reason] < times}
    assert done.written_back > 300


@pytest.mark.parametrize("unit", ["user", "device"])
def test_where_a_key_is_missing_is_one_question(unit):
    """Without a targeting key our provider over the SDK and our evaluator answer, or miss the key, for the same flags.

    Left out are flags with a user's target that the SDK never meets, which the provider takes for one that it may.
    """
    random, seen = Random(23), Counter()
    received = Received(lambda _: None, unit)
    client = LDClient(Config("sdk-key", use_ldd=True, feature_store=received, send_events=False))
    provider = LaunchDarklyProvider(SdkOptions("sdk-key"))
    provider._received, provider._context = received, context_maker(unit)
    provider._evaluate, provider._factory = _evaluation(client)
    try:
        for _ in range(700):
            world = worlds.environment(random)
            rules, done = ours_of(world, unit)
            if any(loss.severity in {Severity.EDGE, Severity.ANSWERS} for loss in done.losses):
                continue
            received.init({FEATURES: world["flags"], SEGMENTS: world["segments"]})
            attributes = {k: v for k, v in worlds.context(random).attributes.items() if k not in {unit, "score"}}
            context = EvaluationContext(None, attributes)
            for key in (key for key, flag in world["flags"].items() if _placed(flag)):
                theirs, ours = answer_of(provider.resolve, key, context), answer_of(rules.evaluate, key, context)
                assert theirs == ours, (world["flags"][key], attributes)
                seen[theirs[1]] += 1
    finally:
        client.close()
    assert min(seen[what] for what in ("TARGETING_KEY_MISSING", "SPLIT", "DISABLED", "TARGETING_MATCH")) >= 3, seen


def answer_of(evaluate, key, context):
    """Variant and reason, or the error."""
    try:
        given = evaluate(key, context)
    except OpenFeatureError as error:
        return None, str(error.error_code)
    return given.variant, str(given.reason)


@pytest.mark.parametrize(
    "otherwise",
    [
        {"coercion": Coercion.STRICT},
        {"semver": Semver.STRICT},
        {"dates": Dates.RFC3339_OR_MILLIS},
        {"contexts": Contexts.OPEN},
        {"on_missing": OnMissing.AS_FALSE},
        {"list_mode": ListMode.NONE},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_the_dialect_is_needed(monkeypatch, otherwise):
    """With any one field of the dialect read as ours (or as another vendor does) the twins disagree."""
    monkeypatch.setattr(conditions, "LAUNCHDARKLY", replace(LAUNCHDARKLY, **otherwise))
    assert compare(40_000, seed=5, until_wrong=True).wrong


@pytest.mark.parametrize("place", ["_UNNAMED", "_STRANGER"])
def test_places_of_units_that_are_not_there_are_needed(monkeypatch, place):
    """A unit that the context does not name falls at the start, one of a kind that is not there before it."""
    monkeypatch.setattr(dialect, place, 0.99)
    assert compare(10_000, seed=5, until_wrong=True).wrong
