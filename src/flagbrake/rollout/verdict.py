"""What a judge says: a verdict, the numbers behind it, and one plain line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from flagbrake.errors import InvalidInput
from flagbrake.ports.metrics import Window


class Verdict(StrEnum):
    """A blind judge (ERROR) and an empty window (NO_DATA) are never a failure of the canary."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "no_data"
    ERROR = "error"


@dataclass(frozen=True, slots=True, order=True)
class WindowId:
    """One analysis interval within one step; both count from 0."""

    step: int
    index: int


@dataclass(frozen=True, slots=True)
class Arms:
    """The two variants' names, for the words."""

    canary: str
    baseline: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Units and bad units of both arms over windows that had both.

    ``expected`` is how many bad units the canary would have had at the baseline's rate of each window:
    the honest partner of ``canary_bad``, because a changing split or a drifting rate moves both alike.
    """

    canary: int = 0
    canary_bad: int = 0
    baseline: int = 0
    baseline_bad: int = 0
    expected: float = 0.0

    def plus(self, window: Window) -> Tally:
        """With one more window in which both arms have units."""
        return Tally(
            self.canary + window.canary,
            self.canary_bad + window.canary_bad,
            self.baseline + window.baseline,
            self.baseline_bad + window.baseline_bad,
            self.expected + window.canary * window.baseline_bad / window.baseline,
        )

    @property
    def canary_rate(self) -> float | None:
        """Share of bad units, ``None`` without units."""
        return self.canary_bad / self.canary if self.canary else None

    @property
    def baseline_rate(self) -> float | None:
        """The baseline's share of bad units, weighted as the canary's windows are."""
        return self.expected / self.canary if self.canary else None


#: Nothing counted.
NOTHING: Final = Tally()


@dataclass(frozen=True, slots=True)
class Assessment:
    """One check's answer at one moment.

    ``sample`` counts the canary's units of the present step that could be judged. ``evidence`` is the
    e-value against "no worse" and ``limit`` what it takes to roll back; ``p_value`` holds for any number
    of looks. All three are ``None`` for judges without such numbers.
    """

    metric: str
    verdict: Verdict
    words: str
    tally: Tally = NOTHING
    sample: int = 0
    evidence: float | None = None
    p_value: float | None = None
    limit: float | None = None

    def to_data(self) -> dict[str, Any]:
        """As JSON data."""
        return {**asdict(self), "verdict": self.verdict.value}


class Judge(Protocol):
    """A pure function over observations, with its memory as JSON data. Replay-safe by window id."""

    @property
    def compares(self) -> bool:
        """True if it compares with a control, so that it has nothing to say at 100 %."""

    def fresh(self) -> Mapping[str, Any]:
        """The memory before anything was seen."""

    def observe(self, memory: Mapping[str, Any], window_id: WindowId, window: Window) -> Mapping[str, Any]:
        """The memory with one more window; a window seen before changes nothing.

        Raises:
            InvalidInput: counts that cannot be (negative, or more bad units than units).
        """

    def assess(self, memory: Mapping[str, Any], arms: Arms, *, step: int, bake_over: bool = False) -> Assessment:
        """The verdict now. ``bake_over`` turns "nothing against it, and enough units" into a pass."""


def check_window(window: Window) -> None:
    """Refuse counts that cannot be.

    Raises:
        InvalidInput: negative counts, or more bad units than units.
    """
    if not (0 <= window.canary_bad <= window.canary and 0 <= window.baseline_bad <= window.baseline):
        raise InvalidInput(
            f"A window with {window.canary_bad} bad of {window.canary} and "
            f"{window.baseline_bad} bad of {window.baseline} cannot be.",
            cure="mend the metric source: bad units are counted among the units",
        )


#: Runs of window indices already judged: (step, first, last).
Seen = tuple[tuple[int, int, int], ...]


def was_seen(seen: Seen, window_id: WindowId) -> bool:
    """True if the window is in one of the runs."""
    return any(step == window_id.step and first <= window_id.index <= last for step, first, last in seen)


def with_seen(seen: Seen, window_id: WindowId) -> Seen:
    """The runs with one more window, neighbours joined: one entry per step when windows come in order."""
    new = (window_id.step, window_id.index, window_id.index)
    if not seen or new > seen[-1]:
        return _joined(seen, new)
    joined: Seen = ()
    for run in sorted((*seen, new)):
        joined = _joined(joined, run)
    return joined


def _joined(seen: Seen, run: tuple[int, int, int]) -> Seen:
    if seen and seen[-1][0] == run[0] and run[1] <= seen[-1][2] + 1:
        step, first, last = seen[-1]
        return (*seen[:-1], (step, first, max(last, run[2])))
    return (*seen, run)


def percent(rate: float) -> str:
    """``8.1 %``; below one percent two digits that matter."""
    shown = rate * 100
    if shown == 0:
        return "0 %"
    return f"{shown:.1f} %" if shown >= 1 else f"{shown:.2g} %"
