"""The management API's representation <-> the one that SDKs receive: the same indices under other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flagbrake.model.clause import USER
from flagbrake.model.flag import Flag, Segment
from flagbrake_launchdarkly.translate.notes import Notes

Json = Mapping[str, Any]


def as_sdk_flag(data: Json, environment: str, notes: Notes) -> dict[str, Any]:
    """One environment of a flag, as SDKs receive it, with what the model holds besides."""
    environments = data.get("environments") or {}
    config = environments.get(environment)
    if config is None:
        there = ", ".join(sorted(environments)) or "a flag read with ?env=..."
        raise notes.refusal("environments", f"there is no environment '{environment}'.", there)
    rules = []
    for index, rule in enumerate(config.get("rules") or ()):
        if rule.get("disabled"):
            notes.note(f"rules[{index}]", "it is disabled", "none: it reaches no SDK")
            continue
        rules.append({**rule, "id": rule.get("_id") or rule.get("id"), **_serve(rule)})
    return {
        **config,
        "key": data["key"],
        "version": config.get("version") or config.get("_version") or 0,
        "variations": [variation["value"] for variation in data["variations"]],
        "fallthrough": _serve(config.get("fallthrough") or {}),
        "rules": rules,
        "contextTargets": _placed(config),
        "tags": data.get("tags"),
        "description": data.get("description"),
        "archived": bool(data.get("archived") or config.get("archived")),
        "migration": data.get("migrationSettings"),
    }


def _serve(data: Json) -> dict[str, Any]:
    rollout = data.get("rollout")
    if not rollout:
        return {"variation": data.get("variation")}
    kind = "experiment" if rollout.get("experimentAllocation") else rollout.get("kind")
    return {"variation": data.get("variation"), "rollout": {**rollout, "kind": kind}}


def _placed(config: Json) -> list[Json]:
    """Targets of all kinds in their order; users' targets that have no place among them come last."""
    listed = list(config.get("contextTargets") or ())
    if not any((target.get("contextKind") or USER) != USER for target in listed):
        return []
    placed = {target["variation"] for target in listed if (target.get("contextKind") or USER) == USER}
    late = [t["variation"] for t in config.get("targets") or () if t["variation"] not in placed]
    return [*listed, *({"contextKind": USER, "variation": variation, "values": []} for variation in late)]


def as_sdk_segment(data: Json) -> Json:
    """A segment's documents differ in what the model does not read."""
    return data


def write_rest_flag(flag: Flag, sdk: Json, environment: str) -> dict[str, Any]:
    """A flag with one environment, from the document that SDKs are to receive."""
    described = {rule.id: rule.description for rule in flag.rules}
    rules = [
        {
            **{name: value for name, value in rule.items() if name != "id"},
            "_id": rule["id"],
            "description": described.get(rule["id"], ""),
        }
        for rule in sdk["rules"]
    ]
    config = {
        "on": sdk["on"],
        "archived": flag.archived,
        "salt": sdk["salt"],
        "version": sdk["version"],
        "targets": [{**target, "contextKind": USER} for target in sdk["targets"]],
        "contextTargets": sdk["contextTargets"],
        "rules": rules,
        "fallthrough": sdk["fallthrough"],
        "offVariation": sdk["offVariation"],
        "prerequisites": sdk["prerequisites"],
        "trackEvents": False,
        "trackEventsFallthrough": False,
    }
    boolean = len(flag.variants) == 2 and all(isinstance(variant.value, bool) for variant in flag.variants)
    return {
        "key": flag.key,
        "name": flag.key,
        "description": flag.description,
        "kind": "boolean" if boolean else "multivariate",
        "variations": [{"value": variant.value, "name": variant.name} for variant in flag.valued().variants],
        "tags": list(flag.tags),
        "archived": flag.archived,
        "temporary": False,
        "environments": {environment: config},
    }


def write_rest_segment(segment: Segment, sdk: Json) -> dict[str, Any]:
    """A segment from the document that SDKs are to receive."""
    return {**sdk, "name": segment.key, "description": segment.description, "tags": []}
