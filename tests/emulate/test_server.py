"""The server of an emulator."""

from __future__ import annotations

import socket
import threading

import httpx
import pytest

from flagbrake.emulate.server import Server
from flagbrake.errors import ConfigError
from tests.emulate.conftest import Small
from tests.support.waiting import wait_until


def test_answers_as_soon_as_start_returns(small: Small) -> None:
    """Start returns when it accepts: nobody has to wait or retry."""
    assert httpx.get(f"{small.server.url}/hello").json() == {"hello": 1}


def test_keeps_its_port(small: Small) -> None:
    """It is found at the same address after a restart, and refuses connections in between."""
    url = small.server.url
    small.server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/hello")
    small.server.start()
    assert small.server.url == url
    assert httpx.get(f"{url}/hello").status_code == 200


def test_stop_ends_open_streams(small: Small) -> None:
    """A stream does not keep it from stopping; the listener sees the line break."""
    with httpx.stream("GET", f"{small.server.url}/stream/a") as answer:
        parts = answer.iter_text()
        next(parts)
        small.server.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            list(parts)
    assert len(small.hub) == 0


def test_start_and_stop_may_be_repeated(small: Small) -> None:
    """A second start or stop changes nothing."""
    assert small.server.start().running
    small.server.stop()
    small.server.stop()
    assert not small.server.running


def test_a_taken_port_is_said() -> None:
    """A port that somebody else has is an error that names it."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ConfigError, match="--port"):
        Server(None, port=other.getsockname()[1]).start()


def test_offline_for_a_while(small: Small) -> None:
    """Over HTTP another process makes it unreachable, and it comes back by itself."""
    url = small.server.url
    assert httpx.post(f"{url}/_emulator/offline", json={"seconds": 0.3}).status_code == 202

    def refused() -> bool:
        try:
            httpx.get(f"{url}/hello")
        except httpx.TransportError:
            return True
        return False

    wait_until(refused, why="the outage")
    wait_until(lambda: not refused(), why="the end of the outage")


def test_wait_ends_with_stop(small: Small) -> None:
    """``wait`` blocks the command line until somebody stops the server."""
    waiting = threading.Thread(target=small.server.wait)
    waiting.start()
    small.server.stop()
    waiting.join(10)
    assert not waiting.is_alive()


def test_stopped_while_offline_stays_stopped(small: Small) -> None:
    """An outage that was to end later does not bring back what was stopped for good."""
    small.server.offline(0.2)
    wait_until(lambda: not small.server.running, why="the outage")
    small.server.stop()
    wait_until(lambda: "emulator-offline" not in {thread.name for thread in threading.enumerate()}, why="its end")
    assert not small.server.running
