"""The data plane: LaunchDarkly's SDK behind OpenFeature. In memory, never raises, never writes."""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, TargetingKeyMissingError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.track import TrackingEventDetails

from flagbrake.errors import NotAllowed, VendorUnavailable
from flagbrake.model.values import MISMATCH, USE_DEFAULT
from flagbrake.ports.provider import FlagProvider
from flagbrake_launchdarkly.errors import unanswered
from flagbrake_launchdarkly.options import Mode, SdkOptions

if TYPE_CHECKING:
    from ldclient.config import BigSegmentsConfig
    from ldclient.context import Context

    from flagbrake_launchdarkly.connection import Connection, Evaluate
    from flagbrake_launchdarkly.received import Known, Received

_NO_FLAGS: Final[Mapping[str, Known]] = MappingProxyType({})
#: Evaluations of a flag that changes all the time.
_TRIES: Final = 3
_OFFLINE: Final[Mapping[str, Any]] = MappingProxyType({"launchdarkly_offline": True})


class LaunchDarklyProvider(FlagProvider):
    """Flags of one LaunchDarkly environment, through the vendor's SDK.

    ``big_segments`` is the SDK's own configuration of a store for big segments; it cannot be said in TOML.
    """

    name: ClassVar[str] = "launchdarkly"
    follows_after_fork: ClassVar[bool] = True

    def __init__(self, options: SdkOptions, *, big_segments: BigSegmentsConfig | None = None) -> None:
        super().__init__()
        self.options = options
        self._big_segments = big_segments
        self._received: Received | None = None
        self._connection: Connection | None = None
        self._context: Callable[[EvaluationContext], Context] | None = None
        self._evaluate: Evaluate | None = None
        self._factory: Any = None
        self._settled = threading.Event()
        self._arrived = False
        self._refusal = ""
        self._emitted = ""
        self._emitting = threading.Lock()
        self._sequence = itertools.count(1)
        _forked.add(self)

    # --- answering ----------------------------------------------------------------------------------

    def resolve(self, flag_key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        """Ask the SDK; tell its answer in OpenFeature's words.

        Raises:
            OpenFeatureError: the flag is missing or damaged, or a rollout needs a targeting key.
        """
        received, evaluate, make = self._received, self._evaluate, self._context
        if received is None or evaluate is None or make is None:
            return self._offline()
        asked = make(context)
        detail, flag = evaluate(flag_key, asked, None, self._factory)
        known = received.flags.get(flag_key)
        if known is None or known.flag is not flag:
            detail, known = self._again(flag_key, asked)
        reason = detail.reason
        if known is None or reason["kind"] == "ERROR":
            raise unanswered(flag_key, reason)
        index = detail.variation_index
        told = known.outcomes.get((index, *reason.values())) or known.told(index, reason)
        if not context.targeting_key and (told.split or self._asks_for_key(known, asked)):
            raise TargetingKeyMissingError(f"Flag '{flag_key}' is split by targeting key, and the context has none.")
        value = detail.value if index is not None else USE_DEFAULT
        return FlagResolutionDetails(value, None, None, told.reason, told.variant, told.metadata)

    def _again(self, flag_key: str, context: Context) -> tuple[Any, Known | None]:
        """It changed in the middle: ask until value, name and version are of one definition."""
        received, evaluate = self._received, self._evaluate
        assert received is not None
        assert evaluate is not None
        for _ in range(_TRIES):
            known = received.flags.get(flag_key)
            detail, _flag = evaluate(flag_key, context, None, self._factory)
            if known is received.flags.get(flag_key):
                break
        return detail, known

    def _asks_for_key(self, known: Known, context: Context) -> bool:
        """Was a prerequisite, or one of theirs, decided by a rollout that nobody's key should decide?"""
        received, evaluate = self._received, self._evaluate
        assert received is not None
        assert evaluate is not None
        ahead, seen = [p.key for p in known.flag.prerequisites], {known.flag.key}
        while ahead:
            key = ahead.pop()
            other = received.flags.get(key)
            if other is None or key in seen:
                continue
            seen.add(key)
            detail, _flag = evaluate(key, context, None, self._factory)
            if detail.reason["kind"] != "ERROR" and other.told(detail.variation_index, detail.reason).split:
                return True
            ahead.extend(p.key for p in other.flag.prerequisites)
        return False

    def _offline(self) -> FlagResolutionDetails[Any]:
        if self.options.mode is Mode.OFFLINE:
            return FlagResolutionDetails(USE_DEFAULT, reason=Reason.DEFAULT, flag_metadata=_OFFLINE)
        return FlagResolutionDetails(None, ErrorCode.PROVIDER_NOT_READY, "Provider 'launchdarkly' is not started.")

    def keys(self) -> Collection[str]:
        """The keys of all flags received."""
        return tuple(self._flags)

    def off_value(self, flag_key: str) -> FlagResolutionDetails[Any] | None:
        """What the flag serves when it is off, ``None`` for a flag that is not there."""
        known = self._flags.get(flag_key)
        return None if known is None else known.off()

    def value_of(self, flag_key: str, variant: str) -> Any:
        """The value of a variant (by its name, else its index), ``MISMATCH`` when there is none."""
        known = self._flags.get(flag_key)
        return MISMATCH if known is None else known.value_of(variant)

    @property
    def _flags(self) -> Mapping[str, Known]:
        return _NO_FLAGS if self._received is None else self._received.flags

    # --- what else the SDK does -----------------------------------------------------------------------

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Send a custom event: the value as the metric value, the attributes as data. Never blocks."""
        from flagbrake_launchdarkly.context import json_value  # loads the SDK

        connection, make = self._connection, self._context
        client = connection.client if connection is not None else None
        if client is None or make is None or not self._serving:
            return
        details = tracking_event_details or TrackingEventDetails()
        data = json_value(dict(details.attributes)) or None
        client.track(tracking_event_name, make(evaluation_context or EvaluationContext()), data, details.value)

    def big_segments_status(self) -> str | None:
        """``healthy``, ``stale`` or ``unavailable``; ``None`` when no store for big segments is configured."""
        connection = self._connection
        if self._big_segments is None or connection is None or connection.client is None:
            return None
        status = connection.client.big_segment_store_status_provider.status
        return "unavailable" if not status.available else "stale" if status.stale else "healthy"

    # --- lifecycle ------------------------------------------------------------------------------------

    def start(self, context: EvaluationContext) -> None:
        """Connect and wait for data.

        Raises:
            NotAllowed: the SDK key is refused. It is tried again, on a backoff; when it is taken after all,
                the provider serves and emits READY.
            VendorUnavailable: no data in time. The SDK goes on trying; when data arrives the provider serves
                it and emits READY.
        """
        if self.options.mode is Mode.OFFLINE:
            return
        self._settled.clear()
        self._emitted = ""
        if self._connection is None:
            self._refusal, self._arrived = "", False
            self._connect()
        elif not self._arrived:
            self._refusal = ""
            self._connection.hurry()
        if not self._arrived and not self._refusal:
            self._settled.wait(self.options.timeout)
        if self._arrived:
            self._await_sdk()
        if self._arrived or self._has_some():
            self._emitted = "ready"
            return
        self._emitted = "error"
        if self._refusal:
            raise NotAllowed(f"{self._refusal}.", cure="the SDK key of this environment")
        where = ", ".join(self.options.files) if self.options.mode is Mode.FILE else "LaunchDarkly"
        raise VendorUnavailable(
            f"No flags from {where} within {self.options.timeout:g} s; the SDK goes on trying.",
            cure="look whether its address is reachable from here",
        )

    def _connect(self) -> None:
        # Late: an application that only names this provider does not load the vendor's SDK.
        from flagbrake_launchdarkly.connection import Connection
        from flagbrake_launchdarkly.context import context_maker
        from flagbrake_launchdarkly.received import Received

        self._received = Received(self._changed)
        self._context = context_maker(self.options.context_kind)
        self._connection = Connection(
            self.options,
            self._received,
            made=self._made,
            valid=self._valid,
            interrupted=self._interrupted,
            refused=self._refused,
            big_segments=self._big_segments,
        )
        self._connection.open()

    def _await_sdk(self) -> None:
        """The SDK calls itself initialised an instant after the data is there, and logs a warning until then."""
        client = self._connection.client if self._connection is not None else None
        end = time.monotonic() + 0.5
        pause = threading.Event()
        while client is not None and not client.is_initialized() and time.monotonic() < end:
            pause.wait(0.0005)

    def stop(self) -> None:
        """Close the SDK's client."""
        connection, self._connection = self._connection, None
        self._evaluate = None
        if connection is not None:
            connection.close()

    def shutdown(self) -> None:
        """Stop, also when the start failed and the SDK is still trying."""
        with self._lifecycle:
            self._serving = False
            self.stop()

    def after_fork(self) -> None:
        """In a child process: threads and whoever held a lock are gone, the flags are not."""
        self._lifecycle = threading.RLock()
        self._emitting = threading.Lock()
        self._settled = threading.Event()
        if self._received is not None:
            self._received.after_fork()
        if self._connection is not None:
            self._connection.after_fork()

    def _made(self, evaluate: Evaluate, factory: Any) -> None:
        self._evaluate, self._factory = evaluate, factory

    # --- the SDK's threads ------------------------------------------------------------------------------

    def _changed(self, keys: list[str]) -> None:
        if self._serving:
            details = ProviderEventDetails(flags_changed=keys, metadata=self._facts())
            self.emit_provider_configuration_changed(details)

    def _valid(self) -> None:
        self._arrived, self._refusal = True, ""
        if self._emitted == "error":
            self._serving = True  # the start had given up; this is the recovery it promised
        if self._emitted:
            self._say("ready", self.emit_provider_ready, "LaunchDarkly's data flows again")
        self._settled.set()

    def _has_some(self) -> bool:
        """Data came, and the SDK broke the stream off over one document in it: the rest is better than nothing."""
        return self._received is not None and bool(self._received.initialized) and not self._refusal

    def _interrupted(self, message: str) -> None:
        if self._has_some():
            self._settled.set()
        if self._serving:
            self._say("stale", self.emit_provider_stale, f"{message}; the last known flags are served")

    def _refused(self, status: int, message: str) -> None:
        self._refusal = message
        if self._serving:
            # Not PROVIDER_FATAL, on which the SDK would answer defaults: what was received is still served.
            self._say(
                "refused",
                self.emit_provider_error,
                f"{message}; the last known flags are served and it is tried again",
                {"launchdarkly_status": status},
            )
        self._settled.set()

    def _say(
        self,
        state: str,
        emit: Callable[[ProviderEventDetails], None],
        message: str,
        more: Mapping[str, bool | str | int | float] = MappingProxyType({}),
    ) -> None:
        """Emit a change of state once."""
        with self._emitting:
            if self._emitted == state or (state == "stale" and self._emitted == "refused"):
                return
            self._emitted = state
        code = ErrorCode.GENERAL if state == "refused" else None
        emit(ProviderEventDetails(message=message, error_code=code, metadata={**self._facts(), **more}))

    def _facts(self) -> dict[str, bool | str | int | float]:
        # Handlers run in a pool, in any order: the sequence tells which came first.
        return {"sequence": next(self._sequence)}


_forked: Final[weakref.WeakSet[LaunchDarklyProvider]] = weakref.WeakSet()


def _after_fork() -> None:
    for provider in list(_forked):
        provider.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
