"""Collecting losses while a document is read or written."""

from __future__ import annotations

from flagbrake.errors import InvalidInput
from flagbrake.model.loss import Loss, Severity


class Notes:
    """The losses of one translation, each with the path of where it stood."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.losses: list[Loss] = []

    def note(self, place: str, what: str, effect: str = "none", severity: Severity = Severity.NOTE) -> None:
        """Record a loss at ``place``, a path inside the document."""
        self.losses.append(Loss(f"{self.where}.{place}" if place else self.where, what, effect, severity))

    def edge(self, place: str, what: str, effect: str) -> None:
        """A loss that shows for unusual contexts only."""
        self.note(place, what, effect, Severity.EDGE)

    def grave(self, place: str, what: str, effect: str) -> None:
        """A loss that changes answers."""
        self.note(place, what, effect, Severity.ANSWERS)

    def refusal(self, place: str, fact: str, cure: str) -> InvalidInput:
        """What to raise where the document cannot be translated at all."""
        return InvalidInput(f"{self.where}.{place}: {fact}", cure=cure)
