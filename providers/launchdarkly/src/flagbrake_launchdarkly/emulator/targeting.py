"""Semantic instructions: on and off, default rule, targets, prerequisites. They change one environment."""

from __future__ import annotations

from collections.abc import Iterable

from flagbrake_launchdarkly.emulator.editing import Edit, Given, Json, serve_of
from flagbrake_launchdarkly.emulator.refusals import invalid

_USER = "user"


def turn_on(edit: Edit, _: Given) -> None:
    """``turnFlagOn``."""
    edit.config["on"] = True


def turn_off(edit: Edit, _: Given) -> None:
    """``turnFlagOff``."""
    edit.config["on"] = False


def default_rule(edit: Edit, given: Given) -> None:
    """``updateFallthroughVariationOrRollout``."""
    edit.config["fallthrough"] = serve_of(edit, given)


def off_variation(edit: Edit, given: Given) -> None:
    """``updateOffVariation``."""
    edit.config["offVariation"] = edit.index(given.text("variationId"))


def track_events(edit: Edit, given: Given) -> None:
    """``updateTrackEvents``."""
    edit.config["trackEvents"] = given.flag("trackEvents")


def track_default_rule(edit: Edit, given: Given) -> None:
    """``updateTrackEventsFallthrough``."""
    edit.config["trackEventsFallthrough"] = given.flag("trackEvents")


def add_targets(edit: Edit, given: Given) -> None:
    """``addTargets``."""
    _add(edit, given, given.text("contextKind", _USER))


def add_user_targets(edit: Edit, given: Given) -> None:
    """``addUserTargets``."""
    _add(edit, given, _USER)


def remove_targets(edit: Edit, given: Given) -> None:
    """``removeTargets``: what is not targeted is left alone."""
    _remove(edit, given, given.text("contextKind", _USER))


def remove_user_targets(edit: Edit, given: Given) -> None:
    """``removeUserTargets``."""
    _remove(edit, given, _USER)


def replace_targets(edit: Edit, given: Given) -> None:
    """``replaceTargets``: of every kind."""
    wanted = list(given.objects("targets"))
    edit.config["targets"], edit.config["contextTargets"] = [], []
    for one in wanted:
        _add(edit, one, one.text("contextKind", _USER))


def replace_user_targets(edit: Edit, given: Given) -> None:
    """``replaceUserTargets``: users only; every variation must be named."""
    wanted = list(given.objects("targets"))
    named = {edit.index(one.text("variationId")) for one in wanted}
    if named != set(range(len(edit.flag["variations"]))):
        raise invalid("targets must include every variation")
    edit.config["targets"] = []
    for one in wanted:
        _add(edit, one, _USER)


def clear_targets(edit: Edit, given: Given) -> None:
    """``clearTargets``: of every kind."""
    index = edit.index(given.text("variationId"))
    for part in ("targets", "contextTargets"):
        edit.config[part] = [target for target in edit.config[part] if target["variation"] != index]


def clear_user_targets(edit: Edit, given: Given) -> None:
    """``clearUserTargets``."""
    index = edit.index(given.text("variationId"))
    edit.config["targets"] = [target for target in edit.config["targets"] if target["variation"] != index]
    place_users(edit.config)


def add_prerequisite(edit: Edit, given: Given) -> None:
    """``addPrerequisite``."""
    made = edit.prerequisite(given.text("key"), given.text("variationId"))
    present = [one for one in edit.config["prerequisites"] if one["key"] == made["key"]]
    if present and present != [made]:
        raise invalid(f"'{made['key']}' is a prerequisite already")
    if not present:
        edit.config["prerequisites"].append(made)


def remove_prerequisite(edit: Edit, given: Given) -> None:
    """``removePrerequisite``: one that is not there is left alone."""
    key = given.text("key")
    edit.config["prerequisites"] = [one for one in edit.config["prerequisites"] if one["key"] != key]


def update_prerequisite(edit: Edit, given: Given) -> None:
    """``updatePrerequisite``."""
    made = edit.prerequisite(given.text("key"), given.text("variationId"))
    for one in edit.config["prerequisites"]:
        if one["key"] == made["key"]:
            one["variation"] = made["variation"]
            return
    raise invalid(f"'{made['key']}' is not a prerequisite of this flag")


def replace_prerequisites(edit: Edit, given: Given) -> None:
    """``replacePrerequisites``."""
    made = [edit.prerequisite(one.text("key"), one.text("variationId")) for one in given.objects("prerequisites")]
    if len({one["key"] for one in made}) != len(made):
        raise invalid("a flag can be a prerequisite only once")
    edit.config["prerequisites"] = made


def _add(edit: Edit, given: Given, kind: str) -> None:
    config, index, values = edit.config, edit.index(given.text("variationId")), given.texts("values")
    for target in _of_kind(config, kind):
        taken = set(values) & set(target["values"])
        if target["variation"] != index and taken:
            raise invalid(f"'{min(taken)}' is already targeted in another variation")
    part = "targets" if kind == _USER else "contextTargets"
    mine = next((t for t in _of_kind(config, kind) if t["variation"] == index), None)
    if mine is None:
        if not values:
            return
        mine = {"contextKind": kind, "values": [], "variation": index}
        config[part].append(mine)
    mine["values"] += [value for value in dict.fromkeys(values) if value not in mine["values"]]
    place_users(config)


def _remove(edit: Edit, given: Given, kind: str) -> None:
    config, index, values = edit.config, edit.index(given.text("variationId")), set(given.texts("values"))
    for target in _of_kind(config, kind):
        if target["variation"] == index:
            target["values"] = [value for value in target["values"] if value not in values]
    place_users(config)


def _of_kind(config: Json, kind: str) -> Iterable[Json]:
    part = config["targets"] if kind == _USER else config["contextTargets"]
    return [target for target in part if target.get("contextKind", _USER) == kind]


def place_users(config: Json) -> None:
    """User targets also have a placeholder without values among the context targets: it gives their order."""
    config["targets"] = [target for target in config["targets"] if target["values"]]
    users = [target["variation"] for target in config["targets"]]
    others = [t for t in config["contextTargets"] if t.get("contextKind") != _USER and t["values"]]
    kept = [t for t in config["contextTargets"] if t.get("contextKind") == _USER and t["variation"] in users]
    missing = [index for index in users if index not in {t["variation"] for t in kept}]
    placeholders = kept + [{"contextKind": _USER, "values": [], "variation": index} for index in missing]
    config["contextTargets"] = [*others, *placeholders]
