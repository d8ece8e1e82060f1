"""A process starts and serves with the database down; a damaged file is never believed."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from openfeature.evaluation_context import EvaluationContext

from flagbrake.errors import InvalidInput, StoreUnavailable
from flagbrake.model.flag import Flag
from flagbrake.model.kill import EVERYTHING
from flagbrake.model.manifest import Declaration
from flagbrake.ports.kills import KillView
from flagbrake.store import open_store
from flagbrake.store.audience import FeedEvent
from flagbrake.store.feed import StoreFeed
from flagbrake.store.lkg import LastKnownGood, Saved
from flagbrake.store.snapshot import Kind, Row, Source
from tests.feed.conftest import HOME
from tests.support.storing import execute, kill, lift, put
from tests.support.waiting import wait_until

CONTEXT = EvaluationContext("u1", {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flags.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


def an_earlier_run(url: str, make_feed_at: Callable[..., StoreFeed], *, scope: str = "agent:refunds") -> StoreFeed:
    """A process that saw a flag, a declaration and a kill, and ended."""
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("checkout"), Declaration("checkout", safe_variant="off"))
        kill(store, scope)
        feed = make_feed_at(url)
        feed.start(5)
        feed.stop()
    return feed


def test_without_the_database_the_last_known_good_is_served(
    url: str, file: Path, tmp_path: Path, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """Flags, declarations and kills of the earlier run; stale from the start, with an age; kills not to be believed."""
    an_earlier_run(url, make_feed_at)
    away = file.rename(tmp_path / "away.db")
    feed = make_feed_at(url)
    events: list[FeedEvent] = []
    feed.listen(lambda _snapshot, _changed, event: events.append(event))
    began = time.monotonic()
    feed.start(5)
    assert time.monotonic() - began < 1  # a refusal needs no waiting
    assert feed.snapshot.source is Source.LAST_KNOWN_GOOD
    assert feed.snapshot.ruleset.evaluate("checkout", CONTEXT).value is True
    assert feed.snapshot.manifest.get("checkout")
    assert [str(k.scope) for k in feed.snapshot.kills.kills] == ["agent:refunds"]
    assert not feed.state.fresh
    assert feed.state.age is not None
    assert FeedEvent.STALE in events
    views: list[KillView] = []
    feed.subscribe(views.append)
    assert views[0].valid_until <= time.monotonic()
    away.rename(file)
    with open_store(url, **HOME) as store:
        put(store, Flag.boolean("new"))
    wait_until(lambda: feed.state.fresh, why="fresh")
    wait_until(lambda: "new" in feed.snapshot.ruleset.flags, why="the new flag")
    assert events[-1] is not FeedEvent.STALE
    assert views[-1].valid_until > time.monotonic()


def test_a_server_that_hangs_delays_a_start_by_seconds_only(
    make_feed_at: Callable[..., StoreFeed], state_dir: Path, tmp_path: Path
) -> None:
    """A connection that is accepted and never answered: the last known good within the time, else an error."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/db"
        feed = make_feed_at(url, state_dir=tmp_path / "empty")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.5 s"):
            feed.start(0.5)
        assert time.monotonic() - began < 2
        document = '{"key":"checkout"}'
        lkg = make_feed_at(url).last_known_good
        lkg.write(Saved(7, 0, "", {(Kind.MANIFEST, "checkout"): _row(document)}, ()))
        other = make_feed_at(url)
        began = time.monotonic()
        other.start(5)
        assert time.monotonic() - began < 4
        assert other.snapshot.source is Source.LAST_KNOWN_GOOD
        assert not other.state.fresh
    assert feed._thread is not None


def _row(document: str) -> Row:
    from flagbrake.model.codec import checksum

    return Row(Kind.MANIFEST, "checkout", document, checksum(document), 7, 1)


def test_it_is_saved_soon_after_a_change_and_privately(
    url: str, make_feed_at: Callable[..., StoreFeed], state_dir: Path
) -> None:
    """Within a second, readable by the owner only, under a name that tells nothing."""
    with open_store(url, create=True, **HOME) as store:
        feed = make_feed_at(url)
        feed.start(5)
        put(store, Flag.boolean("checkout"))
        wait_until(lambda: (s := feed.last_known_good.read()) and s.revision == 1, why="the file")
    for path in state_dir.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "flags.db" not in path.name
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700


@pytest.mark.parametrize("position", [0, 30, 200, -2])
def test_a_damaged_file_is_refused_with_an_alarm(
    url: str, file: Path, make_feed_at: Callable[..., StoreFeed], position: int
) -> None:
    """One flipped bit anywhere: not served, not even in part; the store's data replaces it."""
    earlier = an_earlier_run(url, make_feed_at)
    path = earlier.last_known_good.path
    raw = bytearray(path.read_bytes())
    raw[position] ^= 4
    path.write_bytes(raw)
    away = file.rename(file.with_suffix(".away"))
    feed = make_feed_at(url)
    with pytest.raises(StoreUnavailable):
        feed.start(0.3)
    assert feed.snapshot.source is Source.NOWHERE
    assert "damaged" in feed.alarms["last-known-good"]
    assert "Try: remove it" in feed.alarms["last-known-good"]
    away.rename(file)
    wait_until(lambda: feed.state.fresh, why="fresh")
    wait_until(lambda: "last-known-good" not in feed.alarms, why="the alarm's end, when it is written anew")
    assert feed.last_known_good.read() is not None


