"""Our evaluator answers as splitio-client does; the short form of ``make proof-split-twin``."""

from __future__ import annotations

from tests.proofs.split_random import MATCHERS
from tests.proofs.split_twin import compare


def test_ten_thousand_pairs_agree():
    """Treatment, value and reason agree in 10,000 pairs, in which everything came up; docs/proofs has 100,000."""
    wrong, seen = compare(10_000, seed=3)
    assert not wrong, wrong[0]
    assert {kind for kind in MATCHERS if seen.asked[kind] >= 800} == set(MATCHERS)
    assert {kind for kind in MATCHERS if seen.served[kind] >= 20} == set(MATCHERS)
    outcomes = ("killed", "prerequisites not met", "not in split", "whitelist", "rollout", "default rule")
    assert {name for name in outcomes if seen.outcomes[name] >= 100} == set(outcomes)
    assert min(seen.outcomes["definition not found"], seen.outcomes["targeting rule type unsupported by sdk"]) > 0
    assert {"STATIC", "DEFAULT", "DISABLED", "TARGETING_MATCH", "SPLIT"} <= seen.reasons.keys()
    assert min(seen.hashes["murmur"], seen.hashes["legacy"]) > 2_000
    assert min(seen.routes["split"], seen.routes["split twice"], seen.routes["definition"]) > 50
