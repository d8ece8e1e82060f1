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
from flagbrake.model.reading import (
    Malformed,
    boolean,
    choice,
    each,
    fields,
    inside,
    integer,
    key,
    members,
    reading,
    shown,
    text,
)
from flagbrake.model.values import WHOLE, percent_of, share_of
from flagbrake.rollout.durations import duration, shown_duration
from flagbrake.rollout.judge import Sequential
from flagbrake.rollout.threshold import Threshold
from flagbrake.rollout.verdict import Judge

DEFAULT_STEPS: Final = (1, 5, 25, 50, 100)
DEFAULT_BAKE: Final = timedelta(minutes=10)


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
        return reading(_plan, dict(data), where)

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


_PLAN: Final = frozenset(
    (
        "flag", "canary", "baseline", "steps", "bake", "checks", "alpha", "interval", "settle", "initial_delay",
        "on_drift", "on_no_data", "no_data_grace", "rule", "description",
    )
)  # fmt: skip
_STEP: Final = frozenset(("set_weight", "bake", "approval"))
_SEQUENTIAL: Final = ("alpha", "tolerance", "non_inferiority", "promote_alpha", "caution")
_THRESHOLD: Final = ("max_failure_rate", "consecutive_limit")
_CHECK: Final = frozenset(("metric", "judge", "source", "min_sample", *_SEQUENTIAL, *_THRESHOLD))
_INDEX: Final = {name: number for number, name in enumerate((*_SEQUENTIAL, *_THRESHOLD))}


def _plan(data: Any) -> Plan:
    fields(data, _PLAN, ("flag", "canary", "baseline"), "a rollout plan")
    bake = _duration(data, "bake", DEFAULT_BAKE)
    steps = each("steps", lambda item: _step(item, bake), data.get("steps", list(DEFAULT_STEPS)))
    checks = each("checks", _check, data["checks"]) if "checks" in data else (Check(),)
    plan = Plan(
        flag=key(data, "flag"),
        canary=key(data, "canary"),
        baseline=key(data, "baseline"),
        steps=steps,
        checks=checks,
        alpha=_number(data, "alpha", 0.01, low=0.0, high=0.5),
        interval=_duration(data, "interval", timedelta(seconds=30)),
        settle=_duration(data, "settle", timedelta(seconds=30)),
        initial_delay=_duration(data, "initial_delay", timedelta()),
        on_drift=choice(members(OnDrift), data, "on_drift") if "on_drift" in data else OnDrift.PAUSE,
        on_no_data=choice(members(OnNoData), data, "on_no_data") if "on_no_data" in data else OnNoData.HOLD,
        no_data_grace=_duration(data, "no_data_grace", timedelta(hours=1)),
        rule=key(data, "rule") if "rule" in data else None,
        description=text(data, "description"),
    )
    _check_whole(plan)
    return plan


def _check_whole(plan: Plan) -> None:
    if plan.canary == plan.baseline:
        raise Malformed(f"canary and baseline are both '{plan.canary}'.", "two different variants", "canary")
    if not plan.steps:
        raise Malformed("a plan needs at least one step.", "steps = [1, 5, 25, 50, 100]", "steps")
    for index in range(1, len(plan.steps)):
        here, before = plan.steps[index].share, plan.steps[index - 1].share
        if here <= before:
            raise Malformed(
                f"{percent_of(here)} % is not more than the {percent_of(before)} % before it: steps must grow.",
                "steps = [1, 5, 25, 50, 100]",
                "steps",
                f"[{index}]",
            )
    if plan.interval <= timedelta():
        raise Malformed("an analysis window needs some length.", '"30s"', "interval")
    if not plan.checks:
        raise Malformed("a rollout without a check would never roll back.", "leave it out for the default", "checks")
    names = [(check.source, check.metric, check.judge) for check in plan.checks]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Malformed(f"metric '{name[1]}' has this judge already.", "one check each", "checks", f"[{index}]")
    sequential = [check for check in plan.checks if check.judge is JudgeName.SEQUENTIAL]
    if any(c.alpha is None for c in sequential) and sum(c.alpha or 0.0 for c in sequential) >= plan.alpha:
        raise Malformed(
            f"the checks that name an alpha leave nothing of {plan.alpha:g} for the others.",
            "an alpha for every check, or for none",
            "alpha",
        )


