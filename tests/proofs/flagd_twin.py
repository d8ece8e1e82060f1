"""Our evaluator against openfeature-flagd-core 2: ``python -m tests.proofs.flagd_twin --pairs 100000 --seed 1``.

Random flags in the subset that both express (targets, rules with equality, membership, text, number and
version operators, nested attributes, negation, splits with flagd's bucketing, disabled flags) and random
contexts. Each flag goes through our JSON form and is written once more as flagd's; each pair is asked of
both, as a client would; value, type of value, variant and reason must agree.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from random import Random
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from flagbrake.model.clause import LAUNCHDARKLY, OURS, TARGETING_KEY, Attribute, Clause, Op
from flagbrake.model.codec import dumps, flag_from_data, flag_to_data, loads
from flagbrake.model.flag import Bucketing, Distribution, Flag, Rule, Serve, Targets, Variant, Weight
from flagbrake.model.values import WHOLE, FlagKind
from flagbrake.testing import MemoryProvider
from tests.proofs.stored import Disagreement, Proved, command, twin

CONTEXTS_PER_FLAG = 20

VALUES = {
    FlagKind.BOOLEAN: [True, False],
    FlagKind.STRING: ["red", "grün", "", "0"],
    FlagKind.INTEGER: [0, 1, -7, 2**53],
    FlagKind.FLOAT: [0.0, 0.5, -2.25, 1e300],
    FlagKind.OBJECT: [{"a": 1}, [1, "two"], {}, {"nested": {"on": True}}],
}
DEFAULTS = {
    FlagKind.BOOLEAN: False,
    FlagKind.STRING: "asked",
    FlagKind.INTEGER: 99,
    FlagKind.FLOAT: 9.5,
    FlagKind.OBJECT: {"asked": 1},
}
TEXTS = ["DE", "FR", "US", "de", "Ünï", "日本", "D", "", "DEUS", "x" * 30]
NUMBERS = [0, 1, 17, 18, 18.5, 65, -3, 5, 5.0, 2**40]
VERSIONS = ["1", "1.2", "1.2.3", "1.2.3-alpha", "1.2.3-alpha.1", "1.2.3-2", "1.10.0", "2.0.0+build1", "2.0.0", "2-rc.1"]
BAD_VERSIONS = ["", "one", "1.2.3.4", "01.2.3", "1.2.3-", "1..2"]

#: Attribute -> how it is written in flagd's ``var`` and what may stand in it. Number attributes hold numbers
#: only, for flagd reads "18" as 18 where our dialect does not.
TEXT_ATTRIBUTES = ["country", "plan", "/org/name", "/org/unit/id"]
NUMBER_ATTRIBUTES = ["age", "/org/size"]
VERSION_ATTRIBUTES = ["version"]
BOOLEAN_ATTRIBUTES = ["beta"]

TEXT_OPS = [Op.IN, Op.EQUAL, Op.STARTS_WITH, Op.ENDS_WITH, Op.CONTAINS]
NUMBER_OPS = {Op.LESS: "<", Op.LESS_OR_EQUAL: "<=", Op.GREATER: ">", Op.GREATER_OR_EQUAL: ">="}
VERSION_OPS = {
    Op.SEMVER_EQUAL: "=",
    Op.SEMVER_LESS: "<",
    Op.SEMVER_LESS_OR_EQUAL: "<=",
    Op.SEMVER_GREATER: ">",
    Op.SEMVER_GREATER_OR_EQUAL: ">=",
}


# --- generating ----------------------------------------------------------------------------------------


def random_flag(random: Random, key: str) -> Flag:
    """A flag of the common subset."""
    kind = random.choice(list(FlagKind))
    values = random.sample(VALUES[kind], random.randint(2, min(4, len(VALUES[kind]))))
    variants = tuple(Variant(f"v{i}", value) for i, value in enumerate(values))
    names = [v.name for v in variants]
    rules = [random_rule(random, f"r{i}", names) for i in range(random.choice([0, 0, 1, 2, 4]))]
    targets = [Targets(n, tuple(f"u{random.randrange(60)}" for _ in range(3))) for n in names if random.random() < 0.2]
    return Flag(
        key=key,
        kind=kind,
        variants=variants,
        default=random_serve(random, names),
        on=random.random() > 0.08,
        targets=tuple(targets),
        rules=tuple(rules),
        version=random.randrange(100),
    )


def random_rule(random: Random, name: str, variants: list[str]) -> Rule:
    """A rule of one to three clauses."""
    clauses = tuple(random_clause(random) for _ in range(random.choice([1, 1, 2, 3])))
    return Rule(name, clauses, random_serve(random, variants))


def random_clause(random: Random) -> Clause:
    """A clause of the common subset."""
    sort = random.choice(["text", "text", "number", "membership", "version", "boolean", "key"])
    negate = random.random() < 0.25
    if sort == "version":
        values = (random.choice(VERSIONS),)
        op = random.choice(list(VERSION_OPS))
        return Clause(Attribute.parse(random.choice(VERSION_ATTRIBUTES)), op, values, negate, LAUNCHDARKLY)
    if sort == "boolean":
        return Clause(Attribute.parse(random.choice(BOOLEAN_ATTRIBUTES)), Op.IS, (random.random() < 0.5,), negate)
    if sort == "number":
        values = tuple(random.choices(NUMBERS, k=random.choice([1, 1, 2])))
        return Clause(
            Attribute.parse(random.choice(NUMBER_ATTRIBUTES)), random.choice(list(NUMBER_OPS)), values, negate
        )
    if sort == "membership":
        values = tuple(random.choices([*NUMBERS, *TEXTS], k=random.randint(1, 4)))
        attribute = random.choice([*NUMBER_ATTRIBUTES, *TEXT_ATTRIBUTES])
        return Clause(Attribute.parse(attribute), random.choice([Op.IN, Op.EQUAL]), values, negate)
    if sort == "key":
        values = tuple(f"u{random.randrange(60)}" for _ in range(random.randint(1, 20)))
        return Clause(Attribute(), Op.IN, values, negate)
    values = tuple(random.choices(TEXTS, k=random.choice([1, 1, 2, 3])))
    return Clause(Attribute.parse(random.choice(TEXT_ATTRIBUTES)), random.choice(TEXT_OPS), values, negate, OURS)


def random_serve(random: Random, names: list[str]) -> Serve:
    """A variant, or a split in flagd's bucketing."""
    if random.random() < 0.5:
        return random.choice(names)
    chosen = random.sample(names, random.randint(1, len(names)))
    step = random.choice([1, 1, 1000, 12_500, 50_000])
    cuts = sorted(random.randrange(0, WHOLE // step + 1) * step for _ in chosen[1:])
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, WHOLE], strict=True)]
    weights = tuple(Weight(n, s) for n, s in zip(chosen, shares, strict=True))
    return Distribution(weights, Bucketing("flagd-2"))


