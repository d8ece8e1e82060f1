"""What a translation could not carry over: a value, never a log line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Severity(StrEnum):
    """What a loss does to answers, the gravest last."""

    NOTE = "note"  # nothing: descriptions, analytics settings, parts that could never match
    EDGE = "edge"  # they differ for unusual contexts only; the effect names them
    UNITS = "units"  # the shares are kept, but other units get them
    ANSWERS = "answers"  # they differ


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that the other side cannot say.

    ``where`` is its path in the document it was read from (``rules[2].clauses[0]``), ``what`` the fact, and
    ``effect`` what it means for somebody who is given a variant; an effect that starts with ``none`` changes
    no answer.
    """

    where: str
    what: str
    effect: str
    severity: Severity = Severity.ANSWERS

    def __str__(self) -> str:
        return f"{self.where}: {self.what} ({self.effect})"


@dataclass(frozen=True, slots=True)
class Translated(Generic[T]):
    """What came out of a translation, and everything that did not."""

    result: T
    losses: tuple[Loss, ...] = ()
