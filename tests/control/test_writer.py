"""Locked, compared, written, read back, verified."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flagbrake.control.journal import MemoryJournal
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import (
    ApprovalRequired,
    Conflict,
    InvalidInput,
    LockBusy,
    NotFound,
    StoreUnavailable,
    Unavailable,
    Unsupported,
    VendorUnavailable,
)
from flagbrake.model.flag import Targets, ramp
from flagbrake.model.state import Archive, Capability, Create, Replace, SetDistribution, SetOn, SetTargets, Support
from tests.control.doubles import HandClock, LaxControl, LocalLock, TableControl, agent_flag, raising

KEY = "agents.refunds"
NAME = "table/demo/test/agents.refunds"


def writer_of(control, **rest):
    return FlagWriter(control, **{"lock": LocalLock(), "audit": MemoryJournal(), **rest})


def fail_once(error):
    failed = []

    def fail(_):
        if not failed:
            failed.append(1)
            raise error

    return fail


def test_a_write_returns_the_state_as_read():
    """The version is the one the control shows after the write."""
    control = TableControl(agent_flag())
    state = writer_of(control).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert not state.flag.on
    assert state.version == "2" == control.read(KEY).version


def test_what_is_true_already_is_not_written():
    """Repeating a command is harmless: no write, no new version, no audit entry."""
    control, journal = TableControl(agent_flag()), MemoryJournal()
    writer = writer_of(control, audit=journal)
    for change in (
        SetOn(KEY, on=True),
        SetDistribution(KEY, ramp("v2", 10_000, "v1")),
        SetTargets(KEY, ()),
        Replace(agent_flag()),
        Replace(agent_flag(), native=control.read(KEY).native),
    ):
        assert writer.apply(change, by="ann", reason="again").version == "1"
    assert control.writes == 0
    assert journal.lines == []


def test_the_same_flag_with_another_native_document_is_written():
    """An exact restore is about the document, not about what the model sees of it."""
    control = TableControl(agent_flag())
    native = {**control.read(KEY).native, "description": "as it was"}
    state = writer_of(control).apply(Replace(agent_flag(), native=native), by="ann", reason="restore")
    assert state.native["description"] == "as it was"


def test_another_version_is_a_conflict_that_says_who():
    """Nothing is written, and the message names the version found, the one expected and the last writer."""
    control = TableControl(agent_flag())
    writer = writer_of(control)
    writer.apply(SetOn(KEY, on=False), by="bob", reason="test")
    with pytest.raises(Conflict, match=r"version 2, not 1.*set-on by bob"):
        writer.apply(SetOn(KEY, on=True), by="ann", reason="test", expected="1")
    assert control.writes == 1


def test_an_edit_between_read_and_write_is_a_conflict_where_the_control_compares():
    """The version read under the lock travels with the write."""
    control = TableControl(agent_flag())
    control.before = lambda change: control.put(agent_flag(description="edited"))
    with pytest.raises(Conflict):
        writer_of(control).apply(SetOn(KEY, on=False), by="ann", reason="test")


def test_an_edit_in_the_same_moment_is_seen_by_the_read_back():
    """Without compare-and-swap, what was read back and not meant is a Conflict, never a success."""
    control = LaxControl(agent_flag())
    control.after = lambda change: control.put(agent_flag(on=True))
    with pytest.raises(Conflict, match="on: meant False, found True"):
        writer_of(control).apply(SetOn(KEY, on=False), by="ann", reason="test")


def test_a_control_that_reports_success_and_did_nothing_is_caught():
    """The answer of a write is not believed."""

    class Liar(TableControl):
        def apply(self, change, **rest):
            return self.read(change.key)

    with pytest.raises(Conflict, match="does not show"):
        writer_of(Liar(agent_flag())).apply(SetOn(KEY, on=False), by="ann", reason="test")


@pytest.mark.parametrize("error", [VendorUnavailable("The vendor did not answer."), KeyError("items")])
def test_a_vendor_that_fails_after_writing(error):
    """The write is found by reading back: success, once, with the state as read."""
    control, journal = TableControl(agent_flag()), MemoryJournal()
    control.after = fail_once(error)
    state = writer_of(control, audit=journal).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert not state.flag.on
    assert control.writes == 1
    assert [line.action for line in journal.lines] == ["set-on:intent", "set-on"]


def test_a_vendor_that_fails_before_writing():
    """The message says that it is not written, and so does the audit."""
    control, journal = TableControl(agent_flag()), MemoryJournal()
    control.before = fail_once(VendorUnavailable("The vendor did not answer."))
    with pytest.raises(Unavailable, match="is not written"):
        writer_of(control, audit=journal).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert control.read(KEY).flag.on
    assert [line.action for line in journal.lines] == ["set-on:intent", "set-on:unconfirmed"]


def test_a_vendor_that_half_writes():
    """A flag that is neither what it was nor what was meant is told as such."""
    control = TableControl(agent_flag())

    def half(change):
        control.put(agent_flag(default=ramp("v2", 20_000, "v1")))
        raise VendorUnavailable("The connection broke.")

    control.before = half
    with pytest.raises(Unavailable, match="changed, but not into what was meant"):
        writer_of(control).apply(SetDistribution(KEY, ramp("v2", 50_000, "v1")), by="ann", reason="test")


def test_a_vendor_that_stays_silent():
    """When the reading fails too, nobody knows, and that is what is said."""
    control = TableControl(agent_flag())

    def silent(change):
        control.on_read = lambda key: (_ for _ in ()).throw(VendorUnavailable("down"))
        raise VendorUnavailable("down")

    control.before = silent
    with pytest.raises(Unavailable, match="nobody knows"):
        writer_of(control).apply(SetOn(KEY, on=False), by="ann", reason="test")


def test_a_write_that_hangs_keeps_the_lease():
    """The request ends before the lease does, and a successor waits the lease out."""
    control, lock, release = TableControl(agent_flag()), LocalLock(), threading.Event()
    control.before = lambda change: release.wait(10)
    writer = writer_of(control, lock=lock, request=0.05)
    try:
        with pytest.raises(Unavailable, match="may still land"):
            writer.apply(SetOn(KEY, on=False), by="ann", reason="test")
        assert NAME in lock.holders
        with pytest.raises(LockBusy):
            writer_of(control, lock=lock, wait=0.01).apply(SetOn(KEY, on=True), by="bob", reason="test")
    finally:
        release.set()


def test_a_request_that_was_given_up_keeps_the_lease():
    """A timeout of the vendor's client ends the waiting, not the request: a successor waits the lease out."""
    control, lock = TableControl(agent_flag()), LocalLock()
    control.before = raising(VendorUnavailable("no answer in time", pending=True))
    with pytest.raises(Unavailable, match="may still land"):
        writer_of(control, lock=lock).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert NAME in lock.holders