def random_context(random: Random) -> EvaluationContext:
    """Attributes that are there, absent, null or (for texts) of another type."""
    attributes: dict[str, Any] = {}

    def put(name: str, pool: list[Any]) -> None:
        if random.random() < 0.85:
            *parents, last = Attribute.parse(name).path
            place = attributes
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = None if random.random() < 0.05 else random.choice(pool)

    for name in TEXT_ATTRIBUTES:
        put(name, [*TEXTS, *TEXTS, 5, 18.5])
    for name in NUMBER_ATTRIBUTES:
        put(name, [*NUMBERS, random.randrange(100)])
    put("version", [*VERSIONS, *BAD_VERSIONS])
    put("beta", [True, False])
    if random.random() < 0.05:
        attributes["org"] = "not an object"
    long = random.choice(["", "ß" * 9, "y" * 300, "z" * 22])
    return EvaluationContext(f"u{random.randrange(60)}{long}", attributes)


# --- the same flag in flagd's words --------------------------------------------------------------------


def to_flagd(flag: Flag) -> dict[str, Any]:
    """A flag in flagd's definition; its rules as one chain of ``if``."""
    chain: list[Any] = []
    for target in flag.targets:
        chain += [{"in": [{"var": TARGETING_KEY}, list(target.keys)]}, target.variant]
    for rule in flag.rules:
        chain += [{"and": [clause_to_flagd(c) for c in rule.clauses]}, serve_to_flagd(rule.serve)]
    data: dict[str, Any] = {
        "state": "ENABLED" if flag.on else "DISABLED",
        "variants": {v.name: v.value for v in flag.variants},
        "defaultVariant": flag.default if isinstance(flag.default, str) else flag.variants[0].name,
    }
    if isinstance(flag.default, Distribution):
        split = serve_to_flagd(flag.default)
        data["targeting"] = {"if": [*chain, split]} if chain else split
    elif chain:
        data["targeting"] = {"if": chain}
    return data


