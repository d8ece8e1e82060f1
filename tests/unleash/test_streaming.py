"""Changes pushed by a stream: the open-source server behind a shim that streams what it has."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ProviderFatalError

from flagbrake_unleash.provider import UnleashProvider
from tests.support.waiting import wait_until
from tests.unleash.harnesses import Vendor
from tests.unleash.intercepting import Fault
from tests.unleash.streaming import PATH, Streaming
from tests.unleash.test_provider import asks, feature, heard, strategy, variant

ANN = EvaluationContext("ann", {"plan": "pro"})
STALE, READY, ERROR = ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_READY, ProviderEvent.PROVIDER_ERROR


@contextmanager
def listening(here: Vendor, **given: Any) -> Iterator[tuple[UnleashProvider, Streaming]]:
    """A provider that listens to the shim."""
    here.seen()
    with closing(Streaming(here.server.port, here.token, hydration=given.pop("hydration", None))) as shim:
        provider = here.provider(url=f"{shim.url}/api", streaming=True, **{"timeout": 20.0, **given})
        try:
            provider.initialize(EvaluationContext())
            yield provider, shim
        finally:
            provider.shutdown()


def value(provider: UnleashProvider, key: str) -> bool | None:
    answer = provider.resolve_boolean_details(key, default_value=False, evaluation_context=ANN)
    return answer.value if answer.error_code is None else None


def standings(told: list) -> list[ProviderEvent]:
    return [event for event, _ in told if event is not ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]


def hydrated(*features: dict[str, Any], segments: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    return [{"eventId": 1, "type": "hydration", "features": list(features), "segments": list(segments)}]


def test_a_change_is_pushed(quick_vendor: Vendor) -> None:
    """Without one fetch: what is pushed is served, told by its key, and nothing else is."""
    quick_vendor.back.write(feature("pushed", strategy(), enabled=False))
    quick_vendor.back.write(feature("beside", strategy(variants=[variant("blue", type="string", value="b")])))
    with listening(quick_vendor) as (provider, shim):
        told = heard(provider)
        assert value(provider, "pushed") is False
        quick_vendor.back.write(feature("pushed", strategy()))
        quick_vendor.seen()
        assert [e["feature"]["name"] for e in shim.push()] == ["pushed"]
        wait_until(lambda: value(provider, "pushed"), why="the push")
        assert [(e, d.flags_changed) for e, d in told] == [(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, ["pushed"])]
        assert provider.resolve_string_details("beside", "", ANN).value == "b"
        quick_vendor.back.remove("pushed")
        quick_vendor.seen()
        shim.push()
        wait_until(lambda: value(provider, "pushed") is None, why="it to be gone")
        asked = [a.path for a in shim.asked]
        assert not any(path.startswith("/api/client/features") for path in asked)
        assert asked.count("/api/client/register") == 1


def test_every_kind_of_event(quick_vendor: Vendor) -> None:
    """Features and segments come, change and go; with the last feature gone there is none, and not the old ones."""
    sees = {**feature("sees", strategy(segments=[7])), "project": "default"}
    pros = {"id": 7, "name": "pros", "constraints": [asks("plan", "IN", "pro")]}
    with listening(quick_vendor, hydration=lambda: hydrated(sees, segments=(pros,))) as (provider, shim):
        assert value(provider, "sees") is True
        teams = {**pros, "constraints": [asks("plan", "IN", "team")]}
        shim.say(json.dumps({"events": [{"eventId": 2, "type": "segment-updated", "segment": teams}]}))
        wait_until(lambda: value(provider, "sees") is False, why="the segment")
        shim.say(json.dumps({"events": [{"eventId": 3, "type": "something-new", "what": 1}]}))
        plain = {**feature("sees", strategy()), "project": "default"}
        shim.say(json.dumps({"events": [{"eventId": 4, "type": "feature-updated", "feature": plain}]}))
        wait_until(lambda: value(provider, "sees"), why="the feature")
        shim.say(
            json.dumps(
                {
                    "events": [
                        {"eventId": 5, "type": "segment-removed", "segmentId": 7},
                        {"eventId": 6, "type": "feature-removed", "featureName": "sees", "project": "default"},
                    ]
                }
            )
        )
        wait_until(lambda: value(provider, "sees") is None, why="its end")
        assert not provider.keys()


def test_a_stream_that_is_cut_comes_back(quick_vendor: Vendor) -> None:
    """STALE is told and what is known is served; when the stream is back it has what changed, and READY is told."""
    quick_vendor.back.write(feature("cut", strategy(), enabled=False))
    with listening(quick_vendor) as (provider, shim):
        told, streams = heard(provider), shim.connected
        shim.rule = lambda asked: Fault.FAILS if asked.path.startswith(PATH) else None
        shim.cut()
        wait_until(lambda: standings(told) == [STALE], why="STALE")
        assert value(provider, "cut") is False
        quick_vendor.back.write(feature("cut", strategy()))
        quick_vendor.seen()
        shim.always(None)
        wait_until(lambda: value(provider, "cut"), timeout=20, why="the change")
        wait_until(lambda: standings(told) == [STALE, READY], why="READY")
        assert shim.connected == streams + 1


def test_an_event_that_nobody_can_read(quick_vendor: Vendor) -> None:
    """What comes after it would be built on sand: the stream is begun anew, from everything there is."""
    quick_vendor.back.write(feature("torn", strategy()))
    with listening(quick_vendor) as (provider, shim):
        told, streams = heard(provider), shim.connected
        shim.say('{"events": [{"type": "hydration", "featu')
        wait_until(lambda: standings(told) == [STALE, READY], timeout=20, why="a new stream")
        assert value(provider, "torn") is True
        assert shim.connected == streams + 1


def test_a_token_refused_by_the_stream(quick_vendor: Vendor) -> None:
    """At the start it is FATAL; later it is an ERROR, and what is known goes on being served."""
    quick_vendor.back.write(feature("held-stream", strategy()))
    with listening(quick_vendor) as (provider, shim):
        other = quick_vendor.provider(url=f"{shim.url}/api", streaming=True, token="default:development.wrong")
        with pytest.raises(ProviderFatalError, match="refuses the backend token"):
            other.initialize(EvaluationContext())
        other.shutdown()
        told = heard(provider)
        shim.refuse(true=True)
        shim.cut()
        wait_until(lambda: ERROR in standings(told), timeout=20, why="ERROR")
        assert value(provider, "held-stream") is True
        shim.refuse(true=False)
        wait_until(lambda: standings(told)[-1:] == [READY], timeout=20, why="READY")


def test_a_copy_of_what_was_streamed(quick_vendor: Vendor, tmp_path: Path) -> None:
    """A start without the server serves what the stream brought, variants by their own names."""
    blue = feature(
        "kept-stream", strategy(constraints=[asks("plan", "IN", "no")]), strategy(variants=[variant("blue")])
    )
    quick_vendor.back.write(blue)
    kept = {"cache_directory": str(tmp_path / "cache"), "app_name": "kept-stream"}
    with listening(quick_vendor, **kept) as (provider, shim):
        shim.push()  # brings nothing new, and is kept all the same
        assert provider.resolve("kept-stream", ANN).variant == "blue"
    again = quick_vendor.provider(streaming=True, url=f"{shim.url}/api", **kept)  # nobody is there any more
    told = heard(again)
    try:
        again.initialize(EvaluationContext())
        answer = again.resolve("kept-stream", ANN)
        assert (answer.value, answer.variant) == ("blue", "blue")
        wait_until(lambda: standings(told) == [STALE], timeout=20, why="STALE")
    finally:
        again.shutdown()


def test_a_child_process_listens_too(quick_vendor: Vendor) -> None:
    """After a fork the child serves what its parent had, and hears of changes by a stream of its own."""
    quick_vendor.back.write(feature("forked", strategy(), enabled=False))
    with listening(quick_vendor) as (provider, shim):
        reading, writing = os.pipe()
        streams = shim.connected
        child = os.fork()
        if child == 0:
            said = "nothing"
            try:
                said = str(value(provider, "forked"))
                wait_until(lambda: value(provider, "forked"), timeout=20)
                said += ", then True"
            finally:
                os.write(writing, said.encode())
                os._exit(0)  # without any cleanup of pytest's
        try:
            os.close(writing)
            wait_until(lambda: shim.connected >= streams + 2, timeout=20, why="the child's question and its stream")
            quick_vendor.back.write(feature("forked", strategy()))
            quick_vendor.seen()
            shim.push()
            ready, _, _ = select.select([reading], [], [], 30)
            assert ready
            assert os.read(reading, 100) == b"False, then True"
            wait_until(lambda: value(provider, "forked"), why="the parent")
        finally:
            os.close(reading)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_shutdown_does_not_wait_for_a_stream(quick_vendor: Vendor) -> None:
    """Open or cut: no thread of it is left."""
    before = set(threading.enumerate())
    with listening(quick_vendor) as (provider, shim):
        shim.rule = lambda asked: Fault.LOST if asked.path.startswith(PATH) else None
        told = heard(provider)
        shim.cut()
        wait_until(lambda: standings(told) == [STALE], why="STALE")
        provider.shutdown()
        assert not [t.name for t in set(threading.enumerate()) - before if "nleash" in t.name]
    with listening(quick_vendor) as (provider, _):
        provider.shutdown()
        assert not [t.name for t in set(threading.enumerate()) - before if "nleash" in t.name]
