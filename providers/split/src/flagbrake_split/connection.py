"""The SDK's factory: made, watched, hurried, made anew after a fork, closed within bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from splitio import get_factory
from splitio.api import APIException

from flagbrake_split.asking import Asker
from flagbrake_split.consumer import Consumer
from flagbrake_split.holding import flush_once, held, renew, start_no_more, workers_ended
from flagbrake_split.local import LocalFile
from flagbrake_split.pauses import Pause, never_fails, pause, then, unchanged
from flagbrake_split.received import Received
from flagbrake_split.repair import Repairs, Unreadable, explained, readable
from flagbrake_split.sdk_options import Mode, SdkOptions

#: Milliseconds for one request of the SDK.
_REQUEST: Final = 3000
#: Seconds a close waits for a start that is not over.
_START: Final = 4.0
#: Seconds a close may take: the last impressions are sent in it.
_CLOSE: Final = 8.0
#: Answers of 4xx that pass by themselves.
_PASSING: Final = frozenset((408, 429))
#: With this answer the SDK counts as ready, without a flag, and asks no more.
_TOO_LONG: Final = 414
#: Seconds between two reports of impressions and events, and of telemetry: the SDK's own floors and defaults.
_REPORT: Final = {"optimized": 300, "debug": 60, "none": 300}


class Connection:
    """One SDK factory at a time over one :class:`Received`.

    Args:
        options: what the agent's table says.
        received: where the flags are kept; it outlives factories.
        valid: data flows.
        interrupted: it does not; called with what is the matter.
        refused: the vendor refuses the key; called with what is the matter and the HTTP status.
    """

    def __init__(
        self,
        options: SdkOptions,
        received: Received,
        *,
        valid: Callable[[], None],
        interrupted: Callable[[str], None],
        refused: Callable[[str, int], None],
    ) -> None:
        self._options = options
        self._received = received
        self._valid = self._unless_closed(valid)
        self._interrupted = self._unless_closed(interrupted)
        self._refused = self._unless_closed(refused)
        self._closing = threading.Event()
        #: Held while a factory comes or goes.
        self._changing = threading.RLock()
        self._hurry = threading.Event()
        self._started = threading.Event()
        self._factory: Any = None
        self._repairs: Repairs | None = None
        self._consumer: Consumer | None = None
        #: The last download of flags succeeded.
        self._flowing = False
        #: Evaluates; ``None`` until there is data.
        self.asker: Asker | None = None
        self.refusals = 0

    def _unless_closed(self, say: Callable[..., None]) -> Callable[..., None]:
        """A request under way outlives :meth:`close` by its timeout; what becomes of it is no news of the next one."""

        def said(*news: Any) -> None:
            if not self._closing.is_set():
                say(*news)

        return said

    def open(self) -> None:
        """Make a factory; it connects in the background."""
        self._closing = threading.Event()
        self._hurry = threading.Event()
        self._started = threading.Event()
        self.refusals = 0
        if self._options.mode is Mode.REDIS:
            self._consume()
            return
        with held(local=self._options.mode is Mode.LOCALHOST) as go:
            self._follow(get_factory(self._options.sdk_key or "localhost", **self._arguments()))
            go.set()

    def _follow(self, factory: Any) -> None:
        self._factory = factory
        client = factory.client()
        asker = Asker(client)
        storages = factory._storages  # noqa: SLF001 - there is no public way to hear of changes in order
        manager = factory._sync_manager  # noqa: SLF001 - the same
        if self._options.mode is Mode.LOCALHOST:
            self._started.set()
            file = self._file(manager)
        else:
            file = None
            self._watch(manager)
            flush_once(factory)
        never_fails(factory._telemetry_submitter, "synchronize_config")  # noqa: SLF001 - no public way either
        self._received.follow(storages["splits"], storages["segments"], storages["rule_based_segments"])
        threading.Thread(target=self._await, args=(factory, asker), name="flagbrake-split-ready", daemon=True).start()
        if file is not None:
            file.start()

    def _consume(self) -> None:
        self._consumer = Consumer(
            self._options,
            self._received,
            closing=self._closing,
            hurry=self._hurry,
            make=self._over,
            pause=self._seconds,
            valid=self._valid,
            interrupted=self._interrupted,
        )
        self._consumer.start()

    def _over(self, pool: Any) -> Any:
        """A factory over Redis; its adapter of Redis."""
        arguments = self._arguments()
        arguments["config"]["redisConnectionPool"] = pool
        factory = get_factory(self._options.sdk_key or "redis", **arguments)
        with self._changing:
            if not self._closing.is_set():
                self._started.set()
                self._factory, self.asker = factory, Asker(factory.client())
                return self.storage()._redis  # noqa: SLF001 - the one that all of its storages share
        factory.destroy()
        raise ConnectionAbortedError

    @property
    def away(self) -> bool:
        """Flags are asked for elsewhere with each answer, and nobody answers there."""
        return self._consumer is not None and self._consumer.away

    def storage(self) -> Any:
        """The SDK's storage of flags."""
        return self._factory._storages["splits"]  # noqa: SLF001 - the public manager answers views only

    def hurry(self) -> None:
        """Try again now, if a pause is under way."""
        self._hurry.set()

    def after_fork(self) -> None:
        """In the child the factory's threads are gone: make another one over the same flags."""
        self._changing = threading.RLock()
        renew()
        if self.asker is not None:
            # It answers until the new factory is ready. What it recorded nobody would send.
            self.asker = self.asker.silent()
        if self._factory is not None:
            # Whoever held the locks of what it reads is gone.
            for storage in self._factory._storages.values():  # noqa: SLF001 - its locks may be held
                if hasattr(storage, "_lock"):
                    storage._lock = threading.RLock()  # noqa: SLF001 - for ever, after a fork
        self.open()

    def close(self) -> None:
        """Close the factory and end its threads, within bounds."""
        with self._changing:
            self._closing.set()
            self._hurry.set()
            consumer, self._consumer = self._consumer, None
            factory, self._factory, self.asker = self._factory, None, None
        if factory is not None:
            if factory.ready:
                # The SDK goes on starting its tasks after it has said READY; what is started later is never stopped.
                self._started.wait(_START)
            start_no_more(factory._sync_manager)  # noqa: SLF001
            done = threading.Event()
            factory.destroy(done)
            done.wait(_CLOSE)
            workers_ended(factory._sync_manager)  # noqa: SLF001
        if consumer is not None:
            consumer.end()

    # --- one factory -----------------------------------------------------------------------------------

    def _arguments(self) -> dict[str, Any]:
        o = self._options
        config: dict[str, Any] = {
            "connectionTimeout": _REQUEST,
            "streamingEnabled": o.mode is Mode.STREAM,
            "featuresRefreshRate": o.refresh,
            "segmentsRefreshRate": o.refresh,
            "impressionsMode": o.impressions.upper(),
            "impressionsRefreshRate": _REPORT[o.impressions],
        }
        if o.flag_sets:
            config["flagSetsFilter"] = list(o.flag_sets)
        if o.mode is Mode.LOCALHOST:
            folder = o.segment_directory or str(Path(o.file).parent)
            config |= {"splitFile": o.file, "segmentDirectory": folder, "localhostRefreshEnabled": False}
        if o.mode is Mode.REDIS:
            # Any host: the connections are given, and this is how the SDK is told to use Redis.
            config |= {"redisHost": "redis", "redisPrefix": o.redis_prefix or None}
            # The SDK would keep a flag for five seconds, and so a kill from being seen.
            config["redisLocalCacheEnabled"] = False
        addresses: dict[str, str] = {}
        if o.base_url:
            base = o.base_url.rstrip("/")
            services = ("sdk_api", "events_api", "auth_api", "telemetry_api")
            addresses = {f"{service}_base_url": f"{base}/api" for service in services}
            addresses["streaming_api_base_url"] = base
        return {"config": config, **addresses}

    def _file(self, manager: Any) -> LocalFile:
        o = self._options
        return LocalFile(
            manager,
            file=o.file,
            refresh=o.refresh,
            closing=self._closing,
            hurry=self._hurry,
            valid=self._heard,
            interrupted=self._interrupted,
        )

    def _watch(self, manager: Any) -> None:
        """Hear how fetching goes, and let its pauses be ours: the SDK's own begin at ten seconds."""
        synchronizer = manager._synchronizer  # noqa: SLF001
        synchronizers = synchronizer._split_synchronizers  # noqa: SLF001
        paused = Pause(self._wait)
        for owner in (synchronizer, synchronizers.split_sync, synchronizers.segment_sync, manager):
            if hasattr(owner, "_backoff"):
                owner._backoff = paused  # noqa: SLF001
        if hasattr(manager, "_push"):
            then(manager._push, "start", self._started.set)  # noqa: SLF001
        else:
            then(synchronizer, "start_periodic_fetching", self._started.set)
        if hasattr(synchronizers.split_sync, "_api"):
            api = synchronizers.split_sync._api  # noqa: SLF001
            fetch = api.fetch_splits

            def fetch_splits(since: int, rules_since: int, *args: Any, **kwargs: Any) -> Any:
                if self._closing.is_set():
                    # Nothing is new: whichever thread of the SDK asks is content and ends.
                    return {"ff": unchanged(since), "rbs": unchanged(rules_since)}
                try:
                    answer = readable(fetch(since, rules_since, *args, **kwargs))
                except APIException as error:
                    self._failed(error)
                    if error.status_code == _TOO_LONG:
                        raise APIException("Too many flag sets") from error
                    raise
                except Exception as error:  # somebody else answered, and the SDK stumbles over it
                    self._failed(failure := Unreadable("no answer of splitChanges"))
                    raise failure from error
                self.refusals = 0
                self._heard()
                return answer

            api.fetch_splits = fetch_splits
        self._repairs = Repairs(
            manager,
            closing=self._closing,
            pause=self._seconds,
            trouble=self._interrupted,
            mended=self._sound,
        )

    def _seconds(self, attempt: int) -> float:
        return pause(attempt, self._options.reconnect_delay, self._options.reconnect_max)

    def _heard(self) -> None:
        self._flowing = True
        self._sound()

    def _sound(self) -> None:
        """Say that data flows, if all of it does."""
        missing = self._repairs is not None and self._repairs.missing
        if self.asker is not None and self._flowing and not missing:
            self._valid()

    def _await(self, factory: Any, asker: Asker) -> None:
        """READY when the SDK says so: flags and their segments are there."""
        closing = self._closing
        ready = factory._sdk_internal_ready_flag  # noqa: SLF001 - block_until_ready would count a timeout
        while not closing.is_set():
            if ready is None or ready.wait(0.05):
                # The SDK answers control until its own updater has run.
                while not factory.ready and not closing.wait(0.0005):
                    pass
                with self._changing:
                    if closing.is_set():
                        return
                    self.asker = asker
                self._valid()
                return

    def _failed(self, error: APIException) -> None:
        self._flowing = False
        status = error.status_code
        if status is not None and 400 <= status < 500 and status not in _PASSING:
            self.refusals += 1
            self._refused(f"Split answers {status} to the SDK key", status)
        else:
            said = explained(error)
            self._interrupted(said[0].upper() + said[1:])

    def _wait(self, attempt: int) -> None:
        """Wait before another attempt; ends early on :meth:`hurry` and :meth:`close`."""
        delay, longest = self._options.reconnect_delay, self._options.reconnect_max
        if self.refusals:
            delay, longest = self._options.refused_delay, self._options.refused_delay_max
            attempt = self.refusals - 1
        self._hurry.wait(pause(attempt, delay, longest))
        if not self._closing.is_set():
            self._hurry.clear()
