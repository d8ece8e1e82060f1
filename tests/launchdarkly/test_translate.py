"""Translating LaunchDarkly's documents: nothing is dropped in silence, and what is written means the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from ldclient.versioned_data_kind import FEATURES, SEGMENTS
from openfeature.evaluation_context import EvaluationContext

from flagbrake.errors import InvalidInput
from flagbrake.evaluate import Ruleset
from flagbrake.model.clause import LAUNCHDARKLY, OURS, SPLIT, Attribute, Case, Clause, Op, Semantics
from flagbrake.model.flag import (
    Bucketing,
    Distribution,
    Flag,
    FlagKind,
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
from flagbrake.model.loss import Severity
from flagbrake_launchdarkly.emulator.compiler import config_of, sdk_flag
from flagbrake_launchdarkly.translate import (
    environment_from_sdk,
    environment_to_sdk,
    flag_from_rest,
    flag_from_sdk,
    flag_to_rest,
    flag_to_sdk,
    segment_from_rest,
    segment_from_sdk,
    segment_to_rest,
    segment_to_sdk,
)
from tests.proofs import launchdarkly_worlds as worlds
from tests.proofs.launchdarkly_twin import Theirs
from tests.support import nouns

SHA1 = "launchdarkly-sha1"
NATIVE = Bucketing(SHA1, "checkout")
BASE = {"key": "checkout", "version": 3, "on": True, "variations": [True, False], "fallthrough": {"variation": 0}}


@pytest.fixture(scope="module")
def sdk():
    """The real SDK over a store that we fill."""
    theirs = Theirs()
    yield theirs
    theirs.close()


def severities(done):
    return {loss.severity for loss in done.losses}


# --- round trips -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["user", "device"])
@pytest.mark.parametrize("seed", range(40))
def test_what_was_read_is_written_and_read_again(seed, unit):
    """To the model, back, and again: from the first writing on nothing moves. That it means the same is the twin's."""
    read = environment_from_sdk(worlds.environment(Random(seed)), unit=unit).result
    written = environment_to_sdk(read.flags, read.segments, unit=unit)
    again = environment_from_sdk(json.loads(json.dumps(written.result)), unit=unit)
    once_more = environment_to_sdk(again.result.flags, again.result.segments, unit=unit)
    assert once_more.result == written.result
    third = environment_from_sdk(once_more.result, unit=unit).result
    assert (third.flags, third.segments) == (again.result.flags, again.result.segments)


@pytest.mark.parametrize("seed", range(40))
def test_the_management_api_shows_the_same_flag(seed):
    """Through the emulator's own compiler: what its API shows and what it streams are read as the same flag."""
    world = worlds.environment(Random(1000 + seed))
    names = {key: flag.variant_names for key, flag in environment_from_sdk(world).result.flags.items()}
    for key, flag in world["flags"].items():
        fresh = {"rules": [], "targets": [], "contextTargets": [], "prerequisites": [], "version": 5, "salt": ""}
        shown = {
            "key": key,
            "clientSideAvailability": {"usingEnvironmentId": False, "usingMobileKey": True},
            "variations": [{"_id": str(n), "value": value} for n, value in enumerate(flag["variations"])],
            "environments": {"test": config_of(flag, fresh)},
        }
        streamed = sdk_flag(shown, "test")
        assert flag_from_rest(shown, "test", names=names).result == flag_from_sdk(streamed, names=names).result


@given(nouns.flags(), nouns.segments())
def test_whatever_the_model_holds_is_written(flag, segment):
    """As a document that the SDK takes and we read; what it cannot say stands in the report, never in a traceback."""
    every = tuple({name for asked in flag.prerequisites for name in asked.variants})
    names = {asked.flag: every for asked in flag.prerequisites}
    written = flag_to_sdk(flag, names=names).result
    assert FEATURES.decode(json.loads(json.dumps(written)))
    assert SEGMENTS.decode(json.loads(json.dumps(segment_to_sdk(segment).result)))
    if not flag.archived:
        read = flag_from_sdk(written, names=names).result
        assert (read.variant_names, len(read.rules)) == (flag.variant_names, len(flag.rules))


