"""The main job, told over any vendor: whoever calls it brings settings that differ in ``use`` and a table only."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from openfeature import api
from openfeature.client import OpenFeatureClient
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

_SHORT: Final = {"steps": "50,100", "bake": "1s", "interval": "1s", "settle": "1s", "checks": [{"min_sample": 300}]}
_PROMISES: Final = 5


def settings(folder: Path, use: str, environment: str, agents: str, admin: str, *, store: bool = True) -> Path:
    """flagbrake.toml and flagbrake.admin.toml; ``agents`` and ``admin`` are what stands in the vendor's tables."""
    (folder / "home").mkdir(exist_ok=True)
    config = folder / "flagbrake.toml"
    config.write_text(
        f'use = "{use}"\nenvironment = "{environment}"\nstate_dir = "state"\n'
        + ('\n[store]\nurl = "sqlite:///flagbrake.db"\n' if store else "single_controller = true\n")
        + f"\n[engine]\ninterval = 0.5\n\n[{use}]\n{agents}"
    )
    (folder / "flagbrake.admin.toml").write_text(f"[{use}]\n{admin}")
    return config


def tell_the_story(folder: Path, config: Path) -> None:
    """A rollout that rolls itself back, one that passes, one kill for four agents, an exact restore."""
    paper = io.StringIO()
    with Crew(folder) as crew, control_plane(config, create=True) as plane:
        show = Show(console=Console(file=paper, width=120))
        assert play(Stage(show, crew, plane, config), _SHORT), paper.getvalue()
    assert paper.getvalue().count("  held    ") == _PROMISES


@contextmanager
def agent(config: Path) -> Iterator[OpenFeatureClient]:
    """A program that has the provider of these settings."""
    api.set_provider_and_wait(flagbrake.provider(config, name="here"), "main-job")
    try:
        yield api.get_client("main-job")
    finally:
        api.shutdown()


def answer(client: OpenFeatureClient, flag: str, unit: str = "ann") -> tuple[str | None, str]:
    """The variant that somebody gets, and why."""
    details = client.get_string_details(flag, "none", EvaluationContext(unit))
    return details.variant, str(details.reason)


def await_variants(client: OpenFeatureClient, flag: str, *variants: str) -> None:
    """Two hundred people get these variants and no others."""
    wanted = set(variants)
    wait_until(lambda: {answer(client, flag, f"u{n}")[0] for n in range(200)} == wanted, why=f"{wanted} of {flag}")


def flag_shown(shell: Shell, flag: str) -> Any:
    """The flag without its version, as the command line shows it."""
    return {**shell.ok("flag", "show", flag, "--json").data["flag"], "version": 0}


def operate_by_hand(shell: Shell, flag: str) -> None:
    """Create, split, kill, restore by the command line: an agent follows each, and the flag is back as it was."""
    shell.ok("init")
    words = ("--variant", "v1", "--variant", "v2", "--safe", "v1", "--scope", "agent:refunds")
    shell.ok("flag", "create", flag, *words)
    with agent(shell.folder / "flagbrake.toml") as client:
        shell.ok("flag", "set", flag, "v2=30")
        await_variants(client, flag, "v1", "v2")
        before = flag_shown(shell, flag)
        shell.ok("kill", flag, "--reason", "paid twice")
        await_variants(client, flag, "v1")
        shell.ok("restore", flag, "--reason", "mended")
        await_variants(client, flag, "v1", "v2")
        assert flag_shown(shell, flag) == before


def operate_without_a_store(shell: Shell, flag: str) -> None:
    """Level 0: a key and nothing else. A kill travels as a flag of the vendor's and stops the agent."""
    shell.ok("flag", "create", flag, "--variant", "v1", "--variant", "v2", "--safe", "v1")
    shell.ok("flag", "set", flag, "v2")
    with agent(shell.folder / "flagbrake.toml") as client:
        wait_until(lambda: answer(client, flag)[0] == "v2", why="the flag")
        shell("kill", flag, "--reason", "paid twice", "--arm")
        wait_until(lambda: answer(client, flag) == ("v1", "DISABLED"), why="the kill")
        shell.ok("restore", flag, "--reason", "mended")
        wait_until(lambda: answer(client, flag)[0] == "v2", why="the restore")
