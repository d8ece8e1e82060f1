"""LaunchDarkly: its bucketing, its context kinds, its order of numbers and dates.

Source of every rule: launchdarkly-server-sdk 9.18, ``impl/evaluator_common.py``, ``impl/operators.py`` and
``impl/model/value_parsing.py``. How an OpenFeature context becomes LaunchDarkly's stands in
``Contexts.KEYED``:

* The evaluation context is of kind ``user``, its targeting key is the key. Without one the key is that of
  :data:`NOBODY` and the context is anonymous.
* An attribute ``K`` that is a structure with a ``targetingKey`` is also a context of kind ``K``. A context
  of nothing but such structures, without a targeting key, has no kind ``user``.
* Where the unit is of another kind in LaunchDarkly, kind ``user`` is that kind all the same, and a structure at
  the attribute ``user`` is of kind ``/user``; it alone, without a targeting key, does not keep the unit away.
* ``anonymous`` is false unless it is a boolean that says otherwise; ``name`` is a text or absent; ``kind`` is
  the list of all kinds there are. Attributes ``key``, ``kind`` and ``_meta`` are read as ``key_``, ``kind_``
  and ``_meta_``, and ``privateAttributes`` (a list of texts) is none.
* Datetimes are RFC 3339 texts in UTC, Decimals numbers; NaN, infinities and bytes are absent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha1
from typing import Any, Final

from openfeature.exception import InvalidContextError

from flagbrake.errors import InvalidInput
from flagbrake.evaluate.bucketing import Algorithm, Place, Position, register
from flagbrake.model.clause import TARGETING_KEY, USER, USER_STRUCTURE, Attribute, structure_of
from flagbrake.model.flag import Bucketing
from flagbrake.model.values import WHOLE

#: The algorithm's id.
SHA1: Final = "launchdarkly-sha1"
#: The key of the anonymous user that stands for "no targeting key".
NOBODY: Final = "flagbrake-anonymous"

_SCALE: Final = float(0xFFFFFFFFFFFFFFF)
#: A unit that the context does not name falls at the very start ...
_UNNAMED: Final = 0.0
#: ... and a context without the kind before it: even a first share of nothing takes it.
_STRANGER: Final = -1.0

_PLAIN: Final = frozenset((str, int, bool))
_KIND: Final = re.compile(r"[-a-zA-Z0-9._]+\Z")
#: Not kinds, whatever stands there: LaunchDarkly gives these names a meaning of its own.
_NO_KINDS: Final = frozenset((USER, "kind", "multi", "key", "_meta", "name", "anonymous"))
#: How attributes travel that have one of those names.
_RENAMED: Final = {"key_": "key", "kind_": "kind", "_meta_": "_meta"}
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_ZULU: Final = re.compile("Z$", re.IGNORECASE)

Read = Callable[[str | None, Mapping[str, Any]], Any]


# --- contexts ------------------------------------------------------------------------------------------


def reader(attribute: Attribute) -> Read:
    """How to read an attribute of a context in which kinds have keys; see the top of this file."""
    kind, path = attribute.kind, attribute.path
    if kind == USER and path == ("kind",):
        return _kinds
    own = _own(path[0], steps=path[1:])
    if kind == USER:

        def of_user(key: str | None, attributes: Mapping[str, Any]) -> Any:
            if key:
                return own(key, attributes)
            return own(None, attributes) if _has_user(attributes) else None

        return of_user
    nested = _nested(own, path[0])

    def of_other(_key: str | None, attributes: Mapping[str, Any]) -> Any:
        found = _other(kind, attributes)
        return None if found is None else nested(found)

    return of_other


def key_of(kind: str, key: str | None, attributes: Mapping[str, Any]) -> str | None:
    """The key of the context of this kind, ``None`` where there is none."""
    if kind == USER:
        return key or (NOBODY if _has_user(attributes) else None)
    found = _other(kind, attributes)
    return None if found is None else str(found[TARGETING_KEY])


def _other(kind: str, attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = attributes.get(structure_of(kind))
    known = kind == USER_STRUCTURE or _is_kind(kind)
    return found if isinstance(found, Mapping) and known and _keyed(found) else None


def _keyed(value: Mapping[str, Any]) -> bool:
    key = value.get(TARGETING_KEY)
    return isinstance(key, str) and key != ""


def _is_kind(name: str) -> bool:
    return name not in _NO_KINDS and _KIND.match(name) is not None


def _others(attributes: Mapping[str, Any]) -> list[str]:
    return [n for n, v in attributes.items() if isinstance(v, Mapping) and _keyed(v) and _is_kind(n)]


def _has_user(attributes: Mapping[str, Any]) -> bool:
    """Without a targeting key: is there more than contexts of other kinds?"""
    others = frozenset(_others(attributes))
    if not others:
        return True
    return any(
        name not in others and plain(value) is not None and not _is_private(name, value)
        for name, value in attributes.items()
        if name and not (name == "anonymous" and value is False)
    )


def _kinds(key: str | None, attributes: Mapping[str, Any]) -> list[str]:
    others = _others(attributes)
    if _other(USER_STRUCTURE, attributes) is not None:
        others.append(USER_STRUCTURE)
    return [USER, *others] if key or _has_user(attributes) else others


def _own(name: str, *, steps: tuple[str, ...]) -> Read:
    """The attribute of the context itself, whatever its kind."""
    if name == TARGETING_KEY:
        return _nothing if steps else lambda key, _attributes: key or NOBODY
    if name in {"kind", "_meta"}:
        return _nothing
    if name == "anonymous":
        return _nothing if steps else _anonymous
    if name == "name":
        return _nothing if steps else lambda _key, attributes: _text(attributes.get("name"))
    behind = _RENAMED.get(name)

    def read(_key: str | None, attributes: Mapping[str, Any]) -> Any:
        value = attributes.get(name)
        if value is None and behind is not None:
            value = attributes.get(behind)
        for step in steps:
            if not isinstance(value, Mapping):
                return None
            value = value.get(step)
        return value if type(value) in _PLAIN else None if _is_private(name, value) else plain(value)

    return read


def _nested(own: Read, first: str) -> Callable[[Mapping[str, Any]], Any]:
    def read(found: Mapping[str, Any]) -> Any:
        inner = found.get(first)
        if isinstance(inner, Mapping) and TARGETING_KEY in inner:
            return None  # a context inside a context is left out
        return own(found[TARGETING_KEY], found)

    return read


def _nothing(_key: str | None, _attributes: Mapping[str, Any]) -> None:
    return None


def _anonymous(key: str | None, attributes: Mapping[str, Any]) -> bool:
    said = attributes.get("anonymous")
    return not key or (said if type(said) is bool else False)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _is_private(name: str, value: Any) -> bool:
    return name == "privateAttributes" and isinstance(value, list) and all(isinstance(one, str) for one in value)


def plain(value: Any) -> Any:  # noqa: PLR0911 - one answer per type
    """A value as LaunchDarkly sees it, ``None`` for what it does not; containers as they are, lists without nulls."""
    match value:
        case bool() | str() | int() | Mapping():
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()
        case Decimal():
            if not value.is_finite():
                return None
            return int(value) if value == value.to_integral_value() else float(value)
        case list() | tuple() | set() | frozenset():
            return [one for one in map(plain, value) if one is not None]
        case _:
            return None


# --- order ---------------------------------------------------------------------------------------------


def double(value: Any) -> float | None:
    """A number as it is ordered: a 64-bit float. ``None`` for what is no number.

    Raises:
        InvalidContextError: larger than any float, where the SDK's evaluation fails.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        raise InvalidContextError("A number is larger than any that LaunchDarkly compares.") from None


