"""One line of configuration changes the vendor, and says what the new one lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from openfeature import api
from openfeature.exception import ProviderFatalError

import flagbrake
from flagbrake.model.flag import Flag
from flagbrake.model.state import Create

IN_HOUSE = """
from flagbrake.model.flag import Flag
from flagbrake.ports.adapter import Adapter
from flagbrake.testing import MemoryControl, MemoryProvider


class InHouse(Adapter):
    name = "inhouse"
    options = {"flags": "keys of flags that are on"}
    admin_options = frozenset({"token"})

    def provider(self, settings):
        return MemoryProvider([Flag.boolean(key) for key in settings.options.get("flags", [])])

    def control(self, settings):
        raise NotImplementedError
"""


@pytest.fixture
def in_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter of somebody else's, installed as distributions are."""
    site = tmp_path / "site"
    info = site / "inhouse-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "inhouse_adapter.py").write_text(IN_HOUSE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: inhouse\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flagbrake.adapters]\ninhouse = inhouse_adapter:InHouse\n")
    monkeypatch.syspath_prepend(str(site))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_house: None):
    """Write flagbrake.toml; the store holds two flags."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "flagbrake.toml"

    def write(text: str) -> Path:
        path.write_text(f'state_dir = "state"\n{text}\n[store]\nurl = "sqlite:///flags.db"\n', encoding="utf-8")
        return path

    write('use = "sql"')
    with flagbrake.control_plane(create=True) as plane:
        for key in ("checkout", "search"):
            plane.writer.apply(Create(Flag.boolean(key)), by="test")
    yield write
    api.shutdown()


def evaluate() -> list[bool]:
    """Start as configured, ask for both flags, stop."""
    api.set_provider_and_wait(flagbrake.provider())
    try:
        client = api.get_client()
        return [client.get_boolean_value(key, False) for key in ("checkout", "search")]
    finally:
        api.shutdown()


def test_a_swap_that_lacks_flags_is_refused_by_name(settings) -> None:
    """After a change of `use` the start compares with the flags evaluated before and names the missing."""
    assert evaluate() == [True, True]
    settings('use = "inhouse"\ninhouse = { flags = ["checkout"] }')
    with pytest.raises(ProviderFatalError) as caught:
        evaluate()
    assert "'inhouse' lacks 1 of the 2 flags evaluated under 'sql': search" in caught.value.error_message
    settings('use = "inhouse"\nallow_missing = true\ninhouse = { flags = ["checkout"] }')
    assert evaluate() == [True, False]


def test_a_whole_swap_is_silent(settings) -> None:
    """A new provider that has every flag starts, and the next start compares with it."""
    assert evaluate() == [True, True]
    settings('use = "inhouse"\ninhouse = { flags = ["checkout", "search"] }')
    assert evaluate() == [True, True]
    settings('use = "sql"')
    assert evaluate() == [True, True]


def test_a_key_that_nobody_has_blocks_no_swap(settings) -> None:
    """A service that asks for a flag that never existed can change its vendor all the same."""
    api.set_provider_and_wait(flagbrake.provider())
    assert api.get_client().get_boolean_value("typo", False) is False
    assert api.get_client().get_boolean_value("checkout", False) is True
    api.shutdown()
    settings('use = "inhouse"\ninhouse = { flags = ["checkout"] }')
    assert evaluate() == [True, False]


def test_an_unknown_option_of_an_adapter_is_named(settings) -> None:
    """An adapter's table has known keys; another is an error that says which was meant."""
    settings('use = "inhouse"\ninhouse = { flag = ["checkout"] }')
    with pytest.raises(flagbrake.FlagbrakeError, match=r"Unknown key 'flag' in \[inhouse\]\. Try: flags"):
        flagbrake.provider()


def test_kills_reach_any_vendor(settings) -> None:
    """With a store beside it, a provider that knows nothing of kills is stopped like any other."""
    declared = '[flags.search]\nsafe_variant = "off"\nsafe_value = false'
    settings(f'use = "inhouse"\ninhouse = {{ flags = ["checkout", "search"] }}\n{declared}')
    api.set_provider_and_wait(flagbrake.provider(name="agent"))
    client = api.get_client()
    assert client.get_boolean_value("search", False) is True
    with flagbrake.control_plane(use="sql") as plane:
        plane.switch.kill("flag:search", by="ann", reason="wrong", wait=10)
        answer = client.get_boolean_details("search", True)
        assert answer.value is False
        assert answer.reason == "DISABLED"
        assert answer.flag_metadata["kill_reason"] == "wrong"
        plane.switch.restore("flag:search", by="ann", reason="right", wait=10)
    assert client.get_boolean_value("search", False) is True
