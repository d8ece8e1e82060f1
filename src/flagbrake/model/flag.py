"""A flag, as every vendor's flag is read into and written from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from flagbrake.model.clause import USER, Attribute, Clause, OffFlag
from flagbrake.model.values import USE_DEFAULT, WHOLE, FlagKind

#: Our own bucketing: ``murmur3_x86_32(f"{salt}/{unit}") * 100000 >> 32``; the salt defaults to the flag key.
DEFAULT_BUCKETING: Final = "flagbrake-1"


@dataclass(frozen=True, slots=True)
class FlagRef:
    """The full name of one flag in one environment of one provider; keys every state, row and audit entry."""

    provider: str
    project: str
    environment: str
    key: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.project}/{self.environment}/{self.key}"


@dataclass(frozen=True, slots=True)
class Variant:
    """A named value. Without one it serves the caller's default, under its name (Unleash's ``disabled``)."""

    name: str
    value: Any = USE_DEFAULT


@dataclass(frozen=True, slots=True)
class Bucketing:
    """How a unit becomes a bucket: algorithm id, its inputs, and the attribute that names the unit.

    Which of ``salt``, ``seed`` and ``group`` an algorithm reads is the algorithm's affair; an import keeps
    all that the vendor had. An empty ``salt`` means the flag's key. Where the context has the attribute
    ``override`` it names the unit in place of ``attribute`` (Split's bucketing key). ``buckets`` is how many
    the algorithm deals into, where that is a flag's own affair (Unleash's variants).
    """

    algorithm: str = DEFAULT_BUCKETING
    salt: str = ""
    seed: int | None = None
    group: str | None = None
    attribute: Attribute = field(default_factory=Attribute)
    override: Attribute | None = None
    buckets: int | None = None


@dataclass(frozen=True, slots=True)
class Weight:
    """A variant's share, an integer of 100,000."""

    variant: str
    share: int


@dataclass(frozen=True, slots=True)
class Gate:
    """A share of units that take part at all, hashed apart (Split's traffic allocation, Unleash's rollout).

    The rest get ``outside``; where it is ``None`` the rule is none for them, and they go on to the next one.
    """

    share: int
    bucketing: Bucketing
    outside: str | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Weighted variants. Order matters: shares are laid end to end, so raising the first only adds units to it."""

    weights: tuple[Weight, ...]
    bucketing: Bucketing = field(default_factory=Bucketing)
    gate: Gate | None = None

    def share(self, variant: str) -> int:
        """The share of one variant, 0 when it is not listed."""
        return sum(w.share for w in self.weights if w.variant == variant)

    @property
    def total(self) -> int:
        """100,000 in a valid distribution."""
        return sum(w.share for w in self.weights)


#: What a rule or a flag serves: one variant by name, or a distribution.
Serve = str | Distribution


@dataclass(frozen=True, slots=True)
class Targets:
    """Units named one by one, per context kind; asked before any rule."""

    variant: str
    keys: tuple[str, ...]
    kind: str = USER


@dataclass(frozen=True, slots=True)
class Rule:
    """All clauses true -> serve. Rules are asked in order, the first match wins."""

    id: str
    clauses: tuple[Clause, ...]
    serve: Serve
    description: str = ""


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """Another flag that must serve one of these variants, else this flag serves its off variant."""

    flag: str
    variants: tuple[str, ...]
    off_flag: OffFlag = OffFlag.UNMET


@dataclass(frozen=True, slots=True)
class SegmentRule:
    """All clauses true (and, with a share, the unit inside it) -> member."""

    clauses: tuple[Clause, ...]
    share: int = WHOLE
    bucketing: Bucketing = field(default_factory=Bucketing)


@dataclass(frozen=True, slots=True)
class KeySet:
    """Units of one context kind, by key."""

    keys: tuple[str, ...]
    kind: str = USER


@dataclass(frozen=True, slots=True)
class Segment:
    """A named set of units: included, else excluded (by key or as members of other segments), else any rule."""

    key: str
    included: tuple[KeySet, ...] = ()
    excluded: tuple[KeySet, ...] = ()
    rules: tuple[SegmentRule, ...] = ()
    description: str = ""
    version: int = 0
    excluded_segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag in one environment.

    Answer: off -> off variant (the caller's default when there is none); a failed prerequisite -> off
    variant; targets; rules in order; default serve.
    """

    key: str
    kind: FlagKind
    variants: tuple[Variant, ...]
    default: Serve
    on: bool = True
    off_variant: str | None = None
    targets: tuple[Targets, ...] = ()
    rules: tuple[Rule, ...] = ()
    prerequisites: tuple[Prerequisite, ...] = ()
    tags: tuple[str, ...] = ()
    description: str = ""
    archived: bool = False
    version: int = 0

    def variant(self, name: str) -> Variant | None:
        """The variant of this name, if there is one."""
        return next((v for v in self.variants if v.name == name), None)

    @property
    def variant_names(self) -> tuple[str, ...]:
        """The names in order."""
        return tuple(v.name for v in self.variants)

    @property
    def valueless(self) -> tuple[str, ...]:
        """The variants that serve the caller's default."""
        return tuple(v.name for v in self.variants if v.value is USE_DEFAULT)

    def valued(self) -> Flag:
        """The same with null for every value that is missing, for vendors whose variants all have one."""
        variants = (Variant(v.name, None) if v.value is USE_DEFAULT else v for v in self.variants)
        return replace(self, variants=tuple(variants)) if self.valueless else self

    @classmethod
    def boolean(cls, key: str, *, on: bool = True, default: str = "on", **rest: Any) -> Flag:
        """A flag with the variants ``on`` (True) and ``off`` (False); off serves ``off``."""
        variants = (Variant("on", True), Variant("off", False))
        return cls(key, FlagKind.BOOLEAN, variants, default, on=on, off_variant="off", **rest)


def ramp(variant: str, share: int, rest: str, bucketing: Bucketing | None = None) -> Distribution:
    """``share`` of 100,000 to ``variant``, the remainder to ``rest``; growing it never moves a unit back."""
    weights = (Weight(variant, share), Weight(rest, WHOLE - share))
    return Distribution(weights, bucketing or Bucketing())
