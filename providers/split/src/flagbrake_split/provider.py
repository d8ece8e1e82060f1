"""The data plane: Split's SDK behind OpenFeature. In memory, never raises, never writes."""

from __future__ import annotations

import itertools
import json
import os
import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import (
    ErrorCode,
    FlagNotFoundError,
    GeneralError,
    ParseError,
    ProviderNotReadyError,
    TargetingKeyMissingError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.track import TrackingEventDetails

from flagbrake.errors import NotAllowed, VendorUnavailable
from flagbrake.model.values import MISMATCH
from flagbrake.ports.provider import FlagProvider
from flagbrake_split.sdk_options import Mode, SdkOptions

if TYPE_CHECKING:
    from flagbrake_split.connection import Asker, Connection
    from flagbrake_split.received import Known, Received

_NO_FLAGS: Final[Mapping[str, Known]] = MappingProxyType({})
_UNMET: Final = "prerequisites not met"
#: The SDK takes no longer key.
_LONGEST_KEY: Final = 250


class SplitProvider(FlagProvider):
    """Flags of one Split environment, through the vendor's SDK."""

    name: ClassVar[str] = "split"
    #: Split's names hold letters, digits, hyphens and underscores.
    reserved_dot: ClassVar[str] = "-"
    follows_after_fork: ClassVar[bool] = True

    def __init__(self, options: SdkOptions) -> None:
        super().__init__()
        self.options = options
        self._received: Received | None = None
        self._connection: Connection | None = None
        self._context: Callable[[EvaluationContext], tuple[str, str | None, dict[str, Any] | None]] | None = None
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
            OpenFeatureError: the flag is missing or damaged, or a split needs a targeting key.
        """
        connection, make = self._connection, self._context
        asker = connection.asker if connection is not None else None
        if asker is None or make is None:
            raise ProviderNotReadyError("Provider 'split' is not started.")
        known = self._known(flag_key)
        if known is None:
            raise FlagNotFoundError(f"Flag '{flag_key}' does not exist.")
        key, bucketing, attributes = make(context)
        if len(key) > _LONGEST_KEY or not key.strip():
            raise GeneralError(f"Flag '{flag_key}' cannot be evaluated: the context's key is none that Split takes.")
        result = asker.ask(key, bucketing, flag_key, attributes)
        treatment, impression = result["treatment"], result["impression"]
        if impression["change_number"] != known.version:
            # It changed in the middle: tell the answer by the definition that gave it.
            known = self._known(flag_key) or known
        label = impression["label"] or ""
        value = known.value(treatment)
        if value is MISMATCH:
            raise _damaged(flag_key, treatment, label)
        told = known.outcomes.get(label) or known.told(label)
        if not context.targeting_key and told.reason is Reason.SPLIT:
            raise TargetingKeyMissingError(f"Flag '{flag_key}' is split by targeting key, and the context has none.")
        metadata = told.metadata
        if label == _UNMET:
            metadata = {**metadata, "prerequisite": _unmet(known, asker, key, bucketing, attributes)}
        return FlagResolutionDetails(value, None, None, told.reason, treatment, metadata)

    def _known(self, flag_key: str) -> Known | None:
        if self.options.mode is not Mode.REDIS:
            received = self._received
            return None if received is None else received.flags.get(flag_key)
        from flagbrake_split.received import Known

        assert self._connection is not None
        split = self._connection.storage().get(flag_key)
        return None if split is None else Known(split)

    def keys(self) -> Collection[str]:
        """The names of all flags received."""
        if self.options.mode is Mode.REDIS:
            return tuple(self._connection.storage().get_split_names()) if self._connection is not None else ()
        return tuple(self._flags)

    def off_value(self, flag_key: str) -> FlagResolutionDetails[Any] | None:
        """What the flag serves when it is killed, ``None`` for a flag that is not there."""
        known = self._known(flag_key) if self._connection is not None else None
        return None if known is None else known.off()

    def value_of(self, flag_key: str, variant: str) -> Any:
        """The value of a treatment, ``MISMATCH`` when there is none of this name."""
        known = self._known(flag_key) if self._connection is not None else None
        return MISMATCH if known is None else known.value(variant)

    @property
    def _flags(self) -> Mapping[str, Known]:
        return _NO_FLAGS if self._received is None else self._received.flags

    # --- tracking -------------------------------------------------------------------------------------

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Send an event of Split: the value as its value, the attributes as properties. Never blocks.

        Split's events belong to a key: without a targeting key there is none, and nothing is sent.
        """
        asker = self._connection.asker if self._connection is not None else None
        key = evaluation_context.targeting_key if evaluation_context is not None else None
        if asker is None or not key or not self._serving:
            return
        details = tracking_event_details or TrackingEventDetails()
        properties = {name: _property(value) for name, value in details.attributes.items()}
        asker.client.track(key, self.options.track_traffic_type, tracking_event_name, details.value, properties or None)

    # --- lifecycle ------------------------------------------------------------------------------------

    def start(self, context: EvaluationContext) -> None:
        """Connect and wait for data.

        Raises:
            NotAllowed: the SDK key is refused. It is tried again, on a backoff; when it is taken after all,
                the provider serves and emits READY.
            VendorUnavailable: no data in time. It is tried on; when data arrives the provider serves it and
                emits READY.
        """
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
            self._emitted = "ready"
            return
        self._emitted = "error"
        if self._refusal:
            raise NotAllowed(f"{self._refusal}.", cure="the server-side SDK key of this environment")
        where = self.options.file if self.options.mode is Mode.LOCALHOST else "Split"
        raise VendorUnavailable(
            f"No flags from {where} within {self.options.timeout:g} s; it is tried on.",
            cure="look whether its address is reachable from here",
        )

    def _connect(self) -> None:
        # Late: an application that only names this provider does not load the vendor's SDK.
        from flagbrake_split.connection import Connection
        from flagbrake_split.context import split_context
        from flagbrake_split.received import Received

        self._received = Received(self._changed)
        self._context = split_context
        self._connection = Connection(
            self.options, self._received, valid=self._valid, interrupted=self._interrupted, refused=self._refused
        )
        self._connection.open()

    def stop(self) -> None:
        """Close the SDK's factory."""
        connection, self._connection = self._connection, None
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
            self._say("ready", self.emit_provider_ready, "Split's data flows again")
        self._settled.set()

    def _interrupted(self, message: str) -> None:
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
                {"split_status": status},
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


def _unmet(known: Known, asker: Asker, key: str, bucketing: str | None, attributes: dict[str, Any] | None) -> str:
    """The first prerequisite that was not met."""
    for name, wanted in known.prerequisites:
        if asker.look(key, bucketing, name, attributes) not in wanted:
            return name
    return ""


def _property(value: Any) -> Any:
    """Split's properties are texts, numbers and booleans; anything else is told as JSON."""
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)


def _damaged(flag_key: str, treatment: str, label: str) -> GeneralError | ParseError:
    if label.startswith("targeting rule type"):
        return ParseError(f"Flag '{flag_key}' has a rule that this version of Split's SDK cannot read.")
    return GeneralError(f"Flag '{flag_key}' cannot be evaluated: Split answers '{treatment}' ({label or 'no label'}).")


_forked: Final[weakref.WeakSet[SplitProvider]] = weakref.WeakSet()


def _after_fork() -> None:
    for provider in list(_forked):
        provider.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
