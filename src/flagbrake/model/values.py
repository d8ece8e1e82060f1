"""Values a flag can have, and the one rule by which a value becomes the type that was asked for."""

from __future__ import annotations

import copy
import math
from enum import StrEnum
from typing import Any, Final

#: A JSON value: bool, int, float, str, None inside containers, list or dict.
type_names: Final = "boolean, string, integer, float, object"

#: Shares are integers of this many: a split moves in steps of 0.001 %.
WHOLE: Final = 100_000


class FlagKind(StrEnum):
    """The five kinds of OpenFeature."""

    BOOLEAN = "boolean"
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    OBJECT = "object"


class _UseDefault:
    """The flag says nothing: serve what the caller passed in (a flag that is off without an off variant)."""

    def __repr__(self) -> str:
        return "USE_DEFAULT"


USE_DEFAULT: Final = _UseDefault()


class _Mismatch:
    def __repr__(self) -> str:
        return "MISMATCH"


MISMATCH: Final = _Mismatch()


def coerce(value: Any, kind: FlagKind) -> Any:
    """Return ``value`` as ``kind`` if nothing is lost, else ``MISMATCH``.

    10.0 asked as integer is 10; 0.5 is a mismatch; an integer widens to float when the float is equal;
    a bool is never a number; containers are copied so that a caller may change the answer.
    """
    match kind:
        case FlagKind.BOOLEAN:
            return value if type(value) is bool else MISMATCH
        case FlagKind.STRING:
            return value if isinstance(value, str) else MISMATCH
        case FlagKind.INTEGER:
            return _as_integer(value)
        case FlagKind.FLOAT:
            return _as_float(value)
        case FlagKind.OBJECT:
            return copy.deepcopy(value) if isinstance(value, (dict, list)) else MISMATCH


def _as_integer(value: Any) -> Any:
    if isinstance(value, bool):
        return MISMATCH
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return MISMATCH


def _as_float(value: Any) -> Any:
    if isinstance(value, bool):
        return MISMATCH
    if isinstance(value, float):
        return value
    if isinstance(value, int):
        try:
            widened = float(value)
        except OverflowError:
            return MISMATCH
        return widened if widened == value else MISMATCH
    return MISMATCH


def kind_of(value: Any) -> FlagKind | None:
    """The kind a JSON value has, ``None`` for null and for what is not JSON (NaN, infinities)."""
    match value:
        case bool():
            return FlagKind.BOOLEAN
        case str():
            return FlagKind.STRING
        case int():
            return FlagKind.INTEGER
        case float():
            return FlagKind.FLOAT if math.isfinite(value) else None
        case dict() | list():
            return FlagKind.OBJECT
        case _:
            return None


def share_of(percent: float | str) -> int:
    """Percent (0 to 100, at most three decimals) as an integer of :data:`WHOLE`.

    Raises:
        InvalidInput: not a number, outside 0..100, or finer than 0.001 %.
    """
    from decimal import Decimal, InvalidOperation

    from flagbrake.errors import InvalidInput

    text = str(percent).strip().removesuffix("%").strip()
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidInput(f"'{percent}' is not a percentage.", cure="a number from 0 to 100, such as 12.5") from None
    if not number.is_finite() or not 0 <= number <= 100:
        raise InvalidInput(f"{text} % is not between 0 and 100.", cure="a number from 0 to 100, such as 12.5")
    share = number * 1000
    if share != share.to_integral_value():
        below = int(share)
        raise InvalidInput(
            f"{text} % is finer than the smallest step of 0.001 %.",
            cure=f"{percent_of(below)} or {percent_of(below + 1)}",
        )
    return int(share)


def percent_of(share: int) -> str:
    """A share of :data:`WHOLE` as people write it: 12500 -> ``12.5``."""
    whole, rest = divmod(share, 1000)
    return str(whole) if not rest else f"{whole}.{rest:03d}".rstrip("0")
