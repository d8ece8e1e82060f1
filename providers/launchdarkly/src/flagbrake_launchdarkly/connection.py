"""The SDK's client: made, watched, made anew after a refused key or a fork, closed within bounds."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from ldclient import Config, LDClient
from ldclient.config import BigSegmentsConfig, HTTPConfig
from ldclient.integrations import Files
from ldclient.interfaces import DataSourceState, DataSourceStatus

from flagbrake_launchdarkly.options import Mode, SdkOptions
from flagbrake_launchdarkly.received import Received

#: Seconds for one attempt to connect, and for the answer to a poll or a batch of analytics.
_CONNECT: Final = 3.0
_READ: Final = 5.0
#: Seconds a close may take: the last analytics are sent in it.
_CLOSE: Final = 8.0
#: Answers of 4xx that the SDK takes for passing ones; after any other it would wait for minutes.
_PASSING: Final = frozenset((400, 408, 429))

#: Flag key, context, default and event factory -> detail, and the flag that was evaluated.
Evaluate = Callable[[str, Any, Any, Any], tuple[Any, Any]]


class Connection:
    """One SDK client at a time over one :class:`Received`.

    Args:
        options: what the agent's table says.
        received: where the flags are kept; it outlives clients, so that nothing known is lost with one.
        made: a client was made; called with how it evaluates and what it hands its events to.
        valid: data flows.
        interrupted: it does not; called with what is the matter.
        refused: the vendor refuses the key or the request; called with what is the matter and the HTTP status.
        big_segments: the SDK's configuration of a store for big segments.
    """

    def __init__(
        self,
        options: SdkOptions,
        received: Received,
        *,
        made: Callable[[Evaluate, Any], None],
        valid: Callable[[], None],
        interrupted: Callable[[str], None],
        refused: Callable[[str, int], None],
        big_segments: BigSegmentsConfig | None = None,
    ) -> None:
        self._options = options
        self._received = received
        self._made = made
        self._valid = valid
        self._interrupted = interrupted
        self._refused = refused
        self._big_segments = big_segments
        self.client: LDClient | None = None
        self._lock = threading.RLock()
        self._generation = 0
        self._pause = options.refused_delay
        self._again = threading.Event()
        self._closing = threading.Event()
        self._healthy = False
        #: The client (by its number) whose replacement is due unless it recovers; 0 for none.
        self._waiting_for = 0
        self._replacing: threading.Thread | None = None

    def open(self) -> None:
        """Make a client; it connects in the background."""
        with self._lock:
            self._closing.clear()
            self._make()

    def hurry(self) -> None:
        """Try again now, if a pause after a refusal is under way."""
        self._again.set()

    def catching_up(self) -> bool:
        """Is data flowing that the SDK does not count as there yet?"""
        client = self.client
        return self._healthy and client is not None and not client.is_initialized()

    def after_fork(self) -> None:
        """In the child the client's threads are gone: make another one over the same flags."""
        self._lock = threading.RLock()
        self._closing, self._again = threading.Event(), threading.Event()
        self._replacing, self._waiting_for = None, 0
        if self.client is not None:
            self._make()

    def close(self) -> None:
        """Close the client and end the reconnecting thread, within bounds."""
        self._closing.set()
        self._again.set()
        with self._lock:
            self._generation += 1
            client, self.client = self.client, None
            thread, self._replacing = self._replacing, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE)
        if client is not None:
            _close(client)

    # --- one client ---------------------------------------------------------------------------------

    def _make(self) -> None:
        self._generation += 1
        mine = self._generation
        # Not waited for: the constructor would neither hear of a refused key nor end early.
        with _unwaited():
            client = LDClient(self._config(), start_wait=0)
        self.client = client
        self._made(*_evaluation(client))

        def told(status: DataSourceStatus) -> None:
            if mine == self._generation:
                self._status(status)

        provider = client.data_source_status_provider
        provider.add_listener(told)
        told(provider.status)  # what happened before it listened

    def _config(self) -> Config:
        o = self._options
        known: dict[str, Any] = {}
        if o.mode is Mode.FILE:
            known["update_processor_class"] = Files.new_data_source(
                paths=list(o.files), auto_update=True, poll_interval=0.5, force_polling=True
            )
        if self._big_segments is not None:
            known["big_segments"] = self._big_segments
        return Config(
            o.sdk_key or "no-key",
            base_uri=o.base_uri,
            stream_uri=o.stream_uri,
            events_uri=o.events_uri,
            stream=o.mode is Mode.STREAM,
            offline=o.mode is Mode.OFFLINE,
            poll_interval=o.poll_interval,
            initial_reconnect_delay=o.reconnect_delay,
            send_events=o.events and o.mode in {Mode.STREAM, Mode.POLL},
            diagnostic_opt_out=not o.diagnostics,
            private_attributes=set(o.private_attributes),
            all_attributes_private=o.all_attributes_private,
            payload_filter_key=o.payload_filter,
            application={"id": o.application} if o.application else None,
            feature_store=self._received,
            http=HTTPConfig(connect_timeout=_CONNECT, read_timeout=_READ, http_proxy=o.http_proxy, ca_certs=o.ca_certs),
            wrapper_name="flagbrake",
            **known,
        )

    # --- the SDK's thread ---------------------------------------------------------------------------

    def _status(self, status: DataSourceStatus) -> None:
        error = status.error
        if status.state is DataSourceState.VALID:
            self._healthy = True
            self._pause = self._options.refused_delay
            self._valid()
        elif status.state is DataSourceState.OFF or error is None:
            return
        elif 400 <= error.status_code < 500 and error.status_code not in _PASSING:
            self._refused(f"LaunchDarkly answers {error.status_code} to the SDK key", error.status_code)
            pause, self._pause = self._pause, min(self._pause * 2, self._options.refused_delay_max)
            self._replace_after(pause)
        else:
            self._interrupted(_said(error))
            self._replace_after(self._options.reconnect_max)

    # --- when it goes on for too long ---------------------------------------------------------------

    def _replace_after(self, pause: float) -> None:
        """Make another client unless data flows by then.

        After a refused key the SDK would wait for minutes, then up to an hour; after several cut streams in
        a minute for up to half a minute. A new client tries at once.
        """
        self._healthy = False
        with self._lock:
            if self._closing.is_set() or self._waiting_for == self._generation:
                return
            self._waiting_for = self._generation
            self._again.clear()
            # Jitter, so that a fleet does not come as one.
            pause *= random.uniform(0.75, 1.0)  # noqa: S311 - not a secret
            arguments = (self._generation, pause)
            self._replacing = threading.Thread(
                target=self._replace, args=arguments, name="flagbrake-launchdarkly-reconnect", daemon=True
            )
            self._replacing.start()

    def _replace(self, generation: int, pause: float) -> None:
        self._again.wait(pause)
        with self._lock:
            self._waiting_for = 0
            if self._closing.is_set() or generation != self._generation or self._healthy:
                return
            old = self.client
            self._make()
        if old is not None:
            _close(old)


