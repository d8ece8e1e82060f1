"""Explanations: they say what decided, and never say anything else than the evaluation did."""

from __future__ import annotations

import json
from random import Random

import pytest
from openfeature.evaluation_context import EvaluationContext

from flagbrake.errors import NotFound
from flagbrake.evaluate import Ruleset
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Bucketing, Distribution, Flag, Gate, KeySet, Prerequisite, Segment, Targets, ramp
from flagbrake.model.values import USE_DEFAULT
from tests.proofs.flagd_twin import random_context, random_flag
from tests.support.nouns import one_rule, typical

U1 = EvaluationContext("u1", {"country": "DE", "age": 18})


def explained(flag, context=U1, *others, segments=()):
    rules = Ruleset({f.key: f for f in (flag, *others)}, {s.key: s for s in segments})
    return rules.explain(flag.key, context)


def test_a_rule_that_serves_and_those_around_it():
    """All rules in order; each clause with what was seen; the one that served is marked."""
    why = explained(typical("f"))
    assert [(r.id, r.matched, r.used) for r in why.rules] == [
        ("r0", True, True),
        ("r1", False, False),
        ("r2", False, False),
        ("r3", False, False),
    ]
    country, age = why.rules[1].clauses
    assert (country.matched, country.seen, age.matched, age.seen, age.values) == (True, "DE", False, 18, (19,))
    assert (why.decided_by, why.variant, why.reason) == ("rule", "v2", "TARGETING_MATCH")


def test_a_split_shows_bucket_and_bounds():
    """The bucket of 100,000, every variant's stretch, and where the unit fell."""
    why = explained(Flag.boolean("f", default=ramp("on", 12_500, "off")))
    assert [(s.variant, s.start, s.end) for s in why.split.slices] == [("on", 0, 12_500), ("off", 12_500, 100_000)]
    (here,) = [s for s in why.split.slices if s.chosen]
    assert here.start <= why.split.bucket < here.end
    assert here.variant == why.variant
    assert (why.split.unit, why.split.algorithm, why.split.salt) == ("u1", "flagbrake-1", "f")


def test_a_missing_unit_is_an_error_that_is_explained():
    """The error of the evaluation, and no bucket."""
    why = explained(Flag.boolean("f", default=ramp("on", 12_500, "off")), EvaluationContext())
    assert why.error.startswith("TARGETING_KEY_MISSING: 'f' is split by targeting key")
    assert (why.variant, why.split.bucket, why.reason) == (None, None, "ERROR")


def test_a_gate_is_shown():
    """Bucket, bound and verdict of the gate; outside chooses no slice."""
    gate = Gate(1, Bucketing(salt="g"), "off")
    why = explained(Flag.boolean("f", default=Distribution(ramp("on", 50_000, "off").weights, Bucketing(), gate)))
    assert (why.split.gate.inside, why.split.gate.end, why.variant) == (False, 1, "off")
    assert not any(s.chosen for s in why.split.slices)


def test_off_prerequisite_target_default():
    """What decided, for each of the ways a flag can answer."""
    needing = Flag.boolean("f", prerequisites=(Prerequisite("p", ("on",)), Prerequisite("q", ("on",))))
    why = explained(needing, U1, Flag.boolean("p"), Flag.boolean("q", default="off"))
    assert why.decided_by == "prerequisite"
    assert [(p.flag, p.met, p.served) for p in why.prerequisites] == [("p", True, "on"), ("q", False, "off")]
    assert explained(needing, U1, Flag.boolean("p", on=False)).prerequisites[0].note == "it is off"
    assert explained(needing).prerequisites[0].note == "it does not exist"
    assert explained(Flag.boolean("f", on=False)).decided_by == "off"
    why = explained(Flag.boolean("f", targets=(Targets("off", ("u1",)),)))
    assert (why.decided_by, why.target) == ("target", "off")
    assert explained(Flag.boolean("f")).decided_by == "default"


def test_segments_and_missing_attributes_say_so():
    """Membership by name; absence in words."""
    segment = Clause(Attribute(), Op.SEGMENT, ("s", "t"))
    absent = Clause(Attribute(("plan",)), Op.IN, ("pro",), negate=True)
    why = explained(one_rule(segment, absent), segments=(Segment("s", (KeySet(("u1",)),)),))
    first, second = why.rules[0].clauses
    assert first.note == "in 's', segment 't' does not exist"
    assert (second.matched, second.note) == (False, "it is absent, which matches nothing")


def test_unknown_flags_name_the_nearest():
    """NotFound with the key that was probably meant."""
    rules = Ruleset({"checkout": Flag.boolean("checkout"), "old": Flag.boolean("old", archived=True)})
    with pytest.raises(NotFound, match=r"Flag 'chekout' does not exist\. Try: 'checkout'"):
        rules.explain("chekout", U1)
    with pytest.raises(NotFound, match="archived"):
        rules.explain("old", U1)


def test_explanation_and_evaluation_agree():
    """Over random flags and contexts: same variant, value, reason; the marked slice or rule is the one that served."""
    random = Random(7)
    for number in range(300):
        flag = random_flag(random, f"f{number}")
        rules = Ruleset({flag.key: flag})
        for _ in range(5):
            context = random_context(random)
            answer, why = rules.evaluate(flag.key, context), rules.explain(flag.key, context)
            value = None if answer.value is USE_DEFAULT else answer.value
            assert (why.variant, why.value, why.reason) == (answer.variant, value, str(answer.reason))
            assert [r.id for r in why.rules if r.used] == [v for k, v in answer.flag_metadata.items() if k == "rule"]
            if why.split is not None:
                assert [s.variant for s in why.split.slices if s.chosen] == [answer.variant]
            json.dumps(why.to_data(), allow_nan=False)
            assert why.render().startswith(f"{flag.key} (version {flag.version}) for u")


def test_rendered_lines():
    """What an operator reads."""
    why = explained(typical("f"), EvaluationContext("u1", {"country": "US"}))
    text = why.render()
    assert "  rule 1 'r0' does not match: v2\n    no  country in ['DE', 'FR', 'X0']: it is 'US'\n" in text
    assert "    no  age greater_or_equal [18]: it is absent\n" in text
    assert "  default: split v2 12.5 %, v1 87.5 % <- serves\n" in text
    assert f"    bucket {why.split.bucket} of 100000\n    v2: 0 up to 12500 (12.5 %)" in text
