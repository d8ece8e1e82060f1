"""The management API in its v2 dialect, under ``/internal/api/v2``: paths, pages, keys and the shape of errors."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flagbrake_split.emulator.compile import JSON
from flagbrake_split.emulator.desk import Refused, Words
from flagbrake_split.emulator.management import Management
from flagbrake_split.emulator.segments import Segments

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

BASE: Final = "/internal/api/v2"
#: The longest page of each list.
_PAGE: Final = {"default": 20, "flags": 50, "definitions": 50, "segments": 100, "workspaces": 200, "requests": 100}

#: What one call is given: the parts of its path, its query, its body, and who says what.
_Call = Callable[[Mapping[str, str], Mapping[str, Any], Any, Words], Any]


def error_body(status: int, message: str) -> JSON:
    """The body of an error."""
    return {"code": status, "message": message, "details": "", "transactionId": secrets.token_hex(6)[:11]}


def refusal(status: int) -> tuple[JSON, Mapping[str, str]]:
    """Body and headers of a refusal out of the blue; a rate limit says when to come back, by org and by address."""
    headers = {}
    if status == 429:
        headers = {
            "X-RateLimit-Remaining-Org": "0",
            "X-RateLimit-Remaining-IP": "0",
            "X-RateLimit-Reset-Seconds-Org": "1",
            "X-RateLimit-Reset-Seconds-IP": "2",
        }
    return error_body(status, "Too many requests" if status == 429 else f"Emulated {status}"), headers


class AdminV2:
    """The routes of v2.

    Args:
        keys: admin key -> its role, ``editor`` or ``viewer``; the beginning of the key is who it is in the history.
    """

    def __init__(self, management: Management, segments: Segments, keys: Mapping[str, str]) -> None:
        self._management = management
        self._segments = segments
        self._keys = keys

    def routes(self) -> list[BaseRoute]:
        """For the app. The order matters where a fixed word stands in a place that names fill elsewhere."""
        flag, definition = "/splits/ws/{ws}/{name}", "/splits/ws/{ws}/{name}/environments/{env}"
        return [
            self._route("GET", "/workspaces", self._workspaces),
            self._route("GET", "/environments/ws/{ws}", lambda *_: self._management.environments()),
            self._route("GET", "/trafficTypes/ws/{ws}", lambda *_: list(self._management.state.traffic_types)),
            self._route("POST", "/splits/ws/{ws}/trafficTypes/{tt}", self._create_flag),
            self._route("GET", "/splits/ws/{ws}/environments/{env}", self._definitions),
            self._route("GET", "/splits/ws/{ws}", self._flags),
            self._route("PUT", f"{flag}/updateDescription", self._describe),
            self._route("POST", f"{flag}/archive", lambda p, _, __, w: self._management.archive_flag(p["name"], w)),
            self._route("POST", f"{flag}/unarchive", lambda p, _, __, w: self._management.unarchive_flag(p["name"], w)),
            self._route("GET", flag, lambda p, *_: self._management.flag(p["name"])),
            self._route("PATCH", flag, lambda p, _, b, w: self._management.patch_flag(p["name"], b, w)),
            self._route("DELETE", flag, self._delete_flag),
            self._route("PUT", f"{definition}/kill", self._on(self._management.kill)),
            self._route("PUT", f"{definition}/restore", self._on(self._management.restore)),
            self._route("POST", f"{definition}/reallocate", self._on(self._management.reallocate)),
            self._route("GET", definition, lambda p, *_: self._management.definition(p["env"], p["name"])),
            self._route("POST", definition, self._with_body(self._management.create_definition)),
            self._route("PUT", definition, self._with_body(self._management.replace_definition)),
            self._route("PATCH", definition, self._with_body(self._management.patch_definition)),
            self._route("DELETE", definition, self._remove_definition),
            self._route("POST", "/tags/ws/{ws}/object/{name}/objecttype/Split", self._tag),
            *self._request_routes(),
            *self._segment_routes(),
            *self._rule_based_routes(),
        ]

    def _request_routes(self) -> list[BaseRoute]:
        return [
            self._route("GET", "/changeRequests", self._requests),
            self._route("POST", "/changeRequests/ws/{ws}/environments/{env}", self._request),
            self._route("PUT", "/changeRequests/{id}", lambda p, _, b, w: self._management.decide(p["id"], b, w)),
        ]

    def _segment_routes(self) -> list[BaseRoute]:
        s, one = self._segments, "/segments/{env}/{name}"
        return [
            self._route("POST", "/segments/ws/{ws}/trafficTypes/{tt}", lambda p, _, b, __: s.create(p["tt"], b)),
            self._route("GET", "/segments/ws/{ws}/environments/{env}", self._segments_in),
            self._route("GET", "/segments/ws/{ws}", lambda _, q, *__: page(s.all(), q, "segments")),
            self._route("DELETE", "/segments/ws/{ws}/{name}", lambda p, *_: s.delete(p["name"])),
            self._route("GET", f"{one}/keys", self._segment_keys),
            self._route("PUT", f"{one}/uploadKeys", self._upload),
            self._route("PUT", f"{one}/removeKeys", self._remove_keys),
            self._route("POST", one, lambda p, *_: s.add(p["env"], p["name"])),
            self._route("DELETE", one, lambda p, *_: s.remove(p["env"], p["name"])),
        ]

    def _rule_based_routes(self) -> list[BaseRoute]:
        s, one = self._segments, "/rule-based-segments/{env}/{name}"
        base = "/rule-based-segments/ws/{ws}"
        return [
            self._route("POST", f"{base}/trafficTypes/{{tt}}", lambda p, _, b, __: s.create_rule_based(p["tt"], b)),
            self._route("GET", f"{base}/environments/{{env}}", lambda p, *_: s.rule_based_in(p["env"])),
            self._route("GET", base, lambda *_: s.all_rule_based()),
            self._route("DELETE", f"{base}/{{name}}", lambda p, *_: s.delete_rule_based(p["name"])),
            self._route(
                "PUT",
                f"{base}/{{name}}/environments/{{env}}",
                lambda p, _, b, __: s.write_rule_based(p["env"], p["name"], b),
            ),
            self._route("POST", one, lambda p, *_: s.write_rule_based(p["env"], p["name"], {}, new=True)),
            self._route("DELETE", one, lambda p, *_: s.remove_rule_based(p["env"], p["name"])),
        ]

    # --- one call --------------------------------------------------------------------------------------------

    def _route(self, method: str, path: str, call: _Call) -> BaseRoute:
        from starlette.routing import Route

        async def endpoint(request: Request) -> Any:
            try:
                who = self._admitted(request)
                body = _body(await request.body())
                query = _query(request)
                return _answer(call(request.path_params, query, body, _words(who, query, body)))
            except Refused as error:
                return _refusal(error)

        return Route(BASE + path, endpoint, methods=[method])

    def _admitted(self, request: Request) -> str:
        """Who it is, if the key may do this in this workspace."""
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in self._keys:
            raise Refused(401, "Invalid API key.")
        if self._keys[key] != "editor" and request.method != "GET":
            raise Refused(403, "The role of this key does not permit this.")
        asked = request.path_params.get("ws")
        if asked not in {None, self._management.state.workspace["id"]}:
            raise Refused(404, f"Workspace not found: {asked}")
        return key.split("-", maxsplit=1)[0]

    def _on(self, deed: Callable[[str, str, Words], JSON]) -> _Call:
        return lambda path, _, __, words: deed(path["env"], path["name"], words)

    def _with_body(self, deed: Callable[[str, str, Any, Words], JSON]) -> _Call:
        return lambda path, _, body, words: deed(path["env"], path["name"], body, words)

    # --- what is more than one line -----------------------------------------------------------------------------

    def _workspaces(self, _: Any, query: Mapping[str, Any], *__: Any) -> JSON:
        return page(self._management.workspaces(), query, "workspaces")

    def _create_flag(self, path: Mapping[str, str], _: Any, body: Any, words: Words) -> JSON:
        return self._management.create_flag(path["tt"], body, words)

    def _flags(self, _: Any, query: Mapping[str, Any], *__: Any) -> JSON:
        found = self._management.flags(tags=tuple(query["tag"]), name=query.get("name", ""))
        return page(found, query, "flags")

    def _definitions(self, path: Mapping[str, str], query: Mapping[str, Any], *_: Any) -> JSON:
        return page(self._management.definitions(path["env"]), query, "definitions")

    def _describe(self, path: Mapping[str, str], _: Any, body: Any, words: Words) -> JSON:
        text = body if isinstance(body, str) else (body or {}).get("description", "")
        return self._management.describe(path["name"], text, words)

    def _delete_flag(self, path: Mapping[str, str], _: Any, __: Any, words: Words) -> bool:
        self._management.delete_flag(path["name"], words)
        return True

    def _remove_definition(self, path: Mapping[str, str], _: Any, __: Any, words: Words) -> bool:
        self._management.remove_definition(path["env"], path["name"], words)
        return True

    def _tag(self, path: Mapping[str, str], _: Any, body: Any, words: Words) -> list[JSON]:
        return self._management.tag(path["name"], body, words)

    def _requests(self, _: Any, query: Mapping[str, Any], *__: Any) -> JSON:
        found = self._management.change_requests(environment=query.get("environmentId"), status=query.get("status"))
        start = next((n + 1 for n, r in enumerate(found) if r["id"] == query.get("after")), 0)
        limit = _limit(query, "requests")
        shown = found[start : start + limit]
        more = shown[-1]["id"] if shown and start + limit < len(found) else None
        return {"data": shown, "nextMarker": more, "previousMarker": None, "limit": limit, "count": len(shown)}

    def _request(self, path: Mapping[str, str], _: Any, body: Any, words: Words) -> JSON:
        return self._management.request_change(path["env"], body, words)

    def _segments_in(self, path: Mapping[str, str], query: Mapping[str, Any], *_: Any) -> JSON:
        return page(self._segments.in_environment(path["env"]), query, "segments")

    def _segment_keys(self, path: Mapping[str, str], query: Mapping[str, Any], *_: Any) -> JSON:
        keys = [{"key": key} for key in self._segments.keys(path["env"], path["name"])]
        shown = page(keys, query, "segments")
        return {
            "keys": shown["objects"],
            "count": len(keys),
            "offset": shown["offset"],
            "limit": shown["limit"],
        }

    def _upload(self, path: Mapping[str, str], query: Mapping[str, Any], body: Any, _: Words) -> JSON:
        replace = str(query.get("replace", "")).lower() == "true"
        keys = self._segments.upload(path["env"], path["name"], (body or {}).get("keys"), replace=replace)
        return {"count": len(keys)}

    def _remove_keys(self, path: Mapping[str, str], _: Any, body: Any, __: Words) -> JSON:
        keys = self._segments.remove_keys(path["env"], path["name"], (body or {}).get("keys"))
        return {"count": len(keys)}


def page(found: Sequence[Any], query: Mapping[str, Any], kind: str) -> JSON:
    """One page of a list."""
    limit = _limit(query, kind)
    try:
        offset = max(0, int(query.get("offset", 0)))
    except ValueError:
        raise Refused(400, "offset is a number.") from None
    return {"objects": list(found[offset : offset + limit]), "offset": offset, "limit": limit, "totalCount": len(found)}


def _limit(query: Mapping[str, Any], kind: str) -> int:
    try:
        return min(max(1, int(query.get("limit", _PAGE["default"]))), _PAGE[kind])
    except ValueError:
        raise Refused(400, "limit is a number.") from None


def _query(request: Request) -> JSON:
    query: JSON = dict(request.query_params)
    query["tag"] = request.query_params.getlist("tag")
    return query


def _words(who: str, query: Mapping[str, Any], body: Any) -> Words:
    """Title and comment travel in the body where it is an object, or in the query."""
    said = body if isinstance(body, dict) else {}
    title, comment = (str(said.get(name) or query.get(name) or "") for name in ("title", "comment"))
    return Words(who, title, comment)


def _body(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        raise Refused(400, "The body is not JSON.") from None


def _answer(data: Any) -> Any:
    from starlette.responses import Response

    text = json.dumps(True if data is None else data, ensure_ascii=False)
    return Response(text, media_type="application/json")


def _refusal(error: Refused) -> Any:
    from starlette.responses import JSONResponse, Response

    if not error.message:
        return Response(status_code=error.status)
    return JSONResponse(error_body(error.status, error.message), error.status)
