"""Unleash's hash: MurmurHash3 of "group:unit".

Source: unleash-yggdrasil 0.21 (``lib.rs``), run as the engine of UnleashClient 6.9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from openfeature.exception import TargetingKeyMissingError

from flagbrake.evaluate.bucketing import Algorithm, Locate, Place, Position, murmur3, register
from flagbrake.evaluate.vendors.unleash_texts import reader
from flagbrake.model.flag import Bucketing
from flagbrake.model.values import WHOLE

#: 1 to 100 for rollouts; with the seed :data:`VARIANTS`, 1 to the sum of the weights.
MURMUR: Final = "unleash-murmur3"
#: The seed with which variants are dealt.
VARIANTS: Final = 86028157

#: Buckets of rollouts and, unless a flag says otherwise, of variants.
_PERCENTS: Final = 100
_THOUSANDTHS: Final = 1000


def _locate(bucketing: Bucketing, owner: str) -> Locate:
    murmur, seed = murmur3(), bucketing.seed or 0
    prefix = f"{owner if bucketing.group is None else bucketing.group}:".encode()
    buckets = bucketing.buckets or (_THOUSANDTHS if seed == VARIANTS else _PERCENTS)
    # The middle of its bucket, of 100,000: inside a share that ends where a bucket ends, rounded or not.
    return lambda unit: (2 * (murmur(prefix + unit.encode(), seed) % buckets) + 1) * (WHOLE // 2) // buckets


def _place(bucketing: Bucketing, owner: str) -> Position:
    """Who names no unit is outside of every rollout; where Unleash would draw lots, it is an error."""
    locate = _locate(bucketing, owner)
    reads = [reader(a) for a in (bucketing.override, bucketing.attribute) if a is not None]
    by_lot = bucketing.override is not None or bucketing.seed == VARIANTS

    def place(key: str | None, attributes: Mapping[str, Any]) -> Place:
        for read in reads:
            unit = read(key, attributes)
            if unit is not None:
                return locate(unit)
        if by_lot:
            raise TargetingKeyMissingError(f"'{owner}' is split by unit, and the context names none.")
        return math.inf

    return place


def _shown(place: Place) -> int:
    return WHOLE if place == math.inf else int(place)


register(Algorithm(MURMUR, _locate, lambda share: share, _shown, place=_place))
