"""The data plane: answers from the feed's snapshot. In memory, never raises, never writes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails

from flagbrake.errors import ConfigError, FlagbrakeError
from flagbrake.evaluate.ruleset import Ruleset
from flagbrake.ports.provider import FlagProvider
from flagbrake.store.audience import FeedEvent
from flagbrake.store.feed import StoreFeed
from flagbrake.store.snapshot import Snapshot

#: Seconds after a start with old data until STALE is emitted: the SDK emits READY as the start returns,
#: and whichever comes last is the state.
_AFTER_READY: Final = 0.1


class SqlProvider(FlagProvider):
    """Flags of a store, served from a :class:`StoreFeed`.

    The feed may be shared (the kill board reads it too); starting and stopping it is counted. ``timeout``
    bounds the start, in seconds.
    """

    name: ClassVar[str] = "sql"
    follows_after_fork: ClassVar[bool] = True

    def __init__(self, feed: StoreFeed, *, timeout: float = 5.0) -> None:
        super().__init__()
        self.feed = feed
        self._timeout = timeout
        self._using = False
        self._unlisten: Callable[[], None] | None = None
        self._emitted = ""
        self._emitting = threading.Lock()
        self._sequence = itertools.count(1)
        self._later: threading.Timer | None = None
        self._ruleset = Ruleset({})

    # --- answering ----------------------------------------------------------------------------------

    def resolve(self, flag_key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        """Answer from the snapshot. Once there is one, its own ``evaluate`` stands in this method's place."""
        return self._ruleset.evaluate(flag_key, context)

    def off_value(self, flag_key: str) -> FlagResolutionDetails[Any] | None:
        """What the flag serves when it is off, ``None`` for a flag that is not there."""
        return self._ruleset.off(flag_key)

    def value_of(self, flag_key: str, variant: str) -> Any:
        """The value of a variant, ``MISMATCH`` when there is no such flag or variant."""
        return self._ruleset.value_of(flag_key, variant)

    def keys(self) -> Collection[str]:
        """The keys of the snapshot."""
        return self._ruleset.keys()

    # --- lifecycle ----------------------------------------------------------------------------------

    def start(self, context: EvaluationContext) -> None:
        """Start the feed; serve the store's data, or the last known good.

        Raises:
            ProviderFatalError: the store refused the login, or is no database.
            ProviderNotReadyError: neither in time. The feed goes on trying; when data arrives the provider
                serves it and emits READY.
        """
        self._emitted = ""
        if self._unlisten is None:
            self._unlisten = self.feed.listen(self._changed)
        try:
            if not self._using:
                self._using = True
                self.feed.start(self._timeout)
            else:
                self.feed.wait_for_data(self._timeout)
        except FlagbrakeError as error:
            self._emitted = "error"
            # A refused login or a file of another kind is nothing that waiting cures; the feed tries all the same.
            unready = ProviderFatalError if isinstance(error, ConfigError) else ProviderNotReadyError
            raise unready(str(error)) from error
        self._serve(self.feed.snapshot)
        self._emitted = "ready"
        if not self.feed.state.fresh:
            self._later = threading.Timer(_AFTER_READY, self._say_stale)
            self._later.daemon = True
            self._later.start()

    def stop(self) -> None:
        """Stop using the feed."""
        if self._later is not None:
            self._later.cancel()
            if self._later is not threading.current_thread():
                self._later.join()
            self._later = None
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        if self._using:
            self._using = False
            self.feed.stop()

    def shutdown(self) -> None:
        """Stop, also when the start failed and the feed is still trying."""
        with self._lifecycle:
            self._serving = False
            self.stop()

    # --- the feed's thread --------------------------------------------------------------------------

    def _serve(self, snapshot: Snapshot) -> None:
        self._ruleset = snapshot.ruleset
        # The hot path: an attribute of the instance is found before the method of the class, so an
        # evaluation enters the ruleset without a call in between.
        self.__dict__["resolve"] = snapshot.ruleset.evaluate

    def _changed(self, snapshot: Snapshot, changed: frozenset[str], event: FeedEvent) -> None:
        if event is FeedEvent.LOADED or (event is FeedEvent.CHANGED and snapshot.ruleset is not self._ruleset):
            self._serve(snapshot)
        if event is FeedEvent.LOADED and self._emitted == "error":
            self._serving = True  # the start had given up; this is the recovery it promised
            self._say("ready", self.emit_provider_ready, f"data of revision {snapshot.revision}")
        elif event is FeedEvent.FRESH:
            self._say("ready", self.emit_provider_ready, f"fresh again, at revision {snapshot.revision}")
        elif event is FeedEvent.STALE:
            self._say_stale()
        elif event is FeedEvent.CHANGED and changed and self._serving:
            self.emit_provider_configuration_changed(
                ProviderEventDetails(flags_changed=sorted(changed), metadata=self._facts(snapshot))
            )

    def _say_stale(self) -> None:
        state = self.feed.state
        if not state.fresh and self._serving:
            self._say("stale", self.emit_provider_stale, state.detail)

    def _say(self, state: str, emit: Callable[[ProviderEventDetails], None], message: str) -> None:
        """Emit a change of state once."""
        with self._emitting:
            if self._emitted == state:
                return
            self._emitted = state
        emit(ProviderEventDetails(message=message, metadata=self._facts(self.feed.snapshot)))

    def _facts(self, snapshot: Snapshot) -> dict[str, bool | str | int | float]:
        # Handlers run in a pool, in any order: the sequence tells which came first.
        return {"sequence": next(self._sequence), "revision": snapshot.revision, "source": snapshot.source.value}
