"""Split's control: what it writes and in how many calls, kills, half-happened writes, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flagbrake.control.switch import KillSwitch
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    Unavailable,
)
from flagbrake.model.clause import SPLIT, Attribute, Clause, Op
from flagbrake.model.flag import Distribution, Prerequisite, Rule, Targets, ramp
from flagbrake.model.kill import Scope
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.model.state import Archive, Create, Replace, SetDistribution, SetOn, SetTargets
from flagbrake.ports.control import FlagControl
from flagbrake.store import open_store
from flagbrake.testing import MemoryLock
from flagbrake_split.emulator import SplitEmulator
from flagbrake_split.translate import definition_from_flag
from tests.split.controlling import BY, MISSET, control_of, paths, stripped
from tests.split.sdk import definition, factory, seen

# --- kill and restore ---------------------------------------------------------------------------------------


def test_kill_serves_safe_and_comes_back(split: SplitEmulator, control: FlagControl) -> None:
    """A kill serves the safe variant though the default treatment is the broken one; restored, all is as before."""
    before = control.apply(Create(MISSET), **BY)
    with factory(split) as made:
        sdk = made.client()
        seen(sdk, "refunds", "v2", key="vip")
        control.apply(SetOn("refunds", on=False, off_variant="v1"), **BY)
        for key in ("vip", "ann", "bob"):
            seen(sdk, "refunds", "v1", key=key)
        after = control.apply(Replace(before.flag, native=before.native), **BY)
        seen(sdk, "refunds", "v2", key="vip")
    assert stripped(after) == stripped(before)
    assert after.native == before.native
    assert after.version != before.version, "it was written twice since"


def test_the_kill_switch(split: SplitEmulator, control: FlagControl, tmp_path: Path) -> None:
    """The same by the kill switch over a store: programs that know nothing of flagbrake get what is safe."""
    before = control.apply(Create(MISSET), **BY)
    manifest = Manifest({"refunds": Declaration("refunds", safe_variant="v1", scopes=(Scope.parse("agent:refunds"),))})
    with (
        open_store(f"sqlite:///{tmp_path / 'store.db'}", project="Default", environment="test", create=True) as store,
        factory(split) as made,
    ):
        writer = FlagWriter(control, lock=store.locks, audit=store.audit)
        switch = KillSwitch.over(store, writer=writer, manifest=lambda: manifest, vendor_off=True)
        switch.kill("agent:refunds", by="ann", reason="pays twice", arm=True)
        seen(made.client(), "refunds", "v1", key="vip")
        assert "pays twice" in split.history[-1].comment
        switch.restore("agent:refunds", by="bob", reason="mended")
        seen(made.client(), "refunds", "v2", key="vip")
    assert control.read("refunds").native == before.native


def test_on_and_off_by_kill_and_restore(split: SplitEmulator, control: FlagControl) -> None:
    """Off is the vendor's kill and on its restore, with title and comment; said twice it writes once."""
    control.apply(Create(MISSET), **BY)
    done = len(split.history)
    for on in (False, False, True, True):
        assert control.apply(SetOn("refunds", on=on), **BY).flag.on is on
    assert paths(split)[done:] == ["kill test", "restore test"]
    assert {(said.title, said.comment) for said in split.history[done:]} == {("set-on by ann", "because it burns")}


def test_off_and_split_in_one_write(split: SplitEmulator, control: FlagControl) -> None:
    """Turned on with a split, no reader sees one without the other."""
    control.apply(Create(replace(MISSET, on=False)), **BY)
    done = len(split.history)
    state = control.apply(SetDistribution("refunds", ramp("v2", 5_000, "v1"), turn_on=True), **BY)
    assert state.flag.on
    assert paths(split)[done:] == ["update test"]


# --- creating -------------------------------------------------------------------------------------------------


def test_create(split: SplitEmulator, control: FlagControl) -> None:
    """Creating is metadata, then the definition, then tags; what is read is what was meant."""
    state = control.apply(Create(MISSET), **BY)
    assert paths(split) == ["create", "create-definition test", "update-metadata"]
    read = stripped(state)
    assert isinstance(read.default, Distribution)
    assert (read.default.share("v2"), read.default.share("v1")) == (30_000, 70_000)
    rules = tuple(replace(rule, description="") for rule in read.rules)
    assert replace(read, default=MISSET.default, rules=rules) == MISSET


