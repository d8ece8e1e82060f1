"""A feed leaves nothing behind, and survives a fork."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from flagbrake.model.flag import Flag
from flagbrake.store import Store, open_store
from flagbrake.store.feed import StoreFeed
from tests.feed.conftest import HOME
from tests.support.storing import put
from tests.support.waiting import wait_until


def descriptors() -> set[str]:
    """What this process has open, by number and target."""
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{fd.name} {fd.readlink()}")
        except OSError:
            continue
    return found


def test_a_stopped_feed_leaves_no_thread_and_no_descriptor(store: Store, make_feed: Callable[..., StoreFeed]) -> None:
    """Ten starts and stops, with a change in between."""
    put(store, Flag.boolean("checkout"))
    feed = make_feed()
    feed.start(5)
    feed.stop()
    gc.collect()
    store.db.close()
    before, threads = descriptors(), set(threading.enumerate())
    for number in range(10):
        feed.start(5)
        put(store, Flag.boolean(f"f{number}"))
        wait_until(lambda: f"f{number}" in feed.snapshot.ruleset.flags, why="the flag")  # noqa: B023
        feed.stop()
    store.db.close()
    gc.collect()
    assert descriptors() == before
    assert set(threading.enumerate()) == threads


def test_a_feed_is_one_daemon_thread(store: Store, feed: StoreFeed) -> None:
    """The saver's thread lives only while there is something to save."""
    put(store, Flag.boolean("checkout"))
    wait_until(lambda: feed.snapshot.revision == 1, why="the flag")
    wait_until(lambda: [t.name for t in threading.enumerate() if "flagbrake" in t.name] == ["flagbrake-feed"])
    assert feed._thread is not None
    assert feed._thread.daemon


def test_a_process_that_forgets_to_stop_ends(tmp_path: Path, store_url: str) -> None:
    """Daemon threads do not hold up the interpreter."""
    with open_store(store_url, create=True, **HOME):
        pass
    program = (
        "import sys; from flagbrake.store.feed import StoreFeed\n"
        "f = StoreFeed(sys.argv[1], project='shop', environment='production', state_dir=sys.argv[2]); f.start(10)"
    )
    command = [sys.executable, "-c", program, store_url, str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_child_follows_on_its_own(store_url: str, tmp_path: Path) -> None:
    """It serves the inherited snapshot at once, sees later changes, and so does its parent."""
    with open_store(store_url, create=True, **HOME):
        pass
    command = [sys.executable, "-W", "error::DeprecationWarning", "-m", "tests.feed.forking", store_url, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["child", "parent"]
