"""Killing: everywhere at once, honest about who heard it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from flagbrake.control.plane import Deadlines
from flagbrake.errors import (
    InvalidInput,
    KillFailed,
    KillUnheard,
    NotAllowed,
    NotFound,
    StoreUnavailable,
    Unavailable,
    VendorUnavailable,
)
from flagbrake.model.clause import Attribute
from flagbrake.model.flag import Prerequisite
from flagbrake.model.kill import EVERYTHING, KillMode, Scope, ScopeKind
from flagbrake.model.manifest import Declaration, ScopeAttribute
from flagbrake.model.receipt import Took
from tests.control.doubles import Ear, MemoryLane, TableControl, agent_flag, raising
from tests.support.waiting import wait_until

KEY = "agents.refunds"
FLAG = Scope(ScopeKind.FLAG, KEY)
AGENT = Scope(ScopeKind.AGENT, "refunds")


def test_a_kill_that_everybody_heard(bench):
    """The receipt names environment, store, lanes, and everybody who applied it, with the time of the last."""
    bench.listen("one", "two", "three")
    receipt = bench.switch().kill(KEY, by="ann", reason="v2 refunds twice")
    assert receipt.environment == "test"
    assert receipt.store.startswith("sqlite:")
    assert receipt.kill.scope == FLAG
    assert [(r.lane, r.took) for r in receipt.lanes] == [("store", Took.TOOK)]
    assert receipt.hearing.complete
    assert len(receipt.hearing.applied) == 3
    assert 0 <= receipt.hearing.last_ms < 5000
    assert [k.id for k in bench.store.kills.read().kills] == [receipt.kill.id]
    assert bench.ear.events() == ["kill"]
    assert bench.audited(str(FLAG)) == ["kill", "kill:result"]


def test_nobody_listens(bench):
    """It is stored, and it is not a success."""
    with pytest.raises(KillUnheard, match=r"stored in test.*no live process listens") as unheard:
        bench.switch().kill(KEY, by="ann", reason="x")
    assert unheard.value.exit_code == 3
    assert unheard.value.receipt.kill.scope == FLAG
    assert len(bench.store.kills.read().kills) == 1
    assert "alarm" in bench.ear.events()


def test_armed_when_nobody_is_expected(bench):
    """``arm`` says that nobody listens yet: then it is a success."""
    assert bench.switch().kill(KEY, by="ann", reason="x", arm=True).hearing.live == ()


def test_one_does_not_confirm(bench):
    """Not a success; the missing one is named, whether armed or not."""
    bench.listen("one", "two")
    bench.listen("stuck", deaf=True)
    with pytest.raises(KillUnheard, match=r"only 2 of 3 live.*Missing: stuck \(") as unheard:
        bench.switch().kill(KEY, by="ann", reason="x", wait=0.3, arm=True)
    assert [ack.process.split()[0] for ack in unheard.value.receipt.hearing.applied] == ["one", "two"]


def test_a_process_that_ends_is_not_waited_for(bench):
    """It left orderly: nothing runs there any more."""
    bench.listen("one")
    bench.listen("leaving", deaf=True)
    leaving = bench.followers.pop()

    def leave_when_killed():
        wait_until(lambda: bench.store.kills.read().kills)
        leaving.close()

    thread = threading.Thread(target=leave_when_killed)
    thread.start()
    receipt = bench.switch(deadlines=Deadlines()).kill(KEY, by="ann", reason="x", wait=30)
    thread.join()
    assert receipt.hearing.complete
    assert [name.split()[0] for name in receipt.hearing.left] == ["leaving"]


# --- lanes -------------------------------------------------------------------------------------------


def everybody_applied(bench):
    """Hang until every listener has applied the kill."""
    wait_until(lambda: all(p.epoch > 0 for p in bench.store.processes.live()), why="acknowledged meanwhile")


def test_a_hung_lane_delays_no_other(bench):
    """A lane that hangs until everybody has applied the kill finds that everybody has."""
    bench.listen("one")
    lane = MemoryLane("vendor-off")
    lane.before = lambda: everybody_applied(bench)
    receipt = bench.switch(lane, deadlines=Deadlines()).kill(KEY, by="ann", reason="x")
    assert [r.took for r in receipt.lanes] == [Took.TOOK, Took.TOOK]


def test_a_lane_that_stays_hung_is_pending(bench):
    """Shown, told, and no failure of the kill."""
    bench.listen("one")
    release, lane = threading.Event(), MemoryLane("vendor-off")
    lane.before = lambda: release.wait(10)
    try:
        receipt = bench.switch(lane).kill(KEY, by="ann", reason="x")
        assert {r.lane: r.took for r in receipt.lanes} == {"store": Took.TOOK, "vendor-off": Took.PENDING}
        assert bench.ear.events() == ["kill", "pending-lane"]
        assert not any("vendor-off" in warning for warning in receipt.warnings), "its own line tells it"
    finally:
        release.set()


def test_a_lane_that_refuses_is_failed_not_pending(bench):
    """A refusal is another fact than silence."""
    bench.listen("one")
    lane = MemoryLane("vendor-off")
    lane.before = raising(NotAllowed("The token may not."))
    receipt = bench.switch(lane).kill(KEY, by="ann", reason="x")
    assert [r.took for r in receipt.lanes] == [Took.TOOK, Took.FAILED]


def test_a_lane_that_took_it_and_lost_the_answer(bench):
    """Reading the lane tells that it is there."""
    bench.listen("one")
    lane = MemoryLane("vendor-off")
    lane.after = raising(VendorUnavailable("The connection broke."))
    receipt = bench.switch(lane).kill(KEY, by="ann", reason="x")
    assert [r.took for r in receipt.lanes] == [Took.TOOK, Took.TOOK]


def test_no_durable_lane(bench):
    """It raises, tells what each lane said, and never says killed."""
    bench.listen("one")
    broken, page = MemoryLane("store"), MemoryLane("host-page", durable=False)
    broken.before = raising(StoreUnavailable("The database did not answer."))
    switch = bench.switch(lanes=(broken, page))
    with pytest.raises(KillFailed, match=r"NOT known to be killed.*did not answer") as failed:
        switch.kill(KEY, by="ann", reason="x")
    assert failed.value.exit_code == 8
    assert failed.value.receipt.lanes[1].took is Took.TOOK
    assert bench.ear.events() == ["alarm"]


def test_another_durable_lane_saves_it_but_nobody_knows_who_heard(bench):
    """The store is gone, the vendor took it: stored, unheard."""
    bench.listen("one")
    broken, vendor = MemoryLane("store"), MemoryLane("vendor-off")
    broken.before = raising(StoreUnavailable("The database did not answer."))
    with pytest.raises(KillUnheard, match="nobody knows who heard it"):
        bench.switch(lanes=(broken, vendor)).kill(KEY, by="ann", reason="x")
    assert len(vendor.kills) == 1
    assert bench.ear.events()[0] == "kill"


@pytest.mark.parametrize("target", ["agent:refunds", f"flag:{KEY}"])
def test_a_hung_control_does_not_delay_a_declared_scope(bench, target):
    """What the manifest knows is killed without waiting for the vendor."""
    bench.listen("one")
    bench.declare(Declaration(KEY, safe_variant="v1", scopes=(AGENT,)))
    control, seen = TableControl(agent_flag()), []

    def hang(key):
        everybody_applied(bench)
        seen.append(key)

    control.on_read = hang
    receipt = bench.switch(control=control, deadlines=Deadlines(look=60)).kill(target, by="ann", reason="x")
    assert receipt.hearing.complete
    assert seen
    assert receipt.hearing.last_ms < 9_000, "nobody waited for the vendor, which hangs for 10 s without a kill"


def test_a_control_that_stays_hung_shortens_the_list_only(bench):
    """The kill is a success; the receipt says that the list of flags may be short."""
    bench.listen("one")
    bench.declare(Declaration(KEY, safe_variant="v1", scopes=(AGENT,)))
    release, control = threading.Event(), TableControl(agent_flag())
    control.on_read = lambda key: release.wait(10)
    try:
        receipt = bench.switch(control=control).kill("agent:refunds", by="ann", reason="x")
        assert [c.flag for c in receipt.covered] == [KEY]
        assert any("could not all be read" in warning for warning in receipt.warnings)
    finally:
        release.set()


def test_a_broken_adapter_does_not_keep_a_kill_from_being_made(bench):
    """Whatever it raises, the kill is stored and heard; that it could not be checked is said."""
    bench.listen("one")
    control = TableControl(agent_flag())
    control.on_read = raising(KeyError("items"))
    control.states = raising(TypeError("no list"))  # type: ignore[method-assign]
    with pytest.raises(KillUnheard, match="could not be checked") as unheard:
        bench.switch(control=control).kill(f"flag:{KEY}", by="ann", reason="x")
    assert unheard.value.receipt.hearing.complete


def test_listeners_that_cannot_be_asked_are_unknown(bench):
    """The kill is stored; who heard it nobody knows, and nothing else is claimed."""

    class Broken:
        def live(self, *args, **rest):
            raise OSError("no table")

    with pytest.raises(KillUnheard, match="nobody knows who heard it"):
        bench.switch(listeners=Broken()).kill(KEY, by="ann", reason="x", wait=0.1)
    assert len(bench.store.kills.read().kills) == 1


# --- telling -----------------------------------------------------------------------------------------


def test_a_failing_notifier_fails_no_kill(bench):
    """Its failure is in the receipt."""

    class Broken(Ear):
        name = "broken"

        def notify(self, notice):
            raise OSError("no route")

    class Hung(Ear):
        name = "hung"

        def notify(self, notice):
            threading.Event().wait(3)

    bench.listen("one")
    receipt = bench.switch(notifiers=(Broken(), Hung(), bench.ear)).kill(KEY, by="ann", reason="x")
    assert receipt.hearing.complete
    assert {n.notifier: n.delivered for n in receipt.notices} == {"broken": False, "hung": False, "ear": True}
    assert "no route" in receipt.notices[0].detail


def test_a_silent_audit_fails_no_kill(bench):
    """A kill is never refused for its record; the receipt says that it is missing."""

    class Silent:
        def record(self, **entry):
            raise StoreUnavailable("The database did not answer.")

        def entries(self, subject=None, limit=50):
            raise StoreUnavailable("The database did not answer.")

    bench.listen("one")
    receipt = bench.switch(audit=Silent()).kill(KEY, by="ann", reason="x")
    assert any("could not be recorded" in w for w in receipt.warnings)


# --- scopes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typo", ["agents.refnds", "flag:agents.refnds", "agent:refnds", "tool:nothing"])
def test_a_typo_writes_nothing(bench, typo):
    """NotFound with the nearest, exit 3, and no kill anywhere."""
    bench.listen("one")
    bench.declare(Declaration(KEY, scopes=(AGENT,)))
    with pytest.raises(NotFound) as unknown:
        bench.switch().kill(typo, by="ann", reason="x")
    assert unknown.value.exit_code == 3
    if typo != "tool:nothing":
        assert "refunds" in unknown.value.cure
    assert bench.store.kills.read().kills == ()
    assert bench.ear.heard == []
    assert bench.store.audit.entries() == []


def test_a_scope_that_agents_check_undeclared(bench):
    """``halt.check("agent:x")`` is in no list: killed with ``arm``, or when a live process registered it."""
    bench.listen("one")
    with pytest.raises(NotFound, match="--arm"):
        bench.switch().kill("agent:support", by="ann", reason="x")
    receipt = bench.switch().kill("agent:support", by="ann", reason="x", arm=True)
    assert any("No list shows" in w for w in receipt.warnings)
    registered = bench.switch(registered=lambda: [Scope(ScopeKind.AGENT, "mail")])
    assert registered.kill("agent:mail", by="ann", reason="x").warnings == ()
    with pytest.raises(NotFound):
        bench.switch().kill("flag:support", by="ann", reason="x", arm=True)


def test_a_scope_kind_from_contexts_is_known(bench):
    """``tenant:acme`` exists when a flag reads tenants from its contexts; its flags are conditional."""
    bench.listen("one")
    source = ScopeAttribute(ScopeKind.TENANT, Attribute(("tenantId",)))
    bench.declare(Declaration(KEY, safe_variant="v1", scope_attributes=(source,)))
    receipt = bench.switch().kill("tenant:acme", by="ann", reason="x")
    assert [(c.flag, c.conditional) for c in receipt.covered] == [(KEY, True)]
    with pytest.raises(NotFound):
        bench.switch().kill("model:gpt", by="ann", reason="x")


def test_a_name_without_kind_must_be_one_thing(bench):
    """Several are listed with their kinds; nothing is written."""
    bench.listen("one")
    bench.seed(agent_flag("refunds"))
    bench.declare(Declaration(KEY, scopes=(AGENT,)))
    with pytest.raises(InvalidInput) as several:
        bench.switch().kill("refunds", by="ann", reason="x")
    assert several.value.cure == "agent:refunds or flag:refunds"
    assert bench.store.kills.read().kills == ()
    assert bench.switch().kill("agent:refunds", by="ann", reason="x").kill.scope == AGENT


def test_a_name_that_several_flags_begin_with(bench):
    """``agents`` is what is under it; everything under it is covered."""
    bench.listen("one")
    bench.seed(agent_flag("agents.mail"), agent_flag("other"))
    receipt = bench.switch().kill("agents", by="ann", reason="x")
    assert str(receipt.kill.scope) == "flag:agents"
    assert [c.flag for c in receipt.covered] == ["agents.mail", KEY]


def test_everything(bench):
    """``*`` covers every flag."""
    bench.listen("one")
    bench.seed(agent_flag("other"))
    receipt = bench.switch().kill("*", by="ann", reason="x")
    assert receipt.kill.scope == EVERYTHING
    assert [c.flag for c in receipt.covered] == [KEY, "other"]


def test_what_cannot_be_checked_is_killed_and_is_no_success(bench):
    """With the vendor down nobody can say whether the flag exists: it is killed, and that is said."""
    bench.listen("one")
    control = TableControl()
    control.on_read = raising(VendorUnavailable("The vendor did not answer."))
    switch = bench.switch(control=control)
    with pytest.raises(KillUnheard, match="could not be checked"):
        switch.kill("flag:agents.refunds", by="ann", reason="x")
    assert len(bench.store.kills.read().kills) == 1
    assert switch.kill("flag:agents.refunds", by="ann", reason="x", arm=True).hearing.complete
    with pytest.raises(NotFound, match=r"cannot be read now: The vendor did not answer\. Try: flag:"):
        switch.kill("agents.refunds", by="ann", reason="x")


# --- options -----------------------------------------------------------------------------------------


def test_an_undeclared_safe_variant_is_no_refusal(bench):
    """An emergency kill goes through, with a warning; a declaration or a variant named on the spot is none."""
    bench.listen("one")
    assert "no declared safe variant" in bench.switch().kill(KEY, by="ann", reason="").warnings[0]
    receipt = bench.switch().kill(KEY, by="ann", reason="x", serve="v1")
    assert (receipt.warnings, receipt.kill.serve, receipt.kill.serve_value) == ((), "v1", "v1")
    bench.declare(Declaration(KEY, safe_variant="v1"))
    receipt = bench.switch().kill(KEY, by="ann", reason="x")
    assert not [warning for warning in receipt.warnings if "declared" in warning]
    assert receipt.covered[0].serves == "v1"


def test_a_repeated_kill_is_the_kill_that_stands(bench):
    """Same scope, mode and variant: nothing is added, who killed first is told; another mode is another kill."""
    bench.listen("one")
    first = bench.switch().kill(KEY, by="ann", reason="x")
    again = bench.switch().kill(KEY, by="bob", reason="y")
    assert again.kill.id == first.kill.id
    assert "killed already, by ann" in again.warnings[0]
    assert again.hearing.complete
    bench.switch().kill(KEY, by="bob", reason="y", mode=KillMode.DRAIN)
    assert len(bench.store.kills.read().kills) == 2


def test_a_fallback_names_an_existing_variant_of_a_flag(bench):
    """Anything else is refused before it is written."""
    bench.listen("one")
    bench.declare(Declaration(KEY, scopes=(AGENT,)))
    switch, how = bench.switch(), {"by": "ann", "reason": "x", "mode": KillMode.FALLBACK}
    with pytest.raises(InvalidInput, match="v1 or v2"):
        switch.kill(KEY, serve="v9", **how)
    with pytest.raises(InvalidInput, match="names the variant"):
        switch.kill(KEY, **how)
    with pytest.raises(InvalidInput, match="for a flag only"):
        switch.kill("agent:refunds", serve="v1", **how)
    control = TableControl()
    control.on_read = raising(VendorUnavailable("The vendor did not answer."))
    with pytest.raises(Unavailable, match="cannot be checked"):
        bench.switch(control=control).kill(f"flag:{KEY}", serve="v1", **how)
    assert bench.store.kills.read().kills == ()
    assert switch.kill(KEY, serve="v1", **how).kill.mode is KillMode.FALLBACK


def test_an_expiry_lies_ahead(bench):
    """It is kept with the kill; a past one is refused."""
    bench.listen("one")
    kill = bench.switch().kill(KEY, by="ann", reason="x", expires_in=timedelta(hours=2)).kill
    assert timedelta(hours=1) < kill.expires_at - datetime.now(UTC) <= timedelta(hours=2)
    with pytest.raises(InvalidInput):
        bench.switch().kill(KEY, by="ann", reason="x", expires_in=timedelta(0))


def test_dependents_are_shown_and_killed_along_when_asked(bench):
    """Through prerequisites, however deep; each with a kill of its own."""
    bench.listen("one")
    bench.seed(
        agent_flag("mail", prerequisites=(Prerequisite(KEY, ("v2",)),)),
        agent_flag("news", prerequisites=(Prerequisite("mail", ("v2",)),)),
    )
    preview = bench.switch().preview(KEY)
    assert [(c.flag, c.needs) for c in preview.dependents] == [("mail", KEY), ("news", "mail")]
    assert preview.live[0].startswith("one (")
    assert bench.store.kills.read().kills == (), "a preview writes nothing"
    receipt = bench.switch().kill(KEY, by="ann", reason="x", with_dependents=True)
    assert [str(k.scope) for k in receipt.kills] == [f"flag:{KEY}", "flag:mail", "flag:news"]
    assert len(bench.store.kills.read().kills) == 3


def test_dependents_that_cannot_be_found_are_a_doubt(bench):
    """The flag itself is killed; the command is no success."""
    bench.listen("one")
    bench.declare(Declaration(KEY, safe_variant="v1"))
    control = TableControl()
    control.on_read = raising(VendorUnavailable("The vendor did not answer."))
    control.states = raising(VendorUnavailable("The vendor did not answer."))  # type: ignore[method-assign]
    with pytest.raises(KillUnheard, match="dependents"):
        bench.switch(control=control).kill(f"flag:{KEY}", by="ann", reason="x", with_dependents=True)
    assert len(bench.store.kills.read().kills) == 1
