"""What a write costs at Split: requests are limited there, and a kill must not wait for its turn."""

from __future__ import annotations

import logging

import pytest

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import Conflict
from flagbrake.model.flag import Targets, ramp
from flagbrake.model.state import Archive, Change, Create, FlagState, Replace, SetDistribution, SetOn, SetTargets
from flagbrake.ports.control import FlagControl
from flagbrake.testing import MemoryLock
from flagbrake_split.emulator import SplitEmulator
from tests.split.controlling import BY, MISSET

#: Two requests are a whole read: the definition, and what is common to all environments.
READ = ["GET", "GET"]


def requests(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The methods of all requests since the last time."""
    made = [record.getMessage().split()[2] for record in caplog.records if record.name == "httpx"]
    caplog.clear()
    return made


@pytest.mark.parametrize(
    ("change", "write"),
    [
        (SetOn("refunds", on=False), ["PUT"]),
        (SetOn("refunds", on=False, off_variant="v1"), ["PATCH"]),
        (SetDistribution("refunds", ramp("v2", 50_000, "v1")), ["PATCH"]),
        (SetTargets("refunds", (Targets("v1", ("vip",)),)), ["PATCH"]),
    ],
    ids=["kill", "kill, serving v1", "ramp", "targets"],
)
def test_a_write_is_read_compared_written_and_read_back(
    control: FlagControl, caplog: pytest.LogCaptureFixture, change: Change, write: list[str]
) -> None:
    """Six requests: the flag as decided on, as compared right before the write, the write, what is there after it.

    A decision under the lock (``modify``) costs no more.
    """
    before = control.apply(Create(MISSET), **BY)
    writer = FlagWriter(control, lock=MemoryLock())
    caplog.set_level(logging.INFO, logger="httpx")
    caplog.clear()
    expected = [*READ, *READ, *write, "GET"]
    writer.apply(change, by="ann")
    assert requests(caplog) == expected
    control.apply(Replace(before.flag, native=before.native), **BY)
    caplog.clear()
    writer.modify("refunds", lambda _: change, by="ann")
    assert requests(caplog) == expected


def test_an_edit_between_decision_and_write_is_refused(split: SplitEmulator, control: FlagControl) -> None:
    """What somebody changes in Split after the flag was read is compared with, and nothing is written over it."""
    control.apply(Create(MISSET), **BY)

    def decide(_: FlagState) -> Change:
        control.apply(SetDistribution("refunds", "v1"), **BY)  # somebody else, who knows of no lock
        return SetTargets("refunds", (Targets("v1", ("vip",)),))

    with pytest.raises(Conflict, match=r"was changed by somebody else.*nothing was written"):
        FlagWriter(control, lock=MemoryLock()).modify("refunds", decide, by="ann")
    assert control.read("refunds").flag.targets == MISSET.targets


def test_what_is_there_after_the_write_is_verified(split: SplitEmulator, control: FlagControl) -> None:
    """What Split answers after a write is what is verified: an edit of the same moment is a Conflict, not a success."""
    control.apply(Create(MISSET), **BY)
    kill = control._api.kill

    def kill_and_back(name: str, words: object) -> None:
        kill(name, words)
        control._api.restore(name, words)

    control._api.kill = kill_and_back
    with pytest.raises(Conflict, match=r"does not show what was written.*on: meant False"):
        FlagWriter(control, lock=MemoryLock()).apply(SetOn("refunds", on=False), by="ann")


def test_an_archived_flag_is_asked_for_once_more(control: FlagControl) -> None:
    """Nothing of it can be read back in ``apply``, so that it is gone is seen by reading."""
    control.apply(Create(MISSET), **BY)
    assert FlagWriter(control, lock=MemoryLock()).apply(Archive("refunds"), by="ann").flag.archived
