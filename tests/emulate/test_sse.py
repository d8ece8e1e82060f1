"""Streams of events."""

from __future__ import annotations

import threading

import httpx
import pytest

from flagbrake.emulate.sse import encoded
from tests.emulate.conftest import Small
from tests.support.waiting import wait_until


def test_an_event_on_the_wire() -> None:
    """Fields each on a line, JSON on one line, text with a line for each of its lines."""
    assert encoded("put", {"a": "ü"}) == 'event: put\ndata: {"a":"ü"}\n\n'.encode()
    assert encoded(None, "a\nb", id="7") == b"id: 7\ndata: a\ndata: b\n\n"


def test_told_in_order_from_any_thread(small: Small) -> None:
    """What threads publish arrives whole and, of one thread, in its order; other topics stay silent."""
    with httpx.stream("GET", f"{small.server.url}/stream/a") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        lines = answer.iter_lines()
        wait_until(lambda: small.hub.count("a") == 1, why="the stream")

        def publish(name: str) -> None:
            for number in range(50):
                small.hub.publish("a", encoded("e", f"{name}-{number}"))
                small.hub.publish("b", encoded("e", "never"))

        threads = [threading.Thread(target=publish, args=(name,)) for name in "xyz"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        data = []
        while len(data) < 150:
            line = next(lines)
            if line.startswith("data: ") and line != 'data: {"n":0}':
                data.append(line.removeprefix("data: "))
    for name in "xyz":
        assert [one for one in data if one[0] == name] == [f"{name}-{n}" for n in range(50)]


def test_silence_is_filled(small: Small) -> None:
    """A comment is sent while there is nothing to tell, so that a client knows the line is alive."""
    with httpx.stream("GET", f"{small.server.url}/stream/a") as answer:
        wait_for = (line for line in answer.iter_lines() if line == ":")
        assert next(wait_for) == ":"


def test_cut_breaks_the_line(small: Small) -> None:
    """A cut stream ends in the middle; an orderly end is one too, when asked for."""
    for clean in (False, True):
        with httpx.stream("GET", f"{small.server.url}/stream/a") as answer:
            lines = answer.iter_lines()
            next(lines)
            assert small.hub.cut(clean=clean) == 1
            if clean:
                list(lines)
            else:
                with pytest.raises(httpx.RemoteProtocolError):
                    list(lines)
    assert len(small.hub) == 0


def test_cut_over_http(small: Small) -> None:
    """Another process counts and cuts streams."""
    with httpx.stream("GET", f"{small.server.url}/stream/a") as answer:
        lines = answer.iter_lines()
        next(lines)
        assert httpx.get(f"{small.server.url}/_emulator/streams").json() == {"streams": 1}
        assert httpx.delete(f"{small.server.url}/_emulator/streams").json() == {"streams": 1}
        assert httpx.get(f"{small.server.url}/_emulator/streams").json() == {"streams": 0}


def test_a_client_that_leaves_is_forgotten(small: Small) -> None:
    """Nobody is told who is not there."""
    with httpx.stream("GET", f"{small.server.url}/stream/a") as answer:
        next(answer.iter_lines())
    wait_until(lambda: len(small.hub) == 0, why="the stream to be forgotten")


def test_mute_loses_what_is_published(small: Small) -> None:
    """While muted, streams stay open and hear nothing; nothing is caught up on afterwards."""
    with httpx.stream("GET", f"{small.server.url}/stream/a") as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data"))
        next(lines)
        small.hub.mute()
        assert small.hub.publish("a", encoded("e", "lost")) == 0
        small.hub.mute(on=False)
        assert small.hub.publish("a", encoded("e", "heard")) == 1
        assert next(lines) == "data: heard"
