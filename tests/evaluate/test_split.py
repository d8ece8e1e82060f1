"""What is Split's own: its hashes, its bucketing key, how its matchers read attributes, flags that count when off."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ParseError
from openfeature.flag_evaluation import Reason

from flagbrake.evaluate import Ruleset
from flagbrake.evaluate.bucketing import algorithm
from flagbrake.evaluate.vendors.split_values import plain
from flagbrake.model.clause import OURS, SPLIT, Attribute, Clause, OffFlag, Op
from flagbrake.model.flag import (
    Bucketing,
    Distribution,
    Flag,
    Gate,
    KeySet,
    Prerequisite,
    Segment,
    SegmentRule,
    Weight,
    ramp,
)
from flagbrake.model.values import WHOLE
from tests.support.nouns import one_rule

U1 = EvaluationContext("user-1")
OVERRIDE = Attribute(("bucketingKey",))

# Source: splitio/ruby-client, spec/test_data/hash/murmur3-sample-data-v2.csv (the sample data of all Split SDKs):
# key and bucket for the seed 467569525.
MURMUR = [
    ("aUfEsdPN1twuEjff9Sl", 52),
    ("EPxM1cYQnL4AuqD", 79),
    ("cMQGLKXz", 48),
    ("IKH5Ob9veUTJeZr7Mq", 52),
    ("nqzL88XEQX7klw", 11),
    ("uydol0hogbEU8fW5J", 9),
    ("4I7VfKAiVNJmeVlcI", 99),
    ("aG2wQQSox6", 1),
    ("r2aBPo6EbsP3Z4QRuHu", 1),
    ("Mg6FDao", 8),
    ("xZbqZ5Mrq", 4),
    ("g6eCk7K5", 68),
]
# Source: splitio/python-client, tests/engine/files/sample-data.jsonl: seed, key and bucket of the legacy hash.
LEGACY = [
    (973529038, "oHDuTSey2rdeIP2P", 72),
    (-1271841407, "9RZICEV7mvMA3UWizzMJoxEFIc", 21),
    (-1319915559, "dw68EoGTS1WHM40LmVymzKBv", 4),
    (-818122759, "XrhKlQYvxk5QxjYCC3UsI", 25),
    (-684626249, "txLwWMP3LBcN7Qp85E33ZGqCV4A", 83),
    (1942431989, "lFk05x1MMssE18Oab", 27),
    (-358951560, "iNvbfhB7ZTOuB0fNEGWZ", 82),
    (-1013194844, "2iKn92r5WsZ4MCoQIGy7Vx77WBBD", 22),
    (998986890, "k3zLg4WGYxuEBa9mdrrR6ocm", 29),
    (946552021, "kbC24pY4eYJbMPNJblVCCvTeMYeffZsxK2KmnZ", 96),
]
# Measured with splitio-client 10.7.
MORE = [
    ("split-murmur3", 1699838640, "user-1", 60),
    ("split-murmur3", 1699838640, "user-2", 27),
    ("split-murmur3", 1699838640, "ünïcode", 43),
    ("split-murmur3", -1525261488, "user-1", 8),
    ("split-legacy", 1699838640, "user-1", 58),
    ("split-legacy", -1525261488, "user-1", 92),
]


@pytest.mark.parametrize(
    ("name", "seed", "key", "bucket"),
    [
        *(("split-murmur3", 467569525, key, bucket) for key, bucket in MURMUR),
        *(("split-legacy", seed, key, bucket) for seed, key, bucket in LEGACY),
        *MORE,
    ],
)
def test_buckets(name, seed, key, bucket):
    """A key falls into the bucket, 1 to 100, that Split's own sample data say."""
    assert algorithm(name).locate(Bucketing(name, seed=seed), "flag")(key) == bucket


def served(flag, context=U1, *others, segments=()):
    rules = Ruleset({f.key: f for f in (flag, *others)}, {s.key: s for s in segments})
    assert not rules.rejected, rules.rejected
    answer = rules.evaluate(flag.key, context)
    return answer.variant, answer.reason


def shared(share, **rest):
    return Flag.boolean("f", default=ramp("on", share, "off", Bucketing("split-murmur3", seed=1699838640, **rest)))


