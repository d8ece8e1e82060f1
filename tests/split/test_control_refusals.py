"""Split's control: what the vendor refuses, what it does not answer, and who writes at the same time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import (
    ApprovalRequired,
    ConfigError,
    Conflict,
    NotAllowed,
    NotFound,
    RetryLater,
    Unavailable,
    VendorUnavailable,
)
from flagbrake.model.state import Archive, Change, Create, Replace, SetDistribution, SetOn, SetTargets
from flagbrake.ports.control import FlagControl
from flagbrake.testing import MemoryLock
from flagbrake_split.emulator import SplitEmulator
from tests.proofs import split_writers
from tests.split.controlling import BY, MISSET, control_of, stripped
from tests.split.sdk import definition

# --- refusals -------------------------------------------------------------------------------------------------


def test_approvals(split: SplitEmulator, control: FlagControl) -> None:
    """Where changes are approved, and where a change request waits, a person is asked."""
    control.apply(Create(MISSET), **BY)
    split.require_approvals("test")
    with pytest.raises(ApprovalRequired, match="approved"):
        control.apply(SetDistribution("refunds", "v1"), **BY)
    with pytest.raises(ApprovalRequired):
        control.apply(SetOn("refunds", on=False), **BY)
    split.require_approvals("test", allow_kills=True)
    assert not control.apply(SetOn("refunds", on=False), **BY).flag.on
    split.require_approvals("test", on=False)
    from flagbrake_split.emulator.desk import Words

    split.management.request_change("test", {"split": split.definition("refunds")}, Words("bob"))
    with pytest.raises(ApprovalRequired, match="change request") as caught:
        control.apply(SetOn("refunds", on=True), **BY)
    assert "withdraw" in caught.value.cure


def test_comments_demanded(split: SplitEmulator, control: FlagControl) -> None:
    """Where title and comment are demanded every kind of change brings them along."""
    split.require_comments()
    before = control.apply(Create(replace(MISSET, on=False)), **BY)
    changes: tuple[Change, ...] = (
        SetOn("refunds", on=True),
        SetOn("refunds", on=False, off_variant="v1"),
        SetDistribution("refunds", "v1", turn_on=True),
        SetTargets("refunds", ()),
        Replace(before.flag, native=before.native),
        Archive("refunds"),
    )
    for change in changes:
        control.apply(change, **BY)
    assert {said.comment for said in split.history} == {"because it burns"}
    assert all(said.title.endswith("by ann") for said in split.history)


def test_remarks(split: SplitEmulator, control: FlagControl) -> None:
    """What an operator should know before it matters: approvals, and what they except; titles and comments."""

    def warned() -> list[str]:
        return [remark.text for remark in control.remarks() if not remark.fine]

    assert warned() == []
    split.require_comments()
    assert any("title and comment" in remark.text for remark in control.remarks())
    split.require_approvals("test")
    assert ["kills too" in text for text in warned()] == [True]
    split.require_approvals("test", allow_kills=True)
    assert ["kills excepted" in text for text in warned()] == [True]


def test_rate_limit(split: SplitEmulator, control: FlagControl) -> None:
    """A limit is waited out when it is short; a long one is told, the longer of the two that count."""
    control.apply(Create(MISSET), **BY)
    headers = {"X-RateLimit-Reset-Seconds-Org": "30", "X-RateLimit-Reset-Seconds-IP": "70"}
    fault = split.faults.add("/internal/*", method="PUT", status=429, headers=headers)
    with pytest.raises(RetryLater) as caught:
        control.apply(SetOn("refunds", on=False), **BY)
    assert caught.value.after == 70
    split.faults.clear(fault)
    short = {"X-RateLimit-Reset-Seconds-Org": "0", "X-RateLimit-Reset-Seconds-IP": "0.05"}
    split.faults.add("/internal/*", status=429, headers=short, times=3)
    assert not control.apply(SetOn("refunds", on=False), **BY).flag.on


def test_keys(split: SplitEmulator) -> None:
    """A key nobody has and one that may only look are NotAllowed; neither stands in a message or a repr."""
    split.put_definition(definition("refunds"))
    for key, secret in (("nobody-knows-this", "nobody-knows-this"), (split.viewer_key, split.viewer_key)):
        control = control_of(split, admin_key=key)
        with pytest.raises(NotAllowed) as caught:
            control.apply(SetOn("refunds", on=False), **BY)
        assert secret not in f"{caught.value} {caught.value!r} {control!r} {control.__dict__!r}"


def test_harness_key(split: SplitEmulator) -> None:
    """A key of Harness goes in its own header."""
    split.put_definition(definition("refunds"))
    assert control_of(split, harness=True).read("refunds").flag.on


def test_places(split: SplitEmulator) -> None:
    """Workspace and environment may be given by name or id; one that does not exist is told with those that do."""
    split.put_definition(definition("refunds"))
    assert control_of(split, workspace="Default", environment_name="env-test").read("refunds")
    with pytest.raises(ConfigError, match="Default"):
        control_of(split, workspace="elsewhere").read("refunds")
    with pytest.raises(ConfigError, match=r"nothing-here.*production or test"):
        control_of(split, environment_name="nothing-here").read("refunds")
    with pytest.raises(ConfigError, match=r"nothing-here.*production or test"):
        list(control_of(split, environment_name="nothing-here").states())
    with pytest.raises(ConfigError, match=r"nothing-here.*production or test"):
        control_of(split, environment_name="nothing-here").check_place()
    control_of(split, environment_name="test").check_place()


def test_nearest_name(split: SplitEmulator, control: FlagControl) -> None:
    """A flag that does not exist is told with the nearest names."""
    split.put_definition(definition("agents-refunds"))
    with pytest.raises(NotFound, match="agents-refunds"):
        control.read("agents-refund")


def test_expected_version(control: FlagControl) -> None:
    """A version that is not there any more is refused, though the vendor itself compares nothing."""
    old = control.apply(Create(MISSET), **BY).version
    control.apply(SetOn("refunds", on=False), **BY)
    with pytest.raises(Conflict, match="somebody else"):
        control.apply(SetOn("refunds", on=True), expected=old, **BY)


# --- a vendor that does not answer --------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["before", "after"])
@pytest.mark.parametrize(
    "change",
    [
        SetOn("refunds", on=False),
        SetOn("refunds", on=False, off_variant="v1"),
        SetDistribution("refunds", "v1"),
        SetTargets("refunds", ()),
        Archive("refunds"),
    ],
    ids=lambda change: type(change).__name__,
)
def test_lost_answers(split: SplitEmulator, control: FlagControl, change: Change, lost: str) -> None:
    """When an answer is lost the writer reads and knows: it was written, or it was not."""
    before = control.apply(Create(MISSET), **BY)
    methods = {"PUT", "PATCH"} if not isinstance(change, Archive) else {"POST"}
    for method in methods:
        split.faults.add("/internal/*", method=method, cut=lost, times=1)
    writer = FlagWriter(control, lock=MemoryLock())
    if lost == "before":
        with pytest.raises(Unavailable, match="not written"):
            writer.apply(change, by="ann", reason="x")
        assert control.read("refunds").version == before.version
    elif isinstance(change, Archive):
        assert writer.apply(change, by="ann", reason="x").flag.archived
        with pytest.raises(NotFound):
            control.read("refunds")
    else:
        assert writer.apply(change, by="ann", reason="x").version != before.version


@pytest.mark.parametrize("fault", [{"status": 503}, {"hang": True}, {"cut": "before"}])
def test_away(split: SplitEmulator, fault: dict[str, Any]) -> None:
    """A vendor that is down, hangs or cuts the line is VendorUnavailable in bounded time, for reading and writing."""
    split.put_definition(definition("refunds"))
    control = control_of(split, admin_timeout=0.5)
    control.read("refunds")
    split.faults.add("/internal/*", **fault)
    with pytest.raises(VendorUnavailable):
        control.read("refunds")
    with pytest.raises(VendorUnavailable):
        control.apply(SetOn("refunds", on=False), **BY)
    split.faults.clear()
    assert control.read("refunds").flag.on


def test_slow(split: SplitEmulator, control: FlagControl) -> None:
    """A slow vendor is waited for."""
    split.put_definition(definition("refunds"))
    split.faults.add("/internal/*", delay=0.05)
    assert not control.apply(SetOn("refunds", on=False), **BY).flag.on


def test_two_controllers() -> None:
    """Two controllers with one lock write at once, and no change is lost: `make proof-split-writers`, in short."""
    found = split_writers.run(40)
    assert (found["writes"], found["lost_updates"], found["strange_units"]) == (40, 0, 0)


def test_unknown_matcher(split: SplitEmulator, control: FlagControl, caplog: pytest.LogCaptureFixture) -> None:
    """A rule that cannot be read is told in the log, blocks no change of the rest, and stays where it is."""
    before = control.apply(Create(MISSET), **BY)
    rules = split.state.planes["test"].live["refunds"].definition["rules"]
    rules[0]["condition"]["matchers"][0]["type"] = "SOUNDS_LIKE"
    assert control.read("refunds").flag.rules == ()
    control.read("refunds")
    assert [record.getMessage().count("SOUNDS_LIKE") for record in caplog.records if "refunds" in record.message] == [1]
    kept = control.read("refunds").native["definition"]["rules"]
    assert kept[0]["condition"]["matchers"][0]["type"] == "SOUNDS_LIKE"
    assert not control.apply(SetOn("refunds", on=False), **BY).flag.on
    after = control.apply(Replace(before.flag, native=before.native), **BY)
    assert stripped(after) == stripped(before)
