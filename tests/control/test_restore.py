"""Restoring: exactly what was there, or nothing without being asked."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from flagbrake.errors import (
    Conflict,
    Interrupted,
    InvalidInput,
    KillUnheard,
    NotAllowed,
    NotFound,
    RestoreIncomplete,
    StoreUnavailable,
    Unavailable,
    VendorUnavailable,
)
from flagbrake.model.flag import Prerequisite, Targets, ramp
from flagbrake.model.kill import Kill, KillMode, OnExpiry, Scope, ScopeKind
from flagbrake.model.manifest import Declaration
from flagbrake.model.receipt import Took
from flagbrake.model.state import Archive, SetDistribution, SetOn, SetTargets
from tests.control.doubles import MemoryLane, Rung, TableControl, agent_flag, raising

KEY = "agents.refunds"
WHY = {"by": "bob", "reason": "fixed in v3"}


@pytest.fixture
def heard(bench):
    """Somebody listens."""
    bench.listen("one")
    return bench


def killed(bench, *lanes, target=KEY, **more):
    switch = bench.switch(*lanes, **more)
    return switch, switch.kill(target, by="ann", reason="v2 refunds twice")


def edit(bench, change):
    return bench.switch().plane.writer.apply(change, by="eve", reason="edit")


def test_restore_brings_back_what_was_there(heard):
    """Nobody edited: the kill is lifted, the flag is what it was to the byte, everybody confirmed."""
    before = heard.control.read(KEY)
    switch, receipt = killed(heard)
    restored = switch.restore(KEY, **WHY)
    assert restored.hearing.complete
    assert [k.id for k in restored.kills] == [receipt.kill.id]
    assert heard.store.kills.read().kills == ()
    after = heard.control.read(KEY)
    assert (after.version, after.native) == (before.version, before.native)
    assert heard.ear.events() == ["kill", "restore"]
    assert heard.audited(f"flag:{KEY}") == ["kill", "kill:result", "restore:intent", "lift", "restore:result"]
    assert heard.store.audit.verify() is None


@pytest.mark.parametrize("name", [KEY, f"flag:{KEY}", "id"])
def test_a_kill_is_named_by_id_scope_or_path(heard, name):
    """As the operator has it at hand."""
    switch, receipt = killed(heard)
    assert switch.restore(receipt.kill.id if name == "id" else name, **WHY).kills


def test_a_restore_needs_a_reason_and_something_killed(heard):
    """Refused before anything is written; the nearest standing kill is named."""
    switch, _ = killed(heard)
    with pytest.raises(InvalidInput, match="reason"):
        switch.restore(KEY, by="bob", reason="  ")
    with pytest.raises(NotFound, match=rf"flag:{KEY}"):
        switch.restore("agents.refnds", **WHY)
    with pytest.raises(InvalidInput, match="exclude"):
        switch.restore(KEY, lift_only=True, overwrite=True, **WHY)
    assert len(heard.store.kills.read().kills) == 1


# --- edited meanwhile ----------------------------------------------------------------------------------


def test_an_edit_is_shown_and_nothing_is_restored(heard):
    """Conflict with a diff and both ways out; the kill stands."""
    switch, _ = killed(heard)
    edit(heard, SetTargets(KEY, (Targets("v1", ("vip",)),)))
    with pytest.raises(Conflict, match=r"agents\.refunds was edited.*--lift-only.*--overwrite") as edited:
        switch.restore(KEY, **WHY)
    assert '+        "vip"' in edited.value.detail
    assert "before the kill" in edited.value.detail
    assert len(heard.store.kills.read().kills) == 1


def test_lift_only_keeps_the_edit(heard):
    """The kill goes, the edit stays."""
    switch, _ = killed(heard)
    edited = edit(heard, SetOn(KEY, on=False))
    switch.restore(KEY, lift_only=True, **WHY)
    assert heard.control.read(KEY).version == edited.version
    assert heard.store.kills.read().kills == ()


def test_overwrite_puts_back_what_was_there(heard):
    """The document from before the kill, written through the writer, then the lifting."""
    before = heard.control.read(KEY)
    switch, _ = killed(heard)
    edit(heard, SetDistribution(KEY, ramp("v2", 99_000, "v1")))
    receipt = switch.restore(KEY, overwrite=True, **WHY)
    assert receipt.overwritten == (KEY,)
    assert heard.control.read(KEY).native == before.native
    assert heard.store.kills.read().kills == ()


def test_an_edit_that_was_undone_is_none(heard):
    """The same document is the same flag, whatever its version."""
    switch, _ = killed(heard)
    edit(heard, SetOn(KEY, on=False))
    edit(heard, SetOn(KEY, on=True))
    assert switch.restore(KEY, **WHY).overwritten == ()


def test_an_archived_flag_comes_back_with_overwrite(heard):
    """Archiving is an edit like any other."""
    switch, _ = killed(heard)
    edit(heard, Archive(KEY))
    with pytest.raises(Conflict):
        switch.restore(KEY, **WHY)
    switch.restore(KEY, overwrite=True, **WHY)
    assert not heard.control.read(KEY).flag.archived


def test_a_vendors_flag_is_compared_and_put_back_too(heard):
    """What it was is read beside the kill and kept in the audit, the vendor's own document whole."""
    control = TableControl(agent_flag())
    before = control.read(KEY)
    switch, _ = killed(heard, control=control)
    control.put(agent_flag(on=False))
    with pytest.raises(Conflict, match="edited"):
        switch.restore(KEY, **WHY)
    switch.restore(KEY, overwrite=True, **WHY)
    now = control.read(KEY)
    assert {**now.native, "version": 0} == {**before.native, "version": 0}


