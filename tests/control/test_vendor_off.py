"""The vendor's own flags under a kill: off, serving what is safe, and exactly back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flagbrake.control.plane import Deadlines
from flagbrake.control.switch import KillSwitch
from flagbrake.control.vendor_off import VendorOffLane
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import Conflict, RestoreIncomplete, VendorUnavailable
from flagbrake.model.flag import Targets
from flagbrake.model.kill import Scope
from flagbrake.model.manifest import Declaration
from flagbrake.model.receipt import Took
from flagbrake.model.state import Capability, SetDistribution, SetTargets, Support
from tests.control.doubles import TableControl, agent_flag

KEY, OTHER = "agents.refunds", "agents.limits"
WHY = {"by": "bob", "reason": "fixed in v3"}


@pytest.fixture
def vendor():
    """A vendor whose flag is set so that switching it off alone would serve the broken version to everybody."""
    return TableControl(
        agent_flag(KEY, off_variant="v2", targets=(Targets("v2", ("vip",)),)),
        agent_flag(OTHER, off_variant="v1"),
    )


@pytest.fixture
def there(bench):
    """Both flags are declared under one agent, and somebody listens."""
    agent = (Scope.parse("agent:refunds"),)
    bench.declare(
        Declaration(KEY, safe_variant="v1", scopes=agent),
        Declaration(OTHER, safe_variant="v1", scopes=agent),
        Declaration("agents.not-made-yet", safe_variant="v1", scopes=agent),
    )
    bench.listen("one")
    return bench


def switch(there, vendor):
    """The switch over a vendor, with the lane."""
    return KillSwitch.over(
        there.store,
        writer=FlagWriter(vendor, lock=there.store.locks, audit=there.store.audit),
        manifest=lambda: there.manifest,
        notifiers=(there.ear,),
        vendor_off=True,
        deadlines=Deadlines(lane=5.0, look=1.0, flags=1.0, notify=0.5),
    )


def kill(there, vendor, target="agent:refunds"):
    return switch(there, vendor).kill(target, by="ann", reason="v2 refunds twice")


def flag(vendor, key=KEY):
    return vendor.read(key).flag


def test_a_kill_serves_what_is_safe_and_comes_back_exactly(there, vendor):
    """Off, with the safe variant although the vendor's off variant was the broken one; restored to the byte."""
    before = {key: vendor.read(key).native for key in (KEY, OTHER)}
    receipt = kill(there, vendor)
    assert {r.lane: r.took for r in receipt.lanes} == {"store": Took.TOOK, "vendor-off": Took.TOOK}
    assert (flag(vendor).on, flag(vendor).off_variant) == (False, "v1")
    assert not flag(vendor, OTHER).on
    assert flag(vendor).targets, "what is off keeps its rules"
    switch(there, vendor).restore("agent:refunds", **WHY)
    for key, native in before.items():
        assert {**vendor.read(key).native, "version": 0} == {**native, "version": 0}


def test_of_two_kills_the_last_brings_it_back(there, vendor):
    """A flag under two kills stays off until both are lifted, and then is what it was before the first."""
    before = flag(vendor)
    kill(there, vendor)
    kill(there, vendor, f"flag:{KEY}")
    switch(there, vendor).restore("agent:refunds", **WHY)
    assert not flag(vendor).on
    assert flag(vendor, OTHER).on
    switch(there, vendor).restore(f"flag:{KEY}", **WHY)
    assert replace(flag(vendor), version=0) == replace(before, version=0)


def test_an_edit_under_the_kill_is_not_lost(there, vendor):
    """Edited by people meanwhile: restore shows it and does nothing; --lift-only keeps it and only switches back."""
    kill(there, vendor)
    vendor.apply(SetTargets(KEY, (Targets("v1", ("vip",)),)))
    with pytest.raises(Conflict, match="edited since the kill"):
        switch(there, vendor).restore("agent:refunds", **WHY)
    assert not flag(vendor).on
    switch(there, vendor).restore("agent:refunds", lift_only=True, **WHY)
    assert (flag(vendor).on, flag(vendor).off_variant) == (True, "v2")
    assert flag(vendor).targets == (Targets("v1", ("vip",)),)
    assert flag(vendor, OTHER).on


