"""A provider takes over from another without a gap, or not at all."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import GeneralError
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import AbstractProvider, Metadata, ProviderStatus
from openfeature.provider.no_op_provider import NoOpProvider

import flagbrake
from flagbrake.errors import ConfigError, FlagbrakeError, NotAllowed, NotFound, VendorUnavailable
from flagbrake.testing import MemoryProvider
from tests.support.waiting import wait_until


class Watched(MemoryProvider):
    """Counts its starts and stops, and starts as it is told."""

    def __init__(self, name: str, value: str = "", *, start: Any = lambda: None) -> None:
        super().__init__()
        self.__dict__["name"] = name
        if value:
            self.set("f", value)
        self.how = start
        self.starts = 0
        self.down = threading.Event()

    def start(self, context: EvaluationContext) -> None:
        """Start as told."""
        self.starts += 1
        self.how()
        super().start(context)

    def shutdown(self) -> None:
        """Stop, and be seen stopping."""
        super().shutdown()
        self.down.set()


def raising(error: Exception) -> Any:
    """A start that fails."""

    def start() -> None:
        raise error

    return start


@pytest.fixture(params=["a domain", "the default"])
def domain(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A domain of one's own, and the default one."""
    name = f"handover-{uuid.uuid4().hex}" if request.param == "a domain" else None
    yield name
    api.set_provider_and_wait(NoOpProvider(), name)


@pytest.fixture
def old(domain: str | None) -> Watched:
    """The provider that serves."""
    provider = Watched("old", "from the old")
    api.set_provider_and_wait(provider, domain)
    return provider


def test_the_new_one_serves_and_the_old_one_is_shut_down(domain: str | None, old: Watched):
    """After a swap the new provider answers, READY, started once; the old one is down."""
    new = Watched("new", "from the new")
    flagbrake.swap_provider(new, domain, flags=["f"])
    client = api.get_client(domain)
    assert client.provider is new
    assert client.get_provider_status() is ProviderStatus.READY
    assert client.get_string_value("f", "default") == "from the new"
    assert new.starts == 1
    assert old.down.wait(10)
    assert not new.down.is_set()
    new.set("f", "changed")
    assert client.get_string_value("f", "default") == "changed"


def test_no_caller_ever_gets_a_default(domain: str | None, old: Watched):
    """While the new provider starts the old one serves; no answer in between is a default or an error."""
    starting, go, seen = threading.Event(), threading.Event(), []

    def slow() -> None:
        starting.set()
        go.wait(10)

    client = api.get_client(domain)
    swapping = threading.Thread(
        target=flagbrake.swap_provider, args=(Watched("new", "from the new", start=slow), domain)
    )
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            details = client.get_string_details("f", "default")
            seen.append((details.value, details.error_code))

    asking = threading.Thread(target=ask)
    asking.start()
    swapping.start()
    try:
        assert starting.wait(10)
        assert client.get_string_value("f", "default") == "from the old"
        go.set()
        swapping.join(10)
        wait_until(lambda: ("from the new", None) in seen[-1:], why="an answer of the new one")
    finally:
        go.set()
        stop.set()
        asking.join(10)
    assert {code for _, code in seen} == {None}
    assert {value for value, _ in seen} == {"from the old", "from the new"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (VendorUnavailable("No route."), VendorUnavailable),
        (NotAllowed("The key is refused."), ConfigError),
        (RuntimeError("a bug"), VendorUnavailable),
    ],
)
def test_a_new_one_that_fails_changes_nothing(
    domain: str | None, old: Watched, error: Exception, kind: type[FlagbrakeError]
):
    """When the new provider does not start, the old one goes on, the error says so, and the new one is shut down."""
    new = Watched("new", "from the new", start=raising(error))
    with pytest.raises(kind, match=r"Provider 'new' did not start: .*Provider 'old' goes on") as raised:
        flagbrake.swap_provider(new, domain)
    assert str(error).rstrip(".") in str(raised.value)
    assert raised.value.__cause__ is not None
    _still(old, domain)
    assert new.down.wait(10)


def test_a_new_one_that_hangs_is_given_up(domain: str | None, old: Watched):
    """A start that does not end within the bound is given up; when it ends after all, nobody is bound to it."""
    go = threading.Event()
    new = Watched("new", "from the new", start=lambda: go.wait(10))
    with pytest.raises(VendorUnavailable, match=r"did not start within 0\.05 s"):
        flagbrake.swap_provider(new, domain, within=0.05)
    _still(old, domain)
    go.set()
    assert new.down.wait(10)
    _still(old, domain)


