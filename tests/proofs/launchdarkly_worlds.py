"""Random environments of LaunchDarkly, as its SDKs receive them, and random contexts for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

from openfeature.evaluation_context import EvaluationContext

Json = dict[str, Any]

OPERATORS = [
    "in",
    "endsWith",
    "startsWith",
    "matches",
    "contains",
    "lessThan",
    "lessThanOrEqual",
    "greaterThan",
    "greaterThanOrEqual",
    "before",
    "after",
    "semVerEqual",
    "semVerLessThan",
    "semVerGreaterThan",
]
SEGMENT_MATCH = "segmentMatch"
UNKNOWN = "soundsLike"

TEXTS = ["DE", "FR", "US", "de", "Ünï", "日本", "D", "", "DEUS", "x" * 30, "5", "true", "é", "e\u0301", "a\nb", "😀"]
NUMBERS = [0, 1, 17, 18, 18.5, 65, -3, 5, 5.0, -0.0, 0.1 + 0.2, 0.3, 2**40, 2**53, 2**53 + 1, 2**63, 2**64 + 1, 1e300]
PATTERNS = ["^D", "E$", "[ü日]", "a.b", "(?i)de", "D(?=E)", "", "(", "[", "\\d+", "^$", "\\w{2}"]
VERSIONS = [
    "1",
    "1.2",
    "1.2.3",
    "1.2.3-alpha",
    "1.2.3-alpha.1",
    "1.2.3-2",
    "1.10.0",
    "2.0.0+build1",
    "2.0.0",
    "2-rc.1",
    "2.0\n",
    "0.0.0-0",
]
BAD_VERSIONS = ["", "one", "1.2.3.4", "01.2.3", "1.2.3-", "1..2", "v1.2.3", " 1.2.3"]
MOMENTS = [
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00.5+02:00",
    "2026-01-31t11:00:00z",
    "20260131T120000Z",
    "2026-01-31 12:00:00+00:00",
    "2026-W05-6T12:00:00Z",
    "2026-01-31T12Z",
    1_769_860_800_000,
    1_769_860_800_000.5,
    0,
    -1,
]
BAD_MOMENTS = ["2026-01-31", "2026-01-31T12:00:00", "2026-02-30T00:00:00Z", "yesterday", "2026-01-31T12:00:00Z\n"]
ANYTHING = [*TEXTS, *NUMBERS, *VERSIONS[:4], *MOMENTS[:2], True, False]

TEXT_ATTRIBUTES = ["country", "plan", "name", "a/b", "/slash", "til~de", "ünï", "email"]
NUMBER_ATTRIBUTES = ["age", "score"]
VERSION_ATTRIBUTES = ["version"]
DATE_ATTRIBUTES = ["joined"]
BOOLEAN_ATTRIBUTES = ["beta", "anonymous"]
LIST_ATTRIBUTES = ["tags"]
NESTED = ["/address/city", "/address/geo/lat", "/a~1b", "/til~0de", "/org/name"]
SPECIAL = ["key", "kind", "nothing", "key_", "address", "org"]
KINDS = ["org", "device", "absent"]
SEGMENTS = ["s0", "s1", "s2", "s3"]


# --- environments ----------------------------------------------------------------------------------------


def environment(random: Random, flags: int = 5) -> Json:
    """Flags that ask each other and segments; what LaunchDarkly's management API would let in, and a little more."""
    segments = {key: segment(random, key, SEGMENTS[:index]) for index, key in enumerate(SEGMENTS[:3])}
    made: dict[str, Json] = {}
    for index in range(flags):
        key = f"{random.choice(['flag', 'ä', 'checkout.', 'k' * 23])}-{index}"
        made[key] = flag(random, key, made)
    made["probe-1"], made["probe-2"] = probe(random, "probe-1"), probe(random, "probe-2")
    return {"flags": made, "segments": segments}


def probe(random: Random, key: str) -> Json:
    """A flag that shows one clause and nothing else."""
    rule = {"id": "probe", "clauses": [clause(random)], "variation": 0}
    return {
        "key": key,
        "version": 1,
        "on": True,
        "variations": [True, False],
        "fallthrough": {"variation": 1},
        "rules": [rule],
    }


