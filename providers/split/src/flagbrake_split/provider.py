"""The data plane: Split's SDK behind OpenFeature. In memory, never raises, never writes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    ParseError,
    ProviderNotReadyError,
    TargetingKeyMissingError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.track import TrackingEventDetails

from flagbrake.model.values import MISMATCH
from flagbrake.ports.vendor_sdk import SdkProvider
from flagbrake_split.sdk_options import Mode, SdkOptions

if TYPE_CHECKING:
    from flagbrake_split.asking import Asker
    from flagbrake_split.connection import Connection
    from flagbrake_split.received import Known, Received

_NO_FLAGS: Final[Mapping[str, Known]] = MappingProxyType({})
_UNMET: Final = "prerequisites not met"
#: The SDK takes no longer key.
_LONGEST_KEY: Final = 250


class SplitProvider(SdkProvider):
    """Flags of one Split environment, through the vendor's SDK."""

    name: ClassVar[str] = "split"
    vendor: ClassVar[str] = "Split"
    right_key: ClassVar[str] = "the server-side SDK key of this environment"
    #: Split's names hold letters, digits, hyphens and underscores.
    reserved_dot: ClassVar[str] = "-"

    def __init__(self, options: SdkOptions) -> None:
        super().__init__(timeout=options.timeout)
        self.options = options
        self._received: Received | None = None
        self._connection: Connection | None = None
        self._context: Callable[[EvaluationContext], tuple[str, str | None, dict[str, Any] | None]] | None = None

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
            if connection is not None and connection.away:
                raise GeneralError(f"Flag '{flag_key}' was never seen, and Redis is not reached.")
            raise FlagNotFoundError(f"Flag '{flag_key}' does not exist.")
        key, bucketing, attributes = make(context)
        if len(key) > _LONGEST_KEY or not key.strip():
            raise GeneralError(f"Flag '{flag_key}' cannot be evaluated: the context's key is none that Split takes.")
        result = asker.ask(key, bucketing, flag_key, attributes)
        treatment, impression = result["treatment"], result["impression"]
        if impression["change_number"] != known.version:
            # It changed in the middle: tell the answer by the definition that gave it.
            known = self._known(flag_key, impression["change_number"]) or known
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

    def _known(self, flag_key: str, version: int | None = None) -> Known | None:
        known = self._flags.get(flag_key)
        if self.options.mode is not Mode.REDIS or (known is not None and version in {None, known.version}):
            return known
        # What is known there is a little older than what is in Redis, where the SDK asks.
        from flagbrake_split.received import Known

        connection = self._connection
        split = connection.storage().get(flag_key) if connection is not None and connection.asker is not None else None
        return known if split is None else Known(split)

    def keys(self) -> Collection[str]:
        """The names of all flags received."""
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
        """Send an event of Split: the value as its value, the attributes as properties. Never blocks, never raises.

        Split's events belong to a key: without a targeting key there is none, and nothing is sent. What JSON cannot
        say (NaN, a list that holds itself) is left out: the SDK would send nothing else any more.
        """
        asker = self._connection.asker if self._connection is not None else None
        key = evaluation_context.targeting_key if evaluation_context is not None else None
        if asker is None or not key or not self._serving:
            return
        details = tracking_event_details or TrackingEventDetails()
        properties = {name: _property(value) for name, value in details.attributes.items()}
        value = _number(details.value)
        asker.track(key, self.options.track_traffic_type, tracking_event_name, value, properties or None)

    # --- lifecycle ------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Make the SDK's factory; it connects in the background."""
        # Late: an application that only names this provider does not load the vendor's SDK.
        from flagbrake_split.connection import Connection
        from flagbrake_split.context import split_context
        from flagbrake_split.received import Received

        self._received = Received(self.flags_changed)
        self._context = split_context
        self._connection = Connection(
            self.options,
            self._received,
            valid=self.data_flows,
            interrupted=self.data_interrupted,
            refused=self.key_refused,
        )
        self._connection.open()

    def source(self) -> str:
        """Split, or what stands for it."""
        return {Mode.LOCALHOST: self.options.file, Mode.REDIS: "Redis"}.get(self.options.mode, self.vendor)

    def way_out(self) -> str:
        """Where the data should have come from decides what to look at."""
        if self.options.mode is Mode.LOCALHOST:
            return f"make or mend the file {self.options.file}, or name another in [split] file"
        if self.options.mode is Mode.REDIS:
            return "look whether Redis is running where redis_url says, and the Split Synchronizer fills it"
        return super().way_out()

    def hurry(self) -> None:
        """Try again now, if a pause is under way."""
        if self._connection is not None:
            self._connection.hurry()

    def disconnect(self) -> None:
        """Close the SDK's factory."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def after_fork(self) -> None:
        """Make another factory over the same flags."""
        if self._received is not None:
            self._received.after_fork()
        if self._connection is not None:
            self._connection.after_fork()


def _unmet(known: Known, asker: Asker, key: str, bucketing: str | None, attributes: dict[str, Any] | None) -> str:
    """The first prerequisite that was not met."""
    for name, wanted in known.prerequisites:
        if asker.look(key, bucketing, name, attributes) not in wanted:
            return name
    return ""


def _property(value: Any) -> Any:
    """Split's properties are texts, numbers and booleans; anything else is told as JSON."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return _number(value)
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None


def _number(value: Any) -> Any:
    try:
        return value if math.isfinite(value) else None
    except (OverflowError, TypeError):  # a whole number of hundreds of digits; no number
        return None


def _damaged(flag_key: str, treatment: str, label: str) -> GeneralError | ParseError:
    if label.startswith("targeting rule type"):
        return ParseError(f"Flag '{flag_key}' has a rule that this version of Split's SDK cannot read.")
    return GeneralError(f"Flag '{flag_key}' cannot be evaluated: Split answers '{treatment}' ({label or 'no label'}).")
