"""A plan: which flag, which steps, how long each bakes, and what is checked meanwhile. Frozen and hashed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.model.codec import checksum, dumps
from flagbrake.model.reading import reading
from flagbrake.model.values import WHOLE, percent_of
from flagbrake.rollout.durations import shown_duration
from flagbrake.rollout.judge import Sequential
from flagbrake.rollout.threshold import Threshold
from flagbrake.rollout.verdict import Judge

DEFAULT_STEPS: Final = (1, 5, 25, 50, 100)
DEFAULT_BAKE: Final = timedelta(minutes=10)
#: Settings of a check that only one of the judges reads.
SEQUENTIAL_ONLY: Final = ("alpha", "tolerance", "non_inferiority", "promote_alpha", "caution")
THRESHOLD_ONLY: Final = ("max_failure_rate", "consecutive_limit")


class OnDrift(StrEnum):
    """What the engine does when somebody else changed the split."""

    PAUSE = "pause"
    REASSERT = "reassert"
    ADOPT = "adopt"


class OnNoData(StrEnum):
    """What the engine does when a step sees no outcomes for longer than the grace."""

    HOLD = "hold"
    ROLLBACK = "rollback"


class JudgeName(StrEnum):
    """The judges there are."""

    SEQUENTIAL = "sequential"
    THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True)
class Step:
    """``share`` of 100,000 to the canary for at least ``bake``; with ``approval`` a person lets it begin."""

    share: int
    bake: timedelta = DEFAULT_BAKE
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One guardrail: a metric and its judge. Any check that fails rolls back.

    ``alpha`` is ``None`` for an even part of the plan's. ``source`` names the metric source.
    """

    metric: str = "run"
    judge: JudgeName = JudgeName.SEQUENTIAL
    source: str = "outcomes"
    min_sample: int = 50
    alpha: float | None = None
    tolerance: float = 1.0
    non_inferiority: float = 2.0
    promote_alpha: float = 0.05
    caution: float = 0.1
    max_failure_rate: float = 0.05
    consecutive_limit: int = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """A rollout, as its owner wrote it.

    ``interval`` is the length of one analysis window, ``settle`` how long after its end a window is left
    open for runs that started in it and have not reported yet: longer than the slowest run and the clock
    differences between machines together. ``initial_delay`` leaves out the first outcomes (cold caches).
    ``rule`` names the flag's rule whose split is moved; without it, the default serve.
    """

    flag: str
    canary: str
    baseline: str
    steps: tuple[Step, ...] = tuple(Step(share * 1000) for share in DEFAULT_STEPS)
    checks: tuple[Check, ...] = (Check(),)
    alpha: float = 0.01
    interval: timedelta = timedelta(seconds=30)
    settle: timedelta = timedelta(seconds=30)
    initial_delay: timedelta = timedelta()
    on_drift: OnDrift = OnDrift.PAUSE
    on_no_data: OnNoData = OnNoData.HOLD
    no_data_grace: timedelta = timedelta(hours=1)
    rule: str | None = None
    description: str = ""
    _hash: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", checksum(dumps(self.to_data())))

    @property
    def hash(self) -> str:
        """16 hex digits; equal plans have equal hashes."""
        return self._hash

    @property
    def last(self) -> int:
        """The index of the last step."""
        return len(self.steps) - 1

    def share(self, step: int) -> int:
        """The canary's share at a step; 0 before the first."""
        return self.steps[step].share if step >= 0 else 0

    def judges(self) -> tuple[Judge, ...]:
        """One judge per check, the plan's alpha divided evenly among those that compare and name none (Bonferroni)."""
        open_ = [c for c in self.checks if c.judge is JudgeName.SEQUENTIAL and c.alpha is None]
        spent = sum(c.alpha or 0.0 for c in self.checks if c.judge is JudgeName.SEQUENTIAL)
        each_alpha = (self.alpha - spent) / len(open_) if open_ else 0.0
        return tuple(_judge(check, each_alpha) for check in self.checks)

    def check_resolution(self, resolution: int, control: str) -> None:
        """Refuse steps finer than a control can set; nothing is rounded in silence.

        Raises:
            InvalidInput: names the nearest step that can be set.
        """
        for index, step in enumerate(self.steps):
            if step.share % resolution:
                below = step.share - step.share % resolution
                near = [share for share in (below, below + resolution) if 0 < share <= WHOLE]
                near.sort(key=lambda share: abs(share - step.share))
                raise InvalidInput(
                    f"steps[{index}]: {percent_of(step.share)} % is finer than '{control}' can set "
                    f"(its smallest step is {percent_of(resolution)} %).",
                    cure=" or ".join(percent_of(share) for share in near),
                )

    def to_data(self) -> dict[str, Any]:
        """As JSON data; :meth:`from_data` gives back an equal plan."""
        data: dict[str, Any] = {
            "flag": self.flag,
            "canary": self.canary,
            "baseline": self.baseline,
            "steps": [_step_to(step) for step in self.steps],
            "checks": [_check_to(check) for check in self.checks],
            "alpha": self.alpha,
            "interval": shown_duration(self.interval),
            "settle": shown_duration(self.settle),
            "initial_delay": shown_duration(self.initial_delay),
            "on_drift": self.on_drift.value,
            "on_no_data": self.on_no_data.value,
            "no_data_grace": shown_duration(self.no_data_grace),
        }
        if self.rule is not None:
            data["rule"] = self.rule
        if self.description:
            data["description"] = self.description
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any], *, where: str = "") -> Plan:
        """Read a plan from JSON or TOML data; ``where`` stands in front of every path in a complaint.

        Raises:
            InvalidInput: an unknown key (says which was meant), steps that do not grow, a bad duration, ...
        """
        from flagbrake.rollout import plan_reading  # it makes plans, so it imports this file

        return reading(plan_reading.plan, dict(data), where)

    @classmethod
    def from_toml(cls, source: Path | str) -> Plan:
        """Read a plan from a TOML file (a Path) or a TOML text (a str).

        Raises:
            InvalidInput: the file cannot be read, is not TOML, or is not a plan.
        """
        where = str(source) if isinstance(source, Path) else "plan"
        try:
            document = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
            data = tomllib.loads(document)
        except OSError as error:
            raise InvalidInput(f"{where} cannot be read: {error.strerror}.", cure="the path of a TOML file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{where} is not TOML: {error}.", cure="mend that place") from None
        if set(data) == {"rollout"} and isinstance(data["rollout"], dict):
            data = data["rollout"]
        return cls.from_data(data, where=where)

    @classmethod
    def from_options(
        cls,
        flag: str,
        canary: str,
        baseline: str,
        *,
        steps: str | Sequence[Any] | None = None,
        bake: str | None = None,
        **rest: Any,
    ) -> Plan:
        """A plan from command line options: ``steps="1,5,25,50,100"``, ``bake="10m"``, other keys as in TOML.

        ``None`` means that the option was not given.

        Raises:
            InvalidInput: as :meth:`from_data`.
        """
        given = {name: value for name, value in {"steps": steps, "bake": bake, **rest}.items() if value is not None}
        if isinstance(steps, str):
            given["steps"] = [part for part in steps.replace(" ", "").split(",") if part]
        return cls.from_data({"flag": flag, "canary": canary, "baseline": baseline, **given})


def _judge(check: Check, alpha: float) -> Judge:
    if check.judge is JudgeName.THRESHOLD:
        return Threshold(
            metric=check.metric,
            max_failure_rate=check.max_failure_rate,
            min_sample=check.min_sample,
            consecutive_limit=check.consecutive_limit,
        )
    return Sequential(
        metric=check.metric,
        alpha=check.alpha if check.alpha is not None else alpha,
        tolerance=check.tolerance,
        min_sample=check.min_sample,
        non_inferiority=check.non_inferiority,
        promote_alpha=check.promote_alpha,
        caution=check.caution,
    )


def _step_to(step: Step) -> dict[str, Any]:
    data: dict[str, Any] = {"set_weight": percent_of(step.share), "bake": shown_duration(step.bake)}
    return {**data, "approval": True} if step.approval else data


def _check_to(check: Check) -> dict[str, Any]:
    data: dict[str, Any] = {
        "metric": check.metric,
        "judge": check.judge.value,
        "source": check.source,
        "min_sample": check.min_sample,
    }
    for name in SEQUENTIAL_ONLY if check.judge is JudgeName.SEQUENTIAL else THRESHOLD_ONLY:
        value = getattr(check, name)
        if value is not None:
            data[name] = value
    return data
