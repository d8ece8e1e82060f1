"""Split's provider in localhost mode on a JSON file; for outages, over the network to a loopback port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from split_openfeature_provider import SplitProvider, split_client_wrapper
from splitio import get_factory

from flagbrake.model.clause import Clause, Op
from flagbrake.model.flag import Distribution, Flag, Rule, Serve
from flagbrake.model.values import FlagKind
from flagbrake_contract import Harness, ProviderCapability
from flagbrake_contract.harness import Arrived
from tests.peers.kit import Fleet, Loopback, NotExpressible, Peer, refused_port, silent_server

Cap = ProviderCapability
_SECRET = "the-secret-key"
_MATCHERS = {Op.STARTS_WITH: "STARTS_WITH", Op.ENDS_WITH: "ENDS_WITH", Op.CONTAINS: "CONTAINS_STRING"}
_SEMVER = {
    Op.SEMVER_EQUAL: "EQUAL_TO_SEMVER",
    Op.SEMVER_GREATER_OR_EQUAL: "GREATER_THAN_OR_EQUAL_TO_SEMVER",
    Op.SEMVER_LESS_OR_EQUAL: "LESS_THAN_OR_EQUAL_TO_SEMVER",
}


def treatment(flag: Flag, name: str) -> str:
    """The provider answers the treatment's name as the value: so a value is its own name."""
    variant = flag.variant(name)
    assert variant is not None
    match flag.kind:
        case FlagKind.BOOLEAN:
            return "on" if variant.value else "off"
        case FlagKind.STRING:
            text = str(variant.value)
        case _:
            text = json.dumps(variant.value)
    if not text:
        raise NotExpressible("a treatment's name is not empty")
    return text


def definition(flag: Flag, version: int) -> dict[str, Any]:
    """The flag as the SDK reads it. Off is killed; without an off variant the treatment is "control"."""
    off = "control" if flag.off_variant is None else treatment(flag, flag.off_variant)
    whitelists = [
        _condition("WHITELIST", [_matcher("WHITELIST", None, whitelist=list(t.keys))], flag, t.variant)
        for t in flag.targets
    ]
    rules = [
        _condition("ROLLOUT", matchers, flag, rule.serve) for rule in flag.rules for matchers in _alternatives(rule)
    ]
    return {
        "name": flag.key,
        "trafficTypeName": "user",
        "trafficAllocation": 100,
        "trafficAllocationSeed": 1,
        "seed": sum(flag.key.encode()) + 1,
        "status": "ACTIVE",
        "killed": not flag.on,
        "defaultTreatment": off,
        "changeNumber": version,
        "algo": 2,
        "conditions": [
            *whitelists,
            *rules,
            _condition("ROLLOUT", [_matcher("ALL_KEYS", None)], flag, flag.default),
        ],
        "configurations": {},
        "sets": [],
        "prerequisites": [
            {"n": p.flag, "ts": [_known_treatment(name) for name in p.variants]} for p in flag.prerequisites
        ],
    }


def _known_treatment(name: str) -> str:
    # Flags that others depend on are seeded as texts: `served` is "x", `other` is "another text".
    return {"served": "x", "other": "another text"}[name]


def _condition(kind: str, matchers: list[dict[str, Any]], flag: Flag, serve: Serve) -> dict[str, Any]:
    if isinstance(serve, str):
        partitions = [{"treatment": treatment(flag, serve), "size": 100}]
    else:
        partitions = _partitions(serve, flag)
    return {
        "conditionType": kind,
        "label": kind.lower(),
        "matcherGroup": {"combiner": "AND", "matchers": matchers},
        "partitions": partitions,
    }


