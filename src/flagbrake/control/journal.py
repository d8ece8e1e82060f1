"""The audit as control writes it: one entry per intent and per result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit. ``before`` and ``after`` are JSON data without secrets."""

    at: datetime
    by: str
    action: str
    subject: str
    reason: str = ""
    before: Any = None
    after: Any = None
    lane: str = ""


class Journal(Protocol):
    """An append-only record."""

    def write(self, entry: Entry) -> None:
        """Append one entry.

        Raises:
            StoreUnavailable: it was not written.
        """

    def entries(self, subject: str, *, limit: int = 50) -> Sequence[Entry]:
        """The newest entries of a subject, newest first."""


@dataclass(slots=True)
class MemoryJournal:
    """A journal that lives as long as the process: for a control without a store, and for tests."""

    lines: list[Entry] = field(default_factory=list)

    def write(self, entry: Entry) -> None:
        """Append one entry."""
        self.lines.append(entry)

    def entries(self, subject: str, *, limit: int = 50) -> Sequence[Entry]:
        """The newest entries of a subject, newest first."""
        return [line for line in reversed(self.lines) if line.subject == subject][:limit]


def data_of(entry: Entry, key: str) -> Any:
    """A field of what an entry says came after, ``None`` when there is none."""
    return entry.after.get(key) if isinstance(entry.after, Mapping) else None
