"""The control beyond the contract: atomic patches, variations shared by environments, pages, names, exact restore."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import ApprovalRequired, Conflict, InvalidInput, NotFound, RetryLater, Unavailable
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Bucketing, Flag, Prerequisite, Rule, Targets, Variant, ramp
from flagbrake.model.state import Archive, Create, Replace, SetDistribution, SetOn, SetTargets
from flagbrake.model.values import FlagKind
from flagbrake.testing import MemoryLock
from flagbrake_launchdarkly.control import LaunchDarklyControl
from flagbrake_launchdarkly.names import DROPPED, NAMES
from tests.launchdarkly.vendor import ENVIRONMENT, Vendor

VARIANTS = (Variant("v1", "one"), Variant("v2", "two"))
FLAG = Flag("model", FlagKind.STRING, VARIANTS, "v1", off_variant="v1")


@pytest.fixture
def control(launchdarkly: Vendor) -> Iterator[LaunchDarklyControl]:
    """A control over an account with one flag."""
    launchdarkly.put(FLAG)
    made = launchdarkly.control()
    yield made
    made.close()


def config(vendor: Vendor, key: str = "model", environment: str = ENVIRONMENT) -> dict[str, Any]:
    """What LaunchDarkly shows of a flag."""
    found: dict[str, Any] = vendor.emulator.flag(key)["environments"][environment]
    return found


def plain_flag(vendor: Vendor, key: str, *, names: bool = True) -> None:
    """A flag that somebody made in LaunchDarkly's interface."""
    from flagbrake_launchdarkly.emulator.flags import new_flag

    account = vendor.emulator.account
    variations = [{"value": "a", **({"name": "first"} if names else {})}, {"value": "b"}]
    body = {"key": key, "name": key, "variations": variations}
    account.commit_flag(key, new_flag(body, account.environments), by="somebody")


