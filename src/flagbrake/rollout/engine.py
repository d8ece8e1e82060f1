"""The only loop: claims each due rollout, looks, decides, writes, confirms, tells. A crash anywhere loses nothing.

Order within one rollout: the state with its intent is saved before the flag is written, the flag is written
against the version the intent names, and the next look confirms it. State and events are one transaction
under the claim's fence, so each happens once; notices wait in the state until they are delivered, so a crash
can repeat a notice but never lose one.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from flagbrake.control.deadlines import Overdue, call
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import Conflict, FlagbrakeError, LockBusy, NotFound, RetryLater, Unavailable
from flagbrake.model.codec import dumps, flag_from_data, flag_to_data
from flagbrake.model.flag import Flag, Serve
from flagbrake.model.manifest import Manifest
from flagbrake.model.state import SetDistribution
from flagbrake.ports.clock import Clock, SystemClock
from flagbrake.ports.metrics import MetricSource
from flagbrake.ports.notify import Notice, Notifier
from flagbrake.rollout import looking, machine
from flagbrake.rollout.plan import Plan
from flagbrake.rollout.split import serve_of
from flagbrake.rollout.state import Command, Decision, Event, Intent, Observation, State
from flagbrake.store import Store
from flagbrake.store.rollouts import RolloutEvent, RolloutRow

_log = logging.getLogger("flagbrake.rollout")
T = TypeVar("T")

#: Seconds of a claim on one rollout; a successor of an engine that died waits it out.
LEASE: Final = 30.0
#: Seconds a notifier may take. It never delays a decision, only the end of the tick.
_NOTIFY: Final = 5.0
#: Looks within one tick: confirm a write, decide, write, confirm. More would be a machine that never rests.
_LOOKS: Final = 6
#: These events are told in the rollout's history only; the others are audited too.
_NOT_AUDITED: Final = frozenset({"window", "edited", "blind", "seeing"})


@dataclass(frozen=True, slots=True)
class Document:
    """What stands in a rollout's row beside its state and never changes: the plan, and the flag before it."""

    plan: Plan
    before: Flag

    @property
    def serve_before(self) -> Serve:
        """What is put back by a rollback."""
        serve = serve_of(self.before, self.plan.rule)
        assert serve is not None
        return serve

    def to_text(self) -> str:
        """As stored."""
        return dumps({"plan": self.plan.to_data(), "before": flag_to_data(self.before)})

    @classmethod
    def from_text(cls, text: str) -> Document:
        """From the stored text."""
        data = json.loads(text)
        return cls(Plan.from_data(data["plan"]), flag_from_data(data["before"]))


@dataclass(frozen=True, slots=True)
class Ticked:
    """One rollout after a tick; ``error`` when the tick could not be finished."""

    id: str
    state: State | None
    error: str = ""


#: What hears of each event of a rollout once it is saved: the flag, the rollout's id, the event.
Told = Callable[[str, str, RolloutEvent], None]


