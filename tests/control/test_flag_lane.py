"""The vendor-flag lane: what it writes, what it believes it wrote, what it finds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flagbrake.control.flag_lane import FlagKillLane
from flagbrake.control.journal import MemoryJournal
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import Conflict, FlagbrakeError, InvalidInput, NotFound, StoreUnavailable, Unsupported
from flagbrake.model.flag import Distribution, Flag, Variant, Weight
from flagbrake.model.kill import Kill, KillMode, Scope
from flagbrake.model.state import SetOn
from flagbrake.model.values import FlagKind
from flagbrake.testing import MemoryLock
from tests.control.doubles import TableControl, agent_flag

KEY = "kill.agent.refunds"
AT = datetime(2026, 1, 2, tzinfo=UTC)
KILL = Kill("k-1", Scope.parse("agent:refunds"), "test", "it burns", "ann", AT, 0)
WHO = {"by": "bob", "reason": "fixed", "deadline": 5.0}


class Deaf(MemoryJournal):
    """A journal that does not answer."""

    def record(self, **fields):
        if fields["action"] == "kill:flag":
            raise StoreUnavailable("The journal is away.")
        return super().record(**fields)


def lane(*flags: Flag, journal: MemoryJournal | None = None, control: TableControl | None = None, **rest):
    made = control or TableControl(*flags)
    journal = journal or MemoryJournal()
    writer = FlagWriter(made, lock=MemoryLock(), audit=journal)
    return FlagKillLane(writer, environment="test", journal=journal, **rest), made


def test_the_flag_is_made_turned_on_and_off():
    """A missing flag is made on, lifted by turning it off, and turned on again by the next kill."""
    one, control = lane()
    one.kill(KILL, deadline=5.0)
    flag = control.read(KEY).flag
    assert (flag.on, flag.default, flag.off_variant, flag.kind) == (True, "on", "off", FlagKind.BOOLEAN)
    assert "ann: it burns" in flag.description
    assert one.read().kills == (replace(KILL, lane="vendor-flag"),)
    one.lift(KILL, **WHO)
    assert (control.read(KEY).flag.on, one.read().kills) == (False, ())
    again = replace(KILL, id="k-2", by="cid")
    one.kill(again, deadline=5.0)
    assert [kill.by for kill in one.read().kills] == ["cid"]


def test_what_is_not_on_is_not_lifted():
    """The lane says that it does not hold it, flag or no flag."""
    one, _ = lane(Flag.boolean("kill.agent.other", on=False))
    for scope in ("agent:refunds", "agent:other"):
        with pytest.raises(NotFound, match="is not on"):
            one.lift(replace(KILL, scope=Scope.parse(scope)), **WHO)


@pytest.mark.parametrize(
    "bent",
    [
        Flag.boolean(KEY, on=False, default="off"),
        Flag.boolean(KEY, default=Distribution((Weight("on", 50_000), Weight("off", 50_000)))),
        Flag(KEY, FlagKind.STRING, (Variant("on", "yes"), Variant("off", "no")), "on", off_variant="off"),
    ],
)
def test_a_bent_flag_is_put_right(bent):
    """A kill flag that would not kill everybody is replaced: nobody asks why at that hour."""
    one, control = lane(bent)
    one.kill(KILL, deadline=5.0)
    flag = control.read(KEY).flag
    assert (flag.on, flag.default, flag.variant("on").value) == (True, "on", True)


def test_a_flag_that_kills_when_off_is_put_right_by_the_lifting():
    """Turned round by somebody, it kills while it is off: shown as a kill, and mended."""
    one, control = lane(replace(Flag.boolean(KEY, on=False), off_variant="on"))
    (found,) = one.read().kills
    assert (found.id, found.by) == (KEY, "table")
    one.lift(found, **WHO)
    assert control.read(KEY).flag.off_variant == "off"
    assert one.read().kills == ()


def test_a_write_that_somebody_undoes_is_no_success():
    """Turned off at the same moment: the kill raises, whatever the vendor answered."""
    one, control = lane(Flag.boolean(KEY, on=False))
    control.after = lambda change: control.put(Flag.boolean(KEY, on=False)) if isinstance(change, SetOn) else None
    with pytest.raises(Conflict):
        one.kill(KILL, deadline=5.0)


@pytest.mark.parametrize(
    ("kill", "error"),
    [
        (replace(KILL, mode=KillMode.DRAIN), Unsupported),
        (replace(KILL, serve="v1"), Unsupported),
        (replace(KILL, scope=Scope.parse(f"agent:{'x' * 100}")), InvalidInput),
    ],
)
def test_what_no_flag_can_carry_is_refused_before_it_is_written(kill, error):
    """Another mode, a variant, a name too long: nothing is written."""
    one, control = lane()
    with pytest.raises(error):
        one.kill(kill, deadline=5.0)
    assert control.writes == 0


def test_a_journal_that_is_away_takes_back_no_kill():
    """The flag kills; whose it is, nobody will know."""
    one, control = lane(journal=Deaf())
    one.kill(KILL, deadline=5.0)
    assert control.read(KEY).flag.on
    (found,) = one.read().kills
    assert (found.id, found.by) == (KEY, "table")


def test_an_edit_meanwhile_is_told():
    """The kill keeps its author, and its reason says that the flag is not as it was left."""
    one, control = lane()
    one.kill(KILL, deadline=5.0)
    control.put(replace(control.read(KEY).flag, description="hands off"))
    (found,) = one.read().kills
    assert (found.by, "changed at table since" in found.reason) == ("ann", True)


def test_what_cannot_be_read_as_a_switch_counts_as_killed():
    """As in every process: another type is a kill, marked as unreadable. Other flags and names are none."""
    strange = Flag(KEY, FlagKind.STRING, (Variant("no", "no"),), "no", on=False, off_variant="no")
    one, _ = lane(strange, Flag.boolean("kill.switch.payments"), agent_flag("kills"))
    assert [(str(kill.scope), kill.corrupt) for kill in one.read().kills] == [("agent:refunds", True)]


@pytest.mark.parametrize("listed", [True, False])
def test_where_keys_are_cheap_only_kill_flags_are_read(listed):
    """With the keys at hand no other flag is read; without, the vendor lists them all."""
    control = TableControl(Flag.boolean(KEY), agent_flag("checkout"), agent_flag("search"))
    read: list[str] = []
    control.on_read = read.append
    one, _ = lane(control=control, **({"keys": lambda: list(control.documents)} if listed else {}))
    assert [kill.id for kill in one.read().kills] == [KEY]
    assert read == ([KEY] if listed else sorted(control.documents))


def test_a_kill_asks_for_its_own_flag_only():
    """Before a kill is written no list of all flags is waited for."""
    control = TableControl(Flag.boolean(KEY), Flag.boolean("kill.agent.other"))

    def states():
        raise FlagbrakeError("nobody lists anything now")

    control.states = states
    one, _ = lane(control=control)
    assert [kill.id for kill in one.holding({KILL.scope})] == [KEY]
    assert one.holding({Scope.parse("tool:mailer")}) == ()
