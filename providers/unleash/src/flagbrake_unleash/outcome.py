"""How asking Unleash for its features went."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a fetch ended, or what a stream brought."""

    FETCHED = "fetched"
    REFUSED = "refused"
    FAILED = "failed"
