"""Pure: what variants a feature has, what they are worth, and what share their weights are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from flagbrake.model.flag import Variant
from flagbrake.model.values import MISMATCH, USE_DEFAULT, WHOLE, FlagKind, kind_of
from flagbrake_unleash.payload import value_of_payload
from flagbrake_unleash.translate.strategies import Part, active, mark_of, owned_strategy

#: The variant of a feature that is on through a strategy without variants, where others have some.
ENABLED: Final = "enabled"


def variants_of(feature: Part) -> tuple[Variant, ...]:
    """The variants of all strategies that are asked, with their values, in the order that flagbrake noted."""
    strategies = active(feature)
    mark = mark_of(owned) if (owned := owned_strategy(feature)) is not None else {}
    listed = [*(feature.get("variants") or ()), *(v for s in strategies for v in s.get("variants") or ())]
    if not listed:
        named = mark.get("variants")
        if isinstance(named, dict) and sorted(named.values()) == [False, True]:
            return tuple(Variant(name, value) for name, value in named.items())
        return (Variant("on", value=True), Variant("off", value=False))
    found: dict[str, Any] = {}
    for variant in listed:
        value = value_of_payload(variant.get("payload"))
        found.setdefault(variant["name"], variant["name"] if value is MISMATCH else value)
    order = [name for name in mark.get("variants", ()) if name in found]
    variants = tuple(Variant(name, found[name]) for name in dict.fromkeys([*order, *found]))
    if not feature.get("variants") and any(not s.get("variants") for s in strategies):
        return (*variants, Variant(enabled_name(variants)))
    return variants


def enabled_name(variants: Sequence[Variant]) -> str:
    """What the variant is called of those who get none; no other has this name."""
    name = ENABLED
    while any(v.name == name and v.value is not USE_DEFAULT for v in variants):
        name += "-"
    return name


def kind_of_flag(variants: Sequence[Variant], mark: Part) -> FlagKind:
    """The kind that flagbrake noted, else the one that all values have."""
    if mark.get("kind") in set(FlagKind):
        return FlagKind(mark["kind"])
    kinds = {kind_of(v.value) for v in variants if v.value is not USE_DEFAULT}
    if kinds == {FlagKind.INTEGER, FlagKind.FLOAT}:
        return FlagKind.FLOAT
    # Flags of several kinds at once are what only objects can be.
    return (kinds.pop() if len(kinds) == 1 else None) or FlagKind.OBJECT


def shares_of_weights(variants: Sequence[Part]) -> list[int]:
    """Weights as shares of 100,000 that end where the weights end, to the nearest."""
    total = sum(v["weight"] for v in variants)
    if not total:
        return [0 for _ in variants]
    ends = [0, *((2 * end * WHOLE + total) // (2 * total) for end in accumulate(v["weight"] for v in variants))]
    return [after - before for before, after in pairwise(ends)]
