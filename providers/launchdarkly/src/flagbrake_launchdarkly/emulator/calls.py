"""A request to the management API, and the table that leads to what answers it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flagbrake_launchdarkly.emulator.account import READER, WRITER, Account
from flagbrake_launchdarkly.emulator.editing import Json
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid, missing

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

_log = logging.getLogger("flagbrake.emulate.launchdarkly")
_READS: Final = frozenset({"GET", "HEAD"})
#: Sent with every answer; the emulator counts nothing, limits are injected as faults.
_LIMITS: Final = {"X-Ratelimit-Global-Remaining": "999", "X-Ratelimit-Route-Remaining": "99"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request, authorised."""

    account: Account
    method: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes
    token: str

    def body(self) -> Any:
        """The JSON it carries.

        Raises:
            Refusal: it is none.
        """
        try:
            return json.loads(self.content)
        except ValueError:
            raise invalid("Invalid request body: not JSON") from None

    def object(self) -> Json:
        """The JSON object it carries."""
        body = self.body()
        if not isinstance(body, dict):
            raise invalid("Invalid request body: not an object")
        return body

    def number(self, name: str, default: int) -> int:
        """A number of the query."""
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isdecimal():
            raise invalid(f"{name} must be a number")
        return int(text)

    def truth(self, name: str) -> bool:
        """A boolean of the query."""
        return self.query.get(name, "").lower() in {"true", "1"}


Answer = tuple[int, Any]
Serve = Callable[[Call], Answer]


def routes(account: Account, served: Iterable[tuple[str, str, Serve]]) -> list[BaseRoute]:
    """Routes of (method, path, function); a path's methods stand together."""
    from starlette.routing import Route

    table: dict[str, dict[str, Serve]] = {}
    for method, path, serve in served:
        table.setdefault(path, {})[method] = serve
    return [Route(path, _endpoint(account, methods), methods=[*methods]) for path, methods in table.items()]


def _endpoint(account: Account, methods: Mapping[str, Serve]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            token = _token(request)
            call = Call(
                account,
                method,
                request.path_params,
                dict(request.query_params),
                request.headers,
                await request.body(),
                token,
            )
            with account.lock:
                if request.path_params.get("project", account.project) != account.project:
                    raise missing("Unknown project key")
                return answer(*_served(methods[method], call))
        except Refusal as refusal:
            return answer(refusal.status, refusal.body())

    return endpoint


def _served(serve: Serve, call: Call) -> Answer:
    try:
        return serve(call)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if not call.content:
            raise
        # A body of another shape than its place asks for: nothing is kept before all of it was read.
        _log.debug("%s %s was refused", call.method, call.path, exc_info=True)
        raise invalid("Invalid request body") from error


def answer(status: int, body: Any) -> Response:
    """An answer with the headers of the management API."""
    from starlette.responses import Response

    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    return Response(content, status, headers=_LIMITS, media_type=None if body is None else "application/json")


def _token(request: Request) -> str:
    token = request.headers.get("authorization", "")
    if token not in {WRITER, READER}:
        raise Refusal(401)
    if token == READER and request.method not in _READS:
        raise Refusal(403)
    return token
