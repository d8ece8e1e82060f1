"""Pure: an evaluation context as Unleash's, in JSON.

The targeting key is ``userId``. The attributes ``sessionId``, ``remoteAddress`` (texts) and ``currentTime`` (a
datetime, or its ISO text) are the fields of that name. Everything else is a property, always a text:

* a text as it is; ``true`` and ``false``; numbers in decimal, whole ones without a point (5.0 is ``5``)
* a datetime in ISO 8601, one without a zone taken as UTC
* a structure entry by entry, under its path: ``/org/plan``
* a list as its JSON text: ``["a","b"]``
* ``None`` and what JSON has no name for: left out
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext

from flagbrake.evaluate.vendors.unleash_texts import current_time, text

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_FIELDS: Final = frozenset({"sessionId", "remoteAddress", "currentTime"})
#: Structures deeper than this are left out: they may contain themselves.
_DEEPEST: Final = 16


def encoded(context: EvaluationContext, static: Mapping[str, str]) -> bytes:
    """The context as the engine takes it. ``static`` are fields that the program itself has."""
    data: dict[str, Any] = {**static}
    if context.targeting_key:
        data["userId"] = context.targeting_key
    attributes = context.attributes
    if attributes:
        properties: dict[str, Any] = {}
        data["properties"] = properties
        for name, value in attributes.items():
            kind = type(value)
            if name in _FIELDS and (field := _field(name, value)) is not None:
                data[name] = field
            elif kind is str:
                properties[name] = value
            else:
                _add(properties, name, value)
    made = _encode(data)
    return made.encode() if "\\ud" not in made else _mended(made)


def _add(properties: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        properties.update(_leaves(value, f"/{_escaped(name)}", 0))
        return
    sent = text(value)
    if sent is not None:
        properties[name] = sent


def _leaves(value: Mapping[Any, Any], path: str, depth: int) -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        where = f"{path}/{_escaped(str(name))}"
        if isinstance(inner, Mapping):
            if depth < _DEEPEST:
                yield from _leaves(inner, where, depth + 1)
            continue
        sent = text(inner)
        if sent is not None:
            yield where, sent


def _field(name: str, value: Any) -> str | None:
    if name == "currentTime":
        return current_time(value)
    return value if isinstance(value, str) else None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _mended(made: str) -> bytes:
    """Half a surrogate pair is no Unicode: the engine would refuse the whole context for it."""
    return _encode(json.loads(made, object_pairs_hook=_whole)).encode()


def _whole(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {_valid(name): _valid(value) for name, value in pairs}


def _valid(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
