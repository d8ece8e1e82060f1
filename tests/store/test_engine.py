"""Transactions, the revision counter and announcements."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections import Counter
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagbrake.errors import LockBusy, StoreUnavailable
from flagbrake.model.flag import Flag
from flagbrake.model.outcome import Outcome, Result
from flagbrake.store import Store, notify_channel, open_store
from flagbrake.store.engine import PAYLOAD_LIMIT, Announcement
from tests.support.places import Place
from tests.support.servers import PostgreSQL
from tests.support.waiting import wait_until

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_transaction_has_one_revision(store: Store):
    """However often it asks; the next transaction has the next one."""
    with store.db.transaction() as conn:
        assert [store.db.bump(conn), store.db.bump(conn)] == [1, 1]
    with store.db.transaction() as conn:
        assert store.db.bump(conn) == 2
    assert store.revision() == 2


def test_a_failed_transaction_leaves_no_trace(store: Store):
    """Neither its rows nor its revision."""

    class Crash(Exception):
        pass

    with pytest.raises(Crash), store.db.transaction() as conn:  # noqa: PT012 - the transaction's own end raises
        store.flags.write(conn, Flag.boolean("checkout"))
        raise Crash
    assert store.revision() == 0
    assert store.flags.get("checkout") is None
    with store.db.transaction() as conn:
        assert store.db.bump(conn) == 1


def test_environments_do_not_see_each_other(store: Store, place: Place):
    """The same database holds staging and production apart: revisions, flags, kills."""
    with place.open("staging") as staging:
        with staging.db.transaction() as conn:
            staging.flags.write(conn, Flag.boolean("checkout"))
        assert staging.revision() == 1
    assert store.revision() == 0
    assert store.flags.all() == []


def test_every_concurrent_transaction_gets_its_own_revision(store: Store):
    """Eight threads, ten transactions each: revisions 1 to 80, each once, each visible on its own row."""
    seen: list[int] = []

    def work(number: int) -> None:
        for turn in range(10):
            with store.db.transaction(deadline=30) as conn:
                store.flags.write(conn, Flag.boolean(f"f{number}-{turn}"))
                seen.append(store.db.bump(conn))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(seen) == dict.fromkeys(range(1, 81), 1)
    assert sorted(row.revision for row in store.flags.all()) == list(range(1, 81))
    assert store.revision() == 80


def test_a_reader_never_skips_a_revision(store: Store):
    """Whoever reads revision N sees all rows up to N: commits cannot overtake each other."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            with store.db.transaction(deadline=30) as conn:
                store.flags.write(conn, Flag.boolean(f"{threading.get_ident()}-{number}"))
            number += 1

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            with store.db.reading() as conn:
                revision = store.db.counters(conn).revision
                assert sorted(row.revision for row in store.flags.all(conn=conn)) == list(range(1, revision + 1))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_busy_store_says_so_within_the_deadline(store: Store):
    """A second writer waits as long as it was told, then gets LockBusy with a cure."""
    with store.db.transaction() as conn:
        store.db.lock_counter(conn)
        store.db.bump(conn)
        caught: list[BaseException] = []

        def second() -> None:
            try:
                with store.db.transaction(deadline=0.2) as other:
                    store.db.bump(other)
            except LockBusy as error:
                caught.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
    assert caught
    assert "again" in str(caught[0])


# --- announcements ---------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.sets(st.text(min_size=1).map(lambda text: (text * 300)[:300]), max_size=20),
    st.none() | st.lists(st.text(min_size=1).map(lambda text: {"id": (text * 2000)[:2000]}), max_size=5),
)
def test_a_payload_never_exceeds_what_postgresql_carries(flags, kills):
    """It degrades: first the keys go, then the kills, and reload says that something is missing."""
    payload = Announcement(7, flags=set(flags), kills=kills).payload()
    assert len(payload.encode()) <= PAYLOAD_LIMIT
    body = json.loads(payload)
    assert body["revision"] == 7
    whole = body["flags"] == sorted(flags) and body["kills"] == kills
    assert body["reload"] is not whole
    assert body["flags"] in (sorted(flags), None)
    assert body["kills"] in (kills, None)