def test_a_flag_deleted_at_the_vendor(heard):
    """It is gone: shown as such, and put back when asked."""
    control = TableControl(agent_flag())
    switch, _ = killed(heard, control=control)
    control.drop(KEY)
    with pytest.raises(Conflict) as gone:
        switch.restore(KEY, **WHY)
    assert "it is gone" in gone.value.detail
    switch.restore(KEY, overwrite=True, **WHY)
    assert control.read(KEY).flag.on


def test_two_flags_under_one_scope_come_back_exactly(heard):
    """One kill of an agent covers both flags; both are compared, both are put back."""
    heard.seed(agent_flag("agents.mail"), agent_flag("agents.calm"))
    scope = (Scope(ScopeKind.AGENT, "desk"),)
    heard.declare(*(Declaration(key, safe_variant="v1", scopes=scope) for key in (KEY, "agents.mail")))
    # The store records what a kill covers from its own declarations.
    with heard.store.db.transaction() as conn:
        heard.store.manifest.write_all(conn, heard.manifest.declarations.values())
    before = {key: heard.control.read(key) for key in (KEY, "agents.mail", "agents.calm")}
    switch, _ = killed(heard, target="agent:desk")
    edit(heard, SetOn("agents.mail", on=False))
    calm = edit(heard, SetOn("agents.calm", on=False))
    with pytest.raises(Conflict, match=r"agents\.mail was edited"):
        switch.restore("agent:desk", **WHY)
    edit(heard, SetOn(KEY, on=False))
    receipt = switch.restore("agent:desk", overwrite=True, **WHY)
    assert set(receipt.overwritten) == {KEY, "agents.mail"}
    for key in (KEY, "agents.mail"):
        assert heard.control.read(key).native == before[key].native
    assert heard.control.read("agents.calm").version == calm.version, "not covered, not touched"


def test_declared_in_the_file_only(heard):
    """Declarations of the configuration file count as well, though the store does not know them."""
    heard.declare(Declaration(KEY, scopes=(Scope(ScopeKind.AGENT, "desk"),)))
    switch, _ = killed(heard, target="agent:desk")
    edit(heard, SetOn(KEY, on=False))
    with pytest.raises(Conflict):
        switch.restore("agent:desk", **WHY)


def test_killed_twice_restored_once(heard):
    """Both kills of the scope are lifted; what was before the first one counts."""
    before = heard.control.read(KEY)
    switch, _ = killed(heard)
    edit(heard, SetOn(KEY, on=False))
    switch.kill(KEY, by="cid", reason="me too", mode=KillMode.DRAIN)
    edit(heard, SetDistribution(KEY, "v2"))
    with pytest.raises(Conflict):
        switch.restore(KEY, **WHY)
    receipt = switch.restore(KEY, overwrite=True, **WHY)
    assert len(receipt.kills) == 2
    assert heard.control.read(KEY).native == before.native
    assert heard.store.kills.read().kills == ()


def test_dependents_come_back_with_what_they_depend_on(heard):
    """They were killed along, they are restored along; one alone by its own name."""
    heard.seed(agent_flag("mail", prerequisites=(Prerequisite(KEY, ("v2",)),)))
    switch = heard.switch()
    switch.kill(KEY, by="ann", reason="x", with_dependents=True)
    assert [str(k.scope) for k in switch.restore(KEY, **WHY).kills] == [f"flag:{KEY}", "flag:mail"]
    switch.kill(KEY, by="ann", reason="x", with_dependents=True)
    assert [str(k.scope) for k in switch.restore("mail", **WHY).kills] == ["flag:mail"]
    assert [str(s.kill.scope) for s in switch.standing().kills] == [f"flag:{KEY}"]


