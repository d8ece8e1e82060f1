"""How a flag answers: off, prerequisites, targets, rules, default; reasons and metadata."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, InvalidContextError, ParseError, TargetingKeyMissingError
from openfeature.flag_evaluation import Reason

from flagbrake.errors import InvalidInput, NotFound, Unsupported
from flagbrake.evaluate import Ruleset, check
from flagbrake.model.clause import SPLIT, UNLEASH, Attribute, Clause, Op
from flagbrake.model.flag import (
    Bucketing,
    Distribution,
    Flag,
    Gate,
    KeySet,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
    Targets,
    Variant,
    Weight,
    ramp,
)
from flagbrake.model.values import MISMATCH, USE_DEFAULT, WHOLE, FlagKind
from tests.support.nouns import one_rule, typical

U1 = EvaluationContext("u1", {"country": "DE"})
NOBODY = EvaluationContext()
ALWAYS = Clause(Attribute(), Op.ALWAYS)


def rules_of(*flags, segments=()):
    made = Ruleset({f.key: f for f in flags}, {s.key: s for s in segments})
    assert not made.rejected
    return made


def answer(flag, context=U1, *others, segments=()):
    details = rules_of(flag, *others, segments=segments).evaluate(flag.key, context)
    return details.variant, details.reason


# --- order and reasons ---------------------------------------------------------------------------------


def test_static():
    """One variant and nothing else to ask: STATIC, with the version as metadata."""
    details = rules_of(Flag.boolean("f", version=7)).evaluate("f", NOBODY)
    assert (details.value, details.variant, details.reason) == (True, "on", Reason.STATIC)
    assert details.flag_metadata == {"version": 7}


def test_order():
    """Off beats prerequisites beat targets beat rules beat default."""
    everything = {
        "default": "e",
        "kind": FlagKind.STRING,
        "variants": tuple(Variant(v, v) for v in "abcde"),
        "off_variant": "a",
        "targets": (Targets("c", ("u1",)),),
        "rules": (Rule("r", (Clause(Attribute(("country",)), Op.IN, ("DE",)),), "d"),),
        "prerequisites": (Prerequisite("p", ("on",)),),
    }
    met, failed = Flag.boolean("p"), Flag.boolean("p", default="off")
    u2 = EvaluationContext("u2", {"country": "DE"})
    assert answer(Flag("f", on=False, **everything), U1, met) == ("a", Reason.DISABLED)
    assert answer(Flag("f", **everything), U1, failed) == ("a", Reason.DISABLED)
    assert answer(Flag("f", **everything), U1, met) == ("c", Reason.TARGETING_MATCH)
    assert answer(Flag("f", **everything), u2, met) == ("d", Reason.TARGETING_MATCH)
    assert answer(Flag("f", **everything), EvaluationContext("u2"), met) == ("e", Reason.DEFAULT)


def test_first_matching_rule_wins_and_is_named():
    """Rules are asked in order; the one that serves stands in the metadata."""
    rules = tuple(Rule(f"r{i}", (ALWAYS,) if i else (ALWAYS.negated(),), "off") for i in range(3))
    details = rules_of(Flag.boolean("f", rules=rules)).evaluate("f", U1)
    assert details.flag_metadata == {"version": 0, "rule": "r1"}


def test_all_clauses_must_match():
    """One clause that does not match is enough; a rule without clauses matches everybody."""
    for count in (1, 2, 3, 4):
        for wrong in range(count):
            clauses = [ALWAYS] * count
            assert answer(one_rule(*clauses)) == ("on", Reason.TARGETING_MATCH)
            clauses[wrong] = ALWAYS.negated()
            assert answer(one_rule(*clauses)) == ("off", Reason.DEFAULT)
    assert answer(one_rule()) == ("on", Reason.TARGETING_MATCH)


def test_splits_have_reason_split():
    """By default and in a rule, whatever the shares."""
    assert answer(Flag.boolean("f", default=ramp("on", 50_000, "off")))[1] is Reason.SPLIT
    assert answer(one_rule(ALWAYS, serve=ramp("on", 0, "off"))) == ("off", Reason.SPLIT)


def test_off_without_off_variant_serves_the_callers_default():
    """No off variant: USE_DEFAULT, no variant, no error, DISABLED."""
    details = rules_of(Flag("f", FlagKind.STRING, (Variant("a", "A"),), "a", on=False)).evaluate("f", U1)
    assert (details.value, details.variant, details.error_code) == (USE_DEFAULT, None, None)
    assert details.reason is Reason.DISABLED


def test_archived_and_unknown_flags_do_not_exist():
    """FLAG_NOT_FOUND for both, also for ``off`` and ``value_of``."""
    rules = rules_of(Flag.boolean("old", archived=True))
    for key in ("old", "never", ""):
        with pytest.raises(FlagNotFoundError):
            rules.evaluate(key, U1)
        assert rules.off(key) is None
        assert rules.value_of(key, "on") is MISMATCH


def test_off_and_value_of():
    """``off`` is what the flag serves when off, though it is on; ``value_of`` looks a variant up."""
    rules = rules_of(Flag.boolean("f"))
    off = rules.off("f")
    assert (off.value, off.variant, off.reason) == (False, "off", Reason.DISABLED)
    assert rules.value_of("f", "on") is True
    assert rules.value_of("f", "purple") is MISMATCH


def test_answers_are_fresh():
    """A caller that changes an answer changes nobody else's."""
    rules = rules_of(Flag.boolean("f", on=False))
    rules.evaluate("f", U1).value = "spoilt"
    assert rules.evaluate("f", U1).value is False
    with pytest.raises(TypeError):
        rules.evaluate("f", U1).flag_metadata["version"] = 9


