"""Bucketing algorithms by id: a unit becomes a position, a cumulative share becomes a bound on positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from typing import Any, Final

from flagbrake.errors import InvalidInput, MissingExtra
from flagbrake.model.flag import DEFAULT_BUCKETING, Bucketing
from flagbrake.model.values import WHOLE

#: Where a unit falls. Places of one algorithm share one scale: integers, or floats where the vendor has floats.
Place = int | float
#: The place of a unit's text.
Locate = Callable[[str], Place]
#: The place of a context's unit, for a targeting key and attributes.
Position = Callable[[str | None, Mapping[str, Any]], Place]

_TWO_32: Final = 1 << 32
#: Vendors' algorithms and the file of ``evaluate.vendors`` that registers each, imported when one is first asked for.
_VENDORS: Final = {
    "launchdarkly-sha1": "launchdarkly",
    "split-murmur3": "split",
    "split-legacy": "split",
    "unleash-murmur3": "unleash",
}


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One way to bucket.

    ``locate(bucketing, flag_key)`` returns the function unit -> position; ``bound(share)`` is the first
    position that lies outside a cumulative share of 100,000, so a unit is inside if position < bound;
    ``bucket(position)`` is what people are shown: 0 to 99,999.

    A vendor whose arithmetic is not that of whole shares brings ``walk(shares)``, the bounds of shares laid
    end to end. One whose SDK serves a variant even to a context that names no unit brings
    ``place(bucketing, flag_key)``, which tells the place of every context; shares of zero are then kept. Where all
    who have no targeting key would get the same, by a stand-in of the SDK's own, that is ``stands_in``.
    """

    id: str
    locate: Callable[[Bucketing, str], Locate]
    bound: Callable[[int], Place]
    bucket: Callable[[Place], int]
    walk: Callable[[Sequence[int]], list[Place]] | None = None
    place: Callable[[Bucketing, str], Position] | None = None
    stands_in: bool = False

    def bounds(self, shares: Sequence[int]) -> list[Place]:
        """The end of each share, laid end to end."""
        return self.walk(shares) if self.walk else [self.bound(upto) for upto in accumulate(shares)]


def algorithm(name: str) -> Algorithm:
    """The algorithm of this id.

    Raises:
        InvalidInput: nobody knows it.
        MissingExtra: it needs a distribution that is not installed.
    """
    found = _ALGORITHMS.get(name)
    if found is None and name in _VENDORS:
        import_module(f"flagbrake.evaluate.vendors.{_VENDORS[name]}")
        found = _ALGORITHMS.get(name)
    if found is None:
        known = ", ".join(sorted({*_ALGORITHMS, *_VENDORS}))
        raise InvalidInput(f"Bucketing '{name}' is not known here.", cure=f"one of {known}")
    return found


def register(added: Algorithm) -> None:
    """Make an algorithm known, once, at import of the adapter that brings it.

    Raises:
        InvalidInput: another algorithm has this id.
    """
    if _ALGORITHMS.setdefault(added.id, added) is not added:
        raise InvalidInput(f"Bucketing '{added.id}' exists already.", cure="another id")


def unit_text(value: Any) -> str | None:
    """The text that is hashed for an attribute's value, ``None`` where the value names no unit.

    Strings as they are, whole numbers in decimal (5.0 is 5); anything else, and an empty string, names none.
    """
    if isinstance(value, str):
        return str(value) or None
    if isinstance(value, bool):
        return None
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return None


def murmur3() -> Callable[[bytes, int], int]:
    """``hash(data, seed)``: MurmurHash3_x86_32 of bytes, unsigned.

    Bytes only: given a text with half a surrogate pair, mmh3 5.3 ends the process with a segmentation fault.

    Raises:
        MissingExtra: ``mmh3`` is not installed.
    """
    try:
        from mmh3 import mmh3_32_uintdigest  # late: static flags need no extra
    except ImportError:
        raise MissingExtra("A split needs mmh3, which is not installed.", cure="pip install 'flagbrake[sql]'") from None
    return mmh3_32_uintdigest


def _murmur_bound(share: int) -> int:
    # position * 100000 >> 32 < share, solved for position: the hot path compares and does not multiply.
    return -(-(share << 32) // WHOLE)


def _murmur_bucket(position: Place) -> int:
    return (int(position) * WHOLE) >> 32


def _locate_flagbrake(bucketing: Bucketing, flag_key: str) -> Locate:
    murmur = murmur3()
    prefix = _salt(bucketing, flag_key).encode() + b"/"
    seed = bucketing.seed or 0
    if not 0 <= seed < _TWO_32:
        raise InvalidInput(f"Seed {seed} does not fit in 32 bits.", cure=f"0 to {_TWO_32 - 1}")

    def locate(unit: str) -> int:
        return murmur(prefix + unit.encode(), seed)

    return locate


def _locate_flagd(bucketing: Bucketing, flag_key: str) -> Locate:
    # flagd hashes the CBOR of [flag key, targeting key]: an array of two text strings.
    murmur = murmur3()
    prefix = b"\x82" + cbor_text(_salt(bucketing, flag_key))

    def locate(unit: str) -> int:
        return murmur(prefix + cbor_text(unit), 0)

    return locate


def _salt(bucketing: Bucketing, flag_key: str) -> str:
    salt = bucketing.salt or flag_key
    if any("\ud800" <= letter <= "\udfff" for letter in salt):
        raise InvalidInput(f"The salt {salt!r} is not valid Unicode.", cure="another salt")
    return salt


def cbor_text(text: str) -> bytes:
    """A text string in canonical CBOR (RFC 8949, major type 3)."""
    data = text.encode()
    size = len(data)
    if size < 24:
        head = bytes((0x60 + size,))
    elif size < 1 << 8:
        head = bytes((0x78, size))
    elif size < 1 << 16:
        head = b"\x79" + size.to_bytes(2, "big")
    else:
        head = b"\x7a" + size.to_bytes(4, "big")
    return head + data


_ALGORITHMS: Final[dict[str, Algorithm]] = {
    # Source: this project. MurmurHash3_x86_32 of "salt/unit" with the seed (0), times 100,000, over 2 to the 32nd.
    DEFAULT_BUCKETING: Algorithm(DEFAULT_BUCKETING, _locate_flagbrake, _murmur_bound, _murmur_bucket),
    # Source: openfeature-flagd-core 2, targeting/custom_ops.py, shorthand form of fractional.
    "flagd-2": Algorithm("flagd-2", _locate_flagd, _murmur_bound, _murmur_bucket),
}