def _partitions(serve: Distribution, flag: Flag) -> list[dict[str, Any]]:
    if any(w.share % 1000 for w in serve.weights):
        raise NotExpressible("Split knows whole percentages only")
    return [{"treatment": treatment(flag, w.variant), "size": w.share // 1000} for w in serve.weights]


def _matcher(kind: str, attribute: str | None, *, negate: bool = False, **data: Any) -> dict[str, Any]:
    """One matcher with exactly one kind of data."""
    whitelist, number, text = data.get("whitelist"), data.get("number"), data.get("text")
    return {
        "keySelector": {"trafficType": "user", "attribute": attribute},
        "matcherType": kind,
        "negate": negate,
        "userDefinedSegmentMatcherData": None,
        "whitelistMatcherData": None if whitelist is None else {"whitelist": whitelist},
        "unaryNumericMatcherData": number,
        "betweenMatcherData": None,
        "booleanMatcherData": data.get("boolean"),
        "dependencyMatcherData": None,
        "stringMatcherData": text,
    }


def _alternatives(rule: Rule) -> Iterator[list[dict[str, Any]]]:
    """Membership of a text, or in a list that an attribute holds, are two matchers: two rules that serve the same."""
    yield [_clause(clause) for clause in rule.clauses]
    only = rule.clauses[0]
    if len(rule.clauses) == 1 and only.op is Op.IN and not only.negate:
        values = [str(value) for value in only.values]
        yield [_matcher("CONTAINS_ANY_OF_SET", only.attribute.path[0], whitelist=values)]


def _clause(clause: Clause) -> dict[str, Any]:
    if len(clause.attribute.path) > 1:
        raise NotExpressible("Split reads no nested attributes")
    attribute, values = clause.attribute.path[0], list(clause.values)
    if clause.op is Op.IN:
        return _matcher("WHITELIST", attribute, negate=clause.negate, whitelist=[str(v) for v in values])
    if clause.op in _MATCHERS:
        return _matcher(_MATCHERS[clause.op], attribute, negate=clause.negate, whitelist=values)
    if clause.op is Op.IS:
        return _matcher("EQUAL_TO_BOOLEAN", attribute, negate=clause.negate, boolean=values[0])
    if clause.op in _SEMVER:
        return _matcher(_SEMVER[clause.op], attribute, negate=clause.negate, text=values[0])
    if clause.op in {Op.GREATER_OR_EQUAL, Op.LESS_OR_EQUAL} and isinstance(values[0], int):
        kind = "GREATER_THAN_OR_EQUAL_TO" if clause.op is Op.GREATER_OR_EQUAL else "LESS_THAN_OR_EQUAL_TO"
        number = {"dataType": "NUMBER", "value": values[0]}
        return _matcher(kind, attribute, negate=clause.negate, number=number)
    if clause.op is Op.AFTER:  # at or after, to the minute
        number = {"dataType": "DATETIME", "value": int(datetime.fromisoformat(values[0]).timestamp() * 1000)}
        return _matcher("GREATER_THAN_OR_EQUAL_TO", attribute, negate=clause.negate, number=number)
    raise NotExpressible(f"Split has no matcher for {clause.op.value}")


class File:
    """A file of definitions, as localhost mode reads them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "splits.json"
        self._flags: dict[str, dict[str, Any]] = {}
        self._version = 0
        self._write()

    def put(self, flag: Flag) -> None:
        """Set a flag."""
        self._flags[flag.key] = definition(flag, self._version + 1)
        self._write()

    def damage(self, key: str) -> None:
        """Half a definition."""
        self._flags[key] = {"name": key, "changeNumber": self._version + 1, "conditions": "none"}
        self._write()

    def remove(self, key: str) -> None:
        """A deleted flag is an archived one: what is missing in the file stays as it was."""
        self._flags[key] |= {"status": "ARCHIVED", "changeNumber": self._version + 1}
        self._write()

    def _write(self) -> None:
        self._version += 1
        flags = {"t": self._version, "s": -1, "d": list(self._flags.values())}
        new = self.path.with_name("new.json")
        new.write_text(json.dumps({"ff": flags, "rbs": {**flags, "d": []}}), encoding="utf-8")
        new.replace(self.path)

    def provider(self) -> SplitProvider:
        """Localhost mode."""
        options = {
            "splitFile": str(self.path),
            "localhostRefreshEnabled": True,
            "featuresRefreshRate": 3600,
            "segmentsRefreshRate": 3600,
        }
        return SplitProvider({"SdkKey": "localhost", "ConfigOptions": options, "ReadyBlockTime": 5})


def networked(port: int) -> SplitProvider:
    """Network mode, every address of the vendor's being this port of the loopback."""
    url = f"http://127.0.0.1:{port}/api"

    def factory(key: str, config: dict[str, Any]) -> Any:
        addresses = ("sdk_api", "events_api", "auth_api", "streaming_api", "telemetry_api")
        return get_factory(key, config=config, **{f"{name}_base_url": url for name in addresses})

    split_client_wrapper.get_factory = factory  # the provider cannot pass addresses on
    try:
        options = {"streamingEnabled": False, "connectionTimeout": 1000, "readTimeout": 1000}
        return SplitProvider({"SdkKey": _SECRET, "ConfigOptions": options, "ReadyBlockTime": 2})
    finally:
        split_client_wrapper.get_factory = get_factory


def _poll(provider: Any) -> None:
    # Its own task does the same every hour: its next turn is brought forward.
    synchronizer = provider._split_client_wrapper._factory._sync_manager._synchronizer
    with suppress(Exception):
        synchronizer._split_synchronizers.split_sync.synchronize_splits()


@contextmanager
def split(folder: Path) -> Iterator[Harness]:
    """While the vendor is away, new providers are made in network mode against a port where nobody listens."""
    file, fleet = File(folder), Fleet()
    away = threading.Event()
    tracked: list[Arrived] = []

    def make() -> Any:
        if away.is_set():
            return fleet.add(networked(refused_port()))
        provider = file.provider()
        provider._split_client_wrapper.split_client.track = heard
        return fleet.add(provider, started=True)

    def heard(key: str, traffic_type: str, event: str, value: float | None = None, properties: Any = None) -> bool:
        # Localhost mode sends nothing: what the SDK is given counts as arrived.
        tracked.append((event, key, value, properties or {}))
        return True

    def settle() -> None:
        for provider in fleet.running:
            _poll(provider)

    refusing = Loopback(lambda _: (401, {}, b""))
    with silent_server() as silent:
        try:
            yield Harness(
                make,
                file.put,
                remove=file.remove,
                tracked=lambda: tracked,
                damage=file.damage,
                settle=settle,
                break_vendor=away.set,
                restore_vendor=away.clear,
                make_rejected=lambda: fleet.add(networked(refusing.port)),
                make_hanging=lambda: fleet.add(networked(silent.getsockname()[1])),
                capabilities=SPLIT.capabilities,
                secrets=(_SECRET,),
                patience=3.0,
            )
        finally:
            refusing.stop()
            for provider in fleet.made:
                with suppress(Exception):  # its provider has no shutdown: the harness ends what it left
                    provider._split_client_wrapper.destroy()


SPLIT = Peer(
    "split",
    "Split",
    ("split-openfeature-provider", "splitio-client"),
    "localhost mode on a JSON file, its hourly look brought forward at each change; for outages and refused keys the "
    "network mode against a loopback port, ReadyBlockTime 2",
    split,
    {
        Cap.VARIANTS: "the provider answers the treatment's name as value and as variant: a value has no other name",
        Cap.STALE: "its SDK has no such event",
    },
)
