"""The machine of providers over a vendor's SDK: when they serve, and what they tell of their data."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails

from flagbrake.errors import ConfigError
from flagbrake.ports.vendor_sdk import News, SdkProvider, Standing, after
from tests.support.waiting import wait_until

READY, STALE, ERROR = ProviderEvent.PROVIDER_READY, ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_ERROR
CHANGED = ProviderEvent.PROVIDER_CONFIGURATION_CHANGED


class AcmeProvider(SdkProvider):
    """Over an SDK whose life is played: what happens when it connects is passed in."""

    name: ClassVar[str] = "acme"
    vendor: ClassVar[str] = "Acme"

    def __init__(self, on_connect: Callable[[AcmeProvider], object] = lambda _: None, *, timeout: float = 0.0) -> None:
        super().__init__(timeout=timeout)
        self.on_connect = on_connect
        self.calls: list[str] = []
        self.told: list[tuple[ProviderEvent, ProviderEventDetails]] = []
        self.attach(lambda _, event, details: self.told.append((event, details)))

    @property
    def events(self) -> list[ProviderEvent]:
        """What was told, without details."""
        return [event for event, _ in self.told]

    def connect(self) -> None:
        """The play begins."""
        self.calls.append("connect")
        self.on_connect(self)

    def disconnect(self) -> None:
        """It ends."""
        self.calls.append("disconnect")

    def hurry(self) -> None:
        """It goes on."""
        self.calls.append("hurry")

    def after_fork(self) -> None:
        """It is played again."""
        self.calls.append("after_fork")

    def resolve(self, flag_key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        """Everything is on."""
        return FlagResolutionDetails(True)


def flowing(provider: AcmeProvider) -> None:
    """The data is there at once."""
    provider.data_flows()


@contextmanager
def started(on_connect: Callable[[AcmeProvider], object] = flowing) -> Iterator[AcmeProvider]:
    """A provider that serves."""
    provider = AcmeProvider(on_connect)
    provider.initialize(EvaluationContext())
    try:
        yield provider
    finally:
        provider.shutdown()


def serves(provider: AcmeProvider) -> bool:
    """Does it answer?"""
    return provider.resolve_boolean_details("any", False).value


@given(st.sampled_from(Standing), st.lists(st.sampled_from(News)))
def test_each_change_is_told_once(begin: Standing, heard: list[News]) -> None:
    """Whatever comes: nothing is told before a start has ended, and never the same twice in a row."""
    standings = [begin]
    for news in heard:
        standings.append(after(standings[-1], news))
    told = [now for before, now in pairwise(standings) if now is not before]
    assert all(one is not other for one, other in pairwise(told))
    assert Standing.UNTOLD not in told
    assert Standing.NOT_READY not in told
    if begin is Standing.UNTOLD:
        assert not told
    if begin is Standing.NOT_READY and told:
        assert told[0] is Standing.READY


@given(st.sampled_from([s for s in Standing if s is not Standing.UNTOLD]), st.lists(st.sampled_from(News)))
def test_where_it_ends_is_the_last_thing_that_counts(begin: Standing, heard: list[News]) -> None:
    """Data makes READY of everything; after it an outage is STALE, a refusal ERROR, which no outage softens."""
    now = begin
    for news in (*heard, News.FLOWING):
        now = after(now, news)
    assert now is Standing.READY
    assert after(now, News.INTERRUPTED) is Standing.STALE
    for news in (News.REFUSED, News.INTERRUPTED):
        now = after(now, news)
        assert now is Standing.ERROR


@given(st.lists(st.sampled_from(News)))
def test_a_start_that_gave_up_serves_from_the_first_data_on(heard: list[News]) -> None:
    """Not before it, and whatever comes after it."""
    provider = AcmeProvider()
    with pytest.raises(ProviderNotReadyError):
        provider.initialize(EvaluationContext())
    for news in heard:
        match news:
            case News.FLOWING:
                provider.data_flows()
            case News.INTERRUPTED:
                provider.data_interrupted("Acme is away")
            case News.REFUSED:
                provider.key_refused("Acme refuses the key", 401)
    assert serves(provider) is (News.FLOWING in heard)
    assert provider.events[:1] == ([READY] if News.FLOWING in heard else [])
    provider.shutdown()
    assert not serves(provider)


def test_states_and_changes_carry_a_sequence() -> None:
    """Handlers run in any order: the metadata tells which came first, and a refusal its status."""
    with started() as provider:
        provider.data_interrupted("Acme is away")
        provider.flags_changed(["a"])
        provider.key_refused("Acme refuses the key", 403)
        provider.key_refused("Acme refuses the key", 403)
        provider.data_flows()
        assert provider.events == [STALE, CHANGED, ERROR, READY]
        numbers = [details.metadata["sequence"] for _, details in provider.told]
        assert numbers == sorted(set(numbers))
        details = provider.told[2][1]
        assert (details.metadata["acme_status"], str(details.error_code)) == (403, "GENERAL")
        assert serves(provider)


def test_the_end_of_a_start_is_not_told_twice() -> None:
    """READY after a start is OpenFeature's to say; what is heard during it is not an event."""

    def stumbling(provider: AcmeProvider) -> None:
        provider.data_interrupted("Acme is away")
        provider.data_flows()
        provider.data_interrupted("Acme is away")

    with started(stumbling) as provider:
        assert provider.told == []
        assert serves(provider)