def circle(random: Random) -> Json:
    """Flags that ask each other in a circle."""
    size = random.choice([1, 2, 3])
    made = {}
    for index in range(size):
        asked = {"key": f"c{(index + 1) % size}", "variation": 0}
        made[f"c{index}"] = {**flag(random, f"c{index}", {}), "on": True, "prerequisites": [asked]}
    return {"flags": made, "segments": {}}


def flag(random: Random, key: str, others: dict[str, Json]) -> Json:
    """One flag."""
    variations = values(random)
    count = len(variations)
    off = random.choice([None, *range(count), *range(count)])
    made: Json = {
        "key": key,
        "version": random.randrange(1, 100),
        "on": random.random() > 0.12,
        "variations": variations,
        "offVariation": off,
        "fallthrough": serve(random, count),
        "rules": [
            {"id": f"rule-{n}", "clauses": clauses(random), **serve(random, count)}
            for n in range(random.choice([0, 0, 1, 2, 4]))
        ],
        "salt": random.choice(["", "salt", "6f2a", "sälz"]),
        **targets(random, count),
    }
    if others and random.random() < 0.4:
        made["prerequisites"] = [prerequisite(random, others) for _ in range(random.choice([1, 1, 2]))]
    return made


def values(random: Random) -> list[Any]:
    """Two to four values of a type, or of several."""
    pool: list[Any] = random.choice(
        [
            [True, False],
            ["red", "grün", "", "0"],
            [0, 1, -7, 2**53 + 1],
            [0.0, 0.5, 1, -2.25],
            [{"a": 1}, [1, "two"], {}, {"nested": {"on": None}}],
            [{"a": 1}, "text", None, 3],
        ]
    )
    return random.sample(pool, random.randint(2, len(pool)))


