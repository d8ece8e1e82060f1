"""The SQL control: exact, atomic, audited."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from flagbrake.errors import Conflict, FlagbrakeError, InvalidInput, NotFound
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.codec import dumps
from flagbrake.model.flag import Flag, KeySet, Prerequisite, Rule, Segment, Targets, ramp
from flagbrake.model.state import (
    Archive,
    Capability,
    Create,
    Replace,
    SetDistribution,
    SetOn,
    SetTargets,
    Support,
)
from flagbrake.store import Store, schema
from flagbrake_sql.control import SqlControl
from tests.support.places import Place


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as opened:
        yield opened


@pytest.fixture
def control(store: Store) -> SqlControl:
    return SqlControl(store)


RULE = Rule("r1", (Clause(Attribute.parse("country"), Op.IN, ("DE",)),), "on")


def test_every_capability_is_declared_full():
    """It is our own store: nothing is missing."""
    assert set(SqlControl.capabilities) == set(Capability)
    assert set(SqlControl.capabilities.values()) == {Support.FULL}
    assert SqlControl.split_resolution == 1


def test_each_change_does_what_it_says(control: SqlControl):
    """The state returned is the state read, and nothing else of the flag changes."""
    flag = Flag.boolean("checkout", on=False, rules=(RULE,), tags=("t",))
    state = control.apply(Create(flag), by="ann")
    assert replace(state.flag, version=0) == flag
    split = ramp("on", 12_345, "off")
    steps = [
        (SetOn("checkout", on=True), replace(flag, on=True)),
        (SetDistribution("checkout", split), replace(flag, on=True, default=split)),
        (SetDistribution("checkout", "off", rule="r1"), None),
        (SetOn("checkout", on=False), None),
        (SetDistribution("checkout", "on", turn_on=True), None),
        (SetTargets("checkout", (Targets("on", ("ann",)),)), None),
        (Archive("checkout"), None),
    ]
    for version, (change, wanted) in enumerate(steps, 2):
        state = control.apply(change, by="ann")
        read = control.read("checkout")
        assert (read.flag, read.version, read.native) == (state.flag, state.version, state.native)
        assert state.flag.version == version
        if wanted is not None:
            assert replace(state.flag, version=0) == wanted
    last = state.flag
    assert (last.on, last.default, last.rules[0].serve, last.archived) == (True, "on", "off", True)
    assert last.targets == (Targets("on", ("ann",)),)
    assert last.tags == ("t",)
    assert list(control.states()) == []


def test_a_state_is_fully_named(control: SqlControl):
    """The reference names provider, project and environment."""
    ref = control.apply(Create(Flag.boolean("checkout"))).ref
    assert str(ref) == f"sql/{control.project}/production/checkout"


def test_a_missing_flag_names_the_nearest(control: SqlControl):
    """On reading and on every change."""
    control.apply(Create(Flag.boolean("checkout")))
    with pytest.raises(NotFound, match=r"no flag 'chekout' in production.*Try: checkout"):
        control.read("chekout")
    for change in (SetOn("chekout", on=True), Archive("chekout"), SetTargets("chekout", ())):
        with pytest.raises(NotFound, match="checkout"):
            control.apply(change)
        with pytest.raises(NotFound, match="checkout"):
            control.apply(change, expected="1:abc")


def test_creating_what_exists_is_a_conflict(control: SqlControl):
    """Archived or not; nothing is changed."""
    state = control.apply(Create(Flag.boolean("checkout")))
    with pytest.raises(Conflict, match="exists already"):
        control.apply(Create(Flag.boolean("checkout", on=False)))
    assert control.read("checkout").version == state.version
    control.apply(Archive("checkout"))
    with pytest.raises(Conflict, match="archived"):
        control.apply(Create(Flag.boolean("checkout")))


def test_a_change_against_an_old_version_is_refused(control: SqlControl, store: Store):
    """Compare-and-swap: Conflict, nothing written, no entry, no revision."""
    first = control.apply(Create(Flag.boolean("checkout")))
    second = control.apply(SetOn("checkout", on=False), expected=first.version)
    with pytest.raises(Conflict, match="changed by somebody else"):
        control.apply(SetOn("checkout", on=True), expected=first.version)
    with pytest.raises(Conflict):
        control.apply(Replace(Flag.boolean("gone")), expected=first.version)
    assert control.read("checkout").version == second.version
    assert store.revision() == 2
    assert len(store.audit.entries()) == 2


def test_a_restore_is_exact(control: SqlControl):
    """Replace with the native document of before gives the same document and checksum, under a new version."""
    split = ramp("on", 777, "off")
    before = control.apply(Create(Flag.boolean("checkout", default=split, rules=(RULE,), description="ü")))
    control.apply(SetDistribution("checkout", "off"))
    control.apply(SetTargets("checkout", (Targets("off", ("x",)),)))
    after = control.apply(Replace(before.flag, native=before.native))
    assert dumps(after.native) == dumps(before.native)
    assert replace(after.flag, version=0) == replace(before.flag, version=0)
    assert after.flag.version == 4
    assert after.version.partition(":")[2] == before.version.partition(":")[2]


def test_a_restore_of_another_flags_document_is_refused(control: SqlControl):
    """The document must be the flag's own."""
    other = control.apply(Create(Flag.boolean("other")))
    with pytest.raises(InvalidInput, match="is the flag 'other'"):
        control.apply(Replace(Flag.boolean("checkout"), native=other.native))


def test_a_change_that_is_true_already_writes_nothing(control: SqlControl, store: Store):
    """A retry after a lost answer leaves one version and one entry."""
    state = control.apply(Create(Flag.boolean("checkout")))
    again = control.apply(SetOn("checkout", on=True))
    assert again.version == state.version
    assert store.revision() == 1
    assert len(store.audit.entries()) == 1


