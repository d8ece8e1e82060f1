"""LaunchDarkly's bucketing and the places of units that are not there."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import InvalidContextError, TargetingKeyMissingError

from flagbrake.errors import InvalidInput
from flagbrake.evaluate import Ruleset
from flagbrake.evaluate.bucketing import algorithm
from flagbrake.evaluate.vendors.launchdarkly import NOBODY, SHA1, double, millis, plain
from flagbrake.model.clause import LAUNCHDARKLY, Attribute, Clause, Op
from flagbrake.model.flag import (
    Bucketing,
    Distribution,
    Flag,
    FlagKind,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
    Variant,
    Weight,
)
from flagbrake_launchdarkly import context as sent


@pytest.mark.parametrize(
    ("seed", "key", "salt", "unit", "bucket"),
    [
        (None, "hashKey", "saltyA", "userKeyA", 0.4215758743392494),
        (None, "hashKey", "saltyA", "userKeyC", 0.1034310617276969),
        (61, "hashKey", "saltyA", "userKeyA", 0.0980120652476667),
        (None, "checkout", "6f2a", "user-1", 0.003626089781881836),
        (None, "checkout", "6f2a", "user-2", 0.9946516198336016),
        (None, "checkout", "6f2a", "ünïcode", 0.979388135099498),
    ],
)
def test_vectors(seed, key, salt, unit, bucket):
    """The vendor's own test vectors and some more, to the last bit: sha1 of "key.salt.unit" or "seed.unit"."""
    made = algorithm(SHA1)
    assert made.locate(Bucketing(SHA1, salt, seed), key)(unit) == pytest.approx(bucket, abs=1e-15)
    assert made.locate(Bucketing(SHA1, salt, seed, group=key), "renamed")(unit) == pytest.approx(bucket, abs=1e-15)


def test_shares_are_summed_as_the_sdk_sums():
    """0.1 + 0.2 is not 0.3: a bound is the sum of floats, not the float of a sum."""
    assert algorithm(SHA1).bounds([10_000, 20_000, 70_000])[1] == 0.1 + 0.2


def test_a_salt_that_is_no_text_is_refused():
    """Half of a surrogate pair cannot be hashed; the flag is refused before it replaces another."""
    with pytest.raises(InvalidInput):
        algorithm(SHA1).locate(Bucketing(SHA1, "\ud800"), "flag")


def ask(serve, context, **rest):
    """The variant of a flag with four variants that serves this to everybody."""
    flag = Flag("f", FlagKind.STRING, tuple(Variant(n, n) for n in "abcd"), serve, **rest)
    return Ruleset({"f": flag}).evaluate("f", context).variant


def dealt(*shares, by="targetingKey", kind="user"):
    weights = tuple(Weight(n, s) for n, s in zip("abcd", shares, strict=False))
    return Distribution(weights, Bucketing(SHA1, "salt", attribute=Attribute((by,), kind)))


def test_a_missing_attribute_falls_at_the_start():
    """The first variant with a share; the same for a value that is no text and no whole number."""
    for attributes in ({}, {"plan": None}, {"plan": True}, {"plan": 1.5}, {"plan": ["x"]}):
        assert ask(dealt(0, 1, 99_999, by="plan"), EvaluationContext("u", attributes)) == "b"
    assert ask(dealt(1, 99_999, by="plan"), EvaluationContext("u", {"plan": 5})) == "b"


def test_a_missing_kind_falls_before_the_start():
    """The first variant, even with a share of nothing."""
    split = dealt(0, 50_000, 50_000, kind="org")
    assert ask(split, EvaluationContext("u", {})) == "a"
    assert ask(split, EvaluationContext("u", {"org": {"name": "no key"}})) == "a"
    assert ask(split, EvaluationContext("u", {"org": {"targetingKey": "acme"}})) in "bc"


def test_no_targeting_key_is_said():
    """A rollout by targeting key does not give the stand-in's variant to everybody who has no key."""
    with pytest.raises(TargetingKeyMissingError):
        ask(dealt(50_000, 50_000), EvaluationContext("", {}))
    assert ask(dealt(0, 100_000), EvaluationContext("", {})) == "b"


def test_halves_of_letters_are_said():
    """A unit that is no valid Unicode is an error, as in the SDK."""
    with pytest.raises(InvalidContextError):
        ask(dealt(50_000, 50_000, by="plan"), EvaluationContext("u", {"plan": "\ud800"}))


