"""Pure: changes as the instructions of a semantic patch, and documents as the operations of a JSON patch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flagbrake.errors import Conflict, InvalidInput
from flagbrake.model.clause import USER
from flagbrake.model.codec import dumps
from flagbrake.model.flag import Distribution, Flag, Prerequisite, Serve, Targets
from flagbrake.model.loss import Severity, Translated
from flagbrake.model.values import WHOLE
from flagbrake_launchdarkly.documents import CONFIG, Json, used_elsewhere
from flagbrake_launchdarkly.names import DROPPED, NAMES, name_targets
from flagbrake_launchdarkly.translate import flag_to_sdk
from flagbrake_launchdarkly.translate.kinds import Kinds, NoReference
from flagbrake_launchdarkly.translate.writing import bucket_by

Instruction = dict[str, Any]
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Variations:
    """The variations of a flag in LaunchDarkly: IDs in order, and what this environment calls them."""

    ids: tuple[str, ...]
    names: tuple[str, ...]

    def id(self, name: str) -> str:
        """The ID of a variant."""
        try:
            return self.ids[self.names.index(name)]
        except ValueError:
            raise InvalidInput(f"There is no variant '{name}'.", cure=" or ".join(self.names)) from None


@dataclass(frozen=True, slots=True)
class Manner:
    """How definitions are written here: the unit's context kind, and whether names of variants travel with them."""

    kinds: Kinds
    names_travel: bool = True


def serve(what: Serve, variations: Variations, kinds: Kinds) -> Instruction:
    """What a rule or the default serves.

    Raises:
        InvalidInput: an unknown variant, shares that are none, a unit that LaunchDarkly cannot name, or a gate,
            which it has not.
    """
    if isinstance(what, str):
        return {"variationId": variations.id(what)}
    if what.gate is not None and what.gate.share != WHOLE:
        raise InvalidInput("LaunchDarkly has no share of units that take part at all.", cure="shares only")
    if what.total != WHOLE or any(not 0 <= weight.share <= WHOLE for weight in what.weights):
        raise InvalidInput(
            "The shares are not between 0 and 100 %, or do not add up to 100 %.", cure="such as 10 and 90"
        )
    shares: dict[str, int] = {}
    for weight in what.weights:
        variation = variations.id(weight.variant)
        shares[variation] = shares.get(variation, 0) + weight.share
    return {"rolloutWeights": shares, **_unit(what, kinds)}


def _unit(what: Distribution, kinds: Kinds) -> Instruction:
    try:
        kind, reference = bucket_by(what.bucketing, kinds)
    except NoReference as bad:
        raise InvalidInput(f"LaunchDarkly cannot deal by '{what.bucketing.attribute}': {bad}.") from None
    found: Instruction = {} if kind == USER else {"rolloutContextKind": kind}
    return found if reference is None else {**found, "rolloutBucketBy": reference}


def targets(
    wanted: Sequence[Targets], context_targets: Sequence[Mapping[str, Any]], variations: Variations, kinds: Kinds
) -> Instruction:
    """All targets anew; what stands for names stays.

    Raises:
        InvalidInput: an unknown variant, or a kind that LaunchDarkly cannot name.
    """
    listed: list[Json] = [
        {"variationId": variations.id(target.variant), "values": list(target.keys), "contextKind": _kind(target, kinds)}
        for target in wanted
    ]
    listed += [
        {"variationId": variations.ids[t["variation"]], "values": list(t["values"]), "contextKind": t["contextKind"]}
        for t in context_targets
        if t.get("contextKind") in {NAMES, DROPPED}
    ]
    return {"kind": "replaceTargets", "targets": listed}


def _kind(target: Targets, kinds: Kinds) -> str:
    try:
        return kinds.theirs(target.kind)
    except NoReference as bad:
        raise InvalidInput(f"LaunchDarkly cannot target these units: {bad}.") from None


def added_names(
    context_targets: Sequence[Mapping[str, Any]], present: Sequence[Mapping[str, Any]], variations: Variations
) -> Iterator[Instruction]:
    """What gives every variation the target that carries its name."""
    have = {(t["variation"], value) for t in present if t.get("contextKind") == NAMES for value in t["values"]}
    want = {(t["variation"], value) for t in context_targets if t.get("contextKind") == NAMES for value in t["values"]}
    for kind, pairs in (("removeTargets", have - want), ("addTargets", want - have)):
        for index, name in sorted(pairs):
            variation = variations.ids[index]
            yield {"kind": kind, "contextKind": NAMES, "variationId": variation, "values": [name]}


