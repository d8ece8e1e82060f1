"""Telling people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened.

    ``event`` is ``kill``, ``restore``, ``expiry``, ``pending-lane``, ``rollback``,
    ``rollout`` or ``alarm``; ``text`` is one plain line; ``data`` holds the structured fields, no secrets.
    """

    event: str
    environment: str
    text: str
    by: str
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)


class Notifier(ABC):
    """Delivers notices. A notifier that fails never fails what it tells of."""

    name: ClassVar[str]

    @abstractmethod
    def notify(self, notice: Notice) -> None:
        """Deliver within a bounded time, or raise."""
