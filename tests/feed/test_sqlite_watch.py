"""SQLite's own traps: hints before visibility, logs that come and go, files that are replaced."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flagbrake.errors import ConfigError, StoreUnavailable
from flagbrake.model.flag import Flag
from flagbrake.store import open_store
from flagbrake.store.feed import StoreFeed
from flagbrake.store.watch.sqlite import SAFETY, SqliteWatch
from tests.feed.conftest import HOME
from tests.support.storing import kill, put
from tests.support.waiting import wait_until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flags.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def writer(file: Path) -> Iterator[sqlite3.Connection]:
    """A plain connection that commits."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE counter (n INTEGER)")
    connection.execute("INSERT INTO counter VALUES (0)")
    yield connection
    connection.close()


def seen(watch: SqliteWatch, wanted: int, timeout: float) -> float:
    """Wait until the watch reports a commit and the count is there; return how long it took."""
    began = time.monotonic()
    while True:
        left = timeout - (time.monotonic() - began)
        if left <= 0:
            raise AssertionError(f"commit {wanted} was not seen in {timeout} s")
        if watch.wait(left).changed and watch.peek("SELECT n FROM counter")[0][0] >= wanted:
            return time.monotonic() - began


@pytest.mark.parametrize("inotify", [True, False])
def test_no_commit_waits_for_the_next_one(file: Path, writer: sqlite3.Connection, *, inotify: bool) -> None:
    """Two hundred commits, each noticed before the next is made: reading at the event itself misses them."""
    watch = SqliteWatch(file, inotify=inotify)
    watch.open()
    assert watch.means == ("inotify" if inotify else "poll")
    watch.wait(0.1)
    slow = []
    for number in range(1, 201):
        writer.execute("UPDATE counter SET n = ?", (number,))
        took = seen(watch, number, 5)
        if took > SAFETY * 0.9:
            slow.append(took)
    watch.dispose()
    # The safety poll is for what the hint missed; it must not be what carries the commits.
    assert len(slow) <= 4


def test_a_commit_that_syncs_slowly_is_still_seen_by_the_burst(file: Path, writer: sqlite3.Connection) -> None:
    """The log grows before the commit is visible: the looks go on with growing gaps until it is."""
    watch = SqliteWatch(file)
    watch.open()
    watch.wait(0.1)
    writer.execute("BEGIN IMMEDIATE")
    # Spill a large transaction into the log long before it commits.
    writer.execute("PRAGMA cache_size = 10")
    writer.execute("CREATE TABLE big (t TEXT)")
    writer.executemany("INSERT INTO big VALUES (?)", [("x" * 1000,)] * 500)
    assert not watch.wait(0.03).changed
    writer.execute("UPDATE counter SET n = 1")
    writer.execute("COMMIT")
    assert seen(watch, 1, 5) < 5
    watch.dispose()


def test_a_log_that_is_removed_and_made_again(file: Path, writer: sqlite3.Connection) -> None:
    """The last writer to close removes the log; the next one makes a new one."""
    watch = SqliteWatch(file)
    watch.open()
    writer.close()
    for number in (1, 2, 3):
        connection = sqlite3.connect(file)
        connection.execute("UPDATE counter SET n = ?", (number,))
        connection.commit()
        connection.close()
        assert seen(watch, number, 5) < 5
    watch.close()
    connection = sqlite3.connect(file)
    connection.execute("UPDATE counter SET n = 4")
    connection.commit()
    connection.close()
    assert not Path(f"{file}-wal").exists()
    watch.open()
    assert seen(watch, 4, 5) < 5
    watch.dispose()


