"""The provider beyond the contract: LaunchDarkly's own reasons, dependents, modes, experiments, analytics."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ldclient.versioned_data_kind import FEATURES
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails

from flagbrake.errors import ConfigError
from flagbrake.model.flag import Flag, Prerequisite, Variant, ramp
from flagbrake.model.values import MISMATCH, FlagKind
from flagbrake_launchdarkly.options import SdkOptions
from flagbrake_launchdarkly.provider import LaunchDarklyProvider
from flagbrake_launchdarkly.received import Known
from tests.launchdarkly.vendor import ENVIRONMENT, Vendor
from tests.support.waiting import wait_until

ANN = EvaluationContext("ann", {"plan": "pro"})
VARIANTS = (Variant("v1", "one"), Variant("v2", "two"))


def flag(key: str, **rest: Any) -> Flag:
    """A text in two versions."""
    return Flag(key, FlagKind.STRING, VARIANTS, rest.pop("default", "v1"), off_variant="v1", **rest)


@contextmanager
def started(provider: LaunchDarklyProvider) -> Iterator[LaunchDarklyProvider]:
    """Initialised; shut down at the end."""
    try:
        provider.initialize(EvaluationContext())
        yield provider
    finally:
        provider.shutdown()


def ask(provider: LaunchDarklyProvider, key: str, context: EvaluationContext = ANN) -> FlagResolutionDetails[str]:
    """One answer."""
    return provider.resolve_string_details(key, "default", context)


def changes(provider: LaunchDarklyProvider) -> list[list[str]]:
    """The keys of each change that is told from now on."""
    told: list[list[str]] = []

    def listen(_: object, event: ProviderEvent, details: ProviderEventDetails) -> None:
        if event is ProviderEvent.PROVIDER_CONFIGURATION_CHANGED:
            told.append(list(details.flags_changed or ()))

    provider.attach(listen)
    return told


def test_a_prerequisite_that_was_not_asked_needs_no_key(launchdarkly: Vendor) -> None:
    """Without a targeting key a flag that is off serves its off variant, whatever its prerequisites would have asked.

    So does one that an earlier prerequisite stopped, and one whose prerequisite is off; where a split by key was
    asked there is no answer.
    """
    split, stopped = Prerequisite("split", ("v1",)), Prerequisite("dead", ("v1",))
    launchdarkly.put(flag("split", default=ramp("v2", 50_000, "v1")))
    launchdarkly.put(flag("dead", on=False, prerequisites=(split,)))
    launchdarkly.put(flag("off", default="v2", on=False, prerequisites=(split,)))
    launchdarkly.put(flag("failed", default="v2", prerequisites=(stopped, split)))
    launchdarkly.put(flag("asked", default="v2", prerequisites=(split, stopped)))
    launchdarkly.put(flag("far", default="v2", prerequisites=(Prerequisite("asked", ("v1",)),)))
    nobody = EvaluationContext(None, {"plan": "pro"})
    with started(launchdarkly.provider()) as provider:
        for key in ("off", "failed"):
            answer = ask(provider, key, nobody)
            assert (answer.value, str(answer.reason)) == ("one", "DISABLED")
        for key in ("asked", "far"):
            assert str(ask(provider, key, nobody).error_code) == "TARGETING_KEY_MISSING"


@pytest.mark.parametrize(
    ("weights", "several"),
    [
        (((0, 50_000), (1, 50_000)), True),
        (((0, 0), (1, 100_000)), False),
        (((0, 0), (1, 100_000), (0, 0)), False),
        (((0, 100_000), (1, 40_000)), False),
        (((0, 60_000), (1, 0)), True),  # what is missing is the last one's
    ],
)
def test_a_split_of_one_share_needs_no_key(weights: tuple[tuple[int, int], ...], several: bool) -> None:
    """Weights are laid end to end up to 100 %; more than one share of it, and who it is may matter."""
    rollout = {"variations": [{"variation": index, "weight": weight} for index, weight in weights]}
    data = {"key": "f", "version": 1, "on": True, "variations": ["one", "two"], "fallthrough": {"rollout": rollout}}
    assert Known(FEATURES.decode(data)).told(1, {"kind": "FALLTHROUGH"}).split is several


def test_reasons_of_launchdarkly_stand_in_the_metadata(launchdarkly: Vendor) -> None:
    """The rule's id and index, the failed prerequisite, the experiment, the variation and the version."""
    launchdarkly.put(flag("gate", default="v2"))
    launchdarkly.put(flag("gated", prerequisites=(Prerequisite("gate", ("v1",)),)))
    clause = {"attribute": "plan", "op": "in", "values": ["pro"], "contextKind": "user"}
    rollout = {"kind": "experiment", "variations": [{"variation": 0, "weight": 0}, {"variation": 1, "weight": 100_000}]}
    ruled = {"on": True, "variations": ["one", "two"], "fallthrough": {"variation": 0}, "offVariation": 0}
    rules = [{"id": "beta", "clauses": [clause], "rollout": rollout}]
    launchdarkly.emulator.put_flag(ENVIRONMENT, {"key": "ruled", **ruled, "rules": rules})
    with started(launchdarkly.provider()) as provider:
        failed = ask(provider, "gated")
        assert (str(failed.reason), failed.flag_metadata["prerequisite"]) == ("DISABLED", "gate")
        assert failed.flag_metadata["launchdarkly_reason"] == "PREREQUISITE_FAILED"
        matched = ask(provider, "ruled")
        assert str(matched.reason) == "SPLIT"
        # A flag that flagbrake never wrote has no names: the index is the variant.
        assert matched.variant == "1"
        expected = {"rule": "beta", "launchdarkly_rule_index": 0, "launchdarkly_in_experiment": True}
        assert expected.items() <= dict(matched.flag_metadata).items()
        version = launchdarkly.emulator.flag("ruled")["environments"][ENVIRONMENT]["version"]
        assert matched.flag_metadata["version"] == version


