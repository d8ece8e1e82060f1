"""Our evaluator against splitio-client: ``python -m tests.proofs.split_twin --pairs 100000 --seed 1``.

Random flags in the SDK's form with every matcher, both hashes, traffic allocation, prerequisites, segments and
rule-based segments, asked with random contexts. The SDK's side is its own parser, stores and evaluator; ours
is the flag that ``translate`` makes of the same document (read as it is, or written once more as a split or as
a definition and read again), through JSON, in a Ruleset. Treatment, value, configuration and reason must agree.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import Queue
from random import Random
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError
from splitio.engine.evaluator import EvaluationDataFactory, Evaluator
from splitio.engine.splitters import Splitter
from splitio.models import rule_based_segments, segments, splits
from splitio.models.fallback_config import FallbackTreatmentCalculator
from splitio.storage.inmemmory import InMemoryRuleBasedSegmentStorage, InMemorySegmentStorage, InMemorySplitStorage

from flagbrake.evaluate import Ruleset
from flagbrake.model.codec import dumps, flag_from_data, flag_to_data, loads, segment_from_data, segment_to_data
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.loss import Severity, Translated
from flagbrake.model.values import FlagKind, kind_of
from flagbrake_split.context import split_context
from flagbrake_split.translate import (
    Hashing,
    definition_from_flag,
    definition_from_segment,
    flag_from_definition,
    flag_from_split,
    reasons,
    segment_from_definition,
    segment_from_keys,
    segment_from_split,
    split_from_flag,
    split_from_segment,
)
from tests.proofs.split_random import World, random_context, random_world
from tests.proofs.stored import Disagreement, Proved, command, twin

CONTEXTS = 20
UNSUPPORTED = "targeting rule type unsupported by sdk"
NOT_IN_SPLIT = "not in split"
ABSENT = "definition not found"


@dataclass
class Seen:
    """What came up: how often a matcher was asked and how often it served, and why answers were given."""

    asked: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    hashes: Counter[str] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)


# --- the SDK -------------------------------------------------------------------------------------------


class Theirs:
    """The SDK's stores filled as its synchronizers fill them, and its evaluator."""

    def __init__(self, world: World) -> None:
        events: Queue[Any] = Queue()
        flags = InMemorySplitStorage(events)
        active = [splits.from_raw(s) for s in copied(world.splits) if s["status"] == "ACTIVE"]
        flags.update(active, [], 1)
        keys = InMemorySegmentStorage(events)
        for name, members in world.segments.items():
            keys.put(segments.Segment(name, members, 1))
        ruled = InMemoryRuleBasedSegmentStorage(events)
        ruled.update([rule_based_segments.from_raw(s) for s in copied(world.rule_based)], [], 1)
        self._data = EvaluationDataFactory(flags, keys, ruled)
        self._evaluator = Evaluator(Splitter(), FallbackTreatmentCalculator(None))

    def ask(self, flag: str, key: str, attributes: Mapping[str, Any]) -> tuple[str, str | None, str]:
        """Treatment, configuration and impression label, asked as our provider and the SDK's client ask."""
        matching, bucketing, given = split_context(EvaluationContext(key, attributes))
        context = self._data.context_for(matching, [flag])
        found = self._evaluator.eval_with_context(matching, bucketing, flag, given, context)
        return found["treatment"], found["configurations"], found["impression"]["label"]


