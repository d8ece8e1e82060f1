"""Our evaluator against LaunchDarkly's SDK: ``python -m tests.proofs.launchdarkly_twin --pairs 100000 --seed 1``.

Random environments as SDKs receive them (every operator, values of all types, segments, prerequisites,
targets of several kinds, rollouts and experiments) are translated to the model, pass through its JSON form
and are asked through a Ruleset. The real SDK holds the original in its feature store and is asked with the
context that our provider would send. Value, type of value, variant, reason, rule and prerequisite must agree.
Of every fifth environment the model is also written back, and the SDK is asked with what was written.

What our provider makes of the SDK's answer is compared as well. With ``unit`` (the option ``context_kind``) the
same environments are met by units of another kind, beside whom users stand as structures.

Left out are circles, which LaunchDarkly's management API does not let in: of segments (our ruleset refuses the
segments, the SDK the flags that ask them), of prerequisites where a flag that is off interrupts them, and flags
that ask one of a circle. Flags in a circle of flags that are on are compared: both serve the default, with an error.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ldclient import Config, LDClient
from ldclient.feature_store import InMemoryFeatureStore
from ldclient.versioned_data_kind import FEATURES, SEGMENTS
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError, TargetingKeyMissingError

from flagbrake.errors import FlagbrakeError
from flagbrake.evaluate import Ruleset
from flagbrake.evaluate.clauses import predicate
from flagbrake.model.codec import dumps, flag_from_data, flag_to_data, loads, segment_from_data, segment_to_data
from flagbrake.model.loss import Severity
from flagbrake.model.values import MISMATCH, USE_DEFAULT, coerce
from flagbrake_launchdarkly.context import context_maker
from flagbrake_launchdarkly.received import Known
from flagbrake_launchdarkly.translate import environment_from_sdk, environment_to_sdk
from tests.proofs import launchdarkly_worlds as worlds
from tests.proofs.stored import Disagreement, Proved, command, twin

CONTEXTS_PER_WORLD = 16
#: Every fifth world is also written back.
WRITTEN_BACK = 5
DEFAULT = "the caller's default"

Answer = tuple[Any, ...]


@dataclass
class Result:
    """What a run saw."""

    pairs: int = 0
    written_back: int = 0
    wrong: list[Disagreement] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    #: (operator, matched).
    clauses: Counter[tuple[str, bool]] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)


class Theirs:
    """The real SDK over a feature store that we fill."""

    def __init__(self, unit: str = "user") -> None:
        logging.getLogger("ldclient").setLevel(logging.CRITICAL + 1)
        self._store = InMemoryFeatureStore()
        self._store.init({FEATURES: {}, SEGMENTS: {}})
        self._client = LDClient(Config("sdk-key", use_ldd=True, feature_store=self._store, send_events=False))
        self._context = context_maker(unit)

    def hold(self, world: Mapping[str, Any]) -> None:
        """Replace everything."""
        self._store.init({FEATURES: world["flags"], SEGMENTS: world["segments"]})

    def ask(self, key: str, context: EvaluationContext) -> tuple[Any, int | None, dict[str, Any]]:
        """Value, variation and reason."""
        detail = self._client.variation_detail(key, self._context(context), DEFAULT)
        return detail.value, detail.variation_index, detail.reason

    def close(self) -> None:
        """End its threads."""
        self._client.close()


def ours_of(world: Mapping[str, Any], unit: str) -> tuple[Ruleset, Any]:
    """The world in our words, through the JSON form, and what was lost."""
    done = environment_from_sdk(loads(json.dumps(world)), unit=unit)
    flags = {k: flag_from_data(loads(dumps(flag_to_data(f)))) for k, f in done.result.flags.items()}
    segments = {k: segment_from_data(loads(dumps(segment_to_data(s)))) for k, s in done.result.segments.items()}
    assert not done.result.refused, done.result.refused
    return Ruleset(flags, segments), done


def our_answer(rules: Ruleset, key: str, context: EvaluationContext) -> Answer:
    """Value, variant, reason, rule, prerequisite."""
    try:
        given = rules.evaluate(key, context)
    except TargetingKeyMissingError:
        return ("no targeting key",)
    except OpenFeatureError:
        return (DEFAULT, None, "ERROR", None, None)
    facts = given.flag_metadata
    value = DEFAULT if given.value is USE_DEFAULT else given.value
    return value, given.variant, str(given.reason), facts.get("rule"), facts.get("prerequisite")


def expected(flag: Mapping[str, Any], names: tuple[str, ...], asked: tuple[Any, int | None, dict[str, Any]]) -> Answer:
    """The SDK's answer in our words."""
    value, index, reason = asked
    kind = reason["kind"]
    variant = None if index is None else names[index]
    if kind == "ERROR":
        return DEFAULT, None, "ERROR", None, None
    if kind in {"OFF", "PREREQUISITE_FAILED"}:
        return value, variant, "DISABLED", None, reason.get("prerequisiteKey")
    if kind == "TARGET_MATCH":
        return value, variant, "TARGETING_MATCH", None, None
    if kind == "RULE_MATCH":
        rollout = "rollout" in flag["rules"][reason["ruleIndex"]]
        return value, variant, "SPLIT" if rollout else "TARGETING_MATCH", reason["ruleId"], None
    asks = flag.get("rules") or flag.get("prerequisites") or _named(flag)
    return value, variant, "SPLIT" if "rollout" in flag["fallthrough"] else "DEFAULT" if asks else "STATIC", None, None