def test_a_flag_of_ours_comes_back_under_its_names():
    """Names of variants travel with the flag; salt, targets, tags and descriptions come back."""
    flag = nouns.typical("checkout")
    split = Distribution((Weight("v2", 12_500), Weight("v1", 87_500)), NATIVE)
    rules = tuple(
        Rule(r.id, tuple(Clause(c.attribute, c.op, c.values, c.negate, LAUNCHDARKLY) for c in r.clauses), "v2", "why")
        for r in flag.rules
    )
    flag = Flag(
        "checkout", flag.kind, flag.variants, split, True, "v1", flag.targets, rules, tags=("a",), description="what"
    )
    done = flag_to_rest(flag, "test")
    assert done.losses == ()
    assert flag_from_rest(done.result, "test") == type(done)(flag)


def test_a_segment_comes_back():
    """Keys of all kinds, rules and their shares."""
    clause = Clause(Attribute(("country",), "org"), Op.IN, ("DE",), False, LAUNCHDARKLY)
    by = Bucketing(SHA1, "beta", attribute=Attribute(("plan",), "org"))
    segment = Segment(
        "beta",
        (KeySet(("u1", "u2")), KeySet(("acme",), "org")),
        (KeySet(("u3",)),),
        (SegmentRule((clause,)), SegmentRule((clause,), 30_000, by)),
        version=7,
    )
    assert segment_from_sdk(segment_to_sdk(segment).result).result == segment
    assert segment_from_rest(segment_to_rest(segment).result).result == segment


def test_an_archived_flag_is_deleted_to_sdks():
    """An archived flag reaches no SDK, and a deleted one is left out when an environment is read."""
    gone = flag_to_sdk(Flag.boolean("gone", archived=True)).result
    assert gone["deleted"]
    assert environment_from_sdk({"flags": {"gone": gone}}).result.flags == {}


def test_a_prerequisite_names_another_flags_variant():
    """By its index; whoever writes one flag alone says what the other's variants are called."""
    flag = Flag.boolean("child", prerequisites=(Prerequisite("parent", ("v2",)),))
    written = flag_to_sdk(flag, names={"parent": ("v1", "v2")}).result
    assert written["prerequisites"] == [{"key": "parent", "variation": 1}]
    assert flag_from_sdk(written, names={"parent": ("v1", "v2")}).result.prerequisites == flag.prerequisites
    assert flag_from_sdk(written).result.prerequisites == (Prerequisite("parent", ("1",)),)
    with pytest.raises(InvalidInput, match="which variation of 'parent' is 'v2' is not known"):
        flag_to_sdk(flag)


def test_users_targets_need_a_place_among_those_of_other_kinds():
    """Without a target of kind user for their variation the SDK does not ask them: a loss that changes nothing."""
    data = {**BASE, "targets": [{"variation": 1, "values": ["u"]}]}
    assert flag_from_sdk(data).result.targets == (Targets("1", ("u",)),)
    data["contextTargets"] = [{"contextKind": "org", "variation": 0, "values": ["acme"]}]
    done = flag_from_sdk(data)
    assert done.result.targets == (Targets("0", ("acme",), "org"),)
    assert [(loss.where, loss.severity) for loss in done.losses] == [("flags.checkout.targets[0]", Severity.NOTE)]
    data["contextTargets"] += [{"contextKind": "user", "variation": 1, "values": []}]
    assert flag_from_sdk(data).result.targets == (Targets("0", ("acme",), "org"), Targets("1", ("u",)))


def test_a_variation_of_other_environments_is_no_variant():
    """One that this environment has dropped is left out, unless something still serves it."""
    names = [{"contextKind": "flagbrake-variant", "variation": n, "values": [f"v{n}"]} for n in range(3)]
    data = {**BASE, "variations": ["a", "b", "c"]}
    dropped = [{"contextKind": "flagbrake-dropped", "variation": n, "values": [str(n)]} for n in (0, 2)]
    flag = flag_from_sdk({**data, "contextTargets": [*names, *dropped]}).result
    assert flag.variant_names == ("v0", "v1")
    assert flag.targets == ()


