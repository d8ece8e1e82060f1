"""What waits: approvals, scheduled changes, releases, and what they do to a patch."""

from __future__ import annotations

import time
from typing import Any

import launchdarkly_api as generated
import pytest
from launchdarkly_api.models.environment_release import EnvironmentRelease
from launchdarkly_api.models.environment_release_collection import EnvironmentReleaseCollection

from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from tests.launchdarkly.emulator.clients import Api

HERE = "/projects/default/flags/f/environments/production"
BETA = {"LD-API-Version": "beta"}
USERS = {"contextKind": "user", "attribute": "kind", "op": "in", "values": ["user"], "negate": False}


@pytest.fixture
def ids(api: Api) -> list[str]:
    """The IDs of a flag's variations."""
    made = api.create("f", variations=[{"value": "a"}, {"value": "b"}, {"value": "c"}])
    return [variation["_id"] for variation in made["variations"]]


def test_approvals_are_required(ld: LaunchDarklyEmulator, api: Api, ids: list[str]) -> None:
    """Where approvals are required every direct change is 405; elsewhere, and of the flag itself, none is."""
    ld.require_approvals("production")
    assert api.ask("GET", "/projects/default/environments/production")["approvalSettings"]["required"]
    error = api.semantic("f", {"kind": "turnFlagOn"}, status=405)
    assert error == {**error, "code": "method_not_allowed", "message": "Approval is required to make this request"}
    on = [{"op": "replace", "path": "/environments/production/on", "value": True}]
    api.ask("PATCH", "/flags/default/f", status=405, json=on)
    body = {"source": {"key": "test"}, "target": {"key": "production"}}
    api.ask("POST", "/flags/default/f/copy", status=405, json=body)
    api.semantic("f", {"kind": "turnFlagOn"}, environment="test")
    api.semantic("f", {"kind": "addTags", "values": ["x"]}, environment=None)
    assert not api.flag("f")["environments"]["production"]["on"]
    ld.require_approvals("production", on=False)
    api.semantic("f", {"kind": "turnFlagOn"})


def test_approvals_are_switched_over_http(api: Api, ids: list[str]) -> None:
    """Another process switches them by a patch of the environment."""
    path = "/projects/default/environments/production"
    on = [{"op": "replace", "path": "/approvalSettings/required", "value": True}]
    assert api.ask("PATCH", path, generated.Environment, json=on)["approvalSettings"]["required"]
    api.semantic("f", {"kind": "turnFlagOn"}, status=405)
    api.ask("PATCH", path, status=400, json=[{"op": "replace", "path": "/name", "value": "x"}])


def test_an_approved_request_is_applied_once(ld: LaunchDarklyEmulator, api: Api, ids: list[str]) -> None:
    """Asked for, approved, applied: only then the flag changes, and a second time is refused."""
    ld.require_approvals("production")
    body = {"description": "go", "comment": "c", "instructions": [{"kind": "turnFlagOn"}]}
    model = generated.FlagConfigApprovalRequestResponse
    made = api.ask("POST", f"{HERE}/approval-requests", model, 201, json=body)
    path = f"{HERE}/approval-requests/{made['_id']}"
    api.ask("POST", f"{path}/apply", status=400, json={})
    api.ask("POST", f"{path}/reviews", status=400, json={"kind": "shrug"})
    assert api.ask("POST", f"{path}/reviews", model, json={"kind": "comment"})["reviewStatus"] == "pending"
    assert api.ask("POST", f"{path}/reviews", model, json={"kind": "decline"})["reviewStatus"] == "declined"
    api.ask("POST", f"{path}/apply", status=400)
    assert api.ask("POST", f"{path}/reviews", model, json={"kind": "approve"})["reviewStatus"] == "approved"
    assert not api.flag("f")["environments"]["production"]["on"]
    assert api.ask("POST", f"{path}/apply", model, json={"comment": "go"})["status"] == "completed"
    assert api.flag("f")["environments"]["production"]["on"]
    api.ask("POST", f"{path}/apply", status=400)
    api.ask("POST", f"{path}/reviews", status=400, json={"kind": "approve"})
    assert api.ask("GET", path, model)["status"] == "completed"
    listed = api.ask("GET", f"{HERE}/approval-requests", generated.FlagConfigApprovalRequestsResponse)
    assert [one["_id"] for one in listed["items"]] == [made["_id"]]
    api.ask("DELETE", path, status=204)
    api.ask("GET", path, status=404)
    api.ask("POST", f"{HERE}/approval-requests", status=400, json={"instructions": []})