def millis(value: Any) -> float | None:
    """Milliseconds since 1970 as a float, ``None`` where the value is no moment.

    A number, or a text of ISO 8601 with an offset in any form that ``datetime.fromisoformat`` reads.
    """
    if not isinstance(value, str):
        return double(value)
    try:
        parsed = datetime.fromisoformat(_ZULU.sub("+00:00", value))
    except ValueError:
        return None
    return None if parsed.tzinfo is None else (parsed - _EPOCH).total_seconds() * 1000.0


# --- bucketing -----------------------------------------------------------------------------------------


def _bucket(text: str) -> float:
    # The first 15 hex digits of the digest are its first 60 bits.
    digest = sha1(text.encode(), usedforsecurity=False).digest()
    return (int.from_bytes(digest[:8], "big") >> 4) / _SCALE


def _prefix(bucketing: Bucketing, owner: str) -> str:
    prefix = str(bucketing.seed) if bucketing.seed is not None else f"{bucketing.group or owner}.{bucketing.salt}"
    try:
        prefix.encode()
    except UnicodeError:
        raise InvalidInput(f"The salt {bucketing.salt!r} is not valid Unicode.", cure="another salt") from None
    return prefix


def _locate(bucketing: Bucketing, owner: str) -> Callable[[str], float]:
    prefix = _prefix(bucketing, owner)
    return lambda unit: _bucket(f"{prefix}.{unit}")


def _place(bucketing: Bucketing, owner: str) -> Position:
    """Every context has a place: a missing attribute is 0, a missing kind stands before it."""
    prefix = _prefix(bucketing, owner)
    kind = bucketing.attribute.kind
    path = bucketing.attribute.path
    by_key, by_kind = path == (TARGETING_KEY,), path == ("kind",)
    read = reader(bucketing.attribute)

    def place(key: str | None, attributes: Mapping[str, Any]) -> float:
        unit: Any = key if kind == USER and key else key_of(kind, key, attributes)
        if unit is None:
            return _STRANGER
        if not by_key:
            unit = structure_of(kind) if by_kind else read(key, attributes)
        if isinstance(unit, bool) or not isinstance(unit, (str, int)):
            return _UNNAMED
        try:
            return _bucket(f"{prefix}.{unit}")
        except UnicodeError:
            raise InvalidContextError(f"'{bucketing.attribute}' must be a string of valid Unicode.") from None

    return place


def _walk(shares: Sequence[int]) -> list[Place]:
    # Summed as the SDK sums, rounding included.
    bounds: list[Place] = []
    total = 0.0
    for share in shares:
        total += share / 100000.0
        bounds.append(total)
    return bounds


def _shown(place: Place) -> int:
    return min(max(int(place * WHOLE), 0), WHOLE - 1)


register(Algorithm(SHA1, _locate, lambda share: share / 100000.0, _shown, walk=_walk, place=_place, stands_in=True))
