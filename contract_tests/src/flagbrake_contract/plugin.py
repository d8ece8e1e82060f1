"""The pytest plugin: readable failures and ``--contract-report=FILE``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

for _module in ("ask", "cases",
    "client", "concurrency", "context", "control", "evaluation", "events", "kill", "lifecycle",
                "refusals", "targeting"):  # fmt: skip
    pytest.register_assert_rewrite(f"flagbrake_contract.{_module}")

_MARKS = {
    "passed": "yes",
    "failed": "**no**",
    "not declared": "-",
    "known deviation": "deviation",
    "broken, staged": "staged",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--contract-report=FILE.md`` or ``FILE.json``, and ``--openfeature-spec=PATH``."""
    group = parser.getgroup("flagbrake contract")
    group.addoption(
        "--openfeature-spec",
        metavar="PATH",
        default=None,
        help="run the scenarios of the OpenFeature specification at PATH on every ProviderContract as well",
    )
    group.addoption(
        "--contract-report",
        metavar="FILE",
        default=None,
        help="write what every adapter keeps of the flagbrake contract to FILE (.md or .json)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a report format nobody knows, before the run."""
    target = config.getoption("--contract-report")
    if target and Path(target).suffix not in (".md", ".json"):
        raise pytest.UsageError(f"--contract-report={target}: the report is .md or .json.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the report."""
    target = config.getoption("--contract-report")
    if not target:
        return
    reports = (r for kind in ("passed", "failed", "skipped", "xfailed") for r in terminalreporter.getreports(kind))
    found = collect(reports)
    path = Path(target)
    text = as_json(found) if path.suffix == ".json" else as_markdown(found)
    path.write_text(text, encoding="utf-8")
    terminalreporter.write_line(f"contract report: {path}")


Findings = dict[str, dict[str, tuple[str, str]]]


def collect(reports: Iterable[object]) -> Findings:
    """Adapter (test class) -> rule id -> (outcome, message)."""
    found: Findings = {}
    for report in reports:
        said = dict(getattr(report, "user_properties", ()))
        if getattr(report, "when", "") == "call" and "contract_rule" in said:
            adapter = str(getattr(report, "nodeid", "")).split("::")[-2].removeprefix("Test")
            outcome = (str(said["contract_outcome"]), str(said["contract_message"]))
            found.setdefault(adapter, {})[str(said["contract_rule"])] = outcome
    return found


def as_json(found: Findings) -> str:
    """The findings and their counts."""
    adapters = {
        name: {
            "counts": _counts(rules),
            "rules": {rule: {"outcome": outcome, "message": message} for rule, (outcome, message) in rules.items()},
        }
        for name, rules in sorted(found.items())
    }
    return json.dumps({"adapters": adapters}, indent=2, ensure_ascii=False) + "\n"


def as_markdown(found: Findings) -> str:
    """One row per rule, one column per adapter."""
    from flagbrake_contract.catalogue import all_rules

    adapters = sorted(found)
    known = {rule.id: rule for rule in all_rules()}
    head = "| rule | from | " + " | ".join(adapters) + " |"
    lines = ["# What keeps the flagbrake contract", "", head, "| --- " * (len(adapters) + 2) + "|"]
    totals = [_counts(found[name]) for name in adapters]
    for outcome, mark in _MARKS.items():
        counts = " | ".join(str(total.get(outcome, 0)) for total in totals)
        lines.append(f"| all: {outcome} ({mark}) | | {counts} |")
    for rule_id, made in known.items():
        if any(rule_id in found[name] for name in adapters):
            marks = " | ".join(_MARKS.get(found[name].get(rule_id, ("", ""))[0], "") for name in adapters)
            lines.append(f"| `{rule_id}` | {made.source} | {marks} |")
    return "\n".join(lines) + "\n"


def _counts(rules: dict[str, tuple[str, str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for outcome, _ in rules.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts
