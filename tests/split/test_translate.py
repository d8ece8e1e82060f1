"""Split's documents to the model and back: nothing is lost in silence."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from splitio.models import rule_based_segments, splits

from flagbrake.evaluate import check, check_segment
from flagbrake.model.clause import LAUNCHDARKLY, OURS, SPLIT, Attribute, Clause, OffFlag, Op
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
    Weight,
    ramp,
)
from flagbrake.model.loss import Severity
from flagbrake.model.values import WHOLE
from flagbrake_split.emulator.compile import Hashing as Compiling
from flagbrake_split.emulator.compile import compile_split
from flagbrake_split.translate import (
    Hashing,
    definition_from_flag,
    definition_from_segment,
    flag_from_definition,
    flag_from_split,
    keys_from_segment,
    segment_from_definition,
    segment_from_keys,
    segment_from_split,
    split_from_flag,
    split_from_segment,
)
from tests.proofs.split_random import MATCHERS, random_world
from tests.support import nouns

worlds = st.integers(0, 2**32).map(lambda seed: random_world(Random(seed), 1))

DEFINITION = {
    "name": "agents.refunds",
    "environment": {"id": "e1", "name": "Production"},
    "trafficType": {"id": "t1", "name": "user"},
    "killed": False,
    "treatments": [
        {
            "name": "v2",
            "configurations": '{"model":"b"}',
            "description": "the new one",
            "keys": ["vip"],
            "segments": ["beta"],
        },
        {"name": "v1", "configurations": '{"model":"a"}'},
        {"name": "unused", "configurations": "{}"},
    ],
    "defaultTreatment": "v1",
    "baselineTreatment": "v1",
    "trafficAllocation": 60,
    "rules": [
        {
            "condition": {
                "combiner": "AND",
                "matchers": [
                    {"type": "IN_LIST_STRING", "negate": False, "attribute": "country", "strings": ["NO", "SE"]},
                    {"type": "BETWEEN_NUMBER", "negate": True, "attribute": "age", "between": {"from": 1, "to": 17}},
                ],
            },
            "buckets": [{"treatment": "v2", "size": 30}, {"treatment": "v1", "size": 70}],
        },
        {
            "condition": {
                "combiner": "AND",
                "matchers": [
                    {"type": "IN_SPLIT", "negate": False, "depends": {"splitName": "other", "treatment": "on"}}
                ],
            },
            "buckets": [{"treatment": "v2", "size": 100}],
        },
    ],
    "defaultRule": [{"treatment": "v2", "size": 10}, {"treatment": "v1", "size": 90}],
    "flagSets": [{"id": "s1", "type": "FlagSet"}],
    "lastUpdateTime": 1_700_000_000_000,
}


# --- round trips ---------------------------------------------------------------------------------------


@given(worlds)
def test_splits_survive(world):
    """A split, read, written over itself and read again is the same flag, and what was written is stable."""
    for split in world.splits:
        read = flag_from_split(split)
        if any(loss.severity is Severity.ANSWERS and loss.where.startswith("conditions") for loss in read.losses):
            continue  # a matcher that nobody can read
        flag = read.result
        written = split_from_flag(flag, base=split, rule_based=[s["name"] for s in world.rule_based]).result
        again = flag_from_split(written).result
        assert ids_apart(again) == ids_apart(flag)
        assert split_from_flag(again, base=written, rule_based=[s["name"] for s in world.rule_based]).result == written


@given(worlds)
def test_definitions_survive(world):
    """A flag that a definition can say is the same after it was written and read; the seeds come from elsewhere."""
    for split in world.splits:
        flag = flag_from_split(split).result
        written = definition_from_flag(flag, base=None)
        if any(loss.severity in {Severity.ANSWERS, Severity.EDGE} for loss in written.losses) or flag.archived:
            continue
        again = flag_from_definition(written.result, hashing=Hashing.of(split)).result
        assert definition_from_flag(again, base=written.result).result == written.result
        assert (again.on, again.variants, again.off_variant) == (flag.on, flag.variants, flag.off_variant)
        assert [r.clauses for r in again.rules] == [r.clauses for r in flag.rules]
        assert [r.serve for r in again.rules] == [r.serve for r in flag.rules]


@given(worlds)
def test_rule_based_segments_survive(world):
    """In both vocabularies, and the real SDK can read what was written."""
    rule_based = {s["name"] for s in world.rule_based}
    for document in world.rule_based:
        segment = segment_from_split(document).result
        written = split_from_segment(segment, base=document, rule_based=rule_based)
        assert not written.losses
        assert segment_from_split(written.result).result == segment
        rule_based_segments.from_raw(written.result)
        definition = definition_from_segment(segment, rule_based=rule_based).result
        again = segment_from_definition(definition, rule_based=rule_based).result
        assert (again.rules, again.excluded, again.excluded_segments) == (
            segment.rules,
            segment.excluded,
            segment.excluded_segments,
        )


def named(flag):
    """Who is named in the targets, and for what."""
    return {key: target.variant for target in reversed(flag.targets) for key in target.keys}


def ids_apart(flag):
    """A flag without what a label is: the names of rules."""
    rules = tuple(Rule("", r.clauses, r.serve) for r in flag.rules)
    return Flag(**{**{name: getattr(flag, name) for name in Flag.__slots__}, "rules": rules})


def test_a_definition_is_read_as_it_compiles():
    """A definition read here is the flag that SDKs are given for it by an independent compiler."""
    v2, v1, unused = DEFINITION["treatments"]
    both = {**DEFINITION, "treatments": [v2, {**v1, "keys": ["bad"], "segments": ["staff"]}, unused]}
    for definition in (DEFINITION, both):
        compiled = compile_split(definition, hashing=Compiling(5, 6), change_number=1_700_000_000_000)
        mine = flag_from_definition(definition, hashing=Hashing(5, 6)).result
        theirs = flag_from_split(compiled).result
        assert mine.rules == theirs.rules
        assert (mine.targets, mine.default, mine.off_variant) == (theirs.targets, theirs.default, theirs.off_variant)


def test_a_definition_is_written_back_word_for_word():
    """What is read from a definition and written over it changes nothing in it."""
    read = flag_from_definition(DEFINITION)
    written = definition_from_flag(read.result, base=DEFINITION)
    assert written.result == DEFINITION
    assert (read.losses, written.losses) == ((), ())


@pytest.mark.parametrize("kind", list(MATCHERS))
def test_every_matcher_in_both_vocabularies(kind):
    """Each matcher of the SDK becomes a clause, and is the same after a stay in a definition."""
    found = 0
    for seed in range(400):
        for split in random_world(Random(seed), 1).splits:
            for condition in split["conditions"]:
                if [m["matcherType"] for m in condition["matcherGroup"]["matchers"]] == [kind]:
                    found += 1
                    one = {**split, "conditions": [condition, split["conditions"][-1]], "trafficAllocation": 100}
                    flag = flag_from_split(one).result
                    rule_based = ["rules-0", "rules-1", "rules-2"]
                    definition = definition_from_flag(flag, rule_based=rule_based).result
                    again = flag_from_definition(definition, hashing=Hashing.of(split)).result
                    assert [r.clauses for r in again.rules] == [r.clauses for r in flag.rules]
                    assert named(again) == named(flag)
    assert found > 3


# --- what Split cannot say -----------------------------------------------------------------------------


@given(nouns.flags())
def test_any_flag_can_be_written(flag):
    """Whatever a flag says, it becomes a split that the SDK can read; what does not is a loss, never an error."""
    written = split_from_flag(flag)
    again = flag_from_split(written.result).result
    check(again)
    assert again.on == flag.on
    if {v.name: v.value for v in again.variants} != {v.name: v.value for v in flag.variants}:
        assert written.losses


def losses(flag, **rest):
    return [(loss.where, loss.severity) for loss in split_from_flag(flag, **rest).losses]


def rule(*clauses, serve="on"):
    return Rule("r", clauses, serve)


SPLITS = Bucketing("split-murmur3", seed=7, override=Attribute(("bucketingKey",)))


def test_losses_of_serves():
    """Shares finer than a percent, another hash, another unit, a second gate and another outside are said."""
    fine = Distribution((Weight("on", 12_500), Weight("off", 87_500)), SPLITS)
    assert losses(Flag.boolean("f", default=fine)) == [("default", Severity.ANSWERS)] * 2
    assert losses(Flag.boolean("f", default=ramp("on", 10_000, "off", SPLITS))) == []
    assert losses(Flag.boolean("f", default=ramp("on", 10_000, "off"))) == [("default.bucketing", Severity.UNITS)]
    plain = Bucketing("split-murmur3", seed=7)
    assert losses(Flag.boolean("f", default=ramp("on", 1000, "off", plain))) == [("default.bucketing", Severity.EDGE)]
    gate = Gate(40_000, SPLITS, "on")
    gated = Distribution((Weight("on", WHOLE),), SPLITS, gate)
    assert losses(Flag.boolean("f", default=gated)) == [("default.gate", Severity.ANSWERS)]
    half = Distribution((Weight("on", WHOLE),), SPLITS, Gate(40_000, SPLITS, "off"))
    flag = Flag.boolean("f", default="on", rules=(rule(Clause(Attribute(), Op.ALWAYS), serve=half),))
    assert losses(flag) == [("default.gate", Severity.ANSWERS)]


def test_losses_of_clauses():
    """Operators that Split does not have, values it cannot compare with, and other readings of attributes are said."""
    country = Attribute(("country",))

    def of(*clauses):
        return losses(Flag.boolean("f", rules=(rule(*clauses),)))

    assert of(Clause(country, Op.IN, ("NO",), semantics=SPLIT)) == []
    assert of(Clause(country, Op.IN, ("NO",), semantics=OURS)) == [("rules[0].clauses[0]", Severity.EDGE)]
    assert of(Clause(country, Op.SEMVER_LESS, ("1.0.0",), semantics=LAUNCHDARKLY)) == [
        ("rules[0].clauses", Severity.ANSWERS)
    ]
    assert of(Clause(country, Op.IN, (5,), semantics=SPLIT)) == [("rules[0].clauses", Severity.ANSWERS)]
    assert of(Clause(country, Op.IN_CIDR, ("10.0.0.0/8",))) == [("rules[0].clauses", Severity.ANSWERS)]


def test_losses_of_the_rest():
    """No off variant, targets of another kind, a prerequisite that counts as unmet when off, an unused variant."""
    assert losses(Flag("f", Flag.boolean("f").kind, Flag.boolean("f").variants, "on")) == [("off", Severity.ANSWERS)]
    assert losses(Flag.boolean("f", targets=(Targets("on", ("a",), "org"),))) == [("targets[0]", Severity.ANSWERS)]
    assert losses(Flag.boolean("f", prerequisites=(Prerequisite("g", ("on",)),))) == [
        ("prerequisites[0]", Severity.EDGE)
    ]
    asked = Prerequisite("g", ("on",), OffFlag.SERVES)
    assert losses(Flag.boolean("f", default="off", prerequisites=(asked,))) == [("variants.on", Severity.NOTE)]


def test_one_clause_may_need_several_conditions():
    """Several values where Split has one: any of them is several conditions, none of them several matchers."""
    ages = Clause(Attribute(("age",)), Op.EQUAL, (5, 6), semantics=SPLIT)
    conditions = split_from_flag(Flag.boolean("f", rules=(rule(ages),))).result["conditions"]
    assert [len(c["matcherGroup"]["matchers"]) for c in conditions] == [1, 1, 1]
    conditions = split_from_flag(Flag.boolean("f", rules=(rule(ages.negated()),))).result["conditions"]
    assert [len(c["matcherGroup"]["matchers"]) for c in conditions] == [2, 1]


def test_seeds():
    """A flag keeps its seeds, the flag that is there keeps its own, and a flag without gets the same ones always."""
    flag = Flag.boolean("f", default=ramp("on", 10_000, "off", SPLITS))
    assert split_from_flag(flag).result["seed"] == 7
    there = split_from_flag(flag, base={"seed": 9, "trafficAllocationSeed": 10, "algo": 1})
    assert (there.result["seed"], there.result["algo"]) == (9, 1)
    assert [loss.severity for loss in there.losses] == [Severity.UNITS]
    ours = Flag.boolean("f", default=ramp("on", 10_000, "off"))
    seeds = {split_from_flag(ours).result["seed"] for _ in range(3)}
    assert len(seeds) == 1
    assert 0 not in seeds


# --- what only Split says ------------------------------------------------------------------------------


def split(**changes):
    base = {
        "name": "f",
        "trafficTypeName": "user",
        "status": "ACTIVE",
        "changeNumber": 5,
        "killed": False,
        "defaultTreatment": "off",
        "seed": 1,
        "conditions": [everybody([{"treatment": "on", "size": 100}])],
    }
    return base | changes


def everybody(partitions):
    matcher = {"keySelector": None, "matcherType": "ALL_KEYS", "negate": False}
    return {
        "conditionType": "ROLLOUT",
        "label": "default rule",
        "matcherGroup": {"combiner": "AND", "matchers": [matcher]},
        "partitions": partitions,
    }


@pytest.mark.parametrize(
    ("sizes", "shares", "lost"),
    [
        ([30, 70], [30_000, 70_000], []),
        ([0, 100], [0, WHOLE], []),
        ([33.5, 66.5], [33_000, 67_000], [Severity.NOTE, Severity.NOTE]),
        ([60], [60_000, 40_000], [Severity.ANSWERS]),
        ([60, 60], [60_000, 40_000], [Severity.NOTE]),
        ([], [WHOLE], [Severity.ANSWERS, Severity.ANSWERS]),
    ],
)
def test_partitions(sizes, shares, lost):
    """Partitions are what buckets 1 to 100 make of them; where the SDK would answer control, the loss says so."""
    partitions = [{"treatment": name, "size": size} for name, size in zip(("on", "v2"), sizes, strict=False)]
    read = flag_from_split(split(conditions=[everybody(partitions)]))
    assert [w.share for w in read.result.default.weights] == shares
    assert [loss.severity for loss in read.losses] == lost


def test_an_unknown_matcher_is_a_loss():
    """A rule that nobody can read is left out and said; the flag can still be read, killed and restored."""
    future = {"keySelector": None, "matcherType": "FROM_THE_FUTURE", "negate": False}
    condition = {
        "conditionType": "ROLLOUT",
        "matcherGroup": {"combiner": "AND", "matchers": [future]},
        "partitions": [],
    }
    read = flag_from_split(split(conditions=[condition, everybody([{"treatment": "on", "size": 100}])]))
    assert read.result.rules == ()
    assert "the matcher type FROM_THE_FUTURE" in [loss.what for loss in read.losses]


def test_killed_and_archived():
    """A killed split is off and keeps its rules; an archived one is archived."""
    flag = flag_from_split(split(killed=True, status="ARCHIVED")).result
    assert (flag.on, flag.off_variant, flag.default, flag.archived, flag.version) == (False, "off", "on", True, 5)
    splits.from_raw(split_from_flag(flag).result)


def test_lists_of_keys():
    """A standard segment is its keys; rules and other kinds are losses."""
    segment = segment_from_keys("staff", ["a", "b"], version=3)
    assert keys_from_segment(segment).result == ("a", "b")
    assert not keys_from_segment(segment).losses
    clause = Clause(Attribute(), Op.ALWAYS)
    more = Segment("s", included=(KeySet(("a",)), KeySet(("o",), "org")), rules=(SegmentRule((clause,), 5),))
    assert [loss.where for loss in keys_from_segment(more).losses] == ["included[1]", "rules"]
    assert [loss.where for loss in split_from_segment(more).losses] == ["included[1]", "rules[0].share"]
    check_segment(segment_from_split(split_from_segment(more).result).result)
