"""Pure: what is known about each feature before it is evaluated, and the state as our engine takes it.

Unleash's engine answers with a variant and does not say which strategy it came from. So each strategy's variants
carry its number in front of their names (``1:blue``); a strategy without variants in a feature that has several
gets one that is only the number. Hashing uses groups and weights, never names: nobody's variant changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from openfeature.flag_evaluation import Reason

from flagbrake.model.values import MISMATCH, USE_DEFAULT, WHOLE
from flagbrake_unleash.payload import value_of_payload
from flagbrake_unleash.translate import (
    flag_from_feature,
    is_denial,
    is_plain,
    leaves_out,
    left_out,
    lists_of,
    mark_of,
    owned_strategy,
    rollout_of,
)

Metadata = Mapping[str, "bool | int | float | str"]
#: An answer without its error: value, variant, reason, metadata, and whether a unit was needed for it.
Answer = tuple[Any, "str | None", str, Metadata, bool]
_NOTHING: Final[Metadata] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Step:
    """One strategy: what an answer from it says."""

    reason: str
    metadata: Metadata
    partial: bool
    true_name: str


@dataclass(slots=True)
class Feature:
    """One feature, ready to be asked."""

    document: Mapping[str, Any]
    name: bytes
    enabled: bool
    plain: bool
    #: Asked with ``check_enabled``: one strategy, on or off.
    single: bool
    steps: tuple[Step, ...]
    #: When no strategy holds.
    nothing: Answer
    off: Answer | None
    #: Some answer depends on a unit that the context may lack.
    sticky: bool
    #: What a plain feature's answer is called when it is on.
    true_name: str
    denied: frozenset[str]
    #: Responses of the engine seen so far, with what they mean.
    answers: dict[bytes, Answer] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def feature_of(document: Mapping[str, Any]) -> Feature:
    """Compile one feature of ``/api/client/features``."""
    plain = is_plain(document)
    flag = flag_from_feature({**document, "archived": False, "tags": ()})
    strategies = [s for s in document.get("strategies") or () if not s.get("disabled")]
    values = {v.name: v.value for v in flag.variants if v.value is not USE_DEFAULT}
    true_name = next((n for n, v in values.items() if v is True), "on") if plain else ""
    false_name = next((n for n, v in values.items() if v is False), "off") if plain else ""
    common: dict[str, bool | int | float | str] = {}
    if document.get("impressionData"):
        common["unleash_impression_data"] = True
    lists, denies = len(lists_of(document)), leaves_out(document)
    steps = tuple(
        _step(s, n, strategies, true_name, common, listed=n < lists, denies=denies) for n, s in enumerate(strategies)
    )
    single = plain and len(strategies) <= 1
    metadata = MappingProxyType(common)
    off: Answer | None = None
    marked = "off" in mark_of(owned_strategy(document) or {})
    if flag.off_variant is not None:
        off = (values[flag.off_variant], flag.off_variant, Reason.DISABLED, metadata, False)
    elif plain and not marked:
        off = (False, false_name, Reason.DISABLED, metadata, False)
    return Feature(
        document=document,
        name=document["name"].encode(),
        enabled=bool(document.get("enabled")),
        plain=plain,
        single=single,
        steps=steps,
        nothing=_nothing(document, strategies, steps, false_name, plain, metadata, off),
        off=off,
        sticky=any(_hashes(s) for s in strategies),
        true_name=true_name,
        denied=frozenset(left_out(document)),
        values=MappingProxyType(values),
    )


def _step(
    strategy: Mapping[str, Any],
    number: int,
    strategies: list[Mapping[str, Any]],
    true_name: str,
    common: Mapping[str, Any],
    *,
    listed: bool,
    denies: bool,
) -> Step:
    asked = [c for c in strategy.get("constraints") or () if not (denies and is_denial(strategy, c))]
    asks = bool(asked or strategy.get("segments"))
    shares = [v for v in strategy.get("variants") or () if v.get("weight")]
    partial = len(shares) > 1 or 0 < rollout_of(strategy) < WHOLE
    facts = dict(common)
    if partial:
        reason = Reason.SPLIT
    elif asks or strategy.get("name") in {"userWithId", "remoteAddress"}:
        reason = Reason.TARGETING_MATCH
    else:
        alone = len(strategies) == 1 and asked == [*(strategy.get("constraints") or ())]
        reason = Reason.STATIC if alone else Reason.DEFAULT
    if asks and not listed:
        facts["rule"] = str(mark_of(strategy).get("rule") or number + 1)
    return Step(reason, MappingProxyType(facts), partial and _hashes(strategy), true_name)


def _nothing(
    document: Mapping[str, Any],
    strategies: list[Mapping[str, Any]],
    steps: tuple[Step, ...],
    false_name: str,
    plain: bool,
    metadata: Metadata,
    off: Answer | None,
) -> Answer:
    if not plain:
        if document.get("dependencies") and off is not None:
            # The last strategy takes everybody, so a prerequisite has failed.
            facts = {**metadata, "prerequisite": document["dependencies"][0]["feature"]}
            return (off[0], off[1], Reason.DISABLED, MappingProxyType(facts), False)
        return (USE_DEFAULT, None, Reason.DEFAULT, metadata, any(s.partial for s in steps))
    owned = owned_strategy(document)
    if owned is None:
        return (False, false_name, Reason.DEFAULT, metadata, any(s.partial for s in steps))
    split = 0 < rollout_of(owned) < WHOLE
    reason = Reason.SPLIT if split else Reason.STATIC if len(strategies) == 1 else Reason.DEFAULT
    return (False, false_name, reason, metadata, any(s.partial for s in steps))


def _hashes(strategy: Mapping[str, Any]) -> bool:
    parameters = strategy.get("parameters") or {}
    partial = (
        0 < rollout_of(strategy) < WHOLE or len([v for v in strategy.get("variants") or () if v.get("weight")]) > 1
    )
    # By a field of its own a strategy leaves out who does not have it; only here the engine draws lots.
    return partial and parameters.get("stickiness") in {None, "default"}


def answer_of(feature: Feature, response: bytes) -> Answer:
    """What the engine's answer to ``check_variant`` means."""
    said = json.loads(response)["value"]
    if said is None or not said.get("featureEnabled"):
        return feature.nothing
    number, colon, name = said["name"].partition(":")
    if not colon or not number.isdigit() or int(number) >= len(feature.steps):
        # Variants of the feature itself: which strategy let it through cannot be told.
        if not said.get("enabled"):
            return feature.nothing
        value = value_of_payload(said.get("payload"))
        return (said["name"] if value is MISMATCH else value, said["name"], Reason.TARGETING_MATCH, _NOTHING, True)
    step = feature.steps[int(number)]
    passed = any(s.partial for s in feature.steps[: int(number) + 1])
    if feature.plain:
        return (True, step.true_name, step.reason, step.metadata, passed)
    if not name:
        return (USE_DEFAULT, None, step.reason, step.metadata, passed)
    value = feature.values.get(name, MISMATCH)
    sent = value_of_payload(said.get("payload"))
    return (name if sent is MISMATCH and value is MISMATCH else value if sent is MISMATCH else sent,
            name, step.reason, step.metadata, step.partial)  # fmt: skip


