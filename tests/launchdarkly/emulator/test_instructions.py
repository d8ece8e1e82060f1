"""Every kind of semantic instruction: its effect, its refusals, and that no request does half of what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import launchdarkly_api.api.feature_flags_api as vendor
import pytest

from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from flagbrake_launchdarkly.emulator.instructions import IN_ENVIRONMENT, KINDS, OF_FLAG
from tests.launchdarkly.emulator.clients import Api
from tests.launchdarkly.emulator.effects import COUNTRY, EFFECTS, PLAN, Look, Make, World, in_production


@pytest.fixture
def world(ld: LaunchDarklyEmulator, api: Api) -> World:
    """Two flags to depend on, and one that is changed."""
    parent, other = api.create("parent"), api.create("other")
    made = api.create(
        "f",
        variations=[{"value": "a", "name": "A"}, {"value": "b"}, {"value": "c"}, {"value": "spare"}],
        defaults={"onVariation": 0, "offVariation": 2},
        tags=["team-a"],
        customProperties={"jira": {"name": "Jira", "value": ["X-1", "X-2"]}},
    )
    ids = [variation["_id"] for variation in made["variations"]]
    api.semantic(
        "f",
        {"kind": "addRule", "variationId": ids[1], "clauses": [COUNTRY, PLAN]},
        {"kind": "addRule", "rolloutWeights": {ids[0]: 60000, ids[1]: 40000}, "clauses": [COUNTRY]},
        {"kind": "addTargets", "variationId": ids[0], "values": ["u1", "u2"]},
        {"kind": "addTargets", "variationId": ids[1], "values": ["u3"]},
        {"kind": "addTargets", "variationId": ids[1], "contextKind": "org", "values": ["acme"]},
        {"kind": "addPrerequisite", "key": "parent", "variationId": parent["variations"][0]["_id"]},
    )
    return World(api.flag("f", None), parent, other)


def test_every_kind_is_known() -> None:
    """The kinds are those that the vendor's own text of the PATCH lists, no more and no fewer."""
    text = vendor.FeatureFlagsApi.patch_feature_flag.__doc__
    assert set(re.findall(r"(?<!#)#### (\w+)", text)) == set(KINDS)
    assert {kind for kind, *_ in EFFECTS} | {"deleteFlag"} == set(KINDS)


#: Made anew each time, or gone the second time.
ANEW = {
    "addClauses",
    "addRule",
    "addVariation",
    "removeClauses",
    "removeCustomProperties",
    "removeVariation",
    "replaceRules",
}


@pytest.mark.parametrize(("kind", "make", "look", "wanted"), EFFECTS, ids=[kind for kind, *_ in EFFECTS])
def test_effect(api: Api, world: World, kind: str, make: Make, look: Look, wanted: Callable[[World], Any]) -> None:
    """An instruction does what the vendor says, and doing it again changes nothing, not even a version."""
    environment = "production" if kind in IN_ENVIRONMENT else None
    instruction = {"kind": kind, **make(world)}
    answer = api.semantic("f", instruction, environment=environment)
    assert look(answer) == wanted(world)
    assert look(api.flag("f", None)) == wanted(world)
    if kind in ANEW:
        return
    again = api.semantic("f", instruction, environment=environment)
    versions = [(flag["_version"], in_production(flag)["version"]) for flag in (answer, again)]
    assert versions[0] == versions[1]


def test_delete(api: Api, world: World) -> None:
    """``deleteFlag`` answers without a body, and the flag is gone."""
    api.semantic("f", {"kind": "deleteFlag"}, environment=None, status=204)
    assert api.ask("GET", "/flags/default/f", status=404)["code"] == "not_found"


