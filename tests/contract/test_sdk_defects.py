"""Defects of openfeature-sdk 0.10 that adapters must live with, pinned: a failure here is good news.

Each test states what the SDK does wrong today. When one fails, the SDK was repaired: delete the test and look
for what protects against the defect (named in the docstring) to see whether it is still needed.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.hook import Hook
from openfeature.provider import AbstractProvider, Metadata, ProviderStatus
from openfeature.provider._registry import provider_registry
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from openfeature.provider.no_op_provider import NoOpProvider
from openfeature.transaction_context import get_transaction_context, set_transaction_context

from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake.ports.provider import FlagProvider
from tests.support.waiting import wait_until


class Scripted(AbstractProvider):
    """Answers every question with one answer."""

    def __init__(self, answer: Any = None, **members: Any) -> None:
        super().__init__()
        self.answer = FlagResolutionDetails("hi") if answer is None else answer
        self.down = threading.Event()
        self.__dict__.update(members)

    def get_metadata(self) -> Metadata:
        return Metadata("scripted")

    def shutdown(self) -> None:
        self.down.set()

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        return self.answer

    resolve_string_details = resolve_integer_details = resolve_boolean_details
    resolve_float_details = resolve_object_details = resolve_boolean_details


@pytest.fixture
def domain() -> Iterator[str]:
    """A domain of one's own."""
    name = f"defect-{uuid.uuid4().hex}"
    yield name
    api.set_provider_and_wait(NoOpProvider(), name)


def bind(provider: Any, domain: str) -> OpenFeatureClient:
    """The client of a started provider."""
    api.set_provider_and_wait(provider, domain)
    return api.get_client(domain)


def test_the_pins_are_for_this_minor_version():
    """The dependency allows 0.10 only: at the next minor version these pins are read again."""
    assert version("openfeature-sdk").startswith("0.10.")


def test_async_passes_a_wrong_typed_value_on(domain: str):
    """Async: a string for a boolean question comes back as the value. Protection: FlagProvider and Guard conform."""
    client = bind(Scripted(), domain)
    assert client.get_boolean_value("f", False) is False
    assert asyncio.run(client.get_boolean_value_async("f", False)) == "hi"
    guarded = bind(Guard(Scripted(), Board()), domain)
    assert asyncio.run(guarded.get_boolean_value_async("f", False)) is False


def test_async_keeps_the_value_of_an_error(domain: str):
    """Async: the value beside an error code comes back, not the default. Protection: Guard, ``conform``."""
    answer = FlagResolutionDetails("junk", ErrorCode.GENERAL, "broken", Reason.ERROR)
    client = bind(Scripted(answer), domain)
    assert client.get_string_value("f", "default") == "default"
    answer.value = "junk"
    assert asyncio.run(client.get_string_value_async("f", "default")) == "junk"
    guarded = bind(Guard(Scripted(answer), Board()), domain)
    assert asyncio.run(guarded.get_string_value_async("f", "default")) == "default"


class Hanging(Scripted):
    """An async call that does not come back."""

    async def resolve_boolean_details_async(self, flag_key, default_value, evaluation_context=None):
        await asyncio.sleep(30)


def test_a_timeout_of_an_async_call_is_an_unbound_local(domain: str):
    """wait_for raises UnboundLocalError instead of TimeoutError. Protection: Guard delivers the cancellation later."""
    client = bind(Hanging(), domain)

    async def impatient() -> None:
        await asyncio.wait_for(client.get_boolean_value_async("f", False), 0.01)

    with pytest.raises(UnboundLocalError):
        asyncio.run(impatient())


def test_the_guard_keeps_a_timeout_a_timeout(domain: str):
    """Under the guard the same call is cancelled without an UnboundLocalError."""
    client = bind(Guard(Hanging(), Board()), domain)

    async def impatient() -> bool:
        task = asyncio.create_task(client.get_boolean_value_async("f", default_value=True))
        await asyncio.sleep(0.01)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return True

    assert asyncio.run(impatient()) is True


def test_a_base_exception_is_an_unbound_local(domain: str):
    """A BaseException in a provider surfaces as UnboundLocalError: stops cannot be raised through flag reads."""

    class Stopping(Scripted):
        def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
            raise KeyboardInterrupt

    with pytest.raises(UnboundLocalError):
        bind(Stopping(), domain).get_boolean_value("f", False)


