"""What every kind of semantic instruction does, as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


def _users(flag: Any) -> dict[int, list[str]]:
    return {t["variation"]: t["values"] for t in flag["environments"]["production"]["targets"]}


def _contexts(flag: Any) -> dict[tuple[str, int], list[str]]:
    return {
        (t["contextKind"], t["variation"]): t["values"]
        for t in flag["environments"]["production"]["contextTargets"]
        if t["contextKind"] != "user"
    }


def in_production(flag: Any) -> Any:
    """The flag in production."""
    return flag["environments"]["production"]


Make = Callable[[World], dict[str, Any]]
Look = Callable[[Any], Any]
#: kind -> (its parameters, what is looked at, what it must be): each kind has one row at least.
EFFECTS: list[tuple[str, Make, Look, Callable[[World], Any]]] = [
    ("turnFlagOn", lambda w: {}, lambda f: in_production(f)["on"], lambda w: True),
    ("turnFlagOff", lambda w: {}, lambda f: in_production(f)["on"], lambda w: False),
    (
        "updateFallthroughVariationOrRollout",
        lambda w: {"variationId": w.v(1)},
        lambda f: in_production(f)["fallthrough"],
        lambda w: {"variation": 1},
    ),
    (
        "updateFallthroughVariationOrRollout",
        lambda w: {
            "rolloutWeights": {w.v(2): 12345, w.v(0): 87655},
            "rolloutBucketBy": "account",
            "rolloutContextKind": "org",
        },
        lambda f: in_production(f)["fallthrough"],
        lambda w: {
            "rollout": {
                "variations": [{"variation": 0, "weight": 87655}, {"variation": 2, "weight": 12345}],
                "bucketBy": "account",
                "contextKind": "org",
            }
        },
    ),
    ("updateOffVariation", lambda w: {"variationId": w.v(1)}, lambda f: in_production(f)["offVariation"], lambda w: 1),
    ("updateTrackEvents", lambda w: {"trackEvents": True}, lambda f: in_production(f)["trackEvents"], lambda w: True),
    (
        "updateTrackEventsFallthrough",
        lambda w: {"trackEvents": True},
        lambda f: in_production(f)["trackEventsFallthrough"],
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
        lambda f: in_production(f)["prerequisites"],
        lambda w: [{"key": "parent", "variation": 0}, {"key": "other", "variation": 1}],
    ),
    ("removePrerequisite", lambda w: {"key": "parent"}, lambda f: in_production(f)["prerequisites"], lambda w: []),
    (
        "updatePrerequisite",
        lambda w: {"key": "parent", "variationId": w.parent["variations"][1]["_id"]},
        lambda f: in_production(f)["prerequisites"],
        lambda w: [{"key": "parent", "variation": 1}],
    ),
    (
        "replacePrerequisites",
        lambda w: {"prerequisites": [{"key": "other", "variationId": w.other["variations"][0]["_id"]}]},
        lambda f: in_production(f)["prerequisites"],
        lambda w: [{"key": "other", "variation": 0}],
    ),
    (
        "addRule",
        lambda w: {"variationId": w.v(2), "clauses": [COUNTRY], "beforeRuleId": w.rule(1), "description": "third"},
        lambda f: [(r.get("variation"), r.get("description")) for r in in_production(f)["rules"]],
        lambda w: [(1, None), (2, "third"), (None, None)],
    ),
    (
        "removeRule",
        lambda w: {"ruleId": w.rule(0)},
        lambda f: [r["_id"] for r in in_production(f)["rules"]],
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
        lambda f: [(r["variation"], r["trackEvents"], r["clauses"][0]["values"]) for r in in_production(f)["rules"]],
        lambda w: [(2, True, ["beta"])],
    ),
    (
        "reorderRules",
        lambda w: {"ruleIds": [w.rule(1), w.rule(0)]},
        lambda f: [r["_id"] for r in in_production(f)["rules"]],
        lambda w: [w.rule(1), w.rule(0)],
    ),
    (
        "updateRuleVariationOrRollout",
        lambda w: {"ruleId": w.rule(1), "variationId": w.v(2)},
        lambda f: (in_production(f)["rules"][1].get("variation"), in_production(f)["rules"][1].get("rollout")),
        lambda w: (2, None),
    ),
    (
        "updateRuleDescription",
        lambda w: {"ruleId": w.rule(0), "description": "Norway"},
        lambda f: in_production(f)["rules"][0]["description"],
        lambda w: "Norway",
    ),
    (
        "updateRuleTrackEvents",
        lambda w: {"ruleId": w.rule(0), "trackEvents": True},
        lambda f: in_production(f)["rules"][0]["trackEvents"],
        lambda w: True,
    ),
    (
        "addClauses",
        lambda w: {"ruleId": w.rule(1), "clauses": [PLAN]},
        lambda f: [c["attribute"] for c in in_production(f)["rules"][1]["clauses"]],
        lambda w: ["country", "plan"],
    ),
    (
        "removeClauses",
        lambda w: {"ruleId": w.rule(0), "clauseIds": [w.clause(0, 0)]},
        lambda f: [c["_id"] for c in in_production(f)["rules"][0]["clauses"]],
        lambda w: [w.clause(0, 1)],
    ),
    (
        "updateClause",
        lambda w: {"ruleId": w.rule(0), "clauseId": w.clause(0, 0), "clause": PLAN},
        lambda f: in_production(f)["rules"][0]["clauses"][0],
        lambda w: {**PLAN, "_id": w.clause(0, 0)},
    ),
    (
        "addValuesToClause",
        lambda w: {"ruleId": w.rule(0), "clauseId": w.clause(0, 0), "values": ["SE", "NO"]},
        lambda f: in_production(f)["rules"][0]["clauses"][0]["values"],
        lambda w: ["NO", "SE"],
    ),
    (
        "removeValuesFromClause",
        lambda w: {"ruleId": w.rule(0), "clauseId": w.clause(0, 0), "values": ["NO"]},
        lambda f: in_production(f)["rules"][0]["clauses"][0]["values"],
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