def serve_to_flagd(serve: Serve) -> Any:
    """A variant or a ``fractional`` in the shorthand form, its weights reduced: only their ratio counts."""
    if isinstance(serve, str):
        return serve
    divisor = math.gcd(*(w.share for w in serve.weights))
    return {"fractional": [[w.variant, w.share // divisor] for w in serve.weights]}


def clause_to_flagd(clause: Clause) -> Any:
    """A clause, guarded by presence: for flagd null is less than 18 and an absent attribute matches a negation."""
    variable = {"var": ".".join(clause.attribute.path)}
    matches = {"or": [_one(clause.op, variable, value) for value in clause.values]}
    there = {"!==": [variable, None]}
    return {"and": [there, {"!": [matches]} if clause.negate else matches]}


def _one(op: Op, variable: Any, value: Any) -> Any:
    if op in {Op.IN, Op.EQUAL, Op.IS}:
        return {"in": [variable, [value]]} if op is Op.IN else {"===": [variable, value]}
    if op in NUMBER_OPS:
        return {NUMBER_OPS[op]: [variable, value]}
    if op in VERSION_OPS:
        return {"sem_ver": [variable, VERSION_OPS[op], value]}
    if op is Op.CONTAINS:
        return {"and": [{"===": [{"cat": [variable]}, variable]}, {"in": [value, variable]}]}
    return {op.value: [variable, value]}


# --- comparing -----------------------------------------------------------------------------------------

REASONS = {"SPLIT": "TARGETING_MATCH"}


def asked(source: Any, suffix: str, flag: Flag, context: EvaluationContext) -> tuple[Any, ...]:
    """What a source answers: type, value, variant, reason."""
    details = getattr(source, f"resolve_{flag.kind}_{suffix}")(flag.key, DEFAULTS[flag.kind], context)
    reason = str(details.reason)
    return type(details.value).__name__, details.value, details.variant, REASONS.get(reason, reason)


def compare(pairs: int, seed: int) -> tuple[list[Disagreement], Counter[str]]:
    """Ask ``pairs`` pairs of both; return the disagreements and how often each reason was given."""
    logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL)  # it logs every version it cannot read
    random = Random(seed)
    wrong: list[Disagreement] = []
    reasons: Counter[str] = Counter()
    left = pairs
    number = 0
    while left > 0:
        number += 1
        key = random.choice(["flag", "ä", "checkout-", "k" * 23, "long" * 60]) + str(number)
        flag = flag_from_data(loads(dumps(flag_to_data(random_flag(random, key)))))
        theirs = FlagdCore()
        theirs.set_flags({"flags": {key: to_flagd(flag)}})
        ours = MemoryProvider([flag])
        ours.initialize(EvaluationContext())
        for _ in range(min(left, CONTEXTS_PER_FLAG)):
            context = random_context(random)
            mine, other = asked(ours, "details", flag, context), asked(theirs, "value", flag, context)
            reasons[str(mine[3])] += 1
            if mine != other:
                wrong.append(Disagreement(dumps(flag_to_data(flag)), repr(context), repr(mine), repr(other)))
        left -= CONTEXTS_PER_FLAG
    return wrong, reasons


def prove(pairs: int, seed: int) -> Proved:
    """Compare, and tell."""
    wrong, reasons = compare(pairs, seed)
    return twin(pairs, seed, wrong, reasons)


if __name__ == "__main__":
    raise SystemExit(command("flagd-twin", __doc__, prove, pairs=100_000, seed=1))
