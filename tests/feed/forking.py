"""A process that forks while its feed runs (run by the fork tests, in a process of its own)."""

from __future__ import annotations

import os
import sys

from flagbrake.model.flag import Flag
from flagbrake.store import open_store
from flagbrake.store.feed import StoreFeed
from tests.support.storing import kill, put
from tests.support.waiting import wait_until

HOME = {"project": "shop", "environment": "production"}


def main(url: str, state: str) -> int:
    """Fork; parent and child each see changes made after the fork. The parent leaves last."""
    feed = StoreFeed(url, state_dir=state, **HOME)
    feed.start(10)
    with open_store(url, **HOME) as store:
        put(store, Flag.boolean("before"))
    wait_until(lambda: "before" in feed.snapshot.ruleset.flags, why="the first flag")
    to_child, from_parent = os.pipe()
    child = os.fork()
    if child == 0:
        return _child(feed, to_child)
    with open_store(url, **HOME) as store:
        put(store, Flag.boolean("after"))
        kill(store, "agent:refunds")
    os.write(from_parent, b"x")
    _, status = os.waitpid(child, 0)
    if status != 0:
        return 1
    with open_store(url, **HOME) as store:
        put(store, Flag.boolean("last"))
    wait_until(lambda: "last" in feed.snapshot.ruleset.flags, why="the parent's feed")
    assert feed.snapshot.kills.kills
    feed.stop()
    print("parent", flush=True)
    return 0


def _child(feed: StoreFeed, from_parent: int) -> int:
    assert "before" in feed.snapshot.ruleset.flags  # served from the inherited snapshot, at once
    os.read(from_parent, 1)
    wait_until(lambda: "after" in feed.snapshot.ruleset.flags, why="the child's feed")
    wait_until(lambda: feed.snapshot.kills.kills, why="the kill in the child")
    feed.stop()
    print("child", flush=True)
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