def test_on_and_split_are_one_patch(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """Turning on with a split is one change of LaunchDarkly's: one version, one entry in its log, one comment."""
    control.apply(SetOn("model", on=False), by="ann", comment="first")
    before, entries = config(launchdarkly)["version"], len(launchdarkly.audited("model"))
    came = control.apply(
        SetDistribution("model", ramp("v2", 12_345, "v1"), turn_on=True), by="ann", comment="12.345 % of them"
    )
    assert came.flag.on
    assert config(launchdarkly)["version"] == before + 1
    assert launchdarkly.audited("model")[entries:] == [("ann", "12.345 % of them")]
    assert [w["weight"] for w in config(launchdarkly)["fallthrough"]["rollout"]["variations"]] == [87_655, 12_345]


def test_a_kill_is_nothing_but_itself(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """Turning off changes only that: a flag whose names do not travel yet is not given them on the way."""
    plain_flag(launchdarkly, "theirs")
    control.apply(SetOn("theirs", on=True), by="ann")
    assert config(launchdarkly, "theirs")["contextTargets"] == []
    state = control.apply(SetOn("theirs", on=False, off_variant="first"), by="ann")
    assert (state.flag.on, state.flag.off_variant) == (False, "first")


def test_a_kill_asks_for_no_other_flag_once_it_is_written(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """What prerequisites' variants are called was read before: a flag that cannot be read now fails no write."""
    asked = (Prerequisite("model", ("v1",)),)
    launchdarkly.put(replace(FLAG, key="child", prerequisites=asked))
    send = control._api.instruct

    def sent(*instructions: Any, **rest: Any) -> Any:
        answer = send(*instructions, **rest)
        launchdarkly.emulator.faults.add("/api/v2/flags/*/model", method="GET", status=403)
        return answer

    control._api.instruct = sent  # type: ignore[method-assign]
    came = control.apply(SetOn("child", on=False), by="ann").flag
    assert (came.on, came.prerequisites) == (False, asked)


def test_names_travel_with_the_first_split(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """LaunchDarkly's names are the variants' names; the first write lets them travel, once and for all."""
    plain_flag(launchdarkly, "theirs")
    assert control.read("theirs").flag.variant_names == ("first", "1")
    control.apply(SetDistribution("theirs", "1"), by="ann")
    named = {t["values"][0]: t["variation"] for t in config(launchdarkly, "theirs")["contextTargets"]}
    assert named == {"first": 0, "1": 1}
    control.apply(SetTargets("theirs", (Targets("1", ("bob",)),)), by="ann")
    kinds = [t["contextKind"] for t in config(launchdarkly, "theirs")["contextTargets"]]
    assert sorted(kinds) == sorted([NAMES, NAMES, "user"])
    assert control.read("theirs").flag.targets == (Targets("1", ("bob",)),)


def test_names_can_be_kept_home(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """variant_names = false: nothing is added to what people see."""
    plain_flag(launchdarkly, "theirs")
    launchdarkly.control(variant_names=False).apply(SetDistribution("theirs", "first"), by="ann")
    assert config(launchdarkly, "theirs")["contextTargets"] == []


def test_whole_definitions_keep_names_home(launchdarkly: Vendor) -> None:
    """variant_names = false holds for a new flag and for another definition: their names are LaunchDarkly's own.

    A name that LaunchDarkly calls otherwise, for other environments, still travels: it could not be read back.
    """
    home = launchdarkly.control(variant_names=False)
    for change in (Create(FLAG), Replace(replace(FLAG, default="v2")), SetTargets("model", ())):
        assert home.apply(change, by="ann").flag.variant_names == ("v1", "v2")
        assert config(launchdarkly)["contextTargets"] == []
    renamed = replace(FLAG, variants=(Variant("v1", "one"), Variant("other", "two")))
    assert replace(home.apply(Replace(renamed), by="ann").flag, version=0) == renamed
    assert [t["values"] for t in config(launchdarkly)["contextTargets"]] == [["other"]]
    home.close()


def test_a_dropped_variant_stays_where_others_use_it(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """Variations belong to all environments: one that another one serves is left, marked, and not shown here."""
    other = config(launchdarkly, environment="production")["fallthrough"]
    served = launchdarkly.emulator.flag("model")["variations"][other["variation"]]["value"]
    variants = (Variant("a", "1"), Variant("b", "2"))
    meant = replace(FLAG, variants=variants, default="b", off_variant="a")
    assert replace(control.apply(Replace(meant), by="ann").flag, version=0) == meant
    after = config(launchdarkly, environment="production")["fallthrough"]
    assert launchdarkly.emulator.flag("model")["variations"][after["variation"]]["value"] == served
    assert any(t["contextKind"] == DROPPED for t in config(launchdarkly)["contextTargets"])
    # What was dropped may come back: its value is still there.
    assert replace(control.apply(Replace(FLAG), by="ann").flag, version=0) == FLAG


def test_a_definition_in_full(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """Rules, targets of other kinds, prerequisites by name, a split by an attribute: written, served, read back."""
    rules = (
        Rule("r", (Clause(Attribute(("plan",)), Op.IN, ("pro",)), Clause(Attribute(("age",)), Op.LESS, (18,))), "v2"),
        Rule("s", (Clause(Attribute(("plan",), "org"), Op.STARTS_WITH, ("e",)),), "v2", "for enterprises"),
    )
    meant = Flag(
        "full",
        FlagKind.STRING,
        VARIANTS,
        ramp("v2", 30_000, "v1", Bucketing(attribute=Attribute(("company",)))),
        off_variant="v1",
        targets=(Targets("v1", ("ann", "bob")), Targets("v2", ("acme",), "org")),
        rules=rules,
        prerequisites=(Prerequisite("model", ("v1",)),),
        tags=("one",),
        description="why",
    )
    came = control.apply(Create(meant), by="ann").flag
    # LaunchDarkly keeps targets of users and of other kinds apart, and so an order of its own.
    assert set(came.targets) == set(meant.targets)
    assert came.prerequisites == meant.prerequisites
    assert [(rule.serve, rule.description) for rule in came.rules] == [("v2", ""), ("v2", "for enterprises")]
    assert [clause.attribute for clause in came.rules[1].clauses] == [Attribute(("plan",), "org")]
    assert config(launchdarkly, "full")["fallthrough"]["rollout"]["bucketBy"] == "company"
    assert config(launchdarkly, "full", "production")["on"] is False
    assert (came.tags, came.description) == (("one",), "why")


def test_what_launchdarkly_cannot_say_is_refused(control: LaunchDarklyControl) -> None:
    """A prerequisite of two variants, a missing one, no off variant: refused before anything is written."""
    asked = replace(FLAG, key="new", prerequisites=(Prerequisite("model", ("v1", "v2")),))
    for meant in (
        asked,
        replace(asked, prerequisites=(Prerequisite("nobody", ("v1",)),)),
        replace(FLAG, key="new", variants=(Variant("v1", "one"), Variant("v2", 2))),
    ):
        with pytest.raises(InvalidInput):
            control.apply(Create(meant), by="ann")
        with pytest.raises(NotFound):
            control.read("new")
    with pytest.raises(InvalidInput, match="off variation"):
        control.apply(Replace(replace(FLAG, off_variant=None)), by="ann")


def test_what_is_refused_has_changed_nothing(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """No off variant: neither a flag made and left behind, nor a variation that a second request would have used."""
    with pytest.raises(InvalidInput, match="off variation"):
        control.apply(Create(replace(FLAG, key="new", off_variant=None)), by="ann")
    with pytest.raises(NotFound):
        control.read("new")
    before = launchdarkly.emulator.flag("model")
    meant = replace(FLAG, variants=(Variant("v1", "uno"), VARIANTS[1]), off_variant=None)
    with pytest.raises(InvalidInput, match="off variation"):
        control.apply(Replace(meant), by="ann")
    assert launchdarkly.emulator.flag("model") == before


def test_a_new_value_comes_with_what_serves_it(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """A variant's value and what serves it are one patch: refused, the flag serves what it served."""
    control.apply(Create(replace(FLAG, key="fresh")), by="ann")  # elsewhere it serves v1 alone
    variants = (VARIANTS[0], Variant("v2", "new"))
    meant = replace(FLAG, key="fresh", variants=variants, default="v2")
    with launchdarkly.approving(), pytest.raises(ApprovalRequired):
        control.apply(Replace(meant), by="ann")
    assert control.read("fresh").flag.variants == VARIANTS
    version = config(launchdarkly, "fresh")["version"]
    came = control.apply(Replace(meant), by="ann").flag
    assert (replace(came, version=0), config(launchdarkly, "fresh")["version"]) == (meant, version + 1)


def test_a_split_by_any_attribute(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """The reference is LaunchDarkly's, whatever stands in the name; one that it cannot have is refused."""

    def by(*path: str, kind: str = "user") -> SetDistribution:
        return SetDistribution("model", ramp("v2", 30_000, "v1", Bucketing(attribute=Attribute(path, kind))))

    for path, reference in ((("team:id",), "team:id"), (("key",), "key_"), (("a", "b/c"), "/a/b~1c")):
        control.apply(by(*path), by="ann")
        assert config(launchdarkly)["fallthrough"]["rollout"]["bucketBy"] == reference
    for change in (by("a", ""), by("plan", kind="two words")):
        with pytest.raises(InvalidInput, match="cannot deal by"):
            control.apply(change, by="ann")
    for kind in ("two words", NAMES):
        with pytest.raises(InvalidInput, match="cannot target"):
            control.apply(SetTargets("model", (Targets("v2", ("acme",), kind),)), by="ann")


def test_a_creation_that_is_refused_halfway_leaves_nothing(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """A flag is made in two requests; if the second is refused the first is taken back."""
    launchdarkly.emulator.faults.add("/api/v2/flags/*/new", method="PATCH", status=405)
    with pytest.raises(Exception, match="Approval"):
        control.apply(Create(replace(FLAG, key="new")), by="ann")
    launchdarkly.emulator.faults.clear()
    with pytest.raises(NotFound):
        control.read("new")


def test_a_creation_in_a_rush_leaves_nothing_or_says_so(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """Told to come back later, nothing is there; where that cannot be had, the caller hears what is there."""
    faults, new = launchdarkly.emulator.faults, Create(replace(FLAG, key="new"))
    later = {"X-Ratelimit-Reset": str(int((time.time() + 3600) * 1000))}
    faults.add("/api/v2/flags/*/new", method="PATCH", status=429, headers=later)
    with pytest.raises(RetryLater):
        control.apply(new, by="ann")
    with pytest.raises(NotFound):
        control.read("new")
    faults.add("/api/v2/flags/*/new", method="DELETE", status=429, headers=later)
    with pytest.raises(Unavailable, match="'new' was made, and is off everywhere"):
        control.apply(new, by="ann")
    faults.clear()
    assert not control.read("new").flag.on


def test_a_restore_is_exact_after_edits(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """The kept document puts back rules with their ids, targets, split, tags, archived state; others are left alone."""
    rule = Rule("r", (Clause(Attribute(("plan",)), Op.IN, ("pro",)),), ramp("v2", 20_000, "v1"))
    launchdarkly.put(replace(FLAG, rules=(rule,), targets=(Targets("v2", ("ann",)),), tags=("kept",)))
    before, production = control.read("model"), config(launchdarkly, environment="production")
    control.apply(SetOn("model", on=False), by="x")
    control.apply(SetTargets("model", ()), by="x")
    control.apply(Replace(replace(FLAG, rules=(), tags=("other",))), by="x")
    control.apply(Archive("model"), by="x")
    after = control.apply(Replace(before.flag, native=before.native), by="ann")
    assert replace(after.flag, version=0) == replace(before.flag, version=0)
    assert not launchdarkly.emulator.flag("model")["archived"]
    same = ("on", "fallthrough", "offVariation", "targets", "rules")
    now = config(launchdarkly, environment="production")
    assert {name: now[name] for name in same} == {name: production[name] for name in same}


def test_a_deleted_flag_is_put_back(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """Restore makes a flag anew that somebody deleted meanwhile."""
    before = control.read("model")
    control.delete("model")
    came = control.apply(Replace(before.flag, native=before.native), by="ann")
    assert replace(came.flag, version=0) == replace(before.flag, version=0)


def test_a_deleted_flag_that_cannot_be_put_back_is_not_half_there(
    launchdarkly: Vendor, control: LaunchDarklyControl
) -> None:
    """A document of another environment, or a refusal halfway: no flag is made, or it is taken back."""
    control.apply(SetDistribution("model", "v2"), by="ann")
    before = control.read("model")
    control.delete("model")
    elsewhere = {**before.native, "environments": {"production": before.native["environments"][ENVIRONMENT]}}
    with pytest.raises(InvalidInput, match="not of environment 'test'"):
        control.apply(Replace(before.flag, native=elsewhere), by="ann")
    launchdarkly.emulator.faults.add("/api/v2/flags/*/model", method="PATCH", status=405, times=1)
    with pytest.raises(ApprovalRequired):
        control.apply(Replace(before.flag, native=before.native), by="ann")
    with pytest.raises(NotFound):
        control.read("model")


def test_a_document_of_other_variations_is_a_conflict(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """Variations that are gone cannot be put back by index: a conflict, nothing is guessed."""
    before = control.read("model")
    control.delete("model")
    launchdarkly.put(replace(FLAG, variants=(Variant("x", "8"), Variant("y", "9")), default="x", off_variant="x"))
    with pytest.raises(Conflict, match="variations"):
        control.apply(Replace(before.flag, native=before.native), by="ann")


def test_an_edit_between_read_and_restore_is_a_conflict(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """The JSON patch of a restore is guarded by the version: LaunchDarkly itself refuses a late one."""
    from flagbrake_launchdarkly import patches

    before = control.read("model")
    control.apply(SetOn("model", on=False), by="x")
    rep = control._api.flag("model")
    operations = patches.put_back(rep, ENVIRONMENT, before.native)
    control.apply(SetTargets("model", (Targets("v2", ("ann",)),)), by="y")
    with pytest.raises(Conflict):
        control._api.patch("model", operations, "late")


def test_every_page_is_read(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """Lists are read to the end: 130 flags are two pages."""
    for number in range(130):
        launchdarkly.put(replace(FLAG, key=f"many-{number}"))
    keys = [state.ref.key for state in control.states()]
    assert len(keys) == len(set(keys)) == 131


def test_segments_are_read(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """Segments of the environment, as the model has them."""
    launchdarkly.emulator.put_segment(ENVIRONMENT, {"key": "staff", "included": ["ann"], "excluded": ["bob"]})
    (segment,) = control.segments()
    assert (segment.key, segment.included[0].keys, segment.excluded[0].keys) == ("staff", ("ann",), ("bob",))


def test_history_names_the_person(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """The person flagbrake acted for, not the owner of the token; others by their login."""
    control.apply(SetOn("model", on=False), by="dana", comment="paid [twice]")
    newest = next(control.history("model"))
    assert (newest.by, newest.reason) == ("dana", "paid [twice]")
    assert "@" in list(control.history("model"))[-1].by


def test_another_environment_is_not_found(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """An environment that the project does not have is named, with those that there are."""
    with pytest.raises(NotFound, match=r"no environment 'staging'.*production"):
        launchdarkly.control(environment_key="staging").read("model")
    for wrong in ({"environment_key": "staging"}, {"project_key": "shop"}):
        with pytest.raises(NotFound, match=r"404.*Try: look at project_key and environment_key"):
            list(launchdarkly.control(**wrong).states())
    with pytest.raises(NotFound, match=r"no environment 'staging'\. Try: .*production"):
        launchdarkly.control(environment_key="staging").check_place()
    control.check_place()


def test_the_writer_repeats_nothing(launchdarkly: Vendor, control: LaunchDarklyControl) -> None:
    """A change that is true already is not sent."""
    writer = FlagWriter(control, lock=MemoryLock())
    before = config(launchdarkly)["version"]
    writer.apply(SetOn("model", on=True), by="ann")
    writer.apply(SetDistribution("model", "v1"), by="ann")
    assert config(launchdarkly)["version"] == before


def test_operators_that_launchdarkly_spells_otherwise(control: LaunchDarklyControl) -> None:
    """Through the writer a definition may use every operator: what comes back in other clauses is what was meant."""
    clauses = (
        Clause(Attribute(("app",)), Op.SEMVER_GREATER_OR_EQUAL, ("2.10.0",)),
        Clause(Attribute(("plan",)), Op.IS, (True,)),
        Clause(Attribute(("age",)), Op.BETWEEN, (18, 30)),
    )
    rules = (Rule("r", clauses, ramp("v2", 20_000, "v1")),)
    meant = replace(FLAG, key="ruled", rules=rules, prerequisites=(Prerequisite("model", ("v1",)),))
    writer = FlagWriter(control, lock=MemoryLock())
    came = writer.apply(Create(meant), by="ann").flag
    assert len(came.rules[0].clauses) >= len(clauses)
    assert writer.apply(Replace(replace(meant, default="v2")), by="ann").flag.default == "v2"
