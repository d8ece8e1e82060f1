"""A server on loopback, in a thread: start returns when it accepts, stop leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self

from flagbrake.emulate.faults import ABORT
from flagbrake.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp, Receive, Scope, Send

HOST: Final = "127.0.0.1"
_PATIENCE: Final = 30.0


class Server:
    """Serves an ASGI app on 127.0.0.1. Start and stop it at will: it keeps its port.

    Args:
        app: what is served.
        port: 0 takes a free one at the first start.
        before_stop: called when it stops or goes offline, in the caller's thread (to end streams).
    """

    def __init__(self, app: ASGIApp, *, port: int = 0, before_stop: Callable[[], Any] = lambda: None) -> None:
        self._app = app
        self._before_stop = before_stop
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._ended = threading.Event()
        self._ended.set()
        self.port = port

    @property
    def url(self) -> str:
        """Where it is; the port is known after the first start."""
        return f"http://{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """True between start and stop."""
        with self._lock:
            return self._running is not None

    def start(self) -> Self:
        """Accept connections; nothing happens if it does already.

        Raises:
            ConfigError: the port is taken.
            MissingExtra: uvicorn is not installed.
        """
        with self._lock:
            if self._running is None:
                listening = _listen(self.port)
                self.port = listening.getsockname()[1]
                try:
                    self._running = _Running(self._app, listening)
                except BaseException:
                    listening.close()
                    raise
                self._ended.clear()
        return self

    def stop(self) -> None:
        """Close every connection and refuse new ones; returns when the thread is gone."""
        self._ended.set()
        self._close()

    def offline(self, seconds: float) -> None:
        """Be unreachable for a while: connections are closed and refused. Returns at once."""

        def away() -> None:
            self._close()
            if not self._ended.wait(seconds):  # stopped in the meantime, it stays stopped
                with contextlib.suppress(ConfigError):
                    self.start()

        threading.Thread(target=away, name="emulator-offline", daemon=True).start()

    def wait(self) -> None:
        """Block until it is stopped or interrupted."""
        # A plain wait() would not notice Ctrl-C on every platform.
        while not self._ended.wait(0.5):
            pass

    def _close(self) -> None:
        with self._lock:
            running, self._running = self._running, None
            if running is not None:
                self._before_stop()
                running.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Running:
    """One run: a thread with a loop of its own."""

    def __init__(self, app: ASGIApp, listening: socket.socket) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._ready = threading.Event()
        self._app = app
        self._server = _uvicorn(self._abortable)
        self._thread = threading.Thread(target=self._run, args=(listening,), name="emulator", daemon=True)
        self._thread.start()
        self._ready.wait(_PATIENCE)

    def stop(self) -> None:
        if self._loop is not None and self._end is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    async def _abortable(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app, which may close its connection without an answer. ASGI itself has no word for that."""
        scope.setdefault("extensions", {})[ABORT] = lambda: self._abort(scope.get("client"))
        await self._app(scope, receive, send)

    def _abort(self, client: Any) -> None:
        for connection in list(self._server.server_state.connections):
            if getattr(connection, "client", None) == client:
                _close(connection)

    def _run(self, listening: socket.socket) -> None:
        asyncio.run(self._serve(listening))

    async def _serve(self, listening: socket.socket) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = self._server
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[listening])
        self._ready.set()
        ticks = 0
        while not self._end.is_set():
            # uvicorn renews its Date header in these ticks, ten a second.
            await server.on_tick(ticks)
            ticks += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), 0.1)
        await _shut(server)


async def _shut(server: uvicorn.Server) -> None:
    """Close at once. uvicorn's own shutdown waits for open requests, and a stream is open for ever."""
    for listener in server.servers:
        listener.close()
    # What streams were told last is written before the line is closed.
    await asyncio.sleep(0)
    tasks = list(server.server_state.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for connection in list(server.server_state.connections):
        _close(connection)
    await asyncio.sleep(0)


def _close(connection: object) -> None:
    transport = getattr(connection, "transport", None)
    if transport is not None:
        transport.abort()


def _uvicorn(app: ASGIApp) -> uvicorn.Server:
    try:
        import uvicorn
    except ImportError:
        raise MissingExtra(
            "An emulator needs starlette and uvicorn, which are not installed.",
            cure="pip install 'flagbrake[emulator]'",
        ) from None
    config = uvicorn.Config(
        app,
        interface="asgi3",
        lifespan="off",
        http="h11",
        ws="none",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        log_level="critical",  # a cut stream is an error to uvicorn, and on purpose here
    )
    return uvicorn.Server(config)


def _listen(port: int) -> socket.socket:
    # With its protocol named asyncio sets TCP_NODELAY on what it accepts; without, every answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(256)
    except OSError as error:
        listening.close()
        raise ConfigError(f"{HOST}:{port} cannot be used ({error.strerror}).", cure="another --port") from error
    return listening