@pytest.mark.parametrize(
    ("attribute", "attributes", "seen"),
    [
        ("anonymous", {}, False),
        ("anonymous", {"anonymous": True}, True),
        ("anonymous", {"anonymous": "yes"}, False),
        ("name", {"name": 5}, None),
        ("name", {"name": "Ann"}, "Ann"),
        ("key_", {"key": "mine"}, "mine"),
        ("privateAttributes", {"privateAttributes": ["a"]}, None),
        ("org:country", {"org": {"country": "DE"}}, None),
        ("org:country", {"org": {"country": "DE", "targetingKey": "acme"}}, "DE"),
        ("org:/site/city", {"org": {"site": {"city": "X", "targetingKey": "in"}, "targetingKey": "acme"}}, None),
        ("/user:country", {"user": {"country": "DE"}, "country": "FR"}, None),
        ("/user:country", {"user": {"country": "DE", "targetingKey": "dana"}}, "DE"),
        ("at", {"at": datetime(2026, 1, 31, tzinfo=UTC)}, "2026-01-31T00:00:00+00:00"),
        ("n", {"n": Decimal("18.5")}, 18.5),
        ("n", {"n": float("nan")}, None),
    ],
)
def test_what_a_clause_reads(attribute, attributes, seen):
    """Kinds exist with their keys; names that LaunchDarkly keeps for itself have its meaning."""
    wanted = Clause(Attribute.parse(attribute), Op.IN, (seen,) if seen is not None else (), False, LAUNCHDARKLY)
    there = Clause(Attribute.parse(attribute), Op.PRESENT, (), False, LAUNCHDARKLY)
    context = EvaluationContext("u", attributes)
    for clause, expected in ((wanted, seen is not None), (there, seen is not None)):
        assert (ask("b", context, rules=(Rule("r", (clause,), "a"),)) == "a") is expected


def test_kind_is_the_list_of_kinds():
    """A context that is nothing but contexts of other kinds has no user."""

    def kinds(key, attributes):
        return {
            kind
            for kind in ("user", "org", "device")
            if ask(
                "b",
                EvaluationContext(key, attributes),
                rules=(Rule("r", (Clause(Attribute(("kind",)), Op.IN, (kind,), False, LAUNCHDARKLY),), "a"),),
            )
            == "a"
        }

    org = {"targetingKey": "acme"}
    assert kinds("u", {}) == {"user"}
    assert kinds("u", {"org": org, "device": {"no": "key"}}) == {"user", "org"}
    assert kinds("", {"org": org}) == {"org"}
    assert kinds("", {"org": org, "plan": "x"}) == {"user", "org"}


def test_a_prerequisite_that_is_stopped_serves_its_off_variant():
    """It is on, so what it serves counts; one that is off is never met."""

    def flag(key, asked, *, on=True):
        return Flag.boolean(key, on=on, prerequisites=tuple(Prerequisite(k, (v,)) for k, v in asked))

    flags = [flag("off", [], on=False), flag("stopped", [("off", "on")]), flag("asks", [("stopped", "off")])]
    rules = Ruleset({f.key: f for f in [*flags, flag("asks-off", [("off", "off")])]})
    assert rules.evaluate("asks", EvaluationContext("u")).variant == "on"
    assert rules.evaluate("asks-off", EvaluationContext("u")).variant == "off"
    assert rules.explain("asks", EvaluationContext("u")).prerequisites[0].met
    assert not rules.explain("asks-off", EvaluationContext("u")).prerequisites[0].met


def test_a_segment_deals_by_its_own_key_and_salt():
    """ "segment.salt.unit", below the rule's share."""
    rule = SegmentRule((), 50_000, Bucketing(SHA1, "salt"))
    inside = Clause(Attribute(), Op.SEGMENT, ("beta",), False, LAUNCHDARKLY)
    flag = Flag.boolean("f", default="off", rules=(Rule("r", (inside,), "on"),))
    rules = Ruleset({"f": flag}, {"beta": Segment("beta", rules=(rule,))})
    place = algorithm(SHA1).locate(Bucketing(SHA1, "salt"), "beta")
    for number in range(50):
        unit = f"user-{number}"
        assert (rules.evaluate("f", EvaluationContext(unit)).variant == "on") is (place(unit) < 0.5)


def test_explaining_shows_the_place():
    """Also of a unit that the context does not name."""
    flag = Flag("f", FlagKind.STRING, (Variant("a", "a"), Variant("b", "b")), dealt(30_000, 70_000, by="plan"))
    rules = Ruleset({"f": flag})
    shown = rules.explain("f", EvaluationContext("u", {})).split
    assert (shown.bucket, [s.chosen for s in shown.slices]) == (0, [True, False])
    shown = rules.explain("f", EvaluationContext("u", {"plan": "pro"})).split
    given = rules.evaluate("f", EvaluationContext("u", {"plan": "pro"})).variant
    assert next(s.variant for s in shown.slices if s.chosen) == given


def test_numbers_are_floats():
    """Whole numbers above 2**53 may be equal; what no float holds is an error, as in the SDK."""
    assert double(2**53 + 1) == 2.0**53
    assert double(True) is None
    assert double("5") is None
    with pytest.raises(InvalidContextError):
        double(10**400)


def test_moments():
    """Any form of ISO 8601 with an offset, or milliseconds."""
    assert millis("2026-01-31T12:00:00Z") == millis("20260131T140000+0200") == 1_769_860_800_000.0
    assert [millis(v) for v in ("2026-01-31", "2026-01-31T12:00:00", "soon", True, None)] == [None] * 5


def test_the_provider_sends_what_the_evaluator_reads():
    """Two files, one rule: the stand-in's key and what becomes of values."""
    assert sent.NOBODY == NOBODY
    values = [
        1,
        "x",
        True,
        1.5,
        float("inf"),
        datetime(2026, 1, 1),  # noqa: DTZ001 - a naive one is meant
        Decimal("2.0"),
        b"x",
        None,
        [1, None, float("nan")],
    ]
    assert [plain(v) for v in values] == [sent.json_value(v) for v in values]
