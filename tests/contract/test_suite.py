"""The suite as a stranger meets it: a short file, readable failures, no quiet overrides, staged rules, a report."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from flagbrake.model.state import Support
from flagbrake_contract import (
    Outcome,
    ProviderCapability,
    ProviderContract,
    QuietOverride,
    Rule,
    all_but,
    all_rules,
    judge,
    staged,
)
from flagbrake_contract.docs import EXAMPLE
from flagbrake_contract.rules import Broken, Level
from flagbrake_contract.staging import is_due
from tests.contract.reference import reference

pytest_plugins = ("pytester",)
RULES = {rule.id: rule for rule in all_rules()}
QUIET = ("-p", "no:cacheprovider", "-p", "no:asyncio", "-q")

ADAPTER = '''
from flagbrake.testing import MemoryProvider
from openfeature.event import ProviderEventDetails


class MyVendor:
    """Somebody's flags."""

    url = "memory:"
    all = {}
    clients = []

    def put(self, flag):
        self.all[flag.key] = flag
        for client in self.clients:
            client.put(flag)

    def delete(self, key):
        del self.all[key]
        for client in self.clients:
            client.remove(key)


class MyProvider(MemoryProvider):
    """Somebody's provider, which has no name."""

    name = " "

    def __init__(self, url):
        super().__init__(MyVendor.all.values())
        MyVendor.clients.append(self)
