"""Clients of the emulator: the vendor's SDK, and its management API with the vendor's generated models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx
import launchdarkly_api as generated
from ldclient import Config, LDClient

from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator

SEMANTIC = "application/json; domain-model=launchdarkly.semanticpatch"


@contextmanager
def sdk(ld: LaunchDarklyEmulator, environment: str = "production", **config: Any) -> Iterator[LDClient]:
    """The real SDK, connected by a stream."""
    settings = {"send_events": False, "diagnostic_opt_out": True, "initial_reconnect_delay": 0.05, **config}
    made = LDClient(Config(ld.sdk_key(environment), base_uri=ld.url, stream_uri=ld.url, events_uri=ld.url, **settings))
    try:
        yield made
    finally:
        made.close()


class Api:
    """The management API. Answers are checked: the vendor's model takes every field, and there is none besides."""

    def __init__(self, ld: LaunchDarklyEmulator, token: str | None = None) -> None:
        headers = {"Authorization": token or ld.api_token, "LD-API-Version": "20240415"}
        self.http = httpx.Client(base_url=f"{ld.url}/api/v2", headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(self, method: str, path: str, model: Any = None, status: int = 200, **options: Any) -> Any:
        """One request that must be answered with this status; the JSON of the answer."""
        answer = self.http.request(method, path, **options)
        assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
        if status >= 400:
            error = answer.json()
            assert set(error) == {"code", "message", "id"}
            return error
        if status == 204:
            assert not answer.content
            return None
        assert answer.headers["content-type"] == "application/json"
        if model is not None:
            parsed(model, answer.text)
        return answer.json()

    def create(self, key: str, **body: Any) -> Any:
        """A flag."""
        return self.ask("POST", "/flags/default", generated.FeatureFlag, 201, json={"key": key, "name": key, **body})

    def flag(self, key: str, environment: str | None = "production") -> Any:
        """A flag, as it is now."""
        params = {"env": environment} if environment else {}
        return self.ask("GET", f"/flags/default/{key}", generated.FeatureFlag, params=params)

    def semantic(
        self, key: str, *instructions: Any, environment: str | None = "production", status: int = 200, **more: Any
    ) -> Any:
        """A semantic patch; ``query`` are parameters, the rest stands in the body."""
        query = more.pop("query", {})
        body = {"comment": "a test", "instructions": list(instructions), **more}
        if environment is not None:
            body["environmentKey"] = environment
        return self.ask(
            "PATCH",
            f"/flags/default/{key}",
            generated.FeatureFlag,
            status,
            content=json.dumps(body),
            headers={"Content-Type": SEMANTIC},
            params=query,
        )


def parsed(model: Any, text: str) -> Any:
    """The vendor's model of an answer; AssertionError if the answer has what the model does not know."""
    made = model.from_json(text)
    # to_dict() leaves out what the vendor calls read-only.
    assert without_null(made.model_dump(by_alias=True, mode="json")) == without_null(json.loads(text))
    return made


def without_null(value: Any) -> Any:
    """JSON without members that are null: models leave them out."""
    if isinstance(value, dict):
        return {name: without_null(one) for name, one in value.items() if one is not None}
    if isinstance(value, (list, tuple)):
        return [without_null(one) for one in value]
    return value
