"""``flagbrake doctor --live`` on LaunchDarkly: keys, environment, permissions, and the self-test."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagbrake.model.flag import Flag
from tests.launchdarkly.test_main_job import settings
from tests.launchdarkly.vendor import ENVIRONMENT, Vendor
from tests.support.command import Said, Shell

KEY = "flagbrake-selftest"


@pytest.fixture
def shell(launchdarkly: Vendor, tmp_path: Path) -> Shell:
    """A folder with settings, a store, and an account with one flag."""
    (tmp_path / "home").mkdir()
    settings(launchdarkly, tmp_path)
    launchdarkly.put(Flag.boolean("search"))
    made = Shell(tmp_path)
    made.ok("init")
    return made


def told(said: Said, subject: str) -> list[tuple[str, str]]:
    """Level and text of the findings about one subject."""
    return [(f["level"], f["text"]) for f in said.data["findings"] if f["subject"] == subject]


def test_all_is_well(shell: Shell) -> None:
    """Both keys work, they are of one environment, the token may write; nothing was written to find out."""
    said = shell.ok("doctor", "--live", "--json")
    assert [level for subject in ("agents", "token", "environment") for level, _ in told(said, subject)] == ["ok"] * 3
    assert any("may turn flags off" in text for _, text in told(said, "account"))
    assert told(said, "selftest") == [("ok", "not asked for: nothing was written (--selftest tries a flag of its own)")]


def test_the_selftest_walks_all_steps_twice(launchdarkly: Vendor, shell: Shell) -> None:
    """Create, ramp, turn off, restore, archive: each seen at the SDK; a second run takes up the archived flag."""
    for _ in range(2):
        said = shell.ok("doctor", "--live", "--selftest", "--json")
        steps = [text.partition(" in ")[0] for _, text in told(said, "selftest")]
        assert steps == ["created", "ramped to 50 %", "turned off", "restored", "archived"]
        assert launchdarkly.emulator.flag(KEY)["archived"]
    assert list(launchdarkly.emulator.everything(ENVIRONMENT)["flags"]) == ["search"]


@pytest.mark.parametrize(("refused", "step"), [(1, "created"), (2, "ramped to 50 %"), (4, "restored")])
def test_a_failed_step_is_told_and_cleaned_up(launchdarkly: Vendor, shell: Shell, refused: int, step: str) -> None:
    """A step that the vendor refuses is a failure by its name, and the flag is archived all the same."""
    faults = launchdarkly.emulator.faults
    for _ in range(refused - 1):
        faults.add(f"*/{KEY}", method="PATCH", delay=0.001, times=1)
    faults.add(f"*/{KEY}", method="PATCH", status=403, times=1)
    said = shell("doctor", "--live", "--selftest", "--json")
    assert said.code == 1
    (failed, text), (cleaned, last) = told(said, "selftest")[-2:]
    assert (failed, cleaned) == ("failure", "ok"), said.out
    assert text.startswith(f"{step}:")
    assert "403" in text
    assert "nothing is left behind" in last
    assert KEY not in launchdarkly.emulator.everything(ENVIRONMENT)["flags"]


def test_somebody_elses_flag_is_left_alone(launchdarkly: Vendor, shell: Shell) -> None:
    """A flag of that name that the self-test did not make is not touched."""
    launchdarkly.put(Flag.boolean(KEY, description="ours, and in use"))
    before = launchdarkly.emulator.flag(KEY)
    said = shell("doctor", "--live", "--selftest", "--json")
    assert said.code == 1
    assert "not ours" in told(said, "selftest")[0][1]
    assert launchdarkly.emulator.flag(KEY) == before


def test_a_refused_sdk_key(launchdarkly: Vendor, shell: Shell) -> None:
    """A key that LaunchDarkly refuses is a failure; it is in no word of what is printed."""
    (shell.folder / "sdk.key").write_text("sdk-wrong-key")
    said = shell("doctor", "--live", "--json")
    assert said.code == 1
    assert [(level, "401" in text) for level, text in told(said, "agents")] == [("failure", True)]
    assert "sdk-wrong-key" not in said.out + said.err


def test_an_sdk_key_of_another_environment(launchdarkly: Vendor, shell: Shell) -> None:
    """Keys of two environments are noticed when they share no flag; a reader's token and approvals are told."""
    (shell.folder / "api.token").write_text(launchdarkly.emulator.reader_token)
    launchdarkly.emulator.require_approvals(ENVIRONMENT)
    said = shell("doctor", "--live", "--json")
    account = told(said, "account")
    assert any(level == "warning" and "demand an approval" in text for level, text in account)
    assert any(level == "warning" and "403" in text for level, text in account)
