"""The data plane of one process: ``flagbrake.provider()``."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ProviderNotReadyError

from flagbrake.config import Config
from flagbrake.errors import FlagbrakeError, NotAllowed
from flagbrake.kill import runtime
from flagbrake.kill.board import Board
from flagbrake.kill.flags import FlagKills, tells_keys
from flagbrake.kill.guard import Guard
from flagbrake.kill.runtime import Runtime
from flagbrake.kill.state import State
from flagbrake.outcomes.queue import OutcomeQueue
from flagbrake.outcomes.tracking import Tracker
from flagbrake.ports.adapter import StoreAccess
from flagbrake.wiring.settings import adapter_of, adapter_settings, configuration, declared
from flagbrake.wiring.swap import EvaluatedFlags

if TYPE_CHECKING:
    from flagbrake.store import Store
    from flagbrake.store.feed import StoreFeed

_log = logging.getLogger("flagbrake.wiring")


def provider(
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    use: str | None = None,
    environment: str | None = None,
    project: str | None = None,
    store: str | None = None,
    allow_missing: bool | None = None,
    name: str = "",
) -> WiredGuard:
    """The provider for ``api.set_provider``: the configured vendor, behind the kill switch.

    Opens nothing before OpenFeature initialises it. Initialising also starts the kill feed, the
    acknowledgements and the outcome queue of this process; ``api.shutdown()`` ends them.

    Args:
        config: a TOML file, the same as a mapping, or None to find ``flagbrake.toml`` (working directory,
            its parents, ``FLAGBRAKE_CONFIG``). Without any, flags live in ``flagbrake.db`` right here.
        use: the provider; overrides the file.
        environment: overrides the file.
        project: overrides the file.
        allow_missing: overrides the file.
        store: database URL, overriding the file.
        name: how this process is called in ``flagbrake doctor`` and in acknowledgements.

    Raises:
        ConfigError: settings that cannot be used (unknown keys, unknown provider, missing extra).
    """
    return provider_parts(
        config,
        use=use,
        environment=environment,
        project=project,
        store_url=store,
        allow_missing=allow_missing,
        name=name,
    ).provider


@dataclass(frozen=True, slots=True)
class Parts:
    """What :func:`provider` puts together, for tests and benchmarks."""

    settings: Config
    provider: WiredGuard
    board: Board
    feed: StoreFeed | None
    queue: OutcomeQueue | None


def provider_parts(config: str | Path | Mapping[str, Any] | None = None, *, name: str = "", **overrides: Any) -> Parts:
    """:func:`provider`, with its parts in reach."""
    settings = configuration(config, **overrides)
    adapter = adapter_of(settings, admin=False)
    url = settings.database()
    store, feed = _store_of(settings, url, flags=adapter.needs_store) if url else (None, None)
    access = StoreAccess(store, feed) if store is not None else None
    inner = adapter.provider(adapter_settings(settings, access))
    board = Board(settings.environment, policy=settings.policy, manifest=declared(settings))
    queue = OutcomeQueue(store.outcomes) if store is not None else None
    evaluated = EvaluatedFlags(settings)
    guard = WiredGuard(inner, board, settings, evaluated, store=store, feed=feed, queue=queue, name=name)
    return Parts(settings, guard, board, feed, queue)


def _store_of(settings: Config, url: str, *, flags: bool) -> tuple[Store, StoreFeed]:
    from flagbrake.store import open_store
    from flagbrake.store.engine import Database
    from flagbrake.store.feed import StoreFeed
    from flagbrake.store.store import Store

    project, environment = settings.project, settings.environment
    if settings.path is None and url.startswith("sqlite:"):
        # Nothing is configured: a fresh local file is what was asked for.
        store = open_store(url, create=True, project=project, environment=environment)
    else:
        # Not checked here: the process must start while the database is down; the feed tells what is wrong.
        store = Store(Database(url, project=project, environment=environment))
    feed = StoreFeed(
        url,
        project=project,
        environment=environment,
        state_dir=settings.state_dir,
        flags=flags,
        trust=settings.kill_trust,
    )
    return store, feed


class _Seen(set[str]):
    """The guard's memory of evaluated flags, which also tells of a key seen for the first time."""

    def __init__(self, keys: Iterable[str], saw: Callable[[str], None]) -> None:
        super().__init__(keys)
        self._saw = saw

    def add(self, key: str, /) -> None:
        super().add(key)
        self._saw(key)


