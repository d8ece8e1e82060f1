"""The OpenFeature specification's own scenarios as rules: ``pytest --openfeature-spec PATH``.

PATH is a checkout of the specification, or the folder with its feature files and ``test-flags.json``. Needs the
extra ``flagbrake-contract[gherkin]``. Each scenario becomes one rule of every ProviderContract; what is excluded is
skipped with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Flag, Variant
from flagbrake.model.flag import Rule as Targeting
from flagbrake.model.values import FlagKind, kind_of
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import Level, Rule
from flagbrake_contract.steps import Step, perform, understood

FEATURES: Final = ("evaluation_v2", "hooks", "metadata", "contextMerging")
FLAGS: Final = "test-flags.json"
_INSIDE: Final = ("", "specification/assets/gherkin", "assets/gherkin")

#: Tag or part of a scenario's name -> why it is not run.
EXCLUSIONS: Final[Mapping[str, str]] = {
    "@provider-status": "about the status the SDK keeps; the provider's part are the lifecycle and outage rules",
    "@evaluation-options": "about options of the SDK's client; hooks.run holds for the provider's part",
    "@immutability": "about values of the SDK, which are mutable in Python by its own choice",
    "CACHED reason": "demands a provider that caches answers, which no requirement does",
    "Error message in evaluation details": "demands one wording, where 1.4.13 allows any; errors.not_found_message",
    "Returns no metadata": "a provider may add flag metadata of its own (2.2.9)",
}
_NO_METADATA: Final = "its flag carries metadata, which flags of flagbrake's model do not"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario as a rule, or why it is none."""

    rule: Rule
    excluded: str = ""


def scenarios(path: Path) -> list[Scenario]:
    """Every scenario of the feature files under ``path``, outlines expanded.

    Raises:
        InvalidInput: no feature file there, one that cannot be parsed, or the parser is not installed.
    """
    folder = next((path / inside for inside in _INSIDE if (path / inside / "evaluation_v2.feature").exists()), None)
    if folder is None or not (folder / FLAGS).exists():
        raise InvalidInput(
            f"No evaluation_v2.feature with {FLAGS} under {path}.",
            cure="give a checkout of open-feature/spec, or its specification/assets/gherkin",
        )
    flags, unusable = read_flags(json.loads((folder / FLAGS).read_text("utf-8")))
    found: list[Scenario] = []
    names: dict[str, int] = {}
    for feature in FEATURES:
        file = folder / f"{feature}.feature"
        for pickle in _pickles(file) if file.exists() else ():
            steps = [_step(step) for step in pickle["steps"]]
            tags = [tag["name"] for tag in pickle["tags"]]
            name = f"spec.{feature}.{_slug(pickle['name'], steps)}"
            names[name] = names.get(name, 0) + 1
            rule_id = name if names[name] == 1 else f"{name}_{names[name]}"
            made = _rule(rule_id, pickle["name"], steps, tags, flags)
            found.append(Scenario(made, _excluded(pickle["name"], tags, steps, unusable)))
    return found


def parameters(contract: type, path: Path) -> list[Any]:
    """The scenarios as parameters of the test of a ProviderContract; none for any other contract."""
    import pytest

    from flagbrake_contract.evaluation import ProviderContract

    if not issubclass(contract, ProviderContract):
        return []
    return [
        pytest.param(
            found.rule,
            id=found.rule.id,
            marks=[pytest.mark.skip(reason=f"excluded: {found.excluded}")] if found.excluded else [],
        )
        for found in scenarios(path)
    ]


def _pickles(file: Path) -> Iterator[dict[str, Any]]:
    try:
        from gherkin.errors import ParserError
        from gherkin.parser import Parser
        from gherkin.pickles.compiler import Compiler
    except ImportError as missing:
        raise InvalidInput(
            "gherkin-official is not installed.", cure="pip install 'flagbrake-contract[gherkin]'"
        ) from missing
    try:
        document: Any = Parser().parse(file.read_text("utf-8"))
        document["uri"] = file.name
        yield from cast("list[dict[str, Any]]", Compiler().compile(document))
    except ParserError as error:
        raise InvalidInput(f"{file.name} is no feature file: {error}", cure="give the files as published") from error


def _step(step: Mapping[str, Any]) -> Step:
    table = step.get("argument", {}).get("dataTable", {}).get("rows", [])
    return Step(step["text"], tuple(tuple(cell["value"] for cell in row["cells"]) for row in table))


_KEY = re.compile(r"[Aa]n? (\w+)-flag with key \"([^\"]*)\"")
_LEVEL = re.compile(r"\"(API|Transaction|Client|Invocation|Before Hooks)\" level")


def _slug(name: str, steps: Iterable[Step]) -> str:
    text = " ".join(step.text for step in steps)
    asked = _KEY.search(text)
    levels = [] if asked else _LEVEL.findall(text)
    told = asked.group(1).lower() if asked else levels[0] if len(levels) == 1 else ""
    return re.sub(r"[^a-z0-9]+", "_", f"{name} {told}".lower()).strip("_")


