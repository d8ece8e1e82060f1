"""The management API: the vendor's own client on it, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from splitapiclient.main import get_client
from splitapiclient.util.exceptions import HTTPNotFoundError, HTTPResponseError, HTTPUnauthorizedError

from flagbrake_split.emulator import SplitEmulator
from tests.split.sdk import definition, factory, seen


def client_of(split: SplitEmulator, key: str = "") -> Any:
    """The vendor's own management client."""
    return get_client({"base_url": split.admin_url, "apikey": key or split.admin_key})


@pytest.fixture
def admin(split: SplitEmulator) -> Iterator[httpx.Client]:
    """Plain requests with the key that may write."""
    headers = {"Authorization": f"Bearer {split.admin_key}"}
    with httpx.Client(base_url=split.admin_url, headers=headers) as client:
        yield client


def place(split: SplitEmulator, name: str = "refunds", rest: str = "") -> str:
    """The path of a definition in ``test``."""
    return f"/splits/ws/{split.workspace}/{name}/environments/test{rest}"


# --- the vendor's own client ------------------------------------------------------------------------------


def test_its_own_client(split: SplitEmulator) -> None:
    """splitapiclient creates, configures, kills, restores, updates, lists and removes; the SDK follows each."""
    client, ws = client_of(split), split.workspace
    assert [w.name for w in client.workspaces.list()] == ["Default"]
    environment = client.environments.find("test", ws)
    assert [t.name for t in client.traffic_types.list(ws)][:1] == ["user"]
    flag = client.splits.add({"name": "refunds", "description": "why"}, "user", ws)
    assert (flag.name, flag.description) == ("refunds", "why")
    body = {k: v for k, v in definition("refunds").items() if k != "name"}
    flag.add_to_environment(environment.id, {**body, "comment": "first"})
    with factory(split) as made:
        sdk = made.client()
        assert sdk.get_treatment("ann", "refunds") == "on"
        found = client.split_definitions.get_definition("refunds", environment.id, ws)
        assert (found.default_treatment, found.traffic_allocation, found.killed) == ("off", 100, False)
        assert [t._name for t in found.treatments] == ["on", "off"]
        found.kill()
        seen(sdk, "refunds", "off")
        assert client.split_definitions.find("refunds", environment.id, ws).killed
        found.restore()
        seen(sdk, "refunds", "on")
        rules = [{"condition": {"matchers": [plan("pro")]}, "buckets": [{"treatment": "on", "size": 100}]}]
        updated = found.update_definition({**body, "rules": rules, "defaultRule": [{"treatment": "off", "size": 100}]})
        assert updated.rules is not None
        seen(sdk, "refunds", "off")
        seen(sdk, "refunds", "on", attributes={"plan": "pro"})
        flag.associate_tags(["agents"])
        assert [f.name for f in client.splits.list(ws, tags=["agents"])] == ["refunds"]
        flag.update_description("another")
        assert client.splits.get("refunds", ws).description == "another"
        flag.remove_from_environment(environment.id, "gone", "title")
        seen(sdk, "refunds", "control")
    assert client.splits.delete("refunds", ws) is True
    assert client.splits.list(ws) == []


def plan(name: str) -> dict[str, Any]:
    """A matcher."""
    return {"type": "IN_LIST_STRING", "attribute": "plan", "strings": [name], "negate": False}


def test_its_own_client_pages(split: SplitEmulator) -> None:
    """Lists come in pages, and splitapiclient puts them together."""
    names = [f"flag-{number:03}" for number in range(45)]
    for name in names:
        split.put_definition(definition(name))
    client = client_of(split)
    assert [f.name for f in client.splits.list(split.workspace)] == names
    assert [d.name for d in client.split_definitions.list("env-test", split.workspace)] == names


def test_its_own_client_segments(split: SplitEmulator) -> None:
    """splitapiclient makes segments, fills them, reads and empties them."""
    client, ws = client_of(split), split.workspace
    client.segments.add({"name": "vip", "description": ""}, "user", ws).add_to_environment("env-test")
    found = client.segment_definitions.find("vip", "env-test", ws)
    keys = [f"user-{number:03}" for number in range(130)]
    found.import_keys_from_json(replace_keys=False, json_data={"keys": keys, "comment": ""})
    assert found.get_keys() == keys
    found.remove_keys({"keys": keys[1:], "comment": ""})
    assert (found.get_key_count(), found.get_keys()) == (1, keys[:1])
    client.segments.find("vip", ws).remove_from_environment("env-test")
    client.segments.delete("vip", ws)
    assert client.segments.list(ws) == []


