"""Outcomes: stored once, counted as the judge needs them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from flagbrake.model.outcome import Outcome, Result
from flagbrake.ports.metrics import Query, Window
from flagbrake.store import Store

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
END = START + timedelta(minutes=5)


def an_outcome(run: str, variant: str = "v2", result: Result = Result.SUCCESS, **rest) -> Outcome:
    fields = {"started_at": START, "finished_at": START + timedelta(seconds=2), "revision": 3, "unit": "u"}
    return Outcome(run, "checkout", variant, result=result, **{**fields, **rest})


def a_query(**rest) -> Query:
    fields = {"flag": "checkout", "environment": "production", "metric": "run", "canary": "v2", "baseline": "v1"}
    return Query(**{**fields, "start": START, "end": END, **rest})


def test_runs_are_counted_per_arm(store: Store):
    """Units and bad units of each arm; other variants, metrics and flags are in neither."""
    store.outcomes.write(
        [
            an_outcome("1"),
            an_outcome("2", result=Result.FAILURE, error_type="ValueError"),
            an_outcome("3", "v1"),
            an_outcome("4", "v1"),
            an_outcome("5", "v1", Result.FAILURE),
            an_outcome("6", "v0", Result.FAILURE),
            an_outcome("7", metric="score"),
            Outcome("8", "other", "v2", 3, "u", START, END, Result.FAILURE),
        ]
    )
    assert store.outcomes.counts(a_query()) == Window(2, 1, 3, 1)


def test_killed_and_abandoned_runs_count_for_nobody(store: Store):
    """A kill must not look like a regression."""
    store.outcomes.write([an_outcome("1", result=Result.KILLED), an_outcome("2", result=Result.ABANDONED)])
    assert store.outcomes.counts(a_query()) is None
    store.outcomes.write([an_outcome("3")])
    assert store.outcomes.counts(a_query()) == Window(1, 0, 0, 0)
    assert store.outcomes.results("checkout", start=START, end=END) == {
        "v2": {Result.KILLED: 1, Result.ABANDONED: 1, Result.SUCCESS: 1}
    }


def test_no_data_is_unknown_not_zero(store: Store):
    """An empty window is None."""
    assert store.outcomes.counts(a_query()) is None


def test_writing_again_changes_nothing(store: Store):
    """The same run and metric, whole or in part, with another result or not: the first stands."""
    batch = [an_outcome(str(n)) for n in range(10)]
    store.outcomes.write(batch)
    store.outcomes.write([*batch[5:], an_outcome("11"), an_outcome("11"), an_outcome("3", result=Result.FAILURE)])
    assert store.outcomes.counts(a_query()) == Window(11, 0, 0, 0)


def test_a_run_belongs_to_the_window_it_started_in(store: Store):
    """Start included, end excluded; when it finished does not matter."""
    moments = (START - timedelta(microseconds=1), START, END - timedelta(microseconds=1), END)
    store.outcomes.write([an_outcome(str(n), started_at=at, finished_at=END) for n, at in enumerate(moments)])
    assert store.outcomes.counts(a_query()) == Window(2, 0, 0, 0)


def test_two_revisions_are_never_pooled(store: Store):
    """With a revision only runs decided at that revision count."""
    store.outcomes.write([an_outcome("1", revision=3), an_outcome("2", revision=4)])
    assert store.outcomes.counts(a_query(revision=4)) == Window(1, 0, 0, 0)
    assert store.outcomes.counts(a_query(revision=5)) is None


def test_a_tracked_check_is_its_own_metric(store: Store):
    """One run may carry several outcomes, and bad is a failure of that check."""
    store.outcomes.write([an_outcome("1"), an_outcome("1", metric="eval", result=Result.FAILURE, value=0.2)])
    assert store.outcomes.counts(a_query()) == Window(1, 0, 0, 0)
    assert store.outcomes.counts(a_query(metric="eval")) == Window(1, 1, 0, 0)


def test_one_strange_outcome_does_not_stop_a_batch(store: Store):
    """Endless names, NUL and half surrogates are cut to what a database takes."""
    store.outcomes.write([an_outcome("1", error_type="E\0\ud800" * 900, token="\0"), an_outcome("2")])
    assert store.outcomes.counts(a_query()) == Window(2, 0, 0, 0)


def test_outcomes_neither_bump_the_revision_nor_wait_for_control(store: Store):
    """They are not control changes."""
    store.outcomes.write([an_outcome("1")])
    store.outcomes.write([])
    assert store.revision() == 0


def test_threads_write_the_same_rows_without_harm(store: Store):
    """Overlapping batches from six threads: each outcome once, no deadlock."""
    batch = [an_outcome(str(n)) for n in range(300)]
    threads = [threading.Thread(target=store.outcomes.write, args=(batch[n * 20 : n * 20 + 200],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert store.outcomes.counts(a_query()) == Window(300, 0, 0, 0)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_the_window_uses_its_index(store: Store):
    """A count reads the window, not the table (SQLite plans without statistics; PostgreSQL has the same index)."""
    with store.db.reading() as conn:
        plan = conn.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT variant, count(*) FROM flagbrake_outcome WHERE project = 'a'"
            " AND environment = 'b' AND flag = 'c' AND metric = 'd' AND started_at >= 1 AND started_at < 2"
        ).fetchall()
    assert "ix_flagbrake_outcome_window" in str(plan)


def test_old_outcomes_can_be_pruned(store: Store):
    """What started before goes, the rest stays."""
    store.outcomes.write([an_outcome("1"), an_outcome("2", started_at=END)])
    assert store.outcomes.prune(before=END) == 1
    assert store.outcomes.counts(a_query(end=END + timedelta(1))) == Window(1, 0, 0, 0)
