"""The management API of flags: reads, creations, patches by path, copies, status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import launchdarkly_api as generated
import pytest

from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from tests.launchdarkly.emulator.clients import Api

FLAGS = "/flags/default"


@pytest.fixture
def vendor(ld: LaunchDarklyEmulator) -> Iterator[generated.ApiClient]:
    """The vendor's own generated client, pointed at the emulator."""
    settings = generated.Configuration(host=ld.url, api_key={"ApiKey": ld.api_token})
    with generated.ApiClient(settings) as client:
        yield client


def patch(api: Api, key: str, body: Any, status: int = 200, **params: Any) -> Any:
    """A JSON patch or a merge patch."""
    return api.ask("PATCH", f"{FLAGS}/{key}", generated.FeatureFlag, status, json=body, params=params)


def test_the_vendors_client_works(vendor: generated.ApiClient) -> None:
    """Create, read, list, patch, delete and the audit log through the vendor's own client, unchanged."""
    flags, audit = generated.FeatureFlagsApi(vendor), generated.AuditLogApi(vendor)
    body = generated.FeatureFlagBody(key="f", name="F", tags=["x"], temporary=False)
    made = flags.post_feature_flag("default", body)
    assert (made.key, made.version, made.variations[0].value) == ("f", 1, True)
    operation = generated.PatchOperation(op="replace", path="/environments/production/on", value=True)
    patched = flags.patch_feature_flag("default", "f", generated.PatchWithComment(patch=[operation], comment="why"))
    assert patched.environments["production"].on
    assert flags.get_feature_flag("default", "f", env="production").environments.keys() == {"production"}
    assert [one.key for one in flags.get_feature_flags("default", env="test").items] == ["f"]
    spec = "proj/default:env/production:flag/f"
    entries = audit.get_audit_log_entries(spec=spec).items
    assert [entry.comment for entry in entries] == ["why", ""]
    entry = audit.get_audit_log_entry(entries[0].id)
    assert entry.previous_version["environments"]["production"]["on"] is False
    assert entry.current_version["environments"]["production"]["on"] is True
    flags.delete_feature_flag("default", "f")
    with pytest.raises(generated.exceptions.NotFoundException):
        flags.get_feature_flag("default", "f")


def test_projects_and_environments(api: Api, vendor: generated.ApiClient) -> None:
    """The project and its environments are read; a further environment has every flag, off."""
    api.create("f", isFlagOn=True)
    assert api.ask("GET", "/projects", generated.Projects)["items"][0]["key"] == "default"
    whole = api.ask("GET", "/projects/default", generated.Project, params={"expand": "environments"})
    assert [one["key"] for one in whole["environments"]["items"]] == ["production", "test"]
    made = {"key": "staging", "name": "Staging", "color": "000000"}
    api.ask("POST", "/projects/default/environments", generated.Environment, 201, json=made)
    api.ask("POST", "/projects/default/environments", status=409, json=made)
    api.ask("POST", "/projects/default/environments", status=400, json={"key": "x"})
    assert api.ask("GET", "/projects/default/environments", generated.Environments)["totalCount"] == 3
    one = api.ask("GET", "/projects/default/environments/staging", generated.Environment)
    assert one["apiKey"] == "sdk-emulator-staging"
    on = {key: config["on"] for key, config in api.flag("f", None)["environments"].items()}
    assert on == {"production": True, "test": True, "staging": False}
    assert generated.EnvironmentsApi(vendor).get_environment("default", "staging").name == "Staging"


def test_what_is_not_there(api: Api) -> None:
    """404 with the vendor's body: project, flag, environment, path."""
    for path in (
        "/flags/nope",
        "/flags/default/nope",
        "/projects/nope",
        "/projects/default/environments/nope",
        "/nope",
    ):
        assert api.ask("GET", path, status=404)["code"] == "not_found"
    api.create("f")
    api.ask("GET", "/flags/default/f", status=404, params={"env": "nope"})
    api.ask("DELETE", "/flags/default/nope", status=404)
    api.ask("GET", "/auditlog/nope", status=404)
    assert api.ask("PUT", "/flags/default/f", status=405)["code"] == "method_not_allowed"


def test_who_may(ld: LaunchDarklyEmulator, api: Api) -> None:
    """No token or a wrong one 401; one that only reads 403 on a write; an SDK key is no token."""
    api.create("f")
    for token in ("", "api-wrong", ld.sdk_key("production")):
        with Api(ld, token or "none") as stranger:
            assert stranger.ask("GET", "/flags/default/f", status=401)["code"] == "unauthorized"
    with Api(ld, ld.reader_token) as reader:
        assert reader.flag("f")["key"] == "f"
        assert reader.semantic("f", {"kind": "turnFlagOn"}, status=403)["code"] == "forbidden"
        reader.ask("POST", FLAGS, status=403, json={"key": "g", "name": "g"})
    assert not api.flag("f")["environments"]["production"]["on"]