@contextmanager
def _unwaited() -> Iterator[None]:
    """The SDK warns of a start that timed out when it was asked not to wait; this thread's warning is left out."""
    thread = threading.get_ident()

    def fits(record: logging.LogRecord) -> bool:
        return record.thread != thread or not str(record.msg).startswith("Initialization timeout exceeded")

    logger = logging.getLogger("ldclient.util")
    logger.addFilter(fits)
    try:
        yield
    finally:
        logger.removeFilter(fits)


def _evaluation(client: LDClient) -> tuple[Evaluate, Any]:
    """How to evaluate, with events, and the flag told that was evaluated.

    ``variation_detail`` without the way through the SDK's hooks, of which none are configured here: it takes a
    lock and three closures per call, and does not say which definition answered. An SDK that has no such inner
    method is asked the public way.
    """
    inner, factory = getattr(client, "_evaluate_internal", None), getattr(client, "_event_factory_with_reasons", None)
    if inner is not None and factory is not None:
        return inner, factory

    def public(key: str, context: Any, default: Any, _: Any) -> tuple[Any, Any]:
        return client.variation_detail(key, context, default), None

    return public, None


def _said(error: Any) -> str:
    # The SDK's own text may quote addresses; the kind and the status say what matters.
    if error.status_code:
        return f"LaunchDarkly answers {error.status_code}"
    return f"LaunchDarkly is not reached ({error.kind.value.lower().replace('_', ' ')})"


def _close(client: LDClient) -> None:
    """Close in a thread of its own: sending the last analytics to a vendor that hangs has no bound of its own."""
    thread = threading.Thread(target=client.close, name="flagbrake-launchdarkly-close", daemon=True)
    thread.start()
    thread.join(_CLOSE)