def copied(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Documents that the SDK may change without anybody noticing."""
    copies: list[dict[str, Any]] = json.loads(json.dumps(documents))
    return copies


# --- ours ----------------------------------------------------------------------------------------------


def ours(world: World, random: Random, seen: Seen) -> Ruleset:
    """The same flags and segments in our model, each by one of the ways it may come."""
    rule_based = {s["name"] for s in world.rule_based}
    flags = [routed(s, declared(s, world), rule_based, random, seen) for s in world.splits]
    ruled = [routed_segment(s, rule_based, random) for s in world.rule_based]
    members = [segment_from_keys(name, keys) for name, keys in world.segments.items()]
    return Ruleset(
        {f.key: flag_from_data(loads(dumps(flag_to_data(f)))) for f in flags},
        {s.key: segment_from_data(loads(dumps(segment_to_data(s)))) for s in [*ruled, *members]},
    )


def declared(split: dict[str, Any], world: World) -> FlagKind | None:
    """The kind somebody must declare, where the SDK is not shown all treatments; ``None`` where it shows."""
    values = world.values[split["name"]]
    named = {p["treatment"] for c in split["conditions"] for p in c["partitions"]}
    named |= {split["defaultTreatment"], *split["configurations"]}
    return None if named == values.keys() else kind_of(next(iter(values.values())))


def routed(split: dict[str, Any], kind: FlagKind | None, rule_based: set[str], random: Random, seen: Seen) -> Flag:
    """The flag of a split: as it is read, or read again from what was written of it, if nothing was lost."""
    flag = flag_from_split(split, kind=kind).result
    route = random.choice(["split", "split twice", "definition"])
    if route == "split twice":
        written = split_from_flag(flag, base={"seed": split["seed"]} | split, rule_based=rule_based)
        again = flag_from_split(written.result, kind=kind).result if harmless(written) else None
    elif route == "definition":
        definition = definition_from_flag(flag, base={"name": flag.key, **_EMPTY}, rule_based=rule_based)
        read = flag_from_definition(definition.result, kind=kind, hashing=Hashing.of(split), rule_based=rule_based)
        again = read.result if harmless(definition) else None
    else:
        again = None
    seen.routes[route if again is not None or route == "split" else f"{route}: lossy"] += 1
    return flag if again is None else Flag(**{**_fields(again), "archived": flag.archived})


_EMPTY: dict[str, Any] = {"treatments": [], "defaultTreatment": "off", "defaultRule": []}


def _fields(flag: Flag) -> dict[str, Any]:
    return {name: getattr(flag, name) for name in Flag.__slots__}


def harmless(translated: Translated[Any]) -> bool:
    """Was nothing lost that changes an answer?"""
    return all(loss.severity is Severity.NOTE for loss in translated.losses)


def routed_segment(document: dict[str, Any], rule_based: set[str], random: Random) -> Segment:
    """As :func:`routed`, for a rule-based segment."""
    segment = segment_from_split(document).result
    route = random.choice(["split", "split twice", "definition"])
    if route == "split twice":
        return segment_from_split(split_from_segment(segment, rule_based=rule_based).result).result
    if route == "definition":
        written = definition_from_segment(segment, rule_based=rule_based)
        return segment_from_definition(written.result, rule_based=rule_based).result
    return segment


# --- comparing -----------------------------------------------------------------------------------------


def compare(pairs: int, seed: int) -> tuple[list[Disagreement], Seen]:
    """Ask ``pairs`` pairs of both; return the disagreements and what came up."""
    logging.getLogger("splitio").setLevel(logging.CRITICAL + 1)  # it logs whatever it coerces
    random = Random(seed)
    wrong: list[Disagreement] = []
    seen = Seen()
    left, number = pairs, 0
    while left > 0:
        number += 1
        world = random_world(random, number)
        theirs, rules = Theirs(world), ours(world, random, seen)
        for split in world.splits:
            given = reasons(split)
            for _ in range(min(left, CONTEXTS)):
                key, attributes = random_context(random)
                answer = theirs.ask(split["name"], key, attributes)
                other = expected(split, world, answer, given)
                count(seen, split, answer[2], str(other[2]))
                if answer[2] in {UNSUPPORTED, NOT_IN_SPLIT} and unreadable(split):
                    continue  # no answer but the caller's default: that the loss is reported is what is asked
                left -= 1
                mine = asked(rules, split["name"], key, attributes)
                if mine != other:
                    flag = rules.flags.get(split["name"])
                    both = f"{json.dumps(split)}\n{dumps(flag_to_data(flag)) if flag else rules.rejected}"
                    context = f"{key!r} {attributes!r}"
                    wrong.append(Disagreement(both, context, repr(mine), f"{other!r} {answer!r}"))
    return wrong, seen


def asked(rules: Ruleset, flag: str, key: str, attributes: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """What ours answers: variant, value (as JSON, so that types count), reason."""
    try:
        details = rules.evaluate(flag, EvaluationContext(key, attributes))
    except FlagNotFoundError:
        return None, None, ABSENT
    return details.variant, json.dumps(details.value, sort_keys=True), str(details.reason)


def expected(
    split: dict[str, Any], world: World, answer: tuple[str, str | None, str], given: Mapping[str, Any]
) -> tuple[Any, Any, str]:
    """What the SDK's answer means: its treatment, what the generator says that is worth, the reason of its label."""
    treatment, configuration, label = answer
    if label == ABSENT:
        return None, None, ABSENT
    if label == UNSUPPORTED:
        return treatment, None, UNSUPPORTED
    assert configuration == split["configurations"].get(treatment), answer
    value = world.values[split["name"]].get(treatment)
    return treatment, json.dumps(value, sort_keys=True), str(given[label])


def unreadable(split: dict[str, Any]) -> bool:
    """Does reading it say that a matcher is not known?"""
    return any("FROM_THE_FUTURE" in loss.what for loss in flag_from_split(split).losses)


def count(seen: Seen, split: dict[str, Any], label: str, reason: str) -> None:
    """Remember what this pair was about."""
    seen.reasons[reason] += 1
    seen.hashes["murmur" if split["algo"] == 2 else "legacy"] += 1
    outcome = label
    for condition in split["conditions"]:
        kinds = {m["matcherType"] for m in condition["matcherGroup"]["matchers"]}
        seen.asked.update(kinds)
        if condition["label"] == label:
            seen.served.update(kinds)
            outcome = condition["conditionType"].lower()
    seen.outcomes[outcome] += 1


def prove(pairs: int, seed: int) -> Proved:
    """Compare, and tell."""
    wrong, seen = compare(pairs, seed)
    asked = {"matchers_asked": seen.asked, "matchers_served": seen.served}
    return twin(
        pairs, seed, wrong, seen.reasons, **asked, outcomes=seen.outcomes, hashes=seen.hashes, routes=seen.routes
    )


if __name__ == "__main__":
    raise SystemExit(command("split-twin", __doc__, prove, pairs=100_000, seed=1))
