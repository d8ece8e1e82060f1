"""Pure: a definition of the management API (Admin API v2, the same document in Harness FME) <-> the flag.

A definition says what a split in the SDK's form says, in other words and without the hashing: treatments with
their individual keys and segments, rules, the default rule. Individual keys of all treatments come first, then
the segments, each in the order of treatments.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from flagbrake.model.flag import Flag, Variant
from flagbrake.model.loss import Loss, Severity, Translated
from flagbrake.model.values import FlagKind
from flagbrake_split.definition_matchers import definition_matcher, label, sdk_matcher
from flagbrake_split.hashing import Hashing
from flagbrake_split.splits import (
    ROLLOUT,
    WHITELIST,
    condition_type,
    flag_from_split,
    for_everybody,
    individual_keys,
    split_from_flag,
)
from flagbrake_split.treatments import worth

JSON = dict[str, Any]

#: Fields of a treatment that a flag does not hold.
_OF_TREATMENT: Final = ("description",)


def split_from_definition(
    definition: Mapping[str, Any],
    *,
    hashing: Hashing | None = None,
    change_number: int | None = None,
    rule_based: Collection[str] = (),
) -> JSON:
    """A definition as a split in the SDK's form, word for word; seeds that are not known are ``None``."""
    known = hashing or Hashing()
    traffic_type = (definition.get("trafficType") or {}).get("name") or "user"
    treatments = definition.get("treatments") or ()
    return {
        "name": definition["name"],
        "trafficTypeName": traffic_type,
        "status": "ACTIVE",
        "changeNumber": definition.get("lastUpdateTime") or 0 if change_number is None else change_number,
        "killed": bool(definition.get("killed")),
        "defaultTreatment": definition["defaultTreatment"],
        "algo": known.algo,
        "seed": known.seed,
        "trafficAllocation": definition.get("trafficAllocation", 100),
        "trafficAllocationSeed": known.allocation_seed,
        "configurations": {t["name"]: t["configurations"] for t in treatments if t.get("configurations")},
        "sets": [s["name"] if "name" in s else s["id"] for s in definition.get("flagSets") or ()],
        "impressionsDisabled": bool(definition.get("impressionsDisabled")),
        "prerequisites": [_prerequisite(p) for p in definition.get("prerequisites") or ()],
        "conditions": _conditions(definition, traffic_type, rule_based),
    }


def _prerequisite(asked: Mapping[str, Any]) -> JSON:
    if "n" in asked:
        return {"n": asked["n"], "ts": list(asked["ts"])}
    return {"n": asked["name"], "ts": list(asked["treatments"])}


def _conditions(definition: Mapping[str, Any], traffic_type: str, rule_based: Collection[str]) -> list[JSON]:
    def made(kind: str, label: str, matchers: list[Mapping[str, Any]], buckets: Any) -> JSON:
        said = [sdk_matcher(m, traffic_type=traffic_type, rule_based=rule_based) for m in matchers]
        partitions = [{"treatment": b["treatment"], "size": b["size"]} for b in buckets]
        group = {"combiner": "AND", "matchers": said}
        return {"conditionType": kind, "label": label, "matcherGroup": group, "partitions": partitions}

    treatments = definition.get("treatments") or ()
    conditions = [
        made(WHITELIST, "whitelisted", [{"type": "IN_LIST_STRING", "strings": t["keys"]}], _all(t["name"]))
        for t in treatments
        if t.get("keys")
    ]
    conditions += [
        made(WHITELIST, "whitelisted segment", [{"type": "IN_SEGMENT", "string": name}], _all(t["name"]))
        for t in treatments
        for name in t.get("segments") or ()
    ]
    conditions += [
        made(ROLLOUT, label(rule["condition"]["matchers"]), rule["condition"]["matchers"], rule["buckets"])
        for rule in definition.get("rules") or ()
    ]
    return [*conditions, made(ROLLOUT, "default rule", [{"type": "ALL_KEYS"}], definition["defaultRule"])]


def _all(treatment: str) -> list[JSON]:
    return [{"treatment": treatment, "size": 100}]


def flag_from_definition(
    definition: Mapping[str, Any],
    *,
    kind: FlagKind | None = None,
    hashing: Hashing | None = None,
    tags: tuple[str, ...] = (),
    description: str = "",
    rule_based: Collection[str] = (),
) -> Translated[Flag]:
    """A definition as a flag; tags and description stand in the flag's metadata, seeds are shown to SDKs only.

    Without ``hashing`` the seeds of distributions are ``None``: the flag says what is shared out, and nobody
    but Split can tell to whom.
    """
    split = split_from_definition(definition, hashing=hashing, rule_based=rule_based)
    read = flag_from_split(split, kind=kind, tags=tags, description=description)
    return replace(read, result=_all_variants(read.result, definition, kind))


def _all_variants(flag: Flag, definition: Mapping[str, Any], kind: FlagKind | None) -> Flag:
    """The flag with its variants as the definition lists them, those that nothing serves included."""
    listed = {t["name"]: t.get("configurations") or None for t in definition.get("treatments") or ()}
    named = {**listed, **{name: None for name in flag.variant_names if name not in listed}}
    values = worth(named, kind)
    variants = tuple(Variant(name, values.values[name]) for name in named)
    return replace(flag, kind=values.kind, variants=variants)


