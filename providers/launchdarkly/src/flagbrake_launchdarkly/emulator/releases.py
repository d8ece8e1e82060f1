"""Releases (beta): enough to be started, found and stopped. Phases are not driven: no metric is ever looked at."""

from __future__ import annotations

import copy
from typing import Any, Final

from flagbrake_launchdarkly.emulator import pending
from flagbrake_launchdarkly.emulator.calls import Answer, Call, Serve
from flagbrake_launchdarkly.emulator.editing import (
    WHOLE,
    Edit,
    Json,
    check_flag,
    clause_of,
    index_of,
    new_id,
)
from flagbrake_launchdarkly.emulator.flags import now
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid, missing

_PATH: Final = "/api/v2/projects/{project}/flags/{flag}/environments/{environment}/releases"
_GUARDED_MOST: Final = 50_000
_RESOLUTIONS: Final = frozenset(
    {
        "roll_forward_all_phases",
        "roll_forward_current_phase_and_remove_pending_phases",
        "roll_back_all_phases_and_remove_pending_phases",
        "roll_back_current_phase_and_remove_pending_phases",
    }
)


def list_releases(call: Call) -> Answer:
    """``GET .../releases``."""
    _flag(call)
    kind = call.query.get("filter", "")
    found = [one for one in _mine(call) if "kind" not in kind or f'"{one["kind"]}"' in kind or one["kind"] in kind]
    limit, offset = min(call.number("limit", 25), 100), call.number("offset", 0)
    return 200, {"items": [_shown(one) for one in found[offset : offset + limit]], "totalCount": len(found)}


def start(call: Call) -> Answer:
    """``POST .../releases``: one phase at least; its rule serves the first step's allocation from now on."""
    account, body, flag = call.account, call.object(), _flag(call)
    environment = call.path["environment"]
    if account.environment(environment)["requiresApproval"]:
        raise Refusal(405)
    if not flag["environments"][environment]["on"]:
        raise Refusal(409, "the flag must be on", code="flag_off")
    if pending.active_release(account, flag["key"], environment) is not None:
        raise Refusal(409, "a release is already active on this flag", code="release_already_active")
    made = _release(call, flag, body)
    after = copy.deepcopy(flag)
    for index, phase in enumerate(made["phases"]):
        rule = _rule_of(Edit(after, environment, account.flags), body["phases"][index], made, phase)
        phase["ruleId"] = rule["_id"]
    check_flag(after)
    account.data["releases"].append(made)
    account.commit_flag(flag["key"], after, by=call.token, comment=str(body.get("comment") or ""))
    account.saved()
    return 201, _shown(made)


def get_release(call: Call) -> Answer:
    """``GET .../releases/{id}``."""
    return 200, _shown(_one(call))


def stop(call: Call) -> Answer:
    """``PUT .../releases/{id}/stop``: forward or back; one that has ended is left alone."""
    one, resolution = _one(call), call.object().get("resolution")
    if resolution not in _RESOLUTIONS:
        raise invalid("unknown resolution")
    if one["status"] in {"completed", "reverted"}:
        return 200, _shown(one)
    forward = resolution.startswith("roll_forward")
    status, reason = ("completed", "completed_manual") if forward else ("reverted", "reverted_manual")
    served = one["targetVariationId"] if forward else one["originalVariationId"]
    after = copy.deepcopy(_flag(call))
    rules = after["environments"][one["environmentKey"]]["rules"]
    for phase in one["phases"]:
        phase.update(status=status, statusReason=reason, endedAt=now())
        for rule in rules:
            if rule["_id"] == phase["ruleId"]:
                rule.pop("rollout", None)
                rule.update(variation=index_of(after, served), disabled=False)
    one.update(status=status, statusReason=reason, endedAt=now(), currentPhaseIndex=None)
    call.account.commit_flag(after["key"], after, by=call.token, comment=resolution)
    call.account.saved()
    return 200, _shown(one)


def beta(serve: Serve) -> Serve:
    """A resource that is beta: without ``LD-API-Version: beta`` it is refused."""

    def served(call: Call) -> Answer:
        if call.headers.get("ld-api-version") != "beta":
            raise Refusal(403, "This is a beta resource: send the header LD-API-Version: beta.")
        return serve(call)

    return served


SERVED: Final[list[tuple[str, str, Serve]]] = [
    ("GET", _PATH, beta(list_releases)),
    ("POST", _PATH, beta(start)),
    ("GET", f"{_PATH}/{{id}}", beta(get_release)),
    ("PUT", f"{_PATH}/{{id}}/stop", beta(stop)),
]


