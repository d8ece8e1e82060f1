"""Approval requests of a flag: asked for, reviewed, applied."""

from __future__ import annotations

from typing import Final

from flagbrake_launchdarkly.emulator.account import MEMBER
from flagbrake_launchdarkly.emulator.calls import Answer, Call, Serve
from flagbrake_launchdarkly.emulator.editing import Json, new_id
from flagbrake_launchdarkly.emulator.flags import link, now
from flagbrake_launchdarkly.emulator.patching import applied
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid, missing

_PATH: Final = "/api/v2/projects/{project}/flags/{flag}/environments/{environment}/approval-requests"
_REVIEWS: Final = {"approve": "approved", "decline": "declined", "comment": None}


def list_requests(call: Call) -> Answer:
    """``GET .../approval-requests``."""
    _flag(call)
    return 200, {"items": [_shown(call, one) for one in _mine(call)], "_links": {"self": link(_href(call))}}


def create_request(call: Call) -> Answer:
    """``POST .../approval-requests``."""
    body = call.object()
    if not isinstance(body.get("description"), str):
        raise invalid("description is required")
    applied(call.account, _flag(call), call.path["environment"], body.get("instructions"))
    made = {
        "_id": new_id().replace("-", "")[:24],
        "_version": 1,
        "flag": call.path["flag"],
        "environment": call.path["environment"],
        "creationDate": now(),
        "serviceKind": "launchdarkly",
        "requestorId": MEMBER,
        "description": body["description"],
        "comment": str(body.get("comment") or ""),
        "reviewStatus": "pending",
        "allReviews": [],
        "notifyMemberIds": list(body.get("notifyMemberIds") or ()),
        "status": "pending",
        "instructions": body["instructions"],
        "conflicts": [],
    }
    call.account.data["approvals"].append(made)
    call.account.saved()
    return 201, _shown(call, made)


def get_request(call: Call) -> Answer:
    """``GET .../approval-requests/{id}``."""
    return 200, _shown(call, _one(call))


def delete_request(call: Call) -> Answer:
    """``DELETE .../approval-requests/{id}``."""
    call.account.data["approvals"].remove(_one(call))
    call.account.saved()
    return 204, None


def review(call: Call) -> Answer:
    """``POST .../approval-requests/{id}/reviews``: approve, decline or comment."""
    one, body = _one(call), call.object()
    kind = body.get("kind", "comment")
    if kind not in _REVIEWS:
        raise invalid("kind must be approve, decline or comment")
    if one["status"] != "pending":
        raise invalid("the approval request is applied already")
    made = {"_id": new_id().replace("-", "")[:24], "kind": kind, "creationDate": now(), "memberId": MEMBER}
    one["allReviews"].append({**made, "comment": str(body.get("comment") or "")})
    one["reviewStatus"] = _REVIEWS[kind] or one["reviewStatus"]
    one["_version"] += 1
    call.account.saved()
    return 200, _shown(call, one)


def apply(call: Call) -> Answer:
    """``POST .../approval-requests/{id}/apply``: once, after an approval; the environment's own rule is met by it."""
    one, body = _one(call), call.object() if call.content else {}
    if one["status"] != "pending":
        raise invalid("the approval request is applied already")
    if one["reviewStatus"] != "approved":
        raise Refusal(400, "the approval request is not approved")
    after = applied(call.account, _flag(call), one["environment"], one["instructions"])
    one.update(status="completed", appliedDate=now(), appliedByMemberId=MEMBER)
    one["_version"] += 1
    comment = str(body.get("comment") or one["comment"])
    call.account.commit_flag(one["flag"], after, by=call.token, comment=comment)
    call.account.saved()
    return 200, _shown(call, one)


SERVED: Final[list[tuple[str, str, Serve]]] = [
    ("GET", _PATH, list_requests),
    ("POST", _PATH, create_request),
    ("GET", f"{_PATH}/{{id}}", get_request),
    ("DELETE", f"{_PATH}/{{id}}", delete_request),
    ("POST", f"{_PATH}/{{id}}/reviews", review),
    ("POST", f"{_PATH}/{{id}}/apply", apply),
]


def _flag(call: Call) -> Json:
    call.account.environment(call.path["environment"])
    return call.account.flag(call.path["flag"])


def _mine(call: Call) -> list[Json]:
    where = (call.path["flag"], call.path["environment"])
    return [one for one in call.account.data["approvals"] if (one["flag"], one["environment"]) == where]


def _one(call: Call) -> Json:
    _flag(call)
    for one in _mine(call):
        if one["_id"] == call.path["id"]:
            return one
    raise missing("Unknown approval request")


def _href(call: Call) -> str:
    flag, environment = call.path["flag"], call.path["environment"]
    return f"/api/v2/projects/{call.account.project}/flags/{flag}/environments/{environment}/approval-requests"


def _shown(call: Call, one: Json) -> Json:
    made = {name: value for name, value in one.items() if name not in {"flag", "environment", "comment"}}
    made["_links"] = {"self": link(f"{_href(call)}/{one['_id']}"), "parent": link(_href(call))}
    return made
