"""The SDK plane: what ``ldclient`` connects to."""

from __future__ import annotations

import gzip
import hashlib
import json
import secrets
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from flagbrake.emulate.sse import Hub, encoded
from flagbrake_launchdarkly.emulator import protocol2
from flagbrake_launchdarkly.emulator.account import Account
from flagbrake_launchdarkly.emulator.editing import Json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

#: Events of analytics that are kept.
_KEPT: Final = 10_000


class SdkPlane:
    """Streams, polls and takes in events. Threads may share it."""

    def __init__(self) -> None:
        self.hub = Hub()
        self._events: list[tuple[str, Json]] = []
        self._lock = threading.Lock()
        self._run = secrets.token_hex(4)
        #: Counts what streams were told: the state of the second protocol.
        self._changes = 0

    def publish(self, environment: str, kind: str, key: str, content: Json | None, version: int) -> None:
        """Tell the streams of an environment of a change; call it under the account's lock."""
        path = f"/{kind}/{key}"
        if content is None:
            self.hub.publish(environment, encoded("delete", {"path": path, "version": version}))
        else:
            self.hub.publish(environment, encoded("patch", {"path": path, "data": content}))
        self._changes += 1
        change = protocol2.change(kind, key, content, version)
        message = b"".join(
            encoded(*event) for event in (change, protocol2.transferred(self._run, environment, self._changes))
        )
        self.hub.publish(protocol2.topic(environment), message)

    def events(self, kind: str | None = None, environment: str | None = None) -> list[Json]:
        """What SDKs sent to ``/bulk`` and ``/diagnostic``, oldest first; the latter have the kind ``diagnostic...``."""
        with self._lock:
            found = list(self._events)
        return [e for env, e in found if kind in {None, e.get("kind")} and environment in {None, env}]

    def routes(self, account: Account) -> list[BaseRoute]:
        """The routes, over this account."""
        from starlette.routing import Route

        def guarded(serve: Callable[[Account, str, Request], Awaitable[Any]]) -> Callable[[Request], Any]:
            async def served(request: Request) -> Any:
                from starlette.responses import JSONResponse

                environment = account.environment_of(request.headers.get("authorization"))
                if environment is None:
                    return JSONResponse({"message": "Invalid SDK key"}, 401)
                return await serve(account, environment, request)

            return served

        return [
            Route("/all", guarded(self._stream)),
            Route("/sdk/latest-all", guarded(_poll)),
            Route("/sdk/stream", guarded(self._stream2)),
            Route("/sdk/poll", guarded(self._poll2)),
            Route("/bulk", guarded(self._take), methods=["POST"]),
            Route("/diagnostic", guarded(self._take), methods=["POST"]),
        ]

    async def _stream(self, account: Account, environment: str, _: Request) -> Any:
        # Under the lock no change falls between what the stream begins with and what it is told next.
        with account.lock:
            put = encoded("put", {"path": "/", "data": account.everything(environment)})
            return self.hub.stream([environment], [put], headers={"X-LD-EnvID": _id(account, environment)})

    async def _stream2(self, account: Account, environment: str, request: Request) -> Any:
        with account.lock:
            events = self._whole(account, environment, request)
            headers = {"X-LD-EnvID": _id(account, environment)}
            return self.hub.stream([protocol2.topic(environment)], [encoded(*event) for event in events], headers)

    async def _poll2(self, account: Account, environment: str, request: Request) -> Response:
        from starlette.responses import JSONResponse

        with account.lock:
            events = self._whole(account, environment, request)
        body = {"events": [{"event": event, "data": data} for event, data in events]}
        return JSONResponse(body, headers={"X-LD-EnvID": _id(account, environment)})

    def _whole(self, account: Account, environment: str, request: Request) -> list[tuple[str, Json]]:
        basis = request.query_params.get("basis")
        if basis == protocol2.state(self._run, environment, self._changes):
            return [protocol2.intent(self._run, "none", self._changes)]
        return protocol2.everything(account.everything(environment), self._run, environment, self._changes)

    async def _take(self, account: Account, environment: str, request: Request) -> Response:
        from starlette.responses import JSONResponse, Response

        body = await request.body()
        try:
            if request.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            sent = json.loads(body)
        except (ValueError, OSError):
            return JSONResponse({"message": "not JSON"}, 400)
        with self._lock:
            self._events += [(environment, one) for one in (sent if isinstance(sent, list) else [sent])]
            del self._events[:-_KEPT]
        account.wake()
        return Response(status_code=202)


async def _poll(account: Account, environment: str, request: Request) -> Response:
    from starlette.responses import Response

    body = json.dumps(account.everything(environment), ensure_ascii=False).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"ETag": tag, "X-LD-EnvID": _id(account, environment)}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _id(account: Account, environment: str) -> str:
    return str(account.environment(environment)["_id"])
