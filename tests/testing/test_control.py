"""MemoryControl: compare-and-swap and every change, without a database."""

from __future__ import annotations

import pytest

from flagbrake.errors import Conflict, InvalidInput, NotFound
from flagbrake.model.flag import Flag, Prerequisite, Targets, ramp
from flagbrake.model.state import Archive, Create, Replace, SetDistribution, SetOn, SetTargets
from flagbrake.testing import FakeClock, MemoryControl, MemoryProvider


@pytest.fixture
def control():
    return MemoryControl(MemoryProvider([Flag.boolean("checkout")]), clock=FakeClock())


def test_every_change_is_served_and_raises_the_version(control):
    """A write is read back, raises the version by one and is what the provider serves."""
    changes = [
        SetOn("checkout", on=False),
        SetDistribution("checkout", ramp("on", 25_000, "off"), turn_on=True),
        SetTargets("checkout", (Targets("on", ("u1",)),)),
        Archive("checkout"),
    ]
    for version, change in enumerate(changes, 1):
        state = control.apply(change, by="ann", comment="why not")
        assert state.flag.version == version
        assert state == control.read("checkout")
        assert control.provider.flags["checkout"] == state.flag
    assert [w.change for w in control.written] == changes
    assert list(control.states()) == []


def test_a_true_change_writes_nothing(control):
    """Turning on what is on keeps the version."""
    assert control.apply(SetOn("checkout", on=True)).flag.version == 0
    assert control.written == []


def test_compare_and_swap(control):
    """A version that was overtaken raises Conflict and writes nothing."""
    seen = control.read("checkout").version
    control.apply(SetOn("checkout", on=False), expected=seen)
    with pytest.raises(Conflict):
        control.apply(SetOn("checkout", on=True), expected=seen)
    assert control.read("checkout").flag.on is False


def test_restore_by_native_document(control):
    """Replace with the native document puts everything back but the version."""
    before = control.read("checkout")
    control.apply(SetOn("checkout", on=False))
    after = control.apply(Replace(before.flag, native=before.native))
    assert after.flag.on
    assert after.flag.version == 2


def test_refusals(control):
    """Names that are not there are told; a circle is refused; an existing key is a conflict."""
    with pytest.raises(NotFound, match="checkout"):
        control.read("chekout")
    with pytest.raises(Conflict):
        control.apply(Create(Flag.boolean("checkout")))
    with pytest.raises(InvalidInput, match="leads back to itself"):
        control.apply(Replace(Flag.boolean("checkout", prerequisites=(Prerequisite("checkout", ("on",)),))))
    with pytest.raises(InvalidInput, match="'other' does not exist"):
        control.apply(Create(Flag.boolean("new", prerequisites=(Prerequisite("other", ("on",)),))))