def _schedule(api: Api, *instructions: Any, at: float = 3600, status: int = 201) -> Any:
    body = {"executionDate": int((time.time() + at) * 1000), "instructions": list(instructions), "comment": "later"}
    return api.ask("POST", f"{HERE}/scheduled-changes", generated.FeatureFlagScheduledChange, status, json=body)


def test_a_conflict_with_what_is_scheduled(api: Api, ids: list[str]) -> None:
    """A patch after which a scheduled change could not be carried out is refused, unless conflicts are ignored."""
    _schedule(api, {"kind": "updateFallthroughVariationOrRollout", "variationId": ids[1]})
    gone = {"kind": "removeVariation", "variationId": ids[1]}
    before = api.flag("f", None)
    assert api.semantic("f", gone, environment=None, status=400)["code"] == "invalid_request"
    api.semantic("f", {"kind": "deleteFlag"}, environment=None, status=400)
    assert api.flag("f", None) == before
    api.semantic("f", {"kind": "turnFlagOn"})
    api.semantic("f", gone, environment=None, query={"ignoreConflicts": "true"})
    assert len(api.flag("f")["variations"]) == 2


def test_scheduled_changes(api: Api, ids: list[str]) -> None:
    """They are listed, read, changed by their own instructions, and deleted."""
    model = generated.FeatureFlagScheduledChange
    made = _schedule(api, {"kind": "turnFlagOn"})
    path = f"{HERE}/scheduled-changes/{made['_id']}"
    assert api.ask("GET", path, model) == made
    listed = api.ask("GET", f"{HERE}/scheduled-changes", generated.FeatureFlagScheduledChanges)
    assert listed["items"] == [made]
    off = {"instructions": [{"kind": "replaceScheduledChangesInstructions", "value": [{"kind": "turnFlagOff"}]}]}
    changed = api.ask("PATCH", path, model, json=off)
    assert (changed["instructions"], changed["_version"]) == ([{"kind": "turnFlagOff"}], 2)
    when = made["executionDate"] + 1000
    date = {"instructions": [{"kind": "updateScheduledChangesExecutionDate", "value": when}]}
    assert api.ask("PATCH", path, model, json=date)["executionDate"] == when
    api.ask("PATCH", path, status=400, json={"instructions": [{"kind": "dance"}]})
    api.ask("PATCH", path, status=400, json={"instructions": []})
    api.ask("PATCH", path, status=204, json={"instructions": [{"kind": "deleteScheduledChange"}]})
    api.ask("DELETE", path, status=404)
    again = _schedule(api, {"kind": "turnFlagOn"})
    api.ask("DELETE", f"{HERE}/scheduled-changes/{again['_id']}", status=204)
    _schedule(api, {"kind": "turnFlagOn"}, at=-10, status=400)
    _schedule(api, {"kind": "dance"}, status=400)


def test_a_scheduled_change_is_carried_out(ld: LaunchDarklyEmulator, api: Api, ids: list[str]) -> None:
    """At its date it is done, with its comment, and no longer listed; one that has become impossible is dropped."""
    _schedule(api, {"kind": "removeVariation", "variationId": ids[1]})
    served = {"kind": "updateOffVariation", "variationId": ids[1]}
    api.semantic("f", served, query={"ignoreConflicts": "true"})
    _schedule(api, {"kind": "turnFlagOn"})
    with ld.account.lock:
        for date, one in enumerate(ld.account.data["scheduled"]):
            one["executionDate"] = date
        ld.account.saved()
    assert ld.wait_for(lambda: not ld.account.data["scheduled"])
    after = api.flag("f")
    assert (after["environments"]["production"]["on"], len(after["variations"])) == (True, 3)
    assert api.ask("GET", "/auditlog", params={"q": "later"})["items"][0]["token"]["name"] == "scheduled change"


def _start(api: Api, ids: list[str], status: int = 201, **more: Any) -> Any:
    steps = [{"allocation": 1000, "durationMillis": 60000}, {"allocation": 50000, "durationMillis": 60000}]
    body = {
        "originalVariationId": ids[0],
        "targetVariationId": ids[1],
        "randomizationUnit": "user",
        "phases": [{"clauses": [USERS], "steps": steps}],
        "metrics": [{"metricKey": "errors", "autoRollback": True}],
        **more,
    }
    headers = BETA
    return api.ask("POST", f"{HERE}/releases", EnvironmentRelease, status, json=body, headers=headers)


