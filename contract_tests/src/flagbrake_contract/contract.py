"""The base of every contract: one test per rule, named by the rule."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

import pytest

from flagbrake_contract.guard import check_subclass
from flagbrake_contract.harness import Harness
from flagbrake_contract.judging import Outcome, judge
from flagbrake_contract.rules import Broken, Rule, rules_of


class RuleBroken(AssertionError):
    """An adapter raised where a rule expected an answer."""


class StagedRule(UserWarning):
    """A staged rule is broken: it will fail in a later version."""


class Contract:
    """Subclass a contract (or several) and give a ``harness`` fixture: that is a whole test file.

    The class name of a contract ends in ``Contract`` so that pytest collects only subclasses.
    """

    #: The areas of rules this contract asserts.
    areas: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        check_subclass(cls, dict(vars(cls)))

    @classmethod
    def contract_rules(cls) -> list[Rule]:
        """The rules of this class and of every contract it inherits from."""
        areas = [name for base in cls.__mro__ for name in vars(base).get("areas", ())]
        return list(rules_of(areas).values())

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test per rule; the id of the test is the id of the rule."""
        if "contract_rule" in metafunc.fixturenames:
            rules: list[Any] = [pytest.param(rule, id=rule.id) for rule in self.contract_rules()]
            specification = metafunc.config.getoption("--openfeature-spec", None)
            if specification:
                from flagbrake_contract.gherkin import parameters

                rules += parameters(type(self), Path(specification))
            metafunc.parametrize("contract_rule", rules)

    def test_rule(self, harness: Harness, contract_rule: Rule, record_property: Any) -> None:
        """The rule holds."""
        __tracebackhide__ = True
        verdict = judge(contract_rule, harness)
        record_property("contract_rule", contract_rule.id)
        record_property("contract_outcome", verdict.outcome.value)
        record_property("contract_message", verdict.message)
        match verdict.outcome:
            case Outcome.FAILED:
                if isinstance(verdict.cause, Broken):
                    pytest.fail(verdict.message, pytrace=False)
                # Not a finding of the rule itself but something that broke in its way: where, is worth showing.
                raise RuleBroken(verdict.message) from verdict.cause
            case Outcome.SKIPPED:
                pytest.skip(verdict.message)
            case Outcome.DEVIATION:
                pytest.xfail(verdict.message)
            case Outcome.STAGED:
                warnings.warn(StagedRule(verdict.message), stacklevel=1)
                pytest.xfail(verdict.message)
            case Outcome.PASSED:
                pass
