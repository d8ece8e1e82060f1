"""Engines killed with SIGKILL at random points: the short, seeded form of tests/proofs/rollout_crash.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proofs.rollout_crash import prove


def _without_fault(url: str, runs: int, first: int) -> None:
    result = prove(runs, [url], first=first)
    assert result["faults"] == []
    assert result["kills"] >= runs


def test_no_step_is_skipped_or_done_twice_on_sqlite(tmp_path: Path):
    """Four rollouts, two of them broken, some forty kills: history, audit and flag agree on every step."""
    _without_fault(f"sqlite:///{tmp_path / 'flags.db'}", 4, first=1000)


@pytest.mark.postgresql
def test_no_step_is_skipped_or_done_twice_on_postgresql(postgresql_url: str):
    """The same on a server whose clients vanish in the middle of transactions."""
    _without_fault(postgresql_url, 2, first=1004)
