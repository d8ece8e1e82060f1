"""The lane of the vendor's own flags: what it believes, for how long, and what it does not guess."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from types import MappingProxyType

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, GeneralError, ProviderNotReadyError

from flagbrake.kill.board import Board
from flagbrake.kill.flags import FlagKills, tells_keys
from flagbrake.kill.guard import Guard
from flagbrake.model.flag import Flag, Variant
from flagbrake.model.kill import Liveness, UnknownPolicy
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.model.values import FlagKind
from flagbrake.ports.provider import FlagProvider
from flagbrake.testing import MemoryProvider
from tests.kill.support import ENVIRONMENT, declared, view
from tests.support.waiting import wait_until

KILL = "kill.agent.refunds"


class Ticking:
    """A clock in the hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Vendor(MemoryProvider):
    """Flags in memory, which can fail: to start, or to answer."""

    def __init__(self, *flags: Flag) -> None:
        super().__init__(flags)
        self.start_error: Exception | None = None
        self.answer_error: Exception | None = None
        self.known = True

    def start(self, context):
        if self.start_error is not None:
            raise self.start_error
        super().start(context)

    def keys(self):
        return super().keys() if self.known else None

    def resolve(self, flag_key, context):
        if self.answer_error is not None:
            raise self.answer_error
        return super().resolve(flag_key, context)

    def arrive(self) -> None:
        """It is there after all."""
        self._serving = True
        self.emit_provider_ready(ProviderEventDetails())


class Room:
    """A guard over the vendor with this lane only; time moves by hand, looks are taken by hand or by events."""

    def __init__(self, vendor: Vendor, *, manifest: Manifest | None = None, policy=UnknownPolicy.LAST_KNOWN) -> None:
        self.vendor = vendor
        self.clock = Ticking()
        self.board = Board(ENVIRONMENT, policy=policy, manifest=manifest, monotonic=self.clock)
        self.lane = FlagKills(vendor, environment=ENVIRONMENT, trust=15.0, every=3600.0, monotonic=self.clock)
        self.guard = Guard(vendor, self.board, flags=self.lane)
        self.guard.attach(lambda provider, event, details: None)

    def start(self) -> Room:
        self.guard.initialize(EvaluationContext())
        return self

    def later(self, seconds: float) -> None:
        self.clock.now += seconds
        self.lane.look()

    def life(self, scope: str = "agent:refunds") -> Liveness:
        return self.board.liveness(scope).state


@pytest.fixture
def open_room(request):
    """Make rooms; each is left at the end."""

    def make(*flags: Flag, **options) -> Room:
        room = Room(Vendor(*flags), **options)
        request.addfinalizer(room.guard.shutdown)
        return room

    return make


def test_trust_is_renewed_while_the_provider_is_ready(open_room):
    """Looks of a ready provider renew the trust; after STALE they do not, and the state becomes UNKNOWN."""
    room = open_room(Flag.boolean(KILL)).start()
    for _ in range(5):
        room.later(14.0)
        assert room.life() is Liveness.KILLED
    room.vendor.emit_provider_stale(ProviderEventDetails())
    room.later(14.0)
    assert room.life() is Liveness.KILLED
    room.later(2.0)
    assert (room.life(), room.life("agent:other")) == (Liveness.UNKNOWN, Liveness.UNKNOWN)
    assert room.board.is_killed("agent:refunds")
    assert not room.board.is_killed("agent:other")
    room.vendor.emit_provider_ready(ProviderEventDetails())
    assert (room.life(), room.life("agent:other")) == (Liveness.KILLED, Liveness.ALIVE)


def test_the_policy_decides_when_the_vendor_is_gone(open_room):
    """Under `closed` a vendor cut off for longer than the trust kills everything."""
    room = open_room(policy=UnknownPolicy.CLOSED).start()
    assert not room.board.is_killed("agent:refunds")
    room.vendor.emit_provider_error(ProviderEventDetails())
    room.later(16.0)
    assert room.board.is_killed("agent:refunds")


def test_what_happened_before_the_start_returned_is_not_forgotten(open_room):
    """A provider that starts with old data is not believed, but what was killed in them is."""
    room = open_room(Flag.boolean(KILL))
    room.lane.heard(ProviderEvent.PROVIDER_STALE, ProviderEventDetails())
    room.start()
    assert (room.life(), room.life("agent:other")) == (Liveness.UNKNOWN, Liveness.UNKNOWN)
    assert room.board.is_killed("agent:refunds")
    assert not room.board.is_killed("agent:other")


