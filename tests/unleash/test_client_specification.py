"""Our evaluator on Unleash's own client specification: every flag translated, every case asked."""

from __future__ import annotations

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, TargetingKeyMissingError

from flagbrake.evaluate import Ruleset
from flagbrake.model.codec import dumps, flag_from_data, flag_to_data, loads, segment_from_data, segment_to_data
from flagbrake.model.values import USE_DEFAULT
from flagbrake.ports.clock import SystemClock
from flagbrake_unleash.payload import value_of_payload
from flagbrake_unleash.provider import merged
from flagbrake_unleash.translate import DISABLED, is_plain, read_feature, segment_from
from tests.unleash.servers import needed
from tests.unleash.specification import cases

ALL = list(cases())


def state_of(state):
    """Features and segments by name and number, events of a stream put together."""
    features = {f["name"]: f for f in state.get("features") or ()}
    segments = {s["id"]: s for s in state.get("segments") or ()}
    for event in state.get("events") or ():
        features, segments = merged(event, features, segments)
    return features, segments


def ruleset(state):
    """Every feature and segment as our evaluator has them, once through JSON."""
    features, segments = state_of(state)
    flags = {name: read_feature(f, segments, others=features).result for name, f in features.items()}
    return Ruleset(
        {name: flag_from_data(loads(dumps(flag_to_data(flag)))) for name, flag in flags.items()},
        {s.key: segment_from_data(loads(dumps(segment_to_data(s)))) for s in map(segment_from, segments.values())},
        clock=SystemClock().now,
    )


def context_of(context):
    """The evaluation context of a case: the user is the targeting key, all else are attributes."""
    attributes = {name: value for name, value in context.items() if name not in {"userId", "properties"}}
    return EvaluationContext(context.get("userId"), {**attributes, **(context.get("properties") or {})})


def answered(case):
    """What ours answers, in the words of the specification; a payload is told as its value."""
    features, _ = state_of(case.state)
    feature = features.get(case.flag)
    plain = feature is None or is_plain(feature)
    try:
        details = ruleset(case.state).evaluate(case.flag, context_of(case.context))
        variant, value = details.variant, details.value
    except FlagNotFoundError:
        variant, value = None, False
    except TargetingKeyMissingError:
        # Which variant is drawn by lot: on it is with any.
        assert case.expected is True
        return True
    enabled = value is True if plain else variant not in {None, DISABLED}
    if isinstance(case.expected, bool):
        return enabled
    named = enabled and not plain and value is not USE_DEFAULT
    said = {"name": variant if named else DISABLED, "enabled": named, "feature_enabled": enabled}
    return {**said, "payload": value} if named and value != variant else said


def expected(case):
    """What the specification says, a payload as its value."""
    if isinstance(case.expected, bool) or "payload" not in case.expected:
        return case.expected
    return {**case.expected, "payload": value_of_payload(case.expected["payload"])}


@pytest.mark.parametrize("case", ALL, ids=[f"{c.file}: {c.description}" for c in ALL])
def test_case(case):
    """The flag that the feature is translated to answers as the specification says."""
    assert answered(case) == expected(case)


def test_every_case_is_asked():
    """All 22 files of the specification, the streams' events among them, and none left out."""
    needed()
    assert len({case.file for case in ALL}) == 22
    assert len(ALL) == 279