@pytest.mark.parametrize(("key", "cure"), [("agents.refunds", "'agents-refunds'"), ("2nd try", "'flag-2nd-try'")])
def test_create_by_another_name(split: SplitEmulator, control: FlagControl, key: str, cure: str) -> None:
    """A name that Split refuses is told with one that it would take."""
    with pytest.raises(InvalidInput) as caught:
        control.apply(Create(replace(MISSET, key=key)), **BY)
    assert caught.value.cure == cure
    assert split.history == ()


def test_create_off_begins_closed(split: SplitEmulator, control: FlagControl) -> None:
    """A flag that is created off serves nothing but its default treatment, not even for a moment."""
    split.publisher.instant = None
    served: set[str] = set()

    def watch(*_: Any) -> None:
        live = split.state.planes["test"].live.get("refunds")
        if live is not None and not live.definition["killed"]:
            served.update(b["treatment"] for b in live.definition["defaultRule"])
            served.update(t["name"] for t in live.definition["treatments"] if t.get("keys"))

    split.management._committed = watch
    state = control.apply(Create(replace(MISSET, on=False, off_variant="v1")), **BY)
    assert served == {"v1"}
    assert not state.flag.on
    assert state.flag.targets == MISSET.targets


@pytest.mark.parametrize("lost", ["before", "after"])
def test_create_goes_on_where_it_stopped(split: SplitEmulator, control: FlagControl, lost: str) -> None:
    """When only the name was created, the next attempt goes on from there, whether its answer was lost or not."""
    split.faults.add("/internal/*/trafficTypes/*", cut=lost, times=1)
    writer = FlagWriter(control, lock=MemoryLock())
    with pytest.raises(Unavailable, match="not written"):
        writer.apply(Create(MISSET), by="ann", reason="new")
    assert writer.apply(Create(MISSET), by="ann", reason="new").flag.tags == ("agents",)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_create_off_with_a_lost_answer(split: SplitEmulator, control: FlagControl, lost: str) -> None:
    """The write that kills a new flag is sent again if reading shows that it is missing."""
    split.faults.add("/internal/*/environments/*", method="PATCH", cut=lost, times=1)
    state = control.apply(Create(replace(MISSET, on=False, off_variant="v1")), **BY)
    assert (state.flag.on, state.flag.targets) == (False, MISSET.targets)


def test_create_beside_another_environment(split: SplitEmulator, control: FlagControl) -> None:
    """A flag of another environment is configured here too; its description and tags stay."""
    production = control_of(split, "production")
    production.apply(Create(MISSET), **BY)
    state = control.apply(Create(replace(MISSET, description="another", tags=())), **BY)
    assert (state.flag.description, state.flag.tags) == ("pays back", ("agents",))
    control.apply(SetOn("refunds", on=False), **BY)
    assert production.read("refunds").flag.on


def test_prerequisites(split: SplitEmulator, control: FlagControl) -> None:
    """A prerequisite is written and read back, and the SDK heeds it."""
    split.put_definition(definition("parent", "off"))
    flag = replace(MISSET, default="v2", off_variant="v1", prerequisites=(Prerequisite("parent", ("on",)),))
    state = control.apply(Create(flag), **BY)
    assert [(p.flag, p.variants) for p in state.flag.prerequisites] == [("parent", ("on",))]
    with factory(split) as made:
        assert made.client().get_treatment("vip", "refunds") == "v1"


def test_what_split_cannot_say(split: SplitEmulator, control: FlagControl) -> None:
    """A flag whose answers Split would change is refused, and nothing is written."""
    clause = Clause(Attribute(("org", "name")), Op.IN_CIDR, ("10.0.0.0/8",))
    for flag in (
        replace(MISSET, rules=(Rule("r", (clause,), "v2"),)),
        replace(MISSET, targets=(Targets("v2", ("acme",), kind="org"),)),
        replace(MISSET, off_variant=None),
    ):
        with pytest.raises(InvalidInput):
            control.apply(Create(flag), **BY)
    assert split.history == ()


# --- ramps, targets, rules -----------------------------------------------------------------------------------