def test_an_edit_between_two_kills_is_not_lost(there, vendor):
    """The second kill finds an edited flag: no restore takes that for our own deed."""
    kill(there, vendor)
    vendor.apply(SetTargets(KEY, ()))
    kill(there, vendor, f"flag:{KEY}")
    switch(there, vendor).restore("agent:refunds", lift_only=True, **WHY)
    with pytest.raises(Conflict, match="edited since the kill"):
        switch(there, vendor).restore(f"flag:{KEY}", **WHY)


def test_overwrite_puts_back_what_was_before(there, vendor):
    """--overwrite: the edit goes, the flag is what it was before the kill."""
    before = flag(vendor)
    kill(there, vendor)
    vendor.apply(SetDistribution(KEY, "v2"))
    switch(there, vendor).restore("agent:refunds", overwrite=True, **WHY)
    assert replace(flag(vendor), version=0) == replace(before, version=0)


def test_a_vendor_that_is_away_is_pending_and_finished_later(there, vendor):
    """The store's lane kills at once; the vendor's flags follow when it answers, and nothing is taken for lost."""
    before = flag(vendor)

    def away(_):
        raise VendorUnavailable("The vendor did not answer.")

    vendor.before = away
    receipt = kill(there, vendor)
    assert {r.lane: r.took for r in receipt.lanes}["vendor-off"] is Took.PENDING
    assert flag(vendor).on
    vendor.before = lambda _: None
    assert [r.took for r in switch(there, vendor).retry_pending()] == [Took.TOOK]
    assert (flag(vendor).on, flag(vendor).off_variant) == (False, "v1")
    assert switch(there, vendor).retry_pending() == ()
    switch(there, vendor).restore("agent:refunds", **WHY)
    assert replace(flag(vendor), version=0) == replace(before, version=0)


def test_a_restore_that_cannot_be_finished_says_so_and_is_repeated(there, vendor):
    """The vendor is away while restoring: the kill still stands at the vendor; repeated, it comes back."""
    before = flag(vendor)
    kill(there, vendor)

    def away(_):
        raise VendorUnavailable("The vendor did not answer.")

    vendor.before = away
    with pytest.raises(RestoreIncomplete, match="vendor-off"):
        switch(there, vendor).restore("agent:refunds", **WHY)
    vendor.before = lambda _: None
    switch(there, vendor).retry_pending()
    assert replace(flag(vendor), version=0) == replace(before, version=0)


def test_a_crash_between_write_and_record_is_recognised(there, vendor):
    """The process died after switching off and before it said so: the flag is still known as switched off by us."""
    lane = next(lane for lane in switch(there, vendor).plane.lanes if isinstance(lane, VendorOffLane))
    receipt = kill(there, vendor)
    unsaid = replace(lane.held(receipt.kill)[KEY], left=None)
    assert unsaid.as_left(vendor.read(KEY))
    vendor.apply(SetTargets(KEY, ()))
    assert not unsaid.as_left(vendor.read(KEY))


def test_a_vendor_that_cannot_choose_is_switched_off_only(there, vendor):
    """OFF_SERVES_SAFE below FULL: the flag is off with its own off variant; nothing is refused."""
    vendor.capabilities = {**vendor.capabilities, Capability.OFF_SERVES_SAFE: Support.VENDOR_CANNOT}
    receipt = kill(there, vendor)
    assert all(r.took is Took.TOOK for r in receipt.lanes)
    assert (flag(vendor).on, flag(vendor).off_variant) == (False, "v2")


def test_a_kill_of_nothing_at_the_vendor_is_held_all_the_same(there, vendor):
    """A scope that covers no flag here is no endless pending lane."""
    kill_switch = switch(there, vendor)
    kill_switch.kill("agent:other", by="ann", reason="stop", arm=True)
    assert kill_switch.retry_pending() == ()
    kill_switch.restore("agent:other", **WHY)
    assert kill_switch.standing().kills == ()
