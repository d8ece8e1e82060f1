"""The store's outcomes as a metric source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flagbrake.metrics.outcomes import OutcomesSource
from flagbrake.model.outcome import Outcome, Result
from flagbrake.ports.metrics import Query, Window
from flagbrake.store import open_store

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def outcome(run: str, variant: str, result: Result, *, at: float = 0, revision: int = 7, metric: str = "run"):
    moment = BEGAN + timedelta(seconds=at)
    return Outcome(run, "f", variant, revision, "u", moment, moment + timedelta(seconds=90), result, metric)


@pytest.fixture
def source(store_url: str):
    with open_store(store_url, project="p", environment="e", create=True) as store:
        store.outcomes.write(
            [
                outcome("1", "v2", Result.FAILURE),
                outcome("2", "v2", Result.SUCCESS),
                outcome("3", "v1", Result.SUCCESS, at=9),
                outcome("4", "v1", Result.KILLED),
                outcome("5", "v1", Result.ABANDONED),
                outcome("6", "v1", Result.FAILURE, revision=6),
                outcome("7", "v1", Result.FAILURE, at=10),
                outcome("8", "v3", Result.FAILURE),
                outcome("1", "v2", Result.SUCCESS, metric="answered"),
            ]
        )
        yield OutcomesSource(store.outcomes)


def query(**changes) -> Query:
    values = {"metric": "run", "start": BEGAN, "end": BEGAN + timedelta(seconds=10), "revision": 7, **changes}
    return Query(flag="f", environment="e", canary="v2", baseline="v1", **values)


def test_runs_count_where_they_started_under_their_revision(source: OutcomesSource):
    """However late they ended; killed and abandoned runs count for nobody; a third variant is not asked for."""
    assert source.query(query()) == Window(canary=2, canary_bad=1, baseline=1, baseline_bad=0)


def test_a_tracked_metric_is_counted_apart(source: OutcomesSource):
    """``client.track`` makes its own numbers."""
    assert source.query(query(metric="answered")) == Window(1, 0, 0, 0)


def test_no_runs_are_none_and_not_zeros(source: OutcomesSource):
    """Unknown is a value."""
    assert source.query(query(start=BEGAN + timedelta(hours=1), end=BEGAN + timedelta(hours=2))) is None


def test_without_a_revision_all_count(source: OutcomesSource):
    """A vendor that has none."""
    assert source.query(query(revision=None)) == Window(2, 1, 2, 1)
