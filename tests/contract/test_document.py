"""docs/contract.md is the specification: its headings are the rules, and each rule has a test of its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flagbrake_contract import CONTRACTS, all_rules
from flagbrake_contract.docs import EXAMPLE, page
from flagbrake_contract.rules import AREAS, RULES

pytest_plugins = ("pytester",)

PAGE = Path(__file__).parents[2] / "docs" / "contract.md"


def test_every_rule_is_a_heading_and_every_heading_a_rule():
    """The headings of the third level in docs/contract.md are exactly the rule ids, each once."""
    headings = re.findall(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(RULES)


def test_the_page_is_fresh():
    """docs/contract.md is what the rules generate now."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m flagbrake_contract.docs > docs/contract.md"


def test_every_rule_is_asserted_by_exactly_one_contract():
    """No area of rules is left out of the contracts, and none is in two."""
    asserted = [name for contract in CONTRACTS for name in contract.areas]
    assert sorted(asserted) == sorted(AREAS)
    assert {rule.area for rule in RULES.values()} == set(AREAS)


def test_the_test_ids_are_the_rule_ids(pytester: pytest.Pytester):
    """pytest lists one test per rule of a subclass, named by the rule."""
    pytester.makepyfile(
        """
        import pytest
        from flagbrake_contract import *

        @pytest.fixture
        def harness(): ...

        class TestAll(ProviderContract, EventsContract, KillContract, ControlContract): ...
        """
    )
    listed = pytester.runpytest("--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio").outlines
    ids = re.findall(r"TestAll::test_rule\[(.+)\]$", "\n".join(listed), re.MULTILINE)
    assert sorted(ids) == sorted(RULES)


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_a_rule_says_what_it_demands_and_how_to_repair_it(rule):
    """Each rule has a sentence that ends, and a repair."""
    assert rule.text.rstrip()[-1] in ".*"
    assert len(rule.repair.split()) >= 3


def test_a_strangers_whole_test_file_has_eleven_lines():
    """The example on the page is 11 lines of code."""
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) <= 11
