"""Semantic instructions: variations, metadata, lifecycle. They change the flag in every environment."""

from __future__ import annotations

import time
from typing import Any

from flagbrake.emulate.json_patch import same
from flagbrake_launchdarkly.emulator.editing import Edit, Given, Json, new_id
from flagbrake_launchdarkly.emulator.refusals import invalid


def add_variation(edit: Edit, given: Given) -> None:
    """``addVariation``: a flag of booleans has two and no more."""
    if "value" not in given.data:
        raise invalid("value is required")
    if edit.flag["kind"] == "boolean":
        raise invalid("boolean flags have exactly two variations")
    made = {"_id": new_id(), "value": given.data["value"]}
    made.update({name: given.text(name, "") for name in ("name", "description") if given.data.get(name) is not None})
    _refuse_twin(edit.flag, made["value"], None)
    edit.flag["variations"].append(made)


def remove_variation(edit: Edit, given: Given) -> None:
    """``removeVariation``: not one that is served anywhere; the others move up."""
    index = edit.index(given.text("variationId"))
    if edit.flag["kind"] == "boolean" or len(edit.flag["variations"]) <= 2:
        raise invalid("a flag must have at least two variations")
    if index in edit.flag["defaults"].values():
        raise invalid("the variation is a default of the flag")
    for name, config in edit.flag["environments"].items():
        if index in _served(config):
            raise invalid(f"the variation is in use in environment '{name}'")
    for other in edit.flags.values():
        for config in other["environments"].values():
            if any(p == {"key": edit.flag["key"], "variation": index} for p in config["prerequisites"]):
                raise invalid(f"flag '{other['key']}' has the variation as a prerequisite")
    del edit.flag["variations"][index]
    _close_gap(edit.flag, index)


def update_variation(edit: Edit, given: Given) -> None:
    """``updateVariation``."""
    index = edit.index(given.text("variationId"))
    variation = edit.flag["variations"][index]
    if "value" in given.data:
        if edit.flag["kind"] == "boolean" and not isinstance(given.data["value"], bool):
            raise invalid("the variations of a boolean flag are booleans")
        _refuse_twin(edit.flag, given.data["value"], index)
        variation["value"] = given.data["value"]
    for name in ("name", "description"):
        if name in given.data:
            variation[name] = given.text(name, "")


def default_variation(edit: Edit, given: Given) -> None:
    """``updateDefaultVariation``, by value; the documentation writes the names in both ways."""
    for side in ("onVariation", "offVariation"):
        for name in (f"{side}Value", f"{side[0].upper()}{side[1:]}Value"):
            if name in given.data:
                edit.flag["defaults"][side] = _by_value(edit.flag, given.data[name])


def add_tags(edit: Edit, given: Given) -> None:
    """``addTags``."""
    edit.flag["tags"] = sorted({*edit.flag["tags"], *given.texts("values")})


def remove_tags(edit: Edit, given: Given) -> None:
    """``removeTags``."""
    gone = given.texts("values")
    edit.flag["tags"] = [tag for tag in edit.flag["tags"] if tag not in gone]


def rename(edit: Edit, given: Given) -> None:
    """``updateName``."""
    name = given.text("value")
    if not name:
        raise invalid("a flag needs a name")
    edit.flag["name"] = name


def describe(edit: Edit, given: Given) -> None:
    """``updateDescription``."""
    edit.flag["description"] = given.text("value")


def make_permanent(edit: Edit, _: Given) -> None:
    """``makeFlagPermanent``."""
    edit.flag["temporary"] = False


def make_temporary(edit: Edit, _: Given) -> None:
    """``makeFlagTemporary``."""
    edit.flag["temporary"] = True


def add_custom(edit: Edit, given: Given) -> None:
    """``addCustomProperties``."""
    properties, key = edit.flag["customProperties"], given.text("key")
    present = properties.get(key, {"name": given.text("name"), "value": []})
    values = [*present["value"], *(value for value in given.texts("values") if value not in present["value"])]
    properties[key] = {"name": given.text("name"), "value": values}


def remove_custom(edit: Edit, given: Given) -> None:
    """``removeCustomProperties``: the property goes with its last value."""
    properties, key, gone = edit.flag["customProperties"], given.text("key"), given.texts("values")
    if key not in properties:
        raise invalid(f"there is no custom property '{key}'")
    left = [value for value in properties[key]["value"] if value not in gone]
    if left:
        properties[key]["value"] = left
    else:
        del properties[key]


def replace_custom(edit: Edit, given: Given) -> None:
    """``replaceCustomProperties``."""
    edit.flag["customProperties"][given.text("key")] = {
        "name": given.text("name"),
        "value": given.texts("values"),
    }


