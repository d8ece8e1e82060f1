"""Unleash's dialect, operator by operator, and its hash; ``tests/unleash/test_twin.py`` has the engine beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import TargetingKeyMissingError

from flagbrake.errors import InvalidInput, Unsupported
from flagbrake.evaluate import Ruleset
from flagbrake.evaluate.bucketing import algorithm
from flagbrake.evaluate.checks import check
from flagbrake.evaluate.vendors.chrono import moment
from flagbrake.evaluate.vendors.rust_regex import search
from flagbrake.evaluate.vendors.unleash import MURMUR, VARIANTS
from flagbrake.model.clause import OURS, UNLEASH, Attribute, Case, Clause, OffFlag, OnMissing, Op
from flagbrake.model.flag import Bucketing, Distribution, Flag, Gate, Prerequisite, Rule, Variant, Weight
from flagbrake.model.values import USE_DEFAULT, WHOLE, FlagKind
from tests.support.nouns import one_rule

FOLDED = replace(UNLEASH, case=Case.INSENSITIVE)
PRESENT = replace(UNLEASH, on_missing=OnMissing.NO_MATCH)


def matches(op, values, attributes, *, semantics=UNLEASH, negate=False, name="x", key=None):
    clause = Clause(Attribute.parse(name), op, tuple(values), negate, semantics)
    rules = Ruleset({"checkout": one_rule(clause)}, clock=lambda: datetime(2026, 7, 1, tzinfo=UTC))
    return rules.evaluate("checkout", EvaluationContext(key, attributes)).variant == "on"


@pytest.mark.parametrize(
    ("op", "value", "yes", "no"),
    [
        (Op.IN, "5", ["5", 5, 5.0], ["5.0", "05", True]),
        (Op.IN, "true", ["true", True], ["True", 1]),
        (Op.IN, '["a"]', [["a"], ("a",)], ["a", {"a"}]),
        (Op.IN, "2026-01-01T00:00:00+00:00", [datetime(2026, 1, 1)], ["2026-01-01"]),  # noqa: DTZ001 - naive is UTC
        (Op.EQUAL, 5, ["5", 5, "5.0", "+5", "5e0", "5.0000000000000001"], [" 5", "5_0", "\u0665", "", True, "five"]),
        (Op.GREATER, 4, [5, "inf", ".5e1", "5."], ["nan", "0x5", "-inf", None]),
        (Op.LESS_OR_EQUAL, 0.3, [0.3, "0.1"], ["0.30000000000000004"]),
        (Op.SEMVER_EQUAL, "2.0.0", ["2.0.0", "2.0.0+build1"], ["2.0", "v2.0.0", " 2.0.0", "2.0.0-", "02.0.0"]),
        (Op.SEMVER_LESS, "2.0.0", ["2.0.0-a", "1.99.99"], ["2.0.0-01", "2.0.0+a", f"{2**64}.0.0"]),
        (Op.AFTER, "2026-01-01T00:00:00Z", ["2026-01-01 00:00:01Z", "2026-1-1t0:0:1 +0000"], ["2026-01-02"]),
        (Op.BEFORE, "2026-01-01T00:00:00Z", ["-0001-01-01T00:00:00Z"], ["2026-02-30T00:00:00Z", "1767225600000"]),
        (Op.IN_CIDR, "10.0.0.0/8", ["10.1.2.3"], ["::ffff:10.0.0.1", "010.0.0.1", "10.1", " 10.0.0.1"]),
        (Op.IN_CIDR, "fe80::/10", ["fe80::1"], ["fe80::1%eth0"]),
        (Op.STARTS_WITH, "Ü", ["Ünï"], ["ünï"]),
    ],
)
def test_every_value_is_a_text(op, value, yes, no):
    """What the engine sees of an attribute is the text it travels as; what is no number, version or moment is none."""
    assert [v for v in yes if not matches(op, [value], {"x": v})] == []
    assert [v for v in no if matches(op, [value], {"x": v})] == []


def test_missing_is_false_and_true_when_negated():
    """As the engine has it; written by flagbrake a negated condition asks for the attribute as well."""
    assert not matches(Op.IN, ["a"], {})
    assert matches(Op.IN, ["a"], {}, negate=True)
    assert not matches(Op.IN, ["a"], {}, negate=True, semantics=PRESENT)
    assert matches(Op.SEMVER_LESS, ["1.0.0"], {"x": "no version"}, negate=True)


def test_case_is_lowered():
    """Lower case of Unicode and no folding; nothing but parts of texts and patterns can do without case."""
    assert matches(Op.CONTAINS, ["straße"], {"x": "STRAßE"}, semantics=FOLDED)
    assert not matches(Op.CONTAINS, ["straße"], {"x": "STRASSE"}, semantics=FOLDED)
    assert matches(Op.MATCHES, ["^k$"], {"x": "\u212a"}, semantics=FOLDED)
    assert not matches(Op.IN, ["A"], {"x": "a"}, semantics=FOLDED)


def test_names_and_fields():
    """The user is the targeting key, else the attribute of that name; structures are read by path, or by that name."""
    assert matches(Op.IN, ["u1"], {}, name="targetingKey", key="u1")
    assert matches(Op.IN, ["u1"], {"userId": "u1"}, name="targetingKey")
    assert not matches(Op.IN, ["u1"], {"userId": "u1"}, name="targetingKey", key="u2")
    assert matches(Op.IN, ["a"], {"org": {"name": "a"}}, name="/org/name")
    assert matches(Op.IN, ["b"], {"org": {"name": "a"}, "/org/name": "b"}, name="/org/name")


def test_the_time_is_the_rulesets():
    """Without ``currentTime`` in the context a date is compared with the clock; without a clock it does not match."""
    asked = (Op.AFTER, ["2026-06-30T00:00:00Z"])
    assert matches(*asked, {}, name="currentTime")
    assert not matches(*asked, {"currentTime": "2026-06-01"}, name="currentTime")
    assert not matches(*asked, {"currentTime": "junk"}, name="currentTime")
    timeless = Ruleset(
        {"checkout": one_rule(Clause(Attribute(("currentTime",)), *asked[:1], tuple(asked[1]), semantics=UNLEASH))}
    )
    assert timeless.evaluate("checkout", EvaluationContext("u")).variant == "off"


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (r"^\w+$", "ünïcode", "a b"),
        (r"^\d$", "٣", "x"),
        (r"^\s$", "\u00a0", "x"),
        (r"^\W\D\S$", "-x-", "xx-"),
        (r"^[\d\s_]+$", "٣ _", "x"),
        ("^a.c$", "abc", "abc\n"),
        (r"(?<year>\d{4})-(?P<m>\d)", "2026-7", "26-7"),
        ("(?i-s:FR)", "fr", "de"),
        ("(?u)x", "x", "y"),
        ("[[:alpha:]]", "a", "1"),
        ("[]a]", "]", "b"),
        (r"\x41\u{42}\U00000043", "ABC", "abc"),
        (r"\p{Greek}", "\u03b1", "a"),
        (r"a\.b\-c", "a.b-c", "axb-c"),
    ],
)
def test_patterns_are_rusts(pattern, yes, no):
    """Classes count Unicode, the end is the end; both sides of each pattern."""
    found = search(pattern, ignore_case=False)
    assert found(yes)
    assert not found(no)


@pytest.mark.parametrize(
    "pattern",
    [
        "a(?=b)",
        "(?!a)",
        "(?<=a)b",
        r"(.)\1",
        "(?>a)",
        "[",
        "(a",
        "a{",
        "{2}",
        r"\q",
        r"\Z",
        r"\0",
        "(?#c)a",
        "(?)",
        "*",
    ],
)
def test_what_rust_refuses_is_nowhere(pattern):
    """A pattern that the engine cannot read matches nothing, and everything when inverted."""
    assert not search(pattern, ignore_case=False)("ab aab")
    assert matches(Op.MATCHES, [pattern], {"x": "ab"}, negate=True)


@pytest.mark.parametrize(
    "pattern", ["[a&&b]", "[a--b]", "[a[b]]", "(?x) a", "(?-u:a)", "a**", r"[\W]", r"\<a", r"\b{start}", "a{2000}"]
)
def test_what_only_rust_takes_is_refused(pattern):
    """A pattern that cannot be searched for here is Unsupported when it is loaded, never a quiet false."""
    with pytest.raises(Unsupported, match="cannot be evaluated here"):
        check(one_rule(Clause(Attribute(("x",)), Op.MATCHES, (pattern,), semantics=UNLEASH)))


def test_moments_of_every_year():
    """Years beyond Python's are in order, and a leap second is after the one before it."""
    texts = ["-0001-03-01T00:00:00Z", "0000-02-29T00:00:00Z", "1970-01-01T00:00:00Z", "2026-06-30T23:59:59.9Z"]
    texts += ["2026-06-30T23:59:60Z", "2026-07-01T00:00:00Z", "+10000-01-01T00:00:00Z"]
    moments = [moment(text) for text in texts]
    assert moments == sorted(moments)
    assert moment("1970-01-01T01:00:00+01:00") == (0, 0)
    assert moment("1970-01-01T01:00:00\u22120100") == (7200, 0)
    assert [moment(t) for t in ("2026-01-01T24:00:00Z", "2026-01-01T00:00Z", "2026-01-01T00:00:00+25:00")] == [None] * 3


