"""What Unleash sees of a context: every attribute is a text, whatever it was.

What stands inside a structure is named by its path, ``/org/plan``, unless the context has an attribute of just that
name. Run against the context that UnleashClient 6.9 takes, and its engine reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from flagbrake.model.clause import TARGETING_KEY, USER, Attribute

#: The attribute that stands for the moment of asking.
CURRENT_TIME: Final = "currentTime"
#: A context field; the engine also looks for it among the properties.
_USER_ID: Final = "userId"

Read = Callable[[str | None, Mapping[str, Any]], str | None]


def text(value: Any) -> str | None:
    """An attribute as it travels, ``None`` for what does not.

    A text as it is (half a surrogate pair is a question mark), ``true`` and ``false``, numbers in decimal (5.0 is
    ``5``), datetimes in ISO 8601 (naive is UTC), lists as JSON. Structures travel entry by entry.
    """
    if isinstance(value, (list, tuple)):
        try:
            return json.dumps(value, separators=(",", ":"), default=scalar)
        except (TypeError, ValueError, RecursionError):
            return None
    return scalar(value)


def scalar(value: Any) -> str | None:  # noqa: PLR0911 - a table of types
    """As :func:`text`, for what is no list."""
    if isinstance(value, str):
        return str(value) if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 10_000 else None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return None


def current_time(value: Any) -> str | None:
    """The field of that name: a datetime, or the text of one in any form that Python reads; else ``None``."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return scalar(value) if isinstance(value, datetime) else None


def reader(attribute: Attribute) -> Read:
    """How to read an attribute, as a text; ``None`` where it is absent."""
    steps = attribute.path if attribute.kind == USER else (attribute.kind, *attribute.path)
    if steps == (TARGETING_KEY,):
        return lambda key, attributes: text(key or attributes.get(_USER_ID))
    if steps == (CURRENT_TIME,):
        return _time
    if len(steps) == 1:
        (name,) = steps
        return lambda _key, attributes: text(attributes.get(name))
    path = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    first, *rest = steps

    def nested(_key: str | None, attributes: Mapping[str, Any]) -> str | None:
        whole = text(attributes.get(path))
        if whole is not None:
            return whole
        value = attributes.get(first)
        for step in rest:
            if not isinstance(value, Mapping):
                return None
            value = value.get(step)
        return text(value)

    return nested


def _time(_key: str | None, attributes: Mapping[str, Any]) -> str | None:
    value = attributes.get(CURRENT_TIME)
    named = current_time(value)
    return text(value) if named is None else named