def test_ramp_keeps_the_traffic_allocation(split: SplitEmulator, control: FlagControl) -> None:
    """A ramp writes the default rule and nothing else; where few are exposed it is refused, not widened."""
    control.apply(Create(MISSET), **BY)
    before = split.definition("refunds")
    control.apply(SetDistribution("refunds", ramp("v2", 50_000, "v1")), **BY)
    after = split.definition("refunds")
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"defaultRule", "lastUpdateTime"}
    split.put_definition({**before, "trafficAllocation": 20})
    with pytest.raises(InvalidInput, match="exposes 20 %"):
        control.apply(SetDistribution("refunds", ramp("v2", 50_000, "v1")), **BY)


def test_finer_than_a_percent(split: SplitEmulator, control: FlagControl) -> None:
    """A share between two percents is refused with both named; nothing is rounded."""
    control.apply(Create(MISSET), **BY)
    for write in (control.apply, FlagWriter(control, lock=MemoryLock()).apply):
        extra = BY if write == control.apply else {"by": "ann", "reason": "x"}
        with pytest.raises(InvalidInput, match="33 or 34"):
            write(SetDistribution("refunds", ramp("v2", 33_500, "v1")), **extra)
    assert split.definition("refunds")["defaultRule"][0]["size"] == 30


def test_targets_keep_individual_segments(split: SplitEmulator, control: FlagControl) -> None:
    """New targets replace keys; segments and descriptions of treatments stay."""
    split.put_segment("staff", ["eve"])
    treatments = [
        {"name": "on", "keys": ["ann"], "segments": ["staff"], "description": "new"},
        {"name": "off"},
    ]
    split.put_definition(definition("refunds", treatments=treatments))
    state = control.apply(SetTargets("refunds", (Targets("off", ("bob",)),)), **BY)
    assert state.flag.targets == (Targets("off", ("bob",)),)
    assert split.definition("refunds")["treatments"] == [
        {"name": "on", "segments": ["staff"], "description": "new", "keys": []},
        {"name": "off", "keys": ["bob"]},
    ]


def test_split_in_the_right_rule(split: SplitEmulator, control: FlagControl) -> None:
    """A rule is found by its id though individual segments stand before it; one of those takes no split."""
    split.put_segment("staff", [])
    matcher = {"type": "BOOLEAN", "attribute": "paid", "bool": True}
    rules = [
        {"condition": {"matchers": [{**matcher, "bool": value}]}, "buckets": [{"treatment": "on", "size": 100}]}
        for value in (True, False)
    ]
    treatments = [{"name": "on", "segments": ["staff"]}, {"name": "off"}]
    split.put_definition(definition("refunds", rules=rules, treatments=treatments))
    ids = [rule.id for rule in control.read("refunds").flag.rules]
    control.apply(SetDistribution("refunds", ramp("on", 10_000, "off"), rule=ids[-1]), **BY)
    assert [rule["buckets"][0]["size"] for rule in split.definition("refunds")["rules"]] == [100, 10]
    with pytest.raises(InvalidInput, match="one by one"):
        control.apply(SetDistribution("refunds", ramp("on", 10_000, "off"), rule=ids[0]), **BY)


def test_segments(split: SplitEmulator, control: FlagControl) -> None:
    """Segments are listed with their keys, all pages of them, and with their rules; a rule may ask for either."""
    keys = [f"user-{number:03}" for number in range(250)]
    split.put_segment("vip", keys)
    matcher = {"type": "IN_LIST_STRING", "attribute": "plan", "strings": ["pro"]}
    split.put_rule_based_segment({"name": "beta", "rules": [{"condition": {"matchers": [matcher]}}]})
    found = {segment.key: segment for segment in control.segments()}
    assert found["vip"].included[0].keys == tuple(keys)
    assert found["beta"].rules[0].clauses[0].values == ("pro",)
    rules = tuple(
        Rule(f"rule-{number}", (Clause(Attribute(), Op.SEGMENT, (name,), semantics=SPLIT),), "v2")
        for number, name in enumerate(("vip", "beta"), 1)
    )
    control.apply(Create(replace(MISSET, targets=(), default="v1", rules=rules)), **BY)
    with factory(split) as made:
        seen(made.client(), "refunds", "v2", key="user-007")
        seen(made.client(), "refunds", "v2", key="ann", attributes={"plan": "pro"})
        seen(made.client(), "refunds", "v1", key="ann")