def test_whole_percents():
    """Bucket 60 is inside from a share of 60 % on, and no fraction below it changes that."""
    assert served(shared(60_000)) == ("on", Reason.SPLIT)
    assert served(shared(59_999)) == ("off", Reason.SPLIT)
    split = Ruleset({"f": shared(60_000)}).explain("f", U1).split
    assert [(part.variant, part.chosen) for part in split.slices] == [("on", True), ("off", False)]


def test_a_seed_that_only_split_knows():
    """A share whose seed is unknown is an error for those who need it, and never a guess."""
    flag = Flag.boolean("f", default=ramp("on", 50_000, "off", Bucketing("split-murmur3")))
    with pytest.raises(ParseError, match="'f' is shared out with a seed that only Split knows"):
        served(flag)


def test_the_bucketing_key():
    """The attribute in the override is hashed where the context has it, else the targeting key."""
    flag = shared(27_000, override=OVERRIDE)
    assert served(flag)[0] == "off"
    assert served(flag, EvaluationContext("user-1", {"bucketingKey": "user-2"}))[0] == "on"
    for nothing in (None, "", 0.5, True, ["user-2"]):
        assert served(flag, EvaluationContext("user-1", {"bucketingKey": nothing}))[0] == "off"
    gate = Gate(8_000, Bucketing("split-murmur3", seed=-1525261488, override=OVERRIDE), "off")
    gated = Flag.boolean("f", default=Distribution((Weight("on", WHOLE),), Bucketing(), gate))
    assert served(gated)[0] == "on"
    assert served(gated, EvaluationContext("user-1", {"bucketingKey": "user-2"}))[0] == "off"
    explained = Ruleset({"f": flag}).explain("f", EvaluationContext("user-1", {"bucketingKey": "user-2"}))
    assert explained.split.unit == "user-2"


CASES = [
    # op, values, matching, not matching (absent never matches, and always when negated)
    (Op.IN, ("5", "true", '["a"]'), [5, "5", True, ["a"], ("a",), {"a"}], [5.0, "True", "[]", b"5", object()]),
    (Op.EQUAL, (5,), [5, "5", " 5 ", "+5"], [5.0, "5.0", True, [5], "five"]),
    (Op.LESS_OR_EQUAL, (18,), [18, "17", -1], [17.5, "17.5", True]),
    (Op.BETWEEN, (1, 3), [1, "2", 3], [2.0, 4]),
    (Op.CONTAINS, ("a",), [["xax"], {"a": 1}, "a", False], ["b", 1, datetime(2026, 1, 1, tzinfo=UTC)]),
    (Op.STARTS_WITH, ("1",), [12, "1", datetime(2000, 1, 1, tzinfo=UTC).replace(year=2004)], [True, "2"]),
    (Op.MATCHES, (r"^\d+$",), [12, "12", "٣"], [1.5, "a", None]),
    (Op.IS, (True,), [True, "true", "TRUE", " true "], [1, "1", "yes", "null"]),
    (Op.SET_EQUAL, ("a", "b"), [["a", "b"], "ab", ("b", "a", "a"), {"a": 1, "b": 2}], ["abc", ["a"], 5]),
    (Op.SET_PART, ("a", "b"), ["a", ["b"]], ["", [], ["c"], True]),
    (Op.SET_ALL, ("a",), ["abc", ["a"]], ["b", 5]),
    (Op.SET_ANY, ("a",), ["cba", ["a", 1]], [[["a"]], 5]),
    (Op.ON, (1_767_225_600_000,), [1_767_225_600, "1767225601", datetime(2026, 1, 1, 23, 59, tzinfo=UTC)], [0, 1e9]),
    (Op.ON_OR_AFTER, ("2026-01-01T00:00:30Z",), [1_767_225_600, 1_767_225_659], [1_767_225_599]),
    (Op.BETWEEN_DATES, (1_767_225_600_000, 1_767_225_659_999), [1_767_225_659], [1_767_225_660, 1_767_225_599]),
    (Op.BEFORE, (1_767_225_600_000,), [1_767_225_599], [1_767_225_600]),
    (Op.SEMVER_EQUAL, ("1.2.3",), ["1.2.3", " 1.02.3"], ["1.2.3+b", "v1.2.3", "1.2", 1]),
    (Op.SEMVER_IN, ("1.2.3", "", "x"), ["1.2.3"], ["x", "1.2.4"]),
    (Op.SEMVER_GREATER_OR_EQUAL, ("1.2.3-b",), ["1.2.3", "1.2.3-b", "1.2.3-b+x", "1.2.3-c"], ["1.2.3-a", "1.2.2"]),
    (Op.SEMVER_LESS, ("1.2.3-10",), ["1.2.3-9", "1.2.3-02"], ["1.2.3-10", "1.2.3-a", "1.2.3"]),
    (Op.SEMVER_BETWEEN, ("1.0.0", "2.0.0"), ["1.0.0", "2.0.0", "2.0.0-rc"], ["0.9.9", "1.0.0-rc", "2.0.1"]),
    (Op.SEMVER_BETWEEN, ("1", "2.0.0"), [], ["1.0.0", "1.5.0"]),
]


