"""Faults: what a vendor's bad day looks like, on request."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal

from flagbrake.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Never broken: the way to mend what is broken.
CONTROL: Final = "/_emulator"
#: The ASGI extension by which a server lets an app close its connection.
ABORT: Final = "flagbrake.abort"
_POLL: Final = 0.02


@dataclass(eq=False, slots=True)
class Fault:
    """What goes wrong, where and how often. Several parts may be combined; ``delay`` comes first.

    Args:
        path: a pattern of paths, as in ``/api/v2/flags/*``.
        method: only this method; any unless given.
        status: answer this instead, with ``headers`` and ``body`` (the vendor's usual one unless given).
        times: how many requests it takes; until it is cleared unless given.
        delay: seconds before anything else happens.
        hang: no answer until it is cleared or the client gives up.
        cut: close the connection without an answer, ``before`` or ``after`` the request did its work.
    """

    path: str = "*"
    method: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    times: int | None = None
    delay: float = 0.0
    hang: bool = False
    cut: Literal["before", "after"] | None = None
    id: int = 0
    #: How many requests it has met.
    met: int = 0

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "headers": dict(self.headers)}


Refusal = Callable[[int], tuple[Any, Mapping[str, str]]]


def plain_refusal(status: int) -> tuple[Any, Mapping[str, str]]:
    """The body and headers of a vendor that says nothing more than the status."""
    return {"message": f"status {status}"}, {}


class Faults:
    """The faults of one server, the oldest first. Threads may share it.

    Args:
        refusal: the vendor's own body and headers for a status.
    """

    def __init__(self, refusal: Refusal = plain_refusal) -> None:
        self.refusal = refusal
        self._faults: dict[int, Fault] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, path: str = "*", **what: Any) -> Fault:
        """Break something; see :class:`Fault` for the words.

        Raises:
            InvalidInput: an unknown word, or nothing that would go wrong.
        """
        try:
            fault = Fault(path, **what)
        except TypeError as error:
            raise InvalidInput(f"Not a fault: {error}.", cure=", ".join(Fault.__slots__)) from None
        if not (fault.status or fault.delay or fault.hang or fault.cut):
            raise InvalidInput("This fault does nothing.", cure="status, delay, hang or cut")
        if fault.cut not in {None, "before", "after"}:
            raise InvalidInput(f"cut is {fault.cut!r}.", cure="before or after")
        with self._lock:
            fault.id, fault.met = next(self._numbers), 0
            self._faults[fault.id] = fault
        return fault

    def clear(self, fault: Fault | int | None = None) -> None:
        """Mend one, or everything."""
        with self._lock:
            if fault is None:
                self._faults.clear()
            else:
                self._faults.pop(fault if isinstance(fault, int) else fault.id, None)

    def all(self) -> tuple[Fault, ...]:
        """What is broken now."""
        with self._lock:
            return tuple(self._faults.values())

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets, counted."""
        with self._lock:
            for fault in self._faults.values():
                spent = fault.times is not None and fault.met >= fault.times
                if spent or fault.method not in {None, method} or not fnmatchcase(path, fault.path):
                    continue
                fault.met += 1
                # One that hangs is kept although it is spent: clearing it lets go who hangs on it.
                if fault.met == fault.times and not fault.hang:
                    del self._faults[fault.id]
                return fault
        return None

    def holds(self, fault: Fault) -> bool:
        """True until it is cleared."""
        with self._lock:
            return fault.id in self._faults


class FaultyApp:
    """Stands before an app and does to its requests what the faults say."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self.app = app
        self.faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or not."""
        path = scope.get("path", "")
        fault = None
        if scope["type"] == "http" and not path.startswith(CONTROL):
            fault = self.faults.take(scope["method"], path)
        if fault is None:
            await self.app(scope, receive, send)
            return
        await asyncio.sleep(fault.delay)
        if fault.hang:
            await self._hang(fault, receive)
            await _abort(scope)
        elif fault.cut is not None:
            if fault.cut == "after":
                await self.app(scope, receive, _unheard)
            await _abort(scope)
        elif fault.status is not None:
            await self._refuse(fault, fault.status, send)
        else:
            await self.app(scope, receive, send)

    async def _hang(self, fault: Fault, receive: Receive) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            while self.faults.holds(fault) and not gone.done():
                await asyncio.wait([gone], timeout=_POLL)
        finally:
            gone.cancel()

    async def _refuse(self, fault: Fault, status: int, send: Send) -> None:
        body, headers = self.faults.refusal(status)
        told = {"content-type": "application/json", **headers, **fault.headers}
        content = b"" if status == 304 else json.dumps(body if fault.body is None else fault.body).encode()
        told["content-length"] = str(len(content))
        raw = [(name.lower().encode(), value.encode()) for name, value in told.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _abort(scope: Scope) -> None:
    """Close the connection without an answer; :class:`Server` offers how."""
    scope["extensions"][ABORT]()
    await asyncio.sleep(0)


async def _unheard(_: Message) -> None:
    """Nobody hears the answer."""
