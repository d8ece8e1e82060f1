"""How much the contract suite is worth: rules, sabotages, the mutation score of a stored run."""

from __future__ import annotations

import argparse
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

from flagbrake_contract import Outcome, all_rules, judge
from tests.contract.mutation import STORED
from tests.contract.test_sabotage import SABOTAGES

PAGE = Path(__file__).parents[2] / "docs" / "contract.md"


def measure() -> dict[str, Any]:
    """Run every sabotage; read the page and the stored mutation run."""
    rules = {rule.id: rule for rule in all_rules()}
    headings = set(re.findall(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    missed = []
    # What saboteurs make the SDK say is no news; the rules about logs listen themselves.
    logging.lastResort = logging.NullHandler()  # type: ignore[assignment]  # any handler will do
    for sabotage in SABOTAGES:
        with sabotage.done() as harness:
            if judge(rules[sabotage.rule], harness).outcome is not Outcome.FAILED:
                missed.append(str(sabotage))
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    return {
        "sabotages": len(SABOTAGES),
        "sabotages_missed": len(missed),
        "rules": len(rules),
        "rules_without_heading": len(rules.keys() - headings),
        "mutation_score": stored.get("score"),
        "mutation_date": stored.get("date"),
        "mutants": stored.get("mutants"),
        "missed": missed,
    }


def main(argv: list[str]) -> int:
    """Print the figures, as lines or as one JSON object."""
    parser = argparse.ArgumentParser(prog="tests.bench contract", description=__doc__)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args(argv)
    started = time.monotonic()
    found = measure()
    if wanted.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:36} {value}")
        print(f"({time.monotonic() - started:.0f} s)")
    return 0
