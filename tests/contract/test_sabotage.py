"""The suite is tested by sabotage: each broken adapter is caught by the rule that is named for its defect."""

from __future__ import annotations

import pytest

from flagbrake_contract import Outcome, all_rules, judge
from tests.contract.broken_answers import ANSWERS
from tests.contract.broken_bounds import BOUNDS
from tests.contract.broken_calls import USES
from tests.contract.broken_controls import WRITERS
from tests.contract.broken_events import EVENTS
from tests.contract.broken_guards import GUARDS
from tests.contract.broken_level0 import LEVEL0
from tests.contract.broken_life import LIVES
from tests.contract.broken_people import PEOPLE
from tests.contract.broken_reading import READERS
from tests.contract.broken_rows import ALL_ROWS
from tests.contract.sabotage import Sabotage

RULES = {rule.id: rule for rule in all_rules()}
SABOTAGES: list[Sabotage] = [
    *ANSWERS,
    *PEOPLE,
    *USES,
    *LIVES,
    *BOUNDS,
    *EVENTS,
    *GUARDS,
    *LEVEL0,
    *READERS,
    *WRITERS,
    *ALL_ROWS,
]


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=str)
def test_the_rule_named_for_it_catches(sabotage: Sabotage):
    """A defect breaks its rule."""
    with sabotage.done() as harness:
        verdict = judge(RULES[sabotage.rule], harness)
    assert verdict.outcome is Outcome.FAILED, verdict
    assert "repair:" in verdict.message
    assert not isinstance(verdict.cause, NameError | ImportError), verdict.message


def test_every_rule_has_a_saboteur():
    """No rule is there that nobody has seen fail."""
    assert sorted(RULES.keys() - {sabotage.rule for sabotage in SABOTAGES}) == []
