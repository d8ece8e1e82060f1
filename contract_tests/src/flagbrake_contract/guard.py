"""No quiet overrides: a subclass may add tests, but not replace, delete or empty those of the contract."""

from __future__ import annotations

from typing import Any

from flagbrake_contract.rules import RULES

#: What a subclass must leave alone.
KEPT = ("test_rule", "pytest_generate_tests", "areas", "contract_rules")


class QuietOverride(TypeError):
    """A test class of the contract was changed without saying so."""


def check_subclass(cls: type, namespace: dict[str, Any]) -> None:
    """Refuse a subclass that touches what the contract runs.

    Raises:
        QuietOverride: with the name and the cure.
    """
    touched = [name for name in KEPT if name in namespace]
    if touched and not cls.__module__.startswith("flagbrake_contract"):
        raise QuietOverride(
            f"{cls.__name__} replaces {', '.join(touched)} of the contract. Try: "
            "Harness(known_deviations={'rule.id': 'why, and where it is tracked'})"
        )


def check_deviations(deviations: dict[str, str]) -> list[str]:
    """What is wrong with a harness's known deviations: ids that are no rule, reasons that say nothing."""
    # Scenarios of the specification (`spec.`) are rules only in runs that were given its files.
    unknown = [f"{key} is no rule" for key in deviations if key not in RULES and not key.startswith("spec.")]
    silent = [f"{rule_id} has no reason" for rule_id, reason in deviations.items() if len(reason.split()) < 2]
    return unknown + silent