def client_side_on(edit: Edit, given: Given) -> None:
    """``turnOnClientSideAvailability``."""
    _client_side(edit, given, available=True)


def client_side_off(edit: Edit, given: Given) -> None:
    """``turnOffClientSideAvailability``."""
    _client_side(edit, given, available=False)


def maintained_by(edit: Edit, given: Given) -> None:
    """``updateMaintainerMember``."""
    member = given.text("value")
    if member not in edit.members:
        raise invalid(f"unknown member '{member}'")
    edit.flag["maintainerId"] = member
    edit.flag.pop("maintainerTeamKey", None)


def maintained_by_team(edit: Edit, given: Given) -> None:
    """``updateMaintainerTeam``."""
    edit.flag["maintainerTeamKey"] = given.text("value")
    edit.flag.pop("maintainerId", None)


def unmaintained(edit: Edit, _: Given) -> None:
    """``removeMaintainer``."""
    for name in ("maintainerId", "maintainerTeamKey"):
        edit.flag.pop(name, None)


def archive(edit: Edit, _: Given) -> None:
    """``archiveFlag``: not while another flag depends on it."""
    dependents = sorted(dependents_of(edit.flag["key"], edit.flags.values()))
    if dependents:
        raise invalid(f"the flag is a prerequisite of {', '.join(dependents)}")
    if not edit.flag["archived"]:
        edit.flag["archived"], edit.flag["archivedDate"] = True, _now()


def restore(edit: Edit, _: Given) -> None:
    """``restoreFlag``."""
    edit.flag["archived"] = False
    edit.flag.pop("archivedDate", None)


def deprecate(edit: Edit, _: Given) -> None:
    """``deprecateFlag``."""
    if not edit.flag["deprecated"]:
        edit.flag["deprecated"], edit.flag["deprecatedDate"] = True, _now()


def restore_deprecated(edit: Edit, _: Given) -> None:
    """``restoreDeprecatedFlag``."""
    edit.flag["deprecated"] = False
    edit.flag.pop("deprecatedDate", None)


def delete(edit: Edit, _: Given) -> None:
    """``deleteFlag``."""
    edit.deleted = True


def dependents_of(key: str, flags: Any) -> set[str]:
    """The flags that are live and have this one as a prerequisite somewhere."""
    return {
        flag["key"]
        for flag in flags
        if not flag["archived"]
        for config in flag["environments"].values()
        if any(one["key"] == key for one in config["prerequisites"])
    }


def _client_side(edit: Edit, given: Given, *, available: bool) -> None:
    name = given.text("value")
    if name not in {"usingMobileKey", "usingEnvironmentId"}:
        raise invalid("value must be usingMobileKey or usingEnvironmentId")
    edit.flag["clientSideAvailability"][name] = available
    edit.flag["includeInSnippet"] = edit.flag["clientSideAvailability"]["usingEnvironmentId"]


def _refuse_twin(flag: Json, value: Any, index: int | None) -> None:
    if any(same(one["value"], value) for at, one in enumerate(flag["variations"]) if at != index):
        raise invalid("variations must have distinct values")


def _by_value(flag: Json, value: Any) -> int:
    for index, one in enumerate(flag["variations"]):
        if same(one["value"], value):
            return index
    raise invalid(f"no variation has the value {value!r}")


def _serves(config: Json) -> list[Json]:
    return [config["fallthrough"], *config["rules"]]


def _served(config: Json) -> set[int]:
    found = {target["variation"] for target in [*config["targets"], *config["contextTargets"]]}
    if config.get("offVariation") is not None:
        found.add(config["offVariation"])
    for serve in _serves(config):
        if serve.get("variation") is not None:
            found.add(serve["variation"])
        found |= {part["variation"] for part in (serve.get("rollout") or {}).get("variations", ()) if part["weight"]}
    return found


def _close_gap(flag: Json, gone: int) -> None:
    """Indices after the one that is gone are one less."""

    def moved(holder: Json, name: str) -> None:
        if holder.get(name) is not None and holder[name] > gone:
            holder[name] -= 1

    for side in ("onVariation", "offVariation"):
        moved(flag["defaults"], side)
    for config in flag["environments"].values():
        moved(config, "offVariation")
        for target in [*config["targets"], *config["contextTargets"]]:
            moved(target, "variation")
        for serve in _serves(config):
            moved(serve, "variation")
            rollout = serve.get("rollout")
            if rollout:
                rollout["variations"] = [part for part in rollout["variations"] if part["variation"] != gone]
                for part in rollout["variations"]:
                    moved(part, "variation")


def _now() -> int:
    return int(time.time() * 1000)
