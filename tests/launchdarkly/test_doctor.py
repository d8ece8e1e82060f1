"""``flagbrake doctor --live`` on LaunchDarkly: keys, environment, permissions, and the self-test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flagbrake.model.flag import Flag
from flagbrake.wiring import ControlPlane, control_plane
from flagbrake.wiring.health import Finding
from flagbrake.wiring.live import examine_live
from tests.launchdarkly.test_main_job import settings
from tests.launchdarkly.vendor import ENVIRONMENT, Vendor
from tests.support.command import Shell

KEY = "flagbrake-selftest"


@pytest.fixture
def config(launchdarkly: Vendor, tmp_path: Path) -> Path:
    """Settings, and an account with one flag."""
    launchdarkly.put(Flag.boolean("search"))
    return settings(launchdarkly, tmp_path)


@pytest.fixture
def plane(config: Path) -> Iterator[ControlPlane]:
    """An opened control plane."""
    with control_plane(config, create=True) as made:
        yield made


def told(findings: list[Finding], subject: str) -> list[tuple[str, str]]:
    """Level and text of the findings about one subject."""
    return [(found.level, found.text) for found in findings if found.subject == subject]


def test_all_is_well(plane: ControlPlane) -> None:
    """Both keys work, they are of one environment, the token may write; nothing was written to find out."""
    found = list(examine_live(plane))
    assert [level for subject in ("agents", "token", "environment") for level, _ in told(found, subject)] == ["ok"] * 3
    assert any("may turn flags off" in text for _, text in told(found, "account"))
    assert told(found, "selftest") == [
        ("ok", "not asked for: nothing was written (--selftest tries a flag of its own)")
    ]


def test_the_selftest_walks_all_steps_twice(launchdarkly: Vendor, plane: ControlPlane) -> None:
    """Create, ramp, turn off, restore, archive: each seen at the SDK; a second run takes up the archived flag."""
    for _ in range(2):
        found = told(list(examine_live(plane, selftest=True)), "selftest")
        steps = [text.partition(" in ")[0] for _, text in found]
        assert steps == ["created", "ramped to 50 %", "turned off", "restored", "archived"], found
        assert launchdarkly.emulator.flag(KEY)["archived"]
    assert list(launchdarkly.emulator.everything(ENVIRONMENT)["flags"]) == ["search"]


def test_the_command_line(launchdarkly: Vendor, config: Path) -> None:
    """The command prints each step as a line, and 0 is well; a key that is refused is 1, and is in no word of it."""
    shell = Shell(config.parent)
    shell.ok("init")
    said = shell.ok("doctor", "--live", "--selftest")
    assert "ok    restored in" in said.out
    (config.parent / "sdk.key").write_text("sdk-wrong-key")
    refused = shell("doctor", "--live", "--json")
    assert refused.code == 1
    agents = [f for f in refused.data["findings"] if f["subject"] == "agents"]
    assert [(f["level"], "401" in f["text"]) for f in agents] == [("failure", True)]
    assert "sdk-wrong-key" not in refused.out + refused.err


@pytest.mark.parametrize(("refused", "step"), [(1, "created"), (2, "ramped to 50 %"), (4, "restored")])
def test_a_failed_step_is_told_and_cleaned_up(
    launchdarkly: Vendor, plane: ControlPlane, refused: int, step: str
) -> None:
    """A step that the vendor refuses is a failure by its name, and the flag is archived all the same."""
    faults = launchdarkly.emulator.faults
    for _ in range(refused - 1):
        faults.add(f"*/{KEY}", method="PATCH", delay=0.001, times=1)
    faults.add(f"*/{KEY}", method="PATCH", status=403, times=1)
    found = told(list(examine_live(plane, selftest=True)), "selftest")
    (failed, text), (cleaned, last) = found[-2:]
    assert (failed, cleaned) == ("failure", "ok"), found
    assert text.startswith(f"{step}:")
    assert "403" in text
    assert "nothing is left behind" in last
    assert KEY not in launchdarkly.emulator.everything(ENVIRONMENT)["flags"]


def test_somebody_elses_flag_is_left_alone(launchdarkly: Vendor, plane: ControlPlane) -> None:
    """A flag of that name that the self-test did not make is not touched."""
    launchdarkly.put(Flag.boolean(KEY, description="ours, and in use"))
    before = launchdarkly.emulator.flag(KEY)
    ((level, text), _) = told(list(examine_live(plane, selftest=True)), "selftest")
    assert level == "failure"
    assert "not ours" in text
    assert launchdarkly.emulator.flag(KEY) == before


def test_no_selftest_without_an_sdk(config: Path) -> None:
    """With a refused SDK key nothing could be watched, so nothing is written."""
    (config.parent / "sdk.key").write_text("sdk-wrong")
    with control_plane(config, create=True) as plane:
        found = list(examine_live(plane, selftest=True))
    assert told(found, "agents")[0][0] == "failure"
    assert told(found, "selftest") == [("failure", "not run: without flags at the SDK nothing could be watched.")]


def test_a_token_that_may_only_read_and_approvals(launchdarkly: Vendor, config: Path) -> None:
    """A reader's token, and an environment that demands approvals, are warnings before they are needed."""
    (config.parent / "api.token").write_text(launchdarkly.emulator.reader_token)
    launchdarkly.emulator.require_approvals(ENVIRONMENT)
    with control_plane(config, create=True) as plane:
        account = told(list(examine_live(plane)), "account")
    assert any(level == "warning" and "demand an approval" in text for level, text in account)
    assert any(level == "warning" and "403" in text for level, text in account)
