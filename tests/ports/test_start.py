"""What a provider's start raises, as the SDK and its users see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError, ProviderFatalError, ProviderNotReadyError
from openfeature.provider import ProviderStatus

from flagbrake.errors import (
    ConfigError,
    InvalidInput,
    MissingExtra,
    NotAllowed,
    RetryLater,
    StoreUnavailable,
    Unavailable,
    VendorUnavailable,
)
from flagbrake.testing import MemoryProvider


class Failing(MemoryProvider):
    """A provider whose start raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def start(self, context: EvaluationContext) -> None:
        """Raise, as long as there is something to raise."""
        if self.error is not None:
            raise self.error
        super().start(context)


LATER = [Unavailable, VendorUnavailable, StoreUnavailable, RetryLater]
NEVER = [NotAllowed, ConfigError, MissingExtra]


@pytest.mark.parametrize(
    ("kind", "seen", "code"),
    [
        *((kind, ProviderNotReadyError, ErrorCode.PROVIDER_NOT_READY) for kind in LATER),
        *((kind, ProviderFatalError, ErrorCode.PROVIDER_FATAL) for kind in NEVER),
    ],
)
def test_our_errors_become_the_sdks(
    kind: Callable[..., Exception], seen: type[OpenFeatureError], code: ErrorCode
) -> None:
    """What may pass is PROVIDER_NOT_READY, what never will is PROVIDER_FATAL; text and cause are kept."""
    cause = kind("It said no.", cure="ask again")
    with pytest.raises(seen) as raised:
        Failing(cause).initialize(EvaluationContext())
    assert raised.value.error_code is code
    assert raised.value.error_message == "It said no. Try: ask again"
    assert raised.value.__cause__ is cause


def test_other_errors_are_left_alone() -> None:
    """An error that says nothing about later or never is the adapter's own."""
    with pytest.raises(InvalidInput):
        Failing(InvalidInput("A document is damaged.")).initialize(EvaluationContext())


@pytest.mark.parametrize(
    ("error", "status"),
    [(VendorUnavailable("Away."), ProviderStatus.ERROR), (NotAllowed("Refused."), ProviderStatus.FATAL)],
)
def test_the_client_shows_the_status(error: Exception, status: ProviderStatus) -> None:
    """Through the SDK: ERROR for later, FATAL for never, and the default for everybody."""
    with pytest.raises(OpenFeatureError):
        api.set_provider_and_wait(Failing(error), "ports-start")
    client = api.get_client("ports-start")
    try:
        assert client.get_provider_status() is status
        assert client.get_boolean_value("any", True) is True
    finally:
        api.set_provider_and_wait(MemoryProvider(), "ports-start")


def test_a_failed_start_can_be_repeated() -> None:
    """Nothing of the failure is kept."""
    provider = Failing(VendorUnavailable("Away."))
    with pytest.raises(ProviderNotReadyError):
        provider.initialize(EvaluationContext())
    provider.error = None
    provider.set("new", True)
    provider.initialize(EvaluationContext())
    assert provider.resolve_boolean_details("new", False).value is True
    provider.shutdown()