def numbered(document: Mapping[str, Any], everything: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The feature with the numbers of its strategies in the names of their variants.

    ``everything`` has all features by key: what a feature depends on is numbered too.
    """
    if document.get("dependencies"):
        needs = [_numbered_need(need, everything) for need in document["dependencies"]]
        document = {**document, "dependencies": needs}
    strategies = document.get("strategies") or ()
    if is_plain(document) and len(strategies) <= 1:
        return document
    several = not document.get("variants")
    active = [s for s in strategies if not s.get("disabled")]
    return {**document, "strategies": [_numbered(s, n, several=several) for n, s in enumerate(active)]}


def _numbered_need(need: Mapping[str, Any], everything: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    strategies = everything.get(need["feature"], {}).get("strategies") or ()
    variants = need.get("variants") or ()
    return {**need, "variants": [*variants, *(f"{n}:{v}" for v in variants for n in range(len(strategies)))]}


def _numbered(strategy: Mapping[str, Any], number: int, *, several: bool) -> Mapping[str, Any]:
    variants = strategy.get("variants") or ()
    if not variants:
        if not several:
            return strategy
        only = {"name": f"{number}:", "weight": 1000, "weightType": "variable", "stickiness": "default"}
        return {**strategy, "variants": [only]}
    return {**strategy, "variants": [{**v, "name": f"{number}:{v['name']}"} for v in variants]}


def changed_keys(old: Mapping[str, Feature], new: Mapping[str, Feature], segments: Iterable[int] = ()) -> list[str]:
    """The keys whose definition is another one now, or whose segments are."""
    touched = frozenset(segments)
    return sorted(
        key
        for key in old.keys() | new.keys()
        if key not in old
        or key not in new
        or old[key].document != new[key].document
        or (touched and touched.intersection(_segments(new[key].document)))
    )


def _segments(document: Mapping[str, Any]) -> Iterable[int]:
    return (number for s in document.get("strategies") or () for number in s.get("segments") or ())
