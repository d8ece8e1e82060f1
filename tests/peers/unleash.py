"""Both Unleash providers, the vendor's and the contributed one, over a loopback server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from openfeature.contrib.provider.unleash import UnleashProvider
from unleash_openfeature_python_provider import UnleashFlagProvider
from UnleashClient.cache import FileCache

from flagbrake.model.clause import Clause, Op
from flagbrake.model.flag import Flag, Serve
from flagbrake.model.values import FlagKind
from flagbrake_contract import Harness
from tests.peers.kit import Answer, Asked, Fleet, Loopback, NotExpressible, Peer, silent_server

_KEY = "default:development.the-secret-key"
_OPS = {
    Op.STARTS_WITH: "STR_STARTS_WITH",
    Op.ENDS_WITH: "STR_ENDS_WITH",
    Op.CONTAINS: "STR_CONTAINS",
    Op.LESS: "NUM_LT",
    Op.LESS_OR_EQUAL: "NUM_LTE",
    Op.GREATER: "NUM_GT",
    Op.GREATER_OR_EQUAL: "NUM_GTE",
    Op.AFTER: "DATE_AFTER",
    Op.BEFORE: "DATE_BEFORE",
    Op.SEMVER_EQUAL: "SEMVER_EQ",
    Op.SEMVER_GREATER: "SEMVER_GT",
    Op.SEMVER_LESS: "SEMVER_LT",
    Op.SEMVER_GREATER_OR_EQUAL: "SEMVER_GTE",
    Op.SEMVER_LESS_OR_EQUAL: "SEMVER_LTE",
}
_NAME = re.compile(r"[A-Za-z0-9._~-]{1,1000}")
_MANY = {Op.STARTS_WITH, Op.ENDS_WITH, Op.CONTAINS}
_PAYLOADS = {
    FlagKind.STRING: "string",
    FlagKind.INTEGER: "number",
    FlagKind.FLOAT: "number",
    FlagKind.OBJECT: "json",
}


def definition(flag: Flag) -> dict[str, Any]:
    """A boolean flag is whether the feature is on; any other value is the payload of a variant."""
    if not _NAME.fullmatch(flag.key):
        raise NotExpressible("the vendor takes only names that need no quoting in a URL")
    if not flag.on and flag.kind is not FlagKind.BOOLEAN and flag.off_variant is not None:
        raise NotExpressible("a feature that is off has no variant: it serves the caller's default")
    if not flag.on and flag.kind is FlagKind.BOOLEAN and (flag.off_variant is None or _value(flag, flag.off_variant)):
        raise NotExpressible("a feature that is off is False")
    if flag.prerequisites and flag.kind is not FlagKind.BOOLEAN:
        raise NotExpressible("a feature whose parent is not met is off, and has no variant then")
    build = _boolean if flag.kind is FlagKind.BOOLEAN else _valued
    return {
        "name": flag.key,
        "type": "release",
        "project": "default",
        "enabled": flag.on,
        "stale": False,
        "impressionData": False,
        "strategies": build(flag),
        "variants": [],
        "dependencies": [],
    }


def _value(flag: Flag, name: str) -> Any:
    variant = flag.variant(name)
    assert variant is not None
    return variant.value


def _valued(flag: Flag) -> list[dict[str, Any]]:
    """Targets and rules in order, then everybody: the first strategy that applies names the variants."""
    named = [([_in("userId", list(t.keys))], t.variant) for t in flag.targets]
    ruled = [([_constraint(c) for c in rule.clauses], rule.serve) for rule in flag.rules]
    steps: list[tuple[list[dict[str, Any]], Serve]] = [*named, *ruled, ([], flag.default)]
    return [_strategy(flag, constraints, variants=_variants(flag, serve)) for constraints, serve in steps]


def _variants(flag: Flag, serve: Serve) -> list[dict[str, Any]]:
    weights = [(serve, 100_000)] if isinstance(serve, str) else [(w.variant, w.share) for w in serve.weights]
    if any(share % 100 for _, share in weights):
        raise NotExpressible("Unleash knows steps of 0.1 % only")
    return [
        {
            "name": name,
            "weight": share // 100,
            "weightType": "variable",
            "stickiness": "userId",
            "payload": {"type": _PAYLOADS[flag.kind], "value": _payload(_value(flag, name))},
        }
        for name, share in weights
    ]


def _payload(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _boolean(flag: Flag) -> list[dict[str, Any]]:
    """On for whom any strategy applies to."""
    if flag.rules or flag.prerequisites:  # no rule asks for a boolean flag with prerequisites
        raise NotExpressible("the strategies of a boolean feature are alternatives, not rules in order")
    keys = [key for t in flag.targets for key in t.keys]
    if isinstance(flag.default, str):
        everybody = 100 if _value(flag, flag.default) else 0
    else:
        share = sum(w.share for w in flag.default.weights if _value(flag, w.variant))
        if share % 1000:
            raise NotExpressible("Unleash knows whole percentages of a feature only")
        everybody = share // 1000
    strategies = [
        _strategy(flag, [_in("userId", list(t.keys))]) for t in flag.targets if _value(flag, t.variant) is True
    ]
    if everybody:
        constraints = [_in("userId", keys, inverted=True)] if keys else []
        strategies.append(_strategy(flag, constraints, rollout=everybody))
    # A feature without any strategy is on for everybody: one that nobody gets is a rollout of 0 %.
    return strategies or [_strategy(flag, [], rollout=0)]


def _strategy(
    flag: Flag, constraints: list[dict[str, Any]], *, rollout: int = 100, variants: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    parameters = {"rollout": str(rollout), "stickiness": "default", "groupId": flag.key}
    return {
        "name": "flexibleRollout",
        "parameters": parameters,
        "constraints": constraints,
        "variants": variants or [],
    }


def _in(name: str, values: list[str], *, inverted: bool = False) -> dict[str, Any]:
    return {
        "contextName": name,
        "operator": "IN",
        "values": values,
        "inverted": inverted,
        "caseInsensitive": False,
    }


def _constraint(clause: Clause) -> dict[str, Any]:
    name = ".".join(clause.attribute.path)
    if clause.op in {Op.IN, Op.IS}:
        return _in(name, [_text(v) for v in clause.values], inverted=clause.negate)
    if clause.op not in _OPS:
        raise NotExpressible(f"Unleash has no operator for {clause.op.value}")
    made = {"contextName": name, "operator": _OPS[clause.op], "inverted": clause.negate, "caseInsensitive": False}
    if clause.op in _MANY:
        return {**made, "values": [str(v) for v in clause.values]}
    return {**made, "value": str(clause.values[0])}


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class Server:
    """/api/client/features, and the two sinks."""

    def __init__(self) -> None:
        self.features: dict[str, dict[str, Any]] = {}

    def answer(self, asked: Asked) -> Answer:
        """One request."""
        if asked.headers.get("Authorization") != _KEY:
            return 401, {"Content-Type": "application/json"}, b"{}"
        if not asked.path.startswith("/api/client/features"):
            return 202, {}, b""
        body = json.dumps({"version": 2, "features": list(self.features.values()), "segments": []}).encode()
        return 200, {"Content-Type": "application/json"}, body


def _vendors(url: str, name: str, key: str, folder: str) -> Any:
    return UnleashFlagProvider(
        url, name, refresh_interval=3600, custom_headers={"Authorization": key}, cache_directory=folder
    )


def _contributed(url: str, name: str, key: str, folder: str) -> Any:
    return UnleashProvider(url, name, key, cache=FileCache(name, directory=folder))


def _client(provider: Any) -> Any:
    return getattr(provider, "_client", None) or provider.client


def _poll(fleet: Fleet) -> None:
    for provider in fleet.running:
        connector = _client(provider).connector
        if connector is not None and getattr(connector, "job", None) is not None:  # a closed client polls no more
            connector._fetch_and_load()


@contextmanager
def unleash(build: Callable[..., Any], peer: Callable[[], Peer], folder: Path) -> Iterator[Harness]:
    """The next poll is brought forward at each change."""
    server, fleet = Server(), Fleet()
    loopback = Loopback(server.answer)

    def seed(flag: Flag) -> None:
        server.features[flag.key] = definition(flag)

    def damage(key: str) -> None:
        server.features[key] = {"name": key, "enabled": True, "strategies": "none"}

    def make(url: str = "", key: str = _KEY) -> Any:
        name = f"contract-{len(fleet.made)}"  # a name of its own, so a cache of its own
        return fleet.add(build(f"{url or loopback.url}/api", name, key, str(folder / name)))

    def settle() -> None:
        if loopback.there:
            _poll(fleet)

    def leave() -> None:
        # The poll that fails is brought forward too, so that a provider has what it could tell of.
        loopback.stop()
        _poll(fleet)

    def come_back() -> None:
        loopback.start()
        _poll(fleet)

    with silent_server() as silent:
        try:
            yield Harness(
                make,
                seed,
                remove=server.features.pop,
                damage=damage,
                settle=settle,
                break_vendor=leave,
                restore_vendor=come_back,
                make_rejected=partial(make, key="wrong"),
                make_hanging=lambda: make(f"http://127.0.0.1:{silent.getsockname()[1]}"),
                capabilities=peer().capabilities,
                secrets=(_KEY,),
                patience=2.0,
            )
        finally:
            loopback.stop()
            for provider in fleet.running:
                with suppress(Exception):
                    provider.shutdown()


_HOW = (
    "the real SDK against a loopback server of /api/client/features, its next poll brought forward at each change; "
    "True and False are a feature that is on or at 0 %, other values the payload of a strategy variant; a nested "
    "attribute is asked for by a dotted property name, the only name that a vendor without nesting has for it"
)

UNLEASH = Peer(
    "unleash",
    "Unleash (vendor)",
    ("unleash-openfeature-python-provider", "unleashclient"),
    f"{_HOW}; its time limit is the SDK's default of 30 s",
    partial(unleash, _vendors, lambda: UNLEASH),
)
UNLEASH_CONTRIB = Peer(
    "unleash-contrib",
    "Unleash (contrib)",
    ("openfeature-provider-unleash", "unleashclient"),
    f"{_HOW}; its time limit is the SDK's default of 30 s",
    partial(unleash, _contributed, lambda: UNLEASH_CONTRIB),
)
