"""What the provider does with features that people made in Unleash, and with a server that fails it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ProviderFatalError, ProviderNotReadyError

from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake.model.flag import Flag, Targets, Variant, ramp
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.model.values import FlagKind
from flagbrake_unleash.provider import UnleashProvider
from tests.support.waiting import wait_until
from tests.unleash.backdoor import ENVIRONMENT
from tests.unleash.harnesses import Vendor


def strategy(**given: Any) -> dict[str, Any]:
    parameters = {"rollout": "100", "stickiness": "default", "groupId": "g", **given.pop("parameters", {})}
    made = {
        "name": "flexibleRollout",
        "title": "",
        "disabled": False,
        "constraints": [],
        "segments": [],
        "variants": [],
    }
    return {**made, **given, "parameters": parameters}


def variant(name: str, weight: int = 1000, **payload: str) -> dict[str, Any]:
    made = {"name": name, "weight": weight, "weightType": "variable", "stickiness": "default"}
    return {**made, "payload": payload} if payload else made


def feature(key: str, *strategies: dict[str, Any], **given: Any) -> dict[str, Any]:
    made = {"name": key, "type": "release", "description": "", "impressionData": False, "stale": False}
    rest = {"archived": False, "enabled": True, "variants": [], "tags": [], "dependencies": []}
    return {**made, **rest, "strategies": list(strategies), **given}


def asks(name: str, operator: str, *values: str, **given: Any) -> dict[str, Any]:
    return {"contextName": name, "operator": operator, "values": list(values), "inverted": False, **given}


@contextmanager
def started(here: Vendor, *features: dict[str, Any], **settings: Any) -> Iterator[UnleashProvider]:
    """A provider that has these features, which the back door put in."""
    for each in features:
        here.back.write(each)
    here.seen()
    provider = here.provider(**settings)
    try:
        provider.initialize(EvaluationContext())
        yield provider
    finally:
        provider.shutdown()


def heard(provider: UnleashProvider) -> list[tuple[ProviderEvent, Any]]:
    told: list[tuple[ProviderEvent, Any]] = []
    provider.attach(lambda _, event, details: told.append((event, details)))
    return told


@pytest.mark.parametrize(
    ("payload", "getter", "default", "value"),
    [
        ({"type": "string", "value": "blue"}, "string", "", "blue"),
        ({"type": "csv", "value": "a,b"}, "string", "", "a,b"),
        ({"type": "number", "value": "5"}, "integer", 0, 5),
        ({"type": "number", "value": "5.5"}, "float", 0.0, 5.5),
        ({"type": "json", "value": '{"a": [1, null]}'}, "object", {}, {"a": [1, None]}),
        ({}, "string", "", "served"),
    ],
)
def test_payloads_of_every_type(quick_vendor: Vendor, payload, getter, default, value) -> None:
    """A variant's payload is a value of its own type; a variant without one is its name."""
    with started(quick_vendor, feature("paid", strategy(variants=[variant("served", **payload)]))) as provider:
        answer = getattr(provider, f"resolve_{getter}_details")("paid", default, EvaluationContext("u"))
        assert (answer.value, answer.variant, answer.error_code) == (value, "served", None)


def test_strategies_of_others_are_any_of(quick_vendor: Vendor) -> None:
    """Strategies are OR-ed, in Unleash's way: the reason and the rule tell which one held."""
    plans = strategy(constraints=[asks("plan", "IN", "pro")])
    people = strategy(constraints=[asks("userId", "IN", "ann")])
    with started(quick_vendor, feature("or", plans, people)) as provider:

        def answer(unit: str, **attributes: Any):
            return provider.resolve_boolean_details(
                "or", default_value=False, evaluation_context=EvaluationContext(unit, attributes)
            )

        assert (answer("bob", plan="pro").value, answer("bob", plan="pro").flag_metadata["rule"]) == (True, "1")
        assert (answer("ann").value, answer("ann").flag_metadata["rule"]) == (True, "2")
        assert (answer("bob").value, str(answer("bob").reason), answer("bob").variant) == (False, "DEFAULT", "off")


