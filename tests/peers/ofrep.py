"""The OFREP provider over a loopback server that speaks OFREP; our evaluator stands behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from flagbrake.evaluate import Ruleset
from flagbrake.model.flag import Flag
from flagbrake.model.values import USE_DEFAULT
from flagbrake_contract import Harness, ProviderCapability
from tests.peers.kit import Answer, Asked, Fleet, Loopback, Peer, silent_server

Cap = ProviderCapability
_PATH = "/ofrep/v1/evaluate/flags/"
_KEY = "the-secret-key"


class Server:
    """An OFREP server as its OpenAPI text describes it: 200, 400, 401 and 404."""

    def __init__(self) -> None:
        self.rules = Ruleset({})

    def put(self, key: str, flag: Flag | None) -> None:
        """Set or remove a flag."""
        self.rules = self.rules.changed({key: flag})

    def answer(self, asked: Asked) -> Answer:
        """One evaluation."""
        if asked.headers.get("Authorization") != f"Bearer {_KEY}":
            return _json(401, {})
        key = unquote(asked.path.partition("?")[0].removeprefix(_PATH))
        given = json.loads(asked.body or b"{}").get("context", {})
        context = EvaluationContext(given.pop("targetingKey", None), given)
        try:
            found = self.rules.evaluate(key, context)
        except OpenFeatureError as error:
            body = {"key": key, "errorCode": error.error_code.value, "errorDetails": error.error_message or "error"}
            return _json(404 if error.error_code.value == "FLAG_NOT_FOUND" else 400, body)
        body = {"key": key, "reason": str(found.reason), "metadata": dict(found.flag_metadata)}
        if found.value is not USE_DEFAULT:
            body |= {"value": found.value, "variant": found.variant}
        return _json(200, body)


def _json(status: int, body: dict[str, Any]) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


@contextmanager
def ofrep(_: Path) -> Iterator[Harness]:
    """Every evaluation is a request."""
    server, fleet = Server(), Fleet()
    loopback = Loopback(server.answer)

    def make(url: str = loopback.url, key: str = _KEY) -> Any:
        return fleet.add(OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {key}"}, timeout=2.0))

    with silent_server() as silent:
        try:
            yield Harness(
                make,
                lambda flag: server.put(flag.key, flag),
                remove=lambda key: server.put(key, None),
                break_vendor=loopback.stop,
                restore_vendor=loopback.start,
                make_rejected=lambda: make(key="wrong"),
                make_hanging=lambda: make(f"http://127.0.0.1:{silent.getsockname()[1]}"),
                capabilities=OFREP.capabilities,
                secrets=(_KEY,),
                patience=3.0,
            )
        finally:
            loopback.stop()


OFREP = Peer(
    "ofrep",
    "OFREP",
    ("openfeature-provider-ofrep",),
    "over HTTP to a loopback server that speaks OFREP, with our evaluator behind it; time limit 2 s",
    ofrep,
    {
        Cap.CONFIGURATION_CHANGE: "the protocol for servers tells nothing",
        Cap.STALE: "every evaluation is a request: nothing is kept that could become stale",
    },
)
