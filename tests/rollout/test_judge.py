"""The sequential judge: exact against direct computation, replay-safe, calm on noise, quick on regressions."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from math import comb, exp, inf, isfinite, log
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagbrake.errors import InvalidInput
from flagbrake.ports.metrics import Window
from flagbrake.rollout.judge import EFFECTS, Memory, Sequential, numbers
from flagbrake.rollout.likelihood import log_likelihood_ratio, log_normaliser
from flagbrake.rollout.verdict import Arms, Verdict, WindowId
from tests.rollout.simulation import Look, first_certificate, first_rollback, quantile, steady

ARMS = Arms("v2", "v1")
JUDGE = Sequential()


def normaliser_by_hand(a: int, b: int, s: int, odds: float) -> float:
    """The sum, term by term, in fractions."""
    exact = Fraction(odds)
    z = sum(comb(a, x) * comb(b, s - x) * exact**x for x in range(max(0, s - b), min(a, s) + 1))
    return log(z.numerator) - log(z.denominator)


@st.composite
def windows(draw: st.DrawFn, largest: int = 60) -> Window:
    canary, baseline = draw(st.integers(0, largest)), draw(st.integers(0, largest))
    return Window(canary, draw(st.integers(0, canary)), baseline, draw(st.integers(0, baseline)))


def learned(judge: Sequential, *seen: tuple[WindowId, Window]) -> Memory:
    memory = Memory()
    for window_id, window in seen:
        memory = judge.learn(memory, window_id, window)
    return memory


@given(st.integers(1, 90), st.integers(1, 300), st.data(), st.sampled_from([0.5, 1.0, 1.25, 1.5, 2.0, 4.0, 8.0, 25.0]))
def test_the_normaliser_is_the_sum(a: int, b: int, data: st.DataObject, odds: float):
    """Summed from the mode outwards it equals the sum of all terms in exact fractions."""
    s = data.draw(st.integers(1, a + b - 1))
    assert log_normaliser(a, b, s, odds) == pytest.approx(normaliser_by_hand(a, b, s, odds), abs=1e-10)


def test_the_likelihood_ratio_is_that_of_fishers_law():
    """Against scipy's distribution, where scipy is installed."""
    stats = pytest.importorskip("scipy.stats")
    random = Random(7)
    for _ in range(40):
        a, b = random.randint(1, 400), random.randint(1, 2000)
        s = random.randint(1, min(a + b - 1, 60))
        k = random.randint(max(0, s - b), min(a, s))
        for odds in EFFECTS:
            law = stats.nchypergeom_fisher(a + b, a, s, odds)
            null = stats.nchypergeom_fisher(a + b, a, s, 1.0)
            expected = law.logpmf(k) - null.logpmf(k)
            assert log_likelihood_ratio(k=k, a=a, b=b, s=s, odds=odds, null=1.0) == pytest.approx(expected, abs=1e-8)


@given(st.integers(1, 40), st.integers(1, 40), st.data(), st.sampled_from([1.0, 1.25]))
def test_a_window_is_a_fair_bet_under_the_null(a: int, b: int, data: st.DataObject, tolerance: float):
    """The expected likelihood ratio under "no worse" is 1 at the boundary and never more inside."""
    s = data.draw(st.integers(1, a + b - 1))
    true_odds = data.draw(st.sampled_from([tolerance, tolerance * 0.7]))
    support = range(max(0, s - b), min(a, s) + 1)
    weights = [comb(a, x) * comb(b, s - x) * true_odds**x for x in support]
    for effect in EFFECTS:
        ratios = [
            exp(log_likelihood_ratio(k=x, a=a, b=b, s=s, odds=effect * tolerance, null=tolerance)) for x in support
        ]
        mean = sum(w * r for w, r in zip(weights, ratios, strict=True)) / sum(weights)
        assert mean <= 1 + 1e-9
        if true_odds == tolerance:
            assert mean == pytest.approx(1.0)


def test_evidence_is_the_mixture_over_effects_and_starts_as_written():
    """By hand: windows multiply per effect and start, half the weight at the beginning, the rest at restarts."""
    seen = [(WindowId(step, 0), Window(40, 3, 360, 9)) for step in range(4)]
    memory = learned(JUDGE, *seen)
    one = [exp(log_likelihood_ratio(k=3, a=40, b=360, s=12, odds=psi, null=1.0)) for psi in EFFECTS]
    starts = [0.5] + [0.5 / ((j + 1) * log(j + 2) ** 2) / 1.3064 for j in (1, 2, 3)]
    cash = 1 - sum(starts)
    products = [sum(w * ratio ** (4 - start) for start, w in enumerate(starts)) for ratio in one]
    assert exp(memory.log_evidence) == pytest.approx(sum(products) / len(EFFECTS) + cash)