def test_the_fields_of_a_context(quick_vendor: Vendor) -> None:
    """userId, sessionId, remoteAddress, currentTime are Unleash's fields; the rest are properties, as texts."""
    cases = {
        "session": (asks("sessionId", "IN", "s1"), {"sessionId": "s1"}),
        "address": (asks("remoteAddress", "IN", "10.0.0.1"), {"remoteAddress": "10.0.0.1"}),
        "time": (
            asks("currentTime", "DATE_BEFORE", value="2020-01-01T00:00:00Z"),
            {"currentTime": datetime(2019, 1, 1, tzinfo=UTC)},
        ),
        "number": (asks("age", "NUM_GT", value="17"), {"age": 18}),
        "whole": (asks("age", "IN", "5"), {"age": 5.0}),
        "switch": (asks("beta", "IN", "true"), {"beta": True}),
        "nested": (asks("/org/plan", "IN", "pro"), {"org": {"plan": "pro"}}),
        "listed": (asks("groups", "STR_CONTAINS", '"beta"'), {"groups": ["a", "beta"]}),
    }
    features = [feature(f"field-{name}", strategy(constraints=[asked])) for name, (asked, _) in cases.items()]
    with started(quick_vendor, *features) as provider:
        for name, (_, attributes) in cases.items():
            for context, expected in ((EvaluationContext("u", attributes), True), (EvaluationContext("u"), False)):
                answer = provider.resolve_boolean_details(f"field-{name}", not expected, context)
                assert answer.value is expected, f"{name}: {answer}"


def test_a_session_is_a_unit_too(quick_vendor: Vendor) -> None:
    """Without a targeting key the session decides a split, as Unleash has it."""
    with started(quick_vendor, feature("half", strategy(parameters={"rollout": "50"}))) as provider:
        given = {
            provider.resolve_boolean_details("half", False, EvaluationContext(None, {"sessionId": f"s{n}"})).value
            for n in range(50)
        }
        assert given == {True, False}


def test_off_serves_what_was_declared_safe(quick_vendor: Vendor) -> None:
    """Unleash serves nothing for a feature that is off; the provider serves the manifest's safe variant."""
    variants = (Variant("v1", "one"), Variant("v2", "two"))
    quick_vendor.back.put(Flag("off", FlagKind.STRING, variants, "v2", on=False, off_variant="v2"))
    quick_vendor.seen()
    manifest = Manifest(MappingProxyType({"off": Declaration("off", safe_variant="v1", safe_value="one")}))
    guard = Guard(quick_vendor.provider(), Board("test", manifest=manifest))
    try:
        guard.initialize(EvaluationContext())
        answer = guard.resolve_string_details("off", "default", EvaluationContext("u"))
        assert (answer.value, answer.variant, str(answer.reason)) == ("one", "v1", "DISABLED")
    finally:
        guard.shutdown()


def test_impression_data_reaches_the_hooks(quick_vendor: Vendor) -> None:
    """A feature with impression data says so in the answer's metadata, which every hook is given."""
    told = feature("told", strategy(), impressionData=True)
    with started(quick_vendor, told, feature("untold", strategy())) as provider:
        assert provider.resolve("told", EvaluationContext("u")).flag_metadata["unleash_impression_data"] is True
        assert "unleash_impression_data" not in provider.resolve("untold", EvaluationContext("u")).flag_metadata


# The contract's odd keys would spoil the batch in which a server stores what it is told: so the other server.
def test_use_is_counted(true_vendor: Vendor) -> None:
    """Every evaluation is counted as the SDK counts it, variants by their own names."""
    paid = feature("counted", strategy(constraints=[asks("userId", "IN", "x")]), strategy(variants=[variant("blue")]))
    with started(true_vendor, paid) as provider:
        for _ in range(3):
            provider.resolve("counted", EvaluationContext("u"))
        metrics = provider._sdk.engine.get_metrics()["toggles"]["counted"]
    assert (metrics["yes"], metrics["variants"]) == (3, {"blue": 3})


def test_streaming_where_there_is_none_is_refused(quick_vendor: Vendor) -> None:
    """The open-source server has no stream, and the SDK would answer False for ever: FATAL, with the cure."""
    provider = quick_vendor.provider(streaming=True)
    with pytest.raises(ProviderFatalError, match=r"no streaming.*polling"):
        provider.initialize(EvaluationContext())
    assert not provider._serving


