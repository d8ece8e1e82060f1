"""Flags: made from a request, shown as LaunchDarkly shows them."""

from __future__ import annotations

import re
import secrets
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from flagbrake.emulate.json_patch import same
from flagbrake_launchdarkly.emulator.compiler import kind_of
from flagbrake_launchdarkly.emulator.editing import Json, check_flag, new_id
from flagbrake_launchdarkly.emulator.refusals import invalid

_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}\Z")
_JSON: Final = "application/json"


def now() -> int:
    """Milliseconds, as LaunchDarkly dates things."""
    return int(time.time() * 1000)


def link(href: str) -> Json:
    """A link."""
    return {"href": href, "type": _JSON}


def new_flag(body: Mapping[str, Any], environments: Iterable[str]) -> Json:
    """A flag from the body of a creation.

    Raises:
        Refusal: a key, a variation or a default that does not fit.
    """
    key = body.get("key")
    if not isinstance(key, str) or not _KEY.match(key):
        raise invalid("key must start with a letter or digit and hold letters, digits, '.', '_' and '-' only")
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise invalid("name is required")
    variations = _variations(body.get("variations"))
    defaults = body.get("defaults") or {"onVariation": 0, "offVariation": len(variations) - 1}
    flag: Json = {
        "name": name,
        "kind": kind_of([variation["value"] for variation in variations]),
        "description": body.get("description") or "",
        "key": key,
        "_version": 1,
        "creationDate": now(),
        "includeInSnippet": bool(body.get("includeInSnippet", False)),
        "clientSideAvailability": {
            "usingMobileKey": False,
            "usingEnvironmentId": bool(body.get("includeInSnippet", False)),
            **(body.get("clientSideAvailability") or {}),
        },
        "variations": variations,
        "temporary": bool(body.get("temporary", True)),
        "tags": sorted(set(body.get("tags") or ())),
        "customProperties": dict(body.get("customProperties") or {}),
        "archived": False,
        "deprecated": False,
        "defaults": {side: defaults.get(side) for side in ("onVariation", "offVariation")},
        "environments": {},
    }
    if body.get("maintainerId"):
        flag["maintainerId"] = body["maintainerId"]
    on = bool(body.get("isFlagOn", False))
    for environment in environments:
        flag["environments"][environment] = new_config(flag, on=on)
    check_flag(flag)
    return flag


def new_config(flag: Json, *, on: bool = False, version: int = 1) -> Json:
    """What a flag is in an environment at first."""
    return {
        "on": on,
        "archived": False,
        "salt": secrets.token_hex(16),
        "sel": secrets.token_hex(16),
        "lastModified": now(),
        "version": version,
        "targets": [],
        "contextTargets": [],
        "rules": [],
        "fallthrough": {"variation": flag["defaults"]["onVariation"]},
        "offVariation": flag["defaults"]["offVariation"],
        "prerequisites": [],
        "trackEvents": False,
        "trackEventsFallthrough": False,
    }


def _variations(given: Any) -> list[Json]:
    if given is None or given == []:
        given = [{"value": True}, {"value": False}]
    if not isinstance(given, list) or not all(isinstance(one, dict) and "value" in one for one in given):
        raise invalid("variations must be a list of objects with a value")
    if len(given) < 2:
        raise invalid("a flag must have at least two variations")
    made: list[Json] = []
    for one in given:
        if any(same(one["value"], other["value"]) for other in made):
            raise invalid("variations must have distinct values")
        kept = {name: one[name] for name in ("name", "description") if one.get(name) is not None}
        made.append({"_id": new_id(), "value": one["value"], **kept})
    return made


def shown(flag: Json, project: str, environments: Collection[str] | None, *, summary: bool, names: Json) -> Json:
    """The representation of a flag.

    Args:
        flag: as kept.
        project: its project's key.
        environments: those to include.
        summary: leave targets and rules out, as a list does.
        names: key -> name of the project's environments.
    """
    href = f"/api/v2/flags/{project}/{flag['key']}"
    made = {name: value for name, value in flag.items() if name != "environments"}
    made["_links"] = {"self": link(href), "parent": link(f"/api/v2/flags/{project}")}
    made["experiments"] = {"baselineIdx": 0, "items": []}
    made["goalIds"] = []
    if "maintainerId" in flag:
        made["_maintainer"] = member(flag["maintainerId"])
    made["environments"] = {
        key: _shown_config(flag, config, f"/{project}/{key}/features/{flag['key']}", names.get(key, key), summary)
        for key, config in flag["environments"].items()
        if environments is None or key in environments
    }
    return made


def member(member_id: str) -> Json:
    """The emulator's only member."""
    return {
        "_links": {"self": link(f"/api/v2/members/{member_id}")},
        "_id": member_id,
        "firstName": "Emulated",
        "lastName": "Member",
        "role": "writer",
        "email": "member@emulator.invalid",
    }


def _shown_config(flag: Json, config: Json, site: str, name: str, summary: bool) -> Json:
    left_out = {"targets", "contextTargets", "rules", "prerequisites", "_sdk"} if summary else {"_sdk"}
    made = {key: value for key, value in config.items() if key not in left_out}
    if made.get("offVariation") is None:
        made.pop("offVariation", None)
    made.update(
        archived=flag["archived"],
        _site={"href": site, "type": "text/html"},
        _environmentName=name,
        _summary=_summary(flag, config),
    )
    return made


def _summary(flag: Json, config: Json) -> Json:
    # A flag that a tester damaged may serve a variation that it does not have.
    variations: defaultdict[str, Json] = defaultdict(_counts)
    variations.update({str(index): _counts() for index in range(len(flag["variations"]))})
    for rule in config["rules"]:
        for index in _indices(rule):
            variations[str(index)]["rules"] += 1
    for part in ("targets", "contextTargets"):
        for target in config[part]:
            variations[str(target["variation"])][part] += len(target["values"])
    weights = (config["fallthrough"].get("rollout") or {}).get("variations", ())
    for weight in weights:
        variations[str(weight["variation"])]["rollout"] = weight["weight"]
    if config["fallthrough"].get("variation") is not None:
        variations[str(config["fallthrough"]["variation"])]["isFallthrough"] = True
    if config.get("offVariation") is not None:
        variations[str(config["offVariation"])]["isOff"] = True
    return {"variations": variations, "prerequisites": len(config["prerequisites"])}


def _counts() -> Json:
    return {"rules": 0, "nullRules": 0, "targets": 0, "contextTargets": 0}


def _indices(serve: Json) -> set[int]:
    if serve.get("variation") is not None:
        return {serve["variation"]}
    return {part["variation"] for part in serve["rollout"]["variations"]}
