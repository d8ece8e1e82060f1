"""PostgreSQL's own traps: frozen backends, poolers, notifications that nobody heard."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from flagbrake.errors import StoreUnavailable
from flagbrake.model.flag import Flag
from flagbrake.ports.kills import KillView
from flagbrake.store import Store, notify_channel, open_store
from flagbrake.store.feed import StoreFeed
from flagbrake.store.watch import rows
from flagbrake.store.watch.postgresql import PostgresqlWatch
from tests.feed.conftest import HOME
from tests.support.proxy import Proxy
from tests.support.servers import PostgreSQL
from tests.support.storing import kill, put
from tests.support.waiting import wait_until

pytestmark = pytest.mark.postgresql


@pytest.fixture
def opened(postgresql_url: str) -> Iterator[Store]:
    with open_store(postgresql_url, create=True, **HOME) as store:
        yield store


@pytest.fixture
def make_proxy(postgresql: PostgreSQL) -> Iterator[Callable[..., Proxy]]:
    made: list[Proxy] = []

    def make(*, swallow: bool = False) -> Proxy:
        made.append(Proxy(postgresql.folder, swallow=swallow))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def name_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def test_a_kill_is_applied_from_the_announcement_before_anything_is_read(
    opened: Store, postgresql_url: str, make_feed_at: Callable[..., StoreFeed], monkeypatch
) -> None:
    """The kill travels in the NOTIFY: it reaches receivers although every read fails from here on."""
    feed = make_feed_at(postgresql_url)
    feed.start(5)
    wait_until(lambda: feed.state.means == "listen", why="LISTEN")
    views: list[KillView] = []
    feed.subscribe(views.append)

    def refuse(*_: object) -> tuple[int, int]:
        raise StoreUnavailable("no reading today.")

    monkeypatch.setattr(rows, "counters", refuse)
    killed = kill(opened, "agent:refunds")
    wait_until(lambda: views[-1].snapshot.kills == (killed,), why="the kill")
    assert views[-1].snapshot.epoch == killed.epoch


def test_a_strange_announcement_changes_nothing(
    opened: Store, postgresql_url: str, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """Anybody may NOTIFY on the channel; what is not an announcement is ignored, a strange kill counts."""
    feed = make_feed_at(postgresql_url)
    feed.start(5)
    channel = notify_channel(HOME["project"], HOME["environment"])
    with opened.db.transaction() as conn:
        for payload in ("", "no json", "[]", '{"revision": "x"}', '{"revision": 9, "kills": 3}'):
            conn.exec_driver_sql("SELECT pg_notify(%s, %s)", (channel, payload))
    put(opened, Flag.boolean("checkout"))
    wait_until(lambda: "checkout" in feed.snapshot.ruleset.flags, why="the flag")
    assert feed.snapshot.kills.kills == ()
    with opened.db.transaction() as conn:
        strange = json.dumps({"revision": 99, "kills": [{"what": 1}], "flags": [], "reload": False})
        conn.exec_driver_sql("SELECT pg_notify(%s, %s)", (channel, strange))
    views: list[KillView] = []
    feed.subscribe(views.append)
    wait_until(lambda: any(v.snapshot.kills and v.snapshot.kills[0].corrupt for v in views), why="killed to be safe")


def test_a_pooler_that_swallows_notifications_is_found_out(
    opened: Store, postgresql_url: str, make_proxy, make_feed_at: Callable[..., StoreFeed], caplog
) -> None:
    """LISTEN succeeds and nothing ever arrives: the self-test says so, and the counter is polled instead."""
    feed = make_feed_at(make_proxy(swallow=True).url(name_of(postgresql_url)))
    with caplog.at_level(logging.WARNING, "flagbrake.store"):
        feed.start(5)
        wait_until(lambda: feed.state.means == "poll", why="the fallback")
    assert "LISTEN does not reach" in caplog.text
    began = time.monotonic()
    killed = kill(opened, "*")
    wait_until(lambda: feed.snapshot.kills.kills == (killed,), why="the kill")
    assert time.monotonic() - began < 2


def test_a_frozen_connection_is_given_up_and_replaced(
    opened: Store, postgresql_url: str, make_proxy, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """No error, no byte: the heartbeat's deadline makes it stale, and a new connection makes it fresh."""
    proxy = make_proxy()
    feed = make_feed_at(proxy.url(name_of(postgresql_url)))
    feed.start(5)
    put(opened, Flag.boolean("checkout"))
    wait_until(lambda: feed.snapshot.revision == 1, why="the flag")
    proxy.freeze()
    wait_until(lambda: not feed.state.fresh, timeout=8, why="stale")
    assert "did not answer in time" in feed.state.detail
    killed = kill(opened, "*")
    proxy.thaw()
    wait_until(lambda: feed.state.fresh, timeout=15, why="fresh")
    assert feed.snapshot.kills.kills == (killed,)


def test_a_stopped_backend_is_noticed(
    opened: Store, postgresql_url: str, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """SIGSTOP for the server process that listens for us: the same, with the real thing."""
    feed = make_feed_at(postgresql_url)
    feed.start(5)
    wait_until(lambda: feed.state.means == "listen", why="LISTEN")
    assert isinstance(feed._watch, PostgresqlWatch)
    assert feed._watch._connection is not None
    backend = feed._watch._connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        wait_until(lambda: not feed.state.fresh, timeout=8, why="stale")
        killed = kill(opened, "*")
        wait_until(lambda: feed.snapshot.kills.kills == (killed,), timeout=10, why="the kill, on a new connection")
    finally:
        os.kill(backend, signal.SIGCONT)


def test_a_notification_sent_while_nobody_listened_is_made_up_for(
    postgresql_server: PostgreSQL, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """The server restarts; what was committed while the feed was away is read when it is back."""
    url = postgresql_server.url()
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("checkout"))
    feed = make_feed_at(url)
    feed.start(5)
    postgresql_server.stop()
    wait_until(lambda: not feed.state.fresh, why="stale")
    age = feed.state.age
    assert age is not None
    wait_until(lambda: (feed.state.age or 0) > age, why="a growing age")
    assert "checkout" in feed.snapshot.ruleset.flags
    postgresql_server.start()
    with open_store(url, **HOME) as store:
        killed = kill(store, "*")
    wait_until(lambda: feed.snapshot.kills.kills == (killed,), timeout=15, why="the kill")
    wait_until(lambda: feed.state.fresh, why="fresh")


def test_no_password_in_any_message(make_feed_at: Callable[..., StoreFeed], caplog) -> None:
    """Neither in the error, nor in the state, nor in the log."""
    feed = make_feed_at("postgresql://someone:hunter2@127.0.0.1:9/nowhere")
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreUnavailable) as error:
        feed.start(0.5)
    everything = caplog.text + str(error.value) + feed.state.detail + repr(feed) + repr(feed.state)
    assert "hunter2" not in everything
    assert "127.0.0.1:9/nowhere" in str(error.value)