def test_a_vendor_that_comes_late_brings_its_kills(open_room):
    """A start that fails leaves the lane running: at the vendor's READY its kills count."""
    room = open_room(Flag.boolean(KILL))
    room.vendor.start_error = ProviderNotReadyError("later")
    with pytest.raises(ProviderNotReadyError):
        room.start()
    assert room.life() is Liveness.UNKNOWN
    assert not room.board.is_killed("agent:refunds")
    room.vendor.arrive()
    assert room.life() is Liveness.KILLED


def test_an_error_is_no_answer(open_room):
    """A flag that cannot be asked now keeps its last answer, and the trust runs out; it is no new kill."""
    room = open_room(Flag.boolean(KILL), Flag.boolean("kill.tool.mailer", on=False)).start()
    room.vendor.answer_error = GeneralError("the SDK is confused")
    room.later(10.0)
    assert (room.life(), room.life("tool:mailer")) == (Liveness.KILLED, Liveness.ALIVE)
    room.later(10.0)
    assert (room.life(), room.life("tool:mailer")) == (Liveness.UNKNOWN, Liveness.UNKNOWN)
    assert not room.board.is_killed("tool:mailer")


def test_a_provider_that_cannot_tell_its_keys_is_unknown(open_room, caplog):
    """Without keys nobody knows what is killed: UNKNOWN from the start, not ALIVE."""
    room = open_room()
    room.vendor.known = False
    room.start()
    assert room.life() is Liveness.UNKNOWN


def test_providers_that_could_never_tell_are_known_before_they_start():
    """Wiring attaches no lane to a provider without `keys`, which would be UNKNOWN for ever."""

    class Silent(FlagProvider):
        def resolve(self, flag_key, context):
            raise NotImplementedError

    assert tells_keys(MemoryProvider())
    assert not tells_keys(Silent())
    assert not tells_keys(object())


def test_events_of_other_flags_cost_no_look(open_room):
    """Only an event that names a reserved flag, or nothing, makes it look."""
    room = open_room(Flag.boolean("checkout")).start()
    heard = room.board.view.state.lanes["flags"].received_at
    room.clock.now += 1.0
    room.vendor.put(Flag.boolean("checkout", on=False))
    assert room.board.view.state.lanes["flags"].received_at == heard
    room.vendor.emit_provider_configuration_changed(ProviderEventDetails())
    assert room.board.view.state.lanes["flags"].received_at == heard + 1.0


def test_a_kill_keeps_its_name_while_it_stands(open_room):
    """An edit of a kill flag that stays on is no new kill: id, moment and epoch stay."""
    flag = Flag.boolean(KILL, version=3)
    room = open_room(flag).start()
    (before,) = room.board.standing()
    assert before.id == f"{KILL}@3"
    room.vendor.put(replace(flag, description="edited", version=4))
    assert room.board.standing() == (before,)
    room.vendor.put(replace(flag, on=False, version=5))
    assert room.board.standing() == ()
    room.vendor.put(replace(flag, version=6))
    (again,) = room.board.standing()
    assert again.id == f"{KILL}@6"
    assert again.epoch > before.epoch


def test_a_successor_on_the_same_board_is_believed(open_room):
    """A second guard of the same process does not look like a lane that has lost something."""
    room = open_room(Flag.boolean(KILL)).start()
    room.guard.shutdown()
    lane = FlagKills(room.vendor, environment=ENVIRONMENT, every=3600.0, monotonic=room.clock)
    guard = Guard(room.vendor, room.board, flags=lane)
    guard.initialize(EvaluationContext())
    assert not room.board.view.state.lanes["flags"].suspect
    assert room.life() is Liveness.KILLED
    guard.shutdown()


def test_after_the_end_nothing_is_looked_for(open_room):
    """After shutdown the kill stays on the board until its trust is over; a restart believes again."""
    room = open_room(Flag.boolean(KILL)).start()
    room.guard.shutdown()
    room.clock.now += 16.0
    assert room.life() is Liveness.UNKNOWN
    assert room.board.is_killed("agent:refunds")
    room.start()
    assert room.life() is Liveness.KILLED


def test_an_archived_kill_flag_kills_nothing(open_room):
    """What the provider does not find is not on."""
    room = open_room(replace(Flag.boolean(KILL), archived=True)).start()
    assert room.life() is Liveness.ALIVE


def test_a_stray_name_is_told_once(open_room, caplog):
    """A team's own flag with a kill's beginning is warned of once, not every second."""
    room = open_room(Flag.boolean("kill.switch.payments"))
    with caplog.at_level(logging.WARNING, "flagbrake.kill"):
        room.start()
        for _ in range(3):
            room.later(1.0)
    assert caplog.text.count("kill.switch.payments") == 1
    assert room.board.standing() == ()


