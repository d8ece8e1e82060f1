"""The audit as control sees it; the store's audit is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


class Recorded(Protocol):
    """One line of the audit. ``before`` and ``after`` are JSON data without secrets."""

    @property
    def at(self) -> datetime: ...  # noqa: D102 - fields speak for themselves
    @property
    def by(self) -> str: ...  # noqa: D102
    @property
    def action(self) -> str: ...  # noqa: D102
    @property
    def subject(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def before(self) -> Any: ...  # noqa: D102
    @property
    def after(self) -> Any: ...  # noqa: D102
    @property
    def lane(self) -> str: ...  # noqa: D102


class Journal(Protocol):
    """An append-only record."""

    def record(
        self,
        *,
        at: datetime,
        by: str,
        action: str,
        subject: str,
        reason: str = "",
        before: Any = None,
        after: Any = None,
        lane: str = "",
    ) -> object:
        """Append one entry.

        Raises:
            StoreUnavailable, LockBusy, NotAllowed: it was not written.
        """

    def entries(self, subject: str | None = None, limit: int = 50) -> Sequence[Recorded]:
        """The newest entries, of one subject if it is named, newest first."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a :class:`MemoryJournal`."""

    at: datetime
    by: str
    action: str
    subject: str
    reason: str = ""
    before: Any = None
    after: Any = None
    lane: str = ""


@dataclass(slots=True)
class MemoryJournal:
    """A journal that lives as long as the process: for a control without a store, and for tests."""

    lines: list[Line] = field(default_factory=list)

    def record(
        self,
        *,
        at: datetime,
        by: str,
        action: str,
        subject: str,
        reason: str = "",
        before: Any = None,
        after: Any = None,
        lane: str = "",
    ) -> Line:
        """Append one entry."""
        self.lines.append(Line(at, by, action, subject, reason, before, after, lane))
        return self.lines[-1]

    def entries(self, subject: str | None = None, limit: int = 50) -> Sequence[Recorded]:
        """The newest entries, newest first."""
        return [line for line in reversed(self.lines) if subject in {None, line.subject}][:limit]


def after_of(entry: Recorded, name: str) -> Any:
    """A field of what an entry says came after, ``None`` when there is none."""
    return entry.after.get(name) if isinstance(entry.after, Mapping) else None
