"""``context_kind``: the targeting key is the key of a context of this kind, at agents and in all that is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.evaluation_context import EvaluationContext

from flagbrake.control.switch import KillSwitch
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import InvalidInput
from flagbrake.model.clause import LAUNCHDARKLY, USER, USER_STRUCTURE, Attribute, Clause, Op
from flagbrake.model.flag import Bucketing, Distribution, Flag, FlagKind, Rule, Targets, Variant, ramp
from flagbrake.model.loss import Severity
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.model.receipt import Took
from flagbrake.model.state import Create, Replace, SetDistribution, SetTargets
from flagbrake.store import open_store
from flagbrake.testing import MemoryLock
from flagbrake_launchdarkly.provider import LaunchDarklyProvider
from flagbrake_launchdarkly.translate import flag_from_rest, flag_from_sdk, flag_to_rest, flag_to_sdk
from tests.launchdarkly.test_main_job import settings as vendor_settings
from tests.launchdarkly.vendor import ENVIRONMENT, Vendor
from tests.support.command import Shell
from tests.support.waiting import wait_until

KEY = "agents.refunds"
VARIANTS = (Variant("v1", "one"), Variant("v2", "two"))
FLAG = Flag(KEY, FlagKind.STRING, VARIANTS, "v1", off_variant="v1")
AGENTS = tuple(f"agent-{number}" for number in range(40))
#: By the plan of the unit, of a company beside it, of a user beside it.
RULES = tuple(
    Rule(name, (Clause(Attribute(("plan",), kind), Op.IN, ("beta",), semantics=LAUNCHDARKLY),), "v2")
    for name, kind in (("unit", USER), ("org", "org"), ("people", USER_STRUCTURE))
)
TARGETS = (Targets("v2", ("bot",)), Targets("v2", ("acme",), "org"), Targets("v2", ("dana",), USER_STRUCTURE))


def shown(vendor: Vendor, key: str = KEY) -> dict[str, Any]:
    """What LaunchDarkly shows of the environment."""
    found: dict[str, Any] = vendor.emulator.flag(key)["environments"][ENVIRONMENT]
    return found


def asking(provider: LaunchDarklyProvider) -> Callable[..., str | None]:
    """A question: which variant does this agent get?"""

    def served(unit: str | None, **attributes: Any) -> str | None:
        return provider.resolve_string_details(KEY, "none", EvaluationContext(unit, attributes)).variant

    return served


def test_an_agents_flag_from_its_creation_to_its_restore(launchdarkly: Vendor, tmp_path: Path) -> None:
    """Ramped, targeted, ruled, killed and restored in kind ``agent``: the real SDK serves agents by it at each step."""
    control = launchdarkly.control(context_kind="agent")
    provider = launchdarkly.provider(context_kind="agent")
    manifest = Manifest({KEY: Declaration(KEY, safe_variant="v1")})
    place = f"sqlite:///{tmp_path / 'flags.db'}"
    served = asking(provider)
    with open_store(place, project="contract", environment=ENVIRONMENT, create=True) as store:
        writer = FlagWriter(control, lock=store.locks, audit=store.audit)
        switch = KillSwitch.over(store, writer=writer, manifest=lambda: manifest, vendor_off=True)
        writer.apply(Create(replace(FLAG, rules=RULES)), by="ann")
        provider.initialize(EvaluationContext())
        assert {served(unit) for unit in AGENTS} == {"v1"}

        writer.apply(SetDistribution(KEY, ramp("v2", 50_000, "v1")), by="ann")
        assert shown(launchdarkly)["fallthrough"]["rollout"]["contextKind"] == "agent"
        wait_until(lambda: {served(unit) for unit in AGENTS} == {"v1", "v2"}, why="the ramp")
        outside = next(unit for unit in AGENTS if served(unit) == "v1")
        assert served(outside, plan="beta") == "v2"
        assert served(outside, org={"targetingKey": "x", "plan": "beta"}) == "v2"
        assert served(outside, user={"targetingKey": "x", "plan": "beta"}) == "v2"
        assert served(outside, plan="free") == "v1"
        asked = provider.resolve_string_details(KEY, "none", EvaluationContext(None, {"plan": "free"}))
        assert str(asked.error_code) == "TARGETING_KEY_MISSING"

        writer.apply(SetTargets(KEY, (replace(TARGETS[0], keys=(outside,)), *TARGETS[1:])), by="ann")
        wait_until(lambda: served(outside) == "v2", why="the agent's target")
        without = [unit for unit in AGENTS if served(unit) == "v1"]
        assert served(without[0], user={"targetingKey": "dana"}) == "v2"
        assert served(without[0], org={"targetingKey": "acme"}) == "v2"
        assert shown(launchdarkly)["targets"] == [{"contextKind": "user", "values": ["dana"], "variation": 1}]

        before = control.read(KEY)
        receipt = switch.kill(f"flag:{KEY}", by="ann", reason="paid twice", arm=True)
        assert {r.lane: r.took for r in receipt.lanes}["vendor-off"] is Took.TOOK
        wait_until(lambda: {served(unit) for unit in (*AGENTS, outside)} == {"v1"}, why="the kill")
        switch.restore(f"flag:{KEY}", by="bob", reason="mended")
        wait_until(lambda: served(outside) == "v2", why="the restore")
        assert [unit for unit in AGENTS if served(unit) == "v1"] == without
        assert replace(control.read(KEY).flag, version=0) == replace(before.flag, version=0)
        # Read and written as a whole nothing moves: the writer sees that there is nothing to do.
        version = shown(launchdarkly)["version"]
        writer.apply(Replace(control.read(KEY).flag), by="ann")
        assert shown(launchdarkly)["version"] == version
    control.close()


def test_a_split_of_users_stays_one(launchdarkly: Vendor) -> None:
    """What was dealt by users before is read as such, and a ramp that keeps its bucketing keeps it with them."""
    theirs = launchdarkly.control()
    theirs.apply(Create(replace(FLAG, default=ramp("v2", 10_000, "v1"))), by="ann")
    theirs.close()
    control = launchdarkly.control(context_kind="agent")
    found = control.read(KEY).flag.default
    assert isinstance(found, Distribution)
    assert found.bucketing.attribute == Attribute(kind=USER_STRUCTURE)
    control.apply(SetDistribution(KEY, replace(found, weights=found.weights[::-1])), by="ann")
    assert shown(launchdarkly)["fallthrough"]["rollout"]["contextKind"] == "user"
    control.close()


def test_the_units_kind_has_one_spelling(launchdarkly: Vendor) -> None:
    """``agent:plan`` under context_kind "agent" would be the unit under another name: refused, with the cure."""
    control = launchdarkly.control(context_kind="agent")
    writer = FlagWriter(control, lock=MemoryLock())
    writer.apply(Create(FLAG), by="ann")
    by_agent = Bucketing(attribute=Attribute(("team",), "agent"))
    rule = Rule("r", (Clause(Attribute(("plan",), "agent"), Op.IN, ("beta",)),), "v2")
    for change in (
        SetTargets(KEY, (Targets("v2", ("bot",), "agent"),)),
        SetDistribution(KEY, ramp("v2", 50_000, "v1", by_agent)),
        Replace(replace(FLAG, targets=(Targets("v2", ("bot",), "agent"),))),
        Replace(replace(FLAG, rules=(rule,))),
    ):
        with pytest.raises(InvalidInput, match="'agent' is the kind of the unit itself here"):
            writer.apply(change, by="ann")
    control.close()


def test_commands_write_in_the_kind_of_the_settings(launchdarkly: Vendor, tmp_path: Path) -> None:
    """One line of flagbrake.toml is for both planes: what a command writes, and what ``explain`` says of a unit."""
    path = vendor_settings(launchdarkly, tmp_path)
    path.write_text(path.read_text() + 'context_kind = "agent"\n')
    shell = Shell(tmp_path)
    shell.ok("init")
    shell.ok("flag", "create", KEY, "--variant", "v1", "--variant", "v2", "--safe", "v1")
    shell.ok("flag", "set", KEY, "v2=30")
    shell.ok("flag", "target", KEY, "v2", "bot")
    config = shown(launchdarkly)
    assert config["fallthrough"]["rollout"]["contextKind"] == "agent"
    assert config["targets"] == []
    assert {"contextKind": "agent", "variation": 1, "values": ["bot"]} in config["contextTargets"]
    said = shell.ok("--json", "flag", "explain", KEY, "--user", "bot").data["explanation"]
    assert (said["decided_by"], said["variant"]) == ("target", "v2")


def test_flags_that_name_other_units_are_told(launchdarkly: Vendor) -> None:
    """Agents of one kind, and flags of other kinds only: doctor says it. With one flag of that kind all is well."""

    def told() -> list[str]:
        return [remark.text for remark in control.remarks() if not remark.fine]

    control = launchdarkly.control(context_kind="agent")
    launchdarkly.put(replace(FLAG, key="plain"))
    assert told() == []
    launchdarkly.put(replace(FLAG, key="split", default=ramp("v2", 10_000, "v1")))
    launchdarkly.put(replace(FLAG, key="listed", targets=(Targets("v2", ("ann",)), Targets("v2", ("acme",), "org"))))
    launchdarkly.put(replace(FLAG, key="ruled", rules=RULES[:1]))
    (text,) = told()
    assert "no flag in 'test' names units of kind 'agent'" in text
    assert text.endswith("'user' (3), 'org' (1).")
    control.apply(SetTargets("plain", (Targets("v2", ("bot",)),)), by="ann")
    assert told() == []
    control.close()


# --- translation -----------------------------------------------------------------------------------------

kinds = st.sampled_from([USER, USER_STRUCTURE, "org"])
attributes = st.builds(Attribute, st.sampled_from([("targetingKey",), ("plan",), ("a", "b")]), kinds)
clauses = st.builds(
    Clause,
    attributes | st.just(Attribute(("kind",))),
    st.just(Op.IN),
    st.lists(st.sampled_from([USER, USER_STRUCTURE, "org"]), max_size=2).map(tuple),
    st.booleans(),
    st.just(LAUNCHDARKLY),
)
serves = st.sampled_from(["v1", "v2"]) | st.builds(
    lambda share, attribute: ramp("v2", share, "v1", Bucketing("launchdarkly-sha1", KEY, attribute=attribute)),
    st.integers(0, 100_000),
    attributes,
)


@st.composite
def flags(draw: st.DrawFn) -> Flag:
    """Flags that LaunchDarkly can say, with units of three kinds everywhere."""
    places = draw(st.lists(st.tuples(st.sampled_from(["v1", "v2"]), kinds), unique=True, max_size=6))
    rules = draw(st.lists(st.tuples(st.lists(clauses, max_size=2).map(tuple), serves), max_size=2))
    return replace(
        FLAG,
        default=draw(serves),
        targets=tuple(Targets(variant, (f"{variant}-{kind}",), kind) for variant, kind in places),
        rules=tuple(Rule(f"r{number}", asked, serve) for number, (asked, serve) in enumerate(rules)),
    )


@given(flags(), st.sampled_from(["agent", "device.v2"]))
def test_what_is_written_is_read_again(flag: Flag, unit: str) -> None:
    """Through both of LaunchDarkly's documents, without a loss: the unit, users and other kinds stay apart."""
    streamed, kept = flag_to_sdk(flag, unit=unit), flag_to_rest(flag, "test", unit=unit)
    assert (streamed.losses, kept.losses) == ((), ())
    assert flag_from_sdk(streamed.result, unit=unit).result == flag
    assert flag_from_rest(kept.result, "test", unit=unit).result == flag


@pytest.mark.parametrize("op", ["startsWith", "matches"])
def test_words_for_kinds_that_are_not_compared_whole(op: str) -> None:
    """The model's word for the unit's kind is ``user``: where a part of the word counts, that is a grave loss."""
    clause = {"contextKind": "agent", "attribute": "kind", "op": op, "values": ["ag"]}
    rule = {"id": "r", "variation": 0, "clauses": [clause]}
    data = {"key": "f", "version": 1, "on": True, "variations": [True, False], "fallthrough": {"variation": 1}}
    done = flag_from_sdk({**data, "rules": [rule]}, unit="agent")
    assert [loss.severity for loss in done.losses] == [Severity.ANSWERS]
    assert flag_from_sdk({**data, "rules": [rule]}).losses == ()
