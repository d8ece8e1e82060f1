"""The kill state of this process: fed by lanes, read by everybody, swapped whole."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial, reduce
from typing import Final, NamedTuple

from openfeature.evaluation_context import EvaluationContext

from flagbrake.kill.convention import Ruling, as_scope, context_scopes, covering, flag_scopes, rule, strictest
from flagbrake.kill.state import NEVER, Lane, State
from flagbrake.model.kill import Kill, Liveness, Scope, UnknownPolicy
from flagbrake.model.manifest import Manifest
from flagbrake.ports.kills import AckSink, KillFeed, KillView

_log = logging.getLogger("flagbrake.kill")

#: Scopes remembered per state; more than this many different names start the memory afresh.
_MEMORY: Final = 4096

Callback = Callable[[State, State], None]


class Life(NamedTuple):
    """A scope's liveness, and how many seconds ago the quietest lane was heard (``None``: one never was)."""

    state: Liveness
    age: float | None


class _View:
    """A state with its memories. Replaced whole, so a memory never outlives the state it was made from."""

    __slots__ = ("flags", "killed", "quiet", "state", "timed", "valid_until")

    def __init__(self, state: State) -> None:
        self.state = state
        self.quiet = state.quiet
        self.valid_until = state.valid_until
        self.timed = state.timed
        self.killed: dict[str | Scope, bool] = {}
        self.flags: dict[str, Ruling | None] = {}

    def renewed(self, state: State) -> _View:
        """The same answers for longer: keeps the memories."""
        view = _View(state)
        view.killed, view.flags = self.killed, self.flags
        return view