class WiredGuard(Guard):
    """The guard with the process's parts: starts and stops them with itself."""

    def __init__(
        self,
        inner: Any,
        board: Board,
        settings: Config,
        evaluated: EvaluatedFlags,
        *,
        store: Store | None,
        feed: StoreFeed | None,
        queue: OutcomeQueue | None,
        name: str,
    ) -> None:
        super().__init__(
            inner,
            board,
            seen=_Seen((), evaluated.saw),
            tracker=Tracker(queue, settings.environment) if queue is not None else None,
            flags=FlagKills(inner, environment=settings.environment, trust=settings.kill_trust)
            if tells_keys(inner)
            else None,
        )
        self.settings = settings
        self._evaluated = evaluated
        self._store = store
        self._feed = feed
        self._queue = queue
        self._name = name
        self._open: ExitStack | None = None
        self._late = False

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Start this process's feed, acknowledgements, outcomes and the vendor's SDK; a second call does nothing.

        A vendor that is not ready goes on trying, and so does everything of ours: when it comes, kills count.

        Raises:
            ProviderNotReadyError: no data in time and no last known good.
            ProviderFatalError: it can never work, or flags are missing after a change of ``use``.
        """
        if self._open is None:
            opened = ExitStack()
            try:
                late = self._start(opened, evaluation_context)
            except BaseException:
                opened.close()
                raise
            self._open = opened
            self._late = late is not None
            if late is not None:
                raise late
        elif self._late:
            super().initialize(evaluation_context)
            self._late = False

    def _start(self, opened: ExitStack, context: EvaluationContext) -> ProviderNotReadyError | None:
        late: ProviderNotReadyError | None = None
        if self._feed is not None:
            try:
                self._feed.start(self.settings.store_timeout)
            except FlagbrakeError:
                # The vendor may still answer; with our own tables the inner provider says what is wrong.
                _log.warning("The store %s does not answer; kills are UNKNOWN.", self._feed.url_shown)
            opened.callback(self._feed.stop)
            opened.callback(self.board.attach(self._feed))
        opened.callback(super().shutdown)
        try:
            super().initialize(context)
        except ProviderNotReadyError as error:
            late = error
        else:
            self._evaluated.compare(self.inner, allow_missing=self.settings.allow_missing)
        opened.callback(self._evaluated.close)
        if self._store is not None:
            from flagbrake.store.processes import Presence

            presence = Presence(self._store, name=self._name)
            presence.start()
            opened.callback(presence.leave)
            self.board.acknowledge(presence, lane="store")
            opened.callback(_watching(self._store, self.settings.engine_silent_after))
        if self._queue is not None:
            self._queue.reopen()
            opened.callback(self._queue.close)
        opened.callback(self.board.subscribe(_tell_kills))
        _log.info("flags of '%s' serve environment %s", self.settings.use, self.settings.environment)
        installed = runtime.install(
            Runtime(self.board, environment=self.settings.environment, provider=self, queue=self._queue)
        )
        opened.callback(runtime.uninstall, installed)
        return late

    def shutdown(self) -> None:
        """Stop everything that was started; a second call does nothing."""
        opened, self._open, self._late = self._open, None, False
        if opened is not None:
            opened.close()


def _tell_kills(old: State, new: State) -> None:
    """A kill and a restore are in the log of every process they reach."""
    before, after = ({kill.id: kill for kill in state.kills} for state in (old, new))
    for name in after.keys() - before.keys():
        kill = after[name]
        _log.warning("%s is killed (%s) by %s: %s (%s)", kill.scope, kill.mode.value, kill.by, kill.reason, kill.id)
    for name in before.keys() - after.keys():
        _log.warning("%s is restored (%s)", before[name].scope, name)


def _watching(store: Store, silent_after: float) -> Callable[[], None]:
    """Every process looks now and then whether a rollout goes on without an engine; return what ends it."""
    from flagbrake.rollout.watchdog import Watchdog

    ended = threading.Event()
    dog = Watchdog(store, silent_after=silent_after)

    def look() -> None:
        # Jitter, so that a fleet does not ask as one.
        while not ended.wait(silent_after * random.uniform(0.5, 1.0)):  # noqa: S311 - not a secret
            try:
                words = dog.check(store.clock.now())
            except NotAllowed:
                return  # the restricted role reads no rollouts: others look
            except FlagbrakeError as error:
                _log.debug("nobody knows whether the engine ticks: %s", error)
            else:
                if words:
                    _log.error("ALARM: %s. Try: flagbrake engine", words)

    thread = threading.Thread(target=look, name="flagbrake-watchdog", daemon=True)
    thread.start()

    def end() -> None:
        ended.set()
        thread.join(5.0)

    return end
