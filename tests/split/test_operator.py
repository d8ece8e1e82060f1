"""An operator at the command line over Split: settings only, level 1 and level 0, the self-test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flagbrake_split.emulator import SplitEmulator
from tests.split.sdk import factory, seen
from tests.support.command import Shell


def table(settings: Mapping[str, Any]) -> str:
    """The adapter's table."""
    return "\n".join(["[split]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())])


@pytest.fixture
def shell(split: SplitEmulator, tmp_path: Path) -> Shell:
    """A folder whose settings lead to the emulator, with a store."""
    write(split, tmp_path, '[store]\nurl = "sqlite:///flagbrake.db"')
    made = Shell(tmp_path)
    made.ok("init")
    return made


def write(split: SplitEmulator, folder: Path, more: str) -> None:
    """Both settings files."""
    agents = f'use = "split"\nenvironment = "test"\n{more if "[" not in more else ""}\n{table(split.settings)}\n'
    (folder / "flagbrake.toml").write_text(agents + (more if "[" in more else ""))
    (folder / "flagbrake.admin.toml").write_text(table(split.admin_settings))


def test_main_job(split: SplitEmulator, shell: Shell) -> None:
    """Create, ramp, kill, restore: programs that only have Split's SDK follow each."""
    shell.ok("flag", "create", "agents-refunds", "--variant", "v1", "--variant", "v2", "--safe", "v1")
    with factory(split) as made:
        sdk = made.client()
        shell.ok("flag", "set", "agents-refunds", "v2=100")
        seen(sdk, "agents-refunds", "v2")
        shell.ok("kill", "agents-refunds", "--reason", "pays twice", "--arm")
        seen(sdk, "agents-refunds", "v1")
        assert "pays twice" in split.history[-1].comment
        shell.ok("restore", "agents-refunds", "--reason", "mended")
        seen(sdk, "agents-refunds", "v2")


def test_refusals(split: SplitEmulator, shell: Shell) -> None:
    """What Split refuses leaves with the error's exit code and the cure."""
    dotted = shell("flag", "create", "agents.refunds", "--variant", "v1", "--variant", "v2")
    assert (dotted.code, "agents-refunds" in dotted.err) == (2, True)
    shell.ok("flag", "create", "refunds", "--variant", "v1", "--variant", "v2")
    finer = shell("flag", "set", "refunds", "v2=10.5")
    assert (finer.code, "10 or 11" in finer.err) == (2, True)
    split.require_approvals("test")
    refused = shell("flag", "set", "refunds", "v2=10")
    assert (refused.code, "approved" in refused.err) == (6, True)


def test_level_0(split: SplitEmulator, tmp_path: Path) -> None:
    """Without a store a kill is a flag in Split, and the flag's own off state."""
    write(split, tmp_path, "single_controller = true")
    shell = Shell(tmp_path)
    shell.ok("flag", "create", "refunds", "--variant", "v1", "--variant", "v2", "--safe", "v1")
    with factory(split) as made:
        shell.ok("kill", "flag:refunds", "--reason", "pays twice", "--arm")
        seen(made.client(), "kill-flag-refunds", "on")
        assert split.definition("refunds")["killed"]
        shell.ok("restore", "flag:refunds", "--reason", "mended")
        seen(made.client(), "refunds", "v1")
        assert not split.definition("refunds")["killed"]


def test_selftest(split: SplitEmulator, shell: Shell) -> None:
    """The self-test walks its steps, also a second time, when its flag is an archived one."""
    for _ in range(2):
        said = shell.ok("doctor", "--live", "--selftest", "--json")
        steps = [f["text"].partition(" in ")[0] for f in said.data["findings"] if f["subject"] == "selftest"]
        assert steps == ["created", "ramped to 50 %", "turned off", "restored", "archived"]
    assert shell.ok("flag", "list", "--json").data["flags"] == []
    assert split.admin_key not in said.out + said.err
