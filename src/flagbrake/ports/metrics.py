"""Where a rollout's evidence comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Query:
    """Outcomes of runs that started in [start, end) while the flag stood at ``revision``."""

    flag: str
    environment: str
    metric: str
    canary: str
    baseline: str
    start: datetime
    end: datetime
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Four integers: units and bad units per arm. Killed and abandoned runs are in neither."""

    canary: int
    canary_bad: int
    baseline: int
    baseline_bad: int


class MetricSource(ABC):
    """Answers queries; holds no state of the rollout. A query may be repeated."""

    name: ClassVar[str]

    @abstractmethod
    def query(self, query: Query) -> Window | None:
        """The counts, or ``None`` when the source has no data for the window (never zeros as a guess).

        Raises:
            Unavailable: the source did not answer: the judge is blind, which is not a failure of the canary.
        """
