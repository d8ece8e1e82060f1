"""What a change asks for, leads to, and whether it did."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagbrake.control import changes
from flagbrake.errors import Conflict, InvalidInput, NotFound
from flagbrake.model.change import intended
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Bucketing, Distribution, Flag, Gate, Rule, Targets, Weight, ramp
from flagbrake.model.state import Archive, Capability, Create, Replace, SetDistribution, SetOn, SetTargets
from tests.control.doubles import agent_flag

RULE = Rule("beta", (Clause(Attribute(("country",)), Op.IN, ("DE",)),), "v1")


@given(share=st.integers(0, 100_000), resolution=st.sampled_from([1, 10, 100, 1000]))
def test_a_split_is_refused_exactly_when_it_is_finer_than_the_control(share, resolution):
    """Nothing is rounded in silence, nothing that fits is refused."""
    change = SetDistribution("a", ramp("v2", share, "v1"))
    if share % resolution == 0:
        changes.check_splits(change, resolution=resolution, control="x")
    else:
        with pytest.raises(InvalidInput):
            changes.check_splits(change, resolution=resolution, control="x")


def test_the_two_nearest_shares_are_named():
    """The cure is a share that can be set."""
    with pytest.raises(InvalidInput) as refused:
        changes.check_splits(SetDistribution("a", ramp("v2", 12_500, "v1")), resolution=1000, control="split")
    assert refused.value.cure == "12 or 13"
    assert "12.5 %" in refused.value.fact
    assert "'split'" in refused.value.fact


def test_the_gate_and_the_rules_are_checked_too():
    """A share hides in a gate, and in a rule of a new flag."""
    gated = Distribution((Weight("v1", 100_000),), gate=Gate(1_500, Bucketing(), "v1"))
    hidden = Create(agent_flag(default="v1", rules=(replace(RULE, serve=ramp("v2", 500, "v1")),)))
    for change in (SetDistribution("a", gated), hidden):
        with pytest.raises(InvalidInput):
            changes.check_splits(change, resolution=1000, control="split")


def test_shares_must_add_up():
    """99 % is not a split."""
    with pytest.raises(InvalidInput, match="99 %"):
        changes.check_splits(SetDistribution("a", Distribution((Weight("v1", 99_000),))), resolution=1, control="sql")


def test_a_vendors_own_document_is_not_checked():
    """It was there before, so it can be there again."""
    change = Replace(agent_flag(default=ramp("v2", 12_345, "v1")), native={"x": 1})
    changes.check_splits(change, resolution=1000, control="split")


def test_what_a_change_needs():
    """Every capability a change touches is asked for."""
    needs = changes.required
    flag = agent_flag(rules=(RULE,), targets=(Targets("v2", ("u",)),))
    assert set(needs(Create(flag))) == {Capability.CREATE, Capability.RULES, Capability.SET_TARGETS}
    assert set(needs(Replace(flag, native={}))) == {Capability.REPLACE, Capability.NATIVE_RESTORE}
    assert set(needs(SetDistribution("a", "v1", rule="r", turn_on=True))) == {
        Capability.SET_DISTRIBUTION,
        Capability.RULES,
        Capability.ATOMIC_ON_AND_SPLIT,
    }


def test_intended():
    """Each change leads to the flag it describes."""
    flag = agent_flag(rules=(RULE,))
    assert not intended(flag, SetOn(flag.key, on=False)).on
    split = ramp("v2", 50_000, "v1")
    assert intended(replace(flag, on=False), SetDistribution(flag.key, split, turn_on=True)) == replace(
        flag, default=split
    )
    assert intended(flag, SetDistribution(flag.key, split, rule="beta")).rules[0].serve == split
    assert intended(flag, SetTargets(flag.key, (Targets("v2", ("u",)),))).targets[0].keys == ("u",)
    assert intended(flag, Archive(flag.key)).archived
    assert intended(None, Create(flag)) == flag


def test_intended_refuses_what_does_not_exist():
    """An unknown variant or rule, a missing flag and a key that is taken are errors before any write."""
    flag = agent_flag(rules=(RULE,))
    with pytest.raises(InvalidInput, match="v9"):
        intended(flag, SetDistribution(flag.key, "v9"))
    with pytest.raises(InvalidInput, match="beta"):
        intended(flag, SetDistribution(flag.key, "v1", rule="nope"))
    with pytest.raises(InvalidInput, match="v9"):
        intended(flag, SetTargets(flag.key, (Targets("v9", ("u",)),)))
    with pytest.raises(NotFound):
        intended(None, SetOn("a", on=True))
    with pytest.raises(Conflict):
        intended(flag, Create(flag))


def test_a_difference_names_what_was_meant_and_found():
    """A control that set another share is caught; what a vendor assigns itself is not a difference."""
    flag = agent_flag()
    change = SetDistribution(flag.key, ramp("v2", 25_000, "v1"))
    meant = intended(flag, change)
    assert changes.difference(meant, meant, change) == ""
    assert "10000" in changes.difference(flag, meant, change)
    salted = replace(meant, default=replace(meant.default, bucketing=Bucketing(salt="vendor")))
    assert changes.difference(salted, meant, change) == ""
    whole = SetDistribution(flag.key, "v1")
    assert changes.difference(replace(flag, default=ramp("v2", 0, "v1")), intended(flag, whole), whole) == "", (
        "100 % to v1 is v1"
    )


def test_already():
    """Versions and the order of targets do not make a change; a salt does."""
    flag = agent_flag(targets=(Targets("v1", ("a", "b")),))
    assert changes.already(flag, replace(flag, version=9, targets=(Targets("v1", ("b",)), Targets("v1", ("a",)))))
    assert not changes.already(flag, replace(flag, default=replace(flag.default, bucketing=Bucketing(salt="x"))))
    assert not changes.already(Flag.boolean("x"), Flag.boolean("x", on=False))
