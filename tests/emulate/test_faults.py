"""Faults: asked for, met, mended."""

from __future__ import annotations

import threading

import httpx
import pytest

from flagbrake.errors import InvalidInput
from tests.emulate.conftest import Small
from tests.support.waiting import wait_until


def test_a_status_for_so_many_times(small: Small) -> None:
    """The first two requests are refused with the headers asked for, the third is served."""
    small.faults.add("/hello", status=429, headers={"Retry-After": "1"}, times=2)
    answers = [httpx.get(f"{small.server.url}/hello") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "1"
    assert small.hellos == 1


def test_until_cleared(small: Small) -> None:
    """Without a number it goes on until it is mended, and only where its pattern and method say."""
    fault = small.faults.add("/hel*", method="GET", status=503, body={"no": 1})
    assert [httpx.get(f"{small.server.url}/hello").json() for _ in range(3)] == [{"no": 1}] * 3
    assert httpx.post(f"{small.server.url}/hello").status_code == 405
    small.faults.clear(fault)
    assert httpx.get(f"{small.server.url}/hello").status_code == 200


@pytest.mark.parametrize(("when", "done"), [("before", 0), ("after", 1)])
def test_cut_before_or_after_the_work(small: Small, when: str, done: int) -> None:
    """No answer comes; whether the work was done is what the caller cannot know."""
    small.faults.add(cut=when, times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{small.server.url}/hello")
    assert small.hellos == done


def test_hang_until_cleared(small: Small) -> None:
    """A hanging request is let go when the fault is cleared, and gets no answer."""
    fault = small.faults.add("/hello", hang=True, times=1)
    got: list[Exception] = []

    def ask() -> None:
        try:
            httpx.get(f"{small.server.url}/hello", timeout=20)
        except httpx.TransportError as error:
            got.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: fault.met == 1, why="the request")
    assert asking.is_alive()
    assert httpx.get(f"{small.server.url}/hello").status_code == 200, "only one was to hang"
    small.faults.clear()
    asking.join(10)
    assert isinstance(got[0], httpx.RemoteProtocolError)


def test_delay_then_serve(small: Small) -> None:
    """A slow vendor answers after all; a client with less patience gives up."""
    small.faults.add("/hello", delay=0.5)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{small.server.url}/hello", timeout=0.05)
    assert httpx.get(f"{small.server.url}/hello", timeout=20).status_code == 200


def test_over_http(small: Small) -> None:
    """Another process breaks, lists and mends; the way to mend cannot be broken."""
    url = f"{small.server.url}/_emulator/faults"
    made = httpx.post(url, json={"path": "*", "status": 500})
    assert made.status_code == 201
    assert httpx.get(f"{small.server.url}/hello").status_code == 500
    assert [fault["met"] for fault in httpx.get(url).json()] == [1]
    assert httpx.delete(f"{url}/{made.json()['id']}").status_code == 204
    assert httpx.get(f"{small.server.url}/hello").status_code == 200


@pytest.mark.parametrize("words", [{"path": "*"}, {"stauts": 500}, {"cut": "maybe"}])
def test_nonsense_is_refused(small: Small, words: dict[str, object]) -> None:
    """A fault that does nothing, or that has an unknown word, is an error and not a fault."""
    with pytest.raises(InvalidInput):
        small.faults.add(**words)
    assert httpx.post(f"{small.server.url}/_emulator/faults", json=words).status_code == 400
    assert small.faults.all() == ()
