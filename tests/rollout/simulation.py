"""Seeded rollouts that never happened: what the judge does over many of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import exp, lgamma, log, log1p
from random import Random

from flagbrake.ports.metrics import Window
from flagbrake.rollout.judge import Memory, Sequential
from flagbrake.rollout.verdict import WindowId


@cache
def _cumulative(n: int, p: float) -> tuple[float, ...]:
    total, row = 0.0, []
    for k in range(n + 1):
        total += exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p))
        row.append(total)
    return tuple(row)


def binomial(random: Random, n: int, p: float) -> int:
    """One draw; by inversion, so that a seed means the same everywhere."""
    if p <= 0:
        return 0
    if p >= 1:
        return n
    return min(bisect_left(_cumulative(n, p), random.random()), n)


@dataclass(frozen=True)
class Look:
    """One analysis interval: sizes and true rates of both arms, and the step it belongs to."""

    canary: int
    baseline: int
    canary_rate: float
    baseline_rate: float
    step: int = 0


def steady(*, canary_rate: float, baseline_rate: float = 0.02, canary: int = 50, baseline: int = 450) -> Callable:
    """The same look again and again: table 4.3 of the design."""
    look = Look(canary, baseline, canary_rate, baseline_rate)
    return lambda _: look


def first_rollback(judge: Sequential, scene: Callable[[int], Look], *, looks: int, random: Random) -> int | None:
    """Canary units seen when the judge first fails, ``None`` if it never does."""
    memory, units, limit = Memory(), 0, -log(judge.alpha)
    for index in range(looks):
        look = scene(index)
        window = Window(
            look.canary,
            binomial(random, look.canary, look.canary_rate),
            look.baseline,
            binomial(random, look.baseline, look.baseline_rate),
        )
        memory = judge.learn(memory, WindowId(look.step, index), window)
        units += look.canary
        if memory.top >= limit:
            return units
    return None


def first_certificate(judge: Sequential, scene: Callable[[int], Look], *, looks: int, random: Random) -> int | None:
    """Canary units seen when the promote evidence first suffices, ``None`` if it never does."""
    memory, units, limit = Memory(), 0, -log(judge.promote_alpha)
    for index in range(looks):
        look = scene(index)
        window = Window(
            look.canary,
            binomial(random, look.canary, look.canary_rate),
            look.baseline,
            binomial(random, look.baseline, look.baseline_rate),
        )
        memory = judge.learn(memory, WindowId(look.step, index), window)
        units += look.canary
        if memory.sound >= limit:
            return units
    return None


def quantile(values: list[int | None], share: float) -> int | None:
    """The value below which ``share`` of all rollouts lie; ``None`` counts as never."""
    ranked = sorted(values, key=lambda value: (value is None, value or 0))
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)]