def test_a_kill_made_elsewhere_is_not_compared_in_silence(heard):
    """Nobody knows what the flag was: said, and lifted only when asked to keep the flag as it is."""
    lane = MemoryLane("vendor-off")
    at = heard.store.clock.now()
    lane.kills["x"] = Kill("x", Scope(ScopeKind.FLAG, KEY), "test", "by hand", "vendor", at, 1, lane="vendor-off")
    switch = heard.switch(lane)
    with pytest.raises(Conflict, match="not known"):
        switch.restore(KEY, **WHY)
    with pytest.raises(KillUnheard, match="did not hold it"):
        switch.restore(KEY, lift_only=True, **WHY)
    assert lane.kills == {}


def test_another_kill_that_covers_it_is_named(heard):
    """Lifted, and still killed by another."""
    switch, _ = killed(heard)
    switch.kill("*", by="cid", reason="all")
    receipt = switch.restore(KEY, **WHY)
    assert [str(k.scope) for k in receipt.still_killed] == ["*"]
    assert "Still killed by *" in heard.ear.heard[-1].text


def test_everything_is_restored_whatever_was_edited(heard):
    """A kill of everything is not about any flag's definition."""
    switch, _ = killed(heard, target="*")
    edit(heard, SetOn(KEY, on=False))
    assert switch.restore("*", **WHY).hearing.complete


# --- partial failure -----------------------------------------------------------------------------------


def test_a_lane_that_refuses_is_told_with_one_cure(heard):
    """The lane's own cure stands inside the message, and what to do next is said once."""
    lane = MemoryLane("vendor-off")
    switch, _ = killed(heard, lane)
    lane.before = raising(NotAllowed("The token is refused.", cure="another token"))
    with pytest.raises(RestoreIncomplete) as incomplete:
        switch.restore(KEY, **WHY)
    assert "vendor-off failed: The token is refused, try another token. Try: repeat" in str(incomplete.value)


def test_a_name_that_nothing_killed_may_have_while_a_lane_is_silent(heard):
    """A lane that cannot be read may hold it: nobody is told that nothing is killed."""
    lane = MemoryLane("vendor-off")
    lane.on_read = raising(NotAllowed("The token is refused.", cure="another token"))
    switch = heard.switch(lane)
    with pytest.raises(NotFound) as unknown:
        switch.restore(KEY, **WHY)
    assert "could not be read: The token is refused, try another token." in str(unknown.value)
    assert "nothing is killed here" not in str(unknown.value)


def test_a_lane_that_keeps_it(heard):
    """It still stands, the lane is named; a repeat finishes it."""
    lane = MemoryLane("vendor-off")
    switch, _ = killed(heard, lane)
    lane.before = raising(VendorUnavailable("The vendor did not answer."))
    with pytest.raises(RestoreIncomplete, match="vendor-off is pending") as incomplete:
        switch.restore(KEY, **WHY)
    assert {r.lane: r.took for r in incomplete.value.receipt.lanes} == {
        "store": Took.TOOK,
        "vendor-off": Took.PENDING,
    }
    standing = switch.standing().kills[0]
    assert (standing.lanes, standing.pending, standing.lifting) == (("vendor-off",), ("store",), True)
    lane.before = lambda: None
    with pytest.raises(KillUnheard):  # nobody acknowledges the vendor's lane
        switch.restore(KEY, lift_only=True, **WHY)
    assert switch.standing().kills == ()


def test_what_is_pending_is_retried(heard):
    """A lane that missed the kill gets it; a lane that missed the lifting is lifted, and never killed again."""
    lane = MemoryLane("vendor-off")
    lane.before = raising(VendorUnavailable("The vendor did not answer."))
    switch, receipt = killed(heard, lane)
    assert switch.standing().kills[0].pending == ("vendor-off",)
    assert [r.took for r in switch.retry_pending()] == [Took.PENDING]
    lane.before = lambda: None
    assert [r.took for r in switch.retry_pending()] == [Took.TOOK]
    assert list(lane.kills) == [receipt.kill.id]
    assert switch.retry_pending() == ()
    lane.before = raising(VendorUnavailable("The vendor did not answer."))
    with pytest.raises(RestoreIncomplete):
        switch.restore(KEY, **WHY)
    lane.before = lambda: None
    assert [r.took for r in switch.retry_pending()] == [Took.TOOK]
    assert switch.standing().kills == ()
    assert "pending-lane" in heard.ear.events()


def test_a_kill_of_another_hand_is_not_spread(heard):
    """What somebody did in the vendor's own interface stays there, in both directions."""
    lane = MemoryLane("vendor-off")
    at = heard.store.clock.now()
    lane.kills["x"] = Kill("x", Scope(ScopeKind.FLAG, KEY), "test", "by hand", "vendor", at, 1, lane="vendor-off")
    switch = heard.switch(lane)
    assert switch.retry_pending() == ()
    assert heard.store.kills.read().kills == ()
    assert switch.standing().kills[0].lanes == ("vendor-off",)


