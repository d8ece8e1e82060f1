"""Asking a provider as the SDK asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import FeatureProvider

from flagbrake.model.values import FlagKind, kind_of
from flagbrake_contract.rules import Broken, Said

Answer = FlagResolutionDetails[Any]
T = TypeVar("T")

#: A context with a targeting key and nothing else: some vendors answer nobody without one.
SOMEBODY: Final = EvaluationContext("somebody", {})

#: A default of each kind that no seeded flag serves.
DEFAULTS: Final[dict[FlagKind, Any]] = {
    FlagKind.BOOLEAN: True,
    FlagKind.STRING: "the default",
    FlagKind.INTEGER: -41,
    FlagKind.FLOAT: -0.125,
    FlagKind.OBJECT: {"the": "default"},
}


def user(key: str, **attributes: Any) -> EvaluationContext:
    """A context."""
    return EvaluationContext(key, attributes)


def ask(
    provider: FeatureProvider,
    key: str,
    default: Any,
    context: EvaluationContext | None = SOMEBODY,
    *,
    kind: FlagKind | None = None,
) -> Answer:
    """One typed getter of the provider; an OpenFeature error that it raises becomes the answer, as in the SDK."""
    kind = kind or kind_of(default) or FlagKind.OBJECT
    getter = getattr(provider, f"resolve_{kind.value}_details")
    try:
        answer: Answer = getter(flag_key=key, default_value=default, evaluation_context=context)
    except OpenFeatureError as error:
        return _raised(default, error)
    return answer


async def ask_async(
    provider: FeatureProvider,
    key: str,
    default: Any,
    context: EvaluationContext | None = SOMEBODY,
    *,
    kind: FlagKind | None = None,
) -> Answer:
    """The async getter."""
    kind = kind or kind_of(default) or FlagKind.OBJECT
    getter = getattr(provider, f"resolve_{kind.value}_details_async")
    try:
        answer: Answer = await getter(flag_key=key, default_value=default, evaluation_context=context)
    except OpenFeatureError as error:
        return _raised(default, error)
    return answer


def _raised(default: Any, error: OpenFeatureError) -> Answer:
    return FlagResolutionDetails(default, error.error_code, error.error_message or str(error), Reason.ERROR)


def run(work: Coroutine[Any, Any, T], *, within: float = 30.0) -> T:
    """Run a coroutine in a loop of its own: rules are synchronous, so that a test file needs no async plugin."""

    async def bounded() -> T:
        return await asyncio.wait_for(work, within)

    return asyncio.run(bounded())


def code(answer: Answer) -> ErrorCode | None:
    """The error code of an answer."""
    return answer.error_code


def shown(answer: Answer) -> Said:
    """An answer in one line."""
    parts = [repr(answer.value), f"reason {answer.reason}"]
    if answer.variant is not None:
        parts.append(f"variant {answer.variant!r}")
    if answer.error_code is not None:
        parts.append(f"{answer.error_code}: {answer.error_message}")
    return Said(", ".join(parts))


def fails_with(answer: Answer, expected: ErrorCode, default: Any, about: str = "") -> None:
    """An error answer: the code, and the default the caller passed in."""
    if answer.error_code != expected:
        raise Broken(Said(f"error code {expected}"), shown(answer), about)
    if answer.value is not default and not (answer.value == default and type(answer.value) is type(default)):
        raise Broken(Said(f"the caller's default {default!r}"), shown(answer), about)


def succeeds(answer: Answer, about: str = "") -> Answer:
    """An answer without an error."""
    if answer.error_code is not None:
        raise Broken(Said("an answer without an error"), shown(answer), about)
    return answer
