"""A plan is read strictly: every wrong turn is named, with the way out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagbrake.errors import InvalidInput
from flagbrake.model.reading import Malformed
from flagbrake.rollout.durations import duration, shown_duration
from flagbrake.rollout.plan import Plan, Step

BASIC = {"flag": "f", "canary": "v2", "baseline": "v1"}
TOML = """
flag = "agents.refunds"
canary = "v2"
baseline = "v1"
bake = "5m"
interval = "20s"
on_drift = "reassert"

[[steps]]
set_weight = 1

[[steps]]
set_weight = "12.5 %"
bake = "1h30m"
approval = true

[[checks]]
metric = "run"
tolerance = 1.25

[[checks]]
metric = "answered"
judge = "threshold"
max_failure_rate = 0.1
"""


def test_a_plan_from_toml():
    """Steps, bake times, approvals and checks, as written."""
    plan = Plan.from_toml(TOML)
    assert plan.steps == (
        Step(1000, timedelta(minutes=5)),
        Step(12_500, timedelta(minutes=90), approval=True),
    )
    assert [check.metric for check in plan.checks] == ["run", "answered"]
    assert plan.interval == timedelta(seconds=20)


def test_the_defaults():
    """1, 5, 25, 50, 100 %, ten minutes each, judged one against the other."""
    plan = Plan.from_data(BASIC)
    assert [step.share for step in plan.steps] == [1000, 5000, 25_000, 50_000, 100_000]
    assert {step.bake for step in plan.steps} == {timedelta(minutes=10)}
    assert plan.judges()[0].compares


def test_options_of_the_command_line_make_the_same_plan():
    """``--steps 1,5 --bake 1m`` is the TOML's steps and bake; ``None`` is an option not given."""
    given_ = Plan.from_options("f", "v2", "v1", steps="1, 5", bake="1m", interval=None)
    assert given_ == Plan.from_data({**BASIC, "steps": [1, 5], "bake": "1m"})


def test_data_and_hash_survive_a_round_trip():
    """Equal plans have equal hashes; another step has another."""
    plan = Plan.from_toml(TOML)
    again = Plan.from_data(plan.to_data())
    assert again == plan
    assert again.hash == plan.hash
    assert Plan.from_data(BASIC).hash != Plan.from_data({**BASIC, "steps": [1, 100]}).hash


@pytest.mark.parametrize(
    ("given_", "fact"),
    [
        ({"step": [1]}, "'step' is not a field of a rollout plan. Try: 'steps'"),
        ({"steps": [5, 5]}, "steps[1]: 5 % is not more than the 5 % before it: steps must grow."),
        ({"steps": []}, "steps: a plan needs at least one step."),
        ({"steps": [0]}, "steps[0]: a step of 0 % sends nobody"),
        ({"steps": ["1.0001"]}, "steps[0]: 1.0001 % is finer than the smallest step"),
        ({"steps": [{"weight": 5}]}, "steps[0]: 'weight' is not a field of a step. Try: 'set_weight'"),
        ({"steps": [True]}, "steps[0]: true is not a percentage."),
        ({"bake": 600}, 'bake: 600 is not a duration: the unit is missing or unknown. Try: "600s"'),
        ({"interval": "0s"}, "interval: an analysis window needs some length."),
        ({"on_drift": "pase"}, "on_drift: 'pase' is not known here. Try: 'pause'"),
        ({"checks": []}, "checks: a rollout without a check would never roll back."),
        ({"checks": [{"judge": "seqential"}]}, "checks[0].judge: 'seqential' is not known here. Try: 'sequential'"),
        ({"checks": [{"judge": "threshold", "alpha": 0.1}]}, "checks[0].alpha: the judge 'threshold' has no such"),
        ({"checks": [{"alpha": 0.01}, {"metric": "x"}]}, "alpha: the checks that name an alpha leave nothing"),
        ({"checks": [{}, {}]}, "checks[1]: metric 'run' has this judge already."),
        ({"checks": [{"tolerance": 3}]}, "checks[0].tolerance: the tolerance 3 is not below the bound 2."),
        ({"canary": "v1"}, "canary: canary and baseline are both 'v1'."),
    ],
)
def test_a_wrong_plan_is_refused_with_path_fact_and_cure(given_: dict, fact: str):
    """The complaint begins with where, says what, and names the way out."""
    with pytest.raises(InvalidInput) as caught:
        Plan.from_data({**BASIC, **given_})
    assert str(caught.value).startswith(fact)
    assert caught.value.cure


def test_a_file_that_is_no_plan(tmp_path: Path):
    """Missing, or not TOML: one line with the path."""
    with pytest.raises(InvalidInput, match="cannot be read"):
        Plan.from_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("flag = ")
    with pytest.raises(InvalidInput, match="is not TOML"):
        Plan.from_toml(tmp_path / "bad.toml")


def test_alpha_is_divided_over_the_guardrails():
    """Bonferroni: the whole rollout's false rollbacks stay at alpha."""
    plan = Plan.from_data({**BASIC, "checks": [{}, {"metric": "a"}, {"metric": "b", "alpha": 0.004}]})
    assert [judge.alpha for judge in plan.judges()] == pytest.approx([0.003, 0.003, 0.004])


def test_a_step_finer_than_the_vendor_can_set_is_refused_with_the_nearest():
    """Nothing is rounded in silence."""
    plan = Plan.from_data({**BASIC, "steps": [0.3, 5]})
    plan.check_resolution(1, "sql")
    with pytest.raises(InvalidInput, match=r"0.3 % is finer than 'split' can set .* Try: 1$"):
        plan.check_resolution(1000, "split")


@given(st.integers(0, 365 * 86_400_000))
def test_durations_survive_being_written(milliseconds: int):
    """What is shown is read back as the same."""
    span = timedelta(milliseconds=milliseconds)
    assert duration(shown_duration(span)) == span


@pytest.mark.parametrize("text", ["", "10", "10 minutes", "-5s", "5s later", "1y", None, True, 90])
def test_what_is_no_duration(text: object):
    """A number without a unit is not guessed at."""
    with pytest.raises(Malformed):
        duration(text)
