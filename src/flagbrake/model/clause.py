"""Conditions: one clause model for every vendor, with the semantics spelled out as fields."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

#: The path of the unit's own key inside a context kind.
TARGETING_KEY: Final = "targetingKey"
#: The context kind of the evaluation context itself.
USER: Final = "user"
#: The kind of a structure at the attribute ``user``, whose own name is taken by the evaluation context.
USER_STRUCTURE: Final = "/user"


def structure_of(kind: str) -> str:
    """The attribute at which contexts of another kind stand."""
    return USER if kind == USER_STRUCTURE else kind


@dataclass(frozen=True, slots=True)
class Attribute:
    """Where a clause or a bucketing reads: a context kind and a path inside it.

    Kind ``user`` is the evaluation context itself. Any other kind ``K`` is the nested structure found at
    the attribute ``K``, whose own key is its ``targetingKey`` entry: one rule for LaunchDarkly's
    multi-kind contexts. The structure at the attribute ``user`` is of kind ``/user``, for vendors whose unit is
    no user. A one-element path is looked up literally (dots have no meaning).
    """

    path: tuple[str, ...] = (TARGETING_KEY,)
    kind: str = USER

    @classmethod
    def parse(cls, text: str) -> Attribute:
        """``country``, ``/org/name`` (nested), ``org:country`` (of context kind ``org``)."""
        kind, colon, rest = text.partition(":")
        if not colon:
            kind, rest = USER, text
        if rest.startswith("/"):
            parts = (p.replace("~1", "/").replace("~0", "~") for p in rest[1:].split("/"))
            return cls(tuple(parts), kind)
        return cls((rest,), kind)

    def __str__(self) -> str:
        if len(self.path) == 1 and not self.path[0].startswith("/"):
            text = self.path[0]
        else:
            text = "".join("/" + p.replace("~", "~0").replace("/", "~1") for p in self.path)
        return text if self.kind == USER and ":" not in text else f"{self.kind}:{text}"


class Op(StrEnum):
    """Every operator of every supported vendor, under one name."""

    IN = "in"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    CONTAINS = "contains"
    MATCHES = "matches"
    EQUAL = "equal"
    LESS = "less"
    LESS_OR_EQUAL = "less_or_equal"
    GREATER = "greater"
    GREATER_OR_EQUAL = "greater_or_equal"
    BETWEEN = "between"
    IS = "is"
    BEFORE = "before"
    AFTER = "after"
    ON = "on"
    ON_OR_BEFORE = "on_or_before"
    ON_OR_AFTER = "on_or_after"
    BETWEEN_DATES = "between_dates"
    SEMVER_EQUAL = "semver_equal"
    SEMVER_LESS = "semver_less"
    SEMVER_LESS_OR_EQUAL = "semver_less_or_equal"
    SEMVER_GREATER = "semver_greater"
    SEMVER_GREATER_OR_EQUAL = "semver_greater_or_equal"
    SEMVER_BETWEEN = "semver_between"
    SEMVER_IN = "semver_in"
    SET_EQUAL = "set_equal"
    SET_ANY = "set_any"
    SET_ALL = "set_all"
    SET_PART = "set_part"
    IN_CIDR = "in_cidr"
    PRESENT = "present"
    SEGMENT = "segment"
    FLAG = "flag"
    ALWAYS = "always"


class OnMissing(StrEnum):
    """What a clause is when its attribute is absent (or null)."""

    NO_MATCH = "no_match"  # false, even negated: LaunchDarkly, ours
    AS_FALSE = "as_false"  # false, so true when negated: Split, Unleash


class Coercion(StrEnum):
    """How an attribute of another type is read."""

    STRICT = "strict"  # "5" is not 5
    DOUBLE = "double"  # as strict, and numbers are ordered as 64-bit floats (LaunchDarkly)
    SPLIT = "split"  # strings to int, everything to str for string matchers
    UNLEASH = "unleash"  # everything travels as a string


class ListMode(StrEnum):
    """What a list-valued attribute means to an operator on scalars."""

    ANY = "any"  # true if any element matches
    NONE = "none"  # a list matches nothing
    WHOLE = "whole"  # the list is one value: its JSON text (Split, Unleash)


class Case(StrEnum):
    """Letter case in string operators."""

    SENSITIVE = "sensitive"
    INSENSITIVE = "insensitive"


class Regex(StrEnum):
    """Which engine's dialect a pattern is written for; all search, none anchors."""

    PYTHON = "python"
    RUST = "rust"


