"""The contract every flagbrake adapter must pass."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from flagbrake_contract.capability import ProviderCapability, all_but
    from flagbrake_contract.catalogue import CONTRACTS, all_rules
    from flagbrake_contract.contract import Contract, RuleBroken, StagedRule
    from flagbrake_contract.control import ControlContract
    from flagbrake_contract.evaluation import ProviderContract
    from flagbrake_contract.events import EventsContract
    from flagbrake_contract.guard import QuietOverride
    from flagbrake_contract.harness import Harness, Session, plain
    from flagbrake_contract.judging import Outcome, Verdict, judge
    from flagbrake_contract.kill import KillContract
    from flagbrake_contract.rules import Rule
    from flagbrake_contract.staging import staged

# pytest imports this package in every run of whoever has it installed: nothing is loaded before it is used.
_HOMES: Final = {
    "CONTRACTS": "catalogue",
    "Contract": "contract",
    "ControlContract": "control",
    "EventsContract": "events",
    "Harness": "harness",
    "KillContract": "kill",
    "Outcome": "judging",
    "ProviderCapability": "capability",
    "ProviderContract": "evaluation",
    "QuietOverride": "guard",
    "Rule": "rules",
    "RuleBroken": "contract",
    "Session": "harness",
    "StagedRule": "contract",
    "Verdict": "judging",
    "all_but": "capability",
    "all_rules": "catalogue",
    "judge": "judging",
    "plain": "harness",
    "staged": "staging",
}

__all__ = [
    "CONTRACTS",
    "Contract",
    "ControlContract",
    "EventsContract",
    "Harness",
    "KillContract",
    "Outcome",
    "ProviderCapability",
    "ProviderContract",
    "QuietOverride",
    "Rule",
    "RuleBroken",
    "Session",
    "StagedRule",
    "Verdict",
    "all_but",
    "all_rules",
    "judge",
    "plain",
    "staged",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
