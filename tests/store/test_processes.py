"""Presence: who lives, and what each process has applied."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from flagbrake.store import Store, open_store
from flagbrake.store.processes import Presence
from tests.store.clock import HandClock
from tests.support.servers import PostgreSQL
from tests.support.waiting import wait_until

AT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


@pytest.fixture
def presence(store: Store) -> Iterator[Presence]:
    here = Presence(store, name="worker", beat=0.05)
    here.start()
    yield here
    here.leave()


def test_a_started_process_is_live_at_once(store: Store, presence: Presence):
    """Its row is there when start returns, and says which process it is."""
    (process,) = store.processes.live()
    assert (process.id, process.host, process.pid) == (presence.id, socket.gethostname(), os.getpid())
    assert (process.name, process.environment, process.epoch, process.applied_at) == ("worker", "production", 0, None)


def test_what_was_applied_is_written_at_once(place):
    """The acknowledgement does not wait for the next beat, and an older one never replaces it."""
    with place.open() as store:
        presence = Presence(store, beat=600)
        presence.start()
        presence.applied(7, AT)
        wait_until(lambda: store.processes.live()[0].epoch == 7, timeout=5, why="the acknowledgement")
        presence.applied(6, AT + timedelta(1))
        presence.leave()
        assert store.processes.live() == []
        assert [(row.epoch, row.applied_at) for row in store.processes.live(applied=0)] == [(7, AT)]


def test_a_process_that_goes_silent_is_not_live(timed: Store, clock: HandClock):
    """Without a sign of life within the limit it is not listed, by the store's clock."""
    presence = Presence(timed, beat=600)
    presence.start()
    clock.forward(6)
    assert len(timed.processes.live(within=6)) == 1
    clock.forward(0.1)
    assert timed.processes.live(within=6) == []
    presence.applied(1, AT)
    wait_until(lambda: timed.processes.live(within=6), why="the sign of life")
    presence.leave()


def test_a_process_that_left_can_come_back(store: Store, presence: Presence):
    """As a new row: the old one has ended."""
    first = presence.id
    presence.leave()
    presence.leave()
    assert store.processes.live() == []
    presence.applied(3, AT)
    (process,) = wait_until(store.processes.live, why="the new row")
    assert process.id == presence.id != first


def test_presence_is_no_control_change(store: Store, presence: Presence):
    """It bumps no revision."""
    presence.applied(1, AT)
    wait_until(lambda: store.processes.live()[0].epoch == 1, why="the acknowledgement")
    assert store.revision() == 0


def test_a_forked_child_is_a_process_of_its_own(store: Store, presence: Presence):
    """The child's first acknowledgement makes its own row; the parent's goes on."""
    child = multiprocessing.get_context("fork").Process(target=_acknowledge, args=(presence, store))
    child.start()
    both = {(os.getpid(), 0), (child.pid, 9)}
    wait_until(lambda: {(row.pid, row.epoch) for row in store.processes.live()} == both, why="two processes")
    child.terminate()
    child.join(10)


def _acknowledge(presence: Presence, store: Store) -> None:
    presence.applied(9, AT)
    wait_until(lambda: False, timeout=60)


@pytest.mark.postgresql
def test_an_acknowledgement_survives_an_outage(postgresql_server: PostgreSQL):
    """While the store is away nobody waits; when it is back the newest epoch is written."""
    with open_store(postgresql_server.url(), project="shop", environment="production", create=True) as store:
        presence = Presence(store, beat=0.05)
        presence.start()
        postgresql_server.stop()
        presence.applied(4, AT)
        presence.applied(5, AT)
        postgresql_server.start()
        wait_until(lambda: [row.epoch for row in store.processes.live()] == [5], why="the acknowledgement")
        presence.leave()


def test_rows_of_the_dead_can_be_pruned(timed: Store, clock: HandClock):
    """Rows not seen for a day go; the living stay."""
    for _ in range(2):
        presence = Presence(timed, beat=600)
        presence.start()
        presence.leave()
        clock.forward(15 * 3600)
    assert timed.processes.prune() == 1


def test_who_left_after_applying_a_kill_has_heard_it(store: Store):
    """A process that a kill ends is not live any more, but counts among those that applied the epoch."""
    presence = Presence(store, beat=600)
    presence.applied(7, AT)
    wait_until(lambda: [row.epoch for row in store.processes.live()] == [7], why="the acknowledgement")
    presence.leave()
    assert store.processes.live() == []
    assert [row.epoch for row in store.processes.live(applied=7)] == [7]
    assert store.processes.live(applied=8) == []