class Semver(StrEnum):
    """Which versions are accepted."""

    STRICT = "strict"  # x.y.z only
    LENIENT = "lenient"  # 2 and 2.0 are 2.0.0 (LaunchDarkly)
    SPLIT = "split"  # strict, surrounding blanks allowed, equality is textual (build included)


class Dates(StrEnum):
    """How an attribute and a literal are read as a moment."""

    RFC3339_OR_MILLIS = "rfc3339_or_millis"  # ours
    ISO_OR_MILLIS = "iso_or_millis"  # any ISO 8601 form with an offset, compared as floats (LaunchDarkly)
    EPOCH_SECONDS = "epoch_seconds"  # Split: attribute in s, literal in ms, truncated to minute or day
    ISO = "iso"  # ISO 8601 as chrono reads it; ``currentTime`` is now where the context names none (Unleash)


class Contexts(StrEnum):
    """When a context kind exists, and what it holds besides its attributes."""

    OPEN = "open"  # whatever stands at the kind's attribute
    KEYED = "keyed"  # with a key only, and ``kind``, ``name`` and ``anonymous`` are its own (LaunchDarkly)


class OffFlag(StrEnum):
    """What another flag that is off counts as when it is asked.

    One that is on and stopped by its own prerequisites counts as its off variant, which it serves.
    """

    UNMET = "unmet"  # it serves nothing: LaunchDarkly, ours, and Unleash where the other flag must be on
    SERVES = "serves"  # it serves its off variant: Split
    MET = "met"  # it is what is asked for: Unleash where the other flag must not be on


@dataclass(frozen=True, slots=True)
class Semantics:
    """The traps between vendors as explicit fields. Evaluator and migration compiler read only these."""

    on_missing: OnMissing = OnMissing.NO_MATCH
    coercion: Coercion = Coercion.STRICT
    list_mode: ListMode = ListMode.ANY
    case: Case = Case.SENSITIVE
    regex: Regex = Regex.PYTHON
    semver: Semver = Semver.STRICT
    dates: Dates = Dates.RFC3339_OR_MILLIS
    off_flag: OffFlag = OffFlag.UNMET
    contexts: Contexts = Contexts.OPEN


OURS: Final = Semantics()
LAUNCHDARKLY: Final = Semantics(
    coercion=Coercion.DOUBLE, semver=Semver.LENIENT, dates=Dates.ISO_OR_MILLIS, contexts=Contexts.KEYED
)
SPLIT: Final = Semantics(
    on_missing=OnMissing.AS_FALSE,
    coercion=Coercion.SPLIT,
    list_mode=ListMode.WHOLE,
    semver=Semver.SPLIT,
    dates=Dates.EPOCH_SECONDS,
    off_flag=OffFlag.SERVES,
)
UNLEASH: Final = Semantics(
    on_missing=OnMissing.AS_FALSE,
    coercion=Coercion.UNLEASH,
    list_mode=ListMode.WHOLE,
    regex=Regex.RUST,
    dates=Dates.ISO,
)

#: Named presets of :class:`Semantics`; a clause written by hand names one and may override fields.
DIALECTS: Final = MappingProxyType({"ours": OURS, "launchdarkly": LAUNCHDARKLY, "split": SPLIT, "unleash": UNLEASH})


@dataclass(frozen=True, slots=True)
class Clause:
    """``attribute op values``, optionally negated. Several values mean "any of them"."""

    attribute: Attribute
    op: Op
    values: tuple[Any, ...] = ()
    negate: bool = False
    semantics: Semantics = field(default=OURS)

    def negated(self) -> Clause:
        """The same clause with the opposite sense."""
        return replace(self, negate=not self.negate)
