"""Random features, segments and contexts for the twin of Unleash, in the form of its client API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

JSON = dict[str, Any]

TEXTS = ["DE", "FR", "de", "Ünï", "日本", "", "abc", "a.c", "12", "5", "true", 'a"b', "x" * 30, "STRASSE", "a,b"]
PARTS = ["D", "a", "n", "c", "本", "1", "", '"', "tr", "ß", "ς", "ss", ","]
PATTERNS = [
    "^a.c$",
    r"\d+",
    "",
    "(?i)fr",
    "ü|Ü",
    r"^\s*$",
    r"^\w+$",
    "(a)|(b)",
    "[^A-Z]$",
    "a(?=b)",
    r"(.)\1",
    "[",
    r"\p{Lu}",
    "a{2,3}",
    "(?P<n>b)",
    "[[:alpha:]]",
    r"[\d.]+\.",
    "(?s)^.$",
    r"x{",
    r"\q",
    "^$",
]
NUMBERS = ["0", "1", "5", "12", "18", "65", "-3", "18.5", "1099511627776", "0.1", "5.0", "+5", "1e2"]
ODD_NUMBERS = ["five", "", ".5", "0x5", "inf"]
MOMENTS = [
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.500Z",
    "2026-06-30T23:59:59+02:00",
    "1999-12-31T23:59:59Z",
    "2040-02-29T12:00:00-05:00",
]
VERSIONS = [
    "1.2.3",
    "1.2.3-alpha",
    "1.2.3-alpha.1",
    "1.2.3-2",
    "1.2.3-10",
    "1.10.0",
    "2.0.0+build1",
    "2.0.0",
    "0.0.1-a",
]
ODD_VERSIONS = ["1.2", "v1.2.3", " 1.2.3", "1.2.3-", "01.2.3", "1.2.3-01", "x", "99999999999999999999.0.0", "1.2.3-²"]
NETWORKS = ["10.0.0.0/8", "10.1.2.3", "192.168.0.7/16", "2001:db8::/32", "junk", "10.0.0.0/0.255.255.255", "::1"]
ADDRESSES = ["10.1.2.3", "192.168.9.9", "2001:db8::7", "::1", "10.1", "010.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1"]
KEYS = [*(f"u{n}" for n in range(40)), "12", "5", "abc", "ünïcode", "1.2.3", "DE", "true", "a b", "k" * 260]
LISTS = [["DE"], ["a", "b"], [], ["DE", "FR"], [1, True, None]]

ATTRIBUTES = {
    "country": [*TEXTS, 5, 12, True, 18.5, 5.0, ["DE"], {"a": 1}, None],
    "email": [*TEXTS, "abcDE", "FRabc", "straße", 1.5, "a\nc", "٣"],
    "age": [
        *NUMBERS,
        *ODD_NUMBERS,
        *[5] * 6,
        12,
        18,
        18.5,
        12.0,
        -3,
        2**40,
        True,
        "5e0",
        "1_2",
        " 5",
        "NaN",
        "-inf",
        "5.",
    ],
    "since": [
        *MOMENTS,
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 2),  # noqa: DTZ001 - naive is UTC
        "2026-01-01",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-1-1t0:0:0 +00:00",
        "1767225600000",
        "2026-01-01T00:00:60Z",
        "-0001-01-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
    ],
    "version": [*VERSIONS, *VERSIONS, *ODD_VERSIONS, 1, None],
    "plan": ["free", "pro", "team", 5, True, "", *KEYS[:12]],
    "beta": [True, False, "true", "True", 1],
    "tags": LISTS,
    "a.b:c/d": TEXTS,
    "org": [{"name": "DE", "age": 18}, {"name": "FR"}, {"name": None, "in": {"name": "abc"}}, "DE"],
    "/org/name": ["DE", "abc"],
    "sessionId": [*(f"s{n}" for n in range(9)), 5, ""],
    "remoteAddress": [*ADDRESSES, 5],
    "currentTime": [*MOMENTS, datetime(2030, 1, 1, tzinfo=UTC), "2026-01-01", "junk", 5],
}
TEXT_NAMES = ["country", "email", "userId", "sessionId", "plan", "a.b:c/d", "/org/name", "beta", "tags", "/org/in/name"]

#: Every operator of the engine: how its values are drawn, and the attributes it is asked of.
OPERATORS: dict[str, tuple[Callable[[Random], Any], list[str]]] = {
    "IN": (lambda r: r.sample(TEXTS, r.randint(0, 3)), [*TEXT_NAMES, "environment", "appName", "remoteAddress"]),
    "NOT_IN": (lambda r: r.sample(TEXTS, r.randint(0, 3)), TEXT_NAMES),
    "STR_STARTS_WITH": (lambda r: r.sample(PARTS, r.randint(1, 3)), TEXT_NAMES),
    "STR_ENDS_WITH": (lambda r: r.sample(PARTS, r.randint(1, 3)), TEXT_NAMES),
    "STR_CONTAINS": (lambda r: r.sample(PARTS, r.randint(1, 3)), TEXT_NAMES),
    "REGEX": (lambda r: r.choice(PATTERNS), TEXT_NAMES),
    "NUM_EQ": (lambda r: r.choice(["5", "5", "+5", "5.0", "12"]), ["age", "age", "plan"]),
    **{f"NUM_{o}": (lambda r: r.choice(NUMBERS), ["age", "plan", "userId", "/org/age"]) for o in ("LT", "LTE")},
    **{f"NUM_{o}": (lambda r: r.choice(NUMBERS), ["age", "country", "userId"]) for o in ("GT", "GTE")},
    **{f"DATE_{o}": (lambda r: r.choice(MOMENTS), ["since", "currentTime"]) for o in ("AFTER", "BEFORE")},
    **{f"SEMVER_{o}": (lambda r: r.choice(VERSIONS), ["version", "userId"]) for o in ("EQ", "LT", "GT", "LTE", "GTE")},
    "IN_CIDR": (lambda r: r.sample(NETWORKS, r.randint(1, 3)), ["remoteAddress", "country"]),
}
LISTED = {"IN", "NOT_IN", "STR_STARTS_WITH", "STR_ENDS_WITH", "STR_CONTAINS", "IN_CIDR"}
#: What nobody should have written, and the engine takes some way or other.
ODD_CONSTRAINTS = [
    {"contextName": "age", "operator": "NUM_GT", "value": "abc"},
    {"contextName": "age", "operator": "NUM_GT", "value": "1.2.3"},
    {"contextName": "version", "operator": "SEMVER_EQ", "value": "5"},
    {"contextName": "version", "operator": "SEMVER_GT", "value": "v1.2.3"},
    {"contextName": "version", "operator": "SEMVER_EQ", "value": "01.2.3"},
    {"contextName": "since", "operator": "DATE_AFTER", "value": "2026-13-01T00:00:00Z"},
    {"contextName": "since", "operator": "DATE_AFTER", "value": "2026-01-01"},
    {"contextName": "country", "operator": "STR_CONTAINS", "values": []},
    {"contextName": "country", "operator": "IN", "values": ["a\\"]},
    {"contextName": "country", "operator": "REGEX", "value": "a\\"},
    {"contextName": 'a"b', "operator": "IN", "values": ["x"]},
    {"contextName": "country", "operator": "UNHEARD_OF", "values": ["x"]},
    {"contextName": "country", "operator": "NUM_EQ"},
]
STRATEGIES = [
    *["flexibleRollout"] * 12,
    *["default"] * 4,
    "userWithId",
    "remoteAddress",
    "gradualRolloutUserId",
    "gradualRolloutSessionId",
    "gradualRolloutRandom",
    "applicationHostname",
    "ourOwn",
]
STICKY = ["default", "default", "default", "userId", "sessionId", "plan", "/org/name", "country", "random", ""]
PAYLOADS = [
    None,
    {"type": "string", "value": "blue"},
    {"type": "number", "value": "5"},
    {"type": "number", "value": "2.5"},
    {"type": "json", "value": '{"a": [1, null]}'},
    {"type": "csv", "value": "a,b"},
    {"type": "number", "value": "five"},
]


@dataclass(frozen=True)
class World:
    """Features that may depend on each other, and the segments they ask."""

    features: list[JSON]
    segments: list[JSON]


def random_world(random: Random, number: int) -> World:
    """A handful of features over a few segments."""
    segments = [
        {"id": n, "name": f"segment {n}", "constraints": [constraint(random) for _ in range(random.randint(0, 2))]}
        for n in range(1, 4)
    ]
    features: list[JSON] = []
    for n in range(8):
        features.append(random_feature(random, f"f{number}-{n}", features))
    return World(features, segments)


def random_feature(random: Random, key: str, before: list[JSON]) -> JSON:
    """One feature; ``before`` are those it may depend on."""
    style = random.choice(["plain", "strategies", "feature", "plain"])
    pool = [f"v{n}" for n in range(4)] + ["enabled"] * (random.random() < 0.1)
    strategies = [
        random_strategy(random, key, pool if style == "strategies" else []) for _ in range(random.randint(0, 3))
    ]
    feature: JSON = {"name": key, "enabled": random.random() < 0.93, "strategies": strategies}
    if style == "feature":
        feature["variants"] = feature_variants(random, pool)
    if before and random.random() < 0.25:
        feature["dependencies"] = [
            dependency(random, random.choice(before)) for _ in range(random.choice([1, 1, 1, 2]))
        ]
    if random.random() < 0.01:
        feature["dependencies"] = [{"feature": random.choice([key, "nobody"])}]
    return feature


def dependency(random: Random, parent: JSON) -> JSON:
    """What a feature asks of another."""
    asked: JSON = {"feature": parent["name"]}
    if random.random() < 0.7:
        asked["enabled"] = random.random() < 0.75
    if random.random() < 0.3 and asked.get("enabled") is not False:
        asked["variants"] = random.sample(["v0", "v1", "v2", "v3"], random.randint(0, 2))
    return asked


def random_strategy(random: Random, key: str, pool: list[str]) -> JSON:
    """One strategy with parameters, constraints, segments and, from a pool of names, variants."""
    name = random.choice(STRATEGIES)
    parameters = random_parameters(random, key, name)
    strategy: JSON = {"name": name, "parameters": parameters}
    strategy["constraints"] = [constraint(random) for _ in range(random.choice([0, 0, 1, 1, 2]))]
    if random.random() < 0.2:
        strategy["segments"] = random.sample([1, 2, 3], random.randint(1, 2))
    if random.random() < 0.005:
        strategy["segments"] = [99]
    if pool and random.random() < 0.8:
        strategy["variants"] = strategy_variants(random, pool)
    return strategy


def random_parameters(random: Random, key: str, name: str) -> JSON:
    """The parameters of a strategy of this name."""
    share = random.choice(["0", "100", "100", *[str(random.randint(1, 99)) for _ in range(4)]])
    if random.random() < 0.03:
        share = random.choice(["160", "abc", "12.5", "+50", "007", "-5", ""])
    match name:
        case "flexibleRollout":
            return rollout_parameters(random, key, share)
        case "userWithId":
            return {"userIds": ", ".join(random.sample(KEYS[:45], 12))}
        case "remoteAddress":
            return {"IPs": ",".join(random.sample(NETWORKS, 2))}
    if not name.startswith("gradualRollout"):
        return {}
    made: JSON = {"percentage": random.choice(["0", "100"]) if name.endswith("Random") else share}
    return {**made, "groupId": random.choice([key, "g"])} if random.random() < 0.9 else made


def rollout_parameters(random: Random, key: str, share: str) -> JSON:
    """Those of the strategy that the server has today."""
    sticky = random.choice(STICKY)
    made: JSON = {"rollout": random.choice(["0", "100"]) if sticky == "random" else share, "stickiness": sticky}
    if random.random() < 0.85:
        made["groupId"] = random.choice([key, key, "g", "ü g", ""])
    if random.random() < 0.05:
        del made["stickiness"]
    if random.random() < 0.01:
        made["groupId"] = 'a"b'
    return made


def strategy_variants(random: Random, pool: list[str]) -> list[JSON]:
    """Variants whose weights make 1000, as the server has them, or anything else."""
    names = random.sample(pool, random.randint(1, 3))
    if random.random() < 0.15:
        weights = [random.choice([0, 1, 1, 7, 33, 250]) for _ in names]
        weights[0] = weights[0] or 1
    else:
        cuts = sorted(random.randint(0, 1000) for _ in names[1:])
        weights = [b - a for a, b in zip([0, *cuts], [*cuts, 1000], strict=True)]
    return [variant(random, name, weight) for name, weight in zip(names, weights, strict=True)]


def variant(random: Random, name: str, weight: int) -> JSON:
    """One variant; the same name has the same payload everywhere."""
    made: JSON = {"name": name, "weight": weight, "stickiness": "default"}
    payload = PAYLOADS[(sum(map(ord, name)) * 5 + 1) % len(PAYLOADS)]
    return made if payload is None else {**made, "payload": payload}


def feature_variants(random: Random, pool: list[str]) -> list[JSON]:
    """Variants of the feature itself, some of which name units."""
    made = strategy_variants(random, pool)
    sticky = random.choice(["default", "default", "userId", "plan", None])
    for one in made:
        one.pop("stickiness")
        if sticky is not None:
            one["stickiness"] = sticky
        if random.random() < 0.3:
            named = random.choice([("userId", random.sample(KEYS, 5)), ("country", ["DE", "5"]), ("plan", ["pro"])])
            one["overrides"] = [{"contextName": named[0], "values": named[1]}]
    return made


def constraint(random: Random) -> JSON:
    """One constraint, now and then one that nobody should have written."""
    if random.random() < 0.004:
        return dict(random.choice(ODD_CONSTRAINTS))
    operator = random.choice(list(OPERATORS))
    draw, names = OPERATORS[operator]
    made: JSON = {"contextName": random.choice(names), "operator": operator}
    made["values" if operator in LISTED else "value"] = draw(random)
    made["inverted"] = random.random() < 0.3
    made["caseInsensitive"] = random.random() < 0.25
    return made


def random_context(random: Random) -> tuple[str | None, JSON]:
    """A targeting key, which may be missing, and attributes."""
    key = random.choice(KEYS) if random.random() < 0.92 else None
    attributes = {name: random.choice(values) for name, values in ATTRIBUTES.items() if random.random() < 0.55}
    if random.random() < 0.02:
        attributes["userId"] = random.choice(["u1", 12])
    return key, attributes
