"""Starts, restarts and forks of the provider over the real SDK, and what one life may not do to the next."""

from __future__ import annotations

import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails
from splitio.api import APIException

from flagbrake_split.holding import held
from flagbrake_split.repair import explained
from flagbrake_split.sdk_options import Mode
from tests.split.test_faults import members_get_two, put
from tests.split.vendor import ENVIRONMENT, Vendor, vendor
from tests.support.waiting import wait_until
from tests.support.watching import ANN, ERROR, READY, STALE, watched

_forks: Final = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture
def account() -> Iterator[Vendor]:
    """An emulator of one's own with the flag ``model`` in it."""
    with vendor() as made:
        put(made.emulator, "one")
        yield made


def test_a_former_life_is_no_news(account: Vendor) -> None:
    """A request that hangs at a shutdown fails after the next start: that is no outage of the new connection."""
    emulator = account.emulator
    emulator.put_segment("staff", ["ann"], ENVIRONMENT)
    put(emulator, "one", **members_get_two("staff"))
    fault = emulator.faults.add("/api/segmentChanges/staff", status=503)
    provider = account.provider()
    with watched(provider) as agent:
        agent.await_told(STALE)
        emulator.faults.clear(fault)
        hanging = emulator.faults.add("/api/segmentChanges/staff", hang=True, times=1)
        wait_until(lambda: hanging.met, why="the download that hangs")
        provider.shutdown()
        agent.told.clear()
        provider.initialize(EvaluationContext())
        wait_until(lambda: not _threads("flagbrake-split-segments"), why="the end of that download")
        assert agent.states() == []
        assert agent.value() == "two"


def _threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_what_answers_nothing_has_no_status() -> None:
    """The SDK gives a request without an answer the status -1; nobody is told of that number."""
    assert explained(APIException("no answer")) == "Split is not reached"
    assert explained(APIException("away", 503)) == "Split answers 503"


@pytest.mark.parametrize("mode", [Mode.STREAM, Mode.POLL])
def test_too_many_flag_sets(account: Vendor, mode: Mode) -> None:
    """Split answers 414: no READY without a flag, and when it answers otherwise, READY and the flags."""
    fault = account.emulator.faults.add("/api/splitChanges", status=414)
    with watched(account.provider(mode=mode), failing=True) as agent:
        wait_until(lambda: fault.met >= 3, why="several attempts")
        assert agent.states() == []
        account.emulator.faults.clear()
        agent.await_told(READY)
        assert agent.value() == "one"
        assert ERROR not in agent.states()


def test_events_that_cannot_be_said(account: Vendor) -> None:
    """What JSON cannot say is left out of an event: no exception, it goes out, and so does the next one."""
    loop: list[Any] = []
    loop.append(loop)
    with watched(account.provider()) as agent:
        for name, value, properties in (
            ("nan", math.nan, {"fine": 1, "infinite": math.inf}),
            ("huge", 10**5000, {"huge": 10**5000}),
            ("loop", 1.5, {"loop": loop}),
            ("names", 1.5, {"names": {(1, 2): 3}}),
            ("last", 1.5, {"fine": 1}),
        ):
            agent.client.track(name, ANN, TrackingEventDetails(value, properties))
        events = wait_until(lambda: len(found := account.tracked()) == 5 and found, why="the events")
    assert [(name, value) for name, _, value, _ in events] == [
        ("nan", None),
        ("huge", None),
        ("loop", 1.5),
        ("names", 1.5),
        ("last", 1.5),
    ]
    assert [properties.get("fine") for *_, properties in events] == [1, None, None, None, 1]


def test_a_vendor_that_takes_no_impressions(account: Vendor) -> None:
    """More impressions than are kept: one flush is asked for, not one for each, and a shutdown ends them all."""
    account.emulator.faults.add("/api/testImpressions/*", status=503, delay=0.2)
    provider = account.provider(impressions="debug")
    provider.initialize(EvaluationContext())
    for number in range(10_200):
        provider.resolve("model", EvaluationContext(f"user-{number}"))
    provider.shutdown()
    assert not _threads("AsyncTask::synchronize_impressions")


# --- forks ------------------------------------------------------------------------------------------------------


@contextmanager
def in_the_background(work: Callable[[], None]) -> Iterator[None]:
    """Again and again, in two threads, until the end."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.is_set():
            work()

    threads = [threading.Thread(target=repeat) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(10)


def in_a_child(work: Callable[[], bool]) -> bool:
    """Fork; whether the work was done there, and well, within ten seconds."""
    with warnings.catch_warnings():
        # CPython 3.12 warns of fork with threads: that is the case under test (gunicorn --preload does it).
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        well = False
        try:
            well = work()
        finally:
            os._exit(0 if well else 1)
    end = time.monotonic() + 10
    pause = threading.Event()
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        pause.wait(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


@_forks
@pytest.mark.parametrize("impressions", ["optimized", "debug"])
def test_a_child_of_a_process_that_evaluates(account: Vendor, impressions: str) -> None:
    """Other threads evaluate at the moment of a fork, and hold the SDK's locks: the child's evaluations do not wait."""
    with watched(account.provider(impressions=impressions)) as agent, in_the_background(lambda: _ask(agent.value)):

        def evaluates() -> bool:
            agent.client.track("paid", ANN)
            return all(agent.value(context=EvaluationContext(f"child-{n}")) == "one" for n in range(10))

        assert all(in_a_child(evaluates) for _ in range(25))


def _ask(value: Callable[..., str]) -> None:
    assert value(context=EvaluationContext(str(time.monotonic_ns()))) == "one"


@_forks
def test_a_child_of_a_process_that_makes_a_factory(account: Vendor) -> None:
    """Another thread makes a provider at the moment of a fork: the child's own goes on, and so does a new one."""
    making, made = threading.Event(), threading.Event()

    def make() -> None:
        with held(local=False):
            making.set()
            made.wait(30)

    with watched(account.provider()) as agent:
        thread = threading.Thread(target=make)
        thread.start()
        try:
            assert making.wait(10)

            def starts() -> bool:
                another = account.provider()
                another.initialize(EvaluationContext())
                return (agent.value(), another.resolve("model", ANN).value) == ("one", "one")

            assert in_a_child(starts)
        finally:
            made.set()
            thread.join(10)
