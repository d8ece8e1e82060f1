"""``agent_logs`` as a metric source: what teams recorded before they had flagbrake."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import column, func, select, table

from flagbrake.errors import InvalidInput
from flagbrake.ports.metrics import MetricSource, Query, Window
from flagbrake.store import Store
from flagbrake.store.adopted import Role


class AgentLogsSource(MetricSource):
    """Counts rows of an adopted ``agent_logs(version, success, error, latency_ms, timestamp)``.

    ``version`` names the variant. A row without ``success`` is no evidence and is left out. The table knows
    no flag, no revision and no start time: rows are cut by their ``timestamp`` alone, so a plan that uses it
    needs a ``settle`` longer than its runs, and versions with names of their own.
    """

    name: ClassVar[str] = "agent_logs"

    def __init__(self, store: Store) -> None:
        self._store = store

    def query(self, query: Query) -> Window | None:
        """The counts, or ``None`` when no row of either version falls in the window.

        Raises:
            InvalidInput: the table is not adopted, has no timestamp, or the metric is not ``run``.
            StoreUnavailable: the database did not answer.
        """
        if query.metric != "run":
            raise InvalidInput(f"agent_logs records no metric '{query.metric}'.", cure='metric = "run"')
        with self._store.db.reading() as conn:
            adopted = self._store.adoption.tables(conn).get(Role.OUTCOMES)
            if adopted is None:
                raise InvalidInput("agent_logs is not adopted here.", cure="flagbrake init --adopt")
            if "timestamp" not in adopted.columns:
                raise InvalidInput(f"{adopted.table} has no timestamp, so no window can be cut.", cure="add one")
            logs = table(adopted.table, column("version"), column("success"), column("timestamp"))
            start, end = (self._moment(moment) for moment in (query.start, query.end))
            found = conn.execute(
                select(logs.c.version, logs.c.success, func.count())
                .where(logs.c.version.in_([query.canary, query.baseline]), logs.c.success.is_not(None))
                .where(logs.c.timestamp >= start, logs.c.timestamp < end)
                .group_by(logs.c.version, logs.c.success)
            ).all()
        if not found:
            return None
        counts: dict[tuple[str, bool], int] = {}
        for version, success, count in found:
            key = (str(version), _good(success))
            counts[key] = counts.get(key, 0) + int(count)

        def arm(version: str) -> tuple[int, int]:
            bad = counts.get((version, False), 0)
            return bad + counts.get((version, True), 0), bad

        return Window(*arm(query.canary), *arm(query.baseline))

    def _moment(self, moment: datetime) -> Any:
        # Teams write UTC without an offset, as both databases' CURRENT_TIMESTAMP does on a server set to UTC.
        plain = moment.astimezone(UTC).replace(tzinfo=None)
        return plain.isoformat(sep=" ") if self._store.db.is_sqlite else plain


def _good(success: Any) -> bool:
    return success if isinstance(success, bool) else str(success).strip().lower() in {"1", "t", "true", "yes", "ok"}
