"""Small real controls and locks: they keep state, count versions, and fail in the ways vendors fail."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from flagbrake.control.hearing import ALIVE, Listeners
from flagbrake.errors import Conflict, LockBusy, NotFound
from flagbrake.model.change import intended
from flagbrake.model.codec import flag_from_data, flag_to_data
from flagbrake.model.flag import Distribution, Flag, Variant, Weight
from flagbrake.model.kill import Kill, KillSnapshot
from flagbrake.model.state import Archive, Capability, Change, FlagState, Replace, Support
from flagbrake.model.values import FlagKind
from flagbrake.ports.control import FlagControl
from flagbrake.ports.kills import KillLane, Process
from flagbrake.ports.lock import Lease, Lock
from flagbrake.ports.notify import Notice, Notifier
from tests.support.waiting import wait_until

Reaction = Callable[[Change], None]


def agent_flag(key: str = "agents.refunds", **rest) -> Flag:
    """Two versions, 10 % on the new one."""
    split = Distribution((Weight("v2", 10_000), Weight("v1", 90_000)))
    settings = {"default": split, "off_variant": "v1", **rest}
    return Flag(key, FlagKind.STRING, (Variant("v1", "v1"), Variant("v2", "v2")), **settings)


class TableControl(FlagControl):
    """A vendor in memory. ``before`` and ``after`` are called around a write and may raise or hang."""

    name = "table"
    capabilities: Mapping[Capability, Support] = dict.fromkeys(Capability, Support.FULL)

    def __init__(self, *flags: Flag, environment: str = "test") -> None:
        self.project, self.environment = "demo", environment
        self._guard = threading.Lock()
        self.documents: dict[str, dict] = {}
        self.writes = 0
        self.before: Reaction = lambda change: None
        self.after: Reaction = lambda change: None
        self.on_read: Callable[[str], None] = lambda key: None
        for flag in flags:
            self.put(flag)

    def put(self, flag: Flag) -> None:
        """Write past everything, as a person in the vendor's own interface does."""
        with self._guard:
            version = self.documents.get(flag.key, {}).get("version", 0) + 1
            self.documents[flag.key] = flag_to_data(replace(flag, version=version))

    def drop(self, key: str) -> None:
        with self._guard:
            del self.documents[key]

    def read(self, key: str) -> FlagState:
        self.on_read(key)
        with self._guard:
            return self._state(key)

    def _state(self, key: str) -> FlagState:
        if key not in self.documents:
            raise NotFound(f"There is no flag '{key}' in {self.environment}.")
        document = self.documents[key]
        flag = flag_from_data(document)
        return FlagState(self.ref(key), flag, str(flag.version), document, datetime.now(UTC))

    def apply(self, change: Change, *, expected: str | None = None, by: str = "", comment: str = "") -> FlagState:
        self.before(change)
        with self._guard:
            found = self._state(change.key) if change.key in self.documents else None
            compares = self.capabilities[Capability.COMPARE_AND_SWAP] is Support.FULL
            if compares and expected is not None and (found is None or found.version != expected):
                raise Conflict(f"'{change.key}' is not at {expected}.")
            flag = intended(found.flag if found else None, change)
            if isinstance(change, Replace) and change.native is not None:
                flag = flag_from_data(change.native)
            version = (found.flag.version if found else 0) + 1
            self.documents[change.key] = flag_to_data(replace(flag, version=version))
            self.writes += 1
            state = self._state(change.key)
            if isinstance(change, Archive):
                del self.documents[change.key]
        self.after(change)
        return state

    def states(self) -> Iterator[FlagState]:
        with self._guard:
            keys = sorted(self.documents)
        for key in keys:
            yield self.read(key)


class LaxControl(TableControl):
    """A vendor without compare-and-swap: the last writer wins."""

    capabilities: Mapping[Capability, Support] = {
        **TableControl.capabilities,
        Capability.COMPARE_AND_SWAP: Support.VENDOR_CANNOT,
    }


class LocalLock(Lock):
    """Leases of one process; ``steal`` takes one away as a successor would after it ran out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.holders: dict[str, Lease] = {}
        self.fence = 0
        self.renewals = 0

    def acquire(self, name: str, *, ttl: float, wait: float = 0.0) -> Lease:
        with self._changed:
            if not self._changed.wait_for(lambda: name not in self.holders, timeout=wait):
                raise LockBusy(f"'{name}' is being written.", after=ttl)
            return self._take(name, "me", ttl)

    def _take(self, name: str, owner: str, ttl: float) -> Lease:
        self.fence += 1
        lease = Lease(name, owner, self.fence, datetime.now(UTC) + timedelta(seconds=ttl))
        self.holders[name] = lease
        return lease

    def steal(self, name: str) -> Lease:
        with self._changed:
            return self._take(name, "other", 30.0)

    def renew(self, lease: Lease, *, ttl: float) -> Lease:
        with self._changed:
            self.renewals += 1
            if self.holders.get(lease.name) != lease:
                raise LockBusy(f"'{lease.name}' was taken by another.")
            self.holders[lease.name] = replace(lease, expires_at=datetime.now(UTC) + timedelta(seconds=ttl))
            return self.holders[lease.name]

    def release(self, lease: Lease) -> None:
        with self._changed:
            if self.holders.get(lease.name) == lease:
                del self.holders[lease.name]
                self._changed.notify_all()


class HandClock:
    """Wall and monotonic time, moved by hand together."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return 1000.0 + self.seconds


class MemoryLane(KillLane):
    """A lane of one process. ``before`` and ``after`` are called around a deed and may raise or hang."""

    name = "memory"
    durable = True

    def __init__(self, name: str, *, durable: bool = True) -> None:
        self.name = name  # type: ignore[misc]
        self.durable = durable  # type: ignore[misc]
        self.kills: dict[str, Kill] = {}
        self.epoch = 0
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.on_read: Callable[[], None] = lambda: None

    def kill(self, kill: Kill, *, deadline: float) -> Kill:
        self.before()
        self.epoch += 1
        self.kills[kill.id] = replace(kill, epoch=self.epoch, lane=self.name)
        self.after()
        return self.kills[kill.id]

    def lift(self, kill: Kill, *, by: str, reason: str, deadline: float) -> int:
        self.before()
        if self.kills.pop(kill.id, None) is None:
            raise NotFound(f"No kill {kill.id}.")
        self.epoch += 1
        self.after()
        return self.epoch

    def read(self) -> KillSnapshot:
        self.on_read()
        return KillSnapshot("test", self.epoch, tuple(self.kills.values()))


class Ear(Notifier):
    """A notifier that keeps what it hears."""

    name = "ear"

    def __init__(self) -> None:
        self.heard: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        self.heard.append(notice)

    def events(self) -> list[str]:
        return [notice.event for notice in self.heard]


def raising(error: Exception) -> Callable[..., None]:
    """Something that always fails."""

    def fail(*_: object) -> None:
        raise error

    return fail


class Rung(Listeners):
    """Listeners of a store; Ctrl-C is pressed once a command waits for them and something is so."""

    def __init__(self, listeners: Listeners, ready: Callable[[], object]) -> None:
        self._listeners = listeners
        self._waits = threading.Event()
        # Where the suite runs in a shell's background, Ctrl-C is switched off.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.thread = threading.Thread(target=self._press, args=(ready,))
        self.thread.start()

    def live(self, within: float = ALIVE, *, applied: int | None = None) -> Sequence[Process]:
        if applied is not None:
            self._waits.set()
        return self._listeners.live(within, applied=applied)

    def _press(self, ready: Callable[[], object]) -> None:
        self._waits.wait(30)
        wait_until(ready)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
