"""The SQL provider, as an application sees it through OpenFeature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from flagbrake.model.flag import Flag, Prerequisite, Variant
from flagbrake.model.values import MISMATCH, FlagKind
from flagbrake.store import Store, open_store
from flagbrake.store.feed import StoreFeed
from flagbrake_sql.provider import SqlProvider
from tests.support.servers import PostgreSQL
from tests.support.storing import put
from tests.support.waiting import wait_until

HOME: dict[str, Any] = {"project": "shop", "environment": "production"}


class Events:
    """The provider's events, as handlers get them."""

    def __init__(self, client: OpenFeatureClient) -> None:
        self.seen: list[tuple[ProviderEvent, EventDetails]] = []
        # The SDK keeps handlers, and the lambda's default binds the event of this turn of the loop.
        for event in ProviderEvent:
            client.add_handler(event, lambda details, event=event: self.seen.append((event, details)))

    def of(self, event: ProviderEvent) -> list[EventDetails]:
        return [details for seen, details in self.seen if seen is event]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with open_store(store_url, create=True, **HOME) as opened:
        yield opened


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., SqlProvider]]:
    """Makes providers, each on a feed of its own; shut down afterwards."""
    made: list[SqlProvider] = []

    def provider(url: str, *, timeout: float = 5.0, state: str = "state") -> SqlProvider:
        made.append(SqlProvider(StoreFeed(url, state_dir=tmp_path / state, **HOME), timeout=timeout))
        return made[-1]

    yield provider
    api.shutdown()
    for each in made:
        each.shutdown()


def test_values_reasons_and_versions(store: Store, store_url: str, make: Callable[..., SqlProvider]) -> None:
    """A static flag answers STATIC with its variant and version; a missing one FLAG_NOT_FOUND."""
    put(store, Flag.boolean("checkout"))
    put(store, Flag.boolean("checkout", on=False))
    api.set_provider_and_wait(make(store_url))
    client = api.get_client()
    details = client.get_boolean_details("checkout", default_value=True)
    assert (details.value, details.variant, details.reason) == (False, "off", Reason.DISABLED)
    assert details.flag_metadata["version"] == 2
    missing = client.get_boolean_details("nowhere", default_value=True)
    assert (missing.value, missing.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)


def test_an_off_flag_without_off_variant_serves_the_callers_default(
    store: Store, store_url: str, make: Callable[..., SqlProvider]
) -> None:
    """Not an error: the flag says nothing."""
    put(store, Flag("greeting", FlagKind.STRING, (Variant("a", "hello"),), "a", on=False))
    api.set_provider_and_wait(make(store_url))
    details = api.get_client().get_string_details("greeting", "moin")
    assert (details.value, details.error_code, details.reason) == ("moin", None, Reason.DISABLED)


def test_off_value_and_value_of(store: Store, store_url: str, make: Callable[..., SqlProvider]) -> None:
    """The guard asks for what a flag serves when off, and for the value of a variant."""
    put(store, Flag.boolean("checkout"))
    provider = make(store_url)
    provider.initialize(EvaluationContext())
    off = provider.off_value("checkout")
    assert off is not None
    assert (off.value, off.variant) == (False, "off")
    assert provider.off_value("nowhere") is None
    assert provider.value_of("checkout", "on") is True
    assert provider.value_of("checkout", "nope") is MISMATCH


