"""The feed: one thread that keeps a process's snapshot equal to the store, and says so when it cannot."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from flagbrake.errors import ConfigError, FlagbrakeError, StoreUnavailable
from flagbrake.model.kill import KillSnapshot
from flagbrake.ports.clock import Clock, SystemClock
from flagbrake.ports.kills import KillView
from flagbrake.store.audience import Audience, FeedEvent, FeedState, Listener, Receiver
from flagbrake.store.engine import parse_url, shown
from flagbrake.store.forking import gate
from flagbrake.store.lkg import LastKnownGood, Saver
from flagbrake.store.lkg import state_dir as default_state_dir
from flagbrake.store.memory import Memory
from flagbrake.store.snapshot import (
    KillRow,
    Kind,
    Row,
    Snapshot,
    Source,
    advance,
    announced,
    nothing,
    standing,
)
from flagbrake.store.watch import rows
from flagbrake.store.watch.base import SAFETY_POLL, Select, Watch
from flagbrake.store.watch.choice import watch_of

log = logging.getLogger("flagbrake.store")

#: Seconds a kill state is believed after the last contact with the store.
TRUST: Final = 15.0
#: Seconds a start waits for a store that does not answer before it serves what was saved.
_PATIENCE: Final = 2.0
_FIRST_RETRY: Final = 0.1
#: Seconds (to twice as many) between a kill and reading what else changed.
_AFTER_KILL: Final = 0.02
_LAST_RETRY: Final = {"sqlite": 1.0, "postgresql": 5.0}


class StoreFeed:
    """Snapshots of one environment of one store (a ``ports.kills.KillFeed``, and the flags beside it).

    Several parts of a process may share it: ``start`` and ``stop`` count. With ``flags=False`` it carries
    kills and the manifest only. A fork rebuilds it in the child, which serves the inherited snapshot
    meanwhile.
    """

    def __init__(
        self,
        url: str,
        *,
        project: str,
        environment: str,
        state_dir: Path | str | None = None,
        flags: bool = True,
        trust: float = TRUST,
        poll: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._parsed = parse_url(url)
        self.project = project
        self.environment = environment
        self.url_shown = shown(self._parsed)
        self._home = (project, environment)
        self._kinds = tuple(Kind) if flags else (Kind.MANIFEST,)
        self._trust = trust
        self._poll = poll
        self._clock: Clock = clock or SystemClock()
        folder = Path(state_dir) if state_dir is not None else default_state_dir()
        self.last_known_good = LastKnownGood(
            folder, shown=self.url_shown, project=project, environment=environment, what="" if flags else "-kills"
        )
        self._snapshot = nothing(environment, self._clock.now())
        self._users = 0
        self._audience = Audience()
        self._reset_threads()
        self._reset_knowledge()
        gate.join(self)

    def _reset_threads(self) -> None:
        self._lifecycle = threading.RLock()
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._thread: threading.Thread | None = None
        self._watch: Watch | None = None
        self._saver = Saver(self.last_known_good, alarm=lambda text: self._alarm("last-known-good", text))

    def _reset_knowledge(self) -> None:
        self._memory = Memory(self.last_known_good, shown=self.url_shown, environment=self.environment)
        self._contact: float | None = None
        self._valid_until = 0.0
        self._shown_at = 0.0
        self._fault: FlagbrakeError | None = None
        self._stale = False
        self._own_alarms: dict[str, str] = {}

    # --- what others read -----------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The present snapshot; immutable, so it may be kept as long as one likes."""
        return self._snapshot

    @property
    def alarms(self) -> Mapping[str, str]:
        """What is wrong, by name: one line each with the fact and the cure."""
        return MappingProxyType({**self._snapshot.alarms, **self._own_alarms})

    @property
    def state(self) -> FeedState:
        """Fresh, or stale with its age."""
        snapshot, fault, contact = self._snapshot, self._fault, self._contact
        age = None
        if contact is not None:
            age = max(0.0, time.monotonic() - contact)
        elif snapshot.source is not Source.NOWHERE:
            age = max(0.0, (self._clock.now() - snapshot.loaded_at).total_seconds())
        fresh = fault is None and contact is not None and age is not None and age < self._trust
        detail = "" if fresh else str(fault or f"no contact with {self.url_shown}")
        return FeedState(fresh, age, snapshot.source, detail, self._watch.means if self._watch else "")

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(snapshot, changed keys, event)`` from the feed's thread; return the way to stop it."""
        return self._audience.listen(listener)

    def subscribe(self, receive: Receiver) -> Callable[[], None]:
        """Hand over the kill view now (if there is one) and after every change and refresh."""
        return self._audience.subscribe(receive, lambda: self._view() if self._serving else None)

    @property
    def _serving(self) -> bool:
        return self._snapshot.source is not Source.NOWHERE

    # --- life -----------------------------------------------------------------------------------------

    def start(self, timeout: float = 5.0) -> None:
        """Start the thread (once) and return when there is something to serve.

        That is the store's data, or, when the store does not answer, the last known good: then ``state`` is
        stale and the feed goes on trying. A start that fails goes on trying too, until ``stop``.

        Raises:
            StoreUnavailable, ConfigError: neither within ``timeout`` seconds.
        """
        with self._lifecycle:
            self._users += 1
            running = self._thread is not None
            if not running:
                for name, text in self._memory.recall().items():
                    self._alarm(name, text)
                self._launch()
        if running and self._fault is not None and not self._settled.is_set():
            raise self._fault  # somebody else's start has waited for nothing already
        self.wait_for_data(timeout)

    def wait_for_data(self, timeout: float) -> None:
        """Return when there is something to serve; of a feed that was started.

        Raises:
            StoreUnavailable, ConfigError: nothing within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        settled = self._settled.wait(min(timeout, _PATIENCE) if self._memory.saved is not None else timeout)
        if not settled and not self._serve_saved():
            settled = self._settled.wait(max(0.0, deadline - time.monotonic()))
        if self._serving:
            return
        raise self._fault or StoreUnavailable(
            f"{self.url_shown} did not answer within {timeout:g} s, and nothing was saved from an earlier run.",
            cure="is the database running? flagbrake doctor",
        )

    def stop(self) -> None:
        """Stop when the last user stops: save what is to be saved, end the thread, close everything."""
        with self._lifecycle:
            self._users = max(0, self._users - 1)
            thread = self._thread
            if self._users or thread is None:
                return
            self._stopping.set()
            if self._watch is not None:
                self._watch.wake()
            if thread is not threading.current_thread():
                thread.join(10.0)
            self._saver.flush()
            self._thread = None
            self._settled.clear()
            self._contact = None
            self._fault = None

    def _launch(self) -> None:
        self._stopping = threading.Event()
        self._watch = watch_of(self._parsed, *self._home, poll=self._poll)
        self._thread = threading.Thread(
            target=self._run, args=(self._watch, self._stopping), name="flagbrake-feed", daemon=True
        )
        self._thread.start()

    def before_fork(self) -> None:
        """In the parent, with no statement under way."""
        if self._watch is not None:
            self._watch.before_fork()

    def after_fork_in_child(self) -> None:
        """In the child: serve the inherited snapshot, leave the parent's connection alone, start a thread."""
        running, watch = self._thread is not None, self._watch
        self._audience.after_fork_in_child()
        self._reset_threads()
        if watch is not None:
            watch.abandon()
        if running:
            if self._serving:
                self._settled.set()
            self._launch()

    # --- the thread -----------------------------------------------------------------------------------

    def _run(self, watch: Watch, stopping: threading.Event) -> None:
        last = _LAST_RETRY[self._parsed.get_backend_name()]
        pause = _FIRST_RETRY
        while not stopping.is_set():
            try:
                watch.open()
                self._sync(watch, whole=True)
                pause = _FIRST_RETRY
                watch.verify()
                self._follow(watch, stopping)
            except FlagbrakeError as error:
                self._lost(error)
            except Exception as error:  # whatever it was, the feed must not die of it
                log.exception("The feed of %s failed; it starts anew.", self.url_shown)
                self._lost(
                    StoreUnavailable(f"{self.url_shown}: {type(error).__name__}: {error}.", cure="flagbrake doctor")
                )
            finally:
                watch.close()
            # Jitter, so that a fleet does not come back as one.
            stopping.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            pause = min(pause * 2, last)
        watch.dispose()

    def _follow(self, watch: Watch, stopping: threading.Event) -> None:
        due = time.monotonic() + SAFETY_POLL
        while not stopping.is_set():
            signal = watch.wait(max(0.0, due - time.monotonic()))
            # Kills first, from the announcement itself: reading again before applying is six times slower.
            news = [self._announced(message) for message in signal.messages]
            killed = any(news) or (signal.changed and self._kills_alone(watch))
            now = time.monotonic()
            if killed:
                # The rest can wait until every process on this machine has applied the kill.
                due = min(due, now + _AFTER_KILL * random.uniform(1.0, 2.0))  # noqa: S311 - not a secret
            elif signal.changed or now >= due:
                self._sync(watch, whole=watch.generation != self._memory.generation)
                due = now + SAFETY_POLL

    def _kills_alone(self, watch: Watch) -> bool:
        """If kills changed, take them and nothing else, with as few statements as can be; True if they did."""
        revision, epoch, found = rows.glance(watch, self._home)
        if (
            epoch == self._memory.epoch
            or revision < self._snapshot.revision
            or watch.generation != self._memory.generation
        ):
            return False
        if self._memory.adopted:
            with watch.reading() as select:
                _, epoch = rows.counters_within(select, self._home)
                self._read_kills(select, epoch)
        else:
            self._take_kills(found, epoch)
        self._memory.epoch = epoch
        self._save()
        return True

    def _read_kills(self, select: Select, epoch: int) -> None:
        self._memory.adopted = rows.adoption(select, self._home)
        found = rows.kills(select, self._home)
        self._take_kills(found + rows.adopted_kills(select, self._home, self._memory.adopted), epoch)

    def _take_kills(self, found: list[KillRow], epoch: int) -> None:
        self._memory.kill_rows = tuple(found)
        self._contact = time.monotonic()
        known = self._snapshot.kills if self._serving else self._memory.saved_kills()
        kills, alarms = standing(found, environment=self.environment, epoch=epoch, known=known)
        self._put_kills(kills, alarms)

    def _sync(self, watch: Watch, *, whole: bool) -> None:
        """Read what changed in one transaction; kills are handed on before flags are decoded."""
        before = self._snapshot
        whole = whole or self._memory.released()
        if not whole:
            at = rows.counters(watch, self._home)
            whole = at[0] < before.revision
            if at == (before.revision, self._memory.epoch):
                return self._touched()
        if whole:
            self._memory.identity = rows.identity(watch, self._home)
        generation = watch.generation
        with watch.reading() as select:
            revision, epoch = rows.counters_within(select, self._home)
            if whole or epoch != self._memory.epoch or self._memory.adopted != rows.adoption(select, self._home):
                self._read_kills(select, epoch)
            since = None if whole else before.revision
            changed, twice = rows.documents(
                select, self._home, self._kinds, self._memory.rows, since, self._memory.adopted
            )
        with self._audience.lock:
            if self._snapshot.source is not before.source:
                return self._sync(watch, whole=True)  # last known good came in between
            self._memory.epoch, self._memory.generation = epoch, generation
            self._put_documents(changed, revision)
            self._name_clashes(twice)
        return self._touched()

    def _announced(self, message: str) -> bool:
        """Apply the kills of an announcement; True if it brought any news of them."""
        try:
            data = json.loads(message)
            revision, kills = int(data["revision"]), data["kills"]
        except (ValueError, TypeError, KeyError):
            return False  # the counter will tell
        known = self._snapshot.kills
        if not isinstance(kills, list) or revision <= known.epoch:
            return False
        self._contact = time.monotonic()
        self._put_kills(announced(kills, environment=self.environment, epoch=revision, known=known), None)
        return True

    # --- putting in place -----------------------------------------------------------------------------

    def _put_kills(self, kills: KillSnapshot, alarms: Mapping[str, str] | None) -> None:
        """``alarms``: those of kill rows; ``None`` where no rows were read."""
        kills = self._believed(kills)
        with self._audience.lock:
            before = self._snapshot
            self._snapshot = replace(before, kills=kills)
            if alarms is not None:
                others = {name: text for name, text in before.alarms.items() if not name.startswith("kill:")}
                self._snapshot = replace(self._snapshot, alarms=MappingProxyType({**others, **alarms}))
                self._report(before.alarms, alarms)
            if before.source is not Source.NOWHERE:
                self._show()

    def _put_documents(self, changed: list[Row], revision: int) -> None:
        before = self._snapshot
        first = before.source is Source.NOWHERE
        step = advance(before, changed, revision=revision, now=self._clock.now(), fallback=self._memory.last)
        self._memory.keep(step.good)
        self._report(before.alarms, step.snapshot.alarms)
        with self._audience.lock:
            self._snapshot = step.snapshot
            if first or step.snapshot.manifest is not before.manifest:
                self._contact = time.monotonic()
                self._show()
            self._tell(step.changed, FeedEvent.LOADED if first else FeedEvent.CHANGED)
            if step.snapshot.alarms != before.alarms:
                self._tell(frozenset(), FeedEvent.ALARM)
        self._save()

    def _touched(self) -> None:
        """The store was heard: what we have is true as of now."""
        now = time.monotonic()
        with self._audience.lock:
            recovered, self._stale = self._stale, False
            self._contact, self._fault = now, None
            if recovered:
                log.info("Contact with %s again, at revision %d.", self.url_shown, self._snapshot.revision)
            if recovered or now - self._shown_at >= SAFETY_POLL / 2:
                self._show()
            if recovered:
                self._tell(frozenset(), FeedEvent.FRESH)
        self._settled.set()

    def _lost(self, error: FlagbrakeError) -> None:
        """Contact was lost, or never was: serve what there is, and say how old it is."""
        with self._audience.lock:
            first, self._stale, self._fault = not self._stale, True, error
            if self._snapshot.source is Source.NOWHERE:
                self._serve_saved()
            if first:
                log.warning("%s (serving %s)", error, self._snapshot.source if self._serving else "nothing yet")
            if first and self._serving:
                self._tell(frozenset(), FeedEvent.STALE)
        if self._serving or isinstance(error, ConfigError):
            self._settled.set()

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        self._audience.show(self._view())

    def _view(self) -> KillView:
        if self._contact is not None:
            self._valid_until = self._contact + self._trust
        return KillView(self._snapshot.kills, self._snapshot.manifest, self._valid_until)

    def _tell(self, changed: frozenset[str], event: FeedEvent) -> None:
        self._audience.tell(self._snapshot, changed, event)

    def _report(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        for name, text in now.items():
            if before.get(name) != text:
                log.error("%s", text, extra={"alarm": name, "environment": self.environment})

    def _name_clashes(self, twice: frozenset[str]) -> None:
        fact = "Flag '{}' is in feature_flags and in flagbrake's own table, which is served. Try: delete one of them"
        for name in {name for name in self._own_alarms if name.startswith("adopted:")} | {
            f"adopted:{k}" for k in twice
        }:
            key = name.removeprefix("adopted:")
            self._alarm(name, fact.format(key) if key in twice else None)

    def _alarm(self, name: str, text: str | None) -> None:
        """An alarm of the feed's own, raised or ended."""
        with self._audience.lock:
            if self._own_alarms.get(name) == text:
                return
            if text is None:
                del self._own_alarms[name]
            else:
                self._own_alarms[name] = text
                log.error("%s", text, extra={"alarm": name, "environment": self.environment})
            self._tell(frozenset(), FeedEvent.ALARM)

    # --- last known good --------------------------------------------------------------------------------

    def _serve_saved(self) -> bool:
        """Serve the last known good if there is nothing better; True if something is served."""
        with self._audience.lock:
            saved = self._memory.saved
            if self._serving:
                return True
            if saved is None:
                return False
            kills = self._memory.saved_kills()
            self._memory.adopt_saved(saved)
            step = advance(
                self._snapshot,
                saved.rows.values(),
                revision=saved.revision,
                now=saved.saved_at or self._clock.now(),
                source=Source.LAST_KNOWN_GOOD,
            )
            self._valid_until = time.monotonic()
            self._stale = True
            self._snapshot = replace(step.snapshot, kills=self._believed(kills))
            self._show()
            self._tell(step.changed, FeedEvent.LOADED)
            self._tell(frozenset(), FeedEvent.STALE)
        self._settled.set()
        return True

    def _believed(self, read: KillSnapshot) -> KillSnapshot:
        kills, alarm = self._memory.believed(read, self._snapshot.kills)
        self._alarm("epoch", alarm)
        return kills

    def _save(self) -> None:
        copy = self._memory.copy(self._snapshot.revision)
        if copy is not None:
            self._saver.later(copy)
