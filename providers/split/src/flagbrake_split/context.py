"""OpenFeature contexts as a key and attributes of Split. Never raises, never changes what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext
from splitio.client.key import Key

from flagbrake.model.clause import TARGETING_KEY, Attribute
from flagbrake_split.hashing import BUCKETING_KEY

#: The key that stands for "no targeting key": Split's SDK answers nothing without one.
NOBODY: Final = "flagbrake-anonymous"
#: Deeper values are left out: a list may hold itself.
_DEPTH: Final = 20
_PLAIN: Final = frozenset((str, int, bool, float))


def split_context(context: EvaluationContext) -> tuple[str | Key, dict[str, Any] | None]:
    """The key and the attributes for one evaluation.

    * The targeting key is the matching key; the attribute ``bucketingKey`` (a text) is the bucketing key.
    * Datetimes become whole seconds since 1970 (naive ones are UTC), Decimals numbers; tuples and sets lists.
    * What stands inside a structure is also an attribute of its own, named as :class:`~flagbrake.model.clause.
      Attribute` writes it: ``/org/name``, and ``org:country`` where the structure has a targetingKey.
    * None, bytes and arbitrary objects are left out.
    """
    key: str | Key = context.targeting_key or NOBODY
    given = context.attributes
    if not given:
        return key, None
    attributes: dict[str, Any] = {}
    for name, value in given.items():
        if type(value) in _PLAIN:
            attributes[name] = value
        elif (plain := _plain(value, _DEPTH)) is not None:
            attributes[name] = plain
            if isinstance(plain, dict):
                _inside((name,), plain, attributes)
    bucketing = given.get(BUCKETING_KEY)
    if isinstance(bucketing, str) and bucketing:
        key = Key(str(key), bucketing)
    return key, attributes


def _inside(path: tuple[str, ...], structure: Mapping[str, Any], attributes: dict[str, Any]) -> None:
    if len(path) == 1 and isinstance(structure.get(TARGETING_KEY), str):
        for name, value in structure.items():
            attributes.setdefault(str(Attribute((name,), path[0])), value)
    for name, value in structure.items():
        attributes.setdefault(str(Attribute((*path, name))), value)
        if isinstance(value, dict):
            _inside((*path, name), value, attributes)


def _plain(value: Any, depth: int) -> Any:  # noqa: PLR0911 - a table of types
    match value:
        case bool() | str() | int() | float():
            return value
        case datetime():
            return int((value.replace(tzinfo=UTC) if value.tzinfo is None else value).timestamp())
        case date():
            return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
        case Decimal():
            if not value.is_finite():
                return None
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes() | bytearray() | memoryview() | None:
            return None
        case Mapping() if depth:
            found = ((str(name), _plain(one, depth - 1)) for name, one in value.items())
            return {name: one for name, one in found if one is not None}
        case Sequence() | AbstractSet() if depth:
            return [one for one in (_plain(one, depth - 1) for one in value) if one is not None]
        case _:
            return None