@pytest.mark.parametrize(("op", "values", "matching", "others"), CASES)
def test_operators(op, values, matching, others):
    """Attributes are read as Split reads them: numbers in texts, JSON of everything, letters of texts, whole dates."""
    clause = Clause(Attribute(("x",)), op, values, semantics=SPLIT)
    flag, negated = one_rule(clause), one_rule(clause.negated())
    for value in [*matching, *others, None]:
        context = EvaluationContext("u", {"x": value})
        expected = value is not None and any(value is one for one in matching)
        assert served(flag, context)[0] == ("on" if expected else "off"), value
        assert served(negated, context)[0] == ("off" if expected else "on"), value


@pytest.mark.parametrize(("op", "values"), [(Op.LESS, ("5",)), (Op.BETWEEN, (True, 5)), (Op.IS, ("true",))])
def test_literals_are_checked(op, values):
    """A literal of another type than the operator compares is refused when it is loaded."""
    rules = Ruleset({"checkout": one_rule(Clause(Attribute(("x",)), op, values, semantics=SPLIT))})
    assert "checkout" in rules.rejected


def test_a_flag_that_is_off_may_count():
    """What a flag serves when it is off meets a prerequisite or a clause where the semantics say so, else not."""
    off = Flag.boolean("other", on=False)
    for counts, variant in ((OffFlag.SERVES, "on"), (OffFlag.UNMET, "off")):
        asking = Flag.boolean("f", prerequisites=(Prerequisite("other", ("off",), counts),))
        assert served(asking, U1, off)[0] == variant
        explained = Ruleset({"f": asking, "other": off}).explain("f", U1)
        assert explained.prerequisites[0].met is (variant == "on")
    for semantics, variant in ((SPLIT, "on"), (OURS, "off")):
        clause = Clause(Attribute(("other",)), Op.FLAG, ("off",), semantics=semantics)
        assert served(one_rule(clause), U1, off)[0] == variant
    missing = Flag.boolean("f", prerequisites=(Prerequisite("ghost", ("off",), OffFlag.SERVES),))
    assert served(missing)[0] == "off"


def test_segments_may_exclude_segments():
    """A member of an excluded segment is out, whatever the rules say, and in where it is included by key."""
    inner = Segment("inner", included=(KeySet(("user-1",)),))
    rule = SegmentRule((Clause(Attribute(), Op.ALWAYS),))
    outer = Segment("outer", rules=(rule,), excluded_segments=("inner", "ghost"))
    asked = one_rule(Clause(Attribute(), Op.SEGMENT, ("outer",)))
    assert served(asked, U1, segments=(inner, outer))[0] == "off"
    assert served(asked, EvaluationContext("user-2"), segments=(inner, outer))[0] == "on"
    named = Segment("outer", included=(KeySet(("user-1",)),), excluded_segments=("inner",))
    assert served(asked, U1, segments=(inner, named))[0] == "on"
    circle = Segment("inner", excluded_segments=("outer",))
    assert "segment:outer" in Ruleset({}, {"outer": outer, "inner": circle}).rejected


def test_what_holds_itself_is_read_once() -> None:
    """A list or a mapping that holds itself, and more than once, is left out inside itself: nobody waits for it."""
    items: list[Any] = [1]
    items.extend([items, items])
    parent: dict[str, Any] = {"name": "root"}
    parent |= {"child": {"parent": parent, "top": parent}, "same": [parent, items], "items": items}
    assert plain(items) == [1]
    assert plain(parent) == {"name": "root", "child": {}, "same": [[1]], "items": [1]}
