"""Analysis windows: no gap, no overlap within a revision, each judged once and not before it has settled."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from flagbrake.rollout.windows import CLOCK_MARGIN, LONGEST_QUEUE, Windows

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL, SETTLE = timedelta(seconds=10), timedelta(seconds=5)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def opened(revision: int | None = 1) -> Windows:
    return Windows().begin(BEGAN, step=0, revision=revision)


@given(st.lists(st.floats(0.1, 40), min_size=1, max_size=40))
def test_windows_of_one_revision_tile_the_time(waits: list[float]):
    """However unevenly the engine ticks, no moment is left out and none counted twice."""
    windows, now = opened(), 0.0
    for wait in waits:
        now += wait
        windows = windows.cut_when_due(at(now), INTERVAL, at_least_from=None)
    spans = [(closed.start, closed.end) for closed in windows.queue] + [(windows.start, None)]
    assert spans[0][0] == BEGAN - CLOCK_MARGIN
    assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(spans))
    assert [closed.index for closed in windows.queue] == list(range(len(windows.queue)))


def test_a_new_revision_cuts_and_looks_back_for_slow_clocks():
    """The revision keeps earlier runs out, so the margin is safe; without revisions there is none."""
    windows = opened().begin(at(7), step=0, revision=2)
    assert [(closed.revision, closed.end) for closed in windows.queue] == [(1, at(7))]
    assert (windows.start, windows.index, windows.revision) == (at(7) - CLOCK_MARGIN, 1, 2)
    assert opened(revision=None).start == BEGAN


def test_a_window_is_due_only_after_it_has_settled():
    """Slow runs need time to report."""
    windows = opened().cut_when_due(at(10), INTERVAL, at_least_from=None)
    assert windows.due(at(14.9), SETTLE) is None
    due = windows.due(at(15), SETTLE)
    assert due is not None
    assert windows.judged(due).due(at(99), SETTLE) is None


def test_the_end_of_a_bake_cuts_and_nothing_is_clear_before_it_is_judged():
    """A step advances on all that happened in its bake time, not on what was judged by chance."""
    end = at(4)
    windows = opened()
    assert windows.cut_when_due(at(3), timedelta(hours=1), at_least_from=end) == windows
    windows = windows.cut_when_due(at(5), timedelta(hours=1), at_least_from=end)
    assert windows.start == at(5)
    assert not windows.clear_until(end)
    assert windows.judged(windows.queue[0]).clear_until(end)
    assert not opened().clear_until(end)


def test_a_long_outage_joins_windows_instead_of_growing_the_state():
    """The ends are kept: joined neighbours had the same split."""
    windows = opened()
    for number in range(1, 500):
        windows = windows.cut(at(number * 10))
    assert len(windows.queue) == LONGEST_QUEUE
    assert windows.queue[-1].end == at(4990)
    assert len({closed.id for closed in windows.queue}) == LONGEST_QUEUE


@given(st.integers(0, 5))
def test_windows_survive_json(cuts: int):
    """What is saved is all there is."""
    windows = opened()
    for number in range(cuts):
        windows = windows.cut(at(number + 1))
    assert Windows.from_data(json.loads(json.dumps(windows.to_data()))) == windows
