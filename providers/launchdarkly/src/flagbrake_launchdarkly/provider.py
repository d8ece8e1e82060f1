"""The data plane: LaunchDarkly's SDK behind OpenFeature. In memory, never raises, never writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, TargetingKeyMissingError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.track import TrackingEventDetails

from flagbrake.model.values import MISMATCH, USE_DEFAULT
from flagbrake.ports.vendor_sdk import SdkProvider
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


class LaunchDarklyProvider(SdkProvider):
    """Flags of one LaunchDarkly environment, through the vendor's SDK.

    ``big_segments`` is the SDK's own configuration of a store for big segments; it cannot be said in TOML.
    """

    name: ClassVar[str] = "launchdarkly"
    vendor: ClassVar[str] = "LaunchDarkly"

    def __init__(self, options: SdkOptions, *, big_segments: BigSegmentsConfig | None = None) -> None:
        super().__init__(timeout=options.timeout)
        self.options = options
        self._big_segments = big_segments
        self._received: Received | None = None
        self._connection: Connection | None = None
        self._context: Callable[[EvaluationContext], Context] | None = None
        self._evaluate: Evaluate | None = None
        self._factory: Any = None

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

    def _asks_for_key(self, known: Known, context: Context, seen: frozenset[str] = frozenset()) -> bool:
        """Was a prerequisite, or one of theirs, decided by a rollout that nobody's key should decide?

        Only those that the SDK asked: none of a flag that is off, and none behind one that was not met.
        """
        received, evaluate = self._received, self._evaluate
        assert received is not None
        assert evaluate is not None
        for asked in known.flag.prerequisites if known.flag.on else ():
            other = received.flags.get(asked.key)
            if other is None or asked.key in seen:
                return False
            detail, _flag = evaluate(asked.key, context, None, self._factory)
            if detail.reason["kind"] == "ERROR":
                return False
            split = other.told(detail.variation_index, detail.reason).split
            if split or self._asks_for_key(other, context, seen | {asked.key}):
                return True
            if not other.flag.on or detail.variation_index != asked.variation:
                return False
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
        """Connect and wait for data; offline there is nothing to wait for."""
        if self.options.mode is not Mode.OFFLINE:
            super().start(context)

    def connect(self) -> None:
        """Make the SDK's client; it connects in the background."""
        # Late: an application that only names this provider does not load the vendor's SDK.
        from flagbrake_launchdarkly.connection import Connection
        from flagbrake_launchdarkly.context import context_maker
        from flagbrake_launchdarkly.received import Received

        self._received = Received(self.flags_changed, self.options.context_kind)
        self._context = context_maker(self.options.context_kind)
        self._connection = Connection(
            self.options,
            self._received,
            made=self._made,
            valid=self.data_flows,
            interrupted=self._interrupted,
            refused=self.key_refused,
            big_segments=self._big_segments,
        )
        self._connection.open()

    def await_data(self, seconds: float) -> None:
        """Wait for the data, and for the SDK to see that it has it."""
        super().await_data(seconds)
        if not self._arrived:
            self._take_what_came()
        # The SDK calls itself initialised an instant after the data is there, and logs a warning until then.
        connection, end, pause = self._connection, time.monotonic() + 0.5, threading.Event()
        while connection is not None and connection.catching_up() and time.monotonic() < end:
            pause.wait(0.0005)

    def source(self) -> str:
        """LaunchDarkly, or the files that stand for it."""
        return ", ".join(self.options.files) if self.options.mode is Mode.FILE else self.vendor

    def way_out(self) -> str:
        """Files are made or mended, an address is looked for."""
        if self.options.mode is Mode.FILE:
            return "make or mend the file, or name others in [launchdarkly] files"
        return super().way_out()

    def hurry(self) -> None:
        """Try again now, if a pause after a refusal is under way."""
        if self._connection is not None:
            self._connection.hurry()

    def disconnect(self) -> None:
        """Close the SDK's client."""
        connection, self._connection = self._connection, None
        self._evaluate = None
        if connection is not None:
            connection.close()

    def after_fork(self) -> None:
        """Make another client over the same flags."""
        if self._received is not None:
            self._received.after_fork()
        if self._connection is not None:
            self._connection.after_fork()

    def _made(self, evaluate: Evaluate, factory: Any) -> None:
        self._evaluate, self._factory = evaluate, factory

    def _interrupted(self, message: str) -> None:
        if not self._serving:
            self._take_what_came()
        self.data_interrupted(message)

    def _take_what_came(self) -> None:
        """The SDK breaks the stream off over one document that it cannot read: the rest is better than nothing."""
        if self._received is not None and self._received.initialized and not self._refused:
            self.data_flows()