@pytest.mark.parametrize(
    ("op", "value"),
    [(Op.LESS, "five"), (Op.LESS, True), (Op.AFTER, "2026-01-01"), (Op.SEMVER_LESS, "1.2"), (Op.IN_CIDR, "x")],
)
def test_what_cannot_be_compared_with_is_refused(op, value):
    """A value of the wrong kind is named when the flag is loaded."""
    with pytest.raises(InvalidInput):
        check(one_rule(Clause(Attribute(("x",)), op, (value,), semantics=UNLEASH)))


# --- the hash ------------------------------------------------------------------------------------------

#: Of the flag ``checkout``, asked of the engine: the smallest whole percent that takes the unit, and its thousandth.
ROLLOUTS = {"user-1": 34, "user-2": 11, "user-3": 54, "ünïcode": 87, "123": 56}
THOUSANDTHS = {"user-1": 663, "user-2": 9, "user-3": 820, "123": 37}


def test_vectors():
    """murmur3("group:unit") in hundredths, and in thousandths with the seed of variants."""
    made = algorithm(MURMUR)
    rollout = made.locate(Bucketing(MURMUR), "checkout")
    variant = made.locate(Bucketing(MURMUR, seed=VARIANTS), "checkout")
    assert {u: rollout(u) // 1000 + 1 for u in ROLLOUTS} == ROLLOUTS
    assert {u: variant(u) // 100 + 1 for u in THOUSANDTHS} == THOUSANDTHS


def dealt(share, context, *, outside=None, bucketing=None):
    """Rule: on for a share of units; the others go on to the next rule, which says ``later``."""
    gate = Gate(share, bucketing or Bucketing(MURMUR, group="checkout"), outside)
    first = Rule("1", (), Distribution((Weight("on", WHOLE),), gate=gate))
    variants = (Variant("on", value=True), Variant("off", value=False), Variant("later", value=True))
    flag = Flag("f", FlagKind.BOOLEAN, variants, "off", rules=(first, Rule("2", (), "later")))
    return Ruleset({"f": flag}).evaluate("f", context).variant


def test_who_is_outside_goes_on():
    """A gate without ``outside`` lets units pass to the next rule, and takes who is inside, to the percent."""
    unit = EvaluationContext("user-1")
    assert dealt(34_000, unit) == "on"
    assert dealt(33_000, unit) == "later"
    assert dealt(33_000, unit, outside="off") == "off"
    assert dealt(0, unit) == "later"


def test_a_unit_that_is_no_unicode():
    """Half a surrogate pair travels as a question mark: it is dealt, and compared, as one."""
    half = Distribution((Weight("on", 50_000), Weight("off", 50_000)), Bucketing(MURMUR, group="g"))
    listed = Rule("r", (Clause(Attribute(), Op.IN, ("?",), semantics=UNLEASH),), "on")
    for flag in (Flag.boolean("f", default=half), Flag.boolean("f", default="off", rules=(listed,))):
        rules = Ruleset({"f": flag})
        asked, other = (rules.evaluate("f", EvaluationContext(unit)) for unit in ("\ud800", "?"))
        assert asked == other
    assert asked.value is True


def test_a_number_beyond_all_floats():
    """It equals nothing, and is no reason not to evaluate."""
    clause = Clause(Attribute(("x",)), Op.EQUAL, (10**400,), semantics=UNLEASH)
    flag = Flag.boolean("f", default="off", rules=(Rule("r", (clause,), "on"),))
    assert Ruleset({"f": flag}).evaluate("f", EvaluationContext("u", {"x": 10**400})).value is False


def test_who_names_no_unit():
    """By a field of its own nobody without it is inside, even of everybody; by user or session it would be a lot."""
    nobody, plan = EvaluationContext(None), Bucketing(MURMUR, attribute=Attribute(("plan",)))
    default = Bucketing(MURMUR, attribute=Attribute(("sessionId",)), override=Attribute())
    assert dealt(WHOLE, nobody, bucketing=plan) == "later"
    assert dealt(WHOLE, EvaluationContext(None, {"plan": 5}), bucketing=plan) == "on"
    assert dealt(50_000, EvaluationContext(None, {"sessionId": "s"}), bucketing=default) in {"on", "later"}
    with pytest.raises(TargetingKeyMissingError):
        dealt(50_000, nobody, bucketing=default)


def test_shares_that_are_no_hundredths():
    """Three equal weights are shares of 33,333 and 33,334; nobody is dealt otherwise than by weights of one each."""
    made = algorithm(MURMUR)
    bucketing = Bucketing(MURMUR, seed=VARIANTS, buckets=3)
    places = {made.locate(bucketing, "f")(f"u{n}") for n in range(50)}
    assert sorted(places) == [16_666, 50_000, 83_333]
    assert made.bounds([33_333, 33_334, 33_333]) == [33_333, 66_667, WHOLE]


# --- dependencies, and variants without a value --------------------------------------------------------


def test_a_flag_that_must_not_be_on():
    """It is met by a flag that is off, whatever that serves, and by one that serves what is asked for."""
    asked = Prerequisite("parent", ("off",), OffFlag.MET)
    child = Flag.boolean("child", prerequisites=(asked,))

    def served(parent):
        return (
            Ruleset({"child": child} | ({"parent": parent} if parent else {}))
            .evaluate("child", EvaluationContext("u"))
            .variant
        )

    assert served(Flag.boolean("parent")) == "off"
    assert served(Flag.boolean("parent", default="off")) == "on"
    assert served(replace(Flag.boolean("parent", on=False), off_variant="on")) == "on"
    assert served(None) == "off"


def test_a_variant_without_a_value():
    """It serves the caller's default under its own name."""
    flag = Flag("f", FlagKind.STRING, (Variant("blue", "blue"), Variant("disabled")), "disabled")
    answer = Ruleset({"f": flag}).evaluate("f", EvaluationContext("u"))
    assert (answer.value, answer.variant) == (USE_DEFAULT, "disabled")


def test_explained():
    """An explanation tells who was let in, and what an attribute was read as."""
    gate = Gate(33_000, Bucketing(MURMUR, group="checkout"), None)
    asked = Clause(Attribute(("x",)), Op.IN, ("5",), semantics=UNLEASH)
    rule = Rule("1", (asked,), Distribution((Weight("on", WHOLE),), gate=gate))
    flag = Flag.boolean(
        "f", default="off", rules=(rule, Rule("2", (Clause(Attribute(("x",)), Op.PRESENT, semantics=OURS),), "on"))
    )
    told = Ruleset({"f": flag}).explain("f", EvaluationContext("user-1", {"x": 5}))
    assert [(r.matched, r.used) for r in told.rules] == [(True, False), (True, True)]
    assert told.rules[0].clauses[0].seen == "5"
    assert "rule 2" in told.render()
