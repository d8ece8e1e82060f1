"""The real SDK against the emulator."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from ldclient import Context
from ldclient.config import HTTPConfig

from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from tests.launchdarkly.emulator.clients import Api
from tests.support.waiting import wait_until

USER = Context.create("user-1")
FLAG = {
    "key": "checkout",
    "version": 7,
    "on": True,
    "variations": ["a", "b", "c"],
    "fallthrough": {"variation": 0},
    "offVariation": 2,
    "salt": "6f2a",
}


def test_ready_with_what_is_there(ld: LaunchDarklyEmulator, client: Any) -> None:
    """A client is ready at once and answers from what the stream begins with; each environment has its own."""
    assert ld.put_flag("production", FLAG) == 7
    production, test = client("production"), client("test")
    detail = production.variation_detail("checkout", USER, "x")
    assert (detail.value, detail.variation_index, detail.reason) == ("a", 0, {"kind": "FALLTHROUGH"})
    assert test.variation_detail("checkout", USER, "x").reason == {"kind": "OFF"}


def test_sees_changes(ld: LaunchDarklyEmulator, api: Api, client: Any) -> None:
    """What the management API changes reaches the client by the stream; so does a deletion, and what comes after it."""
    ld.put_flag("production", FLAG)
    sdk = client()
    off = api.semantic("checkout", {"kind": "turnFlagOff"})
    assert off["environments"]["production"]["version"] == 8
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "c", why="off")
    ld.delete_flag("checkout")
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "x", why="the deletion")
    assert ld.put_flag("production", {**FLAG, "version": 1}) > 9, "newer than its deletion"
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "a", why="the flag made anew")


def test_archived_is_gone_for_agents(ld: LaunchDarklyEmulator, api: Api, client: Any) -> None:
    """An archived flag gives the value of the code, a restored one answers again."""
    ld.put_flag("production", FLAG)
    sdk = client()
    api.semantic("checkout", {"kind": "archiveFlag"}, environment=None)
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "x", why="the archiving")
    api.semantic("checkout", {"kind": "restoreFlag"}, environment=None)
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "a", why="the return")


def test_survives_a_cut_stream(ld: LaunchDarklyEmulator, client: Any) -> None:
    """While the stream is cut the client serves what it knew, and catches up when it is back."""
    ld.put_flag("production", FLAG)
    sdk = client()
    ld.faults.add("/all", status=503, times=1)
    assert ld.cut() == 1
    ld.put_flag("production", {**FLAG, "version": 8, "on": False})
    assert sdk.variation("checkout", USER, "x") in {"a", "c"}
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "c", why="the stream to be back", timeout=30)


def test_survives_a_restart(ld: LaunchDarklyEmulator, client: Any) -> None:
    """The emulator comes back at its address with its flags, and the client connects again."""
    ld.put_flag("production", FLAG)
    sdk, url = client(), ld.url
    ld.stop()
    ld.put_flag("production", {**FLAG, "version": 8, "on": False})
    assert sdk.variation("checkout", USER, "x") == "a"
    ld.start()
    assert ld.url == url
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "c", why="the client to be back", timeout=30)


def test_a_stale_patch_is_ignored(ld: LaunchDarklyEmulator, client: Any) -> None:
    """A patch with an older version changes nothing in the SDK: versions decide, not order."""
    ld.put_flag("production", FLAG)
    ld.put_flag("production", {"key": "marker", "on": False, "variations": [True, False]})
    sdk = client()
    ld.publish("production", "flags", "checkout", {**FLAG, "version": 6, "on": False}, 6)
    ld.put_flag("production", {"key": "marker", "on": True, "variations": [True, False]})
    wait_until(lambda: sdk.variation("marker", USER, False), why="the patch behind it")
    assert sdk.variation("checkout", USER, "x") == "a"


def test_events_arrive(ld: LaunchDarklyEmulator, client: Any) -> None:
    """Analytics and diagnostics are taken in and can be read."""
    ld.put_flag("production", FLAG)
    sdk = client(send_events=True, diagnostic_opt_out=False)
    sdk.variation("checkout", USER, "x")
    sdk.track("bought", USER, metric_value=2.5)
    sdk.flush()
    assert ld.wait_for(lambda: ld.events("summary") and ld.events("custom"))
    assert ld.events("custom", "production")[0]["metricValue"] == 2.5
    (counter,) = ld.events("summary")[0]["features"]["checkout"]["counters"]
    assert (counter["variation"], counter["version"]) == (0, 7)
    assert ld.wait_for(lambda: ld.events("diagnostic-init"))
    assert ld.events(environment="test") == []


def test_segments_decide(ld: LaunchDarklyEmulator, client: Any) -> None:
    """A rule on a segment answers by the segment's members, and follows them."""
    rule = {"id": "r", "variation": 1, "clauses": [{"attribute": "", "op": "segmentMatch", "values": ["beta"]}]}
    ld.put_segment("production", {"key": "beta", "included": ["user-1"], "salt": "s"})
    ld.put_flag("production", {**FLAG, "rules": [rule]})
    sdk = client()
    detail = sdk.variation_detail("checkout", USER, "x")
    assert (detail.value, detail.reason["kind"], detail.reason["ruleId"]) == ("b", "RULE_MATCH", "r")
    ld.put_segment("production", {"key": "beta", "included": []})
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "a", why="the segment")


