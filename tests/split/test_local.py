"""Localhost mode: the real SDK over a file, read again whenever it changes; the contract's evaluation part holds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import Reason
from openfeature.provider import FeatureProvider, ProviderStatus

import flagbrake
from flagbrake_contract import EventsContract, Harness, ProviderContract
from flagbrake_split.provider import SplitProvider
from flagbrake_split.sdk_options import Mode, SdkOptions
from tests.split.files import Folder, folder
from tests.split.files import harness as local_harness
from tests.support.waiting import wait_until
from tests.support.watching import ANN, CHANGED, READY, STALE, watched

BOB = EvaluationContext("bob")
YAML = """
- search:
    treatment: "on"
- model:
    treatment: v2
    keys: [ann, eve]
    config: '{"value": 5}'
- model:
    treatment: v1
    config: '{"value": 4}'
- vip:
    treatment: "on"
    keys: bob
"""


class TestSplitLocalhost(ProviderContract, EventsContract):
    """Split from a file. A kill does not come this way, so that is no part of it."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[Harness]:
        """One for all rules: they use keys of their own."""
        with local_harness() as made:
            yield made


def local(file: Path, **options: Any) -> SplitProvider:
    """A provider over a file."""
    return SplitProvider(
        SdkOptions(mode=Mode.LOCALHOST, file=str(file), **{"refresh": 0.02, "timeout": 0.5, **options})
    )


@pytest.fixture
def flags() -> Iterator[Folder]:
    """A folder with a .json file."""
    with folder() as made:
        yield made


def model(*conditions: tuple[str, str], default: str = "one") -> dict[str, Any]:
    """A split: who is in the segment gets the treatment, and everybody else ``default``."""
    rules = [
        {
            "conditionType": "ROLLOUT",
            "label": f"in {segment}",
            "matcherGroup": {
                "combiner": "AND",
                "matchers": [
                    {
                        "matcherType": "IN_SEGMENT",
                        "negate": False,
                        "userDefinedSegmentMatcherData": {"segmentName": segment},
                    }
                ],
            },
            "partitions": [{"treatment": treatment, "size": 100}],
        }
        for segment, treatment in conditions
    ]
    everybody = {
        "conditionType": "ROLLOUT",
        "label": "default rule",
        "matcherGroup": {"combiner": "AND", "matchers": [{"matcherType": "ALL_KEYS", "negate": False}]},
        "partitions": [{"treatment": default, "size": 100}],
    }
    return {
        "name": "model",
        "trafficTypeName": "user",
        "status": "ACTIVE",
        "killed": False,
        "defaultTreatment": "one",
        "seed": 7,
        "algo": 2,
        "conditions": [*rules, everybody],
    }


def test_yaml(tmp_path: Path) -> None:
    """Treatments with keys go to these, those without to everybody else; configurations are values."""
    file = tmp_path / "flags.yaml"
    file.write_text(YAML)
    with watched(local(file)) as agent:
        client = agent.client
        search, named = client.get_boolean_details("search", False, ANN), client.get_integer_details("model", 0, ANN)
        assert (search.value, search.variant, search.reason) == (True, "on", Reason.STATIC)
        assert (named.value, named.variant, named.reason) == (5, "v2", Reason.TARGETING_MATCH)
        other = client.get_integer_details("model", 0, BOB)
        assert (other.value, other.variant, other.reason) == (4, "v1", Reason.DEFAULT)
        assert client.get_boolean_value("vip", False, BOB)
        nothing = client.get_boolean_details("vip", False, ANN)
        assert (nothing.value, nothing.error_code) == (False, ErrorCode.GENERAL), "the file has nothing for her"
        assert client.get_boolean_details("none", True, ANN).error_code is ErrorCode.FLAG_NOT_FOUND
        assert sorted(agent.provider.keys()) == ["model", "search", "vip"]  # type: ignore[attr-defined]


def test_the_older_format(tmp_path: Path) -> None:
    """A flag and its treatment on each line; what is no such line is left out."""
    file = tmp_path / "flags.split"
    file.write_text("# a comment\nsearch on\nmodel v2\nthis is none\n")
    with watched(local(file)) as agent:
        assert agent.client.get_boolean_value("search", False, ANN)
        assert agent.value() == "v2"
        assert sorted(agent.provider.keys()) == ["model", "search"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("flags.yaml", "- model: {treatment: one}\n- old: {treatment: x}", "- model: {treatment: two}"),
        ("flags.split", "model one\nold x", "model two"),
        ("flags.json", json.dumps({"ff": {"d": [model()]}}), json.dumps({"ff": {"d": [model(default="two")]}})),
    ],
)
def test_a_file_that_changes(tmp_path: Path, name: str, before: str, after: str) -> None:
    """A change of the file is served, and the flags are named that answer anew."""
    file = tmp_path / name
    file.write_text(before)
    with watched(local(file)) as agent:
        assert agent.value() == "one"
        file.write_text(after)
        agent.await_value("two")
        assert "model" in (agent.await_told(CHANGED).flags_changed or [])
        if "old" in before:
            old = agent.client.get_string_details("old", "default", ANN)
            assert old.error_code is ErrorCode.FLAG_NOT_FOUND


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"ff": {"d": 7}}'])
def test_a_file_that_is_damaged(flags: Folder, damage: str) -> None:
    """What cannot be read is told as STALE as long as it lasts, and the last known is served."""
    flags.put(model())
    with watched(flags.provider()) as agent:
        flags.file.write_text(damage)
        assert "flags.json cannot be read" in str(agent.await_told(STALE).message)
        assert agent.value() == "one"
        flags.put(model(default="two"))
        agent.await_value("two")
        agent.await_told(READY)
        assert agent.states() == [STALE, READY]