def test_a_new_one_that_lacks_flags_is_refused(domain: str | None, old: Watched):
    """Keys that callers need and the new provider does not know are named."""
    with pytest.raises(NotFound, match=r"Provider 'new' lacks checkout, search\. Provider 'old' goes on"):
        flagbrake.swap_provider(Watched("new", "from the new"), domain, flags=("search", "f", "checkout"))
    _still(old, domain)


def test_a_new_one_that_does_not_answer_is_refused(domain: str | None, old: Watched):
    """READY is not believed: a provider that answers with errors does not take over."""

    class Broken(Watched):
        def resolve(self, flag_key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
            raise GeneralError("The cache is gone.")

    with pytest.raises(VendorUnavailable, match=r"does not answer .*The cache is gone"):
        flagbrake.swap_provider(Broken("new"), domain)
    _still(old, domain)


def test_the_application_may_look_first(domain: str | None, old: Watched):
    """``verify`` sees the new provider before anybody is served by it; what it raises stops the swap, unchanged."""

    def look(client: Any) -> None:
        assert api.get_client(domain).get_string_value("f", "default") == "from the old"
        if client.get_string_value("f", "default") != "as before":
            raise LookupError("not as before")

    with pytest.raises(LookupError, match="not as before"):
        flagbrake.swap_provider(Watched("new", "from the new"), domain, verify=look)
    _still(old, domain)
    flagbrake.swap_provider(Watched("new", "as before"), domain, verify=look)
    assert api.get_client(domain).get_string_value("f", "default") == "as before"


def test_handlers_hear_of_the_new_one(domain: str | None, old: Watched):
    """READY is told with the new provider's name when it has taken over; its changes are told from then on."""
    client = api.get_client(domain)
    ready: list[str] = []
    changed: list[list[str] | None] = []
    client.add_handler(ProviderEvent.PROVIDER_READY, lambda details: ready.append(details.provider_name))
    client.add_handler(
        ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, lambda details: changed.append(details.flags_changed)
    )
    new = Watched("new", "from the new")
    flagbrake.swap_provider(new, domain)
    wait_until(lambda: "new" in ready, why="READY of the new one")
    new.set("f", "changed")
    wait_until(lambda: ["f"] in changed, why="its change")


def test_a_provider_used_elsewhere_lives_on(domain: str | None, old: Watched):
    """The old provider is not shut down while another domain uses it; one that serves already is not started again."""
    other = f"handover-{uuid.uuid4().hex}"
    new = Watched("new", "from the new")
    api.set_provider_and_wait(old, other)
    api.set_provider_and_wait(new, f"{other}-new")
    try:
        flagbrake.swap_provider(new, domain)
        assert new.starts == 1
        assert api.get_client(other).get_string_value("f", "default") == "from the old"
        assert not old.down.wait(0.05)
        flagbrake.swap_provider(new, domain)
        assert new.starts == 1
        assert not new.down.is_set()
    finally:
        api.set_provider_and_wait(NoOpProvider(), other)
        api.set_provider_and_wait(NoOpProvider(), f"{other}-new")


def test_any_providers_will_do(domain: str | None):
    """Neither the old nor the new one need be ours; a second start would double such a provider's listeners."""

    class Theirs(AbstractProvider):
        starts = 0

        def get_metadata(self) -> Metadata:
            return Metadata("theirs")

        def initialize(self, evaluation_context: EvaluationContext) -> None:
            self.starts += 1

        def resolve_boolean_details(self, flag_key: str, default_value: Any, evaluation_context: Any = None) -> Any:
            return FlagResolutionDetails(default_value)

        resolve_string_details = resolve_integer_details = resolve_boolean_details
        resolve_float_details = resolve_object_details = resolve_boolean_details

    new = Theirs()
    flagbrake.swap_provider(new, domain)
    assert api.get_client(domain).provider is new
    assert new.starts == 1


def _still(old: Watched, domain: str | None) -> None:
    client = api.get_client(domain)
    assert client.provider is old
    assert client.get_provider_status() is ProviderStatus.READY
    assert client.get_string_value("f", "default") == "from the old"
    assert not old.down.is_set()
