"""The data plane: answers from the memory of Unleash's SDK. Never raises, never writes, never waits."""

from __future__ import annotations

import ctypes
import json
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, GeneralError, TargetingKeyMissingError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from flagbrake.model.manifest import Manifest
from flagbrake.model.values import MISMATCH, USE_DEFAULT
from flagbrake.ports.vendor_sdk import SdkProvider
from flagbrake_unleash.context import encoded
from flagbrake_unleash.table import Answer, Feature, answer_of, changed_keys, feature_of, numbered

if TYPE_CHECKING:
    from flagbrake_unleash.outcome import Outcome
    from flagbrake_unleash.sdk import Sdk, SdkSettings

_log = logging.getLogger("flagbrake.unleash")

#: Responses remembered per feature: a feature has few, one with data in its payload cannot make up more.
_REMEMBERED: Final = 1000
#: What names a unit besides the targeting key.
_UNITS: Final = frozenset({"sessionId", "userId"})
_NO_STRATEGIES: Final = b"{}"
_YES, _NO = b'"value":true', b'"value":false'


class UnleashProvider(SdkProvider):
    """Flags of an Unleash server, through its SDK.

    Opens nothing before ``initialize``. After a fork the child starts an SDK of its own.
    """

    name: ClassVar[str] = "unleash"
    vendor: ClassVar[str] = "Unleash"
    right_key: ClassVar[str] = "a backend token of this environment"

    def __init__(self, settings: SdkSettings) -> None:
        super().__init__(timeout=settings.timeout)
        self._settings = settings
        self._static = {"appName": settings.app_name, "environment": settings.environment}
        self._manifest: Callable[[], Manifest] = Manifest
        self._sdk: Sdk | None = None
        self._features: Mapping[str, Feature] = MappingProxyType({})
        self._segments: dict[int, Any] = {}
        self._raw: str | None = None
        self._check_enabled: Callable[..., Any] = _no_engine
        self._check_variant: Callable[..., Any] = _no_engine
        self._count: Callable[..., Any] = _no_engine
        self._count_variant: Callable[..., Any] = _no_engine
        self._free: Callable[..., Any] = _no_engine
        self._engine: Any = None
        self._sdk_of_parent: Sdk | None = None

    def __repr__(self) -> str:
        return f"UnleashProvider({self._settings!r})"

    # --- answering ----------------------------------------------------------------------------------

    def resolve(self, flag_key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        """Answer from the engine's memory."""
        feature = self._features.get(flag_key)
        if feature is None:
            raise FlagNotFoundError(f"There is no flag '{flag_key}' in Unleash.")
        engine = self._engine
        if not feature.enabled:
            self._free(self._count(engine.state, feature.name, False))
            return self._off(flag_key, feature)
        asked = encoded(context, self._static)
        ask = self._single if feature.single else self._several
        value, variant, reason, metadata, needs_unit = ask(engine, feature, asked)
        if needs_unit and feature.sticky and not context.targeting_key and not _UNITS & context.attributes.keys():
            raise TargetingKeyMissingError(f"Flag '{flag_key}' is split by unit, and the context names none.")
        if feature.denied and value is False and context.targeting_key in feature.denied:
            reason = Reason.TARGETING_MATCH
        return FlagResolutionDetails(value, reason=reason, variant=variant, flag_metadata=metadata)

    def _single(self, engine: Any, feature: Feature, asked: bytes) -> Answer:
        pointer = self._check_enabled(engine.state, feature.name, asked, _NO_STRATEGIES)
        said = ctypes.string_at(pointer)
        self._free(pointer)
        on = _YES in said
        if not on and _NO not in said:
            raise _refusal(feature, said)
        self._free(self._count(engine.state, feature.name, on))
        if not on:
            return feature.nothing
        if not feature.steps:
            return (True, feature.true_name, *feature.nothing[2:])
        step = feature.steps[0]
        return (True, step.true_name, step.reason, step.metadata, step.partial)

    def _several(self, engine: Any, feature: Feature, asked: bytes) -> Answer:
        pointer = self._check_variant(engine.state, feature.name, asked, _NO_STRATEGIES)
        said = ctypes.string_at(pointer)
        self._free(pointer)
        answer = feature.answers.get(said)
        if answer is None:
            if b'"status_code":"Ok"' not in said:
                raise _refusal(feature, said)
            answer = answer_of(feature, said)
            if len(feature.answers) < _REMEMBERED:
                feature.answers[said] = answer
        self._free(self._count(engine.state, feature.name, answer is not feature.nothing))
        if not feature.plain and answer[1] is not None:
            self._free(self._count_variant(engine.state, feature.name, answer[1].encode()))
        return answer

    def _off(self, flag_key: str, feature: Feature) -> FlagResolutionDetails[Any]:
        """The declared safe value, which Unleash itself cannot serve; else what the feature says about being off."""
        declared = self._manifest().get(flag_key)
        if declared is not None and declared.safe_variant is not None:
            value = feature.values.get(declared.safe_variant, declared.safe_value)
            if value is not None:
                return FlagResolutionDetails(value, reason=Reason.DISABLED, variant=declared.safe_variant)
        if feature.off is None:
            return FlagResolutionDetails(USE_DEFAULT, reason=Reason.DISABLED)
        value, variant, reason, metadata, _ = feature.off
        return FlagResolutionDetails(value, reason=reason, variant=variant, flag_metadata=metadata)

    def off_value(self, flag_key: str) -> FlagResolutionDetails[Any] | None:
        """What the flag serves when it is off, ``None`` for a flag that is not there."""
        feature = self._features.get(flag_key)
        return None if feature is None else self._off(flag_key, feature)

    def value_of(self, flag_key: str, variant: str) -> Any:
        """The value of a variant, ``MISMATCH`` when there is no such flag or variant."""
        feature = self._features.get(flag_key)
        return MISMATCH if feature is None else feature.values.get(variant, MISMATCH)

    def keys(self) -> Collection[str]:
        """The keys of all features in memory."""
        return self._features.keys()

    def declare(self, manifest: Callable[[], Manifest]) -> None:
        """Serve safe variants of this manifest for features that are off."""
        self._manifest = manifest

    # --- lifecycle ----------------------------------------------------------------------------------

    def connect(self) -> None:
        """Start the SDK. Its data are the server's, or those of the cache or the bootstrap file.

        Raises:
            ConfigError: streaming is asked for and the server has none; a bootstrap file that cannot be read.
        """
        self._make()

    def await_data(self, seconds: float) -> None:
        """A first fetch has been waited for already, a stream has not; but what is kept is enough for a start."""
        if self._settings.streaming and self._raw is None:
            super().await_data(seconds)

    def hurry(self) -> None:
        """Fetch now, in this thread."""
        self.refresh()

    def refresh(self) -> None:
        """Fetch now, in this thread, instead of at the next interval."""
        sdk = self._sdk
        if sdk is not None:
            sdk.refresh()

    def disconnect(self) -> None:
        """Stop the SDK; its threads, connections and last metrics go with it."""
        sdk, self._sdk = self._sdk, None
        self._raw = None
        if sdk is not None:
            sdk.stop()

    def after_fork(self) -> None:
        """The child has the data and none of the threads: it gets an SDK of its own."""
        # Never freed: the parent may have held the engine's lock when it forked.
        self._sdk_of_parent, self._sdk = self._sdk, None
        state, self._raw = self._raw, None
        threading.Thread(target=self._make, args=(state,), name="flagbrake-unleash-fork", daemon=True).start()

    def _make(self, state: str | None = None) -> None:
        from flagbrake_unleash.sdk import Sdk  # late: the control plane does without the SDK

        sdk = Sdk(self._settings, take=self._take, held=lambda: self._raw, tell=self._told, state=state)
        lib = sdk.engine.lib
        self._check_enabled, self._check_variant = lib.check_enabled, lib.check_variant
        self._count, self._count_variant, self._free = lib.count_toggle, lib.count_variant, lib.free_response
        self._engine = sdk.engine
        self._sdk = sdk
        sdk.start()

    # --- the SDK's thread ----------------------------------------------------------------------------

    def _take(self, text: str, engine: Callable[[str], Any]) -> Any:
        """A new state: the engine gets it with numbered strategies, the table is swapped, changes are told."""
        if text == self._raw:
            return None
        state = json.loads(text)
        features = {f["name"]: f for f in state.get("features") or ()}
        segments = {s["id"]: s for s in state.get("segments") or ()}
        if "events" in state:  # a stream sends what changed
            features, segments = self._documents(), self._segments
            for event in state["events"]:
                features, segments = merged(event, features, segments)
            state = {"version": 2, "features": list(features.values()), "segments": list(segments.values())}
            text = json.dumps(state)
        table = self._table(features)
        whole = {
            **state,
            "features": [numbered(f, features) for key, f in features.items() if key in table],
            "segments": list(segments.values()),
        }
        warnings = engine(json.dumps(whole))
        touched = [n for n in segments.keys() | self._segments.keys() if segments.get(n) != self._segments.get(n)]
        changed = changed_keys(self._features, table, touched)
        self._features, self._segments = MappingProxyType(table), segments
        self._raw = text
        if changed:
            self.flags_changed(changed)
        if not self._serving:
            self.data_flows()  # wherever it came from, a start has what it waits for
        return warnings

    def _table(self, documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Feature]:
        """What is known of each feature; one that cannot be read is left out and takes no other with it."""
        table: dict[str, Feature] = {}
        for key, document in documents.items():
            known = self._features.get(key)
            try:
                table[key] = known if known is not None and known.document == document else feature_of(document)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                _log.warning("Unleash's feature '%s' cannot be read and is left out: %r.", key, error)
        return table

    def _documents(self) -> dict[str, Any]:
        return {key: feature.document for key, feature in self._features.items()}

    def _told(self, outcome: Outcome, message: str) -> None:
        """How a fetch ended."""
        if outcome.value == "refused":
            self.key_refused(message)
        elif outcome.value == "failed":
            self.data_interrupted(message)
        elif self._raw is not None:
            self.data_flows()


def merged(
    event: Mapping[str, Any], features: dict[str, Any], segments: dict[int, Any]
) -> tuple[dict[str, Any], dict[int, Any]]:
    """The features and segments after one event of a stream."""
    match event.get("type"):
        case "hydration":
            return {f["name"]: f for f in event["features"]}, {s["id"]: s for s in event.get("segments") or ()}
        case "feature-updated":
            return {**features, event["feature"]["name"]: event["feature"]}, segments
        case "feature-removed":
            return {k: f for k, f in features.items() if k != event["featureName"]}, segments
        case "segment-updated":
            return features, {**segments, event["segment"]["id"]: event["segment"]}
        case "segment-removed":
            return features, {k: s for k, s in segments.items() if k != event["segmentId"]}
    return features, segments


def _refusal(feature: Feature, said: bytes) -> Exception:
    message = json.loads(said).get("error_message")
    if message is None:
        return FlagNotFoundError(f"There is no flag '{feature.document['name']}' in Unleash.")
    return GeneralError(f"Unleash's engine could not answer: {message}.")


def _no_engine(*_: Any) -> Any:
    raise GeneralError("Unleash's engine is not there yet.")
