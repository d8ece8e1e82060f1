"""What the kill switch works on: lanes, listeners, flags, declarations, the audit, notifiers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from flagbrake.control.coverage import Catalogue
from flagbrake.control.deadlines import Job, Overdue
from flagbrake.control.hearing import Listeners
from flagbrake.control.journal import Journal, Recorded, after_of
from flagbrake.control.notices import Telling
from flagbrake.control.prior import Prior, kept
from flagbrake.control.vendor_off import Held
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import FlagbrakeError, NotFound
from flagbrake.model.kill import Kill, KillSnapshot, Scope
from flagbrake.model.manifest import Manifest
from flagbrake.model.receipt import Standing, StandingKill
from flagbrake.model.reserved import is_reserved
from flagbrake.model.state import FlagState
from flagbrake.ports.clock import Clock, SystemClock
from flagbrake.ports.control import FlagControl
from flagbrake.ports.kills import KillLane
from flagbrake.ports.notify import Notice, Notifier

log = logging.getLogger("flagbrake.control")

#: How far back in a scope's history its kill is looked for.
_HISTORY: Final = 200
#: What an entry's action says people wanted (a lane writes ``lift``).
_INTENT: Final = {"kill": "kill", "restore": "restore", "lift": "restore"}


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds each part may take."""

    lane: float = 5.0
    #: Questions before a kill is written: they delay it.
    look: float = 2.0
    #: Reading flags beside a kill.
    flags: float = 5.0
    #: Reading all flags when nothing is urgent.
    preview: float = 30.0
    audit: float = 5.0
    notify: float = 5.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What exists, and the flags as they were read; ``fault`` says why this is not everything."""

    catalogue: Catalogue
    states: Mapping[str, FlagState] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Plane:
    """One environment, as kill and restore need it.

    ``store`` is shown to people: an address without password. ``acknowledged_in`` names the lane whose
    epochs the listeners acknowledge; empty at level 0, where nobody does. ``watched`` lanes are read and lifted,
    never written: kills made in the vendor's own interface. ``registered`` gives scopes that live processes
    check undeclared. ``kept`` gives what a lane kept of the flags a kill covers, by the kill's id; ``held`` the
    flags that are off at the vendor for a kill. ``keys`` gives the keys of all flags, where that is cheaper than
    the flags themselves. ``unwritten`` says whether nothing was ever written in this environment.
    """

    environment: str
    store: str
    lanes: Sequence[KillLane]
    listeners: Listeners
    audit: Journal
    manifest: Callable[[], Manifest] = Manifest
    control: FlagControl | None = None
    writer: FlagWriter | None = None
    notifiers: Sequence[Notifier] = ()
    registered: Callable[[], Iterable[Scope]] = tuple
    keys: Callable[[], Iterable[str]] | None = None
    kept: Callable[[str], Sequence[Prior] | None] = lambda _kill_id: None
    held: Callable[[Kill], Mapping[str, Held]] = lambda _kill: MappingProxyType({})
    clock: Clock = field(default_factory=SystemClock)
    deadlines: Deadlines = field(default_factory=Deadlines)
    acknowledged_in: str = "store"
    watched: Sequence[KillLane] = ()
    unwritten: Callable[[], bool] = lambda: False

    # --- reading -------------------------------------------------------------------------------------

    @property
    def main_lane(self) -> KillLane | None:
        """The lane that says first what is killed: the acknowledged one, without one the first."""
        wanted = self.acknowledged_in
        return next((lane for lane in self.lanes if not wanted or lane.name == wanted), None)

    def _reserved(self, key: str) -> bool:
        # Switches of the kill switch itself: nothing that a kill could cover.
        return self.control is not None and is_reserved(key, dot=self.control.reserved_dot)

    def state(self, key: str) -> FlagState | None:
        """One flag, ``None`` when there is none.

        Raises:
            FlagbrakeError: it could not be read.
        """
        if self.control is None:
            return None
        try:
            return self.control.read(key)
        except NotFound:
            return None

    def listed(self, key: str) -> bool:
        """False only where the flags' keys can be listed and this is none.

        Raises:
            FlagbrakeError: they could not be read.
        """
        return self.keys is None or key in frozenset(self.keys())

    def names(self) -> Survey | None:
        """Everything that exists here, the flags by their keys only; ``None`` where only flags can be listed.

        Raises:
            FlagbrakeError: something could not be read.
        """
        if self.keys is None:
            return None
        names = frozenset(key for key in self.keys() if not self._reserved(key))
        registered = frozenset(self.registered())
        return Survey(Catalogue(self.environment, self.manifest(), names=names, registered=registered))

    def survey(self) -> Survey:
        """Everything that exists here, every flag read.

        Raises:
            FlagbrakeError: something could not be read.
        """
        listed = self.control.states() if self.control is not None else ()
        states = {s.ref.key: s for s in listed if not self._reserved(s.ref.key)}
        flags = {key: state.flag for key, state in states.items()}
        catalogue = Catalogue(self.environment, self.manifest(), flags, registered=frozenset(self.registered()))
        return Survey(catalogue, states)

    def standing(self, *, watched: bool = False) -> Standing:
        """All kills that stand in any lane, the oldest first; never waits for a lane longer than its deadline.

        ``watched``: in those too that are only read.
        """
        lanes = (*self.lanes, *self.watched) if watched else self.lanes
        jobs = [(lane, Job(f"read-{lane.name}", lane.read)) for lane in lanes]
        now = self.clock.now()
        unread: list[tuple[str, str]] = []
        read: dict[str, KillSnapshot] = {}
        for lane, job in jobs:
            try:
                read[lane.name] = job.result(within=self.deadlines.lane)
            except Exception as error:  # noqa: BLE001 - a lane that cannot be read is told as such
                log.warning("the lane %s could not be read: %s", lane.name, error)
                unread.append((lane.name, str(error) or type(error).__name__))
        # A damaged row may stand for several scopes under one id.
        held: dict[tuple[str, Scope], dict[str, Kill]] = {}
        for name, snapshot in read.items():
            for kill in snapshot.kills:
                held.setdefault((kill.id, kill.scope), {})[name] = kill
        written = {lane.name for lane in self.lanes}
        kills = sorted((next(iter(lanes.values())) for lanes in held.values()), key=lambda k: (k.at, k.id))
        return Standing(
            self.environment,
            self.store,
            tuple(
                StandingKill(
                    kill=kill,
                    lanes=tuple(held[kill.id, kill.scope]),
                    # What people made at the vendor alone is no lane's duty.
                    pending=tuple(name for name in read if name in written - held[kill.id, kill.scope].keys())
                    if written & held[kill.id, kill.scope].keys()
                    else (),
                    age=max(0.0, (now - kill.at).total_seconds()),
                    expired=kill.expires_at is not None and kill.expires_at <= now,
                    lifting=self.intent(kill) == "restore",
                )
                for kill in kills
            ),
            tuple(unread),
        )

    # --- the record ----------------------------------------------------------------------------------

    def record(
        self, kill: Kill, action: str, *, by: str, reason: str, before: Any = None, after: Mapping[str, Any]
    ) -> None:
        """Append an entry about a kill; ``after`` is completed with its id.

        Raises:
            FlagbrakeError: it was not written.
        """
        self.audit.record(
            at=self.clock.now(),
            by=by,
            action=action,
            subject=str(kill.scope),
            reason=reason,
            before=before,
            after={"id": kill.id, **after},
        )

    def history(self, kill: Kill) -> list[Recorded]:
        """The entries about a kill, newest first.

        Raises:
            FlagbrakeError: the audit did not answer.
        """
        found = self.audit.entries(str(kill.scope), _HISTORY)
        return [entry for entry in found if after_of(entry, "id") == kill.id]

    def intent(self, kill: Kill) -> str | None:
        """What people last wanted of a kill: ``kill``, ``restore``, or ``None``: not made here, or nobody knows."""
        try:
            history = self.history(kill)
        except FlagbrakeError as error:
            log.warning("the history of %s could not be read: %s", kill.id, error)
            return None
        verbs = (_INTENT.get(entry.action.partition(":")[0]) for entry in history)
        return next((verb for verb in verbs if verb is not None), None)

    def before(self, kill: Kill) -> tuple[Prior, ...] | None:
        """What the flags it covers were before it, ``None`` if nobody knows.

        What the lane kept in the kill's own transaction comes first; then what was read before a flag was
        switched off; then what was read beside the kill.

        Raises:
            FlagbrakeError: lane or audit did not answer.
        """
        in_lane = self.kept(kill.id)
        if in_lane:
            return tuple(in_lane)
        held = {key: flag.prior for key, flag in self.held(kill).items()}
        for entry in self.history(kill):
            noted = kept(entry.before.get("flags")) if isinstance(entry.before, Mapping) else None
            if noted is not None:
                return tuple(({p.key: p for p in noted} | held).values())
        return tuple(held.values()) or None

    # --- telling -------------------------------------------------------------------------------------

    def tell(self, event: str, text: str, *, by: str, data: Mapping[str, Any]) -> Telling:
        """Send a notice to every notifier; ask the answer when there is time."""
        notice = Notice(event, self.environment, text, by, self.clock.now(), {"store": self.store, **data})
        return Telling(self.notifiers, notice, deadline=self.deadlines.notify)


def inside(reason: str) -> str:
    """A reason within a longer message that has a cure of its own: one ``Try:`` is enough."""
    fact, _, cure = reason.partition(" Try: ")
    return fact.rstrip(".") + (f", try {cure}" if cure else "")


def reason_of(error: BaseException) -> str:
    """Why something could not be learnt, in one line."""
    return str(error) if isinstance(error, FlagbrakeError | Overdue) else f"{type(error).__name__}: {error}"
