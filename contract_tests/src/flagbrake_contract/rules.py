"""A rule: a sentence, where it comes from, how to repair a breach, and the check itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from flagbrake.model.state import Capability
from flagbrake_contract.capability import ProviderCapability

if TYPE_CHECKING:
    from flagbrake_contract.harness import Harness

AnyCapability = ProviderCapability | Capability
Check = Callable[["Harness"], None]


class Level(StrEnum):
    """Who demands it, and how strongly."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    OURS = "flagbrake"


@dataclass(frozen=True, slots=True)
class Area:
    """A group of rules: the part of the id before the dot."""

    name: str
    title: str
    repair: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    ``needs`` are the capabilities it exercises. ``witness`` marks the rule that proves a capability: where
    the capability is declared less than FULL, a passing witness is an unexpected success. ``required`` is the
    minor version of flagbrake-contract from which a staged rule fails; before it, a breach is only reported.
    """

    id: str
    text: str
    repair: str
    check: Check = field(compare=False)
    level: Level = Level.OURS
    spec: str = ""
    needs: tuple[AnyCapability, ...] = ()
    witness: bool = False
    required: str = ""

    @property
    def area(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]

    @property
    def source(self) -> str:
        """``MUST, specification 2.2.3`` or ``flagbrake``."""
        return f"{self.level}, specification {self.spec}" if self.spec else str(self.level)


class Broken(AssertionError):
    """A rule did not hold: what was expected, what came."""

    def __init__(self, expected: object, came: object, about: str = "") -> None:
        self.expected = _shown(expected)
        self.came = _shown(came)
        self.about = about
        super().__init__(f"{about + ': ' if about else ''}expected {self.expected}, came {self.came}")


class Lacking(Broken):
    """A rule could not be asked because the test file lacks a tool: nothing is known of the adapter."""

    def __init__(self, tool: str, cure: str) -> None:
        self.tool = tool
        self.cure = cure
        super().__init__(Said(f"a harness with {tool}"), Said("a harness without"), "the harness")


class NotAsked(Exception):
    """A rule was not asked, for a reason that the test file declares or that is no fault: shown, never passed."""


class Said(str):
    """Prose inside ``expected`` or ``came``, shown without quotes."""

    __slots__ = ()


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, Said) else repr(value)
    return text if len(text) <= 400 else f"{text[:300]} ... {text[-60:]}"


#: Every rule by id, in the order of writing.
RULES: Final[dict[str, Rule]] = {}
#: Every area by name.
AREAS: Final[dict[str, Area]] = {}


def area(name: str, title: str, *, repair: str) -> None:
    """Announce a group of rules, with the repair that most breaches of it need."""
    AREAS[name] = Area(name, title, repair)


def add(  # noqa: PLR0913 - a rule has this many parts, all but two optional
    rule_id: str,
    check: Check,
    *,
    text: str,
    repair: str = "",
    level: Level | None = None,
    spec: str = "",
    needs: Iterable[AnyCapability] = (),
    witness: bool = False,
    required: str = "",
) -> Rule:
    """Register a rule; an id is used once."""
    if rule_id in RULES:
        raise ValueError(f"Rule {rule_id} exists.")
    name = rule_id.partition(".")[0]
    made = Rule(
        rule_id,
        " ".join(text.split()),
        " ".join((repair or AREAS[name].repair).split()),
        check,
        level or (Level.MUST if spec else Level.OURS),
        spec,
        tuple(needs),
        witness,
        required,
    )
    RULES[rule_id] = made
    return made


def rule(
    *needs: AnyCapability,
    spec: str = "",
    level: Level | None = None,
    witness: bool = False,
) -> Callable[[Check], Check]:
    """Register a function as a rule: ``area_some_name`` is rule ``area.some_name``.

    The docstring is the rule; what stands after ``Repair:`` in it is the cure. MUST when a specification
    number is given, unless ``level`` says otherwise.
    """

    def register(check: Check) -> Check:
        text, _, repair = inspect.cleandoc(check.__doc__ or "").partition("Repair:")
        rule_id = check.__name__.replace("_", ".", 1)
        required = getattr(check, "__required__", "")
        add(
            rule_id,
            check,
            text=text,
            repair=repair,
            level=level,
            spec=spec,
            needs=needs,
            witness=witness,
            required=required,
        )
        return check

    return register


def rules_of(areas: Iterable[str]) -> Mapping[str, Rule]:
    """The rules of these areas, in order of writing."""
    wanted = set(areas)
    return {key: made for key, made in RULES.items() if made.area in wanted}


# --- what a check says --------------------------------------------------------------------------------


def same(came: Any, expected: Any, about: str = "") -> None:
    """Equal and of the same types all the way down: ``True`` is not ``1`` and ``10`` is not ``10.0``."""
    if not exactly(came, expected):
        raise Broken(expected, came, about)


def exactly(came: Any, expected: Any) -> bool:
    """The comparison of :func:`same`. Lists and tuples, dicts and mappings are told apart as well."""
    if type(came) is not type(expected) and not (isinstance(came, str) and isinstance(expected, str)):
        return False
    if isinstance(expected, dict):
        return came.keys() == expected.keys() and all(exactly(came[k], v) for k, v in expected.items())
    if isinstance(expected, list):
        return len(came) == len(expected) and all(map(exactly, came, expected))
    return bool(came == expected)


def holds(condition: object, *, expected: object, came: object, about: str = "") -> None:
    """Any other condition, with its two sides spelled out."""
    if not condition:
        raise Broken(
            Said(expected) if isinstance(expected, str) else expected,
            Said(came) if isinstance(came, str) else came,
            about,
        )
