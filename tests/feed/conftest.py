"""A store of each kind, and feeds on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flagbrake.store import Store, open_store
from flagbrake.store.feed import StoreFeed

HOME = {"project": "shop", "environment": "production"}


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where last known good goes; a folder that is not there yet."""
    return tmp_path / "state" / "flagbrake"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An opened store with its tables."""
    with open_store(store_url, create=True, **HOME) as opened:
        yield opened


@pytest.fixture
def make_feed_at(state_dir: Path) -> Iterator[Callable[..., StoreFeed]]:
    """Makes feeds of an address, not started, and stops them after the test."""
    made: list[StoreFeed] = []

    def make(url: str, **options: Any) -> StoreFeed:
        made.append(StoreFeed(url, **{**HOME, "state_dir": state_dir, **options}))
        return made[-1]

    yield make
    for feed in made:
        while feed._users:
            feed.stop()


@pytest.fixture
def make_feed(store_url: str, make_feed_at: Callable[..., StoreFeed]) -> Callable[..., StoreFeed]:
    """The same, of the store of each kind."""
    return functools.partial(make_feed_at, store_url)


@pytest.fixture
def feed(store: Store, make_feed: Callable[..., StoreFeed]) -> StoreFeed:
    """A started feed."""
    made = make_feed()
    made.start(5)
    return made
