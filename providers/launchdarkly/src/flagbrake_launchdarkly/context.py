"""OpenFeature contexts as LaunchDarkly contexts. Never raises, never changes what it is given."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from ldclient.context import Context
from openfeature.evaluation_context import EvaluationContext

from flagbrake.model.clause import TARGETING_KEY, USER
from flagbrake_launchdarkly.names import RESERVED

#: The key of the anonymous context that stands for "no targeting key".
NOBODY: Final = "flagbrake-anonymous"
#: Deeper values are left out: a list may hold itself.
_DEPTH: Final = 20
#: Contexts of a targeting key alone that are kept: they are immutable and cost more to build than to find.
_KEPT: Final = 4096
_PLAIN: Final = frozenset((str, int, bool))
_KIND: Final = re.compile(r"[A-Za-z0-9._-]+\Z")


def context_maker(kind: str = USER) -> Callable[[EvaluationContext], Context]:
    """How contexts are translated when the targeting key is the key of a context of this kind.

    * The targeting key is the key; without one the context is anonymous and has the key :data:`NOBODY`.
    * An attribute ``K`` that is a structure with a ``targetingKey`` is also a context of kind ``K``.
    * ``anonymous`` (a boolean), ``name`` (a text) and ``privateAttributes`` (a list of texts) mean what they
      mean in LaunchDarkly; ``key``, ``kind`` and ``_meta`` are plain attributes ``key_``, ``kind_``, ``_meta_``.
    * Datetimes become RFC 3339 texts in UTC (naive ones are UTC), Decimals numbers, sets and tuples lists.
      None, NaN, infinities, bytes and arbitrary objects are left out.
    """
    kept: dict[str, Context] = {}

    def make(context: EvaluationContext) -> Context:
        key = context.targeting_key
        attributes = context.attributes
        if attributes:
            return _with_attributes(kind, key, attributes)
        found = kept.get(key) if type(key) is str else None
        if found is None:
            found = _with_attributes(kind, key, {})
            if type(key) is str:
                if len(kept) >= _KEPT:
                    kept.clear()
                kept[key] = found
        return found

    return make


def _with_attributes(kind: str, key: str | None, attributes: Mapping[str, Any]) -> Context:
    own: dict[str, Any] = {}
    odd: dict[str, Any] = {}
    for attribute, value in attributes.items():
        if type(value) in _PLAIN and attribute not in _SPECIAL:
            own[attribute] = value
        else:
            odd[attribute] = json_value(value)
    if not odd and key:
        return Context(kind, key, None, False, own or None)
    return _odd(kind, key, own, odd)


def _odd(kind: str, key: str | None, own: dict[str, Any], odd: Mapping[str, Any]) -> Context:
    """What is left to do when there is more than plain attributes, or no targeting key."""
    known: dict[str, Any] = {}
    others: list[Context] = []
    for attribute, value in odd.items():
        if value is None or not attribute:
            continue
        if attribute in _TYPED and _TYPED[attribute](value):
            known[attribute] = value
        elif attribute in _SPECIAL:
            own[f"{attribute}_"] = value
        else:
            own[attribute] = value
            if isinstance(value, dict) and (other := _other(kind, attribute, value)) is not None:
                others.append(other)
    if not key and others and len(own) == len(others) and not known:
        return others[0] if len(others) == 1 else Context.create_multi(*others)
    anonymous = known.get("anonymous", False) or not key
    main = Context(kind, key or NOBODY, known.get("name"), anonymous, own or None, known.get("privateAttributes"))
    return main if not others else Context.create_multi(main, *others)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


#: LaunchDarkly gives these names a meaning of its own; they travel with an underscore behind ...
_RESERVED: Final = frozenset(("key", "kind", "_meta"))
#: ... and so do these, unless the value is what LaunchDarkly wants there.
_TYPED: Final[Mapping[str, Callable[[Any], bool]]] = {
    "name": lambda value: isinstance(value, str),
    "anonymous": lambda value: isinstance(value, bool),
    "privateAttributes": _texts,
}
_SPECIAL: Final = _RESERVED | _TYPED.keys() | {""}


def _other(main: str, kind: str, nested: Mapping[str, Any]) -> Context | None:
    """The context of another kind that a nested structure describes, if it has a key of its own."""
    key = nested.get(TARGETING_KEY)
    if not isinstance(key, str) or not key or kind in {main, "kind", "multi", *RESERVED} or not _KIND.match(kind):
        return None
    rest = {name: value for name, value in nested.items() if name != TARGETING_KEY}
    made = _with_attributes(kind, key, {k: v for k, v in rest.items() if not _is_context(v)} if rest else {})
    return None if made.multiple or not made.valid else made


def _is_context(value: Any) -> bool:
    return isinstance(value, Mapping) and TARGETING_KEY in value


def json_value(value: Any, depth: int = _DEPTH) -> Any:  # noqa: PLR0911 - a table of types
    """A value as JSON has it, ``None`` for what JSON has not."""
    match value:
        case bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()
        case Decimal():
            return _number(value)
        case bytes() | bytearray() | memoryview() | None:
            return None
        case Mapping() if depth:
            found = ((str(name), json_value(one, depth - 1)) for name, one in value.items())
            return {name: one for name, one in found if one is not None}
        case Sequence() | AbstractSet() if depth:
            return [one for one in (json_value(one, depth - 1) for one in value) if one is not None]
        case _:
            return None


def _number(value: Decimal) -> int | float | None:
    if not value.is_finite():
        return None
    return int(value) if value == value.to_integral_value() else float(value)
