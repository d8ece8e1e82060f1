"""What the harnesses of published providers share: a peer, what it cannot express, what runs, a loopback vendor."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from openfeature.provider import FeatureProvider

from flagbrake.model.state import Support
from flagbrake_contract import Harness, ProviderCapability
from flagbrake_contract.capability import ALL


@dataclass(frozen=True)
class Peer:
    """One provider: how it is started, and what its vendor has no words for (each with the reason)."""

    name: str
    title: str
    packages: tuple[str, ...]
    how: str
    harness: Callable[[Path], AbstractContextManager[Harness]]
    cannot: Mapping[ProviderCapability, str] = field(default_factory=dict)
    ours: bool = False
    #: Only the rules that begin so; all when empty.
    only: tuple[str, ...] = ()
    #: One harness for all rules, where a vendor takes seconds to start.
    shared: bool = False

    @property
    def capabilities(self) -> dict[ProviderCapability, Support]:
        """FULL but for what the vendor cannot do: what a provider merely leaves out counts as promised."""
        # To tell the keys is a method of our port: nobody else's provider could have it.
        port = () if self.ours else (ProviderCapability.KEYS,)
        return {**ALL, **dict.fromkeys((*port, *self.cannot), Support.VENDOR_CANNOT)}


class NotExpressible(Exception):
    """A seed flag has no counterpart in the vendor's format. What the rule was about could not be asked."""

    #: Every one since the last rule began: a rule may catch what its harness raises.
    seen: ClassVar[list[str]] = []

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.seen.append(why)


class Fleet:
    """The providers made by a harness, and which of them run. Shutdown is watched on the instance."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self._stopped: set[int] = set()
        self._started: set[int] = set()

    def add(self, provider: Any, *, started: bool = False) -> FeatureProvider:
        """Watch a new provider; ``started`` for one that runs from its constructor on."""
        self.made.append(provider)
        if started:
            self._started.add(id(provider))
        initialize, shutdown = provider.initialize, provider.shutdown

        def watched_initialize(evaluation_context: Any) -> None:
            initialize(evaluation_context)
            self._started.add(id(provider))
            self._stopped.discard(id(provider))

        def watched_shutdown() -> None:
            self._stopped.add(id(provider))
            shutdown()

        provider.initialize, provider.shutdown = watched_initialize, watched_shutdown
        return provider

    @property
    def running(self) -> list[Any]:
        """Started and not shut down."""
        return [p for p in self.made if id(p) in self._started and id(p) not in self._stopped]

    def settle(self, seen: Callable[[Any], bool], patience: float = 3.0) -> None:
        """Wait until every running provider has seen the vendor's state. One that never does is the rule's finding."""
        deadline = time.monotonic() + patience
        pause = threading.Event()
        for provider in self.running:
            while not seen(provider) and time.monotonic() < deadline:
                pause.wait(0.005)


# --- a vendor on the loopback ----------------------------------------------------------------------------


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = tuple[int, dict[str, str], bytes]


class Loopback:
    """A vendor's HTTP service on a port of this machine. It can go away and come back on the same port.

    ``answer`` gives status, headers and body, or an iterator of chunks that is sent until it ends or the
    connection does.
    """

    def __init__(self, answer: Callable[[Asked], Answer | Iterator[bytes]]) -> None:
        self._answer = answer
        self._server: _Server | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def there(self) -> bool:
        """True while it listens."""
        return self._server is not None

    def start(self) -> None:
        """Listen."""
        self._server = _Server(self.port, self._answer)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True, name="loopback").start()

    def stop(self) -> None:
        """Stop listening and cut every connection: from now on connections are refused."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.gone.set()
        server.shutdown()
        server.server_close()
        for connection in list(server.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # one write for headers and body
    server: _Server

    def setup(self) -> None:
        """Note the connection."""
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """Forget it."""
        self.server.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        """A client that hangs up is no event."""
        with suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's signature
        """Quiet."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
        answer = self.server.answer(asked)
        if not isinstance(answer, tuple):
            self._chunks(answer)
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = _serve  # noqa: N815 - the library's names

    def _chunks(self, chunks: Iterable[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
            if self.server.gone.is_set():
                break
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int, answer: Callable[[Asked], Answer | Iterator[bytes]]) -> None:
        self.answer = answer
        self.connections: set[socket.socket] = set()
        self.gone = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """One thread a connection, with a name that tells whose it is."""
        work = (request, client_address)
        threading.Thread(target=self.process_request_thread, args=work, daemon=True, name="loopback").start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no event."""


def refused_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def silent_server() -> socket.socket:
    """A port that lets everybody connect and never says a word: nobody accepts what waits in the queue."""
    return socket.create_server(("127.0.0.1", 0), backlog=64)
