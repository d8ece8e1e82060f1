"""A provider bound to the OpenFeature API, and everything it tells, for tests of a vendor's bad days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import GeneralError, ProviderFatalError, ProviderNotReadyError
from openfeature.provider import FeatureProvider, ProviderStatus
from openfeature.provider.no_op_provider import NoOpProvider

from tests.support.waiting import wait_until

ANN: Final = EvaluationContext("ann")
READY, STALE, ERROR = ProviderEvent.PROVIDER_READY, ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_ERROR
CHANGED: Final = ProviderEvent.PROVIDER_CONFIGURATION_CHANGED


class Watched:
    """What an agent sees of a provider, and what the provider told."""

    def __init__(self, provider: FeatureProvider, client: OpenFeatureClient) -> None:
        self.provider = provider
        self.client = client
        self.told: list[tuple[ProviderEvent, ProviderEventDetails]] = []

    @property
    def status(self) -> ProviderStatus:
        """As the OpenFeature client has it."""
        return self.client.get_provider_status()

    def value(self, flag: str = "model", context: EvaluationContext = ANN) -> str:
        """What an agent gets: a value, never an exception."""
        return self.client.get_string_value(flag, "default", context)

    def states(self) -> list[ProviderEvent]:
        """What was told of the connection, without changes of flags."""
        return [event for event, _ in list(self.told) if event is not CHANGED]

    def await_told(self, event: ProviderEvent, *, timeout: float = 10) -> ProviderEventDetails:
        """The first such event since the last look."""
        found = wait_until(lambda: [d for e, d in list(self.told) if e is event], timeout, why=event.name)
        return found[0]

    def await_value(
        self, value: str, flag: str = "model", context: EvaluationContext = ANN, *, timeout: float = 10
    ) -> None:
        """The agent gets it."""
        wait_until(lambda: self.value(flag, context) == value, timeout, why=f"the value {value} of {flag}")


@contextmanager
def watched(provider: FeatureProvider, *, failing: bool = False) -> Iterator[Watched]:
    """Bound to a domain of its own; ``failing`` when its start must fail."""
    seen = Watched(provider, api.get_client("watched"))
    original = provider.attach

    def attach(on_emit: object) -> None:
        def emit(source: FeatureProvider, event: ProviderEvent, details: ProviderEventDetails) -> None:
            seen.told.append((event, details))
            on_emit(source, event, details)  # type: ignore[operator]

        original(emit)

    provider.attach = attach  # type: ignore[method-assign]
    try:
        if failing:
            with pytest.raises((ProviderFatalError, ProviderNotReadyError, GeneralError)):
                api.set_provider_and_wait(provider, "watched")
        else:
            api.set_provider_and_wait(provider, "watched")
        yield seen
    finally:
        api.set_provider_and_wait(NoOpProvider(), "watched")
        provider.shutdown()