class Engine:
    """Drives all rollouts of one store; any number of engines may run at once.

    ``sources`` are the metric sources by name, ``manifest`` returns the declarations (whose scopes say which
    kills cover a flag). ``told`` may be set: it hears of every event that this engine saves.
    """

    told: Told | None = None

    def __init__(
        self,
        store: Store,
        writer: FlagWriter,
        *,
        sources: Mapping[str, MetricSource],
        notifiers: Sequence[Notifier] = (),
        manifest: Callable[[], Manifest] = Manifest,
        clock: Clock | None = None,
        lease: float = LEASE,
    ) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.store = store
        self.writer = writer
        self.sources = sources
        self.notifiers = notifiers
        self.manifest = manifest
        self.clock = clock or SystemClock()
        self.lease = lease

    # --- the loop ----------------------------------------------------------------------------------------

    def tick(self, now: datetime | None = None) -> list[Ticked]:
        """Beat, then look after every due rollout. One that fails does not keep the others waiting.

        Raises:
            StoreUnavailable: the store did not answer; nothing was decided.
        """
        now = now or self.clock.now()
        self.store.engines.beat(self.id, socket.gethostname(), os.getpid(), now)
        return [done for row in self.store.rollouts.due(now) if (done := self._one(row.id, now)) is not None]

    def run_forever(
        self,
        stop: threading.Event,
        *,
        interval: float = 1.0,
        until: Callable[[], bool] | None = None,
        chores: Callable[[], None] | None = None,
    ) -> None:
        """Tick every ``interval`` seconds until ``stop`` is set. A store that is away is waited for.

        Args:
            stop: ends the loop; set from any thread or signal handler.
            interval: seconds between ticks.
            until: asked after each tick; True ends the loop too.
            chores: done after each tick: what else wants a process that is always there.
        """
        away = False
        while not stop.is_set():
            try:
                self.tick()
                if chores is not None:
                    chores()
                if away:
                    _log.warning("the store answers again")
                away = False
                if until is not None and until():
                    break
            except FlagbrakeError as error:
                if not away:
                    _log.error("the engine cannot work: %s", error)
                away = True
            except Exception:  # noqa: BLE001
                # The loop outlives any bug in a tick: a rollout without an engine is worse.
                _log.exception("a tick failed")
            stop.wait(interval)
        self._leave()

    def _leave(self) -> None:
        try:
            self.store.engines.leave(self.id, self.clock.now())
        except FlagbrakeError as error:
            _log.warning("this engine could not say that it ends: %s", error)

    def _one(self, rollout_id: str, now: datetime) -> Ticked | None:
        try:
            return Ticked(rollout_id, self._claimed(rollout_id, now))
        except (LockBusy, NotFound):
            return None  # another engine has it, or has just ended it
        except Conflict as error:
            return Ticked(rollout_id, None, str(error))
        except FlagbrakeError as error:
            _log.warning("rollout %s: %s", rollout_id, error)
            return Ticked(rollout_id, None, str(error))
        except Exception as error:  # noqa: BLE001 - one rollout's bug must not stop the others
            _log.exception("rollout %s: the tick failed", rollout_id)
            return Ticked(rollout_id, None, f"{type(error).__name__}: {error}")

    def command(self, rollout_id: str, command: Command, *, wait: float = LEASE + 5.0) -> State:
        """Carry out a person's word now, with or without a running engine.

        Raises:
            NotFound: no such active rollout.
            LockBusy: an engine held it for the whole of ``wait`` seconds.
            Unavailable, Conflict: as named.
        """
        return self.patiently(lambda: self._claimed(rollout_id, self.clock.now(), command), wait=wait)

    def patiently(self, work: Callable[[], T], *, wait: float = LEASE + 5.0) -> T:
        """Do ``work``, again and again while an engine holds the rollout.

        Raises:
            LockBusy, Conflict: it was held for the whole of ``wait`` seconds.
        """
        pause = threading.Event()
        end = self.clock.monotonic() + wait
        while True:
            try:
                return work()
            except (LockBusy, Conflict):
                if self.clock.monotonic() >= end:
                    raise
            pause.wait(0.05)

    # --- one rollout ---------------------------------------------------------------------------------------

    def _claimed(self, rollout_id: str, now: datetime, command: Command | None = None) -> State:
        row, fence = self.store.rollouts.claim(rollout_id, self.id, self.lease, now)
        try:
            return _Visit(self, row, fence, now).run(command)
        finally:
            try:
                self.store.rollouts.release(rollout_id, fence=fence)
            except FlagbrakeError as error:
                _log.warning("rollout %s: its claim was not given back and will expire: %s", rollout_id, error)


