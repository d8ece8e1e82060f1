"""The store's own outcomes as a metric source: what `flagbrake.run` and `client.track` recorded."""

from __future__ import annotations

from typing import ClassVar, Protocol

from flagbrake.ports.metrics import MetricSource, Query, Window


class Counts(Protocol):
    """What is needed of the store."""

    def counts(self, query: Query) -> Window | None:
        """Runs and bad runs per arm among those that started in the window; ``None`` if there are none."""


class OutcomesSource(MetricSource):
    """Runs are counted where they started and under the flag's revision they were given.

    A run that reports after its window was judged is in no window: a plan's ``settle`` must be longer than
    the slowest run, else failures that are slow (timeouts) would be missed.
    """

    name: ClassVar[str] = "outcomes"

    def __init__(self, outcomes: Counts) -> None:
        self._outcomes = outcomes

    def query(self, query: Query) -> Window | None:
        """The counts, or ``None`` when no run of either variant started in the window.

        Raises:
            Unavailable: the store did not answer.
        """
        return self._outcomes.counts(query)
