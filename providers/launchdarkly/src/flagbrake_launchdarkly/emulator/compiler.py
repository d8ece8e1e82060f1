"""Pure: a flag as the management API shows it <-> a flag as SDKs download it."""

from __future__ import annotations

import copy
from typing import Any, Final

from flagbrake.emulate.json_patch import same
from flagbrake_launchdarkly.emulator.editing import Json, new_id

_USER: Final = "user"
#: What SDKs read and the management API of flags does not show; kept under ``_sdk`` in the environment.
_EXTRAS: Final = ("samplingRatio", "excludeFromSummaries", "migration", "debugEventsUntilDate")


def sdk_flag(flag: Json, environment: str) -> Json:
    """One environment's flag, index-based, as it is streamed."""
    config = flag["environments"][environment]
    available = flag["clientSideAvailability"]
    return {
        "key": flag["key"],
        "version": config["version"],
        "deleted": False,
        "on": config["on"],
        "variations": [variation["value"] for variation in flag["variations"]],
        "offVariation": config.get("offVariation"),
        "fallthrough": _serve(config["fallthrough"]),
        "targets": [{"values": t["values"], "variation": t["variation"]} for t in config["targets"]],
        "contextTargets": _context_targets(config),
        "rules": [_rule(rule) for rule in config["rules"] if not rule.get("disabled")],
        "prerequisites": config["prerequisites"],
        "salt": config["salt"],
        "trackEvents": config["trackEvents"],
        "trackEventsFallthrough": config["trackEventsFallthrough"],
        "clientSide": bool(available["usingEnvironmentId"]),
        "clientSideAvailability": available,
        "debugEventsUntilDate": None,
        **config.get("_sdk", {}),
    }


def sdk_segment(segment: Json) -> Json:
    """A segment as it is streamed."""
    shown = ("key", "version", "deleted", "included", "excluded", "includedContexts", "excludedContexts", "salt")
    made = {name: segment[name] for name in shown}
    made["rules"] = [
        {**{k: v for k, v in rule.items() if k not in {"_id", "description"}}, "clauses": _clauses(rule)}
        for rule in segment["rules"]
    ]
    for name in ("unbounded", "unboundedContextKind", "generation"):
        if segment.get(name):
            made[name] = segment[name]
    return made


def config_of(sdk: Json, config: Json) -> Json:
    """The environment's part of a flag from its streamed form; IDs that fit are kept."""
    made = copy.deepcopy(config)
    present = {rule["_id"]: rule["clauses"] for rule in config["rules"]}
    made.update(
        on=bool(sdk.get("on", False)),
        offVariation=sdk.get("offVariation"),
        fallthrough=_shown_serve(sdk.get("fallthrough") or {"variation": 0}),
        targets=[
            {"contextKind": _USER, "values": list(t.get("values", ())), "variation": t["variation"]}
            for t in sdk.get("targets", ())
        ],
        contextTargets=[
            {
                "contextKind": t.get("contextKind", _USER),
                "values": list(t.get("values", ())),
                "variation": t["variation"],
            }
            for t in sdk.get("contextTargets", ())
        ],
        rules=[_shown_rule(rule, present.get(rule.get("id"), [])) for rule in sdk.get("rules", ())],
        prerequisites=copy.deepcopy(sdk.get("prerequisites", [])),
        trackEvents=bool(sdk.get("trackEvents", False)),
        trackEventsFallthrough=bool(sdk.get("trackEventsFallthrough", False)),
    )
    if sdk.get("salt") is not None:
        made["salt"] = sdk["salt"]
    made["_sdk"] = {name: sdk[name] for name in _EXTRAS if sdk.get(name) is not None}
    return made


def variations_of(values: list[Any], present: list[Json]) -> list[Json]:
    """Variations with these values; those that have their value already keep their ID and name."""
    made = []
    for index, value in enumerate(values):
        kept = present[index] if index < len(present) and same(present[index]["value"], value) else {"_id": new_id()}
        made.append({**kept, "value": value})
    return made


def kind_of(values: list[Any]) -> str:
    """LaunchDarkly's two kinds of flags."""
    boolean = len(values) == 2 and all(isinstance(value, bool) for value in values)
    return "boolean" if boolean else "multivariate"


def _context_targets(config: Json) -> list[Json]:
    listed: list[Json] = [
        {"contextKind": t.get("contextKind", _USER), "values": t["values"], "variation": t["variation"]}
        for t in config["contextTargets"]
    ]
    if not any(target["contextKind"] != _USER for target in listed):
        return []
    placed = {target["variation"] for target in listed if target["contextKind"] == _USER}
    return listed + [
        {"contextKind": _USER, "values": [], "variation": target["variation"]}
        for target in config["targets"]
        if target["variation"] not in placed
    ]


def _rule(rule: Json) -> Json:
    return {
        "id": rule["_id"],
        **_serve(rule),
        "clauses": _clauses(rule),
        "trackEvents": rule["trackEvents"],
    }


def _clauses(rule: Json) -> list[Json]:
    return [{name: value for name, value in clause.items() if name != "_id"} for clause in rule["clauses"]]


def _serve(serve: Json) -> Json:
    rollout = serve.get("rollout")
    if rollout is None:
        return {"variation": serve["variation"]}
    made: Json = {
        "kind": "experiment" if rollout.get("experimentAllocation") else "rollout",
        "contextKind": rollout.get("contextKind", _USER),
        "variations": [
            {"variation": p["variation"], "weight": p["weight"], **({"untracked": True} if p.get("_untracked") else {})}
            for p in rollout["variations"]
        ],
    }
    made.update({name: rollout[name] for name in ("bucketBy", "seed") if rollout.get(name) is not None})
    return {"rollout": made}


def _shown_serve(serve: Json) -> Json:
    rollout = serve.get("rollout")
    if rollout is None:
        return {"variation": serve.get("variation")}
    made: Json = {
        "variations": [
            {"variation": p["variation"], "weight": p["weight"], **({"_untracked": True} if p.get("untracked") else {})}
            for p in rollout["variations"]
        ],
        "contextKind": rollout.get("contextKind", _USER),
    }
    made.update({name: rollout[name] for name in ("bucketBy", "seed") if rollout.get(name) is not None})
    if rollout.get("kind") == "experiment":
        made["experimentAllocation"] = {"defaultVariation": rollout["variations"][0]["variation"], "canReshuffle": True}
    return {"rollout": made}


def _shown_rule(rule: Json, present: list[Json]) -> Json:
    """A rule; a clause that was at its place before keeps its ID."""
    clauses: list[Json] = []
    for index, clause in enumerate(rule.get("clauses", ())):
        made = {
            "attribute": clause.get("attribute", ""),
            "op": clause["op"],
            "values": list(clause.get("values", ())),
            "negate": bool(clause.get("negate", False)),
            **({"contextKind": clause["contextKind"]} if clause.get("contextKind") else {}),
        }
        clauses.append({"_id": present[index]["_id"] if index < len(present) else new_id(), **made})
    return {
        "_id": rule.get("id") or new_id(),
        **_shown_serve(rule),
        "clauses": clauses,
        "trackEvents": bool(rule.get("trackEvents", False)),
    }