# --- losses ----------------------------------------------------------------------------------------------


def rule(**clause):
    clause = {"contextKind": "user", "attribute": "a", "op": "in", "values": ["x"], **clause}
    return {"rules": [{"id": "r", "variation": 0, "clauses": [clause]}]}


def rollout(*weights, **rest):
    weighted = [{"variation": n, "weight": w} for n, w in enumerate(weights)]
    return {"fallthrough": {"rollout": {"variations": weighted, **rest}}}


@pytest.mark.parametrize(
    ("change", "where", "severity"),
    [
        ({"trackEvents": True}, "trackEvents", Severity.NOTE),
        ({"samplingRatio": 10}, "samplingRatio", Severity.NOTE),
        ({"migration": {"checkRatio": 1}}, "migration", Severity.NOTE),
        ({"variations": [{"a": 1}, None]}, "variations", Severity.EDGE),
        (rollout(50_000, 50_000, kind="experiment"), "fallthrough.rollout", Severity.NOTE),
        (rollout(50_000, 40_000), "fallthrough.rollout", Severity.NOTE),
        (rollout(50_000, 60_000), "fallthrough.rollout", Severity.NOTE),
        (rule(op="soundsLike"), "rules[0].clauses[0]", Severity.NOTE),
        (rule(op="matches", values=["("]), "rules[0].clauses[0].values[0]", Severity.NOTE),
        (rule(op="lessThan", values=[1, "2"]), "rules[0].clauses[0].values[1]", Severity.NOTE),
        (rule(op="before", values=["soon"]), "rules[0].clauses[0].values[0]", Severity.NOTE),
        (rule(op="semVerEqual", values=["x"]), "rules[0].clauses[0].values[0]", Severity.NOTE),
        (rule(values=[["x"]]), "rules[0].clauses[0].values[0]", Severity.EDGE),
        ({"rules": [{"variation": 0, "clauses": []}]}, "rules[0]", Severity.NOTE),
    ],
)
def test_reading_says_what_it_leaves_out(change, where, severity):
    """Each construct that the model does not hold stands in the report, with its place and what comes of it."""
    done = flag_from_sdk({**BASE, **change})
    assert [(loss.where, loss.severity) for loss in done.losses] == [(f"flags.checkout.{where}", severity)]
    assert done.losses[0].effect.startswith("none") is (severity is Severity.NOTE)


def test_a_big_segment_is_a_grave_loss():
    """Its members are not in the document."""
    done = segment_from_sdk({"key": "big", "version": 1, "unbounded": True, "included": ["u"], "generation": 2})
    assert severities(done) == {Severity.ANSWERS}
    assert done.result.included == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variations": []}, r"flags\.checkout\.variations: a flag needs at least one"),
        ({"fallthrough": {}}, r"fallthrough: it serves neither a variation nor a rollout"),
        ({"fallthrough": {"variation": 2}}, r"fallthrough\.variation: there is no variation 2\. Try: 0 to 1"),
        ({"offVariation": -1}, r"offVariation: there is no variation -1"),
        (rollout(), r"fallthrough: it serves neither"),
        (rule(attribute="/a//b"), r"rules\[0\]\.clauses\[0\]\.attribute: '/a//b' is no reference"),
        (rule(attribute=""), r"'' is no reference: it is empty"),
        (rollout(1, 99_999, bucketBy="/~2", contextKind="user"), r"rollout\.bucketBy: '/~2' is no reference"),
    ],
)
def test_what_sdks_answer_with_an_error_is_refused(change, message):
    """One bad flag is refused by name; the rest of its environment is read."""
    with pytest.raises(InvalidInput, match=message):
        flag_from_sdk({**BASE, **change})
    flags = {"checkout": {**BASE, **change}, "other": {**BASE, "key": "other"}}
    read = environment_from_sdk({"flags": flags}).result
    assert (set(read.flags), set(read.refused)) == ({"other"}, {"checkout"})


