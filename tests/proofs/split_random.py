"""Random splits, segments and contexts for the twin of Split, in the SDK's own form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

JSON = dict[str, Any]

TEXTS = ["DE", "FR", "de", "Ünï", "日本", "", "abc", "a.c", "12", "5", "true", "null", '["DE"]', "x" * 30]
PARTS = ["D", "a", "n", "c", "本", "1", "", '"', "tr"]
PATTERNS = ["^a.c$", r"\d+", "", "(?i)fr", "ü|Ü", r"^\s*$", r"\bDE\b", "(a)|(b)", "[^A-Z]$", "a(?=b)"]
NUMBERS = [0, 1, 5, 12, 18, 65, -3, 2**40, 10**30]
ODD_NUMBERS = [5.0, 18.5, "5", " 12 ", "18.0", "+5", "1_2", "٣", "-3", "five", True, False, float("inf")]
VERSIONS = [
    "1.2.3",
    "1.2.3-alpha",
    "1.2.3-alpha.1",
    "1.2.3-2",
    "1.2.3-10",
    "1.10.0",
    "2.0.0+build1",
    "2.0.0",
    "0.0.0-a",
]
ODD_VERSIONS = [
    "1.2",
    "1",
    "v1.2.3",
    " 1.2.3",
    "1.2.3-",
    "1.2.3+",
    "01.2.3",
    "1.2.3-01",
    "1.2.3-a.",
    "",
    "x",
    "1.2.3-²",
]
ELEMENTS = ["a", "b", "c", "D", "ü", "12"]
MOMENTS = [1_767_225_600, 1_767_225_659, 1_767_225_660, 1_767_312_000, 0, -1, 1_780_272_000]
BOOLS = [True, False, "true", "True", "FALSE", " true ", "yes", "1", 1, 0, "null", ""]
KEYS = [*(f"u{n}" for n in range(24)), "12", "5", "abc", "ünïcode", "1.2.3", "a", "DE", "true", "k" * 250]

ATTRIBUTES = {
    "country": [*TEXTS, 5, 12, True, 18.5, ["DE"], {"a": 1}, datetime(2026, 1, 1, tzinfo=UTC)],
    "email": [*TEXTS, "abcDE", "FRabc", 1.5, ["abc", "ü"], b"abc"],
    "age": [*NUMBERS, *NUMBERS, *ODD_NUMBERS, ["5"], Decimal(5), datetime(2026, 1, 1)],  # noqa: DTZ001 - naive is UTC
    "since": [*MOMENTS, *MOMENTS, 1_767_225_600_000, "1767225600", 1_767_225_600.5, datetime(2026, 1, 2, tzinfo=UTC)],
    "version": [*VERSIONS, *VERSIONS, *ODD_VERSIONS, 1, None],
    "tags": [["a"], ["a", "b"], ("b", "c"), {"a", "b", "c"}, [], "abc", "a", {"a": 1}, 5, [["a"]], ["a", 5], True],
    "beta": [*BOOLS, [], None],
    "a.b:c/d": [*TEXTS],
    "org": [
        {"name": "DE", "age": 18},
        {"name": "FR", "targetingKey": "acme"},
        {"name": None, "in": {"name": "abc"}},
        "DE",
    ],
    "org:name": ["DE", "abc"],
}

#: Every matcher type of the SDK, and the attributes it is asked of.
MATCHERS = {
    "ALL_KEYS": (),
    "IN_SEGMENT": (),
    "IN_RULE_BASED_SEGMENT": (),
    "IN_SPLIT_TREATMENT": (),
    "WHITELIST": ("country", "email", "age", "a.b:c/d", "/org/name", "org:name", None, None),
    "STARTS_WITH": ("country", "email", "age", "tags", None),
    "ENDS_WITH": ("country", "email", "beta", None),
    "CONTAINS_STRING": ("country", "email", "tags", "/org/in/name", "org:name", None),
    "MATCHES_STRING": ("country", "email", "version", "tags", None),
    "EQUAL_TO": ("age", "since", "/org/age", None),
    "GREATER_THAN_OR_EQUAL_TO": ("age", "since", None),
    "LESS_THAN_OR_EQUAL_TO": ("age", "since", None),
    "BETWEEN": ("age", "since", None),
    "EQUAL_TO_SET": ("tags", "country", None),
    "PART_OF_SET": ("tags", "country", None),
    "CONTAINS_ALL_OF_SET": ("tags", "country"),
    "CONTAINS_ANY_OF_SET": ("tags", "country", None),
    "EQUAL_TO_BOOLEAN": ("beta", "country"),
    "EQUAL_TO_SEMVER": ("version", None),
    "GREATER_THAN_OR_EQUAL_TO_SEMVER": ("version",),
    "LESS_THAN_OR_EQUAL_TO_SEMVER": ("version",),
    "BETWEEN_SEMVER": ("version",),
    "IN_LIST_SEMVER": ("version", None),
}

#: Kinds of flags: treatments with their configurations, and the values they are worth.
KINDS: list[dict[str, tuple[str | None, Any]]] = [
    {"on": (None, True), "off": (None, False)},
    {"ON": (None, True), "false": (None, False), "off": ('{"why": "beside"}', False)},
    {"red": (None, "red"), "grün": (None, "grün"), "on": (None, "on")},
    {"a": ('{"value": "text"}', "text"), "on": ('"other"', "other"), "5": ('{"value": ""}', "")},
    {"on": ('{"value": 5}', 5), "off": ("-7", -7), "many": ('{"value": 9007199254740993}', 9_007_199_254_740_993)},
    {"on": ('{"value": 0.5}', 0.5), "off": ("2", 2.0)},
    {"v1": ('{"color": "röd"}', {"color": "röd"}), "v2": ("[1, 2]", [1, 2]), "off": (None, {})},
    {"on": ('{"value": {"value": 1}}', {"value": 1}), "off": ('{"value": []}', [])},
    {"on": ('{"value": true}', True), "enabled": ('{"value": true}', True), "off": ('{"value": false}', False)},
]


@dataclass
class World:
    """A handful of flags and what they stand on. ``values`` says what each treatment of a flag is worth."""

    splits: list[JSON] = field(default_factory=list)
    segments: dict[str, list[str]] = field(default_factory=dict)
    rule_based: list[JSON] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)


def random_world(random: Random, number: int) -> World:
    """Standard segments, rule-based segments on them, and flags that may ask the flags before them."""
    world = World()
    for name in ("staff", "beta", "everybody"):
        world.segments[name] = random.sample(KEYS, {"staff": 6, "beta": 12, "everybody": len(KEYS)}[name])
    for index in range(random.choice([1, 2, 3])):
        world.rule_based.append(_rule_based(random, world, f"rules-{index}"))
    for index in range(5):
        world.splits.append(_split(random, world, f"{random.choice(['f', 'ä-', 'long' * 20])}{number}.{index}"))
    return world


def random_context(random: Random) -> tuple[str, JSON]:
    """A key, and attributes that are there, absent, null or of another type than anybody wants."""
    attributes = {
        name: random.choice(pool)
        for name, pool in ATTRIBUTES.items()
        if random.random() < (0.1 if ":" in name else 0.8)
    }
    if random.random() < 0.2:
        attributes[random.choice(list(ATTRIBUTES))] = None
    if random.random() < 0.3:
        attributes["bucketingKey"] = random.choice([*KEYS, 4711, 5.0, "", None, True])
    return random.choice(KEYS), attributes


# --- matchers ------------------------------------------------------------------------------------------


def _matcher(random: Random, world: World, kind: str, *, flags: bool) -> JSON:
    attributes = MATCHERS[kind]
    attribute = random.choice(attributes) if attributes else None
    matcher: JSON = {
        "keySelector": None
        if attribute is None and random.random() < 0.5
        else {"trafficType": "user", "attribute": attribute},
        "matcherType": kind,
        "negate": random.random() < (0.1 if kind == "ALL_KEYS" else 0.25),
    }
    return matcher | _data(random, world, kind, attribute, flags=flags)


def _data(random: Random, world: World, kind: str, attribute: str | None, *, flags: bool) -> JSON:
    if kind == "IN_SPLIT_TREATMENT":
        assert flags
        return {"dependencyMatcherData": _asked(random, world)}
    if kind in _SEGMENTS:
        names = [*world.segments, "ghost"] if kind == "IN_SEGMENT" else [s["name"] for s in world.rule_based]
        return {"userDefinedSegmentMatcherData": {"segmentName": random.choice(names)}}
    if kind in _NUMERIC:
        return _numbers(random, kind, attribute)
    if kind in _TEXTUAL:
        return _TEXTUAL[kind](random)
    texts = ELEMENTS if kind.endswith("_SET") else PARTS if kind != "WHITELIST" else [*TEXTS, *KEYS]
    return {"whitelistMatcherData": {"whitelist": random.choices(texts, k=random.choice([0, 1, 1, 2, 3, 6]))}}


def _numbers(random: Random, kind: str, attribute: str | None) -> JSON:
    dates = attribute == "since" and random.random() < 0.8
    data_type = "DATETIME" if dates else "NUMBER"
    pool = [m * 1000 + random.choice([0, 0, 999]) for m in MOMENTS] if dates else NUMBERS
    if kind == "BETWEEN":
        start, end = sorted(random.choices(pool, k=2))
        return {"betweenMatcherData": {"dataType": data_type, "start": start, "end": end}}
    return {"unaryNumericMatcherData": {"dataType": data_type, "value": random.choice(pool)}}


def _between_versions(random: Random) -> JSON:
    start, end = random.choices([*VERSIONS, "x"], k=2)
    return {"betweenStringMatcherData": {"start": start, "end": end}}


def _some_version(random: Random) -> JSON:
    return {"stringMatcherData": random.choice([*VERSIONS, "x"])}


_SEGMENTS = ("IN_SEGMENT", "IN_RULE_BASED_SEGMENT")
_NUMERIC = ("EQUAL_TO", "GREATER_THAN_OR_EQUAL_TO", "LESS_THAN_OR_EQUAL_TO", "BETWEEN")
_TEXTUAL: dict[str, Callable[[Random], JSON]] = {
    "ALL_KEYS": lambda _random: {},
    "EQUAL_TO_BOOLEAN": lambda random: {"booleanMatcherData": random.random() < 0.5},
    "MATCHES_STRING": lambda random: {"stringMatcherData": random.choice(PATTERNS)},
    "IN_LIST_SEMVER": lambda random: {"whitelistMatcherData": {"whitelist": random.choices([*VERSIONS, "", "x"], k=3)}},
    "BETWEEN_SEMVER": _between_versions,
    **dict.fromkeys([kind for kind in MATCHERS if kind.endswith("_TO_SEMVER")], _some_version),
}


def _asked(random: Random, world: World) -> JSON:
    """Another flag and treatments of it: one that is there, or a ghost."""
    others = [s for s in world.splits if _known(s)]
    if not others or random.random() < 0.1:
        return {"split": "ghost", "treatments": ["on"]}
    other = random.choice(others)
    names = list(world.values[other["name"]])
    return {"split": other["name"], "treatments": random.sample(names, random.randint(1, min(2, len(names))))}


def _known(split: JSON) -> bool:
    matchers = [m for c in split["conditions"] for m in c["matcherGroup"]["matchers"]]
    return all(m["matcherType"] in MATCHERS for m in matchers)


# --- conditions ----------------------------------------------------------------------------------------


def _group(random: Random, world: World, *, flags: bool = True) -> JSON:
    kinds = [k for k in MATCHERS if flags or k != "IN_SPLIT_TREATMENT"]
    if not world.rule_based:
        kinds.remove("IN_RULE_BASED_SEGMENT")
    chosen = random.choices(kinds, k=random.choice([1, 1, 1, 2, 3]))
    return {"combiner": "AND", "matchers": [_matcher(random, world, kind, flags=flags) for kind in chosen]}


def _partitions(random: Random, names: list[str]) -> list[JSON]:
    if random.random() < 0.5:
        return [{"treatment": random.choice(names), "size": 100}]
    chosen = random.sample(names, random.randint(1, len(names)))
    step = random.choice([1, 1, 10, 0.5])
    cuts = sorted(random.randrange(0, int(100 / step) + 1) * step for _ in chosen[1:])
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
    return [{"treatment": n, "size": s} for n, s in zip(chosen, sizes, strict=True)]


def _individual(random: Random, names: list[str], segments: list[str]) -> list[JSON]:
    conditions = []
    for name in random.sample(names, random.randint(0, len(names))):
        matcher: JSON = {"keySelector": None, "matcherType": "WHITELIST", "negate": False}
        matcher["whitelistMatcherData"] = {"whitelist": random.sample(KEYS, random.randint(1, 4))}
        if random.random() < 0.4:
            matcher["matcherType"] = "IN_SEGMENT"
            del matcher["whitelistMatcherData"]
            matcher["userDefinedSegmentMatcherData"] = {"segmentName": random.choice(segments)}
        conditions.append(
            {
                "conditionType": "WHITELIST",
                "matcherGroup": {"combiner": "AND", "matchers": [matcher]},
                "partitions": [{"treatment": name, "size": 100}],
            }
        )
    return conditions


def _split(random: Random, world: World, name: str) -> JSON:
    kind = random.choice(KINDS)
    names = list(kind)
    conditions = _individual(random, names, list(world.segments)) if random.random() < 0.5 else []
    for _ in range(random.choice([0, 1, 1, 2, 3, 4])):
        condition = {"matcherGroup": _group(random, world), "partitions": _partitions(random, names)}
        condition["conditionType"] = "WHITELIST" if random.random() < 0.1 else "ROLLOUT"
        conditions.append(condition)
    if random.random() < 0.85:
        everybody = {"keySelector": None, "matcherType": "ALL_KEYS", "negate": False}
        group = {"combiner": "AND", "matchers": [everybody]}
        conditions.append({"conditionType": "ROLLOUT", "matcherGroup": group, "partitions": _partitions(random, names)})
    for index, condition in enumerate(conditions):
        condition["label"] = f"label {index}"
    if conditions and random.random() < 0.02:
        random.choice(conditions)["matcherGroup"]["matchers"].append(
            {"matcherType": "FROM_THE_FUTURE", "negate": False}
        )
    asked = [_asked(random, world) for _ in range(random.choice([0, 0, 0, 0, 1, 2]))]
    world.values[name] = {n: value for n, (_, value) in kind.items()}
    return {
        "name": name,
        "trafficTypeName": "user",
        "status": "ARCHIVED" if random.random() < 0.01 else "ACTIVE",
        "changeNumber": random.randrange(10**12),
        "killed": random.random() < 0.08,
        "defaultTreatment": random.choice(names),
        "algo": random.choice([2, 2, 2, 1, 1, None, 3]),
        "seed": random.choice([random.randrange(-(2**31), 2**31), 2**31, -(2**31), 2**40 + 7]),
        "trafficAllocation": random.choice([100, 100, 100, 0, random.randint(1, 99), 33.5, None, 150]),
        "trafficAllocationSeed": random.randrange(-(2**31), 2**31),
        "configurations": {n: text for n, (text, _) in kind.items() if text is not None},
        "sets": [],
        "prerequisites": [{"n": a["split"], "ts": a["treatments"]} for a in asked],
        "conditions": json.loads(json.dumps(conditions)),
    }


def _rule_based(random: Random, world: World, name: str) -> JSON:
    """A rule-based segment; one that others exclude excludes nothing itself, where SDKs differ among themselves."""
    plain = [s["name"] for s in world.rule_based if not any(s["excluded"].values())]
    segments = [{"name": n, "type": "standard"} for n in world.segments if random.random() < 0.2]
    segments += [{"name": n, "type": "rule-based"} for n in plain if random.random() < 0.5]
    alone = random.random() < 0.4
    return {
        "name": name,
        "trafficTypeName": "user",
        "status": "ACTIVE",
        "changeNumber": random.randrange(10**6),
        "conditions": [
            {"conditionType": "ROLLOUT", "label": "in it", "matcherGroup": _group(random, world, flags=False)}
            for _ in range(random.randint(1, 3))
        ],
        "excluded": {
            "keys": [] if alone else random.sample(KEYS, random.randint(0, 4)),
            "segments": [] if alone else segments,
        },
    }