def _step(item: Any, bake: timedelta) -> Step:
    if not isinstance(item, dict):
        return Step(_share(item), bake)
    fields(item, _STEP, ("set_weight",), "a step")
    share = inside("set_weight", _share, item["set_weight"])
    return Step(share, _duration(item, "bake", bake), boolean(item, "approval", default=False))


def _share(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Malformed(f"{shown(value)} is not a percentage.", "a number above 0 and up to 100, such as 12.5")
    try:
        share = share_of(value)
    except InvalidInput as error:
        raise Malformed(error.fact, error.cure) from None
    if not share:
        raise Malformed("a step of 0 % sends nobody to the canary.", "a number above 0 and up to 100, such as 12.5")
    return share


def _check(item: Any) -> Check:
    fields(item, _CHECK, (), "a check")
    judge = choice(members(JudgeName), item, "judge") if "judge" in item else JudgeName.SEQUENTIAL
    others = _THRESHOLD if judge is JudgeName.SEQUENTIAL else _SEQUENTIAL
    for name in sorted(others, key=_INDEX.__getitem__):
        if name in item:
            right = _SEQUENTIAL if judge is JudgeName.SEQUENTIAL else _THRESHOLD
            raise Malformed(f"the judge '{judge.value}' has no such setting.", "one of " + ", ".join(right), name)
    check = Check(
        metric=key(item, "metric") if "metric" in item else "run",
        judge=judge,
        source=key(item, "source") if "source" in item else "outcomes",
        min_sample=integer(item, "min_sample", 50),
        alpha=_number(item, "alpha", 0.01, low=0.0, high=0.5) if "alpha" in item else None,
        tolerance=_number(item, "tolerance", 1.0, low=0.0, high=100.0),
        non_inferiority=_number(item, "non_inferiority", 2.0, low=1.0, high=1000.0),
        promote_alpha=_number(item, "promote_alpha", 0.05, low=0.0, high=0.5),
        caution=_number(item, "caution", 0.1, low=0.0, high=1.0, upto=True),
        max_failure_rate=_number(item, "max_failure_rate", 0.05, low=0.0, high=1.0),
        consecutive_limit=integer(item, "consecutive_limit", 3),
    )
    if check.consecutive_limit < 1:
        raise Malformed("at least one sample must be over the limit.", "1 or more", "consecutive_limit")
    if check.min_sample < 1:
        raise Malformed("a step must see at least one run of the canary.", "1 or more", "min_sample")
    if check.tolerance >= check.non_inferiority:
        raise Malformed(
            f"the tolerance {check.tolerance:g} is not below the bound {check.non_inferiority:g}.",
            "a larger non_inferiority",
            "tolerance",
        )
    return check


def _number(
    data: Mapping[str, Any], name: str, default: float, *, low: float, high: float, upto: bool = False
) -> float:
    value = data.get(name, default)
    inside_ = isinstance(value, int | float) and not isinstance(value, bool)
    if not inside_ or not (low < value < high or (upto and value == high)):
        raise Malformed(f"must be a number above {low:g} and below {high:g}, not {shown(value)}.", f"{default:g}", name)
    return float(value)


def _duration(data: Mapping[str, Any], name: str, default: timedelta) -> timedelta:
    return inside(name, duration, data[name]) if name in data else default


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
    for name in _SEQUENTIAL if check.judge is JudgeName.SEQUENTIAL else _THRESHOLD:
        value = getattr(check, name)
        if value is not None:
            data[name] = value
    return data