def _named(flag: Mapping[str, Any]) -> bool:
    """Has it a target that could be met?"""
    listed = flag.get("contextTargets", [])
    users = [target["variation"] for target in flag.get("targets", []) if target["values"]]
    return any(
        target["variation"] in users if target["contextKind"] == "user" else target["values"]
        for target in listed
        if target["contextKind"] != "flagbrake-variant"
    ) or bool(users and not listed)


def _placed(flag: Mapping[str, Any]) -> bool:
    """Has every user's target a place? One that has none is never met, which our provider does not look into."""
    listed = {target["variation"] for target in flag.get("contextTargets", []) if target["contextKind"] == "user"}
    return not flag.get("contextTargets") or all(t["variation"] in listed for t in flag.get("targets", []))


def told(received: Known, asked: tuple[Any, int | None, dict[str, Any]]) -> Answer:
    """What our provider makes of the SDK's answer: variant, reason, rule and prerequisite."""
    made = received.told(asked[1], asked[2])
    return made.variant, str(made.reason), made.metadata.get("rule"), made.metadata.get("prerequisite")


def deals_by_key(world: Mapping[str, Any], key: str, unit: str, seen: frozenset[str] = frozenset()) -> bool:
    """May a rollout by the unit's key have decided, here or in a flag that this one asks?"""
    flag = world["flags"].get(key)
    if flag is None or key in seen:
        return False
    for served in (flag["fallthrough"], *flag["rules"]):
        rollout = served.get("rollout", {})
        by_key = rollout.get("kind") == "experiment" or rollout.get("bucketBy", "key") in {"key", "/key"}
        if rollout and by_key and rollout.get("contextKind", "user") == unit:
            return True
    return any(deals_by_key(world, asked["key"], unit, seen | {key}) for asked in flag.get("prerequisites", []))


def same(ours: Answer, theirs: Answer, kind: Any) -> bool:
    """Equal, the value in the flag's own type."""
    if ours[1:] != theirs[1:]:
        return False
    if theirs[1] is None:
        return bool(ours[0] == theirs[0])
    value = coerce(theirs[0], kind)
    value = theirs[0] if value is MISMATCH else value
    return type(ours[0]) is type(value) and bool(ours[0] == value)


def compare(pairs: int, seed: int, *, until_wrong: bool = False, unit: str = "user") -> Result:
    """Ask ``pairs`` pairs of both, or until they disagree."""
    random, result, theirs = Random(seed), Result(), Theirs(unit)
    try:
        number = 0
        while result.pairs < pairs and not (until_wrong and result.wrong):
            number += 1
            world = worlds.circle(random) if random.random() < 0.01 else worlds.environment(random)
            _compare_world(world, random, theirs, result, pairs, unit=unit, write_back=number % WRITTEN_BACK == 0)
    finally:
        theirs.close()
    return result


