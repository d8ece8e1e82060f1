"""What people do with rollouts: start, look, pause, resume, promote, abort. Works with or without a running engine."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from dataclasses import replace as replaced
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from flagbrake.errors import Conflict, InvalidInput, NoEngine, NotFound
from flagbrake.model.codec import dumps
from flagbrake.model.flag import Flag
from flagbrake.model.state import SetDistribution
from flagbrake.model.values import percent_of
from flagbrake.ports.notify import Notice
from flagbrake.rollout import looking, machine
from flagbrake.rollout.engine import Document, Engine, deliver, stored
from flagbrake.rollout.plan import Plan
from flagbrake.rollout.split import check_start, serve_at, serve_of, share_served
from flagbrake.rollout.state import Command, Observation, Phase, Reason, Stage, State, Verb
from flagbrake.rollout.windows import Windows
from flagbrake.store.engines import EngineSeen
from flagbrake.store.rollouts import RolloutEvent, RolloutRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: An engine that has not ticked for so many seconds counts as dead.
SILENT_AFTER: Final = 30.0


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """A rollout at one moment, for people and for ``--json``.

    ``percent`` is what the canary has, as text (``12.5``). ``assessments`` holds per check the verdict, the
    words, the tally and the evidence, as JSON data. ``next_check`` is when the engine can next learn or do
    something. ``last_tick_age`` is in seconds, ``None`` if no engine ever ran here.
    """

    id: str
    flag: str
    environment: str
    canary: str
    baseline: str
    phase: Phase
    stage: Stage
    step: int
    steps: tuple[str, ...]
    percent: str
    why: str
    pauses: tuple[str, ...]
    blind: str
    error: str
    assessments: tuple[dict[str, Any], ...]
    started_at: datetime | None
    started_by: str
    step_at: datetime | None
    bake_ends: datetime | None
    next_check: datetime | None
    engine_live: bool
    last_tick_age: float | None

    @property
    def terminal(self) -> bool:
        """True when it is over."""
        return self.phase in {Phase.ROLLED_BACK, Phase.COMPLETED, Phase.ABORTED, Phase.SUPERSEDED}

    @property
    def verdict(self) -> str:
        """The worst verdict of all checks, empty before the first."""
        order = ("fail", "error", "no_data", "inconclusive", "pass")
        found = {assessment["verdict"] for assessment in self.assessments}
        return next((verdict for verdict in order if verdict in found), "")

    @property
    def words(self) -> str:
        """One plain line: why it ended, why it waits, or what the judge says."""
        if self.terminal:
            suffix = ": rolled back" if self.phase is Phase.ROLLED_BACK else ""
            return f"{self.why}{suffix}"
        parts = [*self.pauses, *([f"cannot write: {self.error}"] if self.error else [])]
        return "; ".join(parts or [assessment["words"] for assessment in self.assessments])


class RolloutService:
    """The verbs of people. ``engine`` does the work; it need not be the one that runs."""

    def __init__(self, engine: Engine, *, silent_after: float = SILENT_AFTER) -> None:
        self._engine = engine
        self._store = engine.store
        self._writer = engine.writer
        self._silent_after = silent_after

    # --- start -------------------------------------------------------------------------------------------

    def start(
        self, plan: Plan, *, by: str, reason: str = "", here: bool = False, replace: bool = False
    ) -> RolloutStatus:
        """Start a rollout; the first step is written by the engine's next tick.

        Args:
            plan: what to do.
            by: the person.
            reason: why, for the audit.
            here: the caller runs the engine itself.
            replace: take over from an active rollout of the same flag; what a rollback puts back stays what
                was served before that one.

        Raises:
            NoEngine: no engine ticked lately and ``here`` was not said.
            NotFound: no such flag, variant or rule.
            InvalidInput: the flag is off or killed, serves a third variant, or a step is finer than can be set.
            Conflict: the flag has an active rollout.
            Unsupported: the control cannot set splits.
        """
        plan.check_resolution(self._writer.control.split_resolution, self._writer.control.name)
        now = self._engine.clock.now()
        if not here and not self._live(now):
            raise NoEngine(
                f"No rollout engine is running for {self._store.environment}{self._last_seen(now)}: "
                "nobody would watch this rollout.",
                cure="flagbrake engine, or --here",
            )
        state = self._writer.control.read(plan.flag)
        running = self._active(plan.flag)
        before = state.flag
        if running is None:
            check_start(before, canary=plan.canary, baseline=plan.baseline, first=plan.share(0), rule=plan.rule)
        elif replace:
            before = self._taken_over(plan, running, before)
        else:
            raise Conflict(
                f"Flag '{plan.flag}' has an active rollout already: {running.id}, {running.status}.",
                cure=f"flagbrake rollout status {plan.flag}; abort it first, or --replace",
            )
        self._refuse_killed(plan.flag)
        document = Document(plan, before)
        for step in plan.steps:
            serve = serve_at(step.share, canary=plan.canary, baseline=plan.baseline, before=document.serve_before)
            self._writer.check(SetDistribution(plan.flag, serve, rule=plan.rule))
        if running is None:
            return self._created(document, state.version, now, by=by, reason=reason)
        return self._engine.patiently(
            lambda: self._created(document, None, now, by=by, reason=reason, instead_of=running.id)
        )

    def _created(
        self,
        document: Document,
        version: str | None,
        now: datetime,
        *,
        by: str,
        reason: str,
        instead_of: str | None = None,
    ) -> RolloutStatus:
        plan = document.plan
        ended = None
        if instead_of is not None:
            ended = self._store.rollouts.claim(instead_of, self._engine.id, self._engine.lease, now)
        if version is None:
            # Read under the claim: the rollout that is taken over writes no more.
            version = self._writer.control.read(plan.flag).version
        rollout_id = f"{now:%Y%m%d}-{uuid.uuid4().hex[:6]}"
        initial = State(
            version=version,
            revision=None,
            started_at=now,
            windows=Windows(),
            memories=looking.fresh(plan.judges()),
        )
        shares = ", ".join(percent_of(step.share) for step in plan.steps)
        words = f"{plan.canary} over {plan.baseline} in steps of {shares} % started by {by}"
        words += f": {reason}" if reason else ""
        event = RolloutEvent(
            at=now, kind="started", message=words, by=by, data={"plan": plan.to_data(), "hash": plan.hash}
        )
        with self._store.db.transaction() as conn:
            if ended is not None:
                self._supersede(*ended, rollout_id, now, by=by, conn=conn)
            row = self._store.rollouts.create(
                rollout_id,
                flag=plan.flag,
                plan=document.to_text(),
                state=dumps(initial.to_data()),
                by=by,
                status=Phase.PENDING.value,
                due_at=now,
                conn=conn,
            )
            self._store.rollouts.append(conn, rollout_id, [event])
            self._store.audit.append(
                conn,
                at=now,
                by=by,
                action="rollout-started",
                subject=plan.flag,
                reason=words,
                after={"rollout": rollout_id, "plan": plan.to_data(), "hash": plan.hash},
            )
        data = {"rollout": rollout_id, "flag": plan.flag, "kind": "started"}
        deliver(
            self._engine.notifiers,
            Notice("rollout", self._store.environment, f"{plan.flag}: {words}", by, now, data),
        )
        return self._status(row, now)

    def _supersede(
        self, row: RolloutRow, fence: int, successor: str, now: datetime, *, by: str, conn: Connection
    ) -> None:
        """End a rollout without a write, in the transaction that begins its successor."""
        document = Document.from_text(row.plan)
        word = Observation(None, command=Command(Verb.SUPERSEDE, by, f"rollout {successor}"))
        state = State.from_data(json.loads(row.state))
        decision = machine.next(state, document.plan, document.serve_before, word, now)
        self._store.rollouts.save(
            row.id,
            dumps(replaced(decision.state, outbox=()).to_data()),
            expected_seq=row.seq,
            fence=fence,
            events=[stored(event, now) for event in decision.events],
            conn=conn,
            status=decision.state.shown.value,
            due_at=None,
            active=False,
        )

    def _taken_over(self, plan: Plan, running: RolloutRow, found: Flag) -> Flag:
        """The flag before the rollout that is taken over; its split must be one this plan can go on from."""
        earlier = Document.from_text(running.plan)
        if earlier.plan.rule != plan.rule:
            raise InvalidInput(f"The active rollout moves another place of flag '{plan.flag}'.", cure="abort it first")
        check_start(found, canary=plan.canary, baseline=plan.baseline, first=plan.share(0), rule=plan.rule)
        check_start(earlier.before, canary=plan.canary, baseline=plan.baseline, first=plan.share(0), rule=plan.rule)
        return earlier.before

    def _refuse_killed(self, flag: str) -> None:
        kill = looking.standing_kill(self._store, self._engine.manifest, flag)
        if kill:
            raise InvalidInput(f"{kill}: flag '{flag}' cannot be rolled out.", cure="flagbrake restore")

    # --- look --------------------------------------------------------------------------------------------

    def status(self, name: str) -> RolloutStatus:
        """The rollout of this id, else the active or latest one of this flag.

        Raises:
            NotFound: there is none.
        """
        return self._status(self._row(name), self._engine.clock.now())

    def all(self, *, active: bool = True) -> list[RolloutStatus]:
        """All active rollouts, or the latest ones, over or not."""
        rows = self._store.rollouts.active() if active else self._store.rollouts.latest()
        now = self._engine.clock.now()
        return [self._status(row, now) for row in rows]

    def history(self, name: str, limit: int | None = None) -> list[RolloutEvent]:
        """What happened, oldest first.

        Raises:
            NotFound: there is no such rollout.
        """
        return self._store.rollouts.events(self._row(name).id, limit)

    # --- steer -------------------------------------------------------------------------------------------

    def pause(self, name: str, *, by: str, reason: str = "") -> RolloutStatus:
        """Hold the split where it is. Checks go on, and a failing one still rolls back."""
        return self._steer(name, Verb.PAUSE, by, reason)

    def resume(self, name: str, *, by: str, reason: str = "") -> RolloutStatus:
        """Go on; after drift this puts the plan's split back.

        Raises:
            Conflict: it is not paused, or the flag is still killed or off.
        """
        status = self.status(name)
        if not status.terminal and not status.pauses:
            raise Conflict(f"The rollout {status.id} is not paused: {status.phase.value}.", cure="nothing to do")
        after = self._steer(name, Verb.RESUME, by, reason)
        if after.pauses:
            raise Conflict(f"Still paused: {'; '.join(after.pauses)}.", cure="flagbrake restore, then resume")
        return after

    def promote(self, name: str, *, by: str, reason: str = "", full: bool = False) -> RolloutStatus:
        """Begin the next step now, giving the approval it may need; ``full`` goes to the last step at once.

        Raises:
            Conflict: it is paused.
        """
        status = self.status(name)
        if not status.terminal and status.pauses:
            raise Conflict(f"The rollout {status.id} is paused: {'; '.join(status.pauses)}.", cure="resume it first")
        return self._steer(name, Verb.PROMOTE_FULL if full else Verb.PROMOTE, by, reason)

    def abort(self, name: str, *, by: str, reason: str = "") -> RolloutStatus:
        """Roll back now: put back exactly what was served before."""
        return self._steer(name, Verb.ABORT, by, reason)

    def _steer(self, name: str, verb: Verb, by: str, reason: str) -> RolloutStatus:
        row = self._row(name)
        if not row.active:
            raise Conflict(f"The rollout {row.id} is over: {row.status}.", cure="flagbrake rollout start")
        self._engine.command(row.id, Command(verb, by, reason))
        return self.status(row.id)

    # --- inside ------------------------------------------------------------------------------------------

    def _active(self, flag: str) -> RolloutRow | None:
        return next(iter(self._store.rollouts.active(flag)), None)

    def _row(self, name: str) -> RolloutRow:
        row = self._store.rollouts.get(name) or self._active(name)
        row = row or next(iter(self._store.rollouts.latest(name, 1)), None)
        if row is None:
            flags = sorted({known.flag for known in self._store.rollouts.latest()})
            raise NotFound(
                f"There is no rollout of '{name}' in {self._store.environment}.",
                cure=" or ".join(flags[:5]) if flags else "flagbrake rollout start",
            )
        return row

    def _live(self, now: datetime) -> list[EngineSeen]:
        return self._store.engines.live(self._silent_after, now=now)

    def _last_seen(self, now: datetime) -> str:
        last = self._store.engines.last()
        return f" (the last one ticked {(now - last.seen_at).total_seconds():.0f} s ago)" if last else ""

    def _status(self, row: RolloutRow, now: datetime) -> RolloutStatus:
        document = Document.from_text(row.plan)
        plan, state = document.plan, State.from_data(json.loads(row.state))
        last = self._store.engines.last()
        ends = machine.bake_ends(state, plan) if not state.terminal else None
        return RolloutStatus(
            id=row.id,
            flag=plan.flag,
            environment=self._store.environment,
            canary=plan.canary,
            baseline=plan.baseline,
            phase=state.shown,
            stage=state.stage,
            step=state.step,
            steps=tuple(percent_of(step.share) for step in plan.steps),
            percent=percent_of(_share(state, document)),
            why=state.why,
            pauses=tuple(words for reason, words in state.pauses.items() if reason in Reason),
            blind=state.blind,
            error=state.error,
            assessments=tuple(dict(assessment) for assessment in state.assessments),
            started_at=state.started_at,
            started_by=row.created_by,
            step_at=state.step_at,
            bake_ends=ends,
            next_check=None if state.terminal else _next_check(state, plan, now, ends),
            engine_live=bool(self._live(now)),
            last_tick_age=max(0.0, (now - last.seen_at).total_seconds()) if last else None,
        )


def _share(state: State, document: Document) -> int:
    plan = document.plan
    if state.phase in {Phase.ROLLED_BACK, Phase.ABORTED} or state.step < 0:
        return share_served(serve_of(document.before, plan.rule), plan.canary)
    return plan.share(state.step) if state.adopted is None else state.adopted


def _next_check(state: State, plan: Plan, now: datetime, ends: datetime | None) -> datetime:
    windows = state.windows
    moments = [closed.end + plan.settle for closed in windows.queue[:1]]
    if windows.start is not None and not moments:
        moments.append(max(windows.start, state.step_at or windows.start) + plan.interval + plan.settle)
    if ends is not None and ends > now:
        moments.append(ends)
    return max(now, min(moments, default=now))
