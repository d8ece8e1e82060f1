"""The management API of segments."""

from __future__ import annotations

import copy
import secrets
from typing import Final

from flagbrake_launchdarkly.emulator.account import Account
from flagbrake_launchdarkly.emulator.calls import Answer, Call, Serve
from flagbrake_launchdarkly.emulator.editing import Json, clause_of, new_id
from flagbrake_launchdarkly.emulator.flags import link, now
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid, missing
from flagbrake_launchdarkly.emulator.segment_patching import patched

_SEEDED: Final = (
    "included",
    "excluded",
    "includedContexts",
    "excludedContexts",
    "salt",
    "unbounded",
    "unboundedContextKind",
    "generation",
)
_SEGMENTS: Final = "/api/v2/segments/{project}/{environment}"


def put(account: Account, environment: str, sdk: Json, *, by: str) -> int:
    """Seed a segment from its streamed form; its version, which is the one given if that is newer."""
    with account.lock:
        account.environment(environment)
        present = account.segments(environment).get(sdk["key"])
        made = copy.deepcopy(present) if present is not None else new_segment(sdk["key"], sdk["key"])
        made.update({name: sdk[name] for name in _SEEDED if sdk.get(name) is not None})
        made["version"] = max(made["version"], sdk.get("version", 0))
        if "rules" in sdk:
            made["rules"] = [_rule(rule) for rule in sdk["rules"]]
        account.commit_segment(environment, sdk["key"], made, by=by)
        return int(account.segments(environment)[sdk["key"]]["version"])


def new_segment(key: str, name: str) -> Json:
    """An empty segment."""
    return {
        "key": key,
        "name": name,
        "description": "",
        "tags": [],
        "creationDate": now(),
        "lastModifiedDate": now(),
        "included": [],
        "excluded": [],
        "includedContexts": [],
        "excludedContexts": [],
        "rules": [],
        "salt": secrets.token_hex(16),
        "version": 0,
        "deleted": False,
        "unbounded": False,
        "generation": 1,
    }


def list_segments(call: Call) -> Answer:
    """``GET /segments/{p}/{e}``."""
    call.account.environment(call.path["environment"])
    items = [_shown(call, one) for one in call.account.segments(call.path["environment"]).values()]
    return 200, {"items": items, "_links": {"self": link(_href(call))}, "totalCount": len(items)}


def get_segment(call: Call) -> Answer:
    """``GET /segments/{p}/{e}/{s}``."""
    return 200, _shown(call, _segment(call))


def create_segment(call: Call) -> Answer:
    """``POST /segments/{p}/{e}``."""
    call.account.environment(call.path["environment"])
    body = call.object()
    key, name = body.get("key"), body.get("name")
    if not isinstance(key, str) or not key or not isinstance(name, str) or not name:
        raise invalid("key and name are required")
    if key in call.account.segments(call.path["environment"]):
        raise Refusal(409, "Segment key already exists", code="conflict")
    made = new_segment(key, name)
    made.update(description=body.get("description") or "", tags=list(body.get("tags") or ()))
    call.account.commit_segment(call.path["environment"], key, made, by=call.token, verb="created")
    return 201, _shown(call, made)


def delete_segment(call: Call) -> Answer:
    """``DELETE /segments/{p}/{e}/{s}``."""
    key = _segment(call)["key"]
    call.account.commit_segment(call.path["environment"], key, None, by=call.token, verb="deleted")
    return 204, None


def patch_segment(call: Call) -> Answer:
    """``PATCH /segments/{p}/{e}/{s}``."""
    before = _segment(call)
    after, comment = patched(before, call.body(), call.headers.get("content-type", ""))
    if call.truth("dryRun"):
        return 200, _shown(call, after)
    call.account.commit_segment(call.path["environment"], before["key"], after, by=call.token, comment=comment)
    return 200, _shown(call, after)


SERVED: Final[list[tuple[str, str, Serve]]] = [
    ("GET", _SEGMENTS, list_segments),
    ("POST", _SEGMENTS, create_segment),
    ("GET", f"{_SEGMENTS}/{{segment}}", get_segment),
    ("PATCH", f"{_SEGMENTS}/{{segment}}", patch_segment),
    ("DELETE", f"{_SEGMENTS}/{{segment}}", delete_segment),
]


def _rule(sdk: Json) -> Json:
    kept = {name: value for name, value in sdk.items() if name not in {"id", "clauses"}}
    return {"_id": sdk.get("id") or new_id(), **kept, "clauses": [clause_of(one) for one in sdk["clauses"]]}


def _segment(call: Call) -> Json:
    call.account.environment(call.path["environment"])
    found = call.account.segments(call.path["environment"]).get(call.path["segment"])
    if found is None:
        raise missing("Unknown segment key")
    return found


def _href(call: Call) -> str:
    return f"/api/v2/segments/{call.account.project}/{call.path['environment']}"


def _shown(call: Call, segment: Json) -> Json:
    made = {name: value for name, value in segment.items() if name != "salt"}
    made["_links"] = {"self": link(f"{_href(call)}/{segment['key']}"), "parent": link(_href(call))}
    return made
