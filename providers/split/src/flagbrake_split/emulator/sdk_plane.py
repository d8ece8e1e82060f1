"""What SDKs call: downloads, the token of the streaming service, the stream, and the sinks of what they report."""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flagbrake.emulate.sse import Hub
from flagbrake_split.emulator import wire
from flagbrake_split.emulator.compile import JSON
from flagbrake_split.emulator.publisher import ORG
from flagbrake_split.emulator.state import Plane, State

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

#: Where SDKs report to -> under which name it is kept.
SINKS: Final = {
    "/api/testImpressions/bulk": "impressions",
    "/api/testImpressions/count": "impression_counts",
    "/api/events/bulk": "events",
    "/api/v1/metrics/config": "telemetry",
    "/api/v1/metrics/usage": "telemetry",
    "/api/v1/keys/ss": "unique_keys",
}


@dataclass(slots=True)
class Reports:
    """What SDKs reported, in the order of arrival: (environment, body) by sink."""

    arrived: Callable[[], object] = lambda: None
    _kept: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, sink: str, environment: str, body: Any) -> None:
        """Take one report."""
        with self._lock:
            self._kept.setdefault(sink, []).append((environment, body))
        self.arrived()

    def of(self, sink: str, environment: str | None = None) -> list[Any]:
        """The reports of one sink."""
        with self._lock:
            return [body for env, body in self._kept.get(sink, ()) if environment in {None, env}]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()


class SdkPlane:
    """The routes of SDKs.

    Args:
        lifetime: seconds that a token of the streaming service lives; SDKs renew it ten minutes before its end.
    """

    def __init__(self, state: State, hub: Hub, reports: Reports, *, lifetime: int = 3600) -> None:
        self.lifetime = lifetime
        #: False tells SDKs to poll.
        self.streaming = True
        self._state = state
        self._hub = hub
        self._reports = reports
        self._tokens: dict[str, str] = {}

    def routes(self) -> list[BaseRoute]:
        """For the app."""
        from starlette.routing import Route

        return [
            Route("/api/splitChanges", self._split_changes),
            Route("/api/segmentChanges/{name}", self._segment_changes),
            Route("/api/v2/auth", self._auth),
            Route("/event-stream", self._stream),
            *(Route(path, self._sink, methods=["POST"]) for path in SINKS),
        ]

    async def _split_changes(self, request: Request) -> Any:
        plane = self._plane(request)
        if plane is None:
            return _unauthorized()
        # Never 400: an SDK with an address of its own would speak an older dialect for a day.
        since, rules_since = _number(request, "since"), _number(request, "rbSince")
        sets = frozenset(filter(None, request.query_params.get("sets", "").split(",")))
        with self._state.lock:
            return _json(self._state.split_changes(plane, since, rules_since, sets))

    async def _segment_changes(self, request: Request) -> Any:
        plane = self._plane(request)
        if plane is None:
            return _unauthorized()
        with self._state.lock:
            found = self._state.segment_changes(plane, request.path_params["name"], _number(request, "since"))
            return _json(found)

    async def _auth(self, request: Request) -> Any:
        plane = self._plane(request)
        if plane is None:
            return _unauthorized()
        if not self.streaming:
            return _json({"pushEnabled": False, "token": ""})
        unique = uuid.uuid4().hex
        capability = wire.channels(ORG, plane.name)
        issued = wire.token(capability, issued=int(time.time()), lifetime=self.lifetime, unique=unique)
        self._tokens[issued] = plane.name
        return _json({"pushEnabled": True, "token": issued, "connDelay": 0})

    async def _stream(self, request: Request) -> Any:
        from starlette.responses import Response

        text = request.query_params.get("accessToken", "")
        expires = wire.expires(text)
        if text not in self._tokens or expires is None:
            return Response(wire.error(40101, 401, "Invalid credentials"), 401, media_type="text/event-stream")
        if expires <= time.time():
            return Response(wire.error(40142, 401, "Token expired"), 401, media_type="text/event-stream")
        wanted = request.query_params.get("channels", "").split(",")
        topics = {channel.removeprefix(wire.OCCUPANCY) for channel in wanted}
        return self._hub.stream(topics, [wire.first(int(time.time() * 1000))])

    async def _sink(self, request: Request) -> Any:
        plane = self._plane(request)
        if plane is None:
            return _unauthorized()
        self._reports.keep(SINKS[request.url.path], plane.name, _decoded(request, await request.body()))
        return _json({})

    def _plane(self, request: Request) -> Plane | None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self._state.plane_of_key(key)


def _number(request: Request, name: str) -> int:
    try:
        return int(request.query_params.get(name, "-1"))
    except ValueError:
        return -1


def _decoded(request: Request, body: bytes) -> Any:
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    try:
        return json.loads(body or b"null")
    except ValueError:
        return body.decode(errors="replace")


def _json(data: JSON) -> Any:
    from starlette.responses import Response

    return Response(json.dumps(data, ensure_ascii=False, separators=(",", ":")), media_type="application/json")


def _unauthorized() -> Any:
    from starlette.responses import Response

    return Response(status_code=401)