# --- targets -------------------------------------------------------------------------------------------


def test_targets_of_several_kinds():
    """Units of other context kinds are named by the nested targetingKey; the first naming wins."""
    variants = tuple(Variant(v, v) for v in "abc")
    targets = (Targets("a", ("acme",), "org"), Targets("b", ("u1", "u2")), Targets("c", ("u2",)))
    flag = Flag("f", FlagKind.STRING, variants, "c", targets=targets)
    org = {"org": {"targetingKey": "acme"}}
    assert answer(flag, EvaluationContext("u1", org))[0] == "a"
    assert answer(flag, EvaluationContext(None, org))[0] == "a"
    assert answer(flag, EvaluationContext("u2", {"org": "acme"}))[0] == "b"
    assert answer(flag, EvaluationContext("acme"))[0] == "c"
    beside = Flag(
        "f", FlagKind.STRING, variants, "c", targets=(Targets("a", ("dana",), "/user"), Targets("b", ("u1",)))
    )
    assert answer(beside, EvaluationContext("u1", {"user": {"targetingKey": "dana"}}))[0] == "a"
    assert answer(beside, EvaluationContext("dana"))[0] == "c"
    assert answer(Flag("f", FlagKind.STRING, variants, "c", targets=targets[1:]), EvaluationContext("u2"))[0] == "b"


# --- splits and their units ----------------------------------------------------------------------------


@pytest.mark.parametrize("context", [NOBODY, EvaluationContext(""), EvaluationContext(None, {"targetingKey": "u"})])
def test_a_split_needs_a_targeting_key(context):
    """Missing or empty: TARGETING_KEY_MISSING, never a guess; a flag without a split does not ask."""
    split = Flag.boolean("f", default=ramp("on", 50_000, "off"))
    with pytest.raises(TargetingKeyMissingError):
        rules_of(split).evaluate("f", context)
    targeted = Flag.boolean("f", default=ramp("on", 50_000, "off"), rules=(Rule("r", (ALWAYS,), "on"),))
    assert answer(targeted, context)[0] == "on"