@pytest.mark.parametrize("length", [0, 10, 100, 500])
def test_a_torn_file_is_refused(tmp_path: Path, length: int) -> None:
    """Whatever is missing from its end."""
    lkg = LastKnownGood(tmp_path, shown="x", project="p", environment="e")
    document = '{"key":"' + "x" * 600 + '"}'
    lkg.write(Saved(1, 0, "", {(Kind.MANIFEST, "checkout"): _row(document)}, ()))
    lkg.path.write_bytes(lkg.path.read_bytes()[:length])
    with pytest.raises(InvalidInput, match="damaged"):
        lkg.read()


def test_saving_twice_the_same_writes_once(tmp_path: Path) -> None:
    """Twenty processes on a machine save the same thing: one of them writes."""
    lkg = LastKnownGood(tmp_path, shown="x", project="p", environment="e")
    saved = Saved(1, 0, "", {(Kind.MANIFEST, "checkout"): _row("{}")}, ())
    lkg.write(saved)
    first = lkg.path.stat().st_ino
    lkg.write(saved)
    assert lkg.path.stat().st_ino == first
    read = lkg.read()
    assert read is not None
    assert (read.revision, dict(read.rows)) == (1, dict(saved.rows))
    assert read.saved_at is not None
    assert (datetime.now(UTC) - read.saved_at).total_seconds() < 60


def test_a_state_dir_that_cannot_be_written_is_an_alarm_not_an_end(
    url: str, tmp_path: Path, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """Serving goes on; the alarm says what to set."""
    (tmp_path / "blocked").write_text("a file, not a folder")
    with open_store(url, create=True, **HOME) as store:
        feed = make_feed_at(url, state_dir=tmp_path / "blocked" / "state")
        feed.start(5)
        put(store, Flag.boolean("checkout"))
        wait_until(lambda: "state_dir" in feed.alarms.get("last-known-good", ""), why="the alarm")
        assert feed.state.fresh


def test_a_store_that_lost_a_kill_is_not_believed(
    url: str, file: Path, tmp_path: Path, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """A backup from before the kill is put back: everything counts as killed until somebody looks."""
    with open_store(url, create=True, **HOME) as store:
        store.audit.verify()
        killed_before = kill(store, "agent:other")
        lift(store, killed_before)
    backup = file.read_bytes()
    an_earlier_run(url, make_feed_at)
    file.write_bytes(backup)
    feed = make_feed_at(url)
    feed.start(5)
    assert [k.scope for k in feed.snapshot.kills.kills if k.corrupt] == [EVERYTHING]
    assert "it lost kills" in feed.alarms["epoch"]
    path = feed.last_known_good.witness_path
    assert str(path) in feed.alarms["epoch"]
    path.unlink()
    wait_until(lambda: not feed.snapshot.kills.kills, why="the operator's word")
    assert "epoch" not in feed.alarms


def test_what_a_running_process_knew_stands_when_the_store_forgets(
    url: str, file: Path, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """The kill this process has seen stays listed beside the kill of everything."""
    with open_store(url, create=True, **HOME) as store:
        lift(store, kill(store, "agent:other"))
    backup = file.read_bytes()
    feed = make_feed_at(url)
    feed.start(5)
    with open_store(url, **HOME) as store:
        killed = kill(store, "agent:refunds")
    wait_until(lambda: feed.snapshot.kills.kills == (killed,), why="the kill")
    older = file.with_suffix(".older")
    older.write_bytes(backup)
    for log in ("-wal", "-shm"):
        Path(f"{file}{log}").unlink(missing_ok=True)
    older.replace(file)
    wait_until(lambda: "epoch" in feed.alarms, why="the alarm")
    assert {str(k.scope) for k in feed.snapshot.kills.kills} == {"agent:refunds", "*"}


def test_a_new_store_under_the_same_address_starts_from_nothing(
    url: str, file: Path, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """A developer deletes the file and makes a new one: nothing is killed by the old one's epochs."""
    an_earlier_run(url, make_feed_at)
    file.unlink()
    with open_store(url, create=True, **HOME) as store:
        lift(store, kill(store, "agent:x"))
        execute(store, "UPDATE flagbrake_revision SET kill_epoch = 1")
    feed = make_feed_at(url)
    feed.start(5)
    assert feed.snapshot.kills.kills == ()
    assert "epoch" not in feed.alarms


def test_a_damaged_witness_is_an_alarm(url: str, make_feed_at: Callable[..., StoreFeed]) -> None:
    """It is written anew; the store is believed, because one damaged file at a time is the claim."""
    earlier = an_earlier_run(url, make_feed_at)
    earlier.last_known_good.witness_path.write_bytes(b"garbage")
    feed = make_feed_at(url)
    feed.start(5)
    assert "damaged" in feed.alarms["witness"]
    assert [str(k.scope) for k in feed.snapshot.kills.kills] == ["agent:refunds"]


def test_feeds_of_different_stores_do_not_share_files(tmp_path: Path) -> None:
    """Project, environment and address are all in the name; kills-only feeds have their own."""
    names = {
        LastKnownGood(tmp_path, shown=shown, project=project, environment=environment, what=what).path
        for shown in ("a", "b")
        for project in ("a", "b")
        for environment in ("a", "b")
        for what in ("", "-kills")
    }
    assert len(names) == 16