class Board:
    """What this process knows about kills.

    Feeds write (:meth:`receive`), everybody reads without a lock. The effective state is the union of all
    lanes. A lane whose ``valid_until`` has passed is UNKNOWN and the policy decides: ``last-known`` keeps its
    kills, ``closed`` kills everything, ``open`` forgets them. A lane that reads below the highest epoch it
    ever reached has lost something and is closed until it has caught up.

    Args:
        environment: kills of any other environment are refused.
        policy: what UNKNOWN means for scopes that no entry of ``policies`` covers.
        policies: per scope; the nearest covering one counts. A flag's declaration goes before both.
        lanes: names of lanes that are expected; until such a lane has spoken the state is UNKNOWN.
        monotonic: seconds; the clock of ``KillView.valid_until``.
    """

    def __init__(
        self,
        environment: str = "",
        *,
        policy: UnknownPolicy = UnknownPolicy.LAST_KNOWN,
        policies: Mapping[Scope, UnknownPolicy] | None = None,
        manifest: Manifest | None = None,
        lanes: Iterable[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.environment = environment
        self._monotonic = monotonic
        self._now = now
        self._base = manifest or Manifest()
        self._manifests: dict[str, Manifest] = {}
        self._soon: dict[int, Callback] = {}
        self._late: dict[int, Callback] = {}
        self._sinks: list[tuple[AckSink, str | None]] = []
        self._alarmed: set[str] = set()
        self._renew_locks()
        #: The present view; guards read ``view.quiet`` on their hot path.
        self.view = _View(
            State(
                environment,
                now(),
                {name: Lane(name) for name in lanes},
                self._base,
                policy,
                dict(policies or {}),
            )
        )
        self.is_killed = _fast_reader(self, monotonic)
        _boards.add(self)

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    # --- reading ----------------------------------------------------------------------------------------

    #: ``is_killed(scope)``: is this scope killed, in any mode? ``scope`` is text (``agent:refunds``) or a
    #: Scope. From memory: one lookup, and one look at the clock where silence would change the answer.
    is_killed: Callable[[str | Scope], bool]

    @property
    def state(self) -> State:
        """The present state, aged to now."""
        return self.present().state

    def present(self) -> _View:
        """The present view, aged to now."""
        view = self.view
        if self._monotonic() < view.valid_until:
            return view
        return self._age()

    def seconds_left(self) -> float:
        """Until the next lane goes stale if it is not heard again; infinity when none can."""
        return max(0.0, self.view.valid_until - self._monotonic())

    def killed_by(self, scopes: Iterable[str | Scope]) -> Kill | None:
        """The strictest kill that covers any of these scopes, ``None`` when all are alive."""
        return strictest(self.matching(scopes))

    def matching(self, scopes: Iterable[str | Scope]) -> tuple[Kill, ...]:
        """All kills that count for any of these scopes, each under its own policy."""
        state = self.present().state
        found: dict[int, Kill] = {}
        for scope in scopes:
            found.update((id(k), k) for k in state.covering(as_scope(scope)))
        return tuple(found.values())

    def ruling(self, flag: str, context: EvaluationContext | None = None) -> Ruling | None:
        """What a flag serves under the present kills, ``None`` when it is alive."""
        view = self.view
        if view.timed and self._monotonic() >= view.valid_until:
            view = self._age()
        try:
            return view.flags[flag]
        except KeyError:
            return self._first_ruling(view, flag, context)

    def _first_ruling(self, view: _View, flag: str, context: EvaluationContext | None) -> Ruling | None:
        declaration = view.state.manifest.get(flag)
        scopes = flag_scopes(flag, declaration)
        if declaration is not None and declaration.scope_attributes:
            return self._rule(view.state, flag, scopes + context_scopes(declaration, context))
        if len(view.flags) >= _MEMORY:
            view.flags.clear()
        found = view.flags[flag] = self._rule(view.state, flag, scopes)
        return found

    @staticmethod
    def _rule(state: State, flag: str, scopes: tuple[Scope, ...]) -> Ruling | None:
        kills = state.standing(state.policy_of_flag(flag, scopes))
        return rule(covering(kills, scopes), state.manifest.get(flag))

    def liveness(self, scope: str | Scope) -> Life:
        """ALIVE, KILLED or UNKNOWN, with the age of what is known."""
        scope = as_scope(scope)
        state = self.present().state
        heard = min((lane.received_at for lane in state.lanes.values()), default=NEVER)
        age = None if heard == NEVER else self._monotonic() - heard
        if state.surely_killed(scope):
            return Life(Liveness.KILLED, age)
        return Life(Liveness.UNKNOWN if state.unknown else Liveness.ALIVE, age)

    def standing(self) -> tuple[Kill, ...]:
        """Every kill as the lanes last said it."""
        return self.view.state.kills

    @property
    def manifest(self) -> Manifest:
        """The declarations in force."""
        return self.view.state.manifest

    @property
    def epoch(self) -> int:
        """The highest epoch any lane has reached."""
        return self.view.state.epoch

    # --- feeding ----------------------------------------------------------------------------------------

    def attach(self, feed: KillFeed, *, lane: str = "store") -> Callable[[], None]:
        """Listen to a feed under a lane's name; return what detaches it.

        Where two lanes declare the same flag, the one attached (or announced) first counts; both go before
        the board's own ``manifest``.
        """
        self.expect(lane)
        return feed.subscribe(partial(self.receive, lane=lane))

    def expect(self, lane: str, *, at_least: int = 0) -> None:
        """Announce a lane. ``at_least`` is the highest epoch an outside witness saw from it."""

        def expected(state: State) -> State:
            known = state.lanes.get(lane, Lane(lane))
            highest = max(known.highest, at_least)
            behind = known.received_at != NEVER and known.epoch < highest
            return state.with_lane(replace(known, highest=highest, suspect=known.suspect or behind), at=self._now())

        self._update(expected)

    def receive(self, view: KillView, *, lane: str = "store") -> None:
        """Take a lane's view. Never raises: what cannot be applied makes the lane UNKNOWN and is logged."""
        try:
            self._apply(view, lane)
        except Exception:  # noqa: BLE001 - nothing may reach the feed
            _log.exception("A view of kill lane '%s' could not be applied; the lane is UNKNOWN.", lane)
            self._doubt(lane)

    def _apply(self, view: KillView, name: str) -> None:
        snapshot = view.snapshot
        if self.environment and snapshot.environment != self.environment:
            _log.error(
                "Kill lane '%s' speaks for environment '%s', this process runs in '%s': ignored.",
                name,
                snapshot.environment,
                self.environment,
            )
            return
        kills = tuple(k for k in snapshot.kills if self._belongs(k))
        news = False

        def applied(state: State) -> State:
            nonlocal news
            before = state.lanes.get(name, Lane(name))
            suspect = snapshot.epoch < before.highest
            if suspect and not before.suspect:
                _log.error(
                    "ALARM: kill lane '%s' went back from epoch %d to %d. Everything counts as killed until it has "
                    "caught up.",
                    name,
                    before.highest,
                    snapshot.epoch,
                )
            if not suspect:
                news = before.epoch != snapshot.epoch or before.received_at == NEVER or before.suspect
            now = self._monotonic()
            lane = Lane(
                name,
                # What a suspect lane no longer says may be what it lost.
                _joined(before.kills, kills) if suspect else kills,
                snapshot.epoch,
                max(before.highest, snapshot.epoch),
                now,
                view.valid_until,
                stale=view.valid_until <= now,
                suspect=suspect,
            )
            manifest = state.manifest if suspect else self._merged(name, view.manifest, state)
            return state.with_lane(lane, manifest=manifest, at=self._now())

        self._update(applied, then=lambda: self._acknowledge(name, snapshot.epoch) if news else None)

    def _belongs(self, kill: Kill) -> bool:
        if self.environment and kill.environment != self.environment and not kill.corrupt:
            _log.error(
                "Kill %s is of environment '%s', not '%s': ignored.", kill.id, kill.environment, self.environment
            )
            return False
        if kill.corrupt and kill.id not in self._alarmed:
            self._alarmed.add(kill.id)
            _log.error("ALARM: kill %s on %s cannot be read; it counts as killed.", kill.id, kill.scope)
        return True

    def _merged(self, lane: str, manifest: Manifest, state: State) -> Manifest:
        if self._manifests.get(lane) is manifest:
            return state.manifest
        self._manifests[lane] = manifest
        if len(self._manifests) == 1 and not self._base.declarations:
            return manifest
        # Whichever lane is heard first in this process must not decide: the one that was announced first does.
        order = reversed([name for name in {**state.lanes, lane: None} if name in self._manifests])
        return reduce(Manifest.merged, (self._manifests[name] for name in order), self._base)

    def _doubt(self, name: str) -> None:
        def doubted(state: State) -> State:
            lane = replace(state.lanes.get(name, Lane(name)), stale=True, valid_until=NEVER)
            return state.with_lane(lane, at=self._now())

        self._update(doubted)

    def _age(self) -> _View:
        self._update(lambda state: state.aged(self._monotonic()))
        return self.view

    def _update(self, change: Callable[[State], State], then: Callable[[], None] = lambda: None) -> None:
        with self._changed:
            old = self.view.state
            new = change(old)
            if new is old:
                return
            same = new.same_as(old)
            self.view = self.view.renewed(new) if same else _View(new)
            soon = () if same else tuple(self._soon.values())
            late = () if same else tuple(self._late.values())
            self._changed.notify_all()
        _call(soon, old, new)
        then()
        _call(late, old, new)

    # --- telling ----------------------------------------------------------------------------------------

    def subscribe(self, callback: Callback, *, late: bool = False) -> Callable[[], None]:
        """Call ``callback(old, new)`` after every change, in the thread that brought it; return the unsubscriber.

        It must be quick and is never called for a mere refresh. Callbacks of two changes may overlap: what
        counts is :attr:`state`, not the arguments. ``late`` ones are called after the acknowledgement: what
        stops agents comes first, what tells others comes last.
        """
        callbacks = self._late if late else self._soon
        key = next(_keys)
        with self._lock:
            callbacks[key] = callback

        def unsubscribe() -> None:
            with self._lock:
                callbacks.pop(key, None)

        return unsubscribe

    def wait(self, until: Callable[[State], bool], timeout: float | None = None) -> bool:
        """Block until ``until(state)`` holds, at most ``timeout`` seconds; False when time ran out.

        Wakes at every view a lane brings and when a lane goes stale.
        """
        deadline = None if timeout is None else self._monotonic() + timeout
        while not until(self.state):
            with self._changed:
                now = self._monotonic()
                left = None if deadline is None else deadline - now
                if left is not None and left <= 0:
                    return False
                if until(self.view.state):
                    return True
                ages_in = self.view.valid_until - now
                self._changed.wait(min(ages_in, 3600.0 if left is None else left))
        return True

    def acknowledge(self, sink: AckSink, *, lane: str | None = None) -> None:
        """Tell ``sink`` each epoch after it is applied, of one lane or of all; the present one at once."""
        with self._lock:
            self._sinks.append((sink, lane))
            heard = [v for v in self.view.state.lanes.values() if v.received_at != NEVER and not v.suspect]
        for entry in heard:
            if lane is None or lane == entry.name:
                self._tell(sink, entry.epoch)

    def _acknowledge(self, lane: str, epoch: int) -> None:
        for sink, wanted in tuple(self._sinks):
            if wanted is None or wanted == lane:
                self._tell(sink, epoch)

    def _tell(self, sink: AckSink, epoch: int) -> None:
        try:
            sink.applied(epoch, self._now())
        except Exception:  # noqa: BLE001 - the kill stands, told or not
            _log.exception("Epoch %d is applied, but the acknowledgement failed.", epoch)


_keys = itertools.count()


def _call(callbacks: Iterable[Callback], old: State, new: State) -> None:
    for callback in callbacks:
        try:
            callback(old, new)
        except Exception:  # noqa: BLE001 - one listener may not stop the others
            _log.exception("A listener of the kill board failed.")


def _joined(before: tuple[Kill, ...], now: tuple[Kill, ...]) -> tuple[Kill, ...]:
    ids = {k.id for k in now}
    return now + tuple(k for k in before if k.id not in ids)


def _fast_reader(board: Board, monotonic: Callable[[], float]) -> Callable[[str | Scope], bool]:
    # A closure costs half of a method here, and this is asked before every step of every agent.
    def is_killed(scope: str | Scope) -> bool:
        view = board.view
        if view.timed and monotonic() >= view.valid_until:
            view = board.present()
        try:
            return view.killed[scope]
        except KeyError:
            if len(view.killed) >= _MEMORY:
                view.killed.clear()
            found = view.killed[scope] = bool(view.state.covering(as_scope(scope)))
            return found

    return is_killed


_boards: weakref.WeakSet[Board] = weakref.WeakSet()


def _after_fork() -> None:
    # Another thread may have held the lock when the process forked. The feeds' threads are gone too: the
    # lanes go stale by themselves and the policy decides until wiring has started new ones.
    for board in _boards:
        board._renew_locks()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_after_fork)
