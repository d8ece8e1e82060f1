"""The main job on the real Unleash server: what is told on SQL, told again with nothing changed but the settings."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.support import main_job
from tests.support.command import Shell
from tests.unleash.backdoor import ENVIRONMENT
from tests.unleash.harnesses import Vendor


def settings(vendor: Vendor, folder: Path, *, store: bool = True) -> Path:
    """Settings that lead to the server."""
    for name, secret in (("backend.token", vendor.token), ("admin.token", vendor.server.admin_token)):
        (folder / name).write_text(secret)
    agents = f'url = "{vendor.server.url}/api"\ntoken = {{ file = "backend.token" }}\nrefresh_interval = 1\n'
    admin = 'admin_token = { file = "admin.token" }\n'
    return main_job.settings(folder, "unleash", ENVIRONMENT, agents, admin, store=store)


@pytest.mark.timeout(300)
def test_the_story_of_the_demonstration(true_vendor: Vendor, tmp_path: Path) -> None:
    """A rollout that rolls itself back, one that passes, one kill for four agents, an exact restore."""
    main_job.tell_the_story(tmp_path, settings(true_vendor, tmp_path))
    with closing(true_vendor.control()) as control:
        assert control.read("agents-docs").flag.on


def test_commands_by_hand(true_vendor: Vendor, tmp_path: Path) -> None:
    """Create, split, kill, restore by the command line: Unleash shows each, and the SDK serves each."""
    settings(true_vendor, tmp_path)
    main_job.operate_by_hand(Shell(tmp_path), "agents.refunds")


def test_doctor_looks_at_the_server(true_vendor: Vendor, tmp_path: Path) -> None:
    """``doctor --live`` finds both tokens of use; its self-test ramps, kills, restores its own flag."""
    settings(true_vendor, tmp_path)
    shell = Shell(tmp_path)
    shell.ok("init")
    findings = shell.ok("doctor", "--live", "--selftest", "--json").data
    text = str(findings)
    assert "the agents' key works" in text
    assert "the admin token reads" in text
    assert "failure" not in text


def test_without_a_store(true_vendor: Vendor, tmp_path: Path) -> None:
    """Level 0: a backend token and nothing else. A kill travels as an Unleash feature and stops the agent."""
    settings(true_vendor, tmp_path, store=False)
    main_job.operate_without_a_store(Shell(tmp_path), "agents.returns")
