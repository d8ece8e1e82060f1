"""Nouns to JSON data and back: one canonical form, readable by people, strict when read.

Order that matters (variants, the shares of a split) is kept in lists, so the text survives sorted keys.
What people write may be friendlier: ``"variants": {"on": true, "off": false}``, ``"split": {"v2": "12.5%",
"v1": "87.5%"}``. Every complaint is InvalidInput and names the path, the fact and the cure.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from flagbrake.errors import InvalidInput
from flagbrake.model import flag_reading
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.flag_writing import flag_to_data, segment_to_data
from flagbrake.model.kill_codec import (
    declaration_from_data,
    declaration_to_data,
    kill_from_data,
    kill_to_data,
    manifest_from_data,
)
from flagbrake.model.reading import reading

__all__ = [
    "checksum",
    "declaration_from_data",
    "declaration_to_data",
    "dumps",
    "flag_from_data",
    "flag_to_data",
    "kill_from_data",
    "kill_to_data",
    "loads",
    "manifest_from_data",
    "segment_from_data",
    "segment_to_data",
]


def dumps(data: Any) -> str:
    """The canonical text of JSON data: sorted keys, no blanks, not escaped to ASCII.

    Raises:
        InvalidInput: something inside is not JSON (a NaN, a date, half of a surrogate pair).
    """
    try:
        out = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        out.encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"This cannot be written as JSON: {error}.", cure="strings, finite numbers, lists") from None
    return out


def loads(document: str, *, where: str = "") -> Any:
    """JSON text to data.

    Raises:
        InvalidInput: not JSON; names line and column.
    """
    try:
        return json.loads(document)
    except json.JSONDecodeError as error:
        place = f"{where}: " if where else ""
        fact = f"{place}not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}."
        raise InvalidInput(fact, cure="mend that place") from None
    except RecursionError:
        raise InvalidInput(f"{where or 'This JSON'} is nested too deeply.", cure="fewer levels") from None


def checksum(document: str) -> str:
    """The first 16 hex digits of the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def flag_from_data(data: Any, *, where: str = "") -> Flag:
    """JSON data to a flag; ``where`` stands in front of every path in a complaint.

    Raises:
        InvalidInput: unknown field, wrong type, missing variant, shares that are not 100,000 together.
    """
    return reading(flag_reading.flag, data, where)


def segment_from_data(data: Any, *, where: str = "") -> Segment:
    """JSON data to a segment.

    Raises:
        InvalidInput: as for a flag.
    """
    return reading(flag_reading.segment, data, where)