@pytest.mark.parametrize("key", [5, b"u1", "\ud800"])
def test_a_targeting_key_is_text(key):
    """Another type, or half a surrogate pair: INVALID_CONTEXT."""
    with pytest.raises(InvalidContextError):
        rules_of(Flag.boolean("f", default=ramp("on", 50_000, "off"))).evaluate("f", EvaluationContext(key))


def test_a_split_with_one_answer_needs_no_unit():
    """At 0 and at 100 % everybody gets the same."""
    assert answer(Flag.boolean("f", default=ramp("on", WHOLE, "off")), NOBODY) == ("on", Reason.SPLIT)
    assert answer(Flag.boolean("f", default=ramp("on", 0, "off")), NOBODY) == ("off", Reason.SPLIT)


def test_bucketing_by_another_attribute():
    """All members of one unit get the same; whole numbers count as their text; others are missing units."""
    by_org = Bucketing(attribute=Attribute(("targetingKey",), "org"))
    flag = Flag.boolean("f", default=ramp("on", 50_000, "off", by_org))
    rules = rules_of(flag)

    def variant(unit):
        return rules.evaluate("f", EvaluationContext("someone", {"org": {"targetingKey": unit}})).variant

    assert {variant(f"org-{i}") for i in range(50)} == {"on", "off"}
    assert all(variant(i) == variant(str(i)) == variant(float(i)) for i in range(20))
    for missing in (None, "", True, 1.5, ["a"]):
        with pytest.raises(TargetingKeyMissingError, match="org:targetingKey"):
            variant(missing)
    with pytest.raises(TargetingKeyMissingError):
        rules.evaluate("f", U1)
    with pytest.raises(InvalidContextError):
        variant("\ud800")


def test_gate():
    """A gate hashes apart: outside gets its variant, inside the split; closed and open gates need no hash."""
    variants = tuple(Variant(v, v) for v in ("v1", "v2", "out"))

    def flag(share):
        gate = Gate(share, Bucketing(salt="gate"), "out")
        return Flag("f", FlagKind.STRING, variants, Distribution(ramp("v2", 50_000, "v1").weights, Bucketing(), gate))

    contexts = [EvaluationContext(f"u{i}") for i in range(2000)]
    half = [answer_of.variant for answer_of in map(rules_of(flag(50_000)).evaluate, ["f"] * 2000, contexts)]
    assert 900 < half.count("out") < 1100
    assert 400 < half.count("v1") < 600
    assert {answer(flag(0), c)[0] for c in contexts[:50]} == {"out"}
    assert answer(flag(0), NOBODY)[0] == "out"
    assert "out" not in {answer(flag(WHOLE), c)[0] for c in contexts[:50]}
    narrow = [answer_of.variant for answer_of in map(rules_of(flag(20_000)).evaluate, ["f"] * 2000, contexts)]
    assert all(small in {"out", big} for small, big in zip(narrow, half, strict=True)), "opening a gate moved a unit"


# --- prerequisites -------------------------------------------------------------------------------------


def needs(key, *others, **rest):
    return Flag.boolean(key, prerequisites=tuple(Prerequisite(o, ("on",)) for o in others), **rest)


def test_prerequisites():
    """Another variant, off (whatever the off variant), archived and missing all fail; the metadata names it."""
    states = [
        Flag.boolean("p", default="off"),
        Flag("p", FlagKind.BOOLEAN, (Variant("on", True),), "on", on=False, off_variant="on"),
        Flag.boolean("p", archived=True),
        Flag.boolean("other"),
    ]
    for state in states:
        details = rules_of(needs("f", "p"), state).evaluate("f", U1)
        assert (details.variant, details.reason) == ("off", Reason.DISABLED)
        assert details.flag_metadata["prerequisite"] == "p"
    assert answer(needs("f", "p"), U1, Flag.boolean("p")) == ("on", Reason.DEFAULT)