'''
DECLARED = (
    "ALL = __import__('flagbrake_contract').all_but('stale', 'unavailable-init', 'authentication', 'hanging-init')\n"
)


def strangers_file(**replaced: str) -> str:
    """The file on the page, with the capabilities of a provider that has no vendor."""
    text = EXAMPLE.replace("remove=vendor.delete", "remove=vendor.delete, in_process=True, capabilities=ALL")
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return DECLARED + text


def test_a_strangers_eleven_lines_run_the_contract(pytester: pytest.Pytester):
    """The file on the page, beside an adapter: the rules run, one breach is reported with rule and repair."""
    pytester.makepyfile(my_adapter=ADAPTER)
    pytester.makepyfile(test_mine=strangers_file())
    result = pytester.runpytest_subprocess(*QUIET, "-rf")
    counts = result.parseoutcomes()
    assert counts["passed"] > 280
    assert counts["failed"] <= 3
    result.stdout.fnmatch_lines(
        [
            "Rule metadata.name is broken (MUST, specification 2.1.1).",
            "*rule:*The provider's metadata has a name*",
            "*expected: a name",
            "*came:*' '",
            "*repair:*return Metadata(name=...)*",
            "*read:*docs/contract.md, heading metadata.name",
        ]
    )


def test_the_report_says_what_was_kept(pytester: pytest.Pytester):
    """--contract-report writes one row per rule in Markdown, and everything in JSON; other formats are refused."""
    pytester.makepyfile(my_adapter=ADAPTER)
    pytester.makepyfile(test_mine=strangers_file())
    chosen = (*QUIET, "-k", "boolean_true or metadata.name or outage.rejected")
    pytester.runpytest_inprocess(*chosen, "--contract-report=report.md")
    text = (pytester.path / "report.md").read_text(encoding="utf-8")
    assert "| `values.boolean_true` | MUST, specification 2.2.3 | yes |" in text
    assert "| `metadata.name` | MUST, specification 2.1.1 | **no** |" in text
    assert "| `outage.rejected` | SHOULD, specification 2.4.2.1 | - |" in text
    pytester.runpytest_inprocess(*chosen, "--contract-report=report.json")
    data = json.loads((pytester.path / "report.json").read_text(encoding="utf-8"))
    rules = data["adapters"]["MyProvider"]["rules"]
    assert rules["values.boolean_true"]["outcome"] == "passed"
    assert "expected: a name" in rules["metadata.name"]["message"]
    refused = pytester.runpytest_inprocess(*chosen, "--contract-report=report.txt")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize("name", ["test_rule", "pytest_generate_tests", "areas", "contract_rules"])
def test_a_quiet_override_is_refused(name: str):
    """A subclass that replaces or empties what the contract runs is refused when it is defined, with the cure."""
    with pytest.raises(QuietOverride, match=f"replaces {name} of the contract.*known_deviations"):
        type("TestMine", (ProviderContract,), {name: None, "__module__": "test_mine"})


def test_adding_a_test_is_no_override():
    """A subclass may add tests of its own."""
    made = type("TestMine", (ProviderContract,), {"test_mine": lambda self: None, "__module__": "test_mine"})
    assert len(made.contract_rules()) == len(ProviderContract.contract_rules())


def test_contracts_add_up():
    """A subclass of several contracts runs the rules of all of them, each once."""
    from flagbrake_contract import CONTRACTS

    both = type("TestMine", CONTRACTS, {"__module__": "test_mine"})
    ids = [rule.id for rule in both.contract_rules()]
    assert len(ids) == len(set(ids)) == len(all_rules())


def broken_rule(**rest: object) -> Rule:
    """A rule that nobody keeps."""

    def check(_: object) -> None:
        raise Broken(1, 2)

    return Rule("values.nobody", "Nobody keeps it.", "give up", check, **rest)  # type: ignore[arg-type]


def test_a_staged_rule_reports_before_it_fails():
    """Before its version a broken staged rule is STAGED, from it on FAILED."""
    with reference() as harness:
        assert judge(broken_rule(required="99.0"), harness).outcome is Outcome.STAGED
        assert judge(broken_rule(required="0.1"), harness).outcome is Outcome.FAILED
        assert judge(broken_rule(), harness).outcome is Outcome.FAILED
    assert is_due("0.3", "0.10.1")
    assert not is_due("0.10", "0.9.7")


def test_staged_marks_a_check():
    """``@staged`` under ``@rule`` hands its version to the rule."""

    @staged(required="0.3")
    def check(_: object) -> None: ...

    assert check.__required__ == "0.3"


def test_a_known_deviation_is_shown_and_not_passed():
    """A broken rule with a known deviation is DEVIATION; one that holds fails (sabotage shows that)."""
    with reference(known_deviations={"values.nobody": "tracked in issue 7"}) as harness:
        verdict = judge(broken_rule(), harness)
    assert verdict.outcome is Outcome.DEVIATION
    assert verdict.message == "tracked in issue 7"


def test_what_is_not_declared_is_skipped_never_passed():
    """A rule of a capability below FULL is SKIPPED with the declaration as the reason."""
    with reference(capabilities=all_but(ProviderCapability.LARGE_INTEGERS)) as harness:
        verdict = judge(RULES["coercion.large_integer_as_float"], harness)
    assert verdict.outcome is Outcome.SKIPPED
    assert verdict.message == "large-integers is vendor_cannot"


@pytest.mark.parametrize("capability", list(ProviderCapability))
def test_a_capability_that_works_cannot_be_declared_away(capability: ProviderCapability):
    """Each capability has one witness; where it passes, anything but FULL is an unexpected success."""
    (witness,) = [rule for rule in all_rules() if rule.witness and rule.needs == (capability,)]
    with reference(capabilities=all_but(capability)) as harness:
        verdict = judge(witness, harness)
    assert verdict.outcome is Outcome.FAILED
    assert "declare it FULL" in verdict.message


def test_a_harness_without_a_tool_is_told_which():
    """A rule that needs a tool the harness does not have fails with the tool's name and both cures."""
    with reference(break_vendor=None) as harness:
        verdict = judge(RULES["stale.told"], harness)
    assert verdict.outcome is Outcome.FAILED
    assert "Harness(break_vendor=..., restore_vendor=...), or declare stale" in verdict.message
    assert verdict.message.startswith("Rule stale.told could not be asked: the harness lacks break_vendor")
    assert "is broken" not in verdict.message
    assert "emit" not in verdict.message, "the area's repair blames the adapter"


def test_a_refusal_is_asked_or_declared_never_passed_in_silence():
    """Without a way to be refused the rule fails; with the reason why there is none it is shown as not asked."""
    rule = RULES["refusals.not_allowed"]
    with reference(refuse={}) as harness:
        verdict = judge(rule, harness)
    assert verdict.outcome is Outcome.FAILED
    assert 'cannot_refuse={"NotAllowed"' in verdict.message
    for reason in ("a file asks nobody", {"NotAllowed": "a file asks nobody"}):
        with reference(refuse={}, cannot_refuse=reason) as harness:
            verdict = judge(rule, harness)
        assert verdict.outcome is Outcome.SKIPPED
        assert verdict.message == "the vendor never answers NotAllowed: a file asks nobody"
    with reference(refuse={}, cannot_refuse={"RetryLater": "no limits"}) as harness:
        assert judge(rule, harness).outcome is Outcome.FAILED


def test_all_but():
    """all_but declares every capability."""
    made = all_but(ProviderCapability.FORK, not_yet=(ProviderCapability.STALE,))
    assert set(made) == set(ProviderCapability)
    assert made[ProviderCapability.FORK] is Support.VENDOR_CANNOT
    assert made[ProviderCapability.STALE] is Support.NOT_YET


def test_an_exception_of_an_adapter_is_a_finding():
    """Whatever an adapter raises breaks the rule and is shown."""

    def check(_: object) -> None:
        raise KeyError("variant")

    with reference() as harness:
        verdict = judge(Rule("values.crash", "It answers.", "repair it", check, Level.MUST, "2.2.3"), harness)
    assert verdict.outcome is Outcome.FAILED
    assert "came:     KeyError: 'variant'" in verdict.message
    assert "(MUST, specification 2.2.3)" in verdict.message


def test_the_plugin_costs_others_nothing():
    """Loading the plugin imports no contract, no flagbrake and no OpenFeature."""
    code = (
        "import sys, flagbrake_contract.plugin\n"
        "print([m for m in sys.modules if m.startswith(('flagbrake.', 'openfeature', 'flagbrake_contract.c'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