def _excluded(name: str, tags: list[str], steps: list[Step], unusable: Mapping[str, str]) -> str:
    for what, why in EXCLUSIONS.items():
        if what in tags or what in name:
            return why
    for step in steps:
        asked = _KEY.search(step.text)
        if asked and asked.group(2) in unusable:
            return unusable[asked.group(2)]
        if not understood(step):
            return f"its step is not known here: {step.text}"
    return ""


def _rule(rule_id: str, name: str, steps: list[Step], tags: list[str], flags: Mapping[str, Flag]) -> Rule:
    text = " ".join(step.text for step in steps)
    numbers = [tag.removeprefix("@spec-") for tag in tags if tag.startswith("@spec-")]
    needs = [cap for cap, why in _NEEDS.items() if why(text, flags)]
    soft = Cap.STANDARD_REASONS in needs or Cap.VARIANTS in needs

    def check(h: Harness) -> None:
        perform(h, steps, flags)

    return Rule(
        rule_id,
        f"{name}: {'; '.join(step.text for step in steps)}.",
        "compare with the scenario of this name in the specification's feature files",
        check,
        Level.SHOULD if soft else Level.MUST,
        ", ".join(numbers),
        tuple(needs),
    )


def _asks(text: str, flags: Mapping[str, Flag]) -> Flag | None:
    asked = _KEY.search(text)
    return flags.get(asked.group(2)) if asked else None


def _targeted(text: str, flags: Mapping[str, Flag]) -> bool:
    flag = _asks(text, flags)
    return flag is not None and bool(flag.rules)


def _disabled(text: str, flags: Mapping[str, Flag]) -> bool:
    flag = _asks(text, flags)
    return flag is not None and not flag.on


_NEEDS: Final[dict[Cap, Callable[[str, Mapping[str, Flag]], bool]]] = {
    Cap.OBJECT: lambda text, _: "bject-flag with key" in text,
    Cap.VARIANTS: lambda text, _: "the variant should be" in text or "hooks should be called with" in text,
    Cap.STANDARD_REASONS: lambda text, _: "the reason should be" in text and 'should be "ERROR"' not in text,
    Cap.FULLY_TYPED_VALUES: lambda text, _: "TYPE_MISMATCH" in text,
    Cap.TARGETING: _targeted,
    Cap.DISABLED_FLAGS: _disabled,
}


# --- the flags the scenarios ask for ---------------------------------------------------------------------


def read_flags(data: Mapping[str, Any]) -> tuple[dict[str, Flag], dict[str, str]]:
    """The flags of test-flags.json in our model, and by key why some are not among them."""
    flags: dict[str, Flag] = {}
    unusable: dict[str, str] = {}
    for key, definition in data.items():
        if definition.get("flagMetadata"):
            unusable[key] = _NO_METADATA
            continue
        default = definition.get("defaultVariant")
        variants = tuple(Variant(name, value) for name, value in definition["variants"].items())
        rules = _targeting(definition.get("contextEvaluator", ""))
        if default is None:
            unusable[key] = "its flag has no default variant"
        elif rules is None:
            unusable[key] = "its flag's targeting is an expression not understood here"
        else:
            kind = kind_of(dict(definition["variants"])[default]) or FlagKind.OBJECT
            on = not definition.get("disabled", False)
            flags[key] = Flag(key, kind, variants, default, on=on, rules=rules)
    return flags, unusable


_TERM = re.compile(r"""(?P<name>\w+)\s*(?P<op>==|>=|<=|>|<)\s*(?:'(?P<text>[^']*)'|(?P<number>-?\d+(?:\.\d+)?))""")
_COMPARISONS = {"==": Op.EQUAL, ">": Op.GREATER, ">=": Op.GREATER_OR_EQUAL, "<": Op.LESS, "<=": Op.LESS_OR_EQUAL}


def _targeting(expression: str) -> tuple[Targeting, ...] | None:
    """``TERM && TERM ? 'variant' : ''``, a term being ``name``, ``!name`` or a comparison; None for any other."""
    if not expression:
        return ()
    shape = re.fullmatch(r"\s*(.+?)\s*\?\s*'([^']+)'\s*:\s*''\s*", expression)
    clauses = [_clause(term.strip()) for term in shape.group(1).split("&&")] if shape else [None]
    if shape is None or None in clauses:
        return None
    return (Targeting("targeted", tuple(c for c in clauses if c is not None), shape.group(2)),)


def _clause(term: str) -> Clause | None:
    named = re.fullmatch(r"(!?)(\w+)", term)
    if named:
        return Clause(Attribute((named.group(2),)), Op.IS, (not named.group(1),))
    compared = _TERM.fullmatch(term)
    if compared is None:
        return None
    text, number = compared.group("text"), compared.group("number")
    value: Any = text if number is None else float(number) if "." in number else int(number)
    op = _COMPARISONS[compared.group("op")]
    if op is Op.EQUAL and text is not None:
        op = Op.IN
    return Clause(Attribute((compared.group("name"),)), op, (value,))
