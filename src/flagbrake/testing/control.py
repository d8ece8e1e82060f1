"""A control over the flags of a MemoryProvider: it can do everything, exactly."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

from flagbrake.errors import Conflict, NotFound
from flagbrake.evaluate import check
from flagbrake.model.change import intended
from flagbrake.model.codec import flag_from_data, flag_to_data
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.state import Archive, Capability, Change, FlagState, Replace, SetOn, Support
from flagbrake.ports.clock import Clock, SystemClock
from flagbrake.ports.control import FlagControl
from flagbrake.testing.provider import MemoryProvider


@dataclass(frozen=True, slots=True)
class Written:
    """One change that was made."""

    change: Change
    by: str
    comment: str
    at: datetime
    state: FlagState


class MemoryControl(FlagControl):
    """Writes the flags that ``provider`` serves. ``written`` lists what was changed, by whom and why."""

    name: ClassVar[str] = "memory"
    capabilities: ClassVar[Mapping[Capability, Support]] = MappingProxyType(dict.fromkeys(Capability, Support.FULL))

    def __init__(
        self,
        provider: MemoryProvider | None = None,
        *,
        project: str = "default",
        environment: str = "test",
        clock: Clock | None = None,
    ) -> None:
        self.provider = provider or MemoryProvider()
        self.project = project
        self.environment = environment
        self.written: list[Written] = []
        self._clock = clock or SystemClock()
        self._writing = threading.Lock()

    def read(self, key: str) -> FlagState:
        """Read one flag, archived ones too.

        Raises:
            NotFound: no such flag; the nearest key is named.
        """
        flag = self.provider.flags.get(key)
        if flag is None:
            near = difflib.get_close_matches(key, self.provider.flags, n=1)
            raise NotFound(f"There is no flag '{key}' in '{self.environment}'.", cure=f"'{near[0]}'" if near else "")
        return self._state(flag)

    def apply(self, change: Change, *, expected: str | None = None, by: str = "", comment: str = "") -> FlagState:
        """Write one change; one that is true already writes nothing.

        Raises:
            NotFound, Conflict, InvalidInput: as the port says; nothing was written.
        """
        with self._writing:
            found = self.provider.flags.get(change.key)
            self._compare(change, found, expected)
            meant = intended(found, change)
            if isinstance(change, Replace) and change.native is not None:
                meant = flag_from_data(change.native, where=f"flags.{change.key}")
            if found is not None and replace(meant, version=found.version) == found:
                return self._state(found)
            meant = replace(meant, version=(found.version if found else 0) + 1)
            if not isinstance(change, (SetOn, Archive)):  # these must work whatever else is broken
                flag_from_data(flag_to_data(meant))
                check(meant, flags=self.provider.flags, segments=self.provider.rules.segments)
            self.provider.put(meant)
            state = self._state(meant)
            self.written.append(Written(change, by, comment, self._clock.now(), state))
            return state

    def _compare(self, change: Change, found: Flag | None, expected: str | None) -> None:
        if expected is None or (found is not None and str(found.version) == expected):
            return
        if found is None:
            self.read(change.key)
        assert found is not None
        fact = f"Flag '{change.key}' has version {found.version}, not {expected}: somebody changed it."
        raise Conflict(fact, cure="read it again and decide again")

    def states(self) -> Iterator[FlagState]:
        """All flags that are not archived."""
        return iter([self._state(flag) for flag in self.provider.flags.values() if not flag.archived])

    def segments(self) -> Iterator[Segment]:
        """All segments."""
        return iter(list(self.provider.rules.segments.values()))

    def _state(self, flag: Flag) -> FlagState:
        return FlagState(self.ref(flag.key), flag, str(flag.version), flag_to_data(flag), self._clock.now())
