"""Our evaluator against Unleash's engine: ``python -m tests.proofs.unleash_twin --pairs 100000 --seed 1``.

Random features with every strategy, operator, stickiness, segment, variant and dependency, asked with random
contexts. The SDK's side is its engine (yggdrasil), given the features as the client API has them and the context
that our provider makes; ours is the flag that ``translate`` makes of the same document (read as it is, or written
once more as a feature and read again), through JSON, in a Ruleset. Whether it is on, the variant and its value must
agree. Where the engine draws lots ours answers TARGETING_KEY_MISSING, and that the engine draws is looked at.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import TargetingKeyMissingError
from yggdrasil_engine.engine import UnleashEngine

from flagbrake.errors import InvalidInput
from flagbrake.evaluate import Ruleset
from flagbrake.model.codec import dumps, flag_from_data, flag_to_data, loads, segment_from_data, segment_to_data
from flagbrake.model.flag import Distribution, Flag
from flagbrake.model.loss import Severity
from flagbrake.model.values import MISMATCH, USE_DEFAULT
from flagbrake_unleash.context import encoded
from flagbrake_unleash.payload import value_of_payload
from flagbrake_unleash.translate import DISABLED, feature_from_flag, is_plain, read_feature, segment_from
from tests.proofs.stored import Disagreement, Proved, command, twin
from tests.proofs.unleash_random import World, random_context, random_world

CONTEXTS = 20
#: What the SDK knows of the program that asks; our context has to tell it.
OWN = {"appName": "DE", "environment": "abc"}
#: How often the engine is asked where lots are drawn.
DRAWS = 150

#: On or off, the variant's name and its value; ``None`` for no variant.
Answer = tuple[bool, str | None, Any]


@dataclass
class Seen:
    """What came up: how often an operator and a strategy was asked and how often it served, and the answers."""

    operators: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    strategies: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)


# --- the engine ----------------------------------------------------------------------------------------


class Theirs:
    """The engine with the state of a world."""

    def __init__(self, world: World) -> None:
        self._engine = UnleashEngine()
        self._engine.take_state(json.dumps({"version": 2, "features": world.features, "segments": world.segments}))

    def ask(self, flag: str, context: Mapping[str, Any]) -> Answer:
        """What ``isEnabled`` and ``getVariant`` say."""
        found = self._engine.check_enabled(flag, context)
        variant = self._engine.check_variant(flag, context).variant
        if not variant.enabled:
            return found.is_enabled, None, None
        value = value_of_payload(variant.payload)
        return found.is_enabled, variant.name, variant.name if value is MISMATCH else value

    def draws(self, flag: str, context: Mapping[str, Any]) -> bool:
        """Does it answer now this, now that?"""
        first = repr(self.ask(flag, context))
        return any(repr(self.ask(flag, context)) != first for _ in range(DRAWS))


# --- ours ----------------------------------------------------------------------------------------------


def ours(world: World, random: Random, seen: Seen) -> Ruleset:
    """The same features and segments in our model, each by one of the ways it may come."""
    everything = {f["name"]: f for f in world.features}
    segments = {s["id"]: s for s in world.segments}
    flags = [routed(f, everything, segments, random, seen) for f in world.features]
    read = [segment_from(s) for s in world.segments]
    return Ruleset(
        {f.key: flag_from_data(loads(dumps(flag_to_data(f)))) for f in flags},
        {s.key: segment_from_data(loads(dumps(segment_to_data(s)))) for s in read},
        clock=lambda: datetime.now(UTC),
    )


def routed(
    feature: dict[str, Any],
    everything: Mapping[str, Any],
    segments: Mapping[int, Any],
    random: Random,
    seen: Seen,
) -> Flag:
    """The flag of a feature: as it is read, or read again from what was written of it, where it can be written."""
    flag = read_feature(feature, segments, others=everything).result
    if random.random() < 0.5:
        seen.routes["read"] += 1
        return flag
    try:
        written = feature_from_flag(flag, {s["name"]: number for number, s in segments.items()}, like=feature)
    except InvalidInput:
        seen.routes["cannot be written"] += 1
        return flag
    again = read_feature(written, segments).result
    if _gates(again) > _gates(flag):
        # What was dealt by an attribute to everybody is, once written, dealt to those who have it.
        seen.routes["written, for fewer"] += 1
        return flag
    seen.routes["written"] += 1
    return Flag(**{**{n: getattr(again, n) for n in Flag.__slots__}, "prerequisites": flag.prerequisites})


def _gates(flag: Flag) -> int:
    serves = [flag.default, *(rule.serve for rule in flag.rules)]
    return sum(isinstance(s, Distribution) and s.gate is not None for s in serves)


# --- comparing -----------------------------------------------------------------------------------------


def compare(pairs: int, seed: int) -> tuple[list[Disagreement], Seen]:
    """Ask ``pairs`` pairs of both; return the disagreements and what came up."""
    logging.getLogger("yggdrasil_engine.engine").setLevel(logging.CRITICAL + 1)
    random = Random(seed)
    wrong: list[Disagreement] = []
    seen = Seen()
    left, number = pairs, 0
    while left > 0:
        number += 1
        world = random_world(random, number)
        theirs, rules = Theirs(world), ours(world, random, seen)
        for feature in world.features:
            key = feature["name"]
            if by_lot(feature, {f["name"]: f for f in world.features}):
                seen.answers["dealt otherwise, as is reported"] += 1  # that the loss is reported is what is asked
                continue
            for _ in range(min(left, CONTEXTS)):
                unit, attributes = random_context(random)
                asked: dict[str, Any] = json.loads(encoded(EvaluationContext(unit, attributes), OWN))
                mine = answer(rules, feature, EvaluationContext(unit, {**attributes, **OWN}), seen)
                if mine is None:
                    seen.answers["drawn" if theirs.draws(key, asked) else "drawn, and all lots alike"] += 1
                    continue
                other = theirs.ask(key, asked)
                left -= 1
                count(seen, feature, other)
                if not same(mine, other):
                    flag = rules.flags.get(key)
                    shown = dumps(flag_to_data(flag)) if flag else str(rules.rejected)
                    wrong.append(
                        Disagreement(
                            f"{json.dumps(feature)}\n{shown}", f"{unit!r} {attributes!r}", repr(mine), repr(other)
                        )
                    )
    return wrong, seen


def by_lot(feature: dict[str, Any], everything: Mapping[str, Any]) -> bool:
    """Does reading it say that units get another share than they had?"""
    return any(loss.severity is Severity.UNITS for loss in read_feature(feature, others=everything).losses)


def answer(rules: Ruleset, feature: dict[str, Any], context: EvaluationContext, seen: Seen) -> Answer | None:
    """What ours answers, in the engine's words; ``None`` where a unit is missing."""
    try:
        details = rules.evaluate(feature["name"], context)
    except TargetingKeyMissingError:
        return None
    seen.reasons[str(details.reason)] += 1
    rule = str(details.flag_metadata.get("rule", "")).partition("-")[0]
    if rule.isdigit():
        seen.served.update({c["operator"] for c in feature["strategies"][int(rule) - 1]["constraints"]})
    if is_plain(feature):
        return details.value is True, None, None
    if details.variant in {None, DISABLED}:
        return False, None, None
    if details.value is USE_DEFAULT:
        return True, None, None
    return True, details.variant, details.value


def same(mine: Answer, other: Answer) -> bool:
    """The same answer, where 5 and 5.0 are one number and True is none."""
    return mine == other and isinstance(mine[2], bool) == isinstance(other[2], bool)


def count(seen: Seen, feature: dict[str, Any], said: Answer) -> None:
    """Remember what this pair was about."""
    on, variant, _ = said
    kind = "variant" if variant is not None else "on" if on else "off"
    seen.answers[kind if feature["enabled"] else "disabled"] += 1
    if feature.get("dependencies"):
        seen.answers[f"dependent {'on' if on else 'off'}"] += 1
    for strategy in feature["strategies"]:
        seen.strategies[strategy["name"]] += 1
        for constraint in strategy["constraints"]:
            seen.operators[constraint["operator"]] += 1


def prove(pairs: int, seed: int) -> Proved:
    """Compare, and tell."""
    wrong, seen = compare(pairs, seed)
    asked = {"operators_asked": seen.operators, "operators_served": seen.served, "strategies": seen.strategies}
    return twin(pairs, seed, wrong, seen.reasons, **asked, answers=seen.answers, routes=seen.routes)


if __name__ == "__main__":
    raise SystemExit(command("unleash-twin", __doc__, prove, pairs=100_000, seed=1))