def test_its_own_client_rule_based(split: SplitEmulator) -> None:
    """splitapiclient makes rule-based segments and writes their rules."""
    client, ws = client_of(split), split.workspace
    client.rule_based_segments.add({"name": "beta"}, "user", ws).add_to_environment("env-test")
    found = client.rule_based_segment_definitions.find("beta", "env-test", ws)
    written = found.update({"rules": [{"condition": {"matchers": [plan("pro")]}}], "excludedKeys": ["bob"]})
    assert (written.excluded_keys, len(written.rules)) == (["bob"], 1)
    client.rule_based_segments.find("beta", ws).remove_from_environment("env-test")
    assert client.rule_based_segment_definitions.list("env-test", ws) == []


def test_its_own_client_change_requests(split: SplitEmulator) -> None:
    """A change request locks the flag; approved by splitapiclient it is carried out."""
    split.put_definition(definition("refunds"))
    client, ws = client_of(split), split.workspace
    found = client.split_definitions.find("refunds", "env-test", ws)
    wanted = {**definition("refunds", "off"), "baselineTreatment": "off", "rules": []}
    request = found.submit_change_request(wanted, "UPDATE", "title", "comment", ["bob"], None)
    with pytest.raises(HTTPResponseError, match=r"409.*pending change request"):
        found.kill()
    assert [r.id for r in client.change_requests.list("env-test", "REQUESTED")] == [request.id]
    request.update_status("APPROVED", "fine")
    assert split.definition("refunds")["defaultRule"] == [{"treatment": "off", "size": 100}]
    found.kill()
    assert split.definition("refunds")["killed"]


def test_its_own_client_refused(split: SplitEmulator) -> None:
    """What splitapiclient is refused it raises as what it is."""
    split.put_definition(definition("refunds"))
    with pytest.raises(HTTPUnauthorizedError):
        client_of(split, "wrong").workspaces.list()
    with pytest.raises(HTTPNotFoundError):
        client_of(split).splits.get("nothing", split.workspace)
    with pytest.raises(HTTPResponseError, match="403"):
        client_of(split, split.viewer_key).split_definitions.kill("refunds", "env-test", split.workspace)


# --- what it does -----------------------------------------------------------------------------------------


def test_kill_keeps_everything(split: SplitEmulator, admin: httpx.Client) -> None:
    """Kill and restore change nothing but that, and leave title and comment in the history."""
    split.put_definition(definition("refunds"))
    before = split.definition("refunds")
    killed = admin.put(place(split, rest="/kill"), json={"comment": "burns", "title": "stop"}).json()
    restored = admin.put(place(split, rest="/restore")).json()
    for document in (before, killed, restored):
        document.pop("lastUpdateTime")
    assert killed == {**before, "killed": True}
    assert restored == before
    assert [(s.action, s.title, s.comment) for s in split.history] == [("kill", "stop", "burns"), ("restore", "", "")]


def test_put_does_not_revive(split: SplitEmulator, admin: httpx.Client) -> None:
    """A full update leaves a killed flag killed; PATCH may bring it back."""
    split.put_definition(definition("refunds", killed=True))
    admin.put(place(split), json=definition("refunds", "off")).raise_for_status()
    assert split.definition("refunds")["killed"]
    admin.patch(place(split), json=[{"op": "replace", "path": "/killed", "value": False}]).raise_for_status()
    assert not split.definition("refunds")["killed"]


def test_patch(split: SplitEmulator, admin: httpx.Client) -> None:
    """PATCH is RFC 6902: parts deep inside, several at once, and ``test`` before them."""
    split.put_definition(definition("refunds"))
    answer = admin.patch(
        place(split),
        json=[
            {"op": "test", "path": "/killed", "value": False},
            {"op": "add", "path": "/treatments/0/keys", "value": ["ann"]},
            {"op": "add", "path": "/treatments/0/keys/-", "value": "bob"},
            {"op": "replace", "path": "/trafficAllocation", "value": 50},
        ],
        params={"title": "t", "comment": "c"},
    )
    assert answer.json()["treatments"][0]["keys"] == ["ann", "bob"]
    assert answer.json()["trafficAllocation"] == 50
    assert (split.history[-1].title, split.history[-1].comment) == ("t", "c")
    refused = admin.patch(place(split), json=[{"op": "test", "path": "/killed", "value": True}])
    assert refused.status_code == 409
    assert split.definition("refunds")["trafficAllocation"] == 50


def test_version_moves(split: SplitEmulator) -> None:
    """lastUpdateTime grows with every change, however quickly they follow."""
    times = [split.put_definition(definition("refunds"))["lastUpdateTime"] for _ in range(20)]
    assert times == sorted(set(times))