def test_lists_of_many(split: SplitEmulator, control: FlagControl) -> None:
    """All flags of an environment are listed, over several pages, each as it is read by itself."""
    names = [f"flag-{number:03}" for number in range(120)]
    for name in names:
        split.put_definition(definition(name), tags=["a"])
    split.put_definition(definition("elsewhere"), "production")
    states = list(control.states())
    assert [state.ref.key for state in states] == names
    assert states[77].version == control.read(names[77]).version


# --- archiving ------------------------------------------------------------------------------------------------


def test_archive_never_reaches_another_environment(split: SplitEmulator, control: FlagControl) -> None:
    """Split archives everywhere at once: with the flag in another environment too, it is taken out of this one, whose
    agents do not find it any more. There nothing changes, and here its document brings it back.
    """
    before = control.apply(Create(MISSET), **BY)
    split.put_definition(definition_from_flag(MISSET).result, "production")
    there = split.definition("refunds", "production")
    with factory(split, "test") as here, factory(split, "production") as elsewhere:
        seen(here.client(), "refunds", "v2", key="vip")
        assert control.apply(Archive("refunds"), **BY).flag.archived
        seen(here.client(), "refunds", "control", key="vip")
        with pytest.raises(NotFound):
            control.read("refunds")
        assert elsewhere.client().get_treatment("vip", "refunds") == "v2"
        assert split.definition("refunds", "production") == there
        assert (split.history[-1].action, split.history[-1].comment) == ("remove", BY["comment"])
        after = control.apply(Replace(before.flag, native=before.native), **BY)
        seen(here.client(), "refunds", "v2", key="vip")
    assert stripped(after) == stripped(before)


@pytest.mark.parametrize("elsewhere", [True, False])
@pytest.mark.parametrize("cut", ["before", "after"])
def test_archive_whose_answer_is_lost(split: SplitEmulator, control: FlagControl, *, elsewhere: bool, cut: str) -> None:
    """The connection breaks: what is there tells whether it was done, and only that is reported."""
    control.apply(Create(MISSET), **BY)
    if elsewhere:
        split.put_definition(definition_from_flag(MISSET).result, "production")
    method, path = ("DELETE", "*/refunds/environments/*") if elsewhere else ("POST", "*/refunds/archive")
    split.faults.add(path, method=method, cut=cut, times=1)
    writer = FlagWriter(control, lock=MemoryLock())
    if cut == "after":
        assert writer.apply(Archive("refunds"), by="ann").flag.archived
        with pytest.raises(NotFound):
            control.read("refunds")
    else:
        with pytest.raises(Unavailable):
            writer.apply(Archive("refunds"), by="ann")
        assert not control.read("refunds").flag.archived


def test_archive_and_replace(split: SplitEmulator, control: FlagControl) -> None:
    """An archived flag is gone; putting its document back brings it back."""
    before = control.apply(Create(MISSET), **BY)
    assert control.apply(Archive("refunds"), **BY).flag.archived
    with pytest.raises(NotFound):
        control.read("refunds")
    with pytest.raises(Conflict, match="archived"):
        control.apply(Create(MISSET), **BY)
    after = control.apply(Replace(before.flag, native=before.native), **BY)
    assert stripped(after) == stripped(before)


def test_replace_what_was_removed(split: SplitEmulator, control: FlagControl) -> None:
    """A flag that somebody took out of the environment, killed as it was, is put back from its document."""
    control.apply(Create(MISSET), **BY)
    before = control.apply(SetOn("refunds", on=False), **BY)
    split.delete("refunds")
    after = control.apply(Replace(before.flag, native=before.native), **BY)
    assert stripped(after) == stripped(before)


def test_foreign_documents(control: FlagControl) -> None:
    """A document of another flag, or of no flag, is not put in place."""
    state = control.apply(Create(MISSET), **BY)
    for native in ({"key": "refunds"}, "text", {**state.native, "definition": {"name": "other"}}):
        with pytest.raises(InvalidInput, match="refunds"):
            control.apply(Replace(state.flag, native=native), **BY)
