"""The stream of an Enterprise server, in front of the open-source one, which has none: a shim for tests.

It speaks what the SDK reads: ``unleash-connected`` with everything there is, then ``unleash-updated`` with events.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx

from tests.unleash.intercepting import Asked, Interceptor

PATH = "/api/client/streaming"
Events = list[dict[str, Any]]


class Streaming(Interceptor):
    """Forwards what it does not stream. One token for all.

    Args:
        port: the server's.
        token: with which it reads the server, and which it wants from clients.
        hydration: what a client is sent first, instead of what the server has.
    """

    def __init__(self, port: int, token: str, *, hydration: Callable[[], Events] | None = None) -> None:
        self._token = token
        self._server_url = f"http://127.0.0.1:{port}"
        self._hydration = hydration or self._hydrate
        self._streams: dict[queue.Queue[bytes | None], socket.socket] = {}
        self._known: dict[str, Any] = {}
        self._refusing = False
        self.connected = 0
        super().__init__(port)

    def takes(self, handler: BaseHTTPRequestHandler, asked: Asked) -> bool:
        """Answer a stream for as long as it lasts."""
        if not asked.path.startswith(PATH):
            return False
        handler.close_connection = True
        if self._refusing or asked.headers.get("authorization") != self._token:
            handler.send_response(401)
            handler.send_header("content-length", "0")
            handler.end_headers()
            return True
        mine: queue.Queue[bytes | None] = queue.Queue()
        with self._lock:
            mine.put(_event("unleash-connected", self._hydration()))
            self._streams[mine] = handler.connection
            self.connected += 1
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.flush()
            while (message := mine.get()) is not None:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(message), message))
                handler.wfile.flush()
        self._streams.pop(mine, None)
        return True

    def push(self) -> Events:
        """Tell every stream what has changed at the server since the last time."""
        with self._lock:
            before, after = self._known, self._read()
            self._known = after
            events = [*_features(before, after), *_segments(before, after)]
            self._publish(_event("unleash-updated", events))
        return events

    def say(self, data: str, event: str = "unleash-updated") -> None:
        """Tell every stream just this."""
        with self._lock:
            self._publish(f"event: {event}\ndata: {data}\n\n".encode())

    def cut(self) -> None:
        """Break every stream off; a new one is welcome."""
        with self._lock:
            for each, connection in list(self._streams.items()):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                each.put(None)

    def refuse(self, *, true: bool) -> None:
        """From now on no token is good, or the one that was."""
        self._refusing = true

    @property
    def open(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    def close(self) -> None:
        """End everything."""
        self.cut()
        super().close()

    def _publish(self, message: bytes) -> None:
        for each in list(self._streams):
            each.put(message)

    def _hydrate(self) -> Events:
        state = self._read()
        self._known = self._known or state  # what other streams have not been told yet is told them still
        return [{"eventId": 1, "type": "hydration", **state}]

    def _read(self) -> dict[str, Any]:
        # Segments are sent apart to those who say that they know how.
        headers = {"Authorization": self._token, "Unleash-Client-Spec": "5.2.0"}
        answer = httpx.get(f"{self._server_url}/api/client/features", headers=headers, timeout=10).json()
        return {"features": answer["features"], "segments": answer.get("segments") or []}


def _features(before: dict[str, Any], after: dict[str, Any]) -> Events:
    old, new = ({f["name"]: f for f in state.get("features", ())} for state in (before, after))
    gone = [
        {"eventId": 2, "type": "feature-removed", "featureName": k, "project": "default"} for k in old if k not in new
    ]
    return [{"eventId": 2, "type": "feature-updated", "feature": f} for k, f in new.items() if old.get(k) != f] + gone


def _segments(before: dict[str, Any], after: dict[str, Any]) -> Events:
    old, new = ({s["id"]: s for s in state.get("segments", ())} for state in (before, after))
    gone = [{"eventId": 2, "type": "segment-removed", "segmentId": k} for k in old if k not in new]
    return [{"eventId": 2, "type": "segment-updated", "segment": s} for k, s in new.items() if old.get(k) != s] + gone


def _event(name: str, events: Events) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'events': events})}\n\n".encode()