def test_prerequisites_follow_the_present_ruleset():
    """A compiled dependent sees the new version of what it stands on, several levels down."""
    rules = rules_of(needs("a", "b"), needs("b", "c"), Flag.boolean("c"))
    assert rules.evaluate("a", U1).variant == "on"
    later = rules.changed({"c": Flag.boolean("c", default="off")})
    assert later.evaluate("a", U1).variant == "off"
    assert rules.evaluate("a", U1).variant == "on"
    assert later.changed({"c": None}).evaluate("a", U1).variant == "off"


def test_circles_are_refused_before_evaluation():
    """A flag that leads back to itself never gets in; the rest goes on; nothing recurses."""
    rules = Ruleset({f.key: f for f in (needs("a", "b"), needs("b", "a"), needs("c", "a"), Flag.boolean("d"))})
    assert set(rules.rejected) == {"a", "b"}
    with pytest.raises(ParseError, match="leads back to itself"):
        rules.evaluate("a", U1)
    assert rules.evaluate("c", U1).reason is Reason.DISABLED
    assert rules.evaluate("d", U1).variant == "on"
    with pytest.raises(InvalidInput, match="'a' -> 'a'"):
        check(needs("a", "a"), flags={})


def test_a_change_that_closes_a_circle_is_not_taken():
    """The last good version stays and answers; the other flags of the batch are taken."""
    rules = rules_of(needs("a", "b"), needs("b", "c"), Flag.boolean("c"), Flag.boolean("d"))
    later = rules.changed({"c": needs("c", "a"), "d": Flag.boolean("d", default="off")})
    assert set(later.rejected) == {"c"}
    assert later.evaluate("a", U1).variant == "on"
    assert later.evaluate("d", U1).variant == "off"
    assert later.changed({"c": Flag.boolean("c", default="off")}).rejected == {}


def test_a_batch_may_turn_a_chain_round():
    """Two changes that are only good together are taken together."""
    rules = rules_of(needs("a", "b"), Flag.boolean("b"))
    later = rules.changed({"b": needs("b", "a"), "a": Flag.boolean("a")})
    assert not later.rejected
    assert later.evaluate("b", U1).variant == "on"


def test_towers_are_refused():
    """Deep chains and doubling ladders are bounded: no recursion error, no exponential evaluation."""
    chain = [Flag.boolean("f0"), *(needs(f"f{i}", f"f{i - 1}") for i in range(1, 500))]
    rules = Ruleset({f.key: f for f in chain})
    assert rules.evaluate("f30", U1).variant == "on"
    assert "f499" in rules.rejected
    ladder = [Flag.boolean("l0"), Flag.boolean("r0")]
    ladder += [needs(f"{side}{i}", f"l{i - 1}", f"r{i - 1}") for i in range(1, 30) for side in "lr"]
    assert "l29" in Ruleset({f.key: f for f in ladder}).rejected
    base = rules_of(needs("top", "b"), Flag.boolean("b"))
    grown = base.changed({f.key: f for f in chain[:30]}).changed({"b": needs("b", "f29")})
    assert grown.evaluate("top", U1).variant == "on"
    assert set(grown.changed({"f0": needs("f0", "g"), "g": needs("g", "h"), "h": Flag.boolean("h")}).rejected)


# --- segments ------------------------------------------------------------------------------------------


def in_segment(*names, negate=False):
    return Clause(Attribute(), Op.SEGMENT, names, negate)


def test_segment_order():
    """Included, else excluded, else any rule; one that does not exist has no members."""
    german = (Clause(Attribute(("country",)), Op.IN, ("DE",)),)
    segment = Segment("s", (KeySet(("u1",)), KeySet(("acme",), "org")), (KeySet(("u1", "u2")),), (SegmentRule(german),))
    flag = one_rule(in_segment("nothing", "s"))
    for key, attributes, member in [
        ("u1", {}, True),
        ("u2", {"country": "DE"}, False),
        ("u3", {"country": "DE"}, True),
        ("u3", {}, False),
        ("u2", {"org": {"targetingKey": "acme"}}, True),
        (None, {}, False),
    ]:
        context = EvaluationContext(key, attributes)
        assert answer(flag, context, segments=(segment,))[0] == ("on" if member else "off")
        negated = one_rule(in_segment("s", negate=True))
        assert answer(negated, context, segments=(segment,))[0] == ("off" if member else "on")
    assert answer(one_rule(in_segment("nothing")))[0] == "off"