def test_a_request_that_was_given_up_and_landed_gives_the_lease_back():
    """What is read shows the change: nothing is on its way any more."""
    control, lock = TableControl(agent_flag()), LocalLock()
    control.after = raising(VendorUnavailable("no answer in time", pending=True))
    assert not writer_of(control, lock=lock).apply(SetOn(KEY, on=False), by="ann", reason="test").flag.on
    assert not lock.holders


def test_a_request_that_ended_gives_the_lease_back():
    """A connection that broke leaves nothing on its way."""
    control, lock = TableControl(agent_flag()), LocalLock()
    control.before = raising(VendorUnavailable("the connection broke"))
    with pytest.raises(Unavailable, match=r"is not written\."):
        writer_of(control, lock=lock).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert not lock.holders


def test_archiving_whose_answer_is_lost():
    """Vendors stop showing what is archived: a flag that is not there after that is archived, not lost."""
    control = TableControl(agent_flag())
    control.after = raising(VendorUnavailable("the connection broke"))
    assert writer_of(control).apply(Archive(KEY), by="ann", reason="test").flag.archived
    with pytest.raises(NotFound):
        control.read(KEY)


def test_archiving_that_never_arrived():
    """A flag that is still shown is not archived, and that is said."""
    control = TableControl(agent_flag())
    control.before = raising(VendorUnavailable("the connection broke"))
    with pytest.raises(Unavailable, match="not written"):
        writer_of(control).apply(Archive(KEY), by="ann", reason="test")


def test_a_lease_lost_in_the_middle_raises_and_the_write_is_checked():
    """The message says what the flag shows now."""
    clock, lock, control = HandClock(), LocalLock(), TableControl(agent_flag())

    def frozen(change):
        clock.seconds += 60
        lock.steal(NAME)

    control.after = frozen
    with pytest.raises(Conflict, match=r"lost in the middle.*version 2"):
        writer_of(control, lock=lock, clock=clock).apply(SetOn(KEY, on=False), by="ann", reason="test")


def test_a_lease_lost_before_the_write_writes_nothing():
    """A controller that was frozen while reading finds out before it writes."""
    clock, lock, control = HandClock(), LocalLock(), TableControl(agent_flag())

    def frozen(key):
        clock.seconds += 60
        lock.steal(NAME)

    control.on_read = frozen
    with pytest.raises(LockBusy):
        writer_of(control, lock=lock, clock=clock).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert control.writes == 0


def test_a_long_read_renews_the_lease():
    """A slow vendor is not a lost lease."""
    clock, lock, control = HandClock(), LocalLock(), TableControl(agent_flag())

    def slow(key):
        clock.seconds += 25

    control.on_read = slow
    writer_of(control, lock=lock, clock=clock).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert lock.renewals >= 1


def test_the_lock_is_given_back():
    """After success and after failure."""
    control, lock = TableControl(agent_flag()), LocalLock()
    writer = writer_of(control, lock=lock)
    writer.apply(SetOn(KEY, on=False), by="ann", reason="test")
    with pytest.raises(NotFound):
        writer.apply(SetOn("nope", on=False), by="ann", reason="test")
    assert lock.holders == {}