def test_a_last_known_good_copy(quick_vendor: Vendor, tmp_path: Path) -> None:
    """With a cache folder a start without the server serves what was known, tells STALE, and READY when it is back."""
    kept = {"cache_directory": str(tmp_path / "cache"), "app_name": "kept"}
    with started(quick_vendor, feature("kept", strategy()), **kept):
        pass
    again = quick_vendor.provider(**kept)
    told = heard(again)
    quick_vendor.gate.shut()
    try:
        again.initialize(EvaluationContext())
        assert again.resolve("kept", EvaluationContext("u")).value is True
        again.refresh()
        assert [event for event, _ in told] == [ProviderEvent.PROVIDER_STALE]
        quick_vendor.gate.open()
        again.refresh()
        assert [event for event, _ in told] == [ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_READY]
    finally:
        quick_vendor.gate.open()
        again.shutdown()


def test_a_bootstrap_file(quick_vendor: Vendor, tmp_path: Path) -> None:
    """A file with what the server would answer is enough for a start; the server's own state replaces it."""
    file = tmp_path / "features.json"
    file.write_text(json.dumps({"version": 2, "features": [feature("packed", strategy())]}))
    provider = quick_vendor.provider(bootstrap=str(file))
    quick_vendor.gate.shut()
    try:
        provider.initialize(EvaluationContext())
        assert provider.resolve("packed", EvaluationContext("u")).value is True
        quick_vendor.gate.open()
        provider.refresh()
        assert "packed" not in set(provider.keys())
    finally:
        quick_vendor.gate.open()
        provider.shutdown()


def test_a_start_that_failed_recovers_by_itself(quick_vendor: Vendor) -> None:
    """After PROVIDER_NOT_READY the SDK goes on: when the server is there it serves and emits READY, unasked."""
    quick_vendor.back.write(feature("late", strategy()))
    provider = quick_vendor.provider()
    told = heard(provider)
    quick_vendor.gate.shut()
    try:
        with pytest.raises(ProviderNotReadyError):
            provider.initialize(EvaluationContext())
        quick_vendor.gate.open()
        wait_until(lambda: told, timeout=10, why="READY")
        assert [event for event, _ in told] == [ProviderEvent.PROVIDER_READY]
        assert provider.resolve_boolean_details("late", False, EvaluationContext("u")).value is True
    finally:
        quick_vendor.gate.open()
        provider.shutdown()


def test_a_token_that_is_refused_meanwhile(quick_vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    """ERROR, not FATAL: what is known goes on being served; no token in the log; READY when one counts again."""
    with caplog.at_level(logging.DEBUG), started(quick_vendor, feature("held", strategy())) as provider:
        told = heard(provider)
        client = provider._sdk.client
        client.unleash_custom_headers = {"Authorization": f"default:{ENVIRONMENT}.revoked"}
        provider.refresh()
        assert [event for event, _ in told] == [ProviderEvent.PROVIDER_ERROR]
        assert provider.resolve("held", EvaluationContext("u")).value is True
        client.unleash_custom_headers = {"Authorization": quick_vendor.token}
        provider.refresh()
        assert [event for event, _ in told] == [ProviderEvent.PROVIDER_ERROR, ProviderEvent.PROVIDER_READY]
    assert quick_vendor.token not in caplog.text
    assert "revoked" not in caplog.text


def test_two_environments_in_one_process(quick_vendor: Vendor) -> None:
    """Two clients with two tokens: each serves its own environment."""
    with (
        started(quick_vendor, feature("both", strategy())) as one,
        started(quick_vendor, token=quick_vendor.server.backend_tokens["production"]) as two,
    ):
        assert one.resolve("both", EvaluationContext("u")).value is True
        assert two.resolve("both", EvaluationContext("u")).value is False


def test_targets_and_splits_of_a_plain_boolean(quick_vendor: Vendor) -> None:
    """A boolean is what other clients of Unleash expect too: on for its targets and its share, off for the rest."""
    flag = Flag.boolean(
        "plain", default=ramp("on", 30_000, "off"), targets=(Targets("on", ("ann",)), Targets("off", ("bob",)))
    )
    quick_vendor.back.put(flag)
    with started(quick_vendor) as provider:
        raw = provider._sdk.client
        units = [f"u{n}" for n in range(100)]
        ours = {u: provider.resolve("plain", EvaluationContext(u)).value for u in [*units, "ann", "bob"]}
        assert ours == {u: raw.is_enabled("plain", {"userId": u}) for u in ours}
        assert (ours["ann"], ours["bob"]) == (True, False)
        assert str(provider.resolve("plain", EvaluationContext("bob")).reason) == "TARGETING_MATCH"
        assert 10 <= sum(ours[u] for u in units) <= 50