def definition_from_flag(
    flag: Flag, *, base: Mapping[str, Any] | None = None, rule_based: Collection[str] = ()
) -> Translated[JSON]:
    """A flag as a definition. ``base`` is the definition it replaces: what no flag says stays as it is there.

    Who is in which share is not a definition's to say: where it is new, that is a loss.
    """
    there = base or {}
    native = split_from_definition(there) if base is not None else None
    written = split_from_flag(flag, base=native, rule_based=rule_based)
    split = written.result
    treatments: dict[str, JSON] = {}
    before = {t["name"]: t for t in there.get("treatments") or ()}
    for name in flag.variant_names:
        kept = {field: before[name][field] for field in _OF_TREATMENT if name in before and field in before[name]}
        configured = split["configurations"].get(name)
        treatments[name] = {"name": name, **kept, **({"configurations": configured} if configured else {})}
    losses = [loss for loss in written.losses if not _about_hashing(loss) and not loss.where.startswith("variants.")]
    rules, default_rule = _rules(split, treatments, losses)
    if base is None and any(len(c["partitions"]) > 1 for c in split["conditions"]):
        effect = "other units are in each share"
        losses.append(Loss("bucketing", "Split assigns the seed of a flag", effect, Severity.UNITS))
    document: JSON = {
        **there,
        "name": flag.key,
        "killed": not flag.on,
        "treatments": list(treatments.values()),
        "defaultTreatment": split["defaultTreatment"],
        "trafficAllocation": split["trafficAllocation"],
        "rules": rules,
        "defaultRule": default_rule,
    }
    if flag.prerequisites or "prerequisites" in there:
        document["prerequisites"] = split["prerequisites"]
    return Translated(document, tuple(losses))


def _about_hashing(loss: Loss) -> bool:
    return loss.severity in {Severity.UNITS, Severity.EDGE} and loss.where.endswith("bucketing")


def _rules(split: Mapping[str, Any], treatments: dict[str, JSON], losses: list[Loss]) -> tuple[list[JSON], list[JSON]]:
    """Individual targets into the treatments; what is left as rules and the default rule."""
    *conditions, last = split["conditions"]
    assert for_everybody(last)
    rules: list[JSON] = []
    individual = _Individual(treatments, losses)
    for index, condition in enumerate(conditions):
        if condition_type(condition) == WHITELIST and not rules:
            if individual.take(condition, f"conditions[{index}]"):
                continue
            if split["trafficAllocation"] < 100:
                effect = "the traffic allocation applies to it"
                losses.append(Loss(f"conditions[{index}]", "an individual target that is more than a list", effect))
        matchers = [definition_matcher(m) for m in condition["matcherGroup"]["matchers"]]
        buckets = [dict(p) for p in condition["partitions"]]
        rules.append({"condition": {"combiner": "AND", "matchers": matchers}, "buckets": buckets})
        named = condition["label"]
        if named and named != label(matchers):
            fact = f"the rule's description '{named}'"
            losses.append(Loss(f"conditions[{index}]", fact, "none: a definition has none", Severity.NOTE))
    return rules, [dict(p) for p in last["partitions"]]


class _Individual:
    """Individual targets on their way into treatments: all keys, then all segments, in the order of treatments."""

    def __init__(self, treatments: dict[str, JSON], losses: list[Loss]) -> None:
        self._treatments = treatments
        self._order = list(treatments)
        self._losses = losses
        self._named: set[str] = set()
        self._last = -1

    def take(self, condition: Mapping[str, Any], where: str) -> bool:
        """Put the condition into its treatment, if it is one that a treatment can hold at this place."""
        if len(condition["partitions"]) != 1:
            return False
        name = condition["partitions"][0]["treatment"]
        treatment = self._treatments[name]
        keys = individual_keys(condition)
        if keys is not None and self._last < 0:
            # The first naming wins; then the order of treatments has no say.
            fresh = [key for key in dict.fromkeys(keys) if key not in self._named]
            self._named.update(fresh)
            if fresh:
                treatment["keys"] = [*treatment.get("keys", ()), *fresh]
            return True
        segment = _individual_segment(condition)
        if segment is None:
            return False
        place = self._order.index(name)
        if place < self._last:
            effect = "who is in several of these segments gets the treatment that is listed first"
            self._losses.append(Loss(where, "segments in another order than treatments", effect, Severity.EDGE))
        self._last = max(place, self._last)
        treatment["segments"] = [*treatment.get("segments", ()), segment]
        return True


def _individual_segment(condition: Mapping[str, Any]) -> str | None:
    matchers = condition["matcherGroup"]["matchers"]
    if len(matchers) != 1 or matchers[0]["matcherType"] != "IN_SEGMENT" or matchers[0].get("negate"):
        return None
    return str(matchers[0]["userDefinedSegmentMatcherData"]["segmentName"])
