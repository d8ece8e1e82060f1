"""An HTTP proxy in front of the server that can fail one request of many, before or after the server has it."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class Fault(Enum):
    """What becomes of a request."""

    #: It never arrives.
    LOST = "lost"
    #: The server does it, and its answer never arrives.
    UNANSWERED = "unanswered"
    #: 500, and the server never had it.
    FAILS = "fails"
    #: 502, though the server did it.
    BROKEN = "broken"
    #: Nothing comes until the proxy is told to let go; then the connection ends.
    HANGS = "hangs"
    #: As one that hangs, but the server has it in the end.
    LATE = "late"
    #: 200 with what is no answer.
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = b""

    @property
    def writes(self) -> bool:
        """Does it change something? An export is a POST and does not."""
        return self.method != "GET" and not self.path.endswith("/export")


#: What is answered without asking the server.
_INSTEAD = {
    Fault.FAILS: (500, b'{"message":"injected"}'),
    Fault.GARBAGE: (200, b"<html>a captive portal</html>"),
}
_NEVER = {Fault.LOST, Fault.HANGS}
_BROKEN = (502, b'{"message":"injected"}')
_HOP_BY_HOP = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "date"})

Rule = Callable[[Asked], Fault | None]


class Interceptor:
    """Forwards requests, but for those that ``rule`` has a fault for.

    Args:
        port: the server's, on loopback.
    """

    def __init__(self, port: int) -> None:
        self.rule: Rule = lambda _: None
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self._let_go = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self, port))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def writes(self) -> list[Asked]:
        """The requests so far that change something."""
        return [asked for asked in self.asked if asked.writes]

    def fail_write(self, number: int, fault: Fault) -> None:
        """Only the write of this number, counted from now and from 0, meets the fault."""
        left = iter(range(10_000))
        self.rule = lambda asked: fault if asked.writes and next(left) == number else None

    def always(self, fault: Fault | None) -> None:
        """Every request from now on meets the fault, ``None`` none."""
        self.rule = lambda _: fault

    def let_go(self) -> None:
        """End what hangs, and whatever would hang from now on."""
        self._let_go.set()

    def close(self) -> None:
        """End everything."""
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def takes(self, handler: http.server.BaseHTTPRequestHandler, asked: Asked) -> bool:
        """Answers it itself, so that it is not forwarded: for those who know more than this."""
        return False

    def met(self, asked: Asked) -> Fault | None:
        """What becomes of this request; one that hangs hangs here."""
        with self._lock:
            self.asked.append(asked)
            fault = self.rule(asked)
            if fault is not None:
                self.faults.append(fault)
        if fault in {Fault.HANGS, Fault.LATE}:
            self._let_go.wait(60)
        return fault


def _handler(here: Interceptor, port: int) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def log_message(self, *_: object) -> None:
            pass

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            fault = here.met(asked)
            if fault is None and here.takes(self, asked):
                return
            answer = _INSTEAD.get(fault) or (None if fault in _NEVER else _forwarded(port, asked))
            if answer is None or fault in {Fault.UNANSWERED, Fault.LATE}:
                self.close_connection = True
            else:
                self._answer(*(_BROKEN if fault is Fault.BROKEN else answer))

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {"content-type": "application/json"}).items():
                self.send_header(name, value)
            if status not in {204, 304}:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._any)
    return Handler


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def get_request(self) -> tuple[socket.socket, object]:
        client, address = super().get_request()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, address

    def handle_error(self, *_: object) -> None:
        pass  # a client that went away


def _forwarded(port: int, asked: Asked) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        headers = {k: v for k, v in asked.headers.items() if k not in {"host", "connection", "accept-encoding"}}
        try:
            connection.request(asked.method, asked.path, asked.body or None, headers)
            answer = connection.getresponse()
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP}
            return answer.status, answer.read(), kept
        except OSError:
            return 502, b'{"message":"nobody there"}', {}
