"""What a control reads and writes: states, changes, capabilities."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from flagbrake.model.flag import Distribution, Flag, FlagRef, Serve, Targets


@dataclass(frozen=True, slots=True)
class FlagState:
    """A flag as read, with the vendor's own document and version, so that compare and restore are exact.

    ``version`` is opaque: equal versions mean equal definitions. ``native`` is the vendor's document as
    JSON data, kept whole.
    """

    ref: FlagRef
    flag: Flag
    version: str
    native: Any
    read_at: datetime


@dataclass(frozen=True, slots=True)
class SetOn:
    """Turn a flag on or off.

    ``off_variant`` also names the variant that it serves while off, in the same write, where the capability
    OFF_SERVES_SAFE is FULL; ``None`` leaves that as it is.
    """

    key: str
    on: bool
    off_variant: str | None = None


@dataclass(frozen=True, slots=True)
class SetDistribution:
    """Serve a distribution (or one variant) by default, or in one rule when ``rule`` names its id.

    ``turn_on`` switches the flag on in the same write, where the capability ATOMIC_ON_AND_SPLIT is FULL.
    """

    key: str
    serve: Serve
    rule: str | None = None
    turn_on: bool = False

    @property
    def distribution(self) -> Distribution | None:
        """The distribution, if it is not one variant."""
        return self.serve if isinstance(self.serve, Distribution) else None


@dataclass(frozen=True, slots=True)
class SetTargets:
    """Replace the individual targets of a flag."""

    key: str
    targets: tuple[Targets, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """Create a flag. Fails with Conflict if the key exists."""

    flag: Flag

    @property
    def key(self) -> str:
        """The flag's key."""
        return self.flag.key


@dataclass(frozen=True, slots=True)
class Replace:
    """Put a whole definition in place; with ``native``, the vendor's own document (exact restore)."""

    flag: Flag
    native: Any = None

    @property
    def key(self) -> str:
        """The flag's key."""
        return self.flag.key


@dataclass(frozen=True, slots=True)
class Archive:
    """Archive a flag: it is not served any more, its definition is kept."""

    key: str


Change = SetOn | SetDistribution | SetTargets | Create | Replace | Archive


class Capability(StrEnum):
    """What a control may be able to do. Every adapter declares every one."""

    READ = "read"
    LIST = "list"
    CREATE = "create"
    SET_ON = "set_on"
    SET_DISTRIBUTION = "set_distribution"
    SET_TARGETS = "set_targets"
    REPLACE = "replace"
    ARCHIVE = "archive"
    RULES = "rules"
    SEGMENTS = "segments"
    PREREQUISITES = "prerequisites"
    ATOMIC_ON_AND_SPLIT = "atomic_on_and_split"
    COMPARE_AND_SWAP = "compare_and_swap"
    NATIVE_RESTORE = "native_restore"
    OFF_SERVES_SAFE = "off_serves_safe"
    AUDIT = "audit"
    COMMENTS = "comments"


class Support(StrEnum):
    """How far an adapter goes. Anything but FULL must raise Unsupported, never do nothing."""

    FULL = "full"
    VENDOR_CANNOT = "vendor_cannot"
    NOT_YET = "not_yet"
