"""The control on the real server: what it reads of others' making, and what it refuses or keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from flagbrake.errors import InvalidInput, VendorUnavailable
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.codec import checksum, dumps
from flagbrake.model.flag import Distribution, Flag, Prerequisite, Rule, Targets, Variant, ramp
from flagbrake.model.state import Archive, Create, Replace, SetDistribution, SetOn, SetTargets
from flagbrake.model.values import FlagKind, kind_of
from flagbrake_unleash.control import UnleashControl
from flagbrake_unleash.translate import feature_from_flag
from tests.unleash.harnesses import Vendor
from tests.unleash.intercepting import Fault, Interceptor
from tests.unleash.test_writing import writers


@pytest.fixture
def control(quick_vendor: Vendor) -> Iterator[UnleashControl]:
    with closing(quick_vendor.control()) as made:
        yield made


@contextmanager
def admin(here: Vendor) -> Iterator[httpx.Client]:
    headers = {"Authorization": here.server.admin_token}
    with httpx.Client(base_url=f"{here.server.url}/api/admin", headers=headers, timeout=10) as made:
        yield made


def test_a_refused_definition_leaves_the_archive_alone(quick_vendor: Vendor, control: UnleashControl) -> None:
    """A replacement that cannot be written brings no archived flag back, nor does one of another version."""
    control.apply(Create(Flag.boolean("put-away")))
    control.apply(Archive("put-away"))
    both = (Prerequisite("one", ("on",)), Prerequisite("two", ("on",)))
    with pytest.raises(InvalidInput, match="one prerequisite"):
        control.apply(Replace(Flag.boolean("put-away", prerequisites=both)))
    with pytest.raises(InvalidInput, match="not its own"):
        control.apply(Replace(Flag.boolean("put-away"), native={"name": "another"}))
    with admin(quick_vendor) as client:
        there = client.get("/projects/default/features").json()["features"]
    assert "put-away" not in {feature["name"] for feature in there}
    assert control.apply(Replace(Flag.boolean("put-away"))).flag.on


def test_a_listing_reads_as_a_reading(control: UnleashControl) -> None:
    """Of all flags at once the same is read as of each alone; what others depend on has its strategies in order."""
    named = (Variant("yes", value=True), Variant("no", value=False))
    control.apply(Create(Flag("parent", FlagKind.BOOLEAN, named, "no", off_variant="no")))
    control.apply(SetTargets("parent", (Targets("yes", ("ann",)),)))
    control.apply(Create(Flag.boolean("a-child", prerequisites=(Prerequisite("parent", ("yes",)),))))
    listed = {state.flag.key: state.flag for state in control.states()}
    for key in ("parent", "a-child"):
        assert listed[key] == control.read(key).flag


def test_a_page_of_somebody_else(quick_vendor: Vendor) -> None:
    """A portal or a proxy that answers 200 with a page of its own is an outage, with the address as its cure."""
    with (
        closing(Interceptor(quick_vendor.server.port)) as proxy,
        closing(quick_vendor.control(url=f"{proxy.url}/api")) as control,
    ):
        proxy.always(Fault.GARBAGE)
        for ask in (lambda: control.read("any"), lambda: list(control.states()), lambda: list(control.segments())):
            with pytest.raises(VendorUnavailable, match=r"no answer of Unleash's API.*its address"):
                ask()
        with pytest.raises(VendorUnavailable, match="no answer of Unleash's API"):
            control.apply(SetOn("any", on=False))


def test_targets_leave_the_rest_as_it_is(quick_vendor: Vendor, control: UnleashControl) -> None:
    """A tag of another type and the title that somebody gave the owned strategy stay when targets are set."""
    control.apply(Create(Flag.boolean("labelled", tags=("mine",))))
    with admin(quick_vendor) as client:
        client.post("/tag-types", json={"name": "jira", "description": "issues", "icon": "j"}).raise_for_status()
        client.post("/features/labelled/tags", json={"type": "jira", "value": "AB-1"}).raise_for_status()
        here = "/projects/default/features/labelled/environments/development/strategies"
        (strategy,) = client.get(here).json()
        client.put(f"{here}/{strategy['id']}", json={**strategy, "title": "everybody else"}).raise_for_status()
    state = control.apply(SetTargets("labelled", (Targets("on", ("ann",)),)))
    assert state.native["tags"] == [{"type": "jira", "value": "AB-1"}, {"type": "simple", "value": "mine"}]
    assert [s["title"] for s in state.native["strategies"]] == ["", "everybody else"]


@pytest.mark.parametrize("name", ["gradualRolloutUserId", "gradualRolloutSessionId"])
def test_a_strategy_of_old_is_ramped(quick_vendor: Vendor, tmp_path: Path, name: str) -> None:
    """The server takes the flexible rollout in the old one's place, and it says the share that was asked for."""
    feature, key = feature_from_flag(Flag.boolean(name)), name
    feature["strategies"][0] |= {"name": name, "parameters": {"percentage": "30", "groupId": key}}
    quick_vendor.back.write(feature)
    with writers(quick_vendor, tmp_path) as (writer, _):
        state = writer.apply(SetDistribution(key, ramp("on", 40_000, "off")), by="ann")
        assert [s["name"] for s in state.native["strategies"]] == ["flexibleRollout"]


@pytest.mark.parametrize("value", ["", " ", "\x00", 2**60, {"flagbrake": 1}, {"a": [None]}])
def test_values_that_the_server_takes_in_disguise_only(control: UnleashControl, value: Any) -> None:
    """Its API takes no empty text, and objects and arrays for JSON only: what is read back is what was meant."""
    key = f"disguised-{checksum(dumps(value))[:8]}"
    kind = kind_of(value)
    assert kind is not None
    created = control.apply(Create(Flag(key, kind, (Variant("a", value),), "a")))
    assert created.flag.variants == (Variant("a", value),)


def test_a_boolean_with_variants_is_ramped(quick_vendor: Vendor, tmp_path: Path) -> None:
    """A boolean whose rules take variants in Unleash is ramped with them, and shows what was meant."""
    rule = Rule("r", (Clause(Attribute(("country",)), Op.IN, ("DE",)),), "off")
    with writers(quick_vendor, tmp_path) as (writer, _):
        writer.apply(Create(Flag.boolean("with-rules", default="on", rules=(rule,))), by="ann")
        state = writer.apply(SetDistribution("with-rules", ramp("on", 40_000, "off")), by="ann")
        assert isinstance(state.flag.default, Distribution)
        assert state.flag.variant_names == ("on", "off")
