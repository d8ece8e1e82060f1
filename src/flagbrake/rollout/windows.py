"""Analysis windows: where they begin and end, which are still to be judged. Pure.

A window never spans two versions of the flag, so two splits are never pooled. It is judged ``settle`` after
its end: runs are counted where they started, and slow ones need time to report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from flagbrake.rollout.verdict import WindowId

#: A step's first window looks back this far, since an agent's clock may be behind ours. The flag's revision
#: keeps runs under an earlier split out, so it is used only where revisions are known.
CLOCK_MARGIN: Final = timedelta(seconds=60)
#: Closed windows kept apart while a metric source is down; beyond it neighbours are joined.
LONGEST_QUEUE: Final = 64


@dataclass(frozen=True, slots=True)
class Closed:
    """A window whose end is known."""

    step: int
    index: int
    start: datetime
    end: datetime
    revision: int | None

    @property
    def id(self) -> WindowId:
        """What a judge remembers it by."""
        return WindowId(self.step, self.index)


@dataclass(frozen=True, slots=True)
class Windows:
    """The open window (from ``start``, ``None`` before the first step) and the closed ones not judged yet."""

    start: datetime | None = None
    step: int = 0
    index: int = 0
    revision: int | None = None
    queue: tuple[Closed, ...] = ()
    judged_until: datetime | None = None

    def begin(self, now: datetime, *, step: int, revision: int | None, delay: timedelta = timedelta()) -> Windows:
        """Close what is open and open the first window of a step, or of a new revision within it."""
        closed = self.cut(now)
        index = closed.index if step == closed.step and self.start is not None else 0
        start = now + delay
        if revision is not None and not delay:
            start -= CLOCK_MARGIN
        return replace(closed, start=start, step=step, index=index, revision=revision)

    def cut(self, now: datetime) -> Windows:
        """End the open window now and open the next one there."""
        if self.start is None or now <= self.start:
            return self
        closed = Closed(self.step, self.index, self.start, now, self.revision)
        queue = _bounded((*self.queue, closed))
        return replace(self, start=now, index=self.index + 1, queue=queue)

    def cut_when_due(self, now: datetime, interval: timedelta, *, at_least_from: datetime | None) -> Windows:
        """End the open window if it is old enough, or if it began before ``at_least_from`` and that has passed."""
        if self.start is None:
            return self
        full = now - self.start >= interval
        needed = at_least_from is not None and self.start < at_least_from <= now
        return self.cut(now) if full or needed else self

    def due(self, now: datetime, settle: timedelta) -> Closed | None:
        """The oldest closed window that has settled."""
        if self.queue and self.queue[0].end + settle <= now:
            return self.queue[0]
        return None

    def judged(self, window: Closed) -> Windows:
        """With that window done."""
        return replace(self, queue=tuple(w for w in self.queue if w.id != window.id), judged_until=window.end)

    def clear_until(self, moment: datetime) -> bool:
        """True when everything that started before a moment is judged."""
        return self.start is not None and self.start >= moment and all(w.start >= moment for w in self.queue)

    def to_data(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "start": _iso(self.start),
            "step": self.step,
            "index": self.index,
            "revision": self.revision,
            "queue": [[w.step, w.index, w.start.isoformat(), w.end.isoformat(), w.revision] for w in self.queue],
            "judged_until": _iso(self.judged_until),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Windows:
        """From JSON data."""
        return cls(
            start=_moment(data["start"]),
            step=data["step"],
            index=data["index"],
            revision=data["revision"],
            queue=tuple(
                Closed(step, index, datetime.fromisoformat(start), datetime.fromisoformat(end), revision)
                for step, index, start, end, revision in data["queue"]
            ),
            judged_until=_moment(data["judged_until"]),
        )


def _bounded(queue: tuple[Closed, ...]) -> tuple[Closed, ...]:
    """Join the two youngest windows of a queue that is too long; none of them was judged, so ids stay honest."""
    if len(queue) <= LONGEST_QUEUE:
        return queue
    older, last = queue[-2:]
    if (older.step, older.revision) != (last.step, last.revision) or older.end != last.start:
        return queue
    return (*queue[:-2], replace(older, end=last.end))


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
