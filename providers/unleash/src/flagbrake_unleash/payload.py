"""Pure: a variant's value as an Unleash payload and back; every payload is a text with a type beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from flagbrake.model.values import MISMATCH

_WHOLE_NUMBER: Final = re.compile(r"-?\d+")
#: Beyond this the server's own number type is not exact.
_EXACT: Final = 2**53
#: The only entry of an object that stands for what it holds.
_WRAPPER: Final = "flagbrake"


def payload_of(value: Any) -> dict[str, str]:
    """The payload that a variant of this value has.

    Texts that PostgreSQL's JSON or the server's validation refuse (empty, with NUL, half a surrogate pair)
    travel as JSON, and so do integers that its number type would round. The server takes objects and arrays for
    JSON only: anything else stands in an object, alone under the name ``flagbrake``.
    """
    if isinstance(value, str) and value.strip() and not _awkward(value):
        return {"type": "string", "value": value}
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _EXACT:
        return {"type": "number", "value": repr(value)}
    wrapped = value if isinstance(value, (Mapping, list, tuple)) and not _is_wrapper(value) else {_WRAPPER: value}
    return {"type": "json", "value": json.dumps(wrapped, separators=(",", ":"))}


def value_of_payload(payload: Mapping[str, Any] | None) -> Any:
    """The value that a payload says, ``MISMATCH`` when its text is not of its type.

    ``string`` and ``csv`` are texts; ``number`` is an integer when it is written as one; ``json`` is anything.
    """
    if not isinstance(payload, Mapping):
        return MISMATCH
    text = payload.get("value")
    if not isinstance(text, str):
        return MISMATCH
    match payload.get("type"):
        case "string" | "csv":
            return text
        case "number":
            return _number(text)
        case "json":
            return _json(text)
        case _:
            return MISMATCH


def _number(text: str) -> Any:
    try:
        return int(text) if _WHOLE_NUMBER.fullmatch(text.strip()) else float(text)
    except ValueError:
        return MISMATCH


def _json(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return MISMATCH
    if _is_wrapper(value):
        value = value[_WRAPPER]
    return MISMATCH if value is None else value


def _is_wrapper(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {_WRAPPER}


def _awkward(text: str) -> bool:
    return "\x00" in text or text != text.strip() or any("\ud800" <= letter <= "\udfff" for letter in text)
