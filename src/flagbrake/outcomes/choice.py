"""Which variant a run gets: one evaluation of a flag of whatever type, through OpenFeature."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagResolutionDetails
from openfeature.provider import FeatureProvider
from openfeature.transaction_context import get_transaction_context

from flagbrake.kill.runtime import Runtime
from flagbrake.model.values import FlagKind

_log = logging.getLogger("flagbrake.outcomes")

#: String first: published providers turn other types into a boolean without a word.
_ORDER: Final = (FlagKind.STRING, FlagKind.BOOLEAN, FlagKind.OBJECT, FlagKind.INTEGER, FlagKind.FLOAT)
_DEFAULTS: Final[dict[FlagKind, Any]] = {
    FlagKind.STRING: "",
    FlagKind.BOOLEAN: False,
    FlagKind.OBJECT: {},
    FlagKind.INTEGER: 0,
    FlagKind.FLOAT: 0.0,
}

#: The kind each flag had when it was last asked: the second run asks once.
_kinds: dict[str, FlagKind] = {}
_KINDS_BOUND: Final = 10_000


@dataclass(frozen=True, slots=True)
class Choice:
    """One evaluation. ``value`` and ``variant`` are ``None`` when the flag could not be evaluated."""

    value: Any
    variant: str | None
    version: int | None
    killed: bool
    error: str


def choose(runtime: Runtime, flag: str, context: EvaluationContext, client: OpenFeatureClient | None) -> Choice:
    """Evaluate ``flag`` once for this context; never raises."""
    try:
        details = _evaluate(runtime, flag, _asker(runtime, context, client))
    except Exception as error:  # noqa: BLE001 - a client's hook or a foreign client may do anything
        _log.warning("Flag '%s' could not be evaluated for a run.", flag, exc_info=error)
        return Choice(None, None, None, killed=False, error=f"{type(error).__name__}: {error}")
    if details.error_code is not None:
        message = details.error_message or ""
        return Choice(None, None, None, killed=False, error=f"{details.error_code}: {message}".rstrip(": "))
    metadata = details.flag_metadata or {}
    version = metadata.get("version")
    return Choice(
        details.value,
        details.variant or _named_by_value(details.value),
        version if type(version) is int else None,
        killed=metadata.get("killed") is True,
        error="",
    )


_Ask = Callable[[FlagKind, str], FlagEvaluationDetails[Any]]


def _asker(runtime: Runtime, context: EvaluationContext, client: OpenFeatureClient | None) -> _Ask:
    if client is None:
        client = api.get_client(runtime.domain)
        if runtime.provider is not None and client.provider is not runtime.provider:
            # The guard was registered for another domain: the default client would ask a provider without flags.
            return partial(_asked_of_provider, runtime.provider, merged(context, client))
    return partial(_asked_of_client, client, context)


def _evaluate(runtime: Runtime, flag: str, ask: _Ask) -> FlagEvaluationDetails[Any]:
    declaration = runtime.board.manifest.get(flag)
    likely = (declaration.kind if declaration is not None else None) or _kinds.get(flag) or FlagKind.STRING
    details = ask(likely, flag)
    if details.error_code is not ErrorCode.TYPE_MISMATCH:
        return details
    for kind in _ORDER:
        if kind is not likely:
            details = ask(kind, flag)
            if details.error_code is not ErrorCode.TYPE_MISMATCH:
                if details.error_code is None and len(_kinds) < _KINDS_BOUND:
                    _kinds[flag] = kind
                break
    return details


def _asked_of_client(
    client: OpenFeatureClient, context: EvaluationContext, kind: FlagKind, flag: str
) -> FlagEvaluationDetails[Any]:
    getter: Callable[..., FlagEvaluationDetails[Any]] = getattr(client, f"get_{kind.value}_details")
    return getter(flag, _DEFAULTS[kind], context)


def _asked_of_provider(
    provider: FeatureProvider, context: EvaluationContext, kind: FlagKind, flag: str
) -> FlagEvaluationDetails[Any]:
    getter: Callable[..., FlagResolutionDetails[Any]] = getattr(provider, f"resolve_{kind.value}_details")
    return getter(flag, _DEFAULTS[kind], context).to_flag_evaluation_details(flag)


def _named_by_value(value: Any) -> str | None:
    """A provider without variant names: a boolean or a short string names itself."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) and 0 < len(value) <= 64 else None


def merged(context: EvaluationContext, client: OpenFeatureClient | None) -> EvaluationContext:
    """The context that an evaluation sees: the API's, the transaction's, the client's, the invocation's."""
    outer = api.get_evaluation_context().merge(get_transaction_context())
    return (outer.merge(client.context) if client is not None else outer).merge(context)
