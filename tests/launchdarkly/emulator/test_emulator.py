"""The emulator as a whole: seeding, faults, files, many writers."""

from __future__ import annotations

import copy
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import launchdarkly_api as generated
import pytest

from flagbrake.errors import ConfigError
from flagbrake_launchdarkly import LaunchDarklyAdapter
from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from tests.launchdarkly.emulator.clients import Api

RICH: dict[str, Any] = {
    "key": "rich",
    "version": 41,
    "deleted": False,
    "on": True,
    "variations": ["a", {"b": [1, None]}, 3],
    "offVariation": None,
    "fallthrough": {
        "rollout": {
            "kind": "experiment",
            "contextKind": "org",
            "bucketBy": "name",
            "seed": 61,
            "variations": [
                {"variation": 0, "weight": 30000, "untracked": True},
                {"variation": 2, "weight": 70000},
            ],
        }
    },
    "targets": [{"variation": 0, "values": ["u1"]}],
    "contextTargets": [
        {"contextKind": "org", "variation": 1, "values": ["acme"]},
        {"contextKind": "user", "variation": 0, "values": []},
    ],
    "rules": [
        {
            "id": "r1",
            "variation": 2,
            "trackEvents": True,
            "clauses": [
                {"contextKind": "user", "attribute": "age", "op": "greaterThan", "values": [18], "negate": True}
            ],
        }
    ],
    "prerequisites": [{"key": "parent", "variation": 1}],
    "salt": "6f2a",
    "trackEvents": True,
    "trackEventsFallthrough": False,
    "debugEventsUntilDate": None,
    "clientSide": False,
    "clientSideAvailability": {"usingMobileKey": False, "usingEnvironmentId": False},
    "samplingRatio": 5,
    "migration": {"checkRatio": 2},
}


def test_what_is_seeded_is_what_sdks_get(ld: LaunchDarklyEmulator, api: Api) -> None:
    """A flag in the SDKs' form comes out as it went in, and the management API shows the same flag."""
    assert ld.put_flag("production", RICH) == 41
    assert ld.everything("production")["flags"]["rich"] == RICH
    shown = api.flag("rich", None)
    config = shown["environments"]["production"]
    assert (config["version"], config["salt"], "offVariation" in config) == (41, "6f2a", False)
    assert config["fallthrough"]["rollout"]["seed"] == 61
    assert config["fallthrough"]["rollout"]["experimentAllocation"]["canReshuffle"]
    assert config["rules"][0]["_id"] == "r1"
    assert [v["value"] for v in shown["variations"]] == RICH["variations"]
    assert not shown["environments"]["test"]["on"]


def test_seeding_again(ld: LaunchDarklyEmulator, api: Api) -> None:
    """The next version is taken unless a newer one is given; variations keep their IDs; nothing new, no version."""
    ld.put_flag("production", RICH)
    ids = [v["_id"] for v in api.flag("rich")["variations"]]
    assert ld.put_flag("production", {**RICH, "on": False}) == 42
    assert ld.put_flag("production", {**RICH, "on": False}) == 42
    assert ld.put_flag("production", {**RICH, "version": 99}) == 99
    assert [v["_id"] for v in api.flag("rich")["variations"]] == ids
    assert ld.put_flag("production", {"key": "rich", "variations": [True], "on": True}) == 100
    assert api.flag("rich", None)["environments"]["test"]["fallthrough"] == {"variation": 0}


def test_equal_values_and_single_variations_may_be_seeded(ld: LaunchDarklyEmulator, api: Api) -> None:
    """The back door takes what SDKs take, also what the management API would not make."""
    ld.put_flag("production", {"key": "f", "on": True, "variations": [1, 1], "fallthrough": {"variation": 1}})
    ld.put_flag("production", {"key": "g", "on": True, "variations": [{"a": 1}], "fallthrough": {"variation": 0}})
    assert len(api.flag("f")["variations"]) == 2
    assert len(api.flag("g")["variations"]) == 1


