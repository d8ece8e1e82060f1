"""Every kind of semantic instruction: its effect, its refusals, and that no request does half of what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import launchdarkly_api.api.feature_flags_api as vendor
import pytest

from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from flagbrake_launchdarkly.emulator.instructions import IN_ENVIRONMENT, KINDS, OF_FLAG
from tests.launchdarkly.emulator.clients import Api

COUNTRY = {"contextKind": "user", "attribute": "country", "op": "in", "values": ["NO"], "negate": False}
PLAN = {"contextKind": "org", "attribute": "plan", "op": "startsWith", "values": ["pro"], "negate": True}
MEMBER = "569f183514f4432160000007"


@dataclass(frozen=True)
class World:
    """A flag with three variations a, b, c; two rules; targets of two kinds; a prerequisite."""

    flag: dict[str, Any]
    parent: dict[str, Any]
    other: dict[str, Any]

    def v(self, index: int) -> str:
        """The ID of a variation."""
        return str(self.flag["variations"][index]["_id"])

    def rule(self, index: int) -> str:
        """The ID of a rule."""
        return str(self.here["rules"][index]["_id"])

    def clause(self, rule: int, clause: int) -> str:
        """The ID of a clause."""
        return str(self.here["rules"][rule]["clauses"][clause]["_id"])

    @property
    def here(self) -> dict[str, Any]:
        """The flag in production."""
        found: dict[str, Any] = self.flag["environments"]["production"]
        return found


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


def _users(flag: Any) -> dict[int, list[str]]:
    return {t["variation"]: t["values"] for t in flag["environments"]["production"]["targets"]}


def _contexts(flag: Any) -> dict[tuple[str, int], list[str]]:
    return {
        (t["contextKind"], t["variation"]): t["values"]
        for t in flag["environments"]["production"]["contextTargets"]
        if t["contextKind"] != "user"
    }


def _in(flag: Any) -> Any:
    return flag["environments"]["production"]


Make = Callable[[World], dict[str, Any]]
Look = Callable[[Any], Any]
#: kind -> (its parameters, what is looked at, what it must be): each kind has one row at least.
EFFECTS: list[tuple[str, Make, Look, Callable[[World], Any]]] = [
    ("turnFlagOn", lambda w: {}, lambda f: _in(f)["on"], lambda w: True),
    ("turnFlagOff", lambda w: {}, lambda f: _in(f)["on"], lambda w: False),
    (
        "updateFallthroughVariationOrRollout",
        lambda w: {"variationId": w.v(1)},
        lambda f: _in(f)["fallthrough"],
        lambda w: {"variation": 1},
    ),
    (
        "updateFallthroughVariationOrRollout",
        lambda w: {
            "rolloutWeights": {w.v(2): 12345, w.v(0): 87655},
            "rolloutBucketBy": "account",
            "rolloutContextKind": "org",
        },
        lambda f: _in(f)["fallthrough"],
        lambda w: {
            "rollout": {
                "variations": [{"variation": 0, "weight": 87655}, {"variation": 2, "weight": 12345}],
                "bucketBy": "account",
                "contextKind": "org",
            }
        },
    ),
    ("updateOffVariation", lambda w: {"variationId": w.v(1)}, lambda f: _in(f)["offVariation"], lambda w: 1),
    ("updateTrackEvents", lambda w: {"trackEvents": True}, lambda f: _in(f)["trackEvents"], lambda w: True),
    (
        "updateTrackEventsFallthrough",
        lambda w: {"trackEvents": True},
        lambda f: _in(f)["trackEventsFallthrough"],
        lambda w: True,
    ),
    (
        "addTargets",
        lambda w: {"variationId": w.v(0), "contextKind": "org", "values": ["umbrella"]},
        _contexts,
        lambda w: {("org", 1): ["acme"], ("org", 0): ["umbrella"]},
    ),
    (
        "addTargets",
        lambda w: {"variationId": w.v(2), "values": ["u9", "u9"]},
        _users,
        lambda w: {0: ["u1", "u2"], 1: ["u3"], 2: ["u9"]},
    ),
    (
        "removeTargets",
        lambda w: {"variationId": w.v(1), "contextKind": "org", "values": ["acme", "nobody"]},
        _contexts,
        lambda w: {},
    ),
    ("removeTargets", lambda w: {"variationId": w.v(1), "values": ["u3"]}, _users, lambda w: {0: ["u1", "u2"]}),
    (
        "replaceTargets",
        lambda w: {
            "targets": [
                {"variationId": w.v(2), "values": ["u1"]},
                {"variationId": w.v(2), "contextKind": "device", "values": ["d1"]},
            ]
        },
        lambda f: (_users(f), _contexts(f)),
        lambda w: ({2: ["u1"]}, {("device", 2): ["d1"]}),
    ),
    (
        "clearTargets",
        lambda w: {"variationId": w.v(1)},
        lambda f: (_users(f), _contexts(f)),
        lambda w: ({0: ["u1", "u2"]}, {}),
    ),
    (
        "addUserTargets",
        lambda w: {"variationId": w.v(0), "values": ["u4"]},
        _users,
        lambda w: {0: ["u1", "u2", "u4"], 1: ["u3"]},
    ),
    (
        "removeUserTargets",
        lambda w: {"variationId": w.v(0), "values": ["u1"]},
        _users,
        lambda w: {0: ["u2"], 1: ["u3"]},
    ),
    (
        "replaceUserTargets",
        lambda w: {"targets": [{"variationId": w.v(i), "values": [f"n{i}"]} for i in range(4)]},
        lambda f: (_users(f), _contexts(f)),
        lambda w: ({i: [f"n{i}"] for i in range(4)}, {("org", 1): ["acme"]}),
    ),
    (
        "clearUserTargets",
        lambda w: {"variationId": w.v(1)},
        lambda f: (_users(f), _contexts(f)),
        lambda w: ({0: ["u1", "u2"]}, {("org", 1): ["acme"]}),
    ),
    (
        "addPrerequisite",
        lambda w: {"key": "other", "variationId": w.other["variations"][1]["_id"]},
        lambda f: _in(f)["prerequisites"],
        lambda w: [{"key": "parent", "variation": 0}, {"key": "other", "variation": 1}],
    ),
    ("removePrerequisite", lambda w: {"key": "parent"}, lambda f: _in(f)["prerequisites"], lambda w: []),
    (
        "updatePrerequisite",
        lambda w: {"key": "parent", "variationId": w.parent["variations"][1]["_id"]},
        lambda f: _in(f)["prerequisites"],
        lambda w: [{"key": "parent", "variation": 1}],
    ),
    (
        "replacePrerequisites",
        lambda w: {"prerequisites": [{"key": "other", "variationId": w.other["variations"][0]["_id"]}]},
        lambda f: _in(f)["prerequisites"],
        lambda w: [{"key": "other", "variation": 0}],
    ),
    (
        "addRule",
        lambda w: {"variationId": w.v(2), "clauses": [COUNTRY], "beforeRuleId": w.rule(1), "description": "third"},
        lambda f: [(r.get("variation"), r.get("description")) for r in _in(f)["rules"]],
        lambda w: [(1, None), (2, "third"), (None, None)],
    ),
    (
        "removeRule",
        lambda w: {"ruleId": w.rule(0)},
        lambda f: [r["_id"] for r in _in(f)["rules"]],
        lambda w: [w.rule(1)],
    ),
    (
        "replaceRules",
        lambda w: {
            "rules": [
                {
                    "variationId": w.v(2),
                    "trackEvents": True,
                    "description": "only",
                    "clauses": [{"op": "segmentMatch", "attribute": "segmentMatch", "values": ["beta"]}],
                }
            ]
        },
        lambda f: [(r["variation"], r["trackEvents"], r["clauses"][0]["values"]) for r in _in(f)["rules"]],
        lambda w: [(2, True, ["beta"])],
    ),
    (
        "reorderRules",
        lambda w: {"ruleIds": [w.rule(1), w.rule(0)]},
        lambda f: [r["_id"] for r in _in(f)["rules"]],
        lambda w: [w.rule(1), w.rule(0)],
    ),
    (
        "updateRuleVariationOrRollout",
        lambda w: {"ruleId": w.rule(1), "variationId": w.v(2)},
        lambda f: (_in(f)["rules"][1].get("variation"), _in(f)["rules"][1].get("rollout")),
        lambda w: (2, None),
    ),
    (
        "updateRuleDescription",
        lambda w: {"ruleId": w.rule(0), "description": "Norway"},
        lambda f: _in(f)["rules"][0]["description"],
        lambda w: "Norway",
    ),
    (
        "updateRuleTrackEvents",
        lambda w: {"ruleId": w.rule(0), "trackEvents": True},
        lambda f: _in(f)["rules"][0]["trackEvents"],
        lambda w: True,
    ),
    (
        "addClauses",
        lambda w: {"ruleId": w.rule(1), "clauses": [PLAN]},
        lambda f: [c["attribute"] for c in _in(f)["rules"][1]["clauses"]],
        lambda w: ["country", "plan"],
    ),
    (
        "removeClauses",
        lambda w: {"ruleId": w.rule(0), "clauseIds": [w.clause(0, 0)]},
        lambda f: [c["_id"] for c in _in(f)["rules"][0]["clauses"]],
        lambda w: [w.clause(0, 1)],
    ),
    (
        "updateClause",
        lambda w: {"ruleId": w.rule(0), "clauseId": w.clause(0, 0), "clause": PLAN},
        lambda f: _in(f)["rules"][0]["clauses"][0],
        lambda w: {**PLAN, "_id": w.clause(0, 0)},
    ),
    (
        "addValuesToClause",
        lambda w: {"ruleId": w.rule(0), "clauseId": w.clause(0, 0), "values": ["SE", "NO"]},
        lambda f: _in(f)["rules"][0]["clauses"][0]["values"],
        lambda w: ["NO", "SE"],
    ),
    (
        "removeValuesFromClause",
        lambda w: {"ruleId": w.rule(0), "clauseId": w.clause(0, 0), "values": ["NO"]},
        lambda f: _in(f)["rules"][0]["clauses"][0]["values"],
        lambda w: [],
    ),
    (
        "addVariation",
        lambda w: {"value": "d", "name": "D", "description": "fifth"},
        lambda f: {k: v for k, v in f["variations"][4].items() if k != "_id"},
        lambda w: {"value": "d", "name": "D", "description": "fifth"},
    ),
    (
        "removeVariation",
        lambda w: {"variationId": w.v(3)},
        lambda f: [v["value"] for v in f["variations"]],
        lambda w: ["a", "b", "c"],
    ),
    (
        "updateVariation",
        lambda w: {"variationId": w.v(1), "value": "b2", "name": "B"},
        lambda f: (f["variations"][1]["value"], f["variations"][1]["name"]),
        lambda w: ("b2", "B"),
    ),
    (
        "updateDefaultVariation",
        lambda w: {"OnVariationValue": "b", "offVariationValue": "a"},
        lambda f: f["defaults"],
        lambda w: {"onVariation": 1, "offVariation": 0},
    ),
    ("addTags", lambda w: {"values": ["x", "team-a"]}, lambda f: f["tags"], lambda w: ["team-a", "x"]),
    ("removeTags", lambda w: {"values": ["team-a", "none"]}, lambda f: f["tags"], lambda w: []),
    ("updateName", lambda w: {"value": "New name"}, lambda f: f["name"], lambda w: "New name"),
    ("updateDescription", lambda w: {"value": "Why"}, lambda f: f["description"], lambda w: "Why"),
    ("makeFlagPermanent", lambda w: {}, lambda f: f["temporary"], lambda w: False),
    ("makeFlagTemporary", lambda w: {}, lambda f: f["temporary"], lambda w: True),
    (
        "addCustomProperties",
        lambda w: {"key": "jira", "name": "Jira", "values": ["X-3"]},
        lambda f: f["customProperties"],
        lambda w: {"jira": {"name": "Jira", "value": ["X-1", "X-2", "X-3"]}},
    ),
    (
        "removeCustomProperties",
        lambda w: {"key": "jira", "values": ["X-1", "X-2"]},
        lambda f: f["customProperties"],
        lambda w: {},
    ),
    (
        "replaceCustomProperties",
        lambda w: {"key": "jira", "name": "Jira", "values": ["Y-1"]},
        lambda f: f["customProperties"]["jira"]["value"],
        lambda w: ["Y-1"],
    ),
    (
        "turnOnClientSideAvailability",
        lambda w: {"value": "usingEnvironmentId"},
        lambda f: f["clientSideAvailability"]["usingEnvironmentId"],
        lambda w: True,
    ),
    (
        "turnOffClientSideAvailability",
        lambda w: {"value": "usingMobileKey"},
        lambda f: f["clientSideAvailability"]["usingMobileKey"],
        lambda w: False,
    ),
    ("updateMaintainerMember", lambda w: {"value": MEMBER}, lambda f: f["_maintainer"]["_id"], lambda w: MEMBER),
    ("updateMaintainerTeam", lambda w: {"value": "team"}, lambda f: f["maintainerTeamKey"], lambda w: "team"),
    ("removeMaintainer", lambda w: {}, lambda f: f.get("maintainerId"), lambda w: None),
    ("archiveFlag", lambda w: {}, lambda f: (f["archived"], "archivedDate" in f), lambda w: (True, True)),
    ("restoreFlag", lambda w: {}, lambda f: f["archived"], lambda w: False),
    ("deprecateFlag", lambda w: {}, lambda f: (f["deprecated"], "deprecatedDate" in f), lambda w: (True, True)),
    ("restoreDeprecatedFlag", lambda w: {}, lambda f: f["deprecated"], lambda w: False),
]


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
    versions = [(flag["_version"], _in(flag)["version"]) for flag in (answer, again)]
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
    assert _in(after)["offVariation"] == 2
    assert [w["variation"] for w in _in(after)["fallthrough"]["rollout"]["variations"]] == [0, 2]


def test_booleans_are_two(api: Api, world: World) -> None:
    """A flag of booleans gets no third variation and loses none."""
    yes, _ = (one["_id"] for one in world.parent["variations"])
    api.semantic("parent", {"kind": "addVariation", "value": 3}, environment=None, status=400)
    api.semantic("parent", {"kind": "removeVariation", "variationId": yes}, environment=None, status=400)
    api.semantic("parent", {"kind": "updateVariation", "variationId": yes, "value": 1}, environment=None, status=400)


def test_both_lists_are_apart() -> None:
    """No kind is in both lists."""
    assert not set(IN_ENVIRONMENT) & set(OF_FLAG)
