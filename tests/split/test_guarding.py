"""Clauses of other dialects than Split's, written for Split: its real SDK answers as our evaluator does."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openfeature.evaluation_context import EvaluationContext

from flagbrake.control.writer import FlagWriter
from flagbrake.evaluate import Ruleset
from flagbrake.model.clause import LAUNCHDARKLY, OURS, Attribute, Clause, Op
from flagbrake.model.flag import Flag, Rule
from flagbrake.model.state import Create, Replace
from flagbrake.ports.control import FlagControl
from flagbrake.testing import MemoryLock
from flagbrake_split.translate import definition_from_flag, split_from_definition, split_from_flag
from tests.proofs.split_twin import Theirs
from tests.split.controlling import MISSET
from tests.support.nouns import one_rule

X = Attribute(("x",))
#: Lists and structures stand for themselves under texts only, fractions nowhere: those are losses that are told.
PLAIN = st.none() | st.booleans() | st.integers(-20, 20) | st.text("0123456789-.,tTfFruealspomx ", max_size=6)
PLAIN |= st.sampled_from(["true", "False", " true", "TRUE", "18", "-3", " 5 ", "pro", "max", "pro max", "o", ""])
LISTS = st.lists(st.sampled_from(["pro", "max", "p", "o", "free", ""]), max_size=3)

numeric = st.builds(
    Clause,
    st.just(X),
    st.sampled_from([Op.IN, Op.EQUAL, Op.LESS, Op.LESS_OR_EQUAL, Op.GREATER, Op.GREATER_OR_EQUAL]),
    st.lists(st.integers(-20, 20), min_size=1, max_size=3).map(tuple),
    st.booleans(),
    st.sampled_from([OURS, LAUNCHDARKLY]),
)
truths = st.builds(Clause, st.just(X), st.just(Op.IS), st.tuples(st.booleans()), st.booleans(), st.just(OURS))
texts = st.builds(
    Clause,
    st.just(X),
    st.sampled_from([Op.IN, Op.EQUAL]),
    st.lists(st.sampled_from(["pro", "max", "pro max", "free"]), min_size=1, max_size=3).map(tuple),
    st.booleans(),
    st.sampled_from([OURS, LAUNCHDARKLY]),
)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> None:
    logging.getLogger("splitio").setLevel(logging.CRITICAL + 1)  # it logs whatever it coerces


def served(clauses: tuple[Clause, ...], attributes: dict[str, Any]) -> tuple[str | None, str, str]:
    """What our evaluator serves, and the SDK from the split and from the definition that are written."""
    flag = one_rule(*clauses, key="f")
    split = split_from_flag(flag).result
    compiled = split_from_definition(definition_from_flag(flag).result)
    context = EvaluationContext("ann", attributes)
    ours = Ruleset({"f": flag}).evaluate("f", context).variant
    found = [
        Theirs(SimpleNamespace(splits=[{**one, "changeNumber": 1}], segments={}, rule_based=[])).ask(
            "f", "ann", attributes
        )[0]
        for one in (split, {**compiled, "status": "ACTIVE", "seed": 1, "trafficTypeName": "user"})
    ]
    return ours, found[0], found[1]


def agreed(clauses: tuple[Clause, ...], value: Any) -> None:
    """All three serve the same."""
    attributes = {} if value is None else {"x": value}
    ours, *theirs = served(clauses, attributes)
    assert [ours, ours] == theirs, (clauses, value)


@settings(max_examples=400)
@given(st.one_of(numeric, truths), PLAIN)
@example(Clause(X, Op.IN, (5,)), "5")
@example(Clause(X, Op.GREATER_OR_EQUAL, (18,)), "18")
@example(Clause(X, Op.GREATER_OR_EQUAL, (18,), negate=True), "18")
@example(Clause(X, Op.GREATER_OR_EQUAL, (18,), negate=True), None)
@example(Clause(X, Op.IS, (True,)), "true")
@example(Clause(X, Op.IS, (False,), negate=True), " FALSE ")
@example(Clause(X, Op.IS, (True,), negate=True), None)
def test_numbers_and_booleans_are_no_texts(clause: Clause, value: Any) -> None:
    """A text that spells a number or a boolean is none, and what is missing matches nothing, negated or not."""
    agreed((clause,), value)


@settings(max_examples=400)
@given(texts, PLAIN.filter(lambda value: not isinstance(value, (bool, int))) | LISTS)
@example(Clause(X, Op.IN, ("pro",)), ["max", "pro"])
@example(Clause(X, Op.IN, ("pro",), negate=True), ["max", "pro"])
@example(Clause(X, Op.IN, ("pro",), negate=True), [])
@example(Clause(X, Op.IN, ("pro",), negate=True), None)
def test_lists_are_looked_into(clause: Clause, value: Any) -> None:
    """A list matches if an element does."""
    agreed((clause,), value)


@settings(max_examples=200)
@given(st.tuples(texts, texts), PLAIN.filter(lambda value: not isinstance(value, (bool, int))) | LISTS)
def test_clauses_that_must_all_match(clauses: tuple[Clause, ...], value: Any) -> None:
    """Each clause that needs several conditions is several conditions with each other one."""
    agreed(clauses, value)


@pytest.mark.parametrize("negate", [True, False])
def test_one_letter_is_not_looked_for_in_texts(*, negate: bool) -> None:
    """A value of one letter is not the letter of a text; that it is not found in a list is told."""
    clause = Clause(X, Op.IN, ("p",), negate=negate)
    for value in ("p", "pro", "max", None):
        agreed((clause,), value)
    assert split_from_flag(one_rule(clause)).losses


def test_no_rule_becomes_a_hundred() -> None:
    """Ten clauses that would look into lists would be a thousand rules: then texts are looked at only."""
    clauses = tuple(Clause(Attribute((f"x{n}",)), Op.IN, ("pro",)) for n in range(10))
    conditions = split_from_flag(one_rule(*clauses)).result["conditions"]
    assert [len(c["matcherGroup"]["matchers"]) for c in conditions] == [10, 1]
    assert len(split_from_flag(one_rule(*clauses[:5])).result["conditions"]) == 33


def test_a_rule_in_our_dialect_is_written_and_verified(control: FlagControl) -> None:
    """A flag whose rules are ours is created and replaced: what is read back in Split's words is what was meant."""
    writer = FlagWriter(control, lock=MemoryLock())
    rule = Rule("pros", (Clause(X, Op.IN, ("pro",)), Clause(X, Op.GREATER, (3,), negate=True)), "v2")
    flag = Flag("f", MISSET.kind, MISSET.variants, "v1", off_variant="v1", rules=(rule,))
    assert writer.apply(Create(flag), by="ann").flag.rules
    more = Flag("f", MISSET.kind, MISSET.variants, "v2", off_variant="v1", rules=(rule, replace(rule, id="more")))
    assert len(writer.apply(Replace(more), by="ann").flag.rules) == 8
