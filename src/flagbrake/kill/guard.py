"""The guard: a provider that wraps any OpenFeature provider and answers for it while a kill stands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.hook import Hook
from openfeature.provider import AbstractProvider, FeatureProvider, Metadata
from openfeature.track import TrackingEventDetails

from flagbrake.kill.board import Board
from flagbrake.kill.convention import Ruling, Source, covering, flag_scopes
from flagbrake.kill.state import State
from flagbrake.model.kill import EVERYTHING, Kill, ScopeKind, UnknownPolicy
from flagbrake.model.values import MISMATCH, USE_DEFAULT, FlagKind, coerce
from flagbrake.ports.provider import FlagProvider, conform, failure

if TYPE_CHECKING:
    from flagbrake.kill.flags import FlagKills

_log = logging.getLogger("flagbrake.kill")

#: Flag keys remembered as evaluated. A program has far fewer; one that makes keys up must not fill the memory.
_SEEN_BOUND: Final = 10_000

Tracker = Callable[[str, EvaluationContext | None, TrackingEventDetails | None], None]
_Getter = Callable[..., Any]


class Guard(AbstractProvider):
    """``Guard(inner, board)``: the inner provider, except for flags that are killed.

    Works around any provider, ours or a stranger's. A killed flag answers its safe variant with reason
    DISABLED and the metadata of the convention, whatever the inner provider would have said. A flag read
    never raises: an exception of the inner provider is the caller's default with its error code.

    Args:
        inner: the provider that answers while nothing is killed.
        board: the kill state.
        seen: takes the key of every flag that was evaluated; for the check at a change of vendor.
        tracker: gets every ``client.track`` call as well.
        flags: the lane that reads kills from the vendor's own flags; started and stopped with the guard.
    """

    def __init__(
        self,
        inner: FeatureProvider,
        board: Board,
        *,
        seen: set[str] | None = None,
        tracker: Tracker | None = None,
        flags: FlagKills | None = None,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.board = board
        self.seen: set[str] = set() if seen is None else seen
        self.flags = flags
        self._tracker = tracker
        self._warned: set[tuple[str, str]] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self._unfollow: Callable[[], None] | None = None
        if isinstance(inner, FlagProvider):
            inner.declare(lambda: self.board.manifest)
        self._bind()

    def _bind(self) -> None:
        inner = self.inner
        if isinstance(inner, FlagProvider):
            # Asked for in every evaluation, and constant in ours: bound, not forwarded.
            metadata = inner.get_metadata()
            self.__dict__["get_metadata"] = lambda: metadata
            if type(inner).get_provider_hooks is AbstractProvider.get_provider_hooks:
                self.__dict__["get_provider_hooks"] = list
        self._boolean: _Getter = inner.resolve_boolean_details
        self._string: _Getter = inner.resolve_string_details
        self._integer: _Getter = inner.resolve_integer_details
        self._float: _Getter = inner.resolve_float_details
        self._object: _Getter = inner.resolve_object_details
        self._async: dict[FlagKind, _Getter] = {
            kind: _async_getter(inner, name, getter)
            for kind, name, getter in (
                (FlagKind.BOOLEAN, "resolve_boolean_details_async", self._boolean),
                (FlagKind.STRING, "resolve_string_details_async", self._string),
                (FlagKind.INTEGER, "resolve_integer_details_async", self._integer),
                (FlagKind.FLOAT, "resolve_float_details_async", self._float),
                (FlagKind.OBJECT, "resolve_object_details_async", self._object),
            )
        }

    # --- lifecycle ----------------------------------------------------------------------------------------

    def attach(self, on_emit: Callable[[FeatureProvider, ProviderEvent, ProviderEventDetails], None]) -> None:
        """Take the SDK's event sink; the inner provider's events come out as the guard's own."""
        super().attach(on_emit)
        attach = getattr(self.inner, "attach", None)
        if callable(attach):
            attach(self._forward)

    def detach(self) -> None:
        """Let go of the SDK's event sink."""
        detach = getattr(self.inner, "detach", None)
        if callable(detach):
            self._quietly("detach", detach)
        super().detach()

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Initialise the inner provider; its errors are the guard's.

        Kills that stand in the vendor's flags are in force when this returns. When the inner provider is not
        ready it may become so later, and its kills with it.
        """
        if self._unsubscribe is None:
            self._unsubscribe = self.board.subscribe(self._kills_changed, late=True)
        if self.flags is not None and self._unfollow is None:
            self._unfollow = self.board.attach(self.flags, lane=self.flags.lane)
        initialize = getattr(self.inner, "initialize", None)
        ready = False
        try:
            if callable(initialize):
                initialize(evaluation_context)
            ready = True
        finally:
            if self.flags is not None:
                self.flags.start(ready=ready)
        self._bind()

    def shutdown(self) -> None:
        """Shut the inner provider down; the board goes on."""
        if self.flags is not None:
            self.flags.stop()
        for end in (self._unsubscribe, self._unfollow):
            if end is not None:
                end()
        self._unsubscribe = self._unfollow = None
        shutdown = getattr(self.inner, "shutdown", None)
        if callable(shutdown):
            shutdown()

    def get_metadata(self) -> Metadata:
        """The inner provider's name; its class when it cannot say."""
        try:
            metadata = self.inner.get_metadata()
            if isinstance(metadata.name, str):
                return metadata
        except Exception as error:  # noqa: BLE001 - the SDK asks this outside of its own protection
            self._warn("get_metadata", error)
        return Metadata(name=type(self.inner).__name__)

    def get_provider_hooks(self) -> list[Hook]:
        """The inner provider's hooks."""
        try:
            return list(self.inner.get_provider_hooks() or ())
        except Exception as error:  # noqa: BLE001 - the SDK asks this outside of its own protection
            self._warn("get_provider_hooks", error)
            return []

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """To the inner provider and to the outcomes. The SDK does not protect this call, so the guard does."""
        track = getattr(self.inner, "track", None)
        if callable(track):
            self._quietly("track", track, tracking_event_name, evaluation_context, tracking_event_details)
        if self._tracker is not None:
            self._quietly(
                "outcome tracking", self._tracker, tracking_event_name, evaluation_context, tracking_event_details
            )

    # --- what adapters of ours can tell ------------------------------------------------------------------------

    def off_value(self, flag_key: str) -> FlagResolutionDetails[Any] | None:
        """What the flag serves when it is off, ``None`` if the inner provider cannot tell."""
        ask = getattr(self.inner, "off_value", None)
        answer = self._quietly("off_value", ask, flag_key) if callable(ask) else None
        return answer if isinstance(answer, FlagResolutionDetails) else None

    def value_of(self, flag_key: str, variant: str) -> Any:
        """The value of a named variant, ``MISMATCH`` if the inner provider cannot tell."""
        ask = getattr(self.inner, "value_of", None)
        value = self._quietly("value_of", ask, flag_key, variant) if callable(ask) else None
        return MISMATCH if value is None else value

    # --- the ten typed getters ---------------------------------------------------------------------------------
    # The sync five are written out: a shared helper would cost one more call in every evaluation.

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """A boolean."""
        try:
            if flag_key not in self.seen:
                self._note(flag_key)
            if self.board.view.quiet:
                answer = self._boolean(flag_key, default_value, evaluation_context)
            else:
                answer = self._ruled(FlagKind.BOOLEAN, self._boolean, flag_key, default_value, evaluation_context)
            return answer if answer.error_code is None else _mended(answer, default_value)
        except Exception as error:  # noqa: BLE001 - a flag read never raises
            return self._failed(flag_key, default_value, error)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """A string."""
        try:
            if flag_key not in self.seen:
                self._note(flag_key)
            if self.board.view.quiet:
                answer = self._string(flag_key, default_value, evaluation_context)
            else:
                answer = self._ruled(FlagKind.STRING, self._string, flag_key, default_value, evaluation_context)
            return answer if answer.error_code is None else _mended(answer, default_value)
        except Exception as error:  # noqa: BLE001 - a flag read never raises
            return self._failed(flag_key, default_value, error)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """An integer."""
        try:
            if flag_key not in self.seen:
                self._note(flag_key)
            if self.board.view.quiet:
                answer = self._integer(flag_key, default_value, evaluation_context)
            else:
                answer = self._ruled(FlagKind.INTEGER, self._integer, flag_key, default_value, evaluation_context)
            return answer if answer.error_code is None else _mended(answer, default_value)
        except Exception as error:  # noqa: BLE001 - a flag read never raises
            return self._failed(flag_key, default_value, error)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """A float."""
        try:
            if flag_key not in self.seen:
                self._note(flag_key)
            if self.board.view.quiet:
                answer = self._float(flag_key, default_value, evaluation_context)
            else:
                answer = self._ruled(FlagKind.FLOAT, self._float, flag_key, default_value, evaluation_context)
            return answer if answer.error_code is None else _mended(answer, default_value)
        except Exception as error:  # noqa: BLE001 - a flag read never raises
            return self._failed(flag_key, default_value, error)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """A list or an object."""
        try:
            if flag_key not in self.seen:
                self._note(flag_key)
            if self.board.view.quiet:
                answer = self._object(flag_key, default_value, evaluation_context)
            else:
                answer = self._ruled(FlagKind.OBJECT, self._object, flag_key, default_value, evaluation_context)
            return answer if answer.error_code is None else _mended(answer, default_value)
        except Exception as error:  # noqa: BLE001 - a flag read never raises
            return self._failed(flag_key, default_value, error)

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """A boolean."""
        return await self._awaited(FlagKind.BOOLEAN, flag_key, default_value, evaluation_context)

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """A string."""
        return await self._awaited(FlagKind.STRING, flag_key, default_value, evaluation_context)

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """An integer."""
        return await self._awaited(FlagKind.INTEGER, flag_key, default_value, evaluation_context)

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """A float."""
        return await self._awaited(FlagKind.FLOAT, flag_key, default_value, evaluation_context)

    async def resolve_object_details_async(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """A list or an object."""
        return await self._awaited(FlagKind.OBJECT, flag_key, default_value, evaluation_context)

    async def _awaited(
        self, kind: FlagKind, flag_key: str, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        try:
            if flag_key not in self.seen:
                self._note(flag_key)
            ruling = None if self.board.view.quiet else self.board.ruling(flag_key, context)
            if ruling is not None:
                return self._served(ruling, kind, flag_key, default)
            answer = await self._async[kind](flag_key, default, context)
            # The SDK restores the default after an error on the sync path only.
            return conform(answer, flag_key, default, kind)
        except asyncio.CancelledError:
            return _cancelled_again(default)
        except Exception as error:  # noqa: BLE001 - a flag read never raises
            return self._failed(flag_key, default, error)

    # --- while a kill stands -------------------------------------------------------------------------------------

    def _ruled(
        self, kind: FlagKind, getter: _Getter, flag_key: str, default: Any, context: EvaluationContext | None
    ) -> Any:
        ruling = self.board.ruling(flag_key, context)
        if ruling is None:
            return getter(flag_key, default, context)
        return self._served(ruling, kind, flag_key, default)

    def _served(self, ruling: Ruling, kind: FlagKind, flag_key: str, default: Any) -> FlagResolutionDetails[Any]:
        metadata = ruling.metadata()
        variant, value = self._looked_up(ruling, flag_key)
        if value is USE_DEFAULT or value is MISMATCH:
            metadata.setdefault("safe", "default")
            return FlagResolutionDetails(default, reason=Reason.DISABLED, flag_metadata=metadata)
        answer = coerce(value, kind)
        if answer is MISMATCH:
            message = f"Flag '{flag_key}' is killed and its variant '{variant}' is no {kind.value}."
            return FlagResolutionDetails(
                default, ErrorCode.TYPE_MISMATCH, message, Reason.ERROR, flag_metadata=metadata
            )
        return FlagResolutionDetails(answer, reason=Reason.DISABLED, variant=variant, flag_metadata=metadata)

    def _looked_up(self, ruling: Ruling, flag_key: str) -> tuple[str | None, Any]:
        """The variant's name and value; ``USE_DEFAULT`` or ``MISMATCH`` when nobody here knows the value."""
        if ruling.variant is not None and ruling.value is not None:
            return ruling.variant, ruling.value
        if ruling.variant is not None:
            value = self.value_of(flag_key, ruling.variant)
            if value is not MISMATCH:
                return ruling.variant, value
        off = self.off_value(flag_key)
        if off is None or off.error_code is not None:
            return None, USE_DEFAULT
        if ruling.source is Source.OFF or off.variant == ruling.variant:
            return off.variant, off.value
        return None, USE_DEFAULT

    def _kills_changed(self, old: State, new: State) -> None:
        flags = self._affected(old, new)
        if flags:
            self.emit_provider_configuration_changed(
                ProviderEventDetails(
                    flags_changed=sorted(flags),
                    message="kills changed",
                    metadata={"kill_epoch": new.epoch},
                )
            )

    def _affected(self, old: State, new: State) -> set[str]:
        changed = [k for policy in UnknownPolicy for k in _differing(old.standing(policy), new.standing(policy))]
        if not changed:
            return set()
        named = {k.scope.path for k in old.kills + new.kills if k.scope.kind is ScopeKind.FLAG}
        declared = new.manifest.declarations
        known = named.union(self.seen, declared)
        if any(k.scope == EVERYTHING for k in changed):
            return known
        kinds = {k.scope.kind for k in changed}
        affected: set[str] = set()
        for flag in known:
            declaration = declared.get(flag)
            # Which contexts a kill of a declared attribute touches cannot be told from here.
            by_context = declaration is not None and any(a.kind in kinds for a in declaration.scope_attributes)
            if by_context or covering(changed, flag_scopes(flag, declaration)):
                affected.add(flag)
        return affected

    # --- small change --------------------------------------------------------------------------------------------

    def _forward(self, _provider: Any, event: ProviderEvent, details: ProviderEventDetails) -> None:
        if self.flags is not None:
            # First: who is told of a change must not meet what that change has killed.
            self._quietly("kill flags", self.flags.heard, event, details)
        self.emit(event, details)

    def _note(self, flag_key: str) -> None:
        if len(self.seen) < _SEEN_BOUND:
            self.seen.add(flag_key)

    def _failed(self, flag_key: str, default: Any, error: Exception) -> FlagResolutionDetails[Any]:
        if isinstance(error, OpenFeatureError):
            return failure(default, error.error_code, error.error_message or str(error))
        self._warn(f"evaluation of '{flag_key}'", error)
        return failure(default, ErrorCode.GENERAL, f"{type(error).__name__}: {error}")

    def _quietly(self, what: str, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:  # noqa: BLE001 - reaches the application otherwise
            self._warn(what, error)
            return None

    def _warn(self, what: str, error: Exception) -> None:
        """Once per place and kind of error: a broken provider is asked thousands of times a second."""
        name = (what, type(error).__name__)
        if name not in self._warned and len(self._warned) < _SEEN_BOUND:
            self._warned.add(name)
            _log.warning("%s: %s failed.", type(self.inner).__name__, what, exc_info=error)


def _async_getter(inner: FeatureProvider, name: str, sync: _Getter) -> Callable[..., Awaitable[Any]]:
    native = getattr(inner, name, None)
    if callable(native):
        return native  # type: ignore[no-any-return]

    async def answer(*arguments: Any) -> Any:
        return sync(*arguments)

    return answer


def _mended(answer: FlagResolutionDetails[Any], default: Any) -> FlagResolutionDetails[Any]:
    """An error answers the caller's default and says ERROR; not every provider keeps to it."""
    if answer.value is default and answer.reason == Reason.ERROR:
        return answer
    return FlagResolutionDetails(
        default, answer.error_code, answer.error_message, Reason.ERROR, flag_metadata=answer.flag_metadata
    )


def _cancelled_again(default: Any) -> FlagResolutionDetails[Any]:
    """Deliver a cancellation at the caller's next await instead of here.

    openfeature-sdk 0.10 turns a CancelledError that leaves a provider into an UnboundLocalError, which would
    hide the cancellation. ``uncancel`` takes back the count that ``cancel`` adds, not the request.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        task.cancel()
        task.uncancel()
    # Else nobody cancelled the caller: the provider awaited something that was cancelled.
    return failure(default, ErrorCode.GENERAL, "The evaluation was cancelled.")


def _differing(old: Sequence[Kill], new: Sequence[Kill]) -> list[Kill]:
    before, after = ({(k.lane, k.id, k.scope): k for k in kills} for kills in (old, new))
    return [k for key, k in {**before, **after}.items() if before.get(key) != after.get(key)]
