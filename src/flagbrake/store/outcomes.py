"""Outcomes: written once, counted per arm and window."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select

from flagbrake.model.outcome import Outcome, Result
from flagbrake.ports.metrics import Query, Window
from flagbrake.store import schema
from flagbrake.store.engine import Database

_BATCH = 1000


class Outcomes:
    """An OutcomeSink and the counts over what it took. Neither bumps the revision nor wakes a watcher."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def write(self, batch: Sequence[Outcome]) -> None:
        """Store all of them once, or none; an outcome seen before (run id and metric) changes nothing.

        Raises:
            StoreUnavailable, LockBusy, NotAllowed: not stored; write them again.
        """
        if not batch:
            return
        # In one order, so that two writers of the same rows wait for each other instead of deadlocking.
        rows = sorted((self._row(outcome) for outcome in batch), key=lambda row: (row["run_id"], row["metric"]))
        statement = self._db.insert(schema.outcome).on_conflict_do_nothing()
        with self._db.transaction(durable=False) as conn:
            for start in range(0, len(rows), _BATCH):
                conn.execute(statement, rows[start : start + _BATCH])

    def counts(self, query: Query, *, conn: Connection | None = None) -> Window | None:
        """Runs and bad runs per arm among those that started in the window; ``None`` if there are none.

        Killed and abandoned runs are in neither number. Bad is a FAILURE: of the run for the metric
        ``run``, of the tracked check for any other.
        """
        table = schema.outcome
        judged = (Result.SUCCESS.value, Result.FAILURE.value)
        statement = (
            select(
                table.c.variant,
                func.count(),
                func.sum(case((table.c.result == Result.FAILURE.value, 1), else_=0)),
            )
            .where(
                *self._db.mine(table),
                *_within(query.flag, query.metric, query.start, query.end),
                table.c.variant.in_([query.canary, query.baseline]),
                table.c.result.in_(judged),
            )
            .group_by(table.c.variant)
        )
        if query.revision is not None:
            statement = statement.where(table.c.revision == query.revision)
        with self._db.looking(conn) as reader:
            found = {variant: (int(units), int(bad)) for variant, units, bad in reader.execute(statement)}
        if not found:
            return None
        return Window(*found.get(query.canary, (0, 0)), *found.get(query.baseline, (0, 0)))

    def results(
        self, flag: str, *, start: datetime, end: datetime, metric: str = "run", conn: Connection | None = None
    ) -> dict[str, dict[Result, int]]:
        """How runs that started in the window ended, by variant: killed and abandoned ones too."""
        table = schema.outcome
        statement = (
            select(table.c.variant, table.c.result, func.count())
            .where(*self._db.mine(table), *_within(flag, metric, start, end))
            .group_by(table.c.variant, table.c.result)
        )
        found: dict[str, dict[Result, int]] = {}
        with self._db.looking(conn) as reader:
            for variant, result, count in reader.execute(statement):
                found.setdefault(variant, {})[Result(result)] = int(count)
        return found

    def prune(self, *, before: datetime) -> int:
        """Delete the outcomes of runs that started before; return how many."""
        table = schema.outcome
        with self._db.transaction(deadline=60.0) as conn:
            return conn.execute(
                table.delete().where(*self._db.mine(table), table.c.started_at < schema.micros(before))
            ).rowcount

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        return {
            **self._db.home,
            "run_id": schema.clean(outcome.run_id, 100),
            "metric": schema.clean(outcome.metric, 200),
            "flag": schema.clean(outcome.flag, 300),
            "variant": schema.clean(outcome.variant, 300),
            "revision": outcome.revision,
            "unit": schema.clean(outcome.unit, 100),
            "started_at": schema.micros(outcome.started_at),
            "finished_at": schema.micros(outcome.finished_at),
            "result": outcome.result.value,
            "error_type": schema.clean(outcome.error_type, 300),
            "duration_ms": outcome.duration_ms,
            "value": outcome.value,
            "token": schema.clean(outcome.token),
        }


def _within(flag: str, metric: str, start: datetime, end: datetime) -> tuple[Any, ...]:
    table = schema.outcome
    return (
        table.c.flag == flag,
        table.c.metric == metric,
        table.c.started_at >= schema.micros(start),
        table.c.started_at < schema.micros(end),
    )
