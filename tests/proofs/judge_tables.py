"""The sequential judge over many simulated rollouts: ``python -m tests.proofs.judge_tables [--scale 1.0] [--json]``.

Scenes and goals are those of the design's section 4: false rollbacks over 400 and 4,000 looks, over drift
and steps, in a shared incident and over many rates and splits; runs to detection; late regressions; the
tolerance; the evidence to promote. All seeded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any

from flagbrake.rollout.judge import Sequential
from tests.proofs.stored import Proved, command
from tests.rollout.simulation import Look, first_certificate, first_rollback, quantile, steady


@dataclass(frozen=True)
class Scene:
    """One row of the table."""

    name: str
    look: Callable[[int], Look]
    looks: int
    rollouts: int
    judge: Sequential = Sequential()  # noqa: RUF009 - frozen
    #: Runs before the regression begins, subtracted from the runs to detection.
    onset: int = 0
    certify: bool = False
    goal: str = ""
    met: Callable[[dict], bool] | None = None


def incident(index: int) -> Look:
    """Both arms fail 12 % for 2,000 canary requests in the middle."""
    rate = 0.12 if 100 <= index < 140 else 0.02
    return Look(50, 450, rate, rate)


def drifting_ramp(index: int) -> Look:
    """1-5-10-25-50 % of 500 requests a look, 80 looks a step, while the common rate climbs from 1 % to 4 %."""
    step = min(index // 80, 4)
    canary = (5, 25, 50, 125, 250)[step]
    rate = 0.01 + 0.03 * index / 400
    rate = round(rate, 3)
    return Look(canary, 500 - canary, rate, rate, step)


def bad_ramp(index: int) -> Look:
    """The default steps, 500 requests a look, 2 % against 8 %."""
    step = min(index // 80, 3)
    canary = (5, 25, 125, 250)[step]
    return Look(canary, 500 - canary, 0.08, 0.02, step)


def late(onset: int) -> Callable[[int], Look]:
    """2 % against 8 %, but only after ``onset`` canary requests."""
    return lambda index: Look(50, 450, 0.08 if index * 50 >= onset else 0.02, 0.02)


def _at_most(key: str, limit: float) -> Callable[[dict], bool]:
    return lambda row: row[key] is not None and row[key] <= limit


def scenes() -> list[Scene]:
    """The table."""
    one = _at_most("rolled_back", 0.01)
    rows = [
        Scene("no worse, 400 looks", steady(canary_rate=0.02), 400, 6000, goal="false <= 1 %", met=one),
        Scene("no worse, 4,000 looks", steady(canary_rate=0.02), 4000, 1000, goal="false <= 1 %", met=one),
        Scene("no worse, shared incident", incident, 400, 4000, goal="false <= 1 %", met=one),
        Scene("no worse, drift and steps", drifting_ramp, 400, 4000, goal="false <= 1 %", met=one),
        Scene("2 to 3 %", steady(canary_rate=0.03), 400, 1000),
        Scene("2 to 4 %", steady(canary_rate=0.04), 400, 1000, goal="p90 <= 1,800", met=_at_most("p90", 1800)),
        Scene("2 to 8 %", steady(canary_rate=0.08), 400, 2000, goal="median <= 150", met=_at_most("median", 150)),
        Scene("2 to 20 %", steady(canary_rate=0.2), 400, 2000, goal="median <= 50", met=_at_most("median", 50)),
        Scene(
            "2 to 20 %, looks of 10", steady(canary_rate=0.2, canary=10, baseline=90), 400, 2000,
            goal="median <= 30", met=_at_most("median", 30),
        ),
        Scene(
            "2 to 100 %, looks of 1", steady(canary_rate=1.0, canary=1, baseline=9), 100, 2000,
            goal="median <= 4", met=_at_most("median", 4),
        ),
        Scene("2 to 8 % on the default steps", bad_ramp, 400, 2000),
        Scene("2 to 8 % after 5,000", late(5000), 400, 1000, onset=5000),
        Scene("2 to 8 % after 15,000", late(15000), 400, 1000, onset=15000, goal="median <= 300",
              met=_at_most("median", 300)),
        Scene("tolerated: 2 to 2.5 %, tolerance 1.25", steady(canary_rate=0.025), 400, 2000,
              judge=Sequential(tolerance=1.25), goal="<= 2 %", met=_at_most("rolled_back", 0.02)),
        Scene("2 to 8 %, tolerance 1.25", steady(canary_rate=0.08), 400, 1000, judge=Sequential(tolerance=1.25)),
        Scene("promote evidence at 2 %, equal arms", steady(canary_rate=0.02, canary=50, baseline=50), 400, 1000,
              certify=True),
        Scene("promote evidence at 10 %, equal arms",
              steady(canary_rate=0.1, baseline_rate=0.1, canary=50, baseline=50), 200, 1000, certify=True),
        Scene("promote evidence when the odds are doubled", steady(canary_rate=0.0392, canary=50, baseline=50), 400,
              2000, certify=True, goal="false <= 5 %", met=_at_most("rolled_back", 0.05)),
    ]  # fmt: skip
    for rate in (0.001, 0.01, 0.1, 0.3):
        for canary, baseline in ((5, 495), (50, 450), (250, 250)):
            name = f"no worse, {rate:.1%}, {canary}:{baseline}"
            look = steady(canary_rate=rate, baseline_rate=rate, canary=canary, baseline=baseline)
            rows.append(Scene(name, look, 400, 1500, goal="false <= 1 %", met=one))
    return rows


def run(number: int, scale: float) -> dict:
    """One row, from its number (scenes hold functions, which do not travel between processes)."""
    scene = scenes()[number]
    rollouts = max(int(scene.rollouts * scale), 20)
    measure = first_certificate if scene.certify else first_rollback
    found = []
    for rollout in range(rollouts):
        random = Random(f"{scene.name}/{rollout}")
        units = measure(scene.judge, scene.look, looks=scene.looks, random=random)
        found.append(units)
    early = sum(units is not None and units <= scene.onset for units in found) if scene.onset else 0
    after = [units for units in found if units is None or units > scene.onset]
    counted = [None if units is None else units - scene.onset for units in after]
    row = {
        "scene": scene.name,
        "rollouts": rollouts,
        "looks": scene.looks,
        "rolled_back": round(sum(units is not None for units in found) / rollouts, 5),
        "median": quantile(counted, 0.5),
        "p90": quantile(counted, 0.9),
        "before_onset": early,
        "goal": scene.goal,
    }
    row["met"] = scene.met(row) if scene.met else None
    return row


def prove(scale: float, jobs: int) -> Proved:
    """Run all rows on all cores; ``scale`` is the share of the full number of rollouts."""
    with ProcessPoolExecutor(jobs) as pool:
        count = len(scenes())
        rows = list(pool.map(run, range(count), [scale] * count))
    missed = [row for row in rows if row["met"] is False]
    return Proved({"rows": rows, "all_goals_met": not missed}, missed, "\n".join(map(_shown, rows)))


def _shown(row: dict[str, Any]) -> str:
    met = {True: "met", False: "MISSED", None: ""}[row["met"]]
    share, median, late = f"{row['rolled_back']:>8.2%}", f"median {row['median']!s:>6}", f"p90 {row['p90']!s:>6}"
    return f"{row['scene']:<45} {share}  {median}  {late}  {row['goal']} {met}"


if __name__ == "__main__":
    raise SystemExit(command("judge-tables", __doc__, prove, scale=1.0, jobs=os.cpu_count() or 1))