def test_a_change_is_served_and_announced_exactly(
    store: Store, store_url: str, make: Callable[..., SqlProvider]
) -> None:
    """CONFIGURATION_CHANGED names the changed flags and those that stand on them, with a growing sequence."""
    put(store, Flag.boolean("a"), Flag.boolean("b", prerequisites=(Prerequisite("a", ("on",)),)), Flag.boolean("c"))
    api.set_provider_and_wait(make(store_url))
    client = api.get_client()
    events = Events(client)
    assert client.get_boolean_value("b", default_value=False) is True
    put(store, Flag.boolean("a", on=False))
    changed = wait_until(lambda: events.of(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED), why="the event")
    assert changed[0].flags_changed == ["a", "b"]
    assert client.get_boolean_value("b", default_value=True) is False
    put(store, Flag.boolean("c", on=False))
    wait_until(lambda: len(events.of(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)) == 2, why="the second event")
    first, second = events.of(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    assert {tuple(first.flags_changed or ()), tuple(second.flags_changed or ())} == {("a", "b"), ("c",)}
    assert first.metadata["sequence"] != second.metadata["sequence"]


@pytest.mark.postgresql
def test_an_outage_is_stale_and_ends_by_itself(postgresql_server: PostgreSQL, make: Callable[..., SqlProvider]) -> None:
    """The database stops: STALE, answers go on. It returns: READY, and what changed is served."""
    url = postgresql_server.url()
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("checkout"))
    api.set_provider_and_wait(make(url))
    client = api.get_client()
    events = Events(client)
    postgresql_server.stop()
    wait_until(lambda: client.get_provider_status() is ProviderStatus.STALE, why="STALE")
    assert client.get_boolean_value("checkout", default_value=False) is True
    postgresql_server.start()
    wait_until(lambda: client.get_provider_status() is ProviderStatus.READY, why="READY")
    with open_store(url, **HOME) as store:
        put(store, Flag.boolean("checkout", on=False))
    wait_until(lambda: client.get_boolean_value("checkout", default_value=True) is False, why="the change")
    assert len(events.of(ProviderEvent.PROVIDER_STALE)) == 1


def test_a_start_without_the_database_serves_the_last_known_good(
    tmp_path: Path, make: Callable[..., SqlProvider]
) -> None:
    """READY data from an earlier run, then STALE; when the database is back, READY."""
    file = tmp_path / "here.db"
    url = f"sqlite:///{file}"
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("checkout"))
        earlier = make(url)
        earlier.initialize(EvaluationContext())
        earlier.shutdown()
    away = file.rename(tmp_path / "away.db")
    api.set_provider_and_wait(make(url))
    client = api.get_client()
    assert client.get_boolean_value("checkout", default_value=False) is True
    wait_until(lambda: client.get_provider_status() is ProviderStatus.STALE, why="STALE")
    away.rename(file)
    wait_until(lambda: client.get_provider_status() is ProviderStatus.READY, why="READY")


def test_a_start_with_nothing_says_what_is_wrong_and_recovers(tmp_path: Path, make: Callable[..., SqlProvider]) -> None:
    """Neither database nor last known good: ProviderNotReadyError with fact and cure; later it serves."""
    url = f"sqlite:///{tmp_path / 'later.db'}"
    provider = make(url, timeout=0.3)
    with pytest.raises(ProviderNotReadyError, match=r"There is no database at .*later.db\. Try: flagbrake init"):
        api.set_provider_and_wait(provider)
    client = api.get_client()
    details = client.get_boolean_details("checkout", default_value=True)
    assert details.value is True
    assert details.error_code is ErrorCode.PROVIDER_NOT_READY
    with open_store(url, create=True, **HOME) as store:
        put(store, Flag.boolean("checkout", on=False))
    wait_until(lambda: client.get_provider_status() is ProviderStatus.READY, why="READY")
    wait_until(lambda: client.get_boolean_value("checkout", default_value=True) is False, why="the flag")


def test_after_shutdown_nothing_is_served(store: Store, store_url: str, make: Callable[..., SqlProvider]) -> None:
    """PROVIDER_NOT_READY, and shutting down twice is fine; it can be started again."""
    put(store, Flag.boolean("checkout"))
    provider = make(store_url)
    provider.initialize(EvaluationContext())
    provider.shutdown()
    provider.shutdown()
    assert provider.resolve_boolean_details("checkout", default_value=False).error_code is ErrorCode.PROVIDER_NOT_READY
    provider.initialize(EvaluationContext())
    assert provider.resolve_boolean_details("checkout", default_value=False).value is True
