"""Reading values as moments and versions."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from flagbrake.model.clause import Semver

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
#: One day in the unit of :func:`moment`.
DAY: Final = 86_400_000_000

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_NUMBER: Final = r"(0|[1-9][0-9]*)"
_TAIL: Final = (
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_STRICT: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}{_TAIL}")
_LENIENT: Final = re.compile(rf"{_NUMBER}(?:\.{_NUMBER})?(?:\.{_NUMBER})?{_TAIL}")

#: A version's rank: the tuple order is semver's precedence; the build part has none.
Rank = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]


def moment(value: Any) -> int | None:
    """Microseconds since 1970 in UTC, ``None`` where the value is no moment.

    A datetime (naive is UTC), a text of RFC 3339 with its offset, or a number of milliseconds.
    """
    if isinstance(value, str):
        if not _RFC3339.fullmatch(value):
            return None
        try:
            value = datetime.fromisoformat(value.upper())
        except ValueError:  # the 30th of February
            return None
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MICROSECOND
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return int(value * 1000)


def version(value: Any, mode: Semver) -> Rank | None:
    """A version's rank in semver 2.0.0 precedence, ``None`` where the text is no version.

    STRICT wants x.y.z; LENIENT also takes x and x.y.
    """
    if not isinstance(value, str):
        return None
    match = (_STRICT if mode is Semver.STRICT else _LENIENT).fullmatch(value)
    if match is None and mode is Semver.LENIENT:
        # The SDK completes an incomplete version by a pattern that sees its first line only.
        head = value.partition("\n")[0]
        match = None if _STRICT.fullmatch(head) else _LENIENT.fullmatch(head)
    if match is None:
        return None
    major, minor, patch, pre, _build = match.groups()
    try:
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in pre.split(".")) if pre else ()
        # A release (1) stands after its pre-releases (0).
        return int(major), int(minor or 0), int(patch or 0), 0 if pre else 1, parts
    except ValueError:  # more digits than Python reads
        return None