def test_a_start_joins_every_thousand_canary_units():
    """A late regression is not drowned by what was good before."""
    memory = learned(JUDGE, *((WindowId(0, i), Window(100, 2, 900, 18)) for i in range(35)))
    assert memory.starts == 3
    assert memory.cash == pytest.approx(0.5 - sum(0.5 / ((j + 1) * log(j + 2) ** 2) / 1.3064 for j in (1, 2, 3)))


@given(st.lists(windows(), max_size=12), st.data())
def test_a_window_seen_before_changes_nothing(found: list[Window], data: st.DataObject):
    """Replays and duplicates, in any place: the memory is byte for byte the same."""
    seen = [(WindowId(index // 4, index), window) for index, window in enumerate(found)]
    once = learned(JUDGE, *seen)
    again = list(seen)
    for _ in range(data.draw(st.integers(0, 5))):
        if seen:
            source = data.draw(st.integers(0, len(seen) - 1))
            again.insert(data.draw(st.integers(source + 1, len(again))), seen[source])
    assert learned(JUDGE, *again).to_data() == once.to_data()


@given(st.lists(windows(), min_size=1, max_size=8), st.randoms())
def test_the_order_of_windows_within_a_step_does_not_matter(found: list[Window], random: Random):
    """Windows of one step multiply, whichever is delivered first."""
    seen = [(WindowId(0, index), window) for index, window in enumerate(found)]
    shuffled = list(seen)
    random.shuffle(shuffled)
    one, other = learned(JUDGE, *seen), learned(JUDGE, *shuffled)
    assert one.effects == pytest.approx(other.effects)
    assert one.log_evidence == pytest.approx(other.log_evidence)
    assert (one.seen, one.sample) == (other.seen, other.sample)
    assert one.whole.expected == pytest.approx(other.whole.expected)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_more_bad_canary_units_are_never_less_evidence(canary: int, baseline: int, data: st.DataObject):
    """With the rest of the window fixed, each further bad unit of the canary raises the evidence."""
    baseline_bad = data.draw(st.integers(0, baseline))
    found = [
        learned(JUDGE, (WindowId(0, 0), Window(canary, bad, baseline, baseline_bad))).log_evidence
        for bad in range(canary)
    ]
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(found))


@given(st.lists(windows(), max_size=20))
def test_the_memory_is_small_plain_json(found: list[Window]):
    """JSON and back gives an equal memory, and going on from it is the same as never having stopped."""
    seen = [(WindowId(index // 5, index), window) for index, window in enumerate(found)]
    memory, resumed = Memory(), Memory()
    for window_id, window in seen:
        memory = JUDGE.learn(memory, window_id, window)
        resumed = Memory.from_data(json.loads(json.dumps(JUDGE.learn(resumed, window_id, window).to_data())))
    assert resumed == memory
    assert len(json.dumps(memory.to_data())) < 1100
    assert isfinite(memory.log_evidence)


@given(st.sampled_from([(0, 0, 50, 3), (50, 3, 0, 0), (50, 0, 50, 0), (50, 50, 50, 50)]))
def test_a_window_that_says_nothing_moves_nothing(counts: tuple[int, int, int, int]):
    """An empty arm, no bad unit, or nothing but bad ones."""
    memory = learned(JUDGE, (WindowId(0, 0), Window(*counts)))
    assert memory.log_evidence == pytest.approx(0.0)


def test_impossible_counts_are_refused():
    """A broken source is an error, never a verdict."""
    with pytest.raises(InvalidInput, match="cannot be"):
        JUDGE.observe(JUDGE.fresh(), WindowId(0, 0), Window(5, 6, 10, 0))


def test_verdicts_are_told_apart():
    """No data, not enough, enough, surely fine, failed."""

    def verdict(memory: Memory, *, step: int = 0, bake_over: bool = False) -> Verdict:
        return JUDGE.judge(memory, ARMS, step=step, bake_over=bake_over).verdict

    assert verdict(Memory(), bake_over=True) is Verdict.NO_DATA
    small = learned(JUDGE, (WindowId(0, 0), Window(49, 1, 400, 8)))
    assert verdict(small) is Verdict.INCONCLUSIVE
    assert verdict(small, bake_over=True) is Verdict.INCONCLUSIVE
    enough = learned(JUDGE, (WindowId(0, 0), Window(50, 1, 400, 8)))
    assert verdict(enough) is Verdict.INCONCLUSIVE
    assert verdict(enough, bake_over=True) is Verdict.PASS
    assert verdict(enough, step=1, bake_over=True) is Verdict.NO_DATA
    certified = learned(JUDGE, (WindowId(0, 0), Window(5000, 100, 5000, 100)))
    assert verdict(certified) is Verdict.PASS
    failed = learned(JUDGE, (WindowId(0, 0), Window(100, 30, 900, 18)))
    assert verdict(failed) is Verdict.FAIL


def test_suspicion_holds_a_step_at_the_end_of_its_bake():
    """Evidence between "nothing" and "roll back" does not double the exposure."""
    suspicious = learned(JUDGE, (WindowId(0, 0), Window(100, 9, 900, 18)))
    assert 10 < exp(suspicious.log_evidence) < 100
    assert JUDGE.judge(suspicious, ARMS, step=0, bake_over=True).verdict is Verdict.INCONCLUSIVE


def test_a_failure_is_never_taken_back():
    """The test is of "ever": once 1/alpha was reached, better windows do not undo it."""
    failed = learned(JUDGE, (WindowId(0, 0), Window(100, 30, 900, 18)))
    later = failed
    for index in range(1, 200):
        later = JUDGE.learn(later, WindowId(0, index), Window(100, 0, 900, 18))
    assert later.log_evidence < failed.log_evidence
    assert JUDGE.judge(later, ARMS, step=0).verdict is Verdict.FAIL


def test_the_words_are_plain_and_the_numbers_stand_beside_them():
    """What people read in the rollback notice."""
    memory = learned(JUDGE, (WindowId(0, 0), Window(235, 19, 2115, 42)))
    assessment = JUDGE.judge(memory, ARMS, step=0)
    assert assessment.words == "v2 fails 8.1 %, v1 2.0 %"
    assert numbers(assessment).startswith("19 of 235 against 42 of 2115; evidence ")


def test_a_drifting_rate_does_not_make_the_words_lie():
    """The baseline's rate is weighted as the canary's windows are: pooled totals would blame the canary."""
    memory = learned(JUDGE, (WindowId(0, 0), Window(10, 0, 990, 10)), (WindowId(1, 0), Window(500, 50, 500, 50)))
    assert JUDGE.judge(memory, ARMS, step=1).words == "v2 fails 9.8 %, v1 9.8 %"


def test_a_late_regression_is_named_as_such():
    """Totals of a long rollout would hide it."""
    seen = [(WindowId(0, index), Window(500, 10, 500, 10)) for index in range(20)]
    seen += [(WindowId(1, 0), Window(200, 40, 200, 4))]
    words = JUDGE.judge(learned(JUDGE, *seen), ARMS, step=1).words
    assert words == "v2 fails 20.0 %, v1 2.0 % in the last 200 runs of v2"


def test_evidence_beyond_a_double_stays_a_number():
    """JSON knows no infinity."""
    memory = learned(JUDGE, *((WindowId(0, i), Window(5000, 5000, 5000, 0)) for i in range(5)))
    assessment = JUDGE.judge(memory, ARMS, step=0)
    assert assessment.evidence is not None
    assert assessment.evidence < inf
    assert json.loads(json.dumps(assessment.to_data())) == assessment.to_data()


# --- seeded simulations: the short form of tests/proofs/judge_tables.py ------------------------------------


def rollouts(scene, *, count: int, looks: int = 400, judge: Sequential = JUDGE) -> list[int | None]:
    return [first_rollback(judge, scene, looks=looks, random=Random(f"short/{i}")) for i in range(count)]


def test_a_sound_canary_is_rolled_back_at_most_once_in_a_hundred():
    """600 rollouts of 400 looks at 2 %: at most 6 (the proof, with 6,000, has the precise share)."""
    found = rollouts(steady(canary_rate=0.02), count=600)
    assert sum(units is not None for units in found) <= 6


def test_drift_and_steps_together_do_not_fool_it():
    """The common rate climbs from 1 to 4 % while the split moves: what fools every pooled rule."""

    def look(index: int) -> Look:
        step = min(index // 80, 4)
        canary = (5, 25, 50, 125, 250)[step]
        rate = round(0.01 + 0.03 * index / 400, 3)
        return Look(canary, 500 - canary, rate, rate, step)

    found = rollouts(look, count=100)
    assert sum(units is not None for units in found) <= 2


def test_a_regression_from_2_to_8_percent_is_found_in_about_150_runs():
    """Median and nine in ten."""
    found = rollouts(steady(canary_rate=0.08), count=400)
    assert quantile(found, 0.5) <= 150
    assert quantile(found, 0.9) <= 350


def test_a_canary_that_always_fails_is_stopped_within_four_runs():
    """Looking after every run."""
    found = rollouts(steady(canary_rate=1.0, canary=1, baseline=9), count=100, looks=50)
    assert quantile(found, 0.5) <= 4


def test_promote_evidence_is_rarely_wrong():
    """A canary with doubled odds is certified as "less than doubled" at most 1 time in 20."""
    judge = Sequential()
    scene = steady(canary_rate=0.0392, canary=50, baseline=50)
    found = [first_certificate(judge, scene, looks=200, random=Random(f"p/{i}")) for i in range(200)]
    assert sum(units is not None for units in found) <= 10


@settings(max_examples=25)
@given(st.floats(0.001, 0.2), st.floats(1.0, 3.0))
def test_alpha_is_the_price_of_a_rollback(alpha: float, tolerance: float):
    """The limit is 1/alpha whatever the tolerance."""
    judge = Sequential(alpha=alpha, tolerance=tolerance, non_inferiority=4.0)
    assert judge.judge(Memory(), ARMS, step=0).limit == pytest.approx(1 / alpha)
