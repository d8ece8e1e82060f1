"""A small server made of the common parts."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from flagbrake.emulate import control
from flagbrake.emulate.faults import Faults, FaultyApp
from flagbrake.emulate.server import Server
from flagbrake.emulate.sse import Hub, encoded


class Small:
    """``/hello`` counts, ``/stream`` tells."""

    def __init__(self) -> None:
        self.hellos = 0
        self.hub = Hub(heartbeat=0.05)
        self.faults = Faults()
        app = Starlette(
            routes=[
                Route("/hello", self._hello),
                Route("/stream/{topic}", self._stream),
                *control.routes(self.faults, self.hub, self._offline),
            ]
        )
        self.server = Server(FaultyApp(app, self.faults), before_stop=self.hub.cut)

    def _offline(self, seconds: float) -> None:
        self.server.offline(seconds)

    async def _hello(self, _: Request) -> JSONResponse:
        self.hellos += 1
        return JSONResponse({"hello": self.hellos})

    async def _stream(self, request: Request):
        return self.hub.stream([request.path_params["topic"]], [encoded("first", {"n": 0})])


@pytest.fixture
def small() -> Iterator[Small]:
    """Started; stopped afterwards, and its threads with it."""
    made = Small()
    with made.server:
        yield made
    assert not [thread for thread in threading.enumerate() if thread.name == "emulator"]