@pytest.mark.parametrize("support", [Support.VENDOR_CANNOT, Support.NOT_YET])
def test_what_the_control_does_not_declare_is_refused_before_any_write(support):
    """Unsupported, never nothing; not even a lock is taken."""

    class Poor(TableControl):
        capabilities: Mapping = {**TableControl.capabilities, Capability.SET_TARGETS: support}

    control, lock = Poor(agent_flag()), LocalLock()
    with pytest.raises(Unsupported, match="set_targets"):
        writer_of(control, lock=lock).apply(SetTargets(KEY, (Targets("v1", ("u",)),)), by="ann", reason="test")
    assert control.writes == 0
    assert lock.fence == 0


def test_a_split_too_fine_is_refused_with_the_nearest():
    """Nothing is rounded in silence."""

    class Coarse(TableControl):
        split_resolution = 1000

    control = Coarse(agent_flag())
    with pytest.raises(InvalidInput, match="12 or 13"):
        writer_of(control).apply(SetDistribution(KEY, ramp("v2", 12_500, "v1")), by="ann", reason="test")
    assert control.writes == 0


def test_intent_and_result_are_audited():
    """Who, why, before and after; the intent comes before the write."""
    control, journal = TableControl(agent_flag()), MemoryJournal()
    control.before = lambda change: journal.lines[0].action == "set-on:intent" or pytest.fail("no intent")
    writer_of(control, audit=journal).apply(SetOn(KEY, on=False), by="ann", reason="v2 is broken")
    result = journal.lines[-1]
    assert (result.by, result.reason, result.subject, result.lane) == (
        "ann",
        "v2 is broken",
        KEY,
        "table",
    )
    assert (result.before["on"], result.after["on"]) == (True, False)


def test_a_refusal_is_audited():
    """An approval that the vendor demands leaves a line, and travels on as it is."""
    control, journal = TableControl(agent_flag()), MemoryJournal()
    control.before = fail_once(ApprovalRequired("An approval is needed."))
    with pytest.raises(ApprovalRequired):
        writer_of(control, audit=journal).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert journal.lines[-1].action == "set-on:refused"


def test_without_an_audit_nothing_is_written():
    """A write that cannot be recorded does not happen."""

    class Full(MemoryJournal):
        def record(self, **entry):
            raise StoreUnavailable("The store did not answer.")

    control = TableControl(agent_flag())
    with pytest.raises(StoreUnavailable):
        writer_of(control, audit=Full()).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert control.writes == 0


def test_a_control_that_audits_itself_is_not_audited_twice():
    """One line per write."""

    class Own(TableControl):
        audits_itself = True

    journal = MemoryJournal()
    writer_of(Own(agent_flag()), audit=journal).apply(SetOn(KEY, on=False), by="ann", reason="test")
    assert journal.lines == []


def test_create_replace_archive():
    """A life: created once, replaced, archived; archiving twice is harmless while it shows."""
    control = TableControl()
    writer = writer_of(control)
    assert writer.apply(Create(agent_flag()), by="ann", reason="new").version == "1"
    with pytest.raises(Conflict, match="exists already"):
        writer.apply(Create(agent_flag()), by="ann", reason="new")
    assert writer.apply(Replace(agent_flag(on=False)), by="ann", reason="new").version == "2"
    assert writer.apply(Archive(KEY), by="ann", reason="old").flag.archived
    with pytest.raises(NotFound):
        control.read(KEY)


@pytest.mark.parametrize("make", [TableControl, LaxControl])
def test_twenty_writers_lose_nothing(make):
    """Each of 20 threads adds its own target; all 20 are there, with and without compare-and-swap."""
    control, lock = make(agent_flag()), LocalLock()

    def add(number):
        def decide(state):
            return SetTargets(KEY, (*state.flag.targets, Targets("v2", (f"user-{number}",))))

        writer_of(control, lock=lock, wait=30).modify(KEY, decide, by=f"w{number}", reason="test")

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(add, range(20)))
    found = {key for target in control.read(KEY).flag.targets for key in target.keys}
    assert found == {f"user-{number}" for number in range(20)}


def test_twenty_stale_writers_conflict():
    """Twenty decisions on one version: one is written, nineteen are told."""
    control, lock = TableControl(agent_flag()), LocalLock()

    def flip(number):
        change = SetDistribution(KEY, ramp("v2", 1_000 * (number + 20), "v1"))
        try:
            writer_of(control, lock=lock, wait=30).apply(change, by="w", reason="test", expected="1")
        except Conflict:
            return 1
        return 0

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(flip, range(20))) == 19
    assert control.read(KEY).version == "2"


def test_modify_may_leave_it():
    """Deciding to do nothing writes nothing."""
    control = TableControl(agent_flag())
    assert writer_of(control).modify(KEY, lambda state: None, by="ann").version == "1"
    assert replace(control.read(KEY).flag, version=0) == agent_flag()