def test_an_environment_that_is_not_there():
    """The ones that are there are named."""
    with pytest.raises(InvalidInput, match=r"there is no environment 'prod'\. Try: production"):
        flag_from_rest({"key": "f", "variations": [], "environments": {"production": {}}}, "prod")


def one(clause):
    return Flag.boolean("probe", default="off", rules=(Rule("r", (clause,), "on"),))


@pytest.mark.parametrize(
    "clause",
    [
        Clause(Attribute(("a",)), Op.SET_ALL, ("x",)),
        Clause(Attribute(("a",)), Op.IN_CIDR, ("10.0.0.0/8",)),
        Clause(Attribute(("other",)), Op.FLAG, ("on",)),
        Clause(Attribute(("a",)), Op.BETWEEN, (1, 2), negate=True),
        Clause(Attribute(("a",)), Op.IN, ("x",), semantics=Semantics(case=Case.INSENSITIVE)),
        Clause(Attribute(("a",)), Op.IN, ("x",), semantics=SPLIT),
        Clause(Attribute(("a", "")), Op.IN, ("x",)),
        Clause(Attribute(("a",), "two words"), Op.IN, ("x",)),
    ],
    ids=lambda clause: f"{clause.op}-{clause.attribute}",
)
def test_a_condition_that_cannot_be_said_matches_nobody(clause, sdk):
    """And that is said, as a loss that changes answers."""
    done = flag_to_sdk(one(clause))
    assert Severity.ANSWERS in severities(done)
    sdk.hold({"flags": {"probe": done.result}, "segments": {}})
    for value in ("x", 1.5, ["x"], None):
        assert sdk.ask("probe", EvaluationContext("u", {"a": value}))[0] is False


@pytest.mark.parametrize(
    ("serve", "severity"),
    [
        (ramp("on", 10_000, "off"), Severity.UNITS),
        (ramp("on", 10_000, "off", Bucketing(SHA1, "x", attribute=Attribute(("a", "")))), Severity.ANSWERS),
        (Distribution((Weight("on", 100_000),), NATIVE, Gate(5, NATIVE, "off")), Severity.ANSWERS),
        (ramp("on", 10_000, "off", Bucketing(SHA1, "x", 61)), None),
        (ramp("on", 10_000, "off", Bucketing(SHA1, "x", group="another")), Severity.UNITS),
        (ramp("on", 10_000, "off", NATIVE), None),
    ],
)
def test_writing_says_who_gets_another_variant(serve, severity):
    """A rollout dealt by another algorithm keeps its shares and not its units; what cannot be said is said."""
    losses = flag_to_sdk(Flag.boolean("checkout", default=serve)).losses
    assert {loss.severity for loss in losses} == ({severity} if severity else set())


# --- operators that LaunchDarkly does not have -----------------------------------------------------------

AT = "2026-01-31T12:00:00Z"
VALUES = [None, "DE", "FR", "d", 0, 1, 17, 18, 18.5, True, False, "1.2.3", "1.2.4", "2", "1.2.3-rc.1", "0.0.1", "no"]
VALUES += [AT, "2026-01-31T00:00:00Z", "2026-01-30T23:59:59.999Z", "2026-02-01T00:00:00Z", 1_769_860_800_000, -5]
VALUES += [datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)]
OPERANDS = {
    Op.IN: ("DE", 18, True),
    Op.EQUAL: ("DE",),
    Op.STARTS_WITH: ("D", "F"),
    Op.ENDS_WITH: ("E",),
    Op.CONTAINS: ("R",),
    Op.MATCHES: ("^[DF]",),
    Op.LESS: (18, 1),
    Op.LESS_OR_EQUAL: (18,),
    Op.GREATER: (17,),
    Op.GREATER_OR_EQUAL: (18, 18.5),
    Op.BETWEEN: (1, 18),
    Op.IS: (True,),
    Op.BEFORE: (AT,),
    Op.AFTER: (AT,),
    Op.ON: (AT,),
    Op.ON_OR_BEFORE: (AT, "2026-01-01T00:00:00Z"),
    Op.ON_OR_AFTER: (AT, "2026-02-01T00:00:00Z"),
    Op.BETWEEN_DATES: ("2026-01-31T00:00:00Z", AT),
    Op.SEMVER_EQUAL: ("1.2.3",),
    Op.SEMVER_LESS: ("1.2.3",),
    Op.SEMVER_LESS_OR_EQUAL: ("1.2.3", "0.0.1"),
    Op.SEMVER_GREATER: ("1.2.3-rc.1",),
    Op.SEMVER_GREATER_OR_EQUAL: ("1.2.3", "1.2.4"),
    Op.SEMVER_BETWEEN: ("1.2.3-rc.1", "1.2.3"),
    Op.SEMVER_IN: ("1.2.3", "2.0.0"),
    Op.SET_ANY: ("DE", 18),
    Op.PRESENT: (),
    Op.ALWAYS: (),
}