def test_segments_are_followed_live():
    """A compiled flag sees a changed, a removed and a new segment."""
    rules = rules_of(one_rule(in_segment("s")), segments=(Segment("s", (KeySet(("u1",)),)),))
    assert rules.evaluate("checkout", U1).variant == "on"
    assert rules.changed({}, {"s": Segment("s")}).evaluate("checkout", U1).variant == "off"
    gone = rules.changed({}, {"s": None})
    assert gone.evaluate("checkout", U1).variant == "off"
    assert gone.changed({}, {"s": Segment("s", (KeySet(("u1",)),))}).evaluate("checkout", U1).variant == "on"


def test_segments_in_segments():
    """Segments may name segments; a circle of them is refused."""
    inner = Segment("inner", (KeySet(("u1",)),))
    outer = Segment("outer", rules=(SegmentRule((in_segment("inner"),)),))
    assert answer(one_rule(in_segment("outer")), segments=(inner, outer))[0] == "on"
    looped = Segment("inner", rules=(SegmentRule((in_segment("outer"),)),))
    rules = Ruleset({"checkout": one_rule(in_segment("outer"))}, {"inner": looped, "outer": outer})
    assert set(rules.rejected) == {"segment:inner", "segment:outer"}
    assert rules.evaluate("checkout", U1).variant == "off"


def test_segment_share():
    """A rule's share takes that part of those who match, the same ones as it grows."""

    def members(share):
        segment = Segment("s", rules=(SegmentRule((ALWAYS,), share),))
        rules = rules_of(one_rule(in_segment("s")), segments=(segment,))
        return {i for i in range(2000) if rules.evaluate("checkout", EvaluationContext(f"u{i}")).variant == "on"}

    tenth, half = members(10_000), members(50_000)
    assert 150 < len(tenth) < 250
    assert tenth < half


def test_flag_clause():
    """A clause may ask what another flag serves."""
    clause = Clause(Attribute(("other",)), Op.FLAG, ("off",))
    assert answer(one_rule(clause), U1, Flag.boolean("other", default="off"))[0] == "on"
    assert answer(one_rule(clause), U1, Flag.boolean("other"))[0] == "off"
    assert answer(one_rule(clause.negated()), U1, Flag.boolean("other"))[0] == "on"
    assert "checkout" in Ruleset({"checkout": one_rule(Clause(Attribute(("checkout",)), Op.FLAG, ("on",)))}).rejected


# --- the last good version -----------------------------------------------------------------------------

BAD = [
    Flag.boolean("f", default=ramp("on", 1, "off", Bucketing("launchdarkly-sha2"))),
    Flag.boolean("f", default=ramp("on", 1, "off", Bucketing(seed=2**32))),
    Flag.boolean("f", default=ramp("on", 1, "off", Bucketing(salt="\ud800"))),
    Flag.boolean("f", default="purple"),
    Flag.boolean("f", default=Distribution((Weight("on", 1),))),
    one_rule(Clause(Attribute(("a",)), Op.MATCHES, ("(",)), key="f"),
    one_rule(Clause(Attribute(("a",)), Op.LESS, ("5",)), key="f"),
    one_rule(Clause(Attribute(("a",)), Op.BETWEEN, (1,)), key="f"),
    one_rule(Clause(Attribute(("a",)), Op.SEMVER_EQUAL, ("one",)), key="f"),
    one_rule(Clause(Attribute(("a",)), Op.AFTER, ("2026-06-01",)), key="f"),
    one_rule(Clause(Attribute(("a",)), Op.IN_CIDR, ("10.0.0.0/99",)), key="f"),
    one_rule(Clause(Attribute(("a",)), Op.SET_ANY, ("x",), semantics=UNLEASH), key="f"),
    one_rule(Clause(Attribute(("a",)), Op.LESS, ("5",), semantics=SPLIT), key="f"),
    one_rule(Clause(Attribute(("a",)), Op.MATCHES, ("(",), semantics=SPLIT), key="f"),
    one_rule(Clause(Attribute(("a",)), Op.ON, ("2026",), semantics=SPLIT), key="f"),
]


