"""What became of a run: the row that rollbacks are decided on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Result(StrEnum):
    """How a run ended. KILLED and ABANDONED never count for or against a variant."""

    SUCCESS = "success"
    FAILURE = "failure"
    KILLED = "killed"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome of one run.

    ``metric`` is ``run`` for the run itself, else the tracked event's name. ``revision`` is the flag's
    revision when the variant was chosen; ``unit`` a hash of the targeting key (never the key itself);
    ``duration_ms`` the body's wall time; ``value`` a tracked number.
    """

    run_id: str
    flag: str
    variant: str
    revision: int
    unit: str
    started_at: datetime
    finished_at: datetime
    result: Result
    metric: str = "run"
    error_type: str = ""
    duration_ms: float | None = None
    value: float | None = None
    token: str = ""
