"""Scenarios become rules, hold for what keeps them, and are missed for what does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.transaction_context import get_transaction_context

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import Op
from flagbrake.testing import MemoryProvider
from flagbrake_contract import Harness, Outcome, ProviderCapability, ProviderContract, all_but, judge
from flagbrake_contract.gherkin import parameters, read_flags, scenarios
from flagbrake_contract.kill import KillContract
from flagbrake_contract.rules import Level

pytest_plugins = ("pytester",)

FEATURES = Path(__file__).parent / "features"
FOUND = {scenario.rule.id: scenario for scenario in scenarios(FEATURES)}
RUN = {key: scenario.rule for key, scenario in FOUND.items() if not scenario.excluded}


@pytest.fixture
def harness() -> Iterator[Harness]:
    """The memory provider, its vendor being the provider itself."""
    with memory(MemoryProvider) as made:
        yield made


def memory(kind: type[MemoryProvider]) -> Harness:
    """A harness of one class of provider."""
    made: list[MemoryProvider] = []

    def make() -> MemoryProvider:
        made.append(kind())
        return made[-1]

    def seed(flag: object) -> None:
        for provider in made:
            provider.put(flag)

    return Harness(make, seed)


@pytest.mark.parametrize("rule_id", RUN)
def test_scenarios_hold(harness: Harness, rule_id: str) -> None:
    """Every scenario that is not excluded holds for a provider that keeps the contract."""
    assert harness.provider
    verdict = judge(RUN[rule_id], harness)
    assert verdict.outcome is Outcome.PASSED, verdict.message


def test_ids() -> None:
    """A scenario's rule is named by its file, its name and the type or level it asks for."""
    assert "spec.evaluation_v2.something_is_answered_boolean" in FOUND
    assert "spec.hooks.a_visitor_sees_a_mistake_boolean" in FOUND
    assert "spec.contextMerging.one_level_speaks_before_hooks" in FOUND
    assert len(FOUND) == 20


def test_exclusions() -> None:
    """What is not run says why: the specification's own exclusions, unusable flags, unknown steps."""
    why = {key.rpartition(".")[2]: scenario.excluded for key, scenario in FOUND.items() if scenario.excluded}
    assert "status the SDK keeps" in why["the_house_is_closed"]
    assert "metadata" in why["it_carries_a_label_boolean"]
    assert "no default variant" in why["it_serves_nothing_boolean"]
    assert "not understood" in why["it_asks_for_a_function_boolean"]
    assert "the house was painted" in why["a_step_of_another_age"]
    assert len(why) == 5


def test_levels_numbers_and_needs() -> None:
    """Requirement numbers come from the tags; reasons and variants are SHOULD; needs follow from what is asked."""
    answered = RUN["spec.evaluation_v2.something_is_answered_object"]
    assert (answered.level, answered.spec) == (Level.SHOULD, "1.4.3, 1.4.5")
    assert set(answered.needs) == {
        ProviderCapability.OBJECT,
        ProviderCapability.VARIANTS,
        ProviderCapability.STANDARD_REASONS,
    }
    assert RUN["spec.evaluation_v2.nobody_made_it_integer"].level is Level.MUST
    assert ProviderCapability.TARGETING in RUN["spec.evaluation_v2.a_rule_is_met_string"].needs
    assert ProviderCapability.DISABLED_FLAGS in RUN["spec.evaluation_v2.it_is_switched_off_integer"].needs


class _Twisted(MemoryProvider):
    """Answers with another value, variant and reason than the flag's, and loses the context."""

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return FlagResolutionDetails(False, reason="STATIC", variant="dark")


@pytest.mark.parametrize(
    "rule_id",
    [
        "spec.evaluation_v2.something_is_answered_boolean",
        "spec.hooks.a_visitor_sees_the_lamp_boolean",
        "spec.hooks.a_visitor_sees_a_mistake_boolean",
    ],
)
def test_breach(rule_id: str) -> None:
    """A provider that answers otherwise breaks the scenario."""
    with memory(_Twisted) as harness:
        assert harness.provider
        assert judge(RUN[rule_id], harness).outcome is Outcome.FAILED