@pytest.mark.parametrize("bad", BAD, ids=[str(i) for i in range(len(BAD))])
def test_the_last_good_version_stays(bad):
    """A version that cannot be evaluated is refused by ``check`` and by ``changed``, and says why."""
    with pytest.raises((InvalidInput, Unsupported), match=r"^flags\.f\."):
        check(bad)
    rules = rules_of(Flag.boolean("f", version=3), Flag.boolean("g"))
    later = rules.changed({"f": bad, "g": None})
    assert later.evaluate("f", U1).flag_metadata == {"version": 3}
    assert set(later.rejected) == {"f"}
    with pytest.raises(FlagNotFoundError):
        later.evaluate("g", U1)
    assert later.changed({"g": Flag.boolean("g")}).rejected, "forgotten by an unrelated change"
    assert not later.changed({"f": None}).rejected
    assert not later.changed({"f": Flag.boolean("f")}).rejected
    never = Ruleset({"f": bad})
    with pytest.raises(ParseError, match="cannot be evaluated"):
        never.evaluate("f", U1)
    with pytest.raises(NotFound, match="cannot be evaluated"):
        never.explain("f", U1)


def test_check_looks_around_when_asked():
    """Given the environment, ``check`` refuses what does not exist there."""
    with pytest.raises(InvalidInput, match="the flag 'p' does not exist"):
        check(needs("f", "p"), flags={})
    with pytest.raises(InvalidInput, match="the segment 's' does not exist"):
        check(one_rule(in_segment("s")), flags={}, segments={})
    with pytest.raises(InvalidInput, match="'p' has no variant 'on'"):
        check(needs("f", "p"), flags={"p": Flag("p", FlagKind.STRING, (Variant("x", "x"),), "x")})
    check(needs("f", "p"))
    check(needs("f", "p"), flags={"p": Flag.boolean("p")})


# --- immutable, shared, lazy ---------------------------------------------------------------------------


def test_unchanged_flags_stay_compiled():
    """The next ruleset shares what was compiled; the changed flag is compiled anew."""
    rules = rules_of(Flag.boolean("a"), Flag.boolean("b"))
    for key in "ab":
        rules.evaluate(key, U1)
    later = rules.changed({"b": Flag.boolean("b", default="off")})
    assert later._answers["a"] is rules._answers["a"]
    assert "b" not in later._answers
    assert (rules.evaluate("b", U1).value, later.evaluate("b", U1).value) == (True, False)


def test_threads_share_a_ruleset():
    """Many threads that ask a fresh ruleset at once get the same right answers."""
    flags = {f"f{i}": typical(f"f{i}") for i in range(200)}
    contexts = [EvaluationContext(f"u{i}", {"country": "US", "age": i}) for i in range(20)]
    before = Ruleset(flags)
    expected = {(k, i): before.evaluate(k, c).variant for k in flags for i, c in enumerate(contexts)}
    rules, start = Ruleset(flags), threading.Barrier(4)

    def ask(_):
        start.wait(30)
        return {(k, i): rules.evaluate(k, c).variant for k in flags for i, c in enumerate(contexts)}

    with ThreadPoolExecutor(4) as pool:
        assert all(got == expected for got in pool.map(ask, range(4)))


def test_dependents():
    """Who stands on a flag or a segment, directly or through others."""
    rules = rules_of(needs("a", "b"), needs("b", "c"), Flag.boolean("c"), one_rule(in_segment("s"), key="c2"))
    assert rules.dependents("c") == {"a", "b"}
    assert rules.dependents("a") == frozenset()
    assert rules.users_of(["s"]) == {"c2"}
