"""The main job on LaunchDarkly: what is told on SQL, told again with nothing changed but the settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flagbrake.model.state import SetOn
from tests.launchdarkly.vendor import ENVIRONMENT, Vendor
from tests.support import main_job
from tests.support.command import Shell


def settings(vendor: Vendor, folder: Path, *, store: bool = True) -> Path:
    """Settings that lead to the emulator."""
    emulator = vendor.emulator
    for name, secret in (("sdk.key", emulator.sdk_key(ENVIRONMENT)), ("api.token", emulator.api_token)):
        (folder / name).write_text(secret)
    addresses = "".join(f'{name} = "{emulator.url}"\n' for name in ("base_uri", "stream_uri", "events_uri"))
    agents = f'sdk_key = {{ file = "sdk.key" }}\n{addresses}'
    admin = f'api_token = {{ file = "api.token" }}\napi_url = "{emulator.url}"\n'
    return main_job.settings(folder, "launchdarkly", ENVIRONMENT, agents, admin, store=store)


@pytest.mark.timeout(300)
def test_the_story_of_the_demonstration(launchdarkly: Vendor, tmp_path: Path) -> None:
    """A rollout that rolls itself back, one that passes, one kill for four agents, an exact restore."""
    main_job.tell_the_story(tmp_path, settings(launchdarkly, tmp_path))
    served = launchdarkly.emulator.flag("agents-docs")["environments"][ENVIRONMENT]
    # LaunchDarkly's own history tells who did it.
    assert served["on"]
    assert any("rollout" in by or "engine" in by or by == "demo" for by, _ in launchdarkly.audited("agents-docs"))


def test_commands_by_hand(launchdarkly: Vendor, tmp_path: Path) -> None:
    """Create, split, kill, restore by the command line: LaunchDarkly shows each, and the SDK serves each."""
    settings(launchdarkly, tmp_path)
    main_job.operate_by_hand(Shell(tmp_path), "agents.refunds")


def test_the_history_has_what_was_changed_at_launchdarkly(launchdarkly: Vendor, tmp_path: Path) -> None:
    """Beside the audit stands LaunchDarkly's own log: who changed a flag there, in whose name ours did."""
    settings(launchdarkly, tmp_path)
    shell = Shell(tmp_path)
    shell.ok("init")
    shell.ok("flag", "create", "search")
    shell.ok("flag", "set", "search", "50")
    launchdarkly.control().apply(SetOn("search", on=False), comment="from the page")
    told = shell.ok("history", "search").out
    assert "from the page" in told.partition("launchdarkly itself says:")[2]
    shown = shell.ok("--json", "history", "search").data
    assert "from the page" not in json.dumps(shown["entries"])
    assert [entry["reason"] for entry in shown["vendor"]][:1] == ["from the page"]
    assert {"dana"} < {entry["by"] for entry in shown["vendor"]}
    assert shell.ok("--json", "history").data["vendor"] == []
    launchdarkly.emulator.stop()
    away = shell("history", "search")
    assert (away.code, "could not be read" in away.err, "set-distribution" in away.out) == (0, True, True)


def test_without_a_store(launchdarkly: Vendor, tmp_path: Path) -> None:
    """Level 0: an SDK key and nothing else. A kill travels as a LaunchDarkly flag and stops the agent."""
    settings(launchdarkly, tmp_path, store=False)
    main_job.operate_without_a_store(Shell(tmp_path), "agents.refunds")
    assert "kill" in json.dumps(sorted(launchdarkly.emulator.everything(ENVIRONMENT)["flags"]))