def test_a_release_is_found_and_stopped(api: Api, ids: list[str]) -> None:
    """A guarded release shows in the list of flags and of the flag's releases until it is stopped."""
    assert _start(api, ids, 409)["code"] == "flag_off"
    api.semantic("f", {"kind": "turnFlagOn"})
    made = _start(api, ids)
    assert (made["kind"], made["status"], made["phases"][0]["ruleId"] is not None) == ("guarded", "in_progress", True)
    rule = api.flag("f")["environments"]["production"]["rules"][0]
    assert [one["weight"] for one in rule["rollout"]["variations"]] == [99000, 1000]
    assert _start(api, ids, 409)["code"] == "release_already_active"
    monitored = {"filter": "guardedRollout:monitoring"}
    assert [flag["key"] for flag in api.ask("GET", "/flags/default", params=monitored)["items"]] == ["f"]
    listed = api.ask("GET", f"{HERE}/releases", EnvironmentReleaseCollection, headers=BETA)
    assert [one["id"] for one in listed["items"]] == [made["id"]]
    path = f"{HERE}/releases/{made['id']}"
    assert api.ask("GET", path, EnvironmentRelease, headers=BETA)["status"] == "in_progress"
    api.ask("PUT", f"{path}/stop", status=400, json={"resolution": "shrug"}, headers=BETA)
    back = {"resolution": "roll_back_all_phases_and_remove_pending_phases"}
    assert api.ask("PUT", f"{path}/stop", EnvironmentRelease, json=back, headers=BETA)["status"] == "reverted"
    assert api.ask("PUT", f"{path}/stop", EnvironmentRelease, json=back, headers=BETA)["status"] == "reverted"
    assert api.flag("f")["environments"]["production"]["rules"][0]["variation"] == 0
    assert api.ask("GET", "/flags/default", params=monitored)["items"] == []


def test_a_release_forward_on_a_rule_that_is_there(api: Api, ids: list[str]) -> None:
    """Without metrics it is progressive; forward, its rule serves what was released."""
    api.semantic("f", {"kind": "turnFlagOn"}, {"kind": "addRule", "variationId": ids[0], "clauses": [USERS]})
    rule = api.flag("f")["environments"]["production"]["rules"][0]["_id"]
    steps = [{"allocation": 100000, "durationMillis": 1}]
    made = _start(api, ids, metrics=[], phases=[{"ruleId": rule, "steps": steps}])
    assert made["kind"] == "progressive"
    forward = {"resolution": "roll_forward_all_phases"}
    stopped = api.ask("PUT", f"{HERE}/releases/{made['id']}/stop", EnvironmentRelease, json=forward, headers=BETA)
    assert stopped["status"] == "completed"
    (after,) = api.flag("f")["environments"]["production"]["rules"]
    assert (after["_id"], after["variation"]) == (rule, 1)


@pytest.mark.parametrize(
    "more",
    [
        {"phases": []},
        {"phases": [{"clauses": [USERS], "steps": []}]},
        {"phases": [{"steps": [{"allocation": 1, "durationMillis": 1}]}]},
        {"phases": [{"clauses": [USERS], "steps": [{"allocation": 60000, "durationMillis": 1}]}]},
        {"phases": [{"clauses": [{**USERS, "negate": True}], "steps": [{"allocation": 1, "durationMillis": 1}]}]},
        {"originalVariationId": "nope"},
    ],
    ids=["none", "no steps", "no rule", "guarded beyond a half", "not limited to the kind", "no such variation"],
)
def test_a_release_refused(api: Api, ids: list[str], more: dict[str, Any]) -> None:
    """What does not fit starts nothing."""
    api.semantic("f", {"kind": "turnFlagOn"})
    _start(api, ids, 400, **more)
    assert api.flag("f")["environments"]["production"]["rules"] == []


def test_releases_are_beta(ld: LaunchDarklyEmulator, api: Api, ids: list[str]) -> None:
    """Without the header of beta resources they are refused; with required approvals, a start is."""
    api.ask("GET", f"{HERE}/releases", status=403)
    ld.require_approvals("production")
    _start(api, ids, 405)