@pytest.mark.parametrize(
    "change",
    [
        SetDistribution("checkout", "purple"),
        SetDistribution("checkout", ramp("purple", 1, "off")),
        SetDistribution("checkout", "on", rule="r9"),
        SetDistribution("checkout", replace(ramp("on", 1, "off"), weights=ramp("on", 1, "off").weights[:1])),
        SetTargets("checkout", (Targets("purple", ("x",)),)),
        Replace(Flag.boolean("checkout", default="purple")),
        Replace(Flag.boolean("checkout", prerequisites=(Prerequisite("nowhere", ("on",)),))),
        Replace(Flag.boolean("checkout", prerequisites=(Prerequisite("checkout", ("on",)),))),
        Replace(Flag.boolean("checkout", rules=(Rule("r", (Clause(Attribute(), Op.SEGMENT, ("none",)),), "on"),))),
        Replace(Flag.boolean("checkout", rules=(Rule("r", (Clause(Attribute(), Op.MATCHES, ("(",)),), "on"),))),
        Create(Flag.boolean("")),
        Create(Flag.boolean("x" * 301)),
    ],
)
def test_what_cannot_be_evaluated_is_never_stored(control: SqlControl, store: Store, change):
    """Unknown variants and rules, shares that do not add up, missing prerequisites, circles: nothing is written."""
    state = control.apply(Create(Flag.boolean("checkout")))
    with pytest.raises(InvalidInput):
        control.apply(change)
    assert control.read("checkout").version == state.version
    assert store.revision() == 1


def test_a_circle_through_other_flags_is_refused(control: SqlControl):
    """a needs b needs c; c may not come to need a, however far away."""
    control.apply(Create(Flag.boolean("c")))
    control.apply(Create(Flag.boolean("b", prerequisites=(Prerequisite("c", ("on",)),))))
    control.apply(Create(Flag.boolean("a", prerequisites=(Prerequisite("b", ("on",)),))))
    with pytest.raises(InvalidInput):
        control.apply(Replace(Flag.boolean("c", prerequisites=(Prerequisite("a", ("on",)),))))
    assert control.read("c").flag.prerequisites == ()


def test_segments_are_known(control: SqlControl, store: Store):
    """A rule on a stored segment is accepted, and segments are listed."""
    with store.db.transaction() as conn:
        store.segments.write(conn, Segment("beta", included=(KeySet(("ann",)),)))
    rule = Rule("r", (Clause(Attribute(), Op.SEGMENT, ("beta",)),), "on")
    control.apply(Create(Flag.boolean("checkout", rules=(rule,))))
    assert [segment.key for segment in control.segments()] == ["beta"]


def test_turning_off_always_works(control: SqlControl, store: Store):
    """Even when what the flag stands on is gone."""
    control.apply(Create(Flag.boolean("base")))
    control.apply(Create(Flag.boolean("checkout", prerequisites=(Prerequisite("base", ("on",)),))))
    with store.db.transaction() as conn:
        store.flags.delete(conn, "base")
    assert not control.apply(SetOn("checkout", on=False)).flag.on
    assert control.apply(Archive("checkout")).flag.archived


def test_a_damaged_flag_is_told_and_can_be_replaced(control: SqlControl, store: Store, caplog):
    """Reading raises, listing goes on with the others and says so in the log, Replace mends it."""
    control.apply(Create(Flag.boolean("checkout")))
    control.apply(Create(Flag.boolean("other")))
    with store.db.transaction() as conn:
        mine = (schema.flag.c.project == store.project, schema.flag.c.key == "checkout")
        conn.execute(schema.flag.update().where(*mine).values(document="x"))
    with pytest.raises(InvalidInput, match="not what was written"):
        control.read("checkout")
    with pytest.raises(InvalidInput):
        control.apply(SetOn("checkout", on=False))
    assert [state.ref.key for state in control.states()] == ["other"]
    assert "'checkout'" in caplog.text
    assert control.apply(Replace(Flag.boolean("checkout", on=False))).flag.version == 2


def test_every_change_is_audited_in_its_own_transaction(control: SqlControl, store: Store):
    """Who, why, before and after; a refused change leaves no entry."""
    control.apply(Create(Flag.boolean("checkout")), by="ann", comment="first")
    control.apply(SetOn("checkout", on=False), by="bob", comment="too slow")
    with pytest.raises(FlagbrakeError):
        control.apply(SetDistribution("checkout", "purple"), by="eve", comment="?")
    off, made = store.audit.entries("checkout")
    assert (made.action, made.by, made.reason, made.before) == ("create", "ann", "first", None)
    assert (off.action, off.by, off.reason) == ("set-on", "bob", "too slow")
    assert (off.before["on"], off.after["on"]) == (True, False)
    assert store.audit.verify() is None


def test_concurrent_changes_never_lose_each_other(control: SqlControl, store: Store):
    """Six threads add a target each, reading, comparing and trying again: all six are there at the end."""
    control.apply(Create(Flag.boolean("checkout")))
    ready = threading.Barrier(6)

    def add(name: str) -> None:
        ready.wait()
        while True:
            state = control.read("checkout")
            keys = tuple(key for target in state.flag.targets for key in target.keys)
            try:
                control.apply(SetTargets("checkout", (Targets("on", (*keys, name)),)), expected=state.version, by=name)
            except Conflict:
                continue
            return

    threads = [threading.Thread(target=add, args=(f"u{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    state = control.read("checkout")
    assert sorted(state.flag.targets[0].keys) == [f"u{n}" for n in range(6)]
    assert state.flag.version == 7
    assert store.revision() == 7
    assert store.audit.verify() is None
