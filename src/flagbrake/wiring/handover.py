"""A provider takes over from another without a gap, or not at all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, OpenFeatureError, ProviderFatalError
from openfeature.provider.no_op_provider import NoOpProvider

from flagbrake.errors import ConfigError, FlagbrakeError, NotFound, VendorUnavailable

if TYPE_CHECKING:
    from openfeature.client import OpenFeatureClient
    from openfeature.provider import FeatureProvider

_log = logging.getLogger("flagbrake.wiring")

#: The domain in which a new provider starts and is tried. One that is bound already is neither started again nor
#: marked NOT_READY when the SDK binds it to a second domain: that is how there is no gap and no second start.
_STAGE: Final = "flagbrake.handover"
#: The domain in which the old one waits until the calls that were under way have been answered.
_LEAVING: Final = "flagbrake.handover.leaving"
#: Seconds it waits there: an evaluation from memory takes microseconds, one that asks a vendor seldom longer.
_DRAINED: Final = 1.0
_NOBODY: Final = EvaluationContext("flagbrake-handover")
_PROBE: Final = "flagbrake.handover.probe"
#: Answers of a provider that cannot serve, whatever the flag.
_UNFIT: Final = frozenset({ErrorCode.PROVIDER_NOT_READY, ErrorCode.PROVIDER_FATAL, ErrorCode.GENERAL})
_one_at_a_time = threading.Lock()


def swap_provider(
    new: FeatureProvider,
    domain: str | None = None,
    *,
    flags: Iterable[str] = (),
    verify: Callable[[OpenFeatureClient], object] | None = None,
    within: float = 30.0,
) -> None:
    """Start ``new``, try it, and only then bind it in place of the present provider, which is shut down.

    ``api.set_provider_and_wait`` binds first: until the new provider is ready every caller gets its default, and
    when it fails it stays bound. Here callers are served by the old provider until the new one has answered, and
    go on being served by it when the new one does not. Any OpenFeature provider will do.

    Handlers of READY see the new provider once it is bound; handlers of all providers see it when it starts, too.
    The old provider is shut down a second later, when no call is under way in it, unless another domain uses it.

    Args:
        new: the provider to bind; not started.
        domain: the domain to bind it to, ``None`` for the default.
        flags: keys that the new provider must know.
        verify: called with a client of the new provider before it is bound; whatever it raises stops the swap.
        within: seconds that starting may take.

    Raises:
        VendorUnavailable: it did not start in time, or does not answer.
        ConfigError: it can never work (a refused key).
        NotFound: it lacks some of ``flags``; they are named.
    """
    with _one_at_a_time:
        old = api.get_client(domain).provider
        if old is new:
            return
        staged = api.get_client(_STAGE)
        try:
            _start(new, old, within)
            _try(staged, old, flags)
            if verify is not None:
                verify(staged)
            api.set_provider(old, _LEAVING)
            api.set_provider(new, domain)
            leave = threading.Timer(_DRAINED, api.set_provider, (NoOpProvider(), _LEAVING))
            leave.daemon = True
            leave.start()
        finally:
            # Leaving the stage shuts it down, unless it is bound by now.
            api.set_provider(NoOpProvider(), _STAGE)
        _tell(new)
        _log.info("%s has taken over from %s", _named(new), _named(old))


def _start(new: FeatureProvider, old: FeatureProvider, within: float) -> None:
    ended: list[BaseException | None] = []

    def start() -> None:
        try:
            api.set_provider_and_wait(new, _STAGE)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            ended.append(error)
        else:
            ended.append(None)

    # A vendor's SDK may wait for ever: the thread is left behind, the provider is not bound.
    thread = threading.Thread(target=start, name="flagbrake-handover", daemon=True)
    thread.start()
    thread.join(within)
    if not ended:
        raise _kept(VendorUnavailable, old, f"{_named(new)} did not start within {within:g} s.")
    error = ended[0]
    if error is not None:
        kind = ConfigError if _is_fatal(error) else VendorUnavailable
        said = _said(error)
        raise _kept(kind, old, f"{_named(new)} did not start{': ' + said if said else ''}.") from error


def _try(staged: OpenFeatureClient, old: FeatureProvider, flags: Iterable[str]) -> None:
    """Ask for a flag that nobody has, then for those that must be there."""
    missing = []
    for key in (_PROBE, *flags):
        answer = staged.get_object_details(key, {}, _NOBODY)
        if answer.error_code in _UNFIT:
            said = f"{answer.error_code}: {answer.error_message or 'it says no more'}"
            raise _kept(VendorUnavailable, old, f"{_named(staged.provider)} does not answer ({said.rstrip('.')}).")
        if key != _PROBE and answer.error_code is ErrorCode.FLAG_NOT_FOUND:
            missing.append(key)
    if missing:
        raise _kept(NotFound, old, f"{_named(staged.provider)} lacks {', '.join(sorted(missing))}.")


def _kept(kind: type[FlagbrakeError], old: FeatureProvider, fact: str) -> FlagbrakeError:
    return kind(f"{fact} {_named(old)} goes on.", cure="mend it, then swap again")


def _tell(new: Any) -> None:
    """The SDK told READY while it was on the stage, where nobody listens."""
    if hasattr(new, "emit_provider_ready"):
        new.emit_provider_ready(ProviderEventDetails(message="it has taken over"))


def _is_fatal(error: BaseException) -> bool:
    return isinstance(error, ProviderFatalError) or (
        isinstance(error, OpenFeatureError) and error.error_code is ErrorCode.PROVIDER_FATAL
    )


def _said(error: BaseException) -> str:
    said = (isinstance(error, OpenFeatureError) and error.error_message) or str(error) or type(error).__name__
    return str(said).rstrip(".")


def _named(provider: FeatureProvider) -> str:
    try:
        return f"Provider '{provider.get_metadata().name}'"
    except Exception:  # noqa: BLE001 - a provider without a name is no reason to stop here
        return f"Provider {type(provider).__name__}"
