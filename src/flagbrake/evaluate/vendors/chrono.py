"""Moments as Rust's chrono reads them (``DateTime<Utc>::from_str``, 0.4): more forms than RFC 3339, fewer than ISO."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

#: Seconds since 1970 and nanoseconds within: a leap second has more than a thousand million of them.
Moment = tuple[int, int]

_FORM: Final = re.compile(
    r"\s*(?P<year>[+-][0-9]{1,6}|[0-9]{1,4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})(?:[Tt]|\s+)"
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2}):(?P<second>[0-9]{1,2})(?:\.(?P<part>[0-9]+))?\s*"
    r"(?:[Zz]|UTC|(?P<sign>[+\-\u2212])(?P<hours>[0-9]{2}):?(?P<minutes>[0-5][0-9]))\s*"
)
_CYCLE: Final = 400
_CYCLE_DAYS: Final = 146_097
_EPOCH: Final = date(1970, 1, 1).toordinal()
_SECOND: Final = 1_000_000_000


def moment(text: str) -> Moment | None:
    """The moment that a text names, ``None`` where it names none. Years from -262143 to 262142, as chrono has them."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (
        int(found[n]) for n in ("year", "month", "day", "hour", "minute", "second")
    )
    hours = int(found["hours"] or 0)
    if hour > 23 or minute > 59 or second > 60 or hours > 23 or not -262_143 <= year <= 262_142:
        return None
    try:
        # The calendar repeats every 400 years; Python's begins with year 1.
        days = date(year % _CYCLE + _CYCLE, month, day).toordinal() + (year // _CYCLE - 1) * _CYCLE_DAYS - _EPOCH
    except ValueError:
        return None
    offset = (hours * 60 + int(found["minutes"] or 0)) * 60
    nanos = int((found["part"] or "").ljust(9, "0")[:9])
    if second == 60:
        second, nanos = 59, nanos + _SECOND
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    return seconds + (offset if found["sign"] in {"-", "\u2212"} else -offset), nanos