@pytest.mark.parametrize(("user", "value"), [("user-1", "a"), ("user-2", "b"), ("ünïcode", "b")])
def test_buckets_are_the_vendors(ld: LaunchDarklyEmulator, client: Any, user: str, value: str) -> None:
    """Key and salt reach the SDK as they were seeded: its buckets are those that are known."""
    weights = [{"variation": 0, "weight": 30000}, {"variation": 1, "weight": 70000}]
    ld.put_flag("production", {**FLAG, "fallthrough": {"rollout": {"variations": weights}}})
    assert client().variation("checkout", Context.create(user), "x") == value


def test_a_wrong_key_is_refused(ld: LaunchDarklyEmulator) -> None:
    """401 on every endpoint."""
    for method, path in (("GET", "/all"), ("GET", "/sdk/latest-all"), ("POST", "/bulk"), ("POST", "/diagnostic")):
        answer = httpx.request(method, f"{ld.url}{path}", headers={"Authorization": "sdk-wrong"})
        assert answer.status_code == 401


def test_polls_are_answered_once(ld: LaunchDarklyEmulator) -> None:
    """A poll has an ETag, and a second one that knows it is answered 304 until something changes."""
    ld.put_flag("production", FLAG)
    headers = {"Authorization": ld.sdk_key("production")}
    first = httpx.get(f"{ld.url}/sdk/latest-all", headers=headers)
    assert first.json() == {"flags": ld.everything("production")["flags"], "segments": {}}
    again = {**headers, "If-None-Match": first.headers["etag"]}
    assert httpx.get(f"{ld.url}/sdk/latest-all", headers=again).status_code == 304
    ld.put_flag("production", {**FLAG, "version": 8, "on": False})
    assert httpx.get(f"{ld.url}/sdk/latest-all", headers=again).status_code == 200


def test_a_polling_client(ld: LaunchDarklyEmulator, client: Any) -> None:
    """The SDK in polling mode is ready with what the poll brings."""
    ld.put_flag("production", FLAG)
    assert client(stream=False).variation("checkout", USER, "x") == "a"


def test_the_second_protocol(ld: LaunchDarklyEmulator, api: Api, client: Any) -> None:
    """The SDK's newer protocol, which it offers as experimental, is spoken too."""
    from ldclient.datasystem import default

    ld.put_flag("production", FLAG)
    sdk = client(datasystem_config=default().build(), http=HTTPConfig())
    assert sdk.variation("checkout", USER, "x") == "a"
    api.semantic("checkout", {"kind": "turnFlagOff"})
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "c", why="the change", timeout=30)
    ld.delete_flag("checkout")
    wait_until(lambda: sdk.variation("checkout", USER, "x") == "x", why="the deletion", timeout=30)