@pytest.mark.postgresql
def test_control_changes_are_announced_when_they_commit(postgresql_url: str):
    """A watcher hears revision, keys and kills of what committed; nothing of what did not, nor of outcomes."""
    with (
        open_store(postgresql_url, project="shop", environment="production", create=True) as store,
        psycopg.connect(postgresql_url, autocommit=True) as watcher,
    ):
        watcher.execute(f"LISTEN {notify_channel('shop', 'production')}")
        with pytest.raises(ZeroDivisionError), store.db.transaction() as conn:  # noqa: PT012 - the transaction's own end raises
            store.flags.write(conn, Flag.boolean("never"))
            raise ZeroDivisionError
        store.outcomes.write([Outcome("r1", "checkout", "on", 1, "u", NOW, NOW, Result.SUCCESS)])
        store.locks.release(store.locks.acquire("checkout", ttl=10))
        store.engines.beat("e", "host", 1, NOW)
        with store.db.transaction() as conn:
            store.flags.write_all(conn, [Flag.boolean("checkout"), Flag.boolean("basket")])
        heard = [json.loads(n.payload) for n in watcher.notifies(timeout=5, stop_after=1)]
    assert heard == [{"revision": 1, "flags": ["basket", "checkout"], "kills": None, "reload": False}]


# --- outages and forks -----------------------------------------------------------------------------------


@pytest.mark.postgresql
def test_an_outage_is_named_and_passes(postgresql_server: PostgreSQL):
    """While the server is down everything raises StoreUnavailable; when it is back everything works again."""
    with open_store(postgresql_server.url(), project="shop", environment="production", create=True) as store:
        assert store.revision() == 0
        postgresql_server.stop()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="did not answer"):
                store.revision()
        with pytest.raises(StoreUnavailable):
            store.locks.acquire("checkout", ttl=5)
        postgresql_server.start()
        with store.db.transaction() as conn:
            assert store.db.bump(conn) == 1


@pytest.mark.postgresql
def test_a_server_that_stops_within_a_transaction_is_named(postgresql_server: PostgreSQL):
    """The commit that cannot happen raises StoreUnavailable, and nothing of it is there later."""
    with open_store(postgresql_server.url(), project="shop", environment="production", create=True) as store:
        with pytest.raises(StoreUnavailable), store.db.transaction() as conn:  # noqa: PT012 - the transaction's own end raises
            store.flags.write(conn, Flag.boolean("checkout"))
            postgresql_server.stop()
        postgresql_server.start()
        assert store.flags.get("checkout") is None


def test_a_fork_makes_its_own_connections(store: Store):
    """Parent and child go on using one store object, at the same time, and neither loses anything."""
    with store.db.transaction() as conn:
        store.db.bump(conn)

    def child() -> None:
        for number in range(20):
            with store.db.transaction(deadline=30) as conn:
                store.flags.write(conn, Flag.boolean(f"child-{number}"))
        os._exit(0 if len(store.flags.keys()) >= 20 else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    for number in range(20):
        with store.db.transaction(deadline=30) as conn:
            store.flags.write(conn, Flag.boolean(f"parent-{number}"))
    process.join(30)
    assert process.exitcode == 0
    assert len(store.flags.keys()) == 40
    assert store.revision() == 41


def test_a_fork_waits_for_other_threads_transactions(store: Store):
    """A child never begins with a copy of a transaction that another thread is in the middle of."""
    inside, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with store.db.transaction() as conn:
            store.flags.write(conn, Flag.boolean("checkout"))
            inside.set()
            go_on.wait(10)

    writer = threading.Thread(target=write)
    writer.start()
    inside.wait(10)
    forked = threading.Event()

    def fork() -> None:
        process = multiprocessing.get_context("fork").Process(
            target=lambda: os._exit(0 if store.flags.get("checkout") else 1)
        )
        process.start()
        forked.set()
        process.join(20)
        codes.append(process.exitcode)

    codes: list[int | None] = []
    forker = threading.Thread(target=fork)
    forker.start()
    assert not forked.wait(0.2)
    go_on.set()
    writer.join(10)
    forker.join(20)
    assert codes == [0]


def test_threads_share_a_store(store: Store):
    """More threads than connections: they queue, none fails."""
    errors: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(20):
                store.revision()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(25)]
    for thread in threads:
        thread.start()
    wait_until(lambda: not any(t.is_alive() for t in threads), timeout=30, why="readers")
    assert errors == []
