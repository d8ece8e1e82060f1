"""A store of each kind for one test, and the means to damage it by the back door."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from flagbrake.store import Store
from tests.store.clock import HandClock
from tests.support.places import Place


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as opened:
        yield opened


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def timed(place: Place, clock: HandClock) -> Iterator[Store]:
    """A store whose leases and presence a test's clock judges."""
    with place.open(clock=clock) as opened:
        yield opened


@pytest.fixture
def damage(store: Store) -> Callable[..., int]:
    """Run UPDATE or DELETE behind the store's back, on its project's rows; return how many were hit."""

    def run(statement: str, **values: object) -> int:
        joined = " AND " if " WHERE " in statement else " WHERE "
        with store.db.transaction() as conn:
            mine = text(f"{statement}{joined}project = :project")
            return conn.execute(mine, {**values, "project": store.project}).rowcount

    return run