# --- what it refuses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoiled",
    [
        {"treatments": []},
        {"treatments": [{"name": "on"}, {"name": "on"}]},
        {"treatments": [{"name": "on"}, {"name": "control"}]},
        {"treatments": [{"name": "on"}, {"name": "off", "configurations": {"a": 1}}]},
        {"defaultTreatment": "blue"},
        {"defaultTreatment": None},
        {"baselineTreatment": "blue"},
        {"trafficAllocation": 101},
        {"trafficAllocation": 33.5},
        {"defaultRule": []},
        {"defaultRule": [{"treatment": "on", "size": 99}]},
        {"defaultRule": [{"treatment": "on", "size": 33.5}, {"treatment": "off", "size": 66.5}]},
        {"defaultRule": [{"treatment": "blue", "size": 100}]},
        {"rules": [{"condition": {"matchers": []}, "buckets": [{"treatment": "on", "size": 100}]}]},
        {"rules": [{"condition": {"matchers": [{"type": "X"}]}, "buckets": [{"treatment": "on", "size": 100}]}]},
        {"rules": [{"buckets": []}]},
    ],
)
def test_bad_definitions(split: SplitEmulator, admin: httpx.Client, spoiled: dict[str, Any]) -> None:
    """A definition that does not fit together is 400, and the old one stays."""
    split.put_definition(definition("refunds"))
    before = split.definition("refunds")
    answer = admin.put(place(split), json={**definition("refunds"), **spoiled})
    assert answer.status_code == 400
    assert answer.json().keys() == {"code", "message", "details", "transactionId"}
    assert split.definition("refunds") == before


@pytest.mark.parametrize("name", ["1st", "with space", "with.dot", "", "ünïcode", "x" * 101, None])
def test_bad_names(split: SplitEmulator, admin: httpx.Client, name: Any) -> None:
    """By the strict reading a name has letters, digits, hyphens and underscores, and begins with a letter."""
    answer = admin.post(f"/splits/ws/{split.workspace}/trafficTypes/user", json={"name": name})
    assert answer.status_code == 400


def test_conflicts(split: SplitEmulator, admin: httpx.Client) -> None:
    """What exists cannot be created again: 409."""
    split.put_definition(definition("refunds"))
    metadata = admin.post(f"/splits/ws/{split.workspace}/trafficTypes/user", json={"name": "refunds"})
    configured = admin.post(place(split), json=definition("refunds"))
    assert (metadata.status_code, configured.status_code) == (409, 409)


def test_missing(split: SplitEmulator, admin: httpx.Client) -> None:
    """What does not exist is 404: flag, definition, environment, workspace, traffic type."""
    split.put_definition(definition("refunds"), "production")
    for path in (
        place(split, "nothing"),
        place(split),
        f"/splits/ws/{split.workspace}/refunds/environments/staging",
        "/splits/ws/elsewhere/refunds",
    ):
        answer = admin.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, 404), path
    answer = admin.post(f"/splits/ws/{split.workspace}/trafficTypes/nobody", json={"name": "new"})
    assert answer.status_code == 404


def test_approvals(split: SplitEmulator, admin: httpx.Client) -> None:
    """Where approvals are required writing is 403 and says so; kills may be allowed."""
    split.put_definition(definition("refunds"))
    split.require_approvals("test")
    answer = admin.put(place(split), json=definition("refunds", "off"))
    assert (answer.status_code, "Approvals are required" in answer.json()["message"]) == (403, True)
    assert admin.put(place(split, rest="/kill")).status_code == 403
    split.require_approvals("test", allow_kills=True)
    assert admin.put(place(split, rest="/kill")).status_code == 200


def test_comments_required(split: SplitEmulator, admin: httpx.Client) -> None:
    """Where title and comment are demanded, a change without them is an empty 400."""
    split.put_definition(definition("refunds"))
    split.require_comments()
    assert admin.get("/workspaces").json()["objects"][0]["requiresTitleAndComments"] is True
    answer = admin.put(place(split, rest="/kill"), json={"comment": "no title"})
    assert (answer.status_code, answer.content) == (400, b"")
    assert admin.put(place(split, rest="/kill"), json={"comment": "c", "title": "t"}).status_code == 200


def test_rate_limit(split: SplitEmulator, admin: httpx.Client) -> None:
    """A rate limit says when to come back, for the organisation and for the address."""
    split.faults.add("/internal/*", status=429, times=1)
    answer = admin.get("/workspaces")
    assert answer.status_code == 429
    assert {k for k in answer.headers if k.startswith("x-ratelimit-reset-seconds")} == {
        "x-ratelimit-reset-seconds-org",
        "x-ratelimit-reset-seconds-ip",
    }
    assert admin.get("/workspaces").status_code == 200


def test_file(split: SplitEmulator, tmp_path: Any) -> None:
    """With a file the state is there after a new start, change numbers included."""
    file = tmp_path / "split.json"
    with SplitEmulator("test", file=file) as first:
        first.put_segment("vip", ["ann"])
        first.put_definition(definition("refunds", description="x"), description="why", tags=["a"])
        number, before = first.change_number(), first.definition("refunds")
    with SplitEmulator("test", file=file) as again:
        assert again.definition("refunds") == before
        assert again.change_number() == number
        assert again.segments.keys("test", "vip") == ["ann"]
        assert again.put_definition(definition("refunds"))["lastUpdateTime"] > number
