"""Pure: what a flag of the management API says about one environment, and what tells two definitions apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from flagbrake.model.clause import USER
from flagbrake.model.codec import checksum, dumps
from flagbrake.model.flag import Flag
from flagbrake_launchdarkly.names import DROPPED, dropped_of, name_targets, names_of, without_names
from flagbrake_launchdarkly.translate import flag_from_rest
from flagbrake_launchdarkly.translate.conditions import SEGMENT_MATCH

Json = dict[str, Any]

#: What Replace with a native document puts back, of the environment and of the flag.
CONFIG: Final = (
    "on",
    "targets",
    "contextTargets",
    "rules",
    "fallthrough",
    "offVariation",
    "prerequisites",
    "trackEvents",
    "trackEventsFallthrough",
)
_DEFINITION: Final = ("variations", "tags", "description", "archived")


def names_in(rep: Mapping[str, Any], environment: str) -> tuple[str, ...]:
    """The names of the variations, in order: flagbrake's, else LaunchDarkly's, else the index."""
    ours = names_of(rep["environments"][environment])
    theirs = [variation.get("name") or "" for variation in rep["variations"]]
    found: list[str] = []
    for index, name in enumerate(theirs):
        usable = name and theirs.count(name) == 1 and name not in ours.values()
        found.append(ours.get(index) or (name if usable else str(index)))
    return tuple(found) if len(set(found)) == len(found) else tuple(map(str, range(len(found))))


def targets_with_names(rep: Mapping[str, Any], environment: str) -> list[Json] | None:
    """The targets of other kinds as they are once every variation carries its name; ``None`` if they all do."""
    config = rep["environments"][environment]
    gone = dropped_of(config)
    wanted = [t for t in name_targets(names_in(rep, environment)) if t["variation"] not in gone]
    have = names_of(config)
    if all(have.get(t["variation"]) == t["values"][0] for t in wanted):
        return None
    marks = [{"contextKind": DROPPED, "variation": index, "values": [str(index)]} for index in sorted(gone)]
    return [*map(dict, without_names(config.get("contextTargets") or ())), *wanted, *marks]


def flag_of(rep: Mapping[str, Any], environment: str, others: Mapping[str, Sequence[str]], unit: str = USER) -> Flag:
    """The flag as the model has it.

    ``others`` are the names of the variants of its prerequisites, ``unit`` is the kind of the targeting key.

    Raises:
        InvalidInput: LaunchDarkly's own SDK could not evaluate it.
    """
    present = rep["environments"][environment]
    gone = dropped_of(present)
    listed = targets_with_names(rep, environment) or present.get("contextTargets") or ()
    config = {**present, "contextTargets": [t for t in listed if t.get("contextKind") != DROPPED]}
    shown = {**rep, "environments": {environment: config}}
    flag = flag_from_rest(shown, environment, names=others, unit=unit).result
    if not gone:
        return flag
    return replace(flag, variants=tuple(v for index, v in enumerate(flag.variants) if index not in gone))


def version_of(rep: Mapping[str, Any], environment: str) -> str:
    """Equal versions mean equal definitions: the environment's version, and a checksum of what all of them share."""
    shared = {name: rep.get(name) for name in _DEFINITION}
    return f"{rep['environments'][environment]['version']}-{checksum(dumps(shared))[:12]}"


def native_of(rep: Mapping[str, Any], environment: str) -> Json:
    """The document that is kept: the flag with this environment only, without links and other people's business."""
    kept = ("key", "name", "kind", "description", "variations", "temporary", "tags", "archived", "defaults", "_version")
    config = rep["environments"][environment]
    mine = {name: config[name] for name in (*CONFIG, "version", "salt", "lastModified") if name in config}
    return {**{name: rep[name] for name in kept if name in rep}, "environments": {environment: mine}}


def kinds_named(config: Mapping[str, Any]) -> frozenset[str]:
    """The context kinds, as LaunchDarkly calls them, that an environment's targets, clauses and rollouts name."""
    found = {USER for target in config.get("targets") or () if target["values"]}
    listed = without_names(config.get("contextTargets") or ())
    found.update(target.get("contextKind") or USER for target in listed if target["values"])
    rules = config.get("rules") or ()
    rollouts = [serve["rollout"] for serve in (config.get("fallthrough") or {}, *rules) if serve.get("rollout")]
    found.update(rollout.get("contextKind") or USER for rollout in rollouts)
    clauses = [clause for rule in rules for clause in rule.get("clauses") or ()]
    # A segment is asked of no kind, and the attribute ``kind`` of all.
    apart = [clause for clause in clauses if clause.get("op") != SEGMENT_MATCH and clause.get("attribute") != "kind"]
    found.update(clause.get("contextKind") or USER for clause in apart)
    return frozenset(found)


def used_elsewhere(rep: Mapping[str, Any], environment: str) -> frozenset[int]:
    """The variations that other environments refer to."""
    found: set[int] = set()
    for name, config in rep["environments"].items():
        if name != environment:
            found.update(_referred(config))
    return frozenset(found)


def _referred(config: Mapping[str, Any]) -> Iterable[int]:
    if config.get("offVariation") is not None:
        yield config["offVariation"]
    for serve in (config.get("fallthrough") or {}, *(config.get("rules") or ())):
        if serve.get("variation") is not None:
            yield serve["variation"]
        for part in (serve.get("rollout") or {}).get("variations") or ():
            yield part["variation"]
    for target in (*(config.get("targets") or ()), *(config.get("contextTargets") or ())):
        yield target["variation"]
