"""The sequential judge: may be asked after every window, and rolls back a sound canary at most 1 time in 100.

Null hypothesis: in every window, odds(canary bad) <= tolerance x odds(baseline bad). Given the sizes of
both arms and the bad units together, the canary's share of them follows Fisher's noncentral
hypergeometric law, whatever the rate of that window. Likelihood ratios of windows multiply (steps are
never pooled), so each alternative odds ratio gives an e-process; the evidence is their mixture over odds
ratios and start times. By Ville's inequality it ever reaches 1/alpha with probability at most alpha, for
any number of looks, any drift of the rate and any change of the split, as long as units are assigned at
random within a window.

Sources: Ramdas, Gruenwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference"
(2023); Shin, Ramdas, Rinaldo, "E-detectors" (2022), for the restarts; Turner, Ly, Gruenwald, "Generic
E-variables for exact sequential k-sample tests" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from math import exp, inf, log, log1p
from typing import Any, Final

from flagbrake.ports.metrics import Window
from flagbrake.rollout.likelihood import log_likelihood_ratio
from flagbrake.rollout.verdict import (
    NOTHING,
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

#: Odds ratios (times the tolerance) that are looked for, equally weighted.
EFFECTS: Final = (1.5, 2.0, 4.0, 8.0, 20.0)
#: Canary units after which another start time joins the mixture, besides one at each step.
RESTART_EVERY: Final = 1_000
#: Sum over j >= 1 of ``1 / ((j + 1) ln^2(j + 2))``: makes the start weights add up to one half.
_START_WEIGHTS: Final = 1.3064
#: ``exp`` of more overflows a double, and JSON knows no infinity.
_LARGEST_EXPONENT: Final = 700.0


@dataclass(frozen=True, slots=True)
class Memory:
    """All that is remembered: a few numbers, however long the rollout.

    ``effects`` holds, per odds ratio, ln of the weighted sum over start times: all starts gain the same
    factor from a later window, so their sum is enough. ``cash`` is the weight of starts yet to come,
    ``top`` the highest ln evidence ever, ``sound`` ln of the evidence against "odds ratio >= the
    non-inferiority bound", ``recent`` the windows since the last start.
    """

    effects: tuple[float, ...] = (log(0.5),) * len(EFFECTS)
    cash: float = 0.5
    starts: int = 0
    since_start: int = 0
    step: int = 0
    sample: int = 0
    top: float = 0.0
    sound: float = 0.0
    whole: Tally = NOTHING
    recent: Tally = NOTHING
    seen: Seen = ()

    @property
    def log_evidence(self) -> float:
        """The logarithm of the mixture over odds ratios and start times, unused weight as cash."""
        return _mixture(self.effects, self.cash)

    def to_data(self) -> dict[str, Any]:
        """As JSON data; ``from_data`` gives back an equal memory."""
        return {
            "effects": list(self.effects),
            "cash": self.cash,
            "starts": self.starts,
            "since_start": self.since_start,
            "step": self.step,
            "sample": self.sample,
            "top": self.top,
            "sound": self.sound,
            "whole": list(astuple(self.whole)),
            "recent": list(astuple(self.recent)),
            "seen": [list(run) for run in self.seen],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Memory:
        """From JSON data."""
        return cls(
            effects=tuple(data["effects"]),
            cash=data["cash"],
            starts=data["starts"],
            since_start=data["since_start"],
            step=data["step"],
            sample=data["sample"],
            top=data["top"],
            sound=data["sound"],
            whole=Tally(*data["whole"]),
            recent=Tally(*data["recent"]),
            seen=tuple((run[0], run[1], run[2]) for run in data["seen"]),
        )


@dataclass(frozen=True, slots=True)
class Sequential:
    """The default judge.

    Args:
        metric: whose windows it sees; for the words.
        alpha: the chance of ever rolling back a canary that is no worse (this check's share of the plan's).
        tolerance: the odds ratio that is still called no worse.
        min_sample: canary units a step needs before "nothing against it" is a pass. Validity needs none.
        non_inferiority: an odds ratio surely below this is a pass without the minimum sample ...
        promote_alpha: ... wrong with at most this probability.
        caution: evidence of 1/caution or more holds the step at the end of its bake until more is known.
    """

    metric: str = "run"
    alpha: float = 0.01
    tolerance: float = 1.0
    min_sample: int = 50
    non_inferiority: float = 2.0
    promote_alpha: float = 0.05
    caution: float = 0.1

    @property
    def compares(self) -> bool:
        """It needs a control."""
        return True

    def fresh(self) -> Mapping[str, Any]:
        """The memory before anything was seen."""
        return Memory().to_data()

    def observe(self, memory: Mapping[str, Any], window_id: WindowId, window: Window) -> Mapping[str, Any]:
        """The memory with one more window; a window seen before changes nothing."""
        return self.learn(Memory.from_data(memory), window_id, window).to_data()

    def learn(self, memory: Memory, window_id: WindowId, window: Window) -> Memory:
        """As :meth:`observe`, on the typed memory."""
        check_window(window)
        if was_seen(memory.seen, window_id):
            return memory
        new_step = window_id.step > memory.step
        effects, cash, starts = memory.effects, memory.cash, memory.starts
        restart = new_step or memory.since_start >= RESTART_EVERY
        if restart:
            # Decided before the window's outcomes are looked at, as the theory asks.
            starts += 1
            weight = 0.5 / ((starts + 1) * log(starts + 2) ** 2) / _START_WEIGHTS
            effects = tuple(_log_sum((value, log(weight))) for value in effects)
            cash -= weight
        step = max(memory.step, window_id.step)
        sample = 0 if new_step else memory.sample
        recent = NOTHING if restart else memory.recent
        whole, sound = memory.whole, memory.sound
        since_start = 0 if restart else memory.since_start
        if window.canary and window.baseline:
            whole, recent = whole.plus(window), recent.plus(window)
            sample += window.canary if window_id.step == step else 0
            since_start += window.canary
            effects = tuple(
                value + self._ratio(window, effect * self.tolerance, self.tolerance)
                for value, effect in zip(effects, EFFECTS, strict=True)
            )
            sound += self._ratio(window, min(1.0, self.tolerance), self.non_inferiority)
        return Memory(
            effects=effects,
            cash=cash,
            starts=starts,
            since_start=since_start,
            step=step,
            sample=sample,
            top=max(memory.top, _mixture(effects, cash)),
            sound=sound,
            whole=whole,
            recent=recent,
            seen=with_seen(memory.seen, window_id),
        )

    def assess(self, memory: Mapping[str, Any], arms: Arms, *, step: int, bake_over: bool = False) -> Assessment:
        """The verdict now. ``bake_over`` turns "nothing against it, and enough units" into a pass."""
        return self.judge(Memory.from_data(memory), arms, step=step, bake_over=bake_over)

    def judge(self, memory: Memory, arms: Arms, *, step: int, bake_over: bool = False) -> Assessment:
        """As :meth:`assess`, on the typed memory."""
        sample = memory.sample if memory.step == step else 0
        return Assessment(
            metric=self.metric,
            verdict=self._verdict(memory, sample, bake_over=bake_over),
            words=self._words(memory, arms, sample),
            tally=memory.whole,
            sample=sample,
            evidence=exp(min(memory.log_evidence, _LARGEST_EXPONENT)),
            p_value=exp(-min(memory.top, _LARGEST_EXPONENT)),
            limit=1.0 / self.alpha,
        )

    def _verdict(self, memory: Memory, sample: int, *, bake_over: bool) -> Verdict:
        if memory.top >= -log(self.alpha):
            return Verdict.FAIL
        if not sample:
            return Verdict.NO_DATA
        if memory.sound >= -log(self.promote_alpha):
            return Verdict.PASS
        unsuspicious = memory.log_evidence < -log(self.caution)
        if bake_over and sample >= self.min_sample and unsuspicious:
            return Verdict.PASS
        return Verdict.INCONCLUSIVE

    def _words(self, memory: Memory, arms: Arms, sample: int) -> str:
        tally, since = memory.whole, ""
        if _ratio_of(memory.recent) > 1.25 * _ratio_of(memory.whole):
            # A late regression drowns in the totals of a long rollout.
            tally, since = memory.recent, f" in the last {memory.recent.canary} runs of {arms.canary}"
        canary, baseline = tally.canary_rate, tally.baseline_rate
        if canary is None or baseline is None:
            return f"no runs of both {arms.canary} and {arms.baseline} to compare yet"
        what = "fails" if self.metric == "run" else f"is bad at '{self.metric}' in"
        line = f"{arms.canary} {what} {percent(canary)}, {arms.baseline} {percent(baseline)}{since}"
        return line if sample else f"{line}; no runs to compare at this step yet"

    @staticmethod
    def _ratio(window: Window, odds: float, null: float) -> float:
        return log_likelihood_ratio(
            k=window.canary_bad,
            a=window.canary,
            b=window.baseline,
            s=window.canary_bad + window.baseline_bad,
            odds=odds,
            null=null,
        )


def numbers(assessment: Assessment) -> str:
    """The figures behind the words: ``19 of 235 against 42 of 2115; evidence 103, limit 100, p 0.0097``."""
    tally = assessment.tally
    text = f"{tally.canary_bad} of {tally.canary}"
    if assessment.evidence is None or assessment.limit is None or assessment.p_value is None:
        return text
    text += f" against {tally.baseline_bad} of {tally.baseline}"
    return f"{text}; evidence {assessment.evidence:.3g}, limit {assessment.limit:.3g}, p {assessment.p_value:.2g}"


def _ratio_of(tally: Tally) -> float:
    if not tally.canary:
        return 0.0
    return tally.canary_bad / tally.expected if tally.expected else inf if tally.canary_bad else 0.0


def _mixture(effects: tuple[float, ...], cash: float) -> float:
    mixed = _log_sum(effects) - log(len(effects))
    return _log_sum((mixed, log(cash))) if cash > 0 else mixed


def _log_sum(values: tuple[float, ...]) -> float:
    largest = max(values)
    rest = sum(exp(value - largest) for value in values) - 1.0
    return largest + log1p(rest)