def test_versions(api: Api, world: World) -> None:
    """A change of one environment raises its version only; one of variations raises all of them."""
    before = api.flag("f", None)
    after = api.semantic("f", {"kind": "turnFlagOn"})
    assert after["_version"] == before["_version"]
    assert after["environments"]["production"]["version"] == before["environments"]["production"]["version"] + 1
    assert after["environments"]["test"]["version"] == before["environments"]["test"]["version"]
    named = api.semantic("f", {"kind": "updateName", "value": "n"}, environment=None)
    assert named["_version"] == after["_version"] + 1
    assert named["environments"] == {**after["environments"]}
    grown = api.semantic("f", {"kind": "addVariation", "value": "d"}, environment=None)
    for key in ("production", "test"):
        assert grown["environments"][key]["version"] == named["environments"][key]["version"] + 1


REFUSED: list[tuple[str, Make]] = [
    ("an unknown kind", lambda w: {"kind": "turnFlagSideways"}),
    ("no kind", lambda w: {}),
    ("an unknown variation", lambda w: {"kind": "updateOffVariation", "variationId": "nope"}),
    ("no variation", lambda w: {"kind": "updateOffVariation"}),
    ("weights beyond the whole", lambda w: _weights({w.v(0): 60000, w.v(1): 60000})),
    ("weights below the whole", lambda w: _weights({w.v(0): 99999})),
    ("a weight that is no integer", lambda w: _weights({w.v(0): 50000.5, w.v(1): 49999.5})),
    ("a negative weight", lambda w: _weights({w.v(0): 100001, w.v(1): -1})),
    ("weights of an unknown variation", lambda w: _weights({"nope": 100000})),
    ("no weights", lambda w: _weights({})),
    ("a key targeted elsewhere", lambda w: {"kind": "addTargets", "variationId": w.v(1), "values": ["u1"]}),
    ("targets that are no strings", lambda w: {"kind": "addTargets", "variationId": w.v(1), "values": [5]}),
    ("users of not every variation", lambda w: {"kind": "replaceUserTargets", "targets": []}),
    ("an unknown rule", lambda w: {"kind": "updateRuleDescription", "ruleId": "nope", "description": ""}),
    ("an unknown clause", lambda w: {"kind": "removeClauses", "ruleId": w.rule(0), "clauseIds": ["nope"]}),
    ("a rule before an unknown one", lambda w: _rule(w, beforeRuleId="nope")),
    ("a rule without clauses", lambda w: _rule(w, clauses=[])),
    ("an unknown operator", lambda w: _rule(w, clauses=[{**COUNTRY, "op": "equals"}])),
    ("an order of not every rule", lambda w: {"kind": "reorderRules", "ruleIds": [w.rule(0)]}),
    ("an unknown prerequisite", lambda w: {"kind": "addPrerequisite", "key": "nope", "variationId": w.v(0)}),
    ("itself as prerequisite", lambda w: {"kind": "addPrerequisite", "key": "f", "variationId": w.v(0)}),
    ("another's variation", lambda w: {"kind": "addPrerequisite", "key": "other", "variationId": w.v(0)}),
    ("a prerequisite that is none", lambda w: _update_prerequisite(w, "other")),
    ("a value that is there", lambda w: {"kind": "addVariation", "value": "a"}),
    ("no value", lambda w: {"kind": "addVariation"}),
    ("a variation in use", lambda w: {"kind": "removeVariation", "variationId": w.v(1)}),
    ("a variation by default", lambda w: {"kind": "removeVariation", "variationId": w.v(2)}),
    ("a default that is no value", lambda w: {"kind": "updateDefaultVariation", "onVariationValue": "nope"}),
    ("no name", lambda w: {"kind": "updateName", "value": ""}),
    ("an unknown member", lambda w: {"kind": "updateMaintainerMember", "value": "nobody"}),
    ("an unknown availability", lambda w: {"kind": "turnOnClientSideAvailability", "value": "usingServerKey"}),
    ("an unknown property", lambda w: {"kind": "removeCustomProperties", "key": "nope", "values": []}),
]


