"""A TCP proxy in front of PostgreSQL that can freeze, or swallow notifications as a transaction pooler does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path


class Proxy:
    """Forwards connections to a server's Unix socket; it understands just enough of the wire protocol."""

    def __init__(self, folder: Path, *, swallow: bool = False) -> None:
        self._target = str(folder / ".s.PGSQL.5432")
        self._swallow = swallow
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def url(self, database: str) -> str:
        """The address through the proxy."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable&gssencmode=disable"

    def freeze(self) -> None:
        """Take no byte any more, and close nothing: how a frozen backend looks."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Go on."""
        self._flowing.set()

    def close(self) -> None:
        """End everything."""
        self._flowing.set()
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._sockets += [client, server]
            self._start(self._pump, client, server)
            self._start(self._messages if self._swallow else self._pump, server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
        self._end(source, sink)

    def _messages(self, source: socket.socket, sink: socket.socket) -> None:
        """From the server: message by message, without the NotificationResponse ('A')."""
        with contextlib.suppress(OSError, struct.error), source.makefile("rb") as stream:
            while head := stream.read(5):
                kind, length = struct.unpack("!cI", head)
                body = stream.read(length - 4)
                if kind != b"A":
                    sink.sendall(head + body)
        self._end(source, sink)

    def _end(self, *sockets: socket.socket) -> None:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
