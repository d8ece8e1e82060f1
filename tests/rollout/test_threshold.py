"""Plain thresholds: several samples in a row over the limit."""

from __future__ import annotations

from flagbrake.ports.metrics import Window
from flagbrake.rollout.threshold import Threshold
from flagbrake.rollout.verdict import Arms, Verdict, WindowId

ARMS = Arms("v2", "v1")
JUDGE = Threshold(max_failure_rate=0.05, min_sample=50, consecutive_limit=3)


def after(*windows: tuple[int, int], step: int = 0) -> dict:
    memory = JUDGE.fresh()
    for index, (units, bad) in enumerate(windows):
        memory = JUDGE.observe(memory, WindowId(step, index), Window(units, bad, 0, 0))
    return dict(memory)


def verdict(memory: dict, *, bake_over: bool = True, step: int = 0) -> Verdict:
    return JUDGE.assess(memory, ARMS, step=step, bake_over=bake_over).verdict


def test_only_several_bad_samples_in_a_row_fail():
    """One good sample starts afresh: counting failures over a whole rollout would always reach a limit."""
    assert verdict(after((50, 5), (50, 5))) is Verdict.INCONCLUSIVE
    assert verdict(after((50, 5), (50, 5), (50, 0), (50, 5), (50, 5))) is Verdict.INCONCLUSIVE
    assert verdict(after((50, 5), (50, 5), (50, 5))) is Verdict.FAIL


def test_small_windows_make_one_sample_together():
    """Three failing runs in three windows are not three samples."""
    assert verdict(after((5, 5), (5, 5), (5, 5))) is Verdict.INCONCLUSIVE


def test_a_good_sample_passes_at_the_end_of_the_bake_and_no_runs_are_no_data():
    """The minimum sample gates the pass."""
    assert verdict(after((50, 1))) is Verdict.PASS
    assert verdict(after((50, 1)), bake_over=False) is Verdict.INCONCLUSIVE
    assert verdict(after((49, 1))) is Verdict.INCONCLUSIVE
    assert verdict(after()) is Verdict.NO_DATA
    assert verdict(after((50, 1)), step=1) is Verdict.NO_DATA


def test_a_failure_stays_and_a_replay_changes_nothing():
    """Once failed, failed; a window seen before is not counted again."""
    failed = after((50, 5), (50, 5), (50, 5), (50, 0), (50, 0))
    assert verdict(failed) is Verdict.FAIL
    assert JUDGE.observe(failed, WindowId(0, 1), Window(50, 50, 0, 0)) == failed


def test_the_words_name_the_limit():
    """Plain words."""
    words = JUDGE.assess(after((50, 5), (50, 4), (50, 3)), ARMS, step=0).words
    assert words == "v2 fails 8.0 %, limit 5.0 %, 3 samples in a row"
