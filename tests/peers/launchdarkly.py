"""LaunchDarkly's provider over a loopback stream: one put, then a patch per change."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ld_openfeature import LaunchDarklyProvider
from ldclient import Config
from ldclient.versioned_data_kind import FEATURES

from flagbrake.model.clause import Clause, Op
from flagbrake.model.flag import Flag, Serve
from flagbrake_contract import Harness, ProviderCapability
from flagbrake_contract.harness import Arrived
from tests.peers.kit import Answer, Asked, Fleet, Loopback, NotExpressible, Peer, silent_server

Cap = ProviderCapability
_KEY = "sdk-the-secret-key"
_OPS = {
    Op.IN: "in",
    Op.EQUAL: "in",
    Op.IS: "in",
    Op.STARTS_WITH: "startsWith",
    Op.ENDS_WITH: "endsWith",
    Op.CONTAINS: "contains",
    Op.MATCHES: "matches",
    Op.LESS: "lessThan",
    Op.LESS_OR_EQUAL: "lessThanOrEqual",
    Op.GREATER: "greaterThan",
    Op.GREATER_OR_EQUAL: "greaterThanOrEqual",
    Op.BEFORE: "before",
    Op.AFTER: "after",
    Op.SEMVER_EQUAL: "semVerEqual",
    Op.SEMVER_LESS: "semVerLessThan",
    Op.SEMVER_GREATER: "semVerGreaterThan",
}
_OR_EQUAL = {
    Op.SEMVER_GREATER_OR_EQUAL: (Op.SEMVER_GREATER, Op.SEMVER_EQUAL),
    Op.SEMVER_LESS_OR_EQUAL: (Op.SEMVER_LESS, Op.SEMVER_EQUAL),
}


def definition(flag: Flag, version: int) -> dict[str, Any]:
    """The flag as the stream carries it; variations have an index and no name."""
    index = {name: number for number, name in enumerate(flag.variant_names)}
    return {
        "key": flag.key,
        "version": version,
        "on": flag.on,
        "salt": flag.key,
        "variations": [v.value for v in flag.variants],
        "offVariation": None if flag.off_variant is None else index[flag.off_variant],
        "fallthrough": _serve(flag.default, index),
        "targets": [{"variation": index[t.variant], "values": list(t.keys)} for t in flag.targets],
        "contextTargets": [],
        "rules": [
            {"id": f"{rule.id}-{number}", "clauses": [_clause(c) for c in clauses], **_serve(rule.serve, index)}
            for rule in flag.rules
            for number, clauses in enumerate(_alternatives(rule.clauses))
        ],
        "prerequisites": [{"key": p.flag, "variation": _only(p.variants)} for p in flag.prerequisites],
    }


def _serve(serve: Serve, index: dict[str, int]) -> dict[str, Any]:
    if isinstance(serve, str):
        return {"variation": index[serve]}
    weights = [{"variation": index[w.variant], "weight": w.share} for w in serve.weights]
    return {"rollout": {"contextKind": "user", "variations": weights}}


def _alternatives(clauses: tuple[Clause, ...]) -> Iterator[tuple[Clause, ...]]:
    """It has no "or equal" for versions: two rules that serve the same."""
    for clause in clauses:
        if clause.op in _OR_EQUAL and len(clauses) == 1:
            for op in _OR_EQUAL[clause.op]:
                yield (Clause(clause.attribute, op, clause.values, clause.negate),)
            return
    yield clauses


def _clause(clause: Clause) -> dict[str, Any]:
    if clause.op not in _OPS:
        raise NotExpressible(f"LaunchDarkly has no operator for {clause.op.value}")
    path = clause.attribute.path
    attribute = path[0] if len(path) == 1 else "/" + "/".join(path)
    return {
        "contextKind": "user",
        "attribute": attribute,
        "op": _OPS[clause.op],
        "values": list(clause.values),
        "negate": clause.negate,
    }


def _only(variants: tuple[str, ...]) -> int:
    # Seed flags have the variants `served` and `other`, in this order.
    return {"served": 0, "other": 1}[variants[0]]


class Stream:
    """The flags, and the open streams to tell."""

    def __init__(self) -> None:
        self.flags: dict[str, dict[str, Any]] = {}
        self.version = 0
        self._listeners: list[queue.Queue[bytes]] = []
        self._lock = threading.Lock()

    def put(self, flag: Flag) -> None:
        """Set a flag and tell."""
        with self._lock:
            self.version += 1
            self.flags[flag.key] = data = definition(flag, self.version)
            self._tell("patch", {"path": f"/flags/{flag.key}", "data": data})

    def damage(self, key: str) -> None:
        """Half a definition."""
        with self._lock:
            self.version += 1
            self.flags[key] = data = {"key": key, "version": self.version, "variations": "none"}
            self._tell("patch", {"path": f"/flags/{key}", "data": data})

    def remove(self, key: str) -> None:
        """Delete a flag and tell."""
        with self._lock:
            self.version += 1
            del self.flags[key]
            self._tell("delete", {"path": f"/flags/{key}", "version": self.version})

    def _tell(self, event: str, data: dict[str, Any]) -> None:
        for listener in self._listeners:
            listener.put(_event(event, data))

    def answer(self, asked: Asked) -> Answer | Iterator[bytes]:
        """The stream; whatever else is sent is accepted."""
        if asked.headers.get("Authorization") != _KEY:
            return 401, {}, b""
        return self._chunks() if asked.path.startswith("/all") else (202, {}, b"")

    def _chunks(self) -> Iterator[bytes]:
        mine: queue.Queue[bytes] = queue.Queue()
        with self._lock:
            self._listeners.append(mine)
            mine.put(_event("put", {"path": "/", "data": {"flags": dict(self.flags), "segments": {}}}))
        try:
            while True:
                try:
                    yield mine.get(timeout=0.1)
                except queue.Empty:
                    yield b":\n\n"
        finally:
            with self._lock:
                self._listeners.remove(mine)


def _event(event: str, data: dict[str, Any]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()


@contextmanager
def launchdarkly(_: Path, *, start_wait: float = 5) -> Iterator[Harness]:
    """The real client on its streaming protocol."""
    service, fleet = Stream(), Fleet()
    loopback = Loopback(service.answer)
    tracked: list[Arrived] = []

    def make(url: str = loopback.url, key: str = _KEY) -> Any:
        config = Config(
            key,
            base_uri=url,
            stream_uri=url,
            events_uri=url,
            send_events=False,
            diagnostic_opt_out=True,
            initial_reconnect_delay=0.2,
        )
        provider = LaunchDarklyProvider(config, start_wait)
        provider.client.track = heard
        return fleet.add(provider, started=True)

    def heard(event: str, context: Any, data: Any = None, metric_value: float | None = None) -> None:
        # Analytics are off: what the SDK is given counts as arrived.
        tracked.append((event, context.key, metric_value, data or {}))

    def seen(provider: Any) -> bool:
        if not provider.client.is_initialized():
            return True
        store = provider.client._data_system.store
        have = store.all(FEATURES, lambda flags: {key: _version(flag) for key, flag in flags.items()})
        return have == {key: flag["version"] for key, flag in service.flags.items()}

    def settle() -> None:
        if loopback.there:
            fleet.settle(seen)

    with silent_server() as silent:
        try:
            yield Harness(
                make,
                service.put,
                remove=service.remove,
                tracked=lambda: tracked,
                damage=service.damage,
                settle=settle,
                break_vendor=loopback.stop,
                restore_vendor=loopback.start,
                make_rejected=partial(make, key="sdk-wrong"),
                make_hanging=lambda: make(f"http://127.0.0.1:{silent.getsockname()[1]}"),
                capabilities=LAUNCHDARKLY.capabilities,
                secrets=(_KEY,),
                patience=4.0,
            )
        finally:
            for provider in fleet.made:
                provider.client.close()
            loopback.stop()


def _version(flag: Any) -> int:
    return int(flag["version"])


_CANNOT = {
    Cap.VARIANTS: 'a variation has an index and a value; its name does not reach the SDK; the variant is the index, "0"'
}

LAUNCHDARKLY = Peer(
    "launchdarkly",
    "LaunchDarkly",
    ("launchdarkly-openfeature-server", "launchdarkly-server-sdk"),
    "the real SDK in streaming mode (start_wait 5, the default) against a loopback server; analytics off",
    launchdarkly,
    _CANNOT,
)
LAUNCHDARKLY_NO_WAIT = Peer(
    "launchdarkly-no-wait",
    "LaunchDarkly, start_wait=0",
    LAUNCHDARKLY.packages,
    "as LaunchDarkly, but with start_wait 0: `initialize` waits, not the constructor; start, stop and outage only",
    partial(launchdarkly, start_wait=0),
    _CANNOT,
    only=("lifecycle.", "outage."),
)
