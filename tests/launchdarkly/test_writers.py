"""Two controllers on one flag, in short; ``make proof-launchdarkly-writers`` makes a thousand writes."""

from __future__ import annotations

from tests.proofs.launchdarkly_writers import run


def test_no_update_is_lost() -> None:
    """Two processes that change one flag at once lose no update: the lock is the store's, LaunchDarkly has none."""
    found = run(30)
    assert found["writes"] == 30
    assert (found["lost_updates"], found["strange_units"]) == (0, 0)
