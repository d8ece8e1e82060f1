"""An adopted agent_logs is evidence, cut by time and version."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from flagbrake.errors import InvalidInput
from flagbrake.metrics.agent_logs import AgentLogsSource
from flagbrake.ports.metrics import Query, Window
from flagbrake.store import Store, open_store
from flagbrake.store.adopt import adopt

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store beside the team's log."""
    with open_store(store_url, project="p", environment="e", create=True) as opened:
        execute(
            opened,
            "CREATE TABLE agent_logs (version TEXT, success BOOLEAN, error TEXT, latency_ms REAL, timestamp TIMESTAMP)",
        )
        yield opened


def execute(store: Store, statement: str, **values: object) -> None:
    with store.db._engine.connect() as conn, conn.begin():
        conn.execute(text(statement), values)


def log(store: Store, version: str, *, success: bool | None, after: float) -> None:
    moment = (START + timedelta(seconds=after)).replace(tzinfo=None)
    at = moment.isoformat(sep=" ") if store.db.is_sqlite else moment
    execute(
        store, "INSERT INTO agent_logs (version, success, timestamp) VALUES (:v, :s, :t)", v=version, s=success, t=at
    )


def ask(store: Store, seconds: float = 60, metric: str = "run") -> Window | None:
    end = START + timedelta(seconds=seconds)
    return AgentLogsSource(store).query(Query("f", "e", metric, "v2", "v1", START, end, 7))


def test_counts_by_version_and_time(store: Store) -> None:
    """Rows inside [start, end) of the two versions count; others and undecided ones do not."""
    adopt(store)
    for version, success, after in (
        ("v1", True, 0), ("v1", True, 59.9), ("v1", False, 30), ("v2", False, 10), ("v2", None, 11),
        ("v1", False, 60), ("v2", False, -1), ("v3", False, 5),
    ):  # fmt: skip
        log(store, version, success=success, after=after)
    assert ask(store) == Window(canary=1, canary_bad=1, baseline=3, baseline_bad=1)


def test_no_rows_is_no_data(store: Store) -> None:
    """An empty window is None, never zeros."""
    adopt(store)
    assert ask(store) is None


def test_what_it_cannot_answer_is_refused(store: Store) -> None:
    """Not adopted, or another metric: an error with the cure."""
    with pytest.raises(InvalidInput, match="init --adopt"):
        ask(store)
    adopt(store)
    with pytest.raises(InvalidInput, match="records no metric 'latency'"):
        ask(store, metric="latency")
