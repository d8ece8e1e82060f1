"""The main job on the real Unleash server: what is told on SQL, told again with nothing changed but the settings."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from rich.console import Console

import flagbrake
from flagbrake.demo.crew import Crew
from flagbrake.demo.show import Show
from flagbrake.demo.stage import Stage
from flagbrake.demo.story import play
from flagbrake.wiring import control_plane
from tests.support.command import Shell
from tests.support.waiting import wait_until
from tests.unleash.backdoor import ENVIRONMENT
from tests.unleash.harnesses import Vendor

_SHORT = {"steps": "50,100", "bake": "1s", "interval": "1s", "settle": "1s", "checks": [{"min_sample": 300}]}


def settings(vendor: Vendor, folder: Path, *, store: bool = True) -> Path:
    """flagbrake.toml and flagbrake.admin.toml that differ from those for SQL in ``use`` and the vendor's table."""
    for name, secret in (("backend.token", vendor.token), ("admin.token", vendor.server.admin_token)):
        (folder / name).write_text(secret)
    config = folder / "flagbrake.toml"
    config.write_text(
        f'use = "unleash"\nenvironment = "{ENVIRONMENT}"\nstate_dir = "state"\n'
        + ('\n[store]\nurl = "sqlite:///flagbrake.db"\n' if store else "single_controller = true\n")
        + "\n[engine]\ninterval = 0.5\n"
        + f'\n[unleash]\nurl = "{vendor.server.url}/api"\ntoken = {{ file = "backend.token" }}\nrefresh_interval = 1\n'
    )
    (folder / "flagbrake.admin.toml").write_text('[unleash]\nadmin_token = { file = "admin.token" }\n')
    return config


@pytest.mark.timeout(300)
def test_the_story_of_the_demonstration(true_vendor: Vendor, tmp_path: Path) -> None:
    """A rollout that rolls itself back, one that passes, one kill for four agents, an exact restore."""
    config = settings(true_vendor, tmp_path)
    paper = io.StringIO()
    with Crew(tmp_path) as crew, control_plane(config, create=True) as plane:
        show = Show(console=Console(file=paper, width=120))
        assert play(Stage(show, crew, plane, config), _SHORT), paper.getvalue()
    assert paper.getvalue().count("  held    ") == 5
    with closing(true_vendor.control()) as control:
        assert control.read("agents.docs").flag.on


@pytest.fixture
def shell(true_vendor: Vendor, tmp_path: Path) -> Shell:
    """A folder with settings and a store."""
    (tmp_path / "home").mkdir()
    settings(true_vendor, tmp_path)
    made = Shell(tmp_path)
    made.ok("init")
    return made


def test_commands_by_hand(true_vendor: Vendor, shell: Shell) -> None:
    """Create, split, kill, restore by the command line: Unleash shows each, and the SDK serves each."""
    shell.ok(
        *("flag", "create", "agents.refunds", "--variant", "v1", "--variant", "v2"),
        *("--safe", "v1", "--scope", "agent:refunds"),
    )
    api.set_provider_and_wait(flagbrake.provider(shell.folder / "flagbrake.toml", name="here"), "main-job")
    client = api.get_client("main-job")

    def variant(unit: str) -> str | None:
        return client.get_string_details("agents.refunds", "none", EvaluationContext(unit)).variant

    try:
        shell.ok("flag", "set", "agents.refunds", "v2=30")
        wait_until(lambda: {variant(f"u{n}") for n in range(200)} == {"v1", "v2"}, why="the split")
        before = shell.ok("flag", "show", "agents.refunds", "--json").data["flag"]
        shell.ok("kill", "agents.refunds", "--reason", "paid twice")
        wait_until(lambda: {variant(f"u{n}") for n in range(50)} == {"v1"}, why="the kill")
        shell.ok("restore", "agents.refunds", "--reason", "mended")
        wait_until(lambda: {variant(f"u{n}") for n in range(200)} == {"v1", "v2"}, why="the restore")
        after = shell.ok("flag", "show", "agents.refunds", "--json").data["flag"]
        assert {**after, "version": 0} == {**before, "version": 0}
    finally:
        api.shutdown()


def test_doctor_looks_at_the_server(shell: Shell) -> None:
    """``doctor --live`` finds both tokens of use; its self-test ramps, kills, restores its own flag."""
    findings = shell.ok("doctor", "--live", "--selftest", "--json").data
    text = str(findings)
    assert "the agents' key works" in text
    assert "the admin token reads" in text
    assert "failure" not in text


def test_without_a_store(true_vendor: Vendor, tmp_path: Path) -> None:
    """Level 0: a backend token and nothing else. A kill travels as an Unleash feature and stops the agent."""
    (tmp_path / "home").mkdir()
    config = settings(true_vendor, tmp_path, store=False)
    shell = Shell(tmp_path)
    shell.ok("flag", "create", "agents.returns", "--variant", "v1", "--variant", "v2", "--safe", "v1")
    shell.ok("flag", "set", "agents.returns", "v2")
    api.set_provider_and_wait(flagbrake.provider(config), "level-0")
    client = api.get_client("level-0")

    def answer() -> tuple[str | None, str]:
        details = client.get_string_details("agents.returns", "none", EvaluationContext("ann"))
        return details.variant, str(details.reason)

    try:
        wait_until(lambda: answer()[0] == "v2", why="the flag")
        shell("kill", "agents.returns", "--reason", "paid twice", "--arm")
        wait_until(lambda: answer() == ("v1", "DISABLED"), why="the kill")
        shell.ok("restore", "agents.returns", "--reason", "mended")
        wait_until(lambda: answer()[0] == "v2", why="the restore")
    finally:
        api.shutdown()
