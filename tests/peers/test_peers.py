"""The comparison's own parts: bounded runs, what is no finding, and a page that is not stale."""

from __future__ import annotations

import json
import sys

import pytest

from flagbrake_contract import ProviderCapability
from flagbrake_contract.judging import Outcome, Verdict
from flagbrake_contract.rules import RULES, Broken, Said
from tests.peers import runner
from tests.peers.__main__ import PAGE, STORED, rules, stored
from tests.peers.child import NOT_EXPRESSIBLE, finding
from tests.peers.highlights import HIGHLIGHTS
from tests.peers.kit import NotExpressible
from tests.peers.known import KNOWN
from tests.peers.page import page

RULE = RULES["values.string_plain"]

CHILD = """
import json, os, sys, time
descriptor = int(sys.argv[2])
for rule in sys.stdin.read().split():
    def tell(**data): os.write(descriptor, (json.dumps({"rule": rule, **data}) + chr(10)).encode())
    tell(state="begun")
    if rule == "hangs": time.sleep(60)
    if rule == "dies": os._exit(9)
    tell(state="done", outcome="passed")
"""


def test_bounded() -> None:
    """A rule that does not end and one that takes the process with it are findings; the others run all the same."""
    command = [sys.executable, "-c", CHILD]
    found = runner.run("any", ["first", "hangs", "second", "dies", "third"], limit=1.0, command=command)
    assert {rule: one["outcome"] for rule, one in found.items()} == {
        "first": "passed",
        "hangs": "failed",
        "second": "passed",
        "dies": "failed",
        "third": "passed",
    }
    assert found["hangs"]["came"] == "no end within 1 s"
    assert found["dies"]["came"] == "the process died"


def test_silent_child() -> None:
    """A process that cannot even begin is an error of ours, not a finding."""
    with pytest.raises(RuntimeError, match="says nothing"):
        runner.run("any", ["first"], limit=5.0, command=[sys.executable, "-c", "raise SystemExit(1)"])


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no setting that a vendor reads by itself, reaches a provider."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("FLAGD_HOST", "elsewhere")
    given = runner.environment()
    assert "HTTPS_PROXY" not in given
    assert "FLAGD_HOST" not in given
    assert given["NO_PROXY"] == "*"


def test_findings() -> None:
    """What a format has no words for is no breach, even when the rule broke on the way; a tracked breach is one."""
    NotExpressible.seen.clear()
    broken = Broken("x", Said("y"), "here")
    assert finding(Verdict(RULE, Outcome.PASSED)) == {"outcome": "passed"}
    assert finding(Verdict(RULE, Outcome.SKIPPED, "no")) == {"outcome": "cannot", "came": "no"}
    assert finding(Verdict(RULE, Outcome.FAILED, "", broken)) == {
        "outcome": "failed",
        "expected": "'x'",
        "came": "here: y",
    }
    tracked = finding(Verdict(RULE, Outcome.DEVIATION, "why", broken))
    assert (tracked["outcome"], tracked["tracked"]) == ("failed", "why")
    try:
        NotExpressible("no words")
        assert finding(Verdict(RULE, Outcome.FAILED, "", broken)) == {"outcome": NOT_EXPRESSIBLE, "came": "no words"}
    finally:
        NotExpressible.seen.clear()


def test_highlights_exist() -> None:
    """Every rule that the page lifts out is a rule that is run, and is lifted out once."""
    lifted = [rule for _, group in HIGHLIGHTS for rule in group]
    assert set(lifted) <= set(rules())
    assert len(lifted) == len(set(lifted))


def test_known_differences_are_found() -> None:
    """What is known of published providers is found by a rule, in the stored run. Repair: make peers."""
    found = json.loads(STORED.read_text("utf-8"))["providers"]
    blind = [
        f"{what}: {rule} does not find it in {name}"
        for what, rule, names in KNOWN
        for name in names
        if found[name]["rules"][rule]["outcome"] != "failed"
    ]
    assert blind == []


def test_page_is_of_the_stored_run() -> None:
    """docs/comparison.md is what docs/proofs/comparison.json says. Repair: python -m tests.peers --page."""
    result = json.loads(STORED.read_text("utf-8"))
    assert page(result) == PAGE.read_text("utf-8")
    assert json.loads(stored(result)) == result


def test_page_marks() -> None:
    """A SHOULD is shown as a SHOULD, a vendor's limit with its reason, and a table's bar cannot break its row."""

    def provider(**outcomes: dict[str, str]) -> dict[str, object]:
        return {
            "title": "Acme",
            "packages": {"acme": "1"},
            "how": "so",
            "ours": False,
            "cannot": {ProviderCapability.STALE.value: "it keeps nothing"},
            "rules": {rule.replace("__", "."): found for rule, found in outcomes.items()},
        }

    failed = {"outcome": "failed", "expected": "a", "came": "a | b contract-flag-1-abcdef"}
    made = page(
        {
            "command": "make peers",
            "date": "2026-01-01T00:00:00+00:00",
            "python": "3",
            "openfeature-sdk": "0",
            "providers": {
                "acme": provider(
                    values__string_plain=failed,
                    reasons__static=failed,
                    stale__told={"outcome": "cannot", "came": ""},
                    keys__url={"outcome": NOT_EXPRESSIBLE, "came": "no words"},
                    errors__empty_key={"outcome": "passed"},
                )
            },
        }
    )
    rows = {line.split(" | ")[0]: line for line in made.splitlines() if line.startswith("| ")}
    assert rows["| " + RULES["values.string_plain"].text].endswith("| **no** |")
    assert rows["| " + RULES["reasons.static"].text].endswith("| no |")
    assert rows["| " + RULES["stale.told"].text].endswith("| - |")
    assert rows["| " + RULES["keys.url"].text].endswith("| n/e |")
    assert rows["| " + RULES["errors.empty_key"].text].endswith("| yes |")
    assert rows["| Acme"] == "| Acme | 0 | 1 | 0 | 1 | 1 | 0 | 1 | 1 |"
    assert "`a \\| b KEY`" in made
    assert "- cannot: stale: it keeps nothing" in made
    assert "- not expressible: no words (1 rule)" in made
    assert made.index("make peers") < made.index("| provider |")