def test_a_provider_with_dashes(open_room):
    """Where names hold no dots, the same scopes have their names with dashes."""

    class Dashed(Vendor):
        reserved_dot = "-"

    room = Room(Dashed(Flag.boolean("kill-agent-refunds"), Flag.boolean("kill.tool.mailer"))).start()
    assert [str(k.scope) for k in room.board.standing()] == ["agent:refunds"]
    room.guard.shutdown()


# --- declarations ------------------------------------------------------------------------------------------


def manifest_flag(document) -> Flag:
    variants = (Variant("now", document), Variant("none", {}))
    return Flag("flagbrake.manifest", FlagKind.OBJECT, variants, "now", off_variant="none")


def test_an_unreadable_manifest_changes_nothing(open_room, caplog):
    """A manifest of another form leaves the declarations as they were; one that is gone takes them away."""
    room = open_room(manifest_flag({"flags": {"checkout": {"safe_variant": "v1"}}})).start()
    assert room.board.manifest.get("checkout") == Declaration("checkout", safe_variant="v1")
    for bad in ({"checkout": {}}, {"flags": []}):
        room.vendor.put(manifest_flag(bad))
        assert room.board.manifest.get("checkout") is not None
    assert "stay as they were" in caplog.text
    room.vendor.remove("flagbrake.manifest")
    assert room.board.manifest.get("checkout") is None


@pytest.mark.parametrize("first", ["store", "flags"])
def test_the_store_declares_before_the_vendor_and_the_file_last(open_room, first):
    """Store, vendor's flag, file: whichever is heard first in this process."""
    own = declared(*(Declaration(key, safe_variant="file") for key in ("a", "b", "c")))
    document = {"flags": {key: {"safe_variant": "vendor"} for key in ("a", "b")}}
    room = open_room(manifest_flag(document), manifest=own)
    room.board.expect("store")

    def store() -> None:
        room.board.receive(view(1, manifest=declared(Declaration("a", safe_variant="store"))), lane="store")

    for step in (store, room.start) if first == "store" else (room.start, store):
        step()
    safe = {key: d.safe_variant for key, d in room.board.manifest.declarations.items()}
    assert safe == {"a": "store", "b": "vendor", "c": "file"}


# --- forks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("follows", [True, False])
def test_a_fork_goes_on_only_where_the_provider_does(follows):
    """In the child the lane looks on if its provider follows; else it is silent and becomes UNKNOWN."""

    class Forking(Vendor):
        follows_after_fork = follows

    vendor = Forking(Flag.boolean(KILL))
    board = Board(ENVIRONMENT)
    guard = Guard(vendor, board, flags=FlagKills(vendor, environment=ENVIRONMENT, trust=0.3, every=0.05))
    guard.initialize(EvaluationContext())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            lane = board.view.state.lanes["flags"]
            if follows:
                wait_until(lambda: board.view.state.lanes["flags"].valid_until > lane.valid_until + 0.4)
                code = 0 if board.liveness("agent:refunds").state is Liveness.KILLED else 2
            else:
                wait_until(lambda: board.liveness("agent:refunds").state is Liveness.UNKNOWN)
                code = 0 if board.is_killed("agent:refunds") else 3
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    guard.shutdown()
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_look_never_raises(open_room, caplog):
    """A provider whose keys break leaves the lane UNKNOWN after its trust, told once."""
    room = open_room(Flag.boolean(KILL)).start()

    def broken():
        raise RuntimeError("dictionary changed size during iteration")

    room.vendor.keys = broken
    for _ in range(3):
        room.later(6.0)
    assert room.life() is Liveness.UNKNOWN
    assert caplog.text.count("kills are UNKNOWN") == 1


def test_an_unreadable_kill_is_an_alarm(open_room, caplog):
    """Another type than boolean: killed, and told as an alarm."""
    flag = Flag(KILL, FlagKind.STRING, (Variant("off", "off"),), "off", off_variant="off")
    room = open_room(flag).start()
    assert room.life() is Liveness.KILLED
    assert "ALARM" in caplog.text
    assert room.guard.resolve_boolean_details(KILL, False).error_code is ErrorCode.TYPE_MISMATCH
    room.vendor.put(Flag.boolean(KILL, on=False))
    assert room.life() is Liveness.ALIVE


def test_declarations_are_shared_not_copied(open_room):
    """The board gets the same manifest at every look, so that nothing is compared again."""
    room = open_room(manifest_flag({"flags": {"checkout": {"safe_variant": "v1"}}})).start()
    before = room.board.manifest
    room.later(1.0)
    assert room.board.manifest is before
    assert isinstance(before.declarations, MappingProxyType)
