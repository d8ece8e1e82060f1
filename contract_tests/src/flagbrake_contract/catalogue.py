"""Every contract and every rule."""

from __future__ import annotations

from flagbrake_contract.contract import Contract
from flagbrake_contract.control import ControlContract
from flagbrake_contract.evaluation import ProviderContract
from flagbrake_contract.events import EventsContract
from flagbrake_contract.kill import KillContract
from flagbrake_contract.rules import RULES, Rule

#: The contracts, in the order of docs/contract.md.
CONTRACTS: tuple[type[Contract], ...] = (ProviderContract, EventsContract, KillContract, ControlContract)


def all_rules() -> tuple[Rule, ...]:
    """Every rule, in the order of docs/contract.md."""
    areas = [name for contract in CONTRACTS for name in contract.areas]
    # An area may be written in several modules, and which is imported first is anybody's affair.
    return tuple(
        sorted(RULES.values(), key=lambda rule: (areas.index(rule.area), getattr(rule.check, "__module__", "")))
    )
