"""The audit: a chain that shows what was changed, taken out or put in."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from flagbrake.store import Store

AT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def fill(store: Store, count: int = 6) -> None:
    for number in range(count):
        store.audit.record(
            at=AT + timedelta(seconds=number),
            by="ann",
            action="set-on",
            subject=f"flag{number % 2}",
            reason="why not",
            before={"on": False},
            after={"on": True, "n": number},
            lane="store",
        )


def test_an_entry_says_everything(store: Store):
    """Who, what, when, why, before and after come back as given."""
    entry = store.audit.record(
        at=AT, by="ann", action="kill", subject="agent:refunds", reason="bad", before=[1, None], after="x", lane="store"
    )
    assert store.audit.entries() == [entry]
    assert (entry.seq, entry.at, entry.by, entry.reason, entry.before, entry.after) == (
        1,
        AT,
        "ann",
        "bad",
        [1, None],
        "x",
    )


def test_entries_come_newest_first_and_by_subject(store: Store):
    """A subject, an action, a limit and a place to go on from."""
    fill(store)
    assert [entry.seq for entry in store.audit.entries()] == [6, 5, 4, 3, 2, 1]
    assert [entry.seq for entry in store.audit.entries("flag1")] == [6, 4, 2]
    assert [entry.seq for entry in store.audit.entries("flag1", 2)] == [6, 4]
    assert [entry.seq for entry in store.audit.entries(before=3)] == [2, 1]
    assert store.audit.entries(action="kill") == []


def test_a_whole_chain_verifies(store: Store):
    """So does an empty one."""
    assert store.audit.verify() is None
    fill(store, 3)
    assert store.audit.verify() is None


def test_an_entry_is_there_exactly_if_its_transaction_is(store: Store):
    """A rolled back entry leaves no gap and no fork."""
    fill(store, 2)
    with pytest.raises(ZeroDivisionError), store.db.transaction() as conn:  # noqa: PT012 - the end raises
        store.audit.append(conn, at=AT, by="ann", action="kill", subject="x")
        raise ZeroDivisionError
    fill(store, 1)
    assert [entry.seq for entry in store.audit.entries()] == [3, 2, 1]
    assert store.audit.verify() is None


@pytest.mark.parametrize(
    "change",
    [
        "at = at + 1",
        "by = 'eve'",
        "action = 'x'",
        "subject = 'x'",
        "lane = ''",
        "reason = ''",
        "before = NULL",
        "after = '[]'",
        "previous = ''",
        "hash = 'x'",
    ],
)
def test_every_changed_field_shows(store: Store, damage, change):
    """Whichever field of an entry is changed, verify names that entry."""
    fill(store)
    column, _, value = change.partition(" = ")
    assert damage(f'UPDATE flagbrake_audit SET "{column}" = {value} WHERE seq = 4') == 1
    assert store.audit.verify() == 4


@pytest.mark.parametrize("seq", [1, 3, 6])
def test_a_removed_entry_shows(store: Store, damage, seq):
    """At the start, in the middle and at the end, where no later entry misses it."""
    fill(store)
    damage("DELETE FROM flagbrake_audit WHERE seq = :s", s=seq)
    assert store.audit.verify() == seq


def test_an_entry_put_behind_the_chain_shows(store: Store, damage):
    """An entry that the head does not know is named."""
    fill(store)
    damage("UPDATE flagbrake_revision SET audit_seq = 5")
    assert store.audit.verify() is not None


def test_the_whole_audit_gone_shows(store: Store, damage):
    """An empty table is not an empty chain."""
    fill(store)
    damage("DELETE FROM flagbrake_audit")
    assert store.audit.verify() == 1


def test_text_from_outside_never_fails_an_entry(store: Store):
    """NUL, half surrogates and novels in a reason are recorded as far as a database can."""
    entry = store.audit.record(
        at=AT, by="a\0" * 400, action="kill", subject="s" * 900, reason="bad \ud800 \0", before={"a": "\0"}
    )
    assert store.audit.entries()[0] == entry
    assert store.audit.verify() is None


def test_threads_never_fork_the_chain(store: Store):
    """Six threads, one chain."""
    threads = [threading.Thread(target=fill, args=(store,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [entry.seq for entry in store.audit.entries(limit=99)] == list(range(36, 0, -1))
    assert store.audit.verify() is None