def test_metadata_that_raises_reaches_the_application(domain: str):
    """get_metadata() is called outside the try (1.4.10). Protection: Guard answers with the class's name."""

    class Nameless(Scripted):
        broken = False

        def get_metadata(self):
            if self.broken:
                raise RuntimeError("no name")
            return super().get_metadata()

    provider = Nameless()
    client = bind(provider, domain)
    provider.broken = True
    with pytest.raises(RuntimeError, match="no name"):
        client.get_boolean_value("f", False)
    provider.broken = False
    guarded = bind(Guard(provider, Board()), domain)
    provider.broken = True
    assert guarded.get_boolean_value("f", False) is False
    provider.broken = False


def test_hooks_that_are_none_reach_the_application(domain: str):
    """get_provider_hooks() returning None raises in the application. Protection: Guard answers a list."""
    provider = Scripted(get_provider_hooks=lambda: None)
    with pytest.raises(TypeError):
        bind(provider, domain).get_string_value("f", "default")
    assert bind(Guard(Scripted(get_provider_hooks=lambda: None), Board()), domain).get_string_value("f", "d") == "hi"


def test_a_failed_swap_leaves_the_broken_provider_bound(domain: str):
    """set_provider_and_wait(new) that fails: ``new`` stays bound, the old one is never shut down."""
    old, new = Scripted(), Scripted()

    def fail(_: EvaluationContext) -> None:
        raise ProviderNotReadyError("no data")

    new.initialize = fail  # type: ignore[method-assign]
    client = bind(old, domain)
    with pytest.raises(ProviderNotReadyError):
        api.set_provider_and_wait(new, domain)
    assert client.provider is new
    assert client.get_provider_status() is ProviderStatus.ERROR
    assert not old.down.wait(0.05)
    old.shutdown()


def test_during_a_swap_other_threads_get_defaults(domain: str):
    """The domain is rebound before initialize: PROVIDER_NOT_READY until it ends.

    Protection: initialise first (``initialize`` of ours is idempotent), then bind.
    """
    go, seen = threading.Event(), threading.Event()
    client = bind(Scripted(), domain)
    new = Scripted()

    def slow(_: EvaluationContext) -> None:
        seen.set()
        go.wait(10)

    new.initialize = slow  # type: ignore[method-assign]
    swapping = threading.Thread(target=api.set_provider_and_wait, args=(new, domain))
    swapping.start()
    seen.wait(10)
    try:
        assert client.get_string_details("f", "default").error_code is ErrorCode.PROVIDER_NOT_READY
    finally:
        go.set()
        swapping.join(10)


def test_a_provider_initialised_first_swaps_without_a_gap(domain: str):
    """The protection: a FlagProvider that serves already is not started again, so the window is a few statements."""
    starts = []

    class Counting(FlagProvider):
        def start(self, context):
            starts.append(1)

        def resolve(self, flag_key, context):
            return FlagResolutionDetails("hi")

    provider = Counting()
    provider.initialize(EvaluationContext())
    assert bind(provider, domain).get_string_value("f", "default") == "hi"
    assert starts == [1]


def test_a_second_domain_does_not_wait_for_the_first_start(domain: str):
    """set_provider_and_wait(p, "b") returns at once, NOT_READY, while p starts on domain "a"."""
    go, seen = threading.Event(), threading.Event()
    provider = Scripted()

    def slow(_: EvaluationContext) -> None:
        seen.set()
        go.wait(10)

    provider.initialize = slow  # type: ignore[method-assign]
    first = threading.Thread(target=api.set_provider_and_wait, args=(provider, domain))
    first.start()
    seen.wait(10)
    try:
        assert bind(provider, f"{domain}-b").get_provider_status() is ProviderStatus.NOT_READY
    finally:
        go.set()
        first.join(10)
        api.set_provider_and_wait(NoOpProvider(), f"{domain}-b")


def test_events_arrive_out_of_order(domain: str):
    """Handlers run in a pool: 500 events, some overtake others. Protection: our events carry a sequence."""
    provider = Scripted()
    client = bind(provider, domain)
    seen: list[int] = []

    def handler(details: Any) -> None:
        # Whoever is slow is overtaken.
        if details.metadata["sequence"] % 2 == 0:
            threading.Event().wait(0.001)
        seen.append(details.metadata["sequence"])

    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, handler)
    for number in range(500):
        provider.emit_provider_configuration_changed(ProviderEventDetails(metadata={"sequence": number}))
    wait_until(lambda: len(seen) == 500, why="all events")
    assert sorted(seen) == list(range(500))
    assert seen != sorted(seen)


