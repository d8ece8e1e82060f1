"""Plain thresholds: the share of bad runs above a limit, several samples in a row.

For people who have a service level to keep and no control to compare with. It compares with a number, so an
incident that hits both variants rolls back, and a limit near the normal rate rolls back by noise: the
sequential judge has neither trouble.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flagbrake.ports.metrics import Window
from flagbrake.rollout.verdict import (
    Arms,
    Assessment,
    Seen,
    Tally,
    Verdict,
    WindowId,
    check_window,
    percent,
    was_seen,
    with_seen,
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Fails when ``consecutive_limit`` samples in a row, each of at least ``min_sample`` units, exceed the limit.

    Args:
        metric: whose windows it sees; for the words.
        max_failure_rate: share of bad units that is still good, 0 to 1.
        min_sample: canary units that make one sample; smaller windows of a step are put together.
        consecutive_limit: samples in a row above the limit that fail; one good sample starts afresh.
    """

    metric: str = "run"
    max_failure_rate: float = 0.05
    min_sample: int = 50
    consecutive_limit: int = 3

    @property
    def compares(self) -> bool:
        """It needs no control."""
        return False

    def fresh(self) -> Mapping[str, Any]:
        """The memory before anything was seen."""
        zero = [0, 0]
        return {"step": 0, "sample": 0, "open": zero, "last": zero, "over": zero, "streak": 0, "failed": False,
                "whole": [0, 0, 0, 0, 0.0], "seen": []}  # fmt: skip

    def observe(self, memory: Mapping[str, Any], window_id: WindowId, window: Window) -> Mapping[str, Any]:
        """The memory with one more window; a window seen before changes nothing."""
        check_window(window)
        seen: Seen = tuple((run[0], run[1], run[2]) for run in memory["seen"])
        if was_seen(seen, window_id):
            return memory
        after = {**memory, "seen": [list(run) for run in with_seen(seen, window_id)]}
        whole = Tally(*memory["whole"])
        after["whole"] = [
            whole.canary + window.canary,
            whole.canary_bad + window.canary_bad,
            whole.baseline + window.baseline,
            whole.baseline_bad + window.baseline_bad,
            whole.expected,
        ]
        if window_id.step > memory["step"]:
            # Samples never span two steps; what was left of the last one was too small to judge.
            after.update(step=window_id.step, sample=0, open=[0, 0])
        if window_id.step == after["step"]:
            after["sample"] += window.canary
        units, bad = after["open"][0] + window.canary, after["open"][1] + window.canary_bad
        if units < self.min_sample or not units:
            after["open"] = [units, bad]
            return after
        after.update(open=[0, 0], last=[units, bad])
        if bad > units * self.max_failure_rate:
            streak = after["streak"] + 1
            over = memory["over"] if memory["streak"] else [0, 0]
            after.update(streak=streak, over=[over[0] + units, over[1] + bad])
            if streak >= self.consecutive_limit:
                after["failed"] = True
        elif not after["failed"]:
            after.update(streak=0, over=[0, 0])
        return after

    def assess(self, memory: Mapping[str, Any], arms: Arms, *, step: int, bake_over: bool = False) -> Assessment:
        """The verdict now. ``bake_over`` turns "nothing against it, and enough units" into a pass."""
        sample = memory["sample"] if memory["step"] == step else 0
        if memory["failed"]:
            verdict = Verdict.FAIL
        elif not sample:
            verdict = Verdict.NO_DATA
        elif bake_over and sample >= self.min_sample and not memory["streak"]:
            verdict = Verdict.PASS
        else:
            verdict = Verdict.INCONCLUSIVE
        return Assessment(self.metric, verdict, self._words(memory, arms), Tally(*memory["whole"]), sample)

    def _words(self, memory: Mapping[str, Any], arms: Arms) -> str:
        streak = memory["streak"]
        units, bad = memory["over"] if streak else memory["last"]
        if not units:
            return f"fewer than {self.min_sample} runs of {arms.canary} yet"
        what = "fails" if self.metric == "run" else f"is bad at '{self.metric}' in"
        times = f", {streak} samples in a row" if streak > 1 else ""
        return f"{arms.canary} {what} {percent(bad / units)}, limit {percent(self.max_failure_rate)}{times}"