def test_faults_of_the_management_api(ld: LaunchDarklyEmulator, api: Api) -> None:
    """Limits with the vendor's headers, errors with its bodies, and only where asked for."""
    api.create("f")
    ld.faults.add("/api/v2/flags/*", status=429, times=1)
    limited = api.http.get("/flags/default/f")
    assert limited.status_code == 429
    assert limited.headers["x-ratelimit-global-remaining"] == "0"
    assert int(limited.headers["x-ratelimit-reset"]) > time.time() * 1000
    parsed = generated.RateLimitedErrorRep.from_json(limited.text)
    assert parsed.code == "rate_limited"
    ld.faults.add("/api/v2/*", method="PATCH", status=503)
    assert api.flag("f")["key"] == "f"
    assert api.http.patch("/flags/default/f", json=[]).status_code == 503
    assert "x-ratelimit-route-remaining" in api.http.get("/flags/default/f").headers


def test_a_write_without_an_answer(ld: LaunchDarklyEmulator, api: Api) -> None:
    """The connection may break after the work was done: the flag has changed, and the caller cannot know."""
    api.create("f")
    ld.faults.add("/api/v2/flags/*", method="PATCH", cut="after", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        api.semantic("f", {"kind": "turnFlagOn"})
    assert api.flag("f")["environments"]["production"]["on"]


def test_nothing_is_lost_between_writers(ld: LaunchDarklyEmulator, api: Api) -> None:
    """Writers at once, each change is there and each has a version of its own."""
    first = api.create("f")["variations"][0]["_id"]

    def write(number: int) -> None:
        with Api(ld) as mine:
            for turn in range(10):
                mine.semantic("f", {"kind": "addTargets", "variationId": first, "values": [f"{number}-{turn}"]})

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    config = api.flag("f")["environments"]["production"]
    assert len(config["targets"][0]["values"]) == 40
    assert config["version"] == 41


def test_kept_in_a_file(tmp_path: Path) -> None:
    """What was there is there again: flags, versions, audit, approvals, and what was deleted is remembered."""
    file = tmp_path / "ld.json"
    with LaunchDarklyEmulator(file=file, environments=["staging"]) as first, Api(first) as api:
        first.put_flag("staging", RICH)
        api.create("gone")
        api.ask("DELETE", "/flags/default/gone", status=204)
        first.require_approvals("staging")
        flags, log = api.flag("rich", None), api.ask("GET", "/auditlog")["items"]
    with LaunchDarklyEmulator(file=file) as second, Api(second) as api:
        assert api.flag("rich", None) == flags
        assert api.ask("GET", "/auditlog")["items"] == log
        assert second.everything("staging")["flags"]["rich"] == RICH
        api.semantic("rich", {"kind": "turnFlagOff"}, environment="staging", status=405)
        assert api.create("gone")["environments"]["production"]["version"] > 2
    text = file.read_text()
    assert json.loads(text)["emulator"] == "launchdarkly"
    file.write_text('{"emulator": "split"}')
    with pytest.raises(ConfigError, match=r"ld\.json"):
        LaunchDarklyEmulator(file=file)


def test_waiting_for_a_change(ld: LaunchDarklyEmulator, api: Api) -> None:
    """``revision`` counts, and ``wait_for`` returns when its predicate holds, or False in the end."""
    before = ld.revision
    threading.Timer(0.05, lambda: ld.put_flag("production", RICH)).start()
    assert ld.wait_for(lambda: ld.revision > before)
    assert not ld.wait_for(lambda: False, timeout=0.01)


def test_the_adapter_brings_it() -> None:
    """The adapter port makes it, with the settings that lead to it."""
    with LaunchDarklyAdapter().emulator(environment="staging") as emulator:
        assert emulator.settings["sdk_key"] == "sdk-emulator-staging"
        assert emulator.settings["stream_uri"] == emulator.url
        assert set(emulator.settings) <= set(LaunchDarklyAdapter.options)
        assert set(emulator.admin_settings) <= set(LaunchDarklyAdapter.options)
        headers = {"Authorization": emulator.admin_settings["api_token"]}
        assert httpx.get(f"{emulator.url}/api/v2/projects", headers=headers).status_code == 200


def test_what_is_read_is_a_copy(ld: LaunchDarklyEmulator) -> None:
    """Changing what the Python side was handed changes nothing in the account."""
    data = copy.deepcopy(RICH)
    ld.put_flag("production", data)
    data["rules"].clear()
    ld.flag("rich")["variations"].clear()
    ld.everything("production")["flags"].clear()
    assert ld.everything("production")["flags"]["rich"] == RICH