def test_a_start_waits_for_data_that_comes_later() -> None:
    """Until it is there, and no longer."""
    come = threading.Event()

    def bring(provider: AcmeProvider) -> None:
        come.wait(10)
        provider.data_flows()

    def later(provider: AcmeProvider) -> None:
        threading.Thread(target=bring, args=(provider,), daemon=True).start()

    provider = AcmeProvider(later, timeout=10)
    starting = threading.Thread(target=provider.initialize, args=(EvaluationContext(),))
    starting.start()
    wait_until(lambda: provider.calls == ["connect"], why="the start")
    assert not serves(provider)
    come.set()
    starting.join(5)
    assert serves(provider)
    provider.shutdown()


def test_a_refused_key_ends_the_wait() -> None:
    """PROVIDER_FATAL at once, with the key that is needed; also where an old copy of the data is at hand."""

    def refusing(provider: AcmeProvider) -> None:
        provider.data_flows()
        provider.key_refused("Acme refuses the key", 401)

    provider = AcmeProvider(refusing, timeout=3600)
    with pytest.raises(ProviderFatalError, match=r"Acme refuses the key\. Try: the SDK key of this environment"):
        provider.initialize(EvaluationContext())
    assert not serves(provider)
    provider.data_flows()
    assert provider.events == [READY]
    assert serves(provider)
    provider.shutdown()


@pytest.mark.parametrize(("trouble", "said"), [("", "after 0 s"), ("Acme answers 503", "yet: Acme answers 503")])
def test_a_start_without_data_says_what_is_known(trouble: str, said: str) -> None:
    """What went wrong, if anything was heard of it; else how long it was waited for."""

    def troubled(provider: AcmeProvider) -> None:
        if trouble:
            provider.data_interrupted(trouble)

    provider = AcmeProvider(troubled)
    with pytest.raises(ProviderNotReadyError, match=f"No flags from Acme {said}; it is tried on"):
        provider.initialize(EvaluationContext())
    provider.shutdown()


def test_a_second_start_hurries_the_same_sdk() -> None:
    """It is still trying: no second one is made beside it."""
    provider = AcmeProvider()
    for _ in range(2):
        with pytest.raises(ProviderNotReadyError):
            provider.initialize(EvaluationContext())
    assert provider.calls == ["connect", "hurry"]
    provider.shutdown()
    assert provider.calls == ["connect", "hurry", "disconnect"]


def test_a_start_that_raises_leaves_nothing_open() -> None:
    """What connect had opened is ended, the error is the caller's, and a later start begins anew."""

    def failing(_: AcmeProvider) -> None:
        raise ConfigError("Acme has no streaming.")

    provider = AcmeProvider(failing)
    with pytest.raises(ProviderFatalError, match="no streaming"):
        provider.initialize(EvaluationContext())
    assert provider.calls == ["connect", "disconnect"]
    provider.on_connect = flowing
    provider.initialize(EvaluationContext())
    assert serves(provider)
    provider.shutdown()


def test_a_shutdown_ends_everything_once() -> None:
    """Also after a failed start and when nothing was started; what comes late is not told and serves nothing."""
    provider = AcmeProvider()
    provider.shutdown()
    assert provider.calls == []
    with pytest.raises(ProviderNotReadyError):
        provider.initialize(EvaluationContext())
    provider.shutdown()
    provider.shutdown()
    assert provider.calls == ["connect", "disconnect"]
    provider.data_flows()
    provider.flags_changed(["late"])
    assert provider.told == []
    assert not serves(provider)
    provider.on_connect = lambda _: None
    with pytest.raises(ProviderNotReadyError):  # the late word was the former SDK's
        provider.initialize(EvaluationContext())
    provider.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_goes_on() -> None:
    """Each connected provider is set going, with locks of its own; one that fails takes no other with it."""

    class Failing(AcmeProvider):
        def after_fork(self) -> None:
            raise RuntimeError("the SDK does not do this")

    with started() as provider:
        failing = Failing(flowing)
        failing.initialize(EvaluationContext())
        idle = AcmeProvider()
        held = threading.Event()
        let_go = threading.Event()

        def hold() -> None:
            with provider._telling, provider._lifecycle:
                held.set()
                let_go.wait(10)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(10)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                provider.data_interrupted("Acme is away")
                fine = provider.calls == ["connect", "after_fork"] and provider.events == [STALE] and not idle.calls
                provider.shutdown()
                os.write(writing, b"y" if fine and not serves(provider) else b"n")
            finally:
                os._exit(0)
        os.close(writing)
        let_go.set()
        holder.join(10)
        try:
            assert os.read(reading, 1) == b"y"
        finally:
            os.close(reading)
            os.waitpid(child, 0)
            failing.shutdown()
        assert provider.calls == ["connect"]
