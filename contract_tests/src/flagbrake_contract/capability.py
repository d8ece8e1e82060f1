"""What a provider may be able to do, in the vocabulary of OpenFeature's own conformance kit."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from flagbrake.model.state import Support


class ProviderCapability(StrEnum):
    """The first fifteen are the tags of the upstream provider TCK (specification, Appendix F); the rest are ours."""

    EVENTS = "events"
    LIFECYCLE = "lifecycle"
    STALE = "stale"
    CONFIGURATION_CHANGE = "configuration-change"
    OBJECT = "object"
    VARIANTS = "variants"
    DISABLED_FLAGS = "disabled-flags"
    UNAVAILABLE_INIT = "unavailable-init"
    NUMERIC_COERCION = "numeric-coercion"
    LARGE_INTEGERS = "large-integers"
    REINITIALIZATION = "reinitialization"
    TARGETING = "targeting"
    STANDARD_REASONS = "standard-reasons"
    STRING_TYPING = "string-typing"
    FULLY_TYPED_VALUES = "fully-typed-values"
    SPLITS = "splits"
    PREREQUISITES = "prerequisites"
    AUTHENTICATION = "authentication"
    HANGING_INIT = "hanging-init"
    FORK = "fork"
    KEYS = "keys"


#: Everything: what a harness declares unless it says otherwise.
ALL: Final[Mapping[ProviderCapability, Support]] = MappingProxyType(dict.fromkeys(ProviderCapability, Support.FULL))


def all_but(
    *cannot: ProviderCapability, not_yet: tuple[ProviderCapability, ...] = ()
) -> dict[ProviderCapability, Support]:
    """Every capability FULL, except those named: VENDOR_CANNOT, or NOT_YET."""
    return {**ALL, **dict.fromkeys(cannot, Support.VENDOR_CANNOT), **dict.fromkeys(not_yet, Support.NOT_YET)}