def test_create(api: Api) -> None:
    """Two booleans unless said; variations, defaults and state as said; the rest at LaunchDarkly's beginnings."""
    plain = api.create("plain")
    assert (plain["kind"], [v["value"] for v in plain["variations"]]) == ("boolean", [True, False])
    assert plain["defaults"] == {"onVariation": 0, "offVariation": 1}
    config = plain["environments"]["production"]
    assert (config["on"], config["fallthrough"], config["offVariation"]) == (False, {"variation": 0}, 1)
    assert config["version"] == 1
    rich = api.create(
        "rich",
        variations=[{"value": {"a": 1}, "name": "one"}, {"value": 2, "description": "two"}, {"value": "3"}],
        defaults={"onVariation": 2, "offVariation": 1},
        isFlagOn=True,
        temporary=False,
        tags=["b", "a"],
        description="why",
    )
    assert rich["kind"] == "multivariate"
    assert rich["tags"] == ["a", "b"]
    assert rich["environments"]["test"]["on"]
    assert rich["environments"]["test"]["fallthrough"] == {"variation": 2}
    assert [v.get("name") for v in rich["variations"]] == ["one", None, None]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": "f"},
        {"key": "f g", "name": "n"},
        {"key": "/f", "name": "n"},
        {"key": "f", "name": "n", "variations": [{"value": 1}]},
        {"key": "f", "name": "n", "variations": [{"value": 1}, {"value": 1}]},
        {"key": "f", "name": "n", "variations": [{"name": "x"}, {"value": 1}]},
        {"key": "f", "name": "n", "defaults": {"onVariation": 0, "offVariation": 7}},
    ],
    ids=str,
)
def test_create_refused(api: Api, body: dict[str, Any]) -> None:
    """A creation that does not fit is refused and makes nothing."""
    api.ask("POST", FLAGS, status=400, json=body)
    assert api.ask("GET", FLAGS, generated.FeatureFlags)["totalCount"] == 0


def test_a_key_is_taken_once(api: Api) -> None:
    """A second flag of a key is refused with 409, also when the first is archived."""
    api.create("f")
    api.ask("POST", FLAGS, status=409, json={"key": "f", "name": "f"})
    api.semantic("f", {"kind": "archiveFlag"}, environment=None)
    api.ask("POST", FLAGS, status=409, json={"key": "f", "name": "f"})


def test_not_json(api: Api) -> None:
    """A body that is no JSON is refused with 400."""
    api.create("f")
    for method, path in (("POST", FLAGS), ("PATCH", f"{FLAGS}/f")):
        api.ask(method, path, status=400, content="{", headers={"Content-Type": "application/json"})


def test_pages(api: Api) -> None:
    """A list has 20 unless asked, tells the whole number, and its links lead through all of it."""
    for number in range(45):
        api.create(f"flag-{number:02}")
    first = api.ask("GET", FLAGS, generated.FeatureFlags, params={"sort": "key", "env": "production"})
    assert (len(first["items"]), first["totalCount"]) == (20, 45)
    seen, page = [], first
    while True:
        seen += [flag["key"] for flag in page["items"]]
        if "next" not in page["_links"]:
            break
        page = api.ask("GET", page["_links"]["next"]["href"].removeprefix("/api/v2"), generated.FeatureFlags)
    assert seen == [f"flag-{number:02}" for number in range(45)]
    assert set(page["_links"]) == {"self", "prev", "first"}
    assert api.ask("GET", page["_links"]["first"]["href"].removeprefix("/api/v2"))["items"] == first["items"]
    some = api.ask("GET", FLAGS, params={"limit": 2, "offset": 44, "sort": "-key"})
    assert [flag["key"] for flag in some["items"]] == ["flag-00"]
    api.ask("GET", FLAGS, status=400, params={"limit": "many"})
    api.ask("GET", FLAGS, status=400, params={"sort": "mood"})


def test_what_a_list_shows(api: Api) -> None:
    """Environments only when asked for, in either spelling; rules and targets only with ``summary=0``."""
    made = api.create("f")
    target = {"kind": "addTargets", "variationId": made["variations"][0]["_id"], "values": ["u"]}
    api.semantic("f", target)

    def listed(**params: Any) -> Any:
        return api.ask("GET", FLAGS, generated.FeatureFlags, params=params)["items"][0]["environments"]

    assert listed() == {}
    assert listed(env="production").keys() == {"production"}
    assert listed(filter="filterEnv:production").keys() == {"production"}
    assert "targets" not in listed(env="production")["production"]
    assert listed(env="production")["production"]["_summary"]["variations"]["0"]["targets"] == 1
    assert listed(env="production", summary="0")["production"]["targets"][0]["values"] == ["u"]