def test_dependents_are_told_with_what_changed(launchdarkly: Vendor) -> None:
    """A changed prerequisite or segment is told in one event with the flags that ask it, directly or through others."""
    launchdarkly.put(flag("base"))
    launchdarkly.put(flag("middle", prerequisites=(Prerequisite("base", ("v1",)),)))
    launchdarkly.put(flag("top", prerequisites=(Prerequisite("middle", ("v1",)),)))
    launchdarkly.put(flag("alone"))
    launchdarkly.emulator.put_segment(ENVIRONMENT, {"key": "staff", "included": ["ann"]})
    segment = {"attribute": "", "op": "segmentMatch", "values": ["staff"]}
    ruled = {"key": "staffed", "on": True, "variations": ["one", "two"], "fallthrough": {"variation": 0}}
    rules = [{"id": "s", "clauses": [segment], "variation": 1}]
    launchdarkly.emulator.put_flag(ENVIRONMENT, {**ruled, "rules": rules})
    with started(launchdarkly.provider()) as provider:
        told = changes(provider)
        launchdarkly.put(flag("base", default="v2"))
        wait_until(lambda: ["base", "middle", "top"] in told, why="the change and its dependents")
        launchdarkly.emulator.put_segment(ENVIRONMENT, {"key": "staff", "included": ["bob"]})
        wait_until(lambda: ["staffed"] in told, why="the flag that asks the segment")
        assert not any("alone" in keys for keys in told)


def test_a_reconnection_tells_what_changed_and_nothing_else(launchdarkly: Vendor) -> None:
    """A new stream begins with everything: only flags that differ are told."""
    for key in ("one", "two", "three"):
        launchdarkly.put(flag(key))
    with started(launchdarkly.provider()) as provider:
        told = changes(provider)
        streams = launchdarkly.emulator.streams
        launchdarkly.emulator.cut()
        wait_until(lambda: launchdarkly.emulator.streams >= streams, why="the stream")
        launchdarkly.put(flag("two", default="v2"))
        wait_until(lambda: told, why="the change")
        assert told == [["two"]]


def test_a_keyless_context_meets_a_rollout_behind_a_prerequisite(launchdarkly: Vendor) -> None:
    """A prerequisite that a rollout decides needs the targeting key as much as a rollout of one's own."""
    from flagbrake.model.flag import ramp

    launchdarkly.put(flag("gate", default=ramp("v2", 50_000, "v1")))
    launchdarkly.put(flag("gated", prerequisites=(Prerequisite("gate", ("v1",)),)))
    with started(launchdarkly.provider()) as provider:
        answer = ask(provider, "gated", EvaluationContext(None, {"plan": "pro"}))
        assert str(answer.error_code) == "TARGETING_KEY_MISSING"
        assert ask(provider, "gated").error_code is None


def test_off_and_values_by_name_and_by_index(launchdarkly: Vendor) -> None:
    """What the kill switch asks: the off answer, and values of variants by their names."""
    launchdarkly.put(flag("named"))
    with started(launchdarkly.provider()) as provider:
        off = provider.off_value("named")
        assert off is not None
        assert (off.value, off.variant, str(off.reason)) == ("one", "v1", "DISABLED")
        assert provider.value_of("named", "v2") == "two"
        assert provider.value_of("named", "v3") is MISMATCH
        assert provider.off_value("missing") is None
        assert "named" in provider.keys()  # noqa: SIM118 - it is no mapping


