"""Pure: what variants a feature has, what they are worth, and what share their weights are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from flagbrake.model.flag import Variant
from flagbrake.model.values import MISMATCH, USE_DEFAULT, WHOLE, FlagKind, coerce, kind_of
from flagbrake_unleash.payload import value_of_payload
from flagbrake_unleash.translate.strategies import Part, active, mark_of, owned_strategy

#: The variant of a feature that is on through a strategy without variants, where others have some.
ENABLED: Final = "enabled"


def variants_of(feature: Part) -> tuple[Variant, ...]:
    """The variants of all strategies that are asked, with their values, in the order that flagbrake noted."""
    strategies = active(feature)
    mark = mark_of(owned) if (owned := owned_strategy(feature)) is not None else {}
    worths = {name: worth(name, payload) for name, payload in payloads_of(feature).items()}
    if not worths:
        named = mark.get("variants")
        if isinstance(named, dict) and sorted(named.values()) == [False, True]:
            return tuple(Variant(name, value) for name, value in named.items())
        return (Variant("on", value=True), Variant("off", value=False))
    order = [name for name in mark.get("variants", ()) if name in worths]
    variants = tuple(Variant(name, worths[name]) for name in dict.fromkeys([*order, *worths]))
    if not feature.get("variants") and any(not s.get("variants") for s in strategies):
        return (*variants, Variant(enabled_name(variants)))
    return variants


def payloads_of(feature: Part) -> dict[str, Part | None]:
    """The payload of each variant by its name; of several the first, ``None`` for a variant that has none."""
    found: dict[str, Part | None] = {}
    for variant in _listed(feature):
        found.setdefault(variant["name"], variant.get("payload"))
    return found


def worth(name: str, payload: Part | None) -> Any:
    """The value of a variant with this payload: its name, where the payload says nothing."""
    value = value_of_payload(payload)
    return name if value is MISMATCH else value


def spelt_alike(one: Any, two: Any) -> bool:
    """Are these the same value, of the same type, in JSON?"""
    return json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)


def served_values(strategy: Part) -> list[tuple[str, str]]:
    """The variants that a strategy serves, and their values in JSON."""
    served = [v for v in strategy.get("variants") or () if v.get("weight")]
    return [(v["name"], json.dumps(worth(v["name"], v.get("payload")), sort_keys=True)) for v in served]


def clashes(feature: Part) -> list[str]:
    """The variants of which some are served another value than is read: in Unleash one name may have several."""
    first = payloads_of(feature)
    served = {v["name"]: None for v in _listed(feature) if v.get("weight") and not _same(v, first[v["name"]])}
    return list(served)


def _same(variant: Part, payload: Part | None) -> bool:
    name = variant["name"]
    return spelt_alike(worth(name, variant.get("payload")), worth(name, payload))


def _listed(feature: Part) -> Iterator[Part]:
    yield from feature.get("variants") or ()
    for strategy in active(feature):
        yield from strategy.get("variants") or ()


def tag_text(tag: Part) -> str:
    """A tag as flagbrake has it: Unleash's own simple ones are only their value."""
    return str(tag["value"] if tag["type"] == "simple" else f"{tag['type']}:{tag['value']}")


def enabled_name(variants: Sequence[Variant]) -> str:
    """What the variant is called of those who get none; no other has this name."""
    name = ENABLED
    while any(v.name == name and v.value is not USE_DEFAULT for v in variants):
        name += "-"
    return name


def kind_of_flag(variants: Sequence[Variant], mark: Part) -> FlagKind:
    """The kind that flagbrake noted if the values are of it, else the one that all values have."""
    values = [v.value for v in variants if v.value is not USE_DEFAULT]
    if mark.get("kind") in set(FlagKind) and not any(coerce(v, FlagKind(mark["kind"])) is MISMATCH for v in values):
        return FlagKind(mark["kind"])
    kinds = {kind_of(value) for value in values}
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
