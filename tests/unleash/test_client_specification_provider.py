"""Unleash's own client specification, every case of it, asked of our provider over the real SDK."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails

from flagbrake_unleash.provider import UnleashProvider
from flagbrake_unleash.sdk import SdkSettings
from flagbrake_unleash.server import free_port
from tests.unleash.servers import needed
from tests.unleash.specification import Case, cases
from tests.unleash.streaming import Streaming

#: Cases in the package of this version; a new version has to be looked at.
BOOLEANS, VARIANTS = 227, 52
TOKEN = "default:development.specification"


@contextmanager
def provider_of(state: dict[str, Any], folder: Path, **settings: str) -> Iterator[UnleashProvider]:
    """A provider that was sent this state: by a stream where it has events, else by a bootstrap file."""
    if "events" in state:
        with closing(Streaming(free_port(), TOKEN, hydration=lambda: state["events"])) as shim:
            there = SdkSettings(f"{shim.url}/api", TOKEN, streaming=True, metrics_interval=0, **settings)
            yield from started(there)
        return
    file = folder / "state.json"
    file.write_text(json.dumps(state), "utf-8")
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    yield from started(SdkSettings(nowhere, TOKEN, bootstrap=str(file), metrics_interval=0, **settings))


def started(settings: SdkSettings) -> Iterator[UnleashProvider]:
    provider = UnleashProvider(settings)
    try:
        provider.initialize(EvaluationContext())
        yield provider
    finally:
        provider.shutdown()


def static(context: dict[str, Any]) -> dict[str, str]:
    """What a program has once and for all."""
    names = {"appName": "app_name", "environment": "environment"}
    return {ours: context[theirs] for theirs, ours in names.items() if theirs in context}


def asked(context: dict[str, Any]) -> EvaluationContext:
    """The context as an OpenFeature application gives it."""
    fields = {name: context[name] for name in ("sessionId", "remoteAddress", "currentTime") if name in context}
    return EvaluationContext(context.get("userId"), {**context.get("properties", {}), **fields})


def enabled(provider: UnleashProvider, flag: str, context: EvaluationContext) -> bool | ErrorCode:
    """Is it on? A feature with variants is when it serves one, whatever default is given."""
    answer = provider.resolve_boolean_details(flag, default_value=False, evaluation_context=context)
    if answer.error_code is None:
        other = provider.resolve_boolean_details(flag, default_value=True, evaluation_context=context)
        return bool(answer.value) if answer.value == other.value else answer.variant is not None
    if answer.error_code not in {ErrorCode.TYPE_MISMATCH, ErrorCode.FLAG_NOT_FOUND}:
        return answer.error_code
    return answer.error_code is ErrorCode.TYPE_MISMATCH  # it serves something that is no boolean


def variant(provider: UnleashProvider, case: Case, context: EvaluationContext) -> dict[str, Any]:
    """The variant that is served, in the specification's words."""
    payload = case.expected.get("payload") if isinstance(case.expected, dict) else None
    kind = payload["type"] if payload else "string"
    answer: FlagResolutionDetails[Any]
    if kind == "number":
        answer = provider.resolve_float_details(case.flag, -1.5, context)
        default = answer.value == -1.5
    elif kind == "json":
        answer = provider.resolve_object_details(case.flag, {"no": "variant"}, context)
        default = answer.value == {"no": "variant"}
    else:
        answer = provider.resolve_string_details(case.flag, "no variant", context)
        default = answer.value == "no variant"
    if default:
        return {"name": "disabled", "enabled": False, "feature_enabled": enabled(provider, case.flag, context)}
    assert answer.error_code is None
    made: dict[str, Any] = {"name": answer.variant, "enabled": True, "feature_enabled": True}
    if payload:
        made["value"] = answer.value
    return made


def meant(case: Case) -> bool | dict[str, Any]:
    if isinstance(case.expected, bool):
        return case.expected
    made = {name: case.expected[name] for name in ("name", "enabled", "feature_enabled")}
    payload = case.expected.get("payload")
    if payload:
        text = payload["value"]
        made["value"] = (
            json.loads(text) if payload["type"] == "json" else float(text) if payload["type"] == "number" else text
        )
    return made


def test_every_case_agrees(tmp_path: Path) -> None:
    """227 questions whether a feature is on, 52 for its variant, name and payload: all as the specification has it."""
    needed()
    everything = list(cases())
    counted = [isinstance(case.expected, bool) for case in everything]
    assert (counted.count(True), counted.count(False)) == (BOOLEANS, VARIANTS)
    otherwise: dict[tuple[str, str], str] = {}
    by_program = sorted(everything, key=lambda c: (c.file, json.dumps(static(c.context))))
    for (_, settings), group in itertools.groupby(by_program, key=lambda c: (c.file, json.dumps(static(c.context)))):
        together = list(group)
        with provider_of(together[0].state, tmp_path, **json.loads(settings)) as provider:
            for case in together:
                context = asked(case.context)
                ask = enabled if isinstance(case.expected, bool) else None
                said = ask(provider, case.flag, context) if ask else variant(provider, case, context)
                if said != meant(case):
                    otherwise[case.file, case.description] = f"{said}, not {meant(case)}"
    assert not otherwise, "\n".join(f"{k}: {v}" for k, v in otherwise.items())