def test_filters(api: Api) -> None:
    """Text, all of several tags, state, kind of life; archived flags are listed when asked for only."""
    api.create("alpha", tags=["a", "b"], temporary=False)
    api.create("beta", tags=["a"])
    api.create("gamma")
    api.semantic("gamma", {"kind": "archiveFlag"}, environment=None)
    api.semantic("beta", {"kind": "deprecateFlag"}, environment=None)

    def keys(text: str, **params: Any) -> list[str]:
        query = {"filter": text, "sort": "key", **params} if text else {"sort": "key", **params}
        return [flag["key"] for flag in api.ask("GET", FLAGS, params=query)["items"]]

    assert keys("") == ["alpha"]
    assert keys("state:live|deprecated") == ["alpha", "beta"]
    assert keys("state:archived") == keys("", archived="true") == ["gamma"]
    assert keys("tags:a+b") == ["alpha"]
    assert keys("query:ALP,state:live") == ["alpha"]
    assert keys("type:permanent") == ["alpha"]
    assert keys("", tag="a") == ["alpha"]
    assert keys("guardedRollout:monitoring") == []
    api.ask("GET", FLAGS, status=400, params={"filter": "mood:good"})
    api.ask("GET", FLAGS, status=400, params={"filter": "nonsense"})


def test_json_patch(api: Api) -> None:
    """Paths lead to the representation; new rules and clauses get their IDs."""
    api.create("f")
    clause = {"attribute": "country", "op": "in", "values": ["NO"], "contextKind": "user"}
    here = "/environments/production"
    after = patch(
        api,
        "f",
        [
            {"op": "replace", "path": f"{here}/on", "value": True},
            {"op": "add", "path": f"{here}/rules/0", "value": {"variation": 1, "clauses": [clause]}},
            {"op": "add", "path": f"{here}/targets/0", "value": {"variation": 0, "values": ["u"]}},
            {"op": "add", "path": "/tags/-", "value": "x"},
            {"op": "replace", "path": "/description", "value": "why"},
        ],
    )
    config = after["environments"]["production"]
    assert config["on"]
    assert config["rules"][0]["_id"]
    assert config["rules"][0]["clauses"][0]["_id"]
    assert config["targets"][0]["values"] == ["u"]
    assert (after["tags"], after["description"], after["_version"], config["version"]) == (["x"], "why", 2, 2)


def test_a_version_may_be_tested(api: Api) -> None:
    """A failed ``test`` is a conflict and changes nothing; one that holds goes on: the only lock there is."""
    version = api.create("f")["environments"]["production"]["version"]
    here = "/environments/production"
    body = [
        {"op": "test", "path": f"{here}/version", "value": version},
        {"op": "replace", "path": f"{here}/on", "value": True},
    ]
    after = patch(api, "f", {"comment": "once", "patch": body})
    assert after["environments"]["production"]["version"] == version + 1
    assert patch(api, "f", {"comment": "twice", "patch": body}, 409)["code"] == "optimistic_locking_error"
    off = [{"op": "test", "path": "/_version", "value": 1}, {"op": "replace", "path": f"{here}/on", "value": False}]
    assert not patch(api, "f", off)["environments"]["production"]["on"]


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "replace", "path": "/nowhere/at/all", "value": 1}, 422),
        ({"op": "dance", "path": "/name"}, 422),
        ({"op": "replace", "path": "/key", "value": "g"}, 400),
        ({"op": "replace", "path": "/_version", "value": 9}, 400),
        ({"op": "replace", "path": "/environments/production/version", "value": 9}, 400),
        ({"op": "remove", "path": "/environments/production"}, 400),
        ({"op": "remove", "path": "/environments/production/rules"}, 400),
        ({"op": "replace", "path": "/environments/production/on", "value": "yes"}, 400),
        ({"op": "replace", "path": "/environments/production/fallthrough", "value": {"variation": 5}}, 400),
        ({"op": "replace", "path": "/environments/production/fallthrough", "value": {}}, 400),
        ({"op": "remove", "path": "/variations"}, 400),
        ({"op": "add", "path": "/variations/-", "value": "no object"}, 400),
    ],
    ids=str,
)
def test_json_patch_refused(api: Api, operation: dict[str, Any], status: int) -> None:
    """A patch that cannot be understood is 422, one that does not fit 400; nothing of it is done."""
    api.create("f")
    before = api.flag("f", None)
    patch(api, "f", [{"op": "replace", "path": "/name", "value": "half"}, operation], status)
    assert api.flag("f", None) == before


