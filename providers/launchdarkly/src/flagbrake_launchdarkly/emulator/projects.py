"""The management API of the project, its environments and the audit log."""

from __future__ import annotations

from typing import Final

from flagbrake_launchdarkly.emulator.audit import matches, shown_entry
from flagbrake_launchdarkly.emulator.calls import Answer, Call, Serve
from flagbrake_launchdarkly.emulator.editing import Json
from flagbrake_launchdarkly.emulator.flags import link
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid, missing

_PROJECTS: Final = "/api/v2/projects"
_LARGEST: Final = 20


def list_projects(call: Call) -> Answer:
    """``GET /projects``."""
    made = {"items": [_shown_project(call)], "_links": {"self": link(_PROJECTS)}, "totalCount": 1}
    return 200, made


def get_project(call: Call) -> Answer:
    """``GET /projects/{p}``; its environments with ``expand=environments``."""
    return 200, _shown_project(call, whole="environments" in call.query.get("expand", ""))


def list_environments(call: Call) -> Answer:
    """``GET /projects/{p}/environments``."""
    items = [_shown_environment(call, one) for one in call.account.environments.values()]
    self_link = link(f"{_PROJECTS}/{call.account.project}/environments")
    return 200, {"items": items, "_links": {"self": self_link}, "totalCount": len(items)}


def get_environment(call: Call) -> Answer:
    """``GET /projects/{p}/environments/{e}``."""
    return 200, _shown_environment(call, call.account.environment(call.path["environment"]))


def create_environment(call: Call) -> Answer:
    """``POST /projects/{p}/environments``."""
    body = call.object()
    key, name = body.get("key"), body.get("name")
    if not isinstance(key, str) or not key or not isinstance(name, str) or not name:
        raise invalid("key and name are required")
    if key in call.account.environments:
        raise Refusal(409, "Environment key already exists", code="conflict")
    return 201, _shown_environment(call, call.account.add_environment(key, name))


def patch_environment(call: Call) -> Answer:
    """``PATCH /projects/{p}/environments/{e}``: a JSON patch of ``/approvalSettings/required``, and nothing else."""
    environment = call.account.environment(call.path["environment"])
    body = call.body()
    patch = body.get("patch") if isinstance(body, dict) else body
    for operation in patch if isinstance(patch, list) else [{}]:
        wanted = {"op": "replace", "path": "/approvalSettings/required", "value": operation.get("value")}
        if operation != wanted or not isinstance(operation["value"], bool):
            raise invalid("the emulator knows a replace of /approvalSettings/required only")
        environment["requiresApproval"] = operation["value"]
    call.account.saved()
    return 200, _shown_environment(call, environment)


def audit_log(call: Call) -> Answer:
    """``GET /auditlog``: the newest first."""
    limit = call.number("limit", 10)
    if not 1 <= limit <= _LARGEST:
        raise invalid("limit must be between 1 and 20")
    before, after = call.number("before", 1 << 62), call.number("after", 0)
    spec, query = call.query.get("spec"), call.query.get("q", "").lower()
    found = [
        entry
        for entry in reversed(call.account.data["audit"])
        if after < entry["date"] < before
        and (not spec or any(matches(spec, place) for place in entry["places"]))
        and query in f"{entry['name']} {entry['key']} {entry['comment']}".lower()
    ][:limit]
    items = [shown_entry(entry, call.account.project, whole=False) for entry in found]
    return 200, {"items": items, "_links": {"self": link("/api/v2/auditlog")}}


def audit_entry(call: Call) -> Answer:
    """``GET /auditlog/{id}``: with the resource before and after."""
    for entry in call.account.data["audit"]:
        if entry["_id"] == call.path["id"]:
            return 200, shown_entry(entry, call.account.project, whole=True)
    raise missing("Unknown audit log entry")


SERVED: Final[list[tuple[str, str, Serve]]] = [
    ("GET", _PROJECTS, list_projects),
    ("GET", f"{_PROJECTS}/{{project}}", get_project),
    ("GET", f"{_PROJECTS}/{{project}}/environments", list_environments),
    ("POST", f"{_PROJECTS}/{{project}}/environments", create_environment),
    ("GET", f"{_PROJECTS}/{{project}}/environments/{{environment}}", get_environment),
    ("PATCH", f"{_PROJECTS}/{{project}}/environments/{{environment}}", patch_environment),
    ("GET", "/api/v2/auditlog", audit_log),
    ("GET", "/api/v2/auditlog/{id}", audit_entry),
]


def _shown_project(call: Call, *, whole: bool = False) -> Json:
    key = call.account.project
    href = f"{_PROJECTS}/{key}"
    made: Json = {
        "_links": {"self": link(href), "environments": link(f"{href}/environments")},
        "_id": "57be1db38b75bf0772d11384",
        "key": key,
        "includeInSnippetByDefault": False,
        "defaultClientSideAvailability": {"usingMobileKey": False, "usingEnvironmentId": False},
        "name": key.replace("-", " ").title(),
        "tags": [],
    }
    if whole:
        items = [_shown_environment(call, one) for one in call.account.environments.values()]
        made["environments"] = {
            "_links": {"self": link(f"{href}/environments")},
            "items": items,
            "totalCount": len(items),
        }
    return made


def _shown_environment(call: Call, environment: Json) -> Json:
    approvals = {
        "required": environment["requiresApproval"],
        "bypassApprovalsForPendingChanges": False,
        "minNumApprovals": 1,
        "canReviewOwnRequest": True,
        "canApplyDeclinedChanges": False,
        "serviceKind": "launchdarkly",
        "serviceConfig": {},
        "requiredApprovalTags": [],
    }
    href = f"{_PROJECTS}/{call.account.project}/environments/{environment['key']}"
    return {
        "_links": {"self": link(href)},
        "_id": environment["_id"],
        "key": environment["key"],
        "name": environment["name"],
        "apiKey": environment["apiKey"],
        "mobileKey": environment["mobileKey"],
        "color": environment["color"],
        "defaultTtl": 0,
        "secureMode": False,
        "defaultTrackEvents": False,
        "requireComments": False,
        "confirmChanges": False,
        "tags": environment["tags"],
        "approvalSettings": approvals,
        "critical": False,
    }
