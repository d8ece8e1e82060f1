"""Our evaluator answers as openfeature-flagd-core 2 wherever both can express the flag."""

from __future__ import annotations

from tests.proofs.flagd_twin import compare


def test_three_thousand_pairs_agree():
    """The short form of the proof ``python -m tests.proofs.flagd_twin``, whose full result stands in docs/proofs."""
    wrong, reasons = compare(3000, seed=20_261)
    assert not wrong, wrong[0]
    assert set(reasons) == {"STATIC", "DEFAULT", "DISABLED", "TARGETING_MATCH"}