def test_analytics_are_sent_and_can_be_switched_off(launchdarkly: Vendor) -> None:
    """Evaluations are counted at LaunchDarkly under the flag; events = false sends nothing."""
    launchdarkly.put(flag("counted"))
    with started(launchdarkly.provider()) as provider:
        ask(provider, "counted")
    assert launchdarkly.emulator.wait_for(lambda: launchdarkly.emulator.events("summary", ENVIRONMENT))
    assert "counted" in launchdarkly.emulator.events("summary", ENVIRONMENT)[-1]["features"]
    before = len(launchdarkly.emulator.events())
    with started(launchdarkly.provider(events=False)) as provider:
        ask(provider, "counted")
    assert len(launchdarkly.emulator.events()) == before


def test_polling(launchdarkly: Vendor) -> None:
    """mode = poll: the flags come with the first poll."""
    launchdarkly.put(flag("polled"))
    with started(launchdarkly.provider(mode="poll")) as provider:
        assert ask(provider, "polled").value == "one"
        assert launchdarkly.emulator.streams == 0


def test_files(tmp_path: Path) -> None:
    """mode = file: LaunchDarkly's data files are served without any network, and read again when they change."""
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"flagValues": {"from-file": "one"}}))
    options = SdkOptions.read({"mode": "file", "files": [str(file)]})
    with started(LaunchDarklyProvider(options)) as provider:
        assert ask(provider, "from-file").value == "one"
        told = changes(provider)
        beside = tmp_path / "next.json"
        beside.write_text(json.dumps({"flagValues": {"from-file": "two", "more": True}}))
        beside.replace(file)
        wait_until(lambda: ask(provider, "from-file").value == "two", why="the changed file")
        wait_until(lambda: told == [["from-file", "more"]], why="the change")


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    """A data file that cannot be read is not ready, and named."""
    options = SdkOptions.read({"mode": "file", "files": [str(tmp_path / "none.json")], "timeout": 0.2})
    provider = LaunchDarklyProvider(options)
    with pytest.raises(ProviderNotReadyError, match=r"none\.json.* Try: make or mend the file"):
        provider.initialize(EvaluationContext())
    provider.shutdown()


def test_offline() -> None:
    """mode = offline: no network, no thread, every caller gets the default without an error."""
    before = set(threading.enumerate())
    with started(LaunchDarklyProvider(SdkOptions.read({"mode": "offline"}))) as provider:
        answer = ask(provider, "anything")
        assert (answer.value, str(answer.reason), answer.error_code) == ("default", "DEFAULT", None)
        assert set(threading.enumerate()) == before


def malformed(vendor: Vendor, key: str) -> None:
    """A flag whose rollout weight is no integer: the SDK refuses everything that came with it."""
    import copy

    account = vendor.emulator.account
    with account.lock:
        spoilt = copy.deepcopy(account.flags[key])
        weights = [{"variation": 0, "weight": 50_000.5}, {"variation": 1, "weight": 49_999.5}]
        spoilt["environments"][ENVIRONMENT]["fallthrough"] = {"rollout": {"variations": weights}}
        account.commit_flag(key, spoilt, by="back door")


def test_a_document_that_the_sdk_cannot_read(launchdarkly: Vendor) -> None:
    """One malformed flag takes no other with it: at a start the others are served, later its last good version is."""
    launchdarkly.put(flag("good"))
    launchdarkly.put(flag("bad"))
    with started(launchdarkly.provider()) as provider:
        malformed(launchdarkly, "bad")
        launchdarkly.put(flag("good", default="v2"))
        wait_until(lambda: ask(provider, "good").value == "two", why="the others are followed")
        assert ask(provider, "bad").value == "one"
        with started(launchdarkly.provider()) as fresh:
            assert ask(fresh, "good").value == "two"
            assert str(ask(fresh, "bad").error_code) == "FLAG_NOT_FOUND"


def test_a_plain_start_warns_of_nothing(launchdarkly: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    """The SDK's warning about a start that was not waited for is not the reader's business."""
    launchdarkly.put(flag("quiet"))
    with caplog.at_level(logging.WARNING), started(launchdarkly.provider()) as provider:
        ask(provider, "quiet")
    assert not [record for record in caplog.records if record.name.startswith("ldclient")]


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({}, "sdk_key"),
        ({"sdk_key": "two words"}, "sdk_key"),
        ({"sdk_key": "k", "mode": "telepathy"}, "telepathy"),
        ({"mode": "file"}, "files"),
        ({"sdk_key": "k", "timeout": 0}, "timeout"),
        ({"sdk_key": "k", "events": "yes"}, "events"),
        ({"sdk_key": "k", "context_kind": "multi"}, "context_kind"),
        ({"sdk_key": "k", "private_attributes": "mail"}, "private_attributes"),
    ],
)
def test_bad_settings_are_named(table: dict[str, Any], word: str) -> None:
    """A setting that cannot be used is named, with a cure; a key is never shown."""
    with pytest.raises(ConfigError, match=word) as refused:
        SdkOptions.read(table)
    assert "two words" not in str(refused.value)
    assert refused.value.cure