def _release(call: Call, flag: Json, body: Json) -> Json:
    phases = body.get("phases")
    if not isinstance(phases, list) or not phases:
        raise invalid("phases must be a list that is not empty")
    metrics = body.get("metrics") or []
    original, target = (_variation(flag, body, name) for name in ("originalVariationId", "targetVariationId"))
    if original is target:
        raise invalid("originalVariationId and targetVariationId must differ")
    started = now()
    made: Json = {
        "id": new_id(),
        "status": "in_progress",
        "projectKey": call.account.project,
        "environmentKey": call.path["environment"],
        "flagKey": flag["key"],
        "originalVariationId": original["_id"],
        "originalVariationValue": original["value"],
        "targetVariationId": target["_id"],
        "targetVariationValue": target["value"],
        "randomizationUnit": body.get("randomizationUnit") or "user",
        "cleanupBehavior": body.get("cleanupBehavior") or "leave_rules_in_place",
        "kind": "guarded" if metrics else "progressive",
        "metrics": [{"metricKey": one["metricKey"], "autoRollback": bool(one.get("autoRollback"))} for one in metrics],
        "currentPhaseIndex": 0,
        "advancementMode": body.get("advancementMode") or "automatic",
        "createdAt": started,
        "startedAt": started,
    }
    made["phases"] = [_phase(made, index, phase, started) for index, phase in enumerate(phases)]
    return made


def _variation(flag: Json, body: Json, name: str) -> Json:
    found: Json = flag["variations"][index_of(flag, str(body.get(name)))]
    return found


def _phase(release: Json, index: int, given: Any, started: int) -> Json:
    steps = given.get("steps") if isinstance(given, dict) else None
    if not isinstance(steps, list) or not steps:
        raise invalid("a phase needs steps")
    most = _GUARDED_MOST if release["kind"] == "guarded" else WHOLE
    for step in steps:
        if not isinstance(step.get("allocation"), int) or not 1 <= step["allocation"] <= most:
            raise invalid(f"an allocation must be between 1 and {most}")
        if not isinstance(step.get("durationMillis"), int) or step["durationMillis"] < 1:
            raise invalid("durationMillis must be a positive integer")
    first = index == 0
    made: Json = {
        "id": new_id(),
        "phaseIndex": index,
        "ruleId": None,
        "description": given.get("description") or "",
        "status": "in_progress" if first else "pending",
        "steps": [
            {"stepIndex": at, **{k: s[k] for k in ("allocation", "durationMillis")}} for at, s in enumerate(steps)
        ],
        "metricStatuses": {one["metricKey"]: "ok" for one in release["metrics"]},
    }
    if first:
        made.update(currentStepIndex=0, startedAt=started)
        made["steps"][0]["startedAt"] = started
    return made


def _rule_of(edit: Edit, given: Json, release: Json, phase: Json) -> Json:
    """The rule of a phase, made or found, which serves its first step; those of later phases stay disabled."""
    if given.get("ruleId"):
        rule = edit.rule(given["ruleId"])
        rule.pop("variation", None)
    else:
        clauses = [clause_of(one) for one in given.get("clauses") or ()]
        if not clauses:
            raise invalid("a phase needs a ruleId or clauses")
        rule = {"_id": new_id(), "clauses": clauses, "trackEvents": False, "description": phase["description"]}
        edit.config["rules"].append(rule)
    unit = release["randomizationUnit"]
    wanted = {"contextKind": unit, "attribute": "kind", "op": "in", "values": [unit], "negate": False}
    if not any({name: one.get(name) for name in wanted} == wanted for one in rule["clauses"]):
        raise invalid(f"the rule must be limited to contexts of kind '{unit}'")
    share = phase["steps"][0]["allocation"]
    original, target = edit.index(release["originalVariationId"]), edit.index(release["targetVariationId"])
    weights = sorted([(original, WHOLE - share), (target, share)])
    rule["rollout"] = {"contextKind": unit, "variations": [{"variation": v, "weight": w} for v, w in weights]}
    rule["disabled"] = phase["phaseIndex"] > 0
    return rule


def _flag(call: Call) -> Json:
    call.account.environment(call.path["environment"])
    return call.account.flag(call.path["flag"])


def _mine(call: Call) -> list[Json]:
    where = (call.path["flag"], call.path["environment"])
    return [one for one in reversed(call.account.data["releases"]) if (one["flagKey"], one["environmentKey"]) == where]


def _one(call: Call) -> Json:
    _flag(call)
    for one in _mine(call):
        if one["id"] == call.path["id"]:
            return one
    raise missing("Unknown release")


def _shown(one: Json) -> Json:
    return copy.deepcopy(one)