def test_lost_level(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A context that does not reach the provider breaks the scenario of its level."""
    monkeypatch.setattr("flagbrake_contract.steps.set_transaction_context", lambda context: None)
    verdict = judge(RUN["spec.contextMerging.one_level_speaks_transaction"], harness)
    assert verdict.outcome is Outcome.FAILED
    assert "'attic'" in verdict.message


def test_leaves_nothing(harness: Harness) -> None:
    """Contexts of the API and of the transaction end with their scenario."""
    for rule_id, rule in RUN.items():
        if rule_id.startswith("spec.contextMerging"):
            judge(rule, harness)
    assert api.get_evaluation_context() == EvaluationContext()
    assert get_transaction_context() == EvaluationContext()


def test_capability() -> None:
    """A scenario about something that is not declared is skipped."""
    harness = Harness(MemoryProvider, lambda flag: None, capabilities=all_but(ProviderCapability.DISABLED_FLAGS))
    verdict = judge(RUN["spec.evaluation_v2.it_is_switched_off_integer"], harness)
    assert verdict.outcome is Outcome.SKIPPED


def test_only_providers() -> None:
    """Scenarios join ProviderContract and no other contract; excluded ones are marked as skipped."""
    given = parameters(type("TestMine", (ProviderContract,), {}), FEATURES)
    assert {one.id for one in given} == set(FOUND)
    assert sum(bool(one.marks) for one in given) == 5
    assert parameters(type("TestMine", (KillContract,), {}), FEATURES) == []


def test_expressions() -> None:
    """Targeting is read when it is a conjunction of names and comparisons, in every form."""
    expression = "a == 'x' && !b && c && d > 1 && e <= 2.5 && f == 3 ? 'on' : ''"
    definition = {"variants": {"on": True}, "defaultVariant": "on", "contextEvaluator": expression}
    flags, unusable = read_flags({"k": definition})
    clauses = flags["k"].rules[0].clauses
    assert not unusable
    assert [(c.op, c.values) for c in clauses] == [
        (Op.IN, ("x",)),
        (Op.IS, (False,)),
        (Op.IS, (True,)),
        (Op.GREATER, (1,)),
        (Op.LESS_OR_EQUAL, (2.5,)),
        (Op.EQUAL, (3,)),
    ]


def test_no_files(tmp_path: Path) -> None:
    """A path without the files is refused with what to give."""
    with pytest.raises(InvalidInput, match=r"evaluation_v2\.feature"):
        scenarios(tmp_path)
    checkout = tmp_path / "specification" / "assets" / "gherkin"
    checkout.mkdir(parents=True)
    for file in FEATURES.iterdir():
        (checkout / file.name).write_text(file.read_text("utf-8"), "utf-8")
    assert len(scenarios(tmp_path)) == 20
    (checkout / "hooks.feature").write_text("Nonsense\n", "utf-8")
    with pytest.raises(InvalidInput, match=r"hooks\.feature"):
        scenarios(tmp_path)


def test_option(pytester: pytest.Pytester) -> None:
    """``pytest --openfeature-spec PATH`` runs the scenarios on a test file of one class."""
    pytester.makepyfile(
        test_mine="""
        import pytest
        from tests.contract_gherkin.test_scenarios import memory
        from flagbrake.testing import MemoryProvider
        from flagbrake_contract import ProviderContract

        @pytest.fixture
        def harness():
            with memory(MemoryProvider) as made:
                made.provider
                yield made

        class TestMine(ProviderContract): ...
        """
    )
    root = str(Path(__file__).parents[2])
    arguments = ("-k", "spec.", "-o", f"pythonpath={root}", "-p", "no:cacheprovider")
    result = pytester.runpytest_subprocess("--openfeature-spec", str(FEATURES), *arguments)
    result.assert_outcomes(passed=15, skipped=5)
    pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=0)