def refuse_losses(done: Translated[Any]) -> None:
    """Refuse what LaunchDarkly cannot say; what only people read is let go.

    Raises:
        InvalidInput: with the first of it.
    """
    for loss in done.losses:
        # Which units get a share is LaunchDarkly's to say: it buckets with a hash of its own.
        if loss.severity is Severity.ANSWERS:
            raise InvalidInput(f"LaunchDarkly cannot say this: {loss}.", cure="another definition")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a flag becomes another definition.

    ``first`` makes variations, whose IDs LaunchDarkly gives; nothing serves them yet. ``changed`` goes with the rest
    in one patch: it gives a variation that is served another value. ``names`` is then, for every variation that the
    flag will have, its name here, or ``None`` for one that belongs to other environments only.
    """

    first: tuple[Instruction, ...]
    changed: tuple[Instruction, ...]
    names: tuple[str | None, ...]
    removed: frozenset[int]


def plan_variations(rep: Mapping[str, Any], environment: str, names: Sequence[str], meant: Flag) -> Plan:
    """Which variations to make, change, keep for others, or take out.

    Variations belong to all environments. One that has the value already is used; one that nobody else refers to
    is changed or taken out; one that another environment refers to stays as it is.
    """
    others = used_elsewhere(rep, environment)
    values = [dumps(variation["value"]) for variation in rep["variations"]]
    place: dict[int, str] = {}
    first: list[Instruction] = []
    changed: list[Instruction] = []
    missing = []
    for variant in meant.variants:
        same = next((i for i, value in enumerate(values) if value == dumps(variant.value) and i not in place), None)
        missing.append(variant) if same is None else place.__setitem__(same, variant.name)
    made: list[str] = []
    for variant in missing:
        mine = next((i for i, name in enumerate(names) if name == variant.name and i not in place), None)
        if mine is not None and mine not in others:
            place[mine] = variant.name
            change = {"kind": "updateVariation", "variationId": rep["variations"][mine]["_id"]}
            changed.append({**change, "value": variant.value, "name": variant.name})
        else:
            made.append(variant.name)
            first.append({"kind": "addVariation", "value": variant.value, "name": variant.name})
    left = [index for index in range(len(values)) if index not in place]
    removable = frozenset(index for index in left if index not in others and rep["kind"] != "boolean")
    listed = [place.get(index) for index in range(len(values))]
    return Plan(tuple(first), tuple(changed), (*listed, *made), removable)


def replaced(
    rep: Mapping[str, Any],
    meant: Flag,
    names: Sequence[str | None],
    removed: frozenset[int],
    others: Mapping[str, Variations],
    manner: Manner,
) -> list[Instruction]:
    """Everything that makes this environment's flag the one that is meant, in one patch.

    Raises:
        InvalidInput: what LaunchDarkly cannot say.
    """
    kinds = manner.kinds
    known = {index: name for index, name in enumerate(names) if name is not None}
    # A name that LaunchDarkly has itself can stay at home; another could not be read back.
    theirs = {} if manner.names_travel else {i: v.get("name") for i, v in enumerate(rep["variations"])}
    called = tuple(known.get(index) or f"\0{index}" for index in range(len(names)))
    variations = Variations(tuple(v["_id"] for v in rep["variations"]), called)
    written = flag_to_sdk(meant, names={key: other.names for key, other in others.items()}, unit=kinds.unit)
    refuse_losses(written)
    # An archived flag comes back before anything of it is changed.
    found: list[Instruction] = [{"kind": "restoreFlag"}] if rep.get("archived") and not meant.archived else []
    found += [
        {"kind": "updateFallthroughVariationOrRollout", **serve(meant.default, variations, kinds)},
        *_off(meant, variations),
    ]
    marks = [t for t in name_targets(called) if known.get(t["variation"]) not in {None, theirs.get(t["variation"])}]
    marks += [
        {"contextKind": DROPPED, "variation": index, "values": [str(index)]}
        for index in range(len(names))
        if index not in known and index not in removed
    ]
    found.append(targets(meant.targets, marks, variations, kinds))
    found.append(
        {
            "kind": "replaceRules",
            "rules": [
                {
                    "clauses": document["clauses"],
                    "description": rule.description,
                    **serve(rule.serve, variations, kinds),
                }
                for rule, document in zip(meant.rules, written.result["rules"], strict=True)
            ],
        }
    )
    found.append({"kind": "replacePrerequisites", "prerequisites": [*_prerequisites(meant.prerequisites, others)]})
    found.append({"kind": "turnFlagOn" if meant.on else "turnFlagOff"})
    found += _defaults(rep, removed, known)
    found += [{"kind": "removeVariation", "variationId": rep["variations"][index]["_id"]} for index in sorted(removed)]
    found += _described(rep, meant)
    return found


def refuse_no_off(meant: Flag) -> None:
    """Refuse a flag without an off variant where there is one: a new flag has one, too.

    Raises:
        InvalidInput: it has none.
    """
    if meant.off_variant is None:
        raise InvalidInput(
            f"LaunchDarkly's API cannot take the off variation of '{meant.key}' away.", cure="an off variant"
        )


def _off(meant: Flag, variations: Variations) -> Iterator[Instruction]:
    if meant.off_variant is not None:
        yield {"kind": "updateOffVariation", "variationId": variations.id(meant.off_variant)}


def _prerequisites(asked: Sequence[Prerequisite], others: Mapping[str, Variations]) -> Iterator[Json]:
    for one in asked:
        if len(one.variants) != 1:
            raise InvalidInput(f"A prerequisite of LaunchDarkly asks for one variant of '{one.flag}'.", cure="one")
        yield {"key": one.flag, "variationId": others[one.flag].id(one.variants[0])}


def _defaults(rep: Mapping[str, Any], removed: frozenset[int], known: Mapping[int, str]) -> Iterator[Instruction]:
    """A variation that new environments would begin with cannot be taken out."""
    defaults = rep.get("defaults") or {}
    if not removed.isdisjoint({defaults.get("onVariation"), defaults.get("offVariation")}):
        values = [rep["variations"][index]["value"] for index in sorted(known)]
        yield {"kind": "updateDefaultVariation", "onVariationValue": values[0], "offVariationValue": values[-1]}


def _described(rep: Mapping[str, Any], meant: Flag) -> Iterator[Instruction]:
    have, want = set(rep.get("tags") or ()), set(meant.tags)
    if have - want:
        yield {"kind": "removeTags", "values": sorted(have - want)}
    if want - have:
        yield {"kind": "addTags", "values": sorted(want - have)}
    if (rep.get("description") or "") != meant.description:
        yield {"kind": "updateDescription", "value": meant.description}
    if meant.archived and not rep.get("archived"):
        yield {"kind": "archiveFlag"}


def kept_of(native: Mapping[str, Any], environment: str, key: str) -> Mapping[str, Any]:
    """What a kept document says about an environment.

    Raises:
        InvalidInput: it is of another one.
    """
    kept: Mapping[str, Any] | None = (native.get("environments") or {}).get(environment)
    if kept is None:
        raise InvalidInput(f"The kept document of '{key}' is not of environment '{environment}'.")
    return kept


def put_back(rep: Mapping[str, Any], environment: str, native: Mapping[str, Any]) -> list[Json]:
    """The JSON patch that makes this environment what a kept document says, guarded by the present version.

    Raises:
        InvalidInput: the document is of another environment.
        Conflict: its variations are not there any more.
    """
    kept = kept_of(native, environment, rep["key"])
    config, place = rep["environments"][environment], f"/environments/{environment}"
    found: list[Json] = []
    for name in CONFIG:
        found += _operation(f"{place}/{name}", config.get(name, _ABSENT), kept.get(name, _ABSENT))
    for name in ("description", "tags", "archived"):
        found += _operation(f"/{name}", rep.get(name, _ABSENT), native.get(name, _ABSENT))
    found += _variations_back(rep, native)
    if found:
        found.insert(0, {"op": "test", "path": f"{place}/version", "value": config["version"]})
    return found


def _operation(path: str, have: Any, want: Any) -> Iterator[Json]:
    if want is _ABSENT:
        if have is not _ABSENT:
            yield {"op": "remove", "path": path}
    elif have is _ABSENT:
        yield {"op": "add", "path": path, "value": want}
    elif dumps(have) != dumps(want):
        yield {"op": "replace", "path": path, "value": want}


def _variations_back(rep: Mapping[str, Any], native: Mapping[str, Any]) -> Iterator[Json]:
    have, want = rep["variations"], native["variations"]
    if [one["_id"] for one in have][: len(want)] != [one.get("_id") for one in want]:
        raise Conflict(
            f"The variations of '{rep['key']}' are not those of the kept document any more.",
            cure="look at both; restore by hand, or keep what is there",
        )
    for index, (one, other) in enumerate(zip(have, want, strict=False)):
        yield from _operation(f"/variations/{index}/value", one["value"], other["value"])