def serve(random: Random, count: int) -> Json:
    """A variation or a rollout."""
    if random.random() < 0.5:
        return {"variation": random.randrange(count)}
    chosen = [random.randrange(count) for _ in range(random.choice([1, 2, 2, 3, 4]))]
    step = random.choice([1, 1, 1000, 12_500, 50_000, 100_000])
    cuts = sorted(random.randrange(100_000 // step + 1) * step for _ in chosen[1:])
    weights = [b - a for a, b in zip([0, *cuts], [*cuts, 100_000], strict=True)]
    if random.random() < 0.08:
        weights[random.randrange(len(weights))] += random.choice([-1, 1, 40_000])
    weighted = [{"variation": v, "weight": max(w, 0)} for v, w in zip(chosen, weights, strict=True)]
    rollout: Json = {"variations": weighted, **bucket_by(random)}
    if random.random() < 0.3:
        rollout["seed"] = random.choice([0, 61, -5, 2**40])
    if random.random() < 0.2:
        rollout["kind"] = "experiment"
        weighted[-1]["untracked"] = True
    return {"rollout": rollout}


def bucket_by(random: Random, kind_name: str = "contextKind") -> Json:
    """By key or by attribute, of users or of another kind."""
    made: Json = {}
    if random.random() < 0.5:
        made[kind_name] = random.choice(["user", "user", *KINDS])
    if random.random() < 0.4:
        pool = [*TEXT_ATTRIBUTES, *NUMBER_ATTRIBUTES, *BOOLEAN_ATTRIBUTES, *LIST_ATTRIBUTES, *NESTED, *SPECIAL]
        made["bucketBy"] = random.choice(pool)
    return made


def targets(random: Random, count: int) -> Json:
    """Targets of users, and of other kinds with and without the places of users' targets among them."""
    made: Json = {}
    if random.random() < 0.35:
        made["targets"] = [
            {"variation": random.randrange(count), "values": some_keys(random)} for _ in range(random.randint(1, 3))
        ]
    if random.random() < 0.2:
        made["contextTargets"] = [
            {
                "contextKind": kind,
                "variation": random.randrange(count),
                "values": [] if kind == "user" else some_keys(random),
            }
            for kind in random.choices(["user", "org", "device"], k=random.randint(1, 4))
        ]
    if random.random() < 0.2:
        names = [{"contextKind": "flagbrake-variant", "variation": n, "values": [f"v{n}"]} for n in range(count)]
        made["contextTargets"] = [*made.get("contextTargets", []), *names]
    return made


def some_keys(random: Random) -> list[str]:
    """Keys of a population small enough to be met."""
    return [f"u{random.randrange(25)}" for _ in range(random.randint(1, 5))]


def prerequisite(random: Random, others: dict[str, Json]) -> Json:
    """Another flag's variation; now and then a flag or a variation that is not there."""
    key = random.choice(list(others))
    variation = random.randrange(len(others[key]["variations"]))
    if random.random() < 0.04:
        return {"key": "gone", "variation": variation}
    return {"key": key, "variation": variation if random.random() > 0.03 else 17}


def clauses(random: Random, nested: list[str] | None = None) -> list[Json]:
    """None to three; few rules match where there are more."""
    return [clause(random, nested) for _ in range(random.choice([0, 1, 1, 1, 1, 2, 2, 3]))]


def clause(random: Random, nested: list[str] | None = None) -> Json:
    """A clause with any operator, its values mostly of the types that it compares."""
    op = random.choice([*OPERATORS, *OPERATORS, SEGMENT_MATCH, SEGMENT_MATCH, SEGMENT_MATCH, UNKNOWN])
    made: Json = {"op": op, "negate": random.random() < 0.3}
    if op == SEGMENT_MATCH:
        pool = SEGMENTS if nested is None else nested
        chosen = random.choices(pool, k=random.choice([0, 1, 1, 2])) if pool else []
        return {**made, "attribute": "", "values": [*chosen, 5] if random.random() < 0.05 else chosen}
    attributes, pool = fitting(random, op)
    made["attribute"] = random.choice(attributes)
    if random.random() < 0.12:
        made["attribute"] = random.choice([*NESTED, *SPECIAL])
    if random.random() < 0.6 or made["attribute"] in NESTED:
        made["contextKind"] = random.choice(["user", "user", "user", "user", *KINDS])
    count = random.choice([0, 1, 1, 1, 2, 3])
    made["values"] = [random.choice(ANYTHING if random.random() < 0.1 else pool) for _ in range(count)]
    if made["attribute"] == "kind":
        made["values"] = random.choices(["user", "org", "device", "d"], k=2)
    elif made["attribute"] == "key":
        made["values"] = some_keys(random)
    if random.random() < 0.01:
        made["values"].append(random.choice([None, [1], {"a": 1}]))
    return made


def fitting(random: Random, op: str) -> tuple[list[str], list[Any]]:
    """Attributes and values that an operator compares."""
    if op.startswith("semVer"):
        return VERSION_ATTRIBUTES, [*VERSIONS, *VERSIONS, *BAD_VERSIONS]
    if op in {"before", "after"}:
        return DATE_ATTRIBUTES, [*MOMENTS, *MOMENTS, *BAD_MOMENTS]
    if op.endswith(("Than", "ThanOrEqual")):
        return NUMBER_ATTRIBUTES, NUMBERS
    if op == "matches":
        return [*TEXT_ATTRIBUTES, *LIST_ATTRIBUTES], PATTERNS
    if op == "in":
        every = [*TEXT_ATTRIBUTES, *NUMBER_ATTRIBUTES, *BOOLEAN_ATTRIBUTES, *LIST_ATTRIBUTES, "key", "kind"]
        return every, [*TEXTS, *NUMBERS, True, False]
    return [*TEXT_ATTRIBUTES, *LIST_ATTRIBUTES], [t for t in TEXTS if random.random() < 0.8 or len(t) < 3]


def segment(random: Random, key: str, below: list[str]) -> Json:
    """A segment; its rules may ask the segments below it."""
    made: Json = {"key": key, "version": 1, "salt": random.choice(["", "seg", "ß"])}
    for side in ("included", "excluded"):
        if random.random() < 0.4:
            made[side] = some_keys(random)
        if random.random() < 0.3:
            kinds = random.choices(["org", "device", "user"], k=random.randint(1, 2))
            made[f"{side}Contexts"] = [{"contextKind": kind, "values": some_keys(random)} for kind in kinds]
    made["rules"] = [segment_rule(random, below) for _ in range(random.choice([0, 1, 1, 2]))]
    return made


def segment_rule(random: Random, below: list[str]) -> Json:
    """Clauses, and perhaps a share of who matches them."""
    made: Json = {"clauses": clauses(random, below)}
    if random.random() < 0.4:
        made["weight"] = random.choice([0, 1, 1000, 30_000, 50_000, 99_999, 100_000, 120_000])
        made.update(bucket_by(random, "rolloutContextKind"))
    return made


# --- contexts --------------------------------------------------------------------------------------------


def context(random: Random) -> EvaluationContext:
    """A user, mostly: attributes there, absent, null, of another type; other kinds beside it; rarely no key."""
    attributes: Json = {}
    for name in TEXT_ATTRIBUTES:
        put(random, attributes, name, TEXTS)
    for name in NUMBER_ATTRIBUTES:
        put(random, attributes, name, [*NUMBERS, random.randrange(100)])
    put(random, attributes, "version", [*VERSIONS, *BAD_VERSIONS])
    put(random, attributes, "joined", [*MOMENTS, *BAD_MOMENTS, *ODD_MOMENTS])
    put(random, attributes, "beta", [True, False])
    put(random, attributes, "anonymous", [True, False], 0.2)
    put(random, attributes, "tags", [[], ["DE", 5], [True, None, "US"], ("FR",), [["DE"]], [1.0, 18]])
    put(random, attributes, "address", [{"city": "DE", "geo": {"lat": 5}}, {"city": ["US", 17]}, "nowhere", {}])
    put(random, attributes, "key", ["DE", 5, {"x": 1}], 0.05)
    put(random, attributes, "kind", ["org", "user"], 0.05)
    put(random, attributes, "privateAttributes", [["plan"], "DE"], 0.03)
    for kind in ("org", "device"):
        if random.random() < 0.4:
            attributes[kind] = other_kind(random)
    if random.random() < 0.03:
        attributes["score"] = random.choice([10**400, float("nan"), float("inf"), Decimal("18.5"), Decimal(17)])
    if random.random() < 0.1:
        return EvaluationContext("", few(random, attributes))
    return EvaluationContext(unit(random), attributes)


ODD_MOMENTS = [
    datetime(2026, 1, 31, 12, tzinfo=UTC),
    datetime(2026, 1, 31, 12),  # noqa: DTZ001 - a naive one is meant
    datetime(2026, 1, 31, 14, 0, 0, 1, tzinfo=timezone(timedelta(hours=2))),
]


def put(random: Random, attributes: Json, name: str, pool: list[Any], often: float = 0.75) -> None:
    """An attribute with a value of its kind, of another, or null."""
    if random.random() < often:
        chance = random.random()
        attributes[name] = None if chance < 0.04 else random.choice(ANYTHING if chance < 0.12 else pool)


def unit(random: Random) -> str:
    """A key out of a small population, some of them long, odd or hardly text."""
    if random.random() < 0.005:
        return "half a pair \ud800"
    return f"u{random.randrange(25)}" + random.choice(["", "", "", "ß" * 9, "y" * 300, "😀"])


def other_kind(random: Random) -> Any:
    """A context of another kind, with a key, without one, or something else of its name."""
    if random.random() < 0.1:
        return random.choice(["acme", 5, {"name": "DE"}, {"targetingKey": ""}, {"targetingKey": 5}])
    made: Json = {"targetingKey": f"u{random.randrange(25)}"}
    put(random, made, "name", TEXTS)
    put(random, made, "country", TEXTS)
    put(random, made, "age", NUMBERS)
    put(random, made, "version", VERSIONS)
    put(random, made, "joined", MOMENTS)
    put(random, made, "anonymous", [True, False], 0.2)
    put(random, made, "address", [{"city": "DE", "geo": {"lat": 5}}, {"targetingKey": "inner", "city": "DE"}], 0.3)
    put(random, made, "tags", [["DE", 5], ["US"]], 0.3)
    return made


def few(random: Random, attributes: Json) -> Json:
    """Without a targeting key: everything, or contexts of other kinds alone."""
    if random.random() < 0.5:
        return attributes
    return {kind: attributes[kind] for kind in ("org", "device") if kind in attributes}