def test_a_file_that_is_older(flags: Folder) -> None:
    """A .json file with a lower number than the last is left alone, and that is told; with a higher one it is read."""
    flags.put(model())
    flags.put(model())
    with watched(flags.provider()) as agent:
        flags.number = 0
        flags.put(model(default="two"))
        assert "its ff.t, 1, is less than the 2" in str(agent.await_told(STALE).message)
        assert agent.value() == "one"
        flags.number = 2
        flags.put(model(default="two"))
        agent.await_told(READY)
        assert agent.value() == "two"


def test_a_flag_that_cannot_be_read_any_more(tmp_path: Path) -> None:
    """It answers nothing from now on, and that is told as a change."""
    file = tmp_path / "flags.yaml"
    file.write_text("- model: {treatment: one}")
    with watched(local(file)) as agent:
        assert agent.value() == "one"
        file.write_text("- model: {treatment: one, config: 2026-01-31}")
        assert agent.await_told(CHANGED).flags_changed == ["model"]
        assert agent.client.get_string_details("model", "default", ANN).error_code is ErrorCode.FLAG_NOT_FOUND


def test_a_flag_that_is_gone(flags: Folder) -> None:
    """A segment that it asked for changes: a flag that is gone is not told to have changed."""
    flags.put_segment("staff", "bob")
    flags.put(model(("staff", "two")))
    flags.put({**model(("staff", "two")), "name": "other"})
    with watched(flags.provider()) as agent:
        flags.remove("model")
        agent.await_told(CHANGED)
        wait_until(lambda: list(agent.provider.keys()) == ["other"], why="the end")  # type: ignore[attr-defined]
        agent.told.clear()
        flags.put_segment("staff", "ann")
        assert agent.await_told(CHANGED).flags_changed == ["other"]


def test_a_file_that_comes_later(tmp_path: Path) -> None:
    """Without its file the start fails and names it; when the file is there, READY and answers."""
    file = tmp_path / "flags.yaml"
    with watched(local(file), failing=True) as agent:
        assert agent.status is ProviderStatus.ERROR
        assert agent.value() == "default"
        file.write_text("- model: {treatment: one}")
        agent.await_told(READY)
        agent.await_value("one")


def test_segments(flags: Folder) -> None:
    """Segments are files of a folder: who joins or leaves is seen; one that is missing is told, and the flags serve."""
    flags.put(model(("staff", "two")))
    with watched(flags.provider()) as agent:
        assert "segment 'staff'" in str(agent.await_told(STALE).message)
        assert agent.value() == "one"
        flags.put_segment("staff", "bob")
        agent.await_told(READY)
        assert (agent.value(context=BOB), agent.value()) == ("two", "one")
        flags.put_segment("staff", "ann")
        agent.await_value("two")
        agent.await_value("one", context=BOB)


def test_segments_elsewhere(flags: Folder, tmp_path: Path) -> None:
    """Their folder may be named."""
    (tmp_path / "staff.json").write_text(json.dumps({"name": "staff", "added": ["ann"], "removed": [], "till": 1}))
    flags.put(model(("staff", "two")))
    with watched(flags.provider(segment_directory=str(tmp_path))) as agent:
        assert agent.value() == "two"


def test_by_settings(tmp_path: Path) -> None:
    """Settings and a file are all that is needed: no key, no network."""
    (tmp_path / "flags.yaml").write_text("- model: {treatment: two}")
    config = tmp_path / "flagbrake.toml"
    config.write_text(
        'use = "split"\nenvironment = "here"\nsingle_controller = true\n'
        f'[split]\nmode = "localhost"\nfile = "{tmp_path / "flags.yaml"}"\n'
    )
    provider: FeatureProvider = flagbrake.provider(config)
    with watched(provider) as agent:
        wait_until(lambda: agent.value() == "two", why="the file")


def named_threads() -> list[str]:
    """Ours."""
    return [thread.name for thread in threading.enumerate() if thread.name == "flagbrake-split-file"]


def test_nothing_stays_behind(tmp_path: Path) -> None:
    """Shut down, with its file or without, no thread goes on."""
    for text in ("", "- model: {treatment: one}"):
        file = tmp_path / "flags.yaml"
        if text:
            file.write_text(text)
        provider = local(file, refresh=600.0)
        with nullcontext() if text else pytest.raises(ProviderNotReadyError):
            provider.initialize(EvaluationContext())
        assert named_threads()
        provider.shutdown()
        wait_until(lambda: not named_threads(), why="its thread")


def test_a_second_start_looks_at_once(tmp_path: Path) -> None:
    """A start that failed, made again: the file is looked for now, and not when it would be looked for next."""
    file = tmp_path / "flags.yaml"
    provider = local(file, refresh=600.0, timeout=0.5)
    try:
        with pytest.raises(ProviderNotReadyError, match=r"Try: make or mend the file .*flags\.yaml, or name"):
            provider.initialize(EvaluationContext())
        file.write_text("- model: {treatment: one}")
        provider.initialize(EvaluationContext())
        assert provider.resolve("model", ANN).value == "one"
    finally:
        provider.shutdown()
