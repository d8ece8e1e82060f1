"""The data plane's port: an OpenFeature provider with one method to write."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from flagbrake.errors import ConfigError, NotAllowed, RetryLater, Unavailable
from flagbrake.model.manifest import Manifest
from flagbrake.model.values import MISMATCH, USE_DEFAULT, FlagKind, coerce, kind_of

_EMPTY = EvaluationContext()


class FlagProvider(AbstractProvider):
    """Write :meth:`resolve`; override :meth:`start` and :meth:`stop` if there is something to open.

    This base owns what every provider must get right and published ones do not: lossless coercion,
    the caller's default on every error, PROVIDER_NOT_READY before start and after stop, double
    initialise and shutdown, async calls, answers a caller may change.
    """

    #: The name shown by ``client.get_metadata()`` and in errors.
    name: ClassVar[str] = "flagbrake"
    #: What stands for the dot in the names of flags reserved for the kill switch (``kill.flag.checkout``,
    #: ``flagbrake.manifest``); ``-`` where the vendor's names have no dot. See ``model.reserved``.
    reserved_dot: ClassVar[str] = "."
    #: Does a child made by ``os.fork`` go on hearing of changes? Unless it does, kills that come from the
    #: vendor's flags are UNKNOWN there once their trust has run out.
    follows_after_fork: ClassVar[bool] = False

    def __init__(self) -> None:
        self._serving = False
        self._lifecycle = threading.RLock()

    # --- what an adapter writes -----------------------------------------------------------------

    @abstractmethod
    def resolve(self, flag_key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        """Answer with the value in whatever type the flag has; never blocks, never writes.

        Return ``USE_DEFAULT`` as the value to serve the caller's default without an error (a flag that is
        off and has no off variant). Raise an ``OpenFeatureError`` (FlagNotFoundError, ...) for the rest.
        """

    def start(self, context: EvaluationContext) -> None:
        """Open what is needed and return when data has arrived, within a bounded time.

        Raises:
            Unavailable, RetryLater: no data in time; applications see PROVIDER_NOT_READY.
            NotAllowed, ConfigError: it can never work (a rejected key); applications see PROVIDER_FATAL.
            ProviderNotReadyError, ProviderFatalError: the SDK's own names for the same two.
        """

    def stop(self) -> None:
        """Close everything that ``start`` opened: threads, sockets, files."""

    def off_value(self, flag_key: str) -> FlagResolutionDetails[Any] | None:
        """What this flag serves when it is off, or ``None`` if the adapter cannot tell."""
        return None

    def value_of(self, flag_key: str, variant: str) -> Any:
        """The value of a named variant, ``MISMATCH`` if the adapter cannot tell."""
        return MISMATCH

    def declare(self, manifest: Callable[[], Manifest]) -> None:
        """Take the source of the declarations; called once, before the start.

        For vendors whose off state cannot carry a value: a flag that is off then serves its declared safe
        variant. Everybody else ignores it.
        """

    def keys(self) -> Collection[str] | None:
        """The keys of all flags held in memory now, ``None`` if the adapter cannot tell.

        With it kills and declarations come from the vendor's own flags, without a store. Asked about once a
        second from a thread of its own: what is returned may be iterated while the vendor's SDK takes changes,
        and nothing blocks. Keys that ``resolve`` does not find (archived flags) do no harm.
        """
        return None

    # --- lifecycle --------------------------------------------------------------------------------

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name=self.name)

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Start once; a second call while serving does nothing.

        Raises:
            ProviderNotReadyError: ``start`` raised Unavailable or RetryLater.
            ProviderFatalError: ``start`` raised NotAllowed or ConfigError.
        """
        with self._lifecycle:
            if not self._serving:
                # The SDK knows its own errors only: any other one would end as ERROR with the code GENERAL.
                try:
                    self.start(evaluation_context)
                except (Unavailable, RetryLater) as error:
                    raise ProviderNotReadyError(str(error)) from error
                except (NotAllowed, ConfigError) as error:
                    raise ProviderFatalError(str(error)) from error
                self._serving = True

    def shutdown(self) -> None:
        """Stop once; after it every answer is PROVIDER_NOT_READY."""
        with self._lifecycle:
            if self._serving:
                self._serving = False
                self.stop()

    # --- the ten typed getters ---------------------------------------------------------------------

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """A boolean, or the default with an error code."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.BOOLEAN, bool)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """A string, or the default with an error code."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.STRING, str)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """An integer, or the default with an error code."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.INTEGER, int)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """A float, or the default with an error code."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.FLOAT, float)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """A list or an object, or the default with an error code."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.OBJECT, None)

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """As the sync getter: an answer comes from memory, so there is nothing to await."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.BOOLEAN, bool)

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """As the sync getter."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.STRING, str)

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """As the sync getter."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.INTEGER, int)

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """As the sync getter."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.FLOAT, float)

    async def resolve_object_details_async(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """As the sync getter."""
        return self._typed(flag_key, default_value, evaluation_context, FlagKind.OBJECT, None)

    def _typed(
        self,
        flag_key: str,
        default: Any,
        context: EvaluationContext | None,
        kind: FlagKind,
        exact: type | None,
    ) -> FlagResolutionDetails[Any]:
        if not self._serving:
            return failure(default, ErrorCode.PROVIDER_NOT_READY, f"Provider '{self.name}' is not started.")
        try:
            answer = self.resolve(flag_key, context or _EMPTY)
            if type(answer.value) is exact and answer.error_code is None:
                return answer
            return conform(answer, flag_key, default, kind)
        except OpenFeatureError as error:
            return failure(default, error.error_code, error.error_message or str(error))
        except Exception as error:  # noqa: BLE001 - a flag read never raises into the caller
            return failure(default, ErrorCode.GENERAL, f"{type(error).__name__}: {error}")


def failure(default: Any, code: ErrorCode, message: str | None) -> FlagResolutionDetails[Any]:
    """The caller's default with an error code."""
    return FlagResolutionDetails(default, code, message, Reason.ERROR)


def conform(
    answer: FlagResolutionDetails[Any], flag_key: str, default: Any, kind: FlagKind
) -> FlagResolutionDetails[Any]:
    """Make an answer keep the contract: the kind asked for or TYPE_MISMATCH, the default on error."""
    if answer.error_code is not None:
        return FlagResolutionDetails(default, answer.error_code, answer.error_message, Reason.ERROR)
    if answer.value is USE_DEFAULT:
        answer.value = default
        return answer
    value = coerce(answer.value, kind)
    if value is MISMATCH:
        actual = kind_of(answer.value)
        found = actual.value if actual else type(answer.value).__name__
        return failure(default, ErrorCode.TYPE_MISMATCH, f"Flag '{flag_key}' is {found}, asked as {kind.value}.")
    answer.value = value
    return answer