def _compare_world(
    world: Mapping[str, Any],
    random: Random,
    theirs: Theirs,
    result: Result,
    pairs: int,
    *,
    unit: str,
    write_back: bool,
) -> None:
    rules, done = ours_of(world, unit)
    result.losses.update(str(loss.severity) for loss in done.losses)
    if any(loss.severity is Severity.EDGE and "equals" in loss.effect for loss in done.losses):
        return  # a clause on a list or an object, which the report says cannot be compared with here
    if unit != "user" and any(loss.severity is Severity.ANSWERS for loss in done.losses):
        return  # the word for the unit's kind is looked at otherwise than by comparing it whole
    contexts = [_met_by(worlds.context(random), unit) for _ in range(CONTEXTS_PER_WORLD)]
    theirs.hold(world)
    given: list[tuple[str, EvaluationContext, tuple[Any, ...]]] = []
    for key, flag in world["flags"].items():
        known, received = done.result.flags[key], Known(FEATURES.decode(flag), unit)
        placed = _placed(flag)
        for context in contexts[: max(pairs - result.pairs, 0)]:
            result.pairs += 1
            asked = theirs.ask(key, context)
            given.append((key, context, asked))
            mine, other = our_answer(rules, key, context), expected(flag, known.variant_names, asked)
            _count_clause(known, context, rules, random, result)
            if placed and asked[2]["kind"] != "ERROR" and told(received, asked) != other[1:]:
                result.wrong.append(_told(world, key, context, ("provider", told(received, asked)), other))
            if mine == ("no targeting key",):
                right = not context.targeting_key and deals_by_key(world, key, unit)
                other = mine if right else other
            result.reasons[asked[2]["kind"] if mine != ("no targeting key",) else "NO_TARGETING_KEY"] += 1
            if mine != other and not (len(mine) == len(other) and same(mine, other, known.kind)):
                result.wrong.append(_told(world, key, context, mine, other))
    if write_back:
        _compare_written(world, done.result, given, theirs, result, unit)


def _met_by(context: EvaluationContext, unit: str) -> EvaluationContext:
    """The same context where the unit is of another kind: what was the structure of that kind is a user's.

    A context of nothing but structures cannot be told from one of a unit where one of them is a user's.
    """
    if unit == "user" or unit not in context.attributes:
        return context
    attributes = dict(context.attributes)
    other = attributes.pop(unit)
    return EvaluationContext(
        context.targeting_key, {**attributes, "user": other} if context.targeting_key else attributes
    )


def _count_clause(flag: Any, context: EvaluationContext, rules: Ruleset, random: Random, result: Result) -> None:
    clauses = [clause for rule in flag.rules for clause in rule.clauses]
    if not clauses:
        return
    clause = random.choice(clauses)
    try:
        matched = predicate(clause)(context.targeting_key, context.attributes, rules)
    except (OpenFeatureError, FlagbrakeError):
        return
    result.clauses[(str(clause.op), matched)] += 1


def _compare_written(
    world: Mapping[str, Any], read: Any, given: Any, theirs: Theirs, result: Result, unit: str
) -> None:
    written = environment_to_sdk(read.flags, read.segments, unit=unit)
    if any(loss.severity is not Severity.NOTE for loss in written.losses):
        return
    theirs.hold(loads(json.dumps(written.result)))
    for key, context, before in given:
        result.written_back += 1
        after = theirs.ask(key, context)
        if (before[0], before[1], _essence(before[2])) != (after[0], after[1], _essence(after[2])):
            result.wrong.append(_told(world, key, context, ("written back", after), ("original", before)))


def _essence(reason: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(reason.get(name) for name in ("kind", "ruleIndex", "ruleId", "prerequisiteKey", "errorKind"))


def _told(world: Mapping[str, Any], key: str, context: EvaluationContext, ours: Any, theirs: Any) -> Disagreement:
    flag = f"{json.dumps(world['flags'][key])}\n{json.dumps(world)}"
    return Disagreement(flag, repr(context), repr(ours), repr(theirs))


def prove(pairs: int, seed: int) -> Proved:
    """Compare, and tell."""
    done = compare(pairs, seed)
    clauses = {f"{op} {'matched' if hit else 'failed'}": n for (op, hit), n in done.clauses.items()}
    return twin(done.pairs, seed, done.wrong, done.reasons, written_back=done.written_back, clauses=clauses)


if __name__ == "__main__":
    raise SystemExit(command("launchdarkly-twin", __doc__, prove, pairs=100_000, seed=1))
