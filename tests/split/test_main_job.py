"""The main job on Split: what is told on SQL, told again with nothing changed but the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagbrake_split.emulator import SplitEmulator
from flagbrake_split.translate import definition_from_flag
from tests.split.controlling import MISSET
from tests.split.sdk import factory, seen
from tests.split.vendor import ENVIRONMENT
from tests.support import main_job
from tests.support.command import Shell


def settings(split: SplitEmulator, folder: Path, *, store: bool = True) -> Path:
    """Settings that lead to the emulator."""
    for name, secret in (("sdk.key", split.sdk_key(ENVIRONMENT)), ("admin.key", split.admin_key)):
        (folder / name).write_text(secret)
    agents = f'sdk_key = {{ file = "sdk.key" }}\nbase_url = "{split.url}"\n'
    admin = f'admin_key = {{ file = "admin.key" }}\nadmin_url = "{split.admin_url}"\nworkspace = "Default"\n'
    return main_job.settings(folder, "split", ENVIRONMENT, agents, admin, store=store)


@pytest.mark.timeout(300)
def test_the_story_of_the_demonstration(split: SplitEmulator, tmp_path: Path) -> None:
    """A rollout that rolls itself back, one that passes, one kill for four agents, an exact restore."""
    main_job.tell_the_story(tmp_path, settings(split, tmp_path))
    served = split.definition("agents-docs", ENVIRONMENT)
    assert not served["killed"]
    assert served["defaultRule"] == [{"treatment": "v3", "size": 100}]
    # Split's own history tells who did it, and why.
    told = " ".join(f"{said.title}: {said.comment}" for said in split.history if said.flag == "agents-docs")
    assert "rolled back" in told
    assert "by demo" in told


def test_commands_by_hand(split: SplitEmulator, tmp_path: Path) -> None:
    """Create, split, kill, restore by the command line: Split shows each, and the SDK serves each."""
    settings(split, tmp_path)
    main_job.operate_by_hand(Shell(tmp_path), "agents-refunds")


def test_without_a_store(split: SplitEmulator, tmp_path: Path) -> None:
    """Level 0: an SDK key and nothing else. A kill travels as a flag of Split's and stops the agent."""
    settings(split, tmp_path, store=False)
    main_job.operate_without_a_store(Shell(tmp_path), "agents-refunds")
    # Split takes no dots in names: a hyphen stands for one, and a hyphen is spelt out.
    assert split.definition("kill-flag-agents_2Drefunds", ENVIRONMENT)


def test_a_kill_over_a_broken_default_treatment(split: SplitEmulator, tmp_path: Path) -> None:
    """The default treatment is the broken version. A kill by hand serves the declared safe one to everybody, rules and
    keys notwithstanding, at agents that have nothing but Split's SDK; a restore puts back every member that it
    changed: default treatment, rules, keys, shares.
    """
    settings(split, tmp_path)
    split.put_definition(definition_from_flag(MISSET).result, ENVIRONMENT)
    before = split.definition("refunds", ENVIRONMENT)
    assert before["defaultTreatment"] == "v2"
    shell = Shell(tmp_path)
    shell.ok("init")
    shell.ok("flag", "declare", "refunds", "--safe", "v1")
    pro = {"plan": "pro"}
    with factory(split, ENVIRONMENT) as made:
        sdk = made.client()
        assert sdk.get_treatment("vip", "refunds") == "v2"
        shell.ok("kill", "refunds", "--reason", "paid twice", "--arm")
        seen(sdk, "refunds", "v1", key="vip")
        assert {sdk.get_treatment(f"u{n}", "refunds", a) for n in range(100) for a in (None, pro)} == {"v1"}
        killed = split.definition("refunds", ENVIRONMENT)
        assert (killed["killed"], killed["defaultTreatment"]) == (True, "v1")
        shell.ok("restore", "refunds", "--reason", "mended")
        seen(sdk, "refunds", "v2", key="vip")
        assert {sdk.get_treatment(f"u{n}", "refunds") for n in range(100)} == {"v1", "v2"}
    after = split.definition("refunds", ENVIRONMENT)
    assert {**after, "lastUpdateTime": 0} == {**before, "lastUpdateTime": 0}
