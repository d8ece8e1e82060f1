"""Runs one rule on one harness and says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version

from flagbrake.model.state import Support
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import Broken, Lacking, NotAsked, Rule, Said
from flagbrake_contract.staging import is_due


class Outcome(StrEnum):
    """What became of a rule. Only FAILED fails; none of the others counts as passed."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "not declared"
    DEVIATION = "known deviation"
    STAGED = "broken, staged"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome and its explanation in lines."""

    rule: Rule
    outcome: Outcome
    message: str = ""
    cause: BaseException | None = None


def judge(rule: Rule, harness: Harness) -> Verdict:
    """Run the rule. Never raises for a broken rule; what the harness's own tools raise is a breach as well."""
    lacking = [need for need in rule.needs if harness.support(need) is not Support.FULL]
    if lacking:
        return _undeclared(
            rule, harness, ", ".join(f"{need.value} is {harness.support(need).value}" for need in lacking)
        )
    error = _run(rule, harness)
    reason = harness.known_deviations.get(rule.id)
    match error:
        case None if reason is None:
            return Verdict(rule, Outcome.PASSED)
        case None:
            return _needless(rule, str(reason))
        case NotAsked():
            return Verdict(rule, Outcome.SKIPPED, str(error))
    return _broken(rule, error, reason)


def _needless(rule: Rule, reason: str) -> Verdict:
    broken = Broken(expected=reason, came=Said("the rule holds"), about="a known deviation that is none")
    return Verdict(rule, Outcome.FAILED, explain(rule, broken, cure="delete it from known_deviations"), broken)


def _broken(rule: Rule, error: Exception, reason: str | None) -> Verdict:
    if reason is not None:
        return Verdict(rule, Outcome.DEVIATION, reason, error)
    if not is_due(rule.required, version("flagbrake-contract")):
        later = f"\n  fails from flagbrake-contract {rule.required} on"
        return Verdict(rule, Outcome.STAGED, explain(rule, error) + later, error)
    return Verdict(rule, Outcome.FAILED, explain(rule, error), error)


def _undeclared(rule: Rule, harness: Harness, said: str) -> Verdict:
    if rule.witness and len(rule.needs) == 1 and _run(rule, harness) is None:
        broken = Broken(expected=Said(said), came=Said("the capability works"), about="an unexpected success")
        return Verdict(rule, Outcome.FAILED, explain(rule, broken, cure="declare it FULL"), broken)
    return Verdict(rule, Outcome.SKIPPED, said)


def _run(rule: Rule, harness: Harness) -> Exception | None:
    try:
        rule.check(harness)
    except Exception as error:  # noqa: BLE001 - whatever an adapter raises is the finding
        return error
    return None


def explain(rule: Rule, error: Exception, *, cure: str = "") -> str:
    """The failure as its reader needs it: the rule, what was expected, what came, how to repair it."""
    if isinstance(error, Lacking):
        return _lacking(rule, error)
    expected, came = "the rule holds", f"{type(error).__name__}: {error}"
    about = ""
    if isinstance(error, Broken):
        expected, came, about = error.expected, error.came, error.about
    lines = [
        f"Rule {rule.id} is broken ({rule.source}).",
        f"  rule:     {rule.text}",
        *([f"  in:       {about}"] if about else []),
        f"  expected: {expected}",
        f"  came:     {came}",
        f"  repair:   {cure or rule.repair}",
        f"  read:     docs/contract.md, heading {rule.id}",
    ]
    return "\n".join(lines)


def _lacking(rule: Rule, error: Lacking) -> str:
    """A missing tool is the test file's: the adapter is not blamed for what nobody asked it."""
    return "\n".join(
        [
            f"Rule {rule.id} could not be asked: the harness lacks {error.tool}. This says nothing of the adapter.",
            f"  rule:     {rule.text}",
            f"  expected: {error.expected}",
            f"  came:     {error.came}",
            f"  repair:   {error.cure}",
            f"  read:     docs/contract.md, heading {rule.id}",
        ]
    )
