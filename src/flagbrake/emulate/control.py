"""``/_emulator``: faults, streams and outages over HTTP, so that another process can drive them.

========================== ==================================================
GET ``/faults``            what is broken
POST ``/faults``           break something: the words of :class:`Fault`
DELETE ``/faults[/ID]``    mend everything, or one
GET ``/streams``           how many streams are open
DELETE ``/streams``        cut them
POST ``/offline``          ``{"seconds": 2}``: refuse connections for a while
========================== ==================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flagbrake.emulate.faults import CONTROL, Faults
from flagbrake.emulate.sse import Hub
from flagbrake.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute


def routes(faults: Faults, hub: Hub, offline: Callable[[float], None]) -> list[BaseRoute]:
    """The routes an emulator adds to its own."""
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def broken(request: Request) -> Response:
        match request.method:
            case "POST":
                try:
                    fault = faults.add(**_words(await request.body()))
                except InvalidInput as error:
                    return JSONResponse({"message": str(error)}, 400)
                return JSONResponse(fault.data(), 201)
            case "DELETE":
                number = request.path_params.get("id")
                faults.clear(number)
                return Response(status_code=204)
            case _:
                return JSONResponse([fault.data() for fault in faults.all()])

    async def streams(request: Request) -> Response:
        count = hub.cut() if request.method == "DELETE" else len(hub)
        return JSONResponse({"streams": count})

    async def away(request: Request) -> Response:
        try:
            seconds = float(_words(await request.body()).get("seconds", 1.0))
        except (InvalidInput, TypeError, ValueError):
            return JSONResponse({"message": 'Try: {"seconds": 2}'}, 400)
        # The answer leaves first: this connection, too, is closed.
        from starlette.background import BackgroundTask

        return JSONResponse({"seconds": seconds}, 202, background=BackgroundTask(offline, seconds))

    return [
        Route(f"{CONTROL}/faults", broken, methods=["GET", "POST", "DELETE"]),
        Route(f"{CONTROL}/faults/{{id:int}}", broken, methods=["DELETE"]),
        Route(f"{CONTROL}/streams", streams, methods=["GET", "DELETE"]),
        Route(f"{CONTROL}/offline", away, methods=["POST"]),
    ]


def _words(body: bytes) -> dict[str, Any]:
    try:
        words = json.loads(body or b"{}")
    except ValueError as error:
        raise InvalidInput(f"Not JSON: {error}.") from None
    if not isinstance(words, dict):
        raise InvalidInput("Not a JSON object.")
    return words