def test_a_late_kill_after_the_lifting_is_lifted_again(heard):
    """A hung lane lands after everybody restored: the retry follows the last wish."""
    release, lane = threading.Event(), MemoryLane("vendor-off")
    lane.before = lambda: release.wait(10)
    switch, receipt = killed(heard, lane)
    lane.before = lambda: None
    switch.restore(KEY, **WHY)
    lane.kills[receipt.kill.id] = receipt.kill
    release.set()
    assert [r.took for r in switch.retry_pending()] == [Took.TOOK]
    assert lane.kills == {}


def test_overwriting_half_is_told_and_can_be_repeated(heard):
    """The second flag fails: the kill stands, nothing is lifted, and a repeat brings back both."""
    control = TableControl(agent_flag("a"), agent_flag("b"))
    scope = (Scope(ScopeKind.AGENT, "desk"),)
    heard.declare(Declaration("a", scopes=scope), Declaration("b", scopes=scope))
    switch, _ = killed(heard, control=control, target="agent:desk")
    before = {key: control.read(key).flag for key in "ab"}
    for key in "ab":
        control.put(agent_flag(key, on=False))

    def second(change):
        if change.key == "b":
            raise VendorUnavailable("The vendor did not answer.")

    control.before = second
    with pytest.raises(Unavailable, match="'b' is not written"):
        switch.restore("agent:desk", overwrite=True, **WHY)
    assert len(heard.store.kills.read().kills) == 1
    control.before = lambda change: None
    switch.restore("agent:desk", overwrite=True, **WHY)
    for key in "ab":
        assert replace(control.read(key).flag, version=0) == replace(before[key], version=0)


def test_without_a_record_nothing_is_lifted(heard):
    """A kill is never refused for its record, an un-kill is."""
    killed(heard)

    class Silent:
        def record(self, **entry):
            raise StoreUnavailable("The database did not answer.")

        def entries(self, subject=None, limit=50):
            return []

    with pytest.raises(StoreUnavailable):
        heard.switch(audit=Silent()).restore(KEY, **WHY)
    assert len(heard.store.kills.read().kills) == 1


def test_a_restore_that_not_everybody_confirmed(heard):
    """It is lifted, and the one that may still be stopped is named."""
    switch, _ = killed(heard)
    heard.listen("stuck", deaf=True)
    with pytest.raises(KillUnheard, match=r"is lifted.*Missing: stuck"):
        switch.restore(KEY, wait=0.3, **WHY)
    assert heard.store.kills.read().kills == ()


def test_ctrl_c_ends_the_waiting_for_those_who_do_not_confirm(heard):
    """It is lifted; who has not confirmed by then is told."""
    killed(heard)
    heard.listen("stuck", deaf=True)
    store = heard.store
    rung = Rung(store.processes, lambda: any(p.epoch == store.kills.read().epoch for p in store.processes.live()))
    with pytest.raises(Interrupted, match=r"is lifted.*Missing: stuck \(") as interrupt:
        heard.switch(listeners=rung).restore(KEY, wait=30, **WHY)
    rung.thread.join()
    assert interrupt.value.receipt.hearing.interrupted


# --- standing and expiry -------------------------------------------------------------------------------


def test_standing_tells_age_expiry_and_who(heard):
    """Everything an operator needs to decide."""
    switch = heard.switch()
    switch.kill(KEY, by="ann", reason="x", expires_in=timedelta(microseconds=1))
    standing = switch.standing()
    assert (standing.environment, standing.unread) == ("test", ())
    item = standing.kills[0]
    assert (item.kill.by, item.kill.reason, item.expired, item.lanes) == ("ann", "x", True, ("store",))
    assert 0 <= item.age < 60


def test_a_lane_that_cannot_be_read_is_told(heard):
    """The list says what it does not know."""
    lane = MemoryLane("vendor-off")
    lane.on_read = raising(VendorUnavailable("The vendor did not answer."))
    switch = heard.switch(lane)
    assert switch.standing().unread == (("vendor-off", "The vendor did not answer."),)
    with pytest.raises(NotFound, match="vendor-off could not be read"):
        switch.restore(KEY, **WHY)


@pytest.mark.parametrize("how", list(OnExpiry))
def test_an_expiry_is_told_once_and_brings_nothing_back(heard, how):
    """Stay or ask: the kill stands until a person decides."""
    switch = heard.switch()
    switch.kill(KEY, by="ann", reason="x", expires_in=timedelta(microseconds=1), on_expiry=how)
    assert len(switch.announce_expired()) == 1
    assert switch.announce_expired() == ()
    assert heard.ear.events() == ["kill", "expiry"]
    assert ("restore it" in heard.ear.heard[-1].text) is (how is OnExpiry.ASK)
    assert len(heard.store.kills.read().kills) == 1
    assert "expiry" in heard.audited(f"flag:{KEY}")