def test_ready_inside_initialize_is_ready_twice(domain: str):
    """Specification 0.9 wants READY from the provider; this SDK emits one more. Ours emits none inside start."""
    provider = Scripted()
    seen: list[Any] = []
    client = api.get_client(domain)
    provider.initialize = lambda _: provider.emit_provider_ready(ProviderEventDetails())  # type: ignore[method-assign]
    client.add_handler(ProviderEvent.PROVIDER_READY, lambda d: seen.append(d.provider_name))
    api.set_provider_and_wait(provider, domain)
    wait_until(lambda: seen.count("scripted") == 2, why="two READY events")


def test_a_stale_inside_initialize_is_overwritten(domain: str):
    """STALE emitted in initialize is overwritten by the SDK's READY. Protection: SqlProvider says STALE afterwards."""
    provider = Scripted()
    provider.initialize = lambda _: provider.emit_provider_stale(ProviderEventDetails())  # type: ignore[method-assign]
    assert bind(provider, domain).get_provider_status() is ProviderStatus.READY


def test_a_plain_dataclass_cannot_be_a_provider():
    """The registry uses providers as dictionary keys. Protection: contract rule client.hashable."""

    @dataclass
    class Plain(Scripted):
        name: str = "plain"

        def __post_init__(self) -> None:
            Scripted.__init__(self)

    with pytest.raises(TypeError, match="unhashable"):
        provider_registry.get_provider_status(Plain())


def test_errors_without_a_message():
    """``str()`` of an OpenFeature error made with a keyword is empty. Ours are made positionally."""
    assert str(ProviderNotReadyError(error_message="no data")) == ""
    assert str(ProviderNotReadyError("no data")) == "no data"


def test_an_error_keeps_the_providers_reason(domain: str):
    """Sync: an error code beside reason DEFAULT reaches the application so. Protection: Guard says ERROR."""
    answer = FlagResolutionDetails("hi", ErrorCode.FLAG_NOT_FOUND, "gone", Reason.DEFAULT)
    assert bind(Scripted(answer), domain).get_string_details("f", "d").reason == "DEFAULT"
    assert bind(Guard(Scripted(answer), Board()), domain).get_string_details("f", "d").reason == Reason.ERROR


def test_true_is_an_integer(domain: str):
    """The client takes True for an integer (repaired on the SDK's main). Protection: ``coerce``."""
    details = bind(Scripted(FlagResolutionDetails(True)), domain).get_integer_details("f", 7)
    assert details.value is True
    assert details.error_code is None


def test_track_raises_into_the_application(domain: str):
    """An exception in track is not caught. Protection: Guard."""

    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    with pytest.raises(ConnectionError):
        bind(Scripted(track=broken), domain).track("checkout")
    bind(Guard(Scripted(track=broken), Board()), domain).track("checkout")


def test_a_before_hook_does_not_see_the_one_before_it(domain: str):
    """4.3.4: the context that a before hook returns is not in the next hook's context."""
    seen: list[Any] = []

    class Adding(Hook):
        def before(self, hook_context, hints):
            return EvaluationContext(attributes={"added": True})

    class Looking(Hook):
        def before(self, hook_context, hints):
            seen.append(hook_context.evaluation_context.attributes.get("added"))

    client = bind(Scripted(), domain)
    client.add_hooks([Adding(), Looking()])
    client.get_string_value("f", "default")
    assert seen == [None]


def test_the_transaction_context_is_ignored_by_default():
    """Without a propagator set_transaction_context does nothing, in silence."""
    set_transaction_context(EvaluationContext("ann"))
    assert get_transaction_context().targeting_key is None


def test_the_empty_targeting_key_cannot_override():
    """merge treats "" as absent: that is why the contract treats it so too (splits.empty_key)."""
    assert EvaluationContext("ann").merge(EvaluationContext("")).targeting_key == "ann"


def test_the_in_memory_provider_ignores_disabled(domain: str):
    """InMemoryFlag.state is not read: a disabled flag serves on."""
    flag = InMemoryFlag("on", {"on": True, "off": False}, state=InMemoryFlag.State.DISABLED)
    assert bind(InMemoryProvider({"f": flag}), domain).get_boolean_value("f", False) is True


def test_emitting_without_a_listener_is_dropped():
    """Before attach and after detach events vanish: register vendor listeners in initialize."""
    Scripted().emit_provider_ready(ProviderEventDetails())
