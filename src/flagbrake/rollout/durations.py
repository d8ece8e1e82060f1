"""Durations as people write them: ``30s``, ``10m``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from flagbrake.model.reading import Malformed, shown

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_LONGEST: Final = timedelta(days=365)


def duration(value: Any) -> timedelta:
    """``"10m"`` to a timedelta of at most a year; complaints are raised as Malformed."""
    text = value.strip().replace(" ", "") if isinstance(value, str) else ""
    if value == 0 and not isinstance(value, bool):
        return timedelta()
    if not _WHOLE.fullmatch(text):
        cure = f'"{value}s"' if isinstance(value, int | float) and not isinstance(value, bool) else '"30s", "10m", "2h"'
        raise Malformed(f"{shown(value)} is not a duration: the unit is missing or unknown.", cure)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > _LONGEST.total_seconds():
        raise Malformed(f"{shown(value)} is longer than a year.", '"30s", "10m", "2h"')
    return timedelta(seconds=seconds)


def shown_duration(span: timedelta) -> str:
    """A timedelta as :func:`duration` reads it: 5400 s -> ``1h30m``."""
    left = round(span.total_seconds() * 1000)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
