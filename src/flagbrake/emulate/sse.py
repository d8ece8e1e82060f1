"""Server-sent events: who listens, and what they are told. Publish from any thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

#: A comment, which every client skips.
HEARTBEAT: Final = b":\n\n"


def encoded(event: str | None, data: Any, *, id: str | None = None) -> bytes:  # noqa: A002 - the field's own name
    """One event as it goes over the wire; ``data`` that is no string becomes JSON on one line."""
    lines = [] if id is None else [f"id: {id}"]
    if event is not None:
        lines.append(f"event: {event}")
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    lines += [f"data: {line}" for line in text.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


class _Ending:
    """What a listener's queue carries last."""

    CLEAN: Final = object()
    ABRUPT: Final = object()


@dataclass(eq=False, slots=True)
class Listener:
    """One open stream."""

    topics: frozenset[str]
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    def put(self, item: Any) -> None:
        """Hand over from any thread, in order; a loop that has ended takes nothing."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.queue.put_nowait, item)


class Hub:
    """The open streams of one server. A new stream gets nothing that was published before it.

    Args:
        heartbeat: seconds of silence after which a comment is sent.
    """

    def __init__(self, heartbeat: float = 15.0) -> None:
        self.heartbeat = heartbeat
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._mute = False

    def __len__(self) -> int:
        with self._lock:
            return len(self._listeners)

    def count(self, topic: str) -> int:
        """How many streams listen to a topic."""
        with self._lock:
            return sum(topic in listener.topics for listener in self._listeners)

    def publish(self, topic: str, message: bytes) -> int:
        """Tell everybody on this topic; how many were told. ``message`` is made by :func:`encoded`."""
        with self._lock:
            told = [] if self._mute else [one for one in self._listeners if topic in one.topics]
            for listener in told:
                listener.put(message)
        return len(told)

    def stream(
        self, topics: Iterable[str], first: Iterable[bytes] = (), headers: dict[str, str] | None = None
    ) -> Stream:
        """The answer that holds a stream open, beginning with ``first``.

        Call it in the server's loop, and under the lock that also guards ``publish`` when nothing may fall between
        ``first`` and the next event: from this call on the stream misses nothing.
        """
        listener = Listener(frozenset(topics), asyncio.get_running_loop())
        with self._lock:
            self._listeners.append(listener)
            for message in first:
                listener.put(message)
        return Stream(self, listener, headers or {})

    def cut(self, *, clean: bool = False) -> int:
        """End every open stream, in the middle as a broken line does, or with an orderly end; how many there were."""
        with self._lock:
            cut, self._listeners = self._listeners, []
            for listener in cut:
                listener.put(_Ending.CLEAN if clean else _Ending.ABRUPT)
        return len(cut)

    def mute(self, *, on: bool = True) -> None:
        """Lose what is published from now on, while streams stay open: a vendor whose updates do not arrive."""
        with self._lock:
            self._mute = on

    def leave(self, listener: Listener) -> None:
        """The stream is over."""
        with self._lock, contextlib.suppress(ValueError):
            self._listeners.remove(listener)


class Stream:
    """An ASGI answer: events until somebody ends it. Chunked, since it has no length."""

    def __init__(self, hub: Hub, listener: Listener, headers: dict[str, str]) -> None:
        self._hub = hub
        self._listener = listener
        self._headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        gone = asyncio.ensure_future(self._gone(receive))
        try:
            headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while True:
                item = await self._next()
                if item is _Ending.ABRUPT:
                    return  # the server closes a connection whose answer is not complete
                if item is _Ending.CLEAN:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
                await send({"type": "http.response.body", "body": item, "more_body": True})
        finally:
            self._hub.leave(self._listener)
            gone.cancel()

    async def _next(self) -> Any:
        try:
            return await asyncio.wait_for(self._listener.queue.get(), self._hub.heartbeat)
        except TimeoutError:
            return HEARTBEAT

    async def _gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._listener.queue.put_nowait(_Ending.ABRUPT)
