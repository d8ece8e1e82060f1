"""Data to plans, strictly: an unknown key says which was meant, a bad value which would do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from flagbrake.errors import InvalidInput
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
    shown,
    text,
)
from flagbrake.model.values import percent_of, share_of
from flagbrake.rollout.durations import duration
from flagbrake.rollout.plan import (
    DEFAULT_BAKE,
    DEFAULT_STEPS,
    SEQUENTIAL_ONLY,
    THRESHOLD_ONLY,
    Check,
    JudgeName,
    OnDrift,
    OnNoData,
    Plan,
    Step,
)

_PLAN: Final = frozenset(
    (
        "flag", "canary", "baseline", "steps", "bake", "checks", "alpha", "interval", "settle", "initial_delay",
        "on_drift", "on_no_data", "no_data_grace", "rule", "description",
    )
)  # fmt: skip
_STEP: Final = frozenset(("set_weight", "bake", "approval"))
_CHECK: Final = frozenset(("metric", "judge", "source", "min_sample", *SEQUENTIAL_ONLY, *THRESHOLD_ONLY))
_INDEX: Final = {name: number for number, name in enumerate((*SEQUENTIAL_ONLY, *THRESHOLD_ONLY))}


def plan(data: Any) -> Plan:
    """One plan; complaints are raised as Malformed."""
    fields(data, _PLAN, ("flag", "canary", "baseline"), "a rollout plan")
    bake = _duration(data, "bake", DEFAULT_BAKE)
    steps = each("steps", lambda item: _step(item, bake), data.get("steps", list(DEFAULT_STEPS)))
    checks = each("checks", _check, data["checks"]) if "checks" in data else (Check(),)
    made = Plan(
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
    _check_whole(made)
    return made


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
    others = THRESHOLD_ONLY if judge is JudgeName.SEQUENTIAL else SEQUENTIAL_ONLY
    for name in sorted(others, key=_INDEX.__getitem__):
        if name in item:
            right = SEQUENTIAL_ONLY if judge is JudgeName.SEQUENTIAL else THRESHOLD_ONLY
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