@pytest.mark.parametrize("semantics", [OURS, LAUNCHDARKLY], ids=["ours", "launchdarkly"])
@pytest.mark.parametrize("negate", [False, True], ids=["is", "not"])
@pytest.mark.parametrize("op", OPERANDS)
def test_what_can_be_said_means_the_same(op, negate, semantics, sdk):
    """The SDK answers the written clause as our evaluator answers the original, operators it lacks included.

    Left out are the values that the report names: incomplete versions and, under "not", what is unreadable.
    """
    flag = one(Clause(Attribute(("a",)), op, OPERANDS[op], negate, semantics))
    done = flag_to_sdk(flag)
    if Severity.ANSWERS in severities(done):
        assert negate
        assert op in {Op.BETWEEN, Op.BETWEEN_DATES, Op.ON, Op.SEMVER_BETWEEN, Op.PRESENT, Op.ALWAYS}
        return
    sdk.hold({"flags": {"probe": done.result}, "segments": {}})
    spelt = len(done.result["rules"][0]["clauses"]) > 1 or op.value.startswith(("on_or", "semver_"))
    rules = Ruleset({"probe": flag})
    seen = set()
    for value in VALUES:
        context = EvaluationContext("u", {"a": value} if value is not None else {})
        ours = rules.evaluate("probe", context).value
        theirs = sdk.ask("probe", context)[0]
        if ours is not theirs:
            assert Severity.EDGE in severities(done), value
            assert (spelt and negate) or value == "2", value
        seen.add(theirs)
    assert seen == {True, False} or op is Op.ALWAYS or (op is Op.PRESENT)


def test_members_of_excluded_segments_are_in_no_rule(sdk):
    """A segment that excludes another is written as rules that do not match its members."""
    everybody = SegmentRule((Clause(Attribute(), Op.ALWAYS),))
    segments = {
        "all": Segment("all", rules=(everybody,), excluded_segments=("blocked",)),
        "blocked": Segment("blocked", (KeySet(("u1",)),)),
    }
    flag = one(Clause(Attribute(), Op.SEGMENT, ("all",), False, LAUNCHDARKLY))
    sdk.hold(environment_to_sdk({"probe": flag}, segments).result)
    assert [sdk.ask("probe", EvaluationContext(unit))[0] for unit in ("u1", "u2")] == [False, True]


def test_kinds_of_values():
    """Numbers without fractions are integers; a mixture is JSON."""

    def kind(*values):
        return flag_from_sdk({**BASE, "variations": list(values)}).result.kind

    assert kind(True, False) is FlagKind.BOOLEAN
    assert kind("a", "b") is FlagKind.STRING
    assert kind(1, 2.0) is FlagKind.INTEGER
    assert kind(1, 2.5) is FlagKind.FLOAT
    assert kind({"a": 1}, [1]) is FlagKind.OBJECT
    assert kind(2**53 + 1, 0.5) is FlagKind.OBJECT
    assert flag_from_sdk({**BASE, "variations": [1, 2.5]}).result.variants == (Variant("0", 1.0), Variant("1", 2.5))