def _weights(weights: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": weights}


def _rule(world: World, **more: Any) -> dict[str, Any]:
    return {"kind": "addRule", "variationId": world.v(0), "clauses": [COUNTRY], **more}


def _update_prerequisite(world: World, key: str) -> dict[str, Any]:
    return {"kind": "updatePrerequisite", "key": key, "variationId": world.other["variations"][0]["_id"]}


@pytest.mark.parametrize(("name", "make"), REFUSED, ids=[name for name, _ in REFUSED])
def test_refused(api: Api, world: World, name: str, make: Make) -> None:
    """What does not fit is refused with 400 and a message, and what stood before it in the request is not done."""
    before = api.flag("f", None)
    error = api.semantic("f", {"kind": "addTags", "values": ["half"]}, {"kind": "turnFlagOn"}, make(world), status=400)
    assert error["code"] == "invalid_request"
    assert error["message"]
    assert api.flag("f", None) == before


@pytest.mark.parametrize("kind", sorted(IN_ENVIRONMENT))
def test_an_environment_is_required(api: Api, world: World, kind: str) -> None:
    """Instructions about targeting say in which environment; an unknown one is refused."""
    for environment in (None, "nowhere"):
        error = api.semantic("f", {"kind": kind}, environment=environment, status=400)
        assert "environment" in error["message"]


def test_a_prerequisite_cannot_be_archived(api: Api, world: World) -> None:
    """A flag that others depend on is not archived."""
    error = api.semantic("parent", {"kind": "archiveFlag"}, environment=None, status=400)
    assert "f" in error["message"]


def test_prerequisites_make_no_circle(api: Api, world: World) -> None:
    """A flag cannot depend on one that depends on it, however far."""
    yes = world.flag["variations"][0]["_id"]
    parent = world.parent["variations"][0]["_id"]
    api.semantic("other", {"kind": "addPrerequisite", "key": "f", "variationId": yes})
    other = {"kind": "addPrerequisite", "key": "other", "variationId": world.other["variations"][0]["_id"]}
    api.semantic("parent", other, status=400)
    api.semantic("f", other, status=400)
    api.semantic("other", {"kind": "addPrerequisite", "key": "parent", "variationId": parent})


def test_indices_move_up(api: Api, world: World) -> None:
    """When a variation goes, what is served stays what it was."""
    ids = [variation["_id"] for variation in world.flag["variations"]]
    api.semantic("f", {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {ids[0]: 1000, ids[3]: 99000}})
    api.semantic("f", {"kind": "addVariation", "value": "last"}, environment=None)
    api.semantic("f", {"kind": "updateDefaultVariation", "offVariationValue": "last"}, environment=None)
    for environment in ("production", "test"):
        spare = {"kind": "updateOffVariation", "variationId": ids[3]}
        api.semantic("f", spare, environment=environment)
    after = api.semantic("f", {"kind": "removeVariation", "variationId": ids[2]}, environment=None)
    assert [v["value"] for v in after["variations"]] == ["a", "b", "spare", "last"]
    assert after["defaults"] == {"onVariation": 0, "offVariation": 3}
    assert in_production(after)["offVariation"] == 2
    assert [w["variation"] for w in in_production(after)["fallthrough"]["rollout"]["variations"]] == [0, 2]


def test_booleans_are_two(api: Api, world: World) -> None:
    """A flag of booleans gets no third variation and loses none."""
    yes, _ = (one["_id"] for one in world.parent["variations"])
    api.semantic("parent", {"kind": "addVariation", "value": 3}, environment=None, status=400)
    api.semantic("parent", {"kind": "removeVariation", "variationId": yes}, environment=None, status=400)
    api.semantic("parent", {"kind": "updateVariation", "variationId": yes, "value": 1}, environment=None, status=400)


def test_both_lists_are_apart() -> None:
    """No kind is in both lists."""
    assert not set(IN_ENVIRONMENT) & set(OF_FLAG)