def test_merge_patch(api: Api) -> None:
    """A merge patch, alone or with a comment, replaces what it names."""
    api.create("f", tags=["x"])
    after = patch(api, "f", {"comment": "c", "merge": {"tags": ["y"], "environments": {"test": {"on": True}}}})
    assert (after["tags"], after["environments"]["test"]["on"]) == (["y"], True)
    assert patch(api, "f", {"name": "plain"})["name"] == "plain"


def test_a_semantic_patch_says_so(api: Api) -> None:
    """Instructions under the ordinary content type are refused: it would be read as another kind of patch."""
    api.create("f")
    error = patch(api, "f", {"instructions": [{"kind": "turnFlagOn"}]}, 400)
    assert "semantic" in error["message"]


def test_dry_run(api: Api) -> None:
    """A dry run answers with what would be, and leaves everything as it is."""
    api.create("f")
    shown = api.semantic("f", {"kind": "turnFlagOn"}, query={"dryRun": "true"})
    assert shown["environments"]["production"]["on"]
    assert not api.flag("f")["environments"]["production"]["on"]


def test_copy(api: Api) -> None:
    """An environment's settings go to another, whole or in part; ``currentVersion`` is a lock."""
    ids = [v["_id"] for v in api.create("f")["variations"]]
    off = {"kind": "updateOffVariation", "variationId": ids[0]}
    api.semantic("f", {"kind": "turnFlagOn"}, {"kind": "addTargets", "variationId": ids[1], "values": ["u"]}, off)

    def copied(status: int = 201, **more: Any) -> Any:
        body = {"source": {"key": "production"}, "target": {"key": "test"}, **more}
        return api.ask("POST", f"{FLAGS}/f/copy", generated.FeatureFlag, status, json=body)

    part = copied(includedActions=["updateOn"])["environments"]["test"]
    assert (part["on"], part["targets"]) == (True, [])
    whole = copied(excludedActions=["updateOffVariation"])["environments"]["test"]
    assert (whole["targets"][0]["values"], whole["offVariation"]) == (["u"], 1)
    assert copied(409, target={"key": "test", "currentVersion": 99})["code"] == "optimistic_locking_error"
    copied(400, source={"key": "nowhere"})


def test_clone(api: Api) -> None:
    """A flag made as a clone has the other's settings and a salt of its own."""
    api.create("f", variations=[{"value": "a"}, {"value": "b"}])
    api.semantic("f", {"kind": "turnFlagOn"})
    params = {"clone": "f"}
    made = api.ask("POST", FLAGS, generated.FeatureFlag, 201, json={"key": "g", "name": "G"}, params=params)
    mine, others = made["environments"]["production"], api.flag("f")["environments"]["production"]
    assert (mine["on"], mine["version"]) == (True, 1)
    assert mine["salt"] != others["salt"]


def test_status(api: Api) -> None:
    """A flag has a status in each environment."""
    api.create("f")
    one = api.ask("GET", "/flag-statuses/default/production/f", generated.FlagStatusRep)
    assert one["name"] == "new"
    assert len(api.ask("GET", "/flag-statuses/default/production", generated.FeatureFlagStatuses)["items"]) == 1


def test_audit_log(api: Api) -> None:
    """Newest first, by resource, text and time; the read of one entry has the flag before and after it."""
    api.create("f")
    api.create("g")
    api.semantic("f", {"kind": "turnFlagOn"}, comment="rollout")
    api.semantic("f", {"kind": "turnFlagOn"}, comment="nothing to do")
    api.semantic("f", {"kind": "turnFlagOff"}, environment="test", comment="no change either")
    api.ask("DELETE", "/flags/default/g", status=204)

    def titles(**params: Any) -> list[str]:
        found = api.ask("GET", "/auditlog", generated.AuditLogEntryListingRepCollection, params=params)
        return [f"{entry['titleVerb'].split()[0]} {entry['name']}" for entry in found["items"]]

    assert titles() == ["deleted g", "updated f", "created g", "created f"]
    assert titles(spec="proj/*:env/production:flag/f") == ["updated f", "created f"]
    assert titles(spec="proj/default:env/test:flag/*") == ["deleted g", "created g", "created f"]
    assert titles(q="rollout") == ["updated f"]
    assert titles(limit=1) == ["deleted g"]
    assert titles(before=1) == titles(after=1 << 60) == []
    api.ask("GET", "/auditlog", status=400, params={"limit": 21})
    entry = api.ask("GET", "/auditlog", params={"q": "rollout"})["items"][0]
    whole = api.ask("GET", f"/auditlog/{entry['_id']}", generated.AuditLogEntryRep)
    assert whole["delta"]["environments"]["production"]["on"] is True
    assert whole["comment"] == "rollout"
    assert whole["previousVersion"]["environments"]["production"]["version"] == 1