def test_a_rollback_journal_database_is_watched_too(tmp_path: Path) -> None:
    """Somebody may have turned WAL off."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE counter (n INTEGER)")
        connection.execute("INSERT INTO counter VALUES (0)")
    watch = SqliteWatch(path)
    watch.open()
    watch.wait(0.1)
    connection.execute("UPDATE counter SET n = 1")
    connection.commit()
    assert seen(watch, 1, 5) < 5
    connection.close()
    watch.dispose()


def test_a_missing_file_names_itself_and_the_cure(tmp_path: Path) -> None:
    """And it is never created by looking."""
    watch = SqliteWatch(tmp_path / "none.db")
    with pytest.raises(StoreUnavailable, match=r"There is no database at .*none\.db\. Try: flagbrake init"):
        watch.open()
    watch.dispose()
    assert not (tmp_path / "none.db").exists()


def test_what_is_not_a_database_says_so(tmp_path: Path) -> None:
    """A text file under the name."""
    (tmp_path / "x.db").write_text("not a database, but long enough to have a header of its own" * 3)
    watch = SqliteWatch(tmp_path / "x.db")
    with pytest.raises(ConfigError, match="is not a SQLite database"):
        watch.open()
    watch.dispose()


def test_a_file_that_appears_later_is_read(url: str, make_feed_at: Callable[..., StoreFeed]) -> None:
    """The feed was started first."""
    feed = make_feed_at(url)
    with pytest.raises(StoreUnavailable):
        feed.start(0.2)
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("checkout"))
    wait_until(lambda: "checkout" in feed.snapshot.ruleset.flags, why="the flag")
    wait_until(lambda: feed.state.fresh, why="fresh")


def test_a_replaced_file_is_read_whole(
    url: str, file: Path, tmp_path: Path, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """A database moved over the old one: its flags are served, the old one's are gone, also at equal revisions."""
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("old"))
    with open_store(f"sqlite:///{tmp_path / 'other.db'}", create=True, **HOME) as store:
        put(store, Flag.boolean("new"))
    feed = make_feed_at(url)
    feed.start(5)
    assert set(feed.snapshot.ruleset.flags) == {"old"}
    (tmp_path / "other.db").replace(file)
    wait_until(lambda: set(feed.snapshot.ruleset.flags) == {"new"}, why="the other file's flags")


def test_a_deleted_file_is_stale_not_a_ghost(url: str, file: Path, make_feed_at: Callable[..., StoreFeed]) -> None:
    """The open file would still answer; nobody can change it any more, so it must not count as contact."""
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("checkout"))
    feed = make_feed_at(url)
    feed.start(5)
    file.unlink()
    wait_until(lambda: not feed.state.fresh, why="stale")
    assert "There is no database" in feed.state.detail
    assert "checkout" in feed.snapshot.ruleset.flags


def test_a_locked_file_is_stale_and_recovers(url: str, file: Path, make_feed_at: Callable[..., StoreFeed]) -> None:
    """Somebody holds the file exclusively: what was read is served, and contact comes back by itself."""
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("checkout"))
    plain = sqlite3.connect(file, isolation_level=None)
    plain.execute("PRAGMA journal_mode = DELETE")
    feed = make_feed_at(url)
    feed.start(5)
    plain.execute("PRAGMA locking_mode = EXCLUSIVE")
    plain.execute("BEGIN EXCLUSIVE")
    wait_until(lambda: not feed.state.fresh, why="stale")
    assert "locked" in feed.state.detail
    assert "checkout" in feed.snapshot.ruleset.flags
    plain.close()
    wait_until(lambda: feed.state.fresh, why="fresh")


def test_without_inotify_there_is_a_poll(url: str, make_feed_at: Callable[..., StoreFeed], monkeypatch) -> None:
    """Instances of inotify are limited per user; the feed then looks every 50 ms."""
    monkeypatch.setattr("flagbrake.store.watch.sqlite._hints", lambda _path: None)
    with open_store(url, create=True, **HOME) as store:
        feed = make_feed_at(url)
        feed.start(5)
        assert feed.state.means == "poll"
        killed = kill(store, "*")
        wait_until(lambda: feed.snapshot.kills.kills == (killed,), timeout=2, why="the kill")


def test_a_copy_put_over_the_file_in_place(
    url: str, file: Path, tmp_path: Path, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """``cp backup.db flags.db`` keeps the inode and takes the revision back: everything is read anew."""
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("kept"))
    shutil.copy(file, tmp_path / "backup.db")
    with open_store(url, **HOME) as store:
        put(store, Flag.boolean("later"))
    feed = make_feed_at(url)
    feed.start(5)
    assert set(feed.snapshot.ruleset.flags) == {"kept", "later"}
    with file.open("r+b") as target:
        target.write((tmp_path / "backup.db").read_bytes())
    wait_until(lambda: set(feed.snapshot.ruleset.flags) == {"kept"}, why="the backup's flags")