class _Visit:
    """One claimed rollout: looks, decides and acts until nothing is left to do now."""

    def __init__(self, engine: Engine, row: RolloutRow, fence: int, now: datetime) -> None:
        self.engine = engine
        self.store = engine.store
        self.writer = engine.writer
        self.row = row
        self.fence = fence
        self.visited = now
        self.now = now
        self.document = Document.from_text(row.plan)
        self.plan = self.document.plan
        self.state = State.from_data(json.loads(row.state))
        self.began = engine.clock.monotonic()

    def run(self, command: Command | None) -> State:
        for _ in range(_LOOKS):
            if self.state.terminal:
                break
            decision = self._decide(command)
            command = None
            if decision.write is None or not self._write(decision.write):
                break
        self._deliver()
        return self.state

    def _decide(self, command: Command | None) -> Decision:
        # A write may have taken seconds: what is confirmed now, is confirmed now.
        self.now = self.visited + timedelta(seconds=self.engine.clock.monotonic() - self.began)
        look = looking.look_at_flag(self.writer.control, self.plan)
        killed = looking.standing_kill(self.store, self.engine.manifest, self.plan.flag)
        ref = self.writer.control.ref(self.plan.flag)
        state, events = looking.judge_windows(self.state, self.plan, self.engine.sources, ref, self.now)
        assessments = looking.assess(state, self.plan, self.now)
        # What a write was refused for stays until that write is made or given up.
        error = look.passing or (state.error if state.intent is not None else "")
        state = replace(state, assessments=tuple(a.to_data() for a in assessments), error=error)
        seen = Observation(look.live, assessments, killed, look.lasting, command)
        decision = machine.next(state, self.plan, self.document.serve_before, seen, self.now)
        self._save(decision.state, (*events, *decision.events))
        return decision

    def _write(self, intent: Intent) -> bool:
        """Make the write; True if the flag should be looked at again now."""
        if self.engine.clock.monotonic() - self.began > self.engine.lease / 2:
            return False  # too little is left of the claim; the next tick writes it
        serve = machine.serve_meant(self.plan, self.document.serve_before, intent)
        change = SetDistribution(self.plan.flag, serve, rule=self.plan.rule)
        reason = f"{intent.reason} (rollout {self.row.id})"
        try:
            self.writer.apply(change, by=intent.by, reason=reason, expected=intent.expected)
        except Conflict:
            return True  # somebody was first: look again, decide again
        except LockBusy:
            return False  # somebody is writing the flag; the next tick tries again
        except (Unavailable, RetryLater) as error:
            self._note_error(str(error))
            return False
        except FlagbrakeError as error:
            # Refused for good (not allowed, not able): said once, tried again at every tick.
            self._note_error(str(error))
            return False
        return True

    def _note_error(self, text: str) -> None:
        if self.state.error == text:
            return
        _log.warning("rollout %s: %s", self.row.id, text)
        event = Event("error", text, machine.ENGINE, notice="alarm")
        self._save(replace(self.state, error=text), (event,))

    # --- saving and telling ----------------------------------------------------------------------------------

    def _save(self, state: State, events: Sequence[Event]) -> None:
        """State, history and audit in one transaction, under the fence."""
        notices = [self._notice(event, state) for event in events if event.notice]
        state = replace(state, outbox=(*state.outbox, *notices))
        if state == self.state and not events:
            return
        over = state.terminal and not state.outbox
        rows = [stored(event, self.now) for event in events]
        with self.store.db.transaction() as conn:
            self.row = self.store.rollouts.save(
                self.row.id,
                dumps(state.to_data()),
                expected_seq=self.row.seq,
                fence=self.fence,
                events=rows,
                conn=conn,
                status=state.shown.value,
                due_at=None if over else self.now,
                active=not over,
            )
            for event in events:
                if event.kind not in _NOT_AUDITED:
                    self._audit(conn, event)
        self.state = state
        if self.engine.told is not None:
            for row in rows:
                self.engine.told(self.plan.flag, self.row.id, row)

    def _audit(self, conn: Any, event: Event) -> None:
        self.store.audit.append(
            conn,
            at=self.now,
            by=event.by,
            action=f"rollout-{event.kind}",
            subject=self.plan.flag,
            reason=_one_line(event.words),
            after={"rollout": self.row.id, **_json(event.data)},
        )

    def _notice(self, event: Event, state: State) -> dict[str, Any]:
        flag = self.plan.flag
        data = {"rollout": self.row.id, "flag": flag, "kind": event.kind, "phase": state.shown.value}
        text = f"{flag}: {_one_line(event.words)}"
        return {"event": event.notice, "text": text, "by": event.by, "at": self.now.isoformat(), "data": data}

    def _deliver(self) -> None:
        """Hand over what waits, then forget it: a crash in between tells it twice, never not at all."""
        if not self.state.outbox:
            return
        for waiting in self.state.outbox:
            deliver(self.engine.notifiers, as_notice(waiting, self.store.environment))
        self._save(replace(self.state, outbox=()), ())


def as_notice(waiting: Mapping[str, Any], environment: str) -> Notice:
    """A notice from its stored form."""
    return Notice(
        event=waiting["event"],
        environment=environment,
        text=waiting["text"],
        by=waiting["by"],
        at=datetime.fromisoformat(waiting["at"]),
        data=waiting["data"],
    )


def deliver(notifiers: Sequence[Notifier], notice: Notice) -> None:
    """Tell everybody; one that fails or hangs is logged and keeps nobody else waiting for long."""
    for notifier in notifiers:
        try:
            call(f"notify-{notifier.name}", lambda n=notifier: n.notify(notice), within=_NOTIFY)  # type: ignore[misc]
        except Overdue:
            _log.warning("the notifier %s took longer than %g s", notifier.name, _NOTIFY)
        except Exception as error:  # noqa: BLE001 - a notifier that fails never fails what it tells of
            _log.warning("the notifier %s failed: %s", notifier.name, error)


def stored(event: Event, at: datetime) -> RolloutEvent:
    """An event as a row of the rollout's history."""
    return RolloutEvent(at=at, kind=event.kind, message=_one_line(event.words), by=event.by, data=_json(event.data))


def _one_line(words: str) -> str:
    return " ".join(words.split())


def _json(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in data.items()}
