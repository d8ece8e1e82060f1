"""``flagbrake emulate``: the settings it prints lead to it, and it ends cleanly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.support.command import Shell


@contextmanager
def emulated(shell: Shell, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command, running."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "flagbrake", *words],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_settings_lead_to_it(shell: Shell, ending: signal.Signals) -> None:
    """What it prints for people is two files; with them as they are, the vendor answers. Ctrl-C ends it well."""
    with emulated(shell, "emulate", "launchdarkly", "--environment", "staging") as process:
        lines = []
        while not lines or not lines[-1].startswith("api_url"):
            lines.append(process.stdout.readline())
        text = "".join(lines)
        agent, admin = text.split("flagbrake.toml, for agents:\n")[1].split("flagbrake.admin.toml")
        settings = tomllib.loads(agent)
        token = tomllib.loads(admin.partition("\n")[2])["launchdarkly"]
        assert (settings["use"], settings["environment"]) == ("launchdarkly", "staging")
        assert settings["store"] == {"url": "sqlite:///flagbrake.db"}
        headers = {"Authorization": settings["launchdarkly"]["sdk_key"]}
        assert httpx.get(f"{settings['launchdarkly']['base_uri']}/sdk/latest-all", headers=headers).status_code == 200
        headers = {"Authorization": token["api_token"]}
        assert httpx.get(f"{token['api_url']}/api/v2/flags/default", headers=headers).status_code == 200
        process.send_signal(ending)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_as_json(shell: Shell) -> None:
    """With --json it prints one document at once, and goes on."""
    with emulated(shell, "--json", "emulate", "launchdarkly", "--file", "state.json") as process:
        text = process.stdout.readline()
        while not text.endswith("\n}\n"):
            text += process.stdout.readline()
        told = json.loads(text)
        assert httpx.get(f"{told['url']}/_emulator/faults").json() == []
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
    assert (shell.folder / "state.json").exists()


def test_a_vendor_without_one(shell: Shell) -> None:
    """What has no emulator says so, and an unknown name is told apart from it."""
    said = shell("emulate", "sql")
    assert (said.code, "no emulator for 'sql'" in said.err) == (4, True)
    assert "No provider 'acme'" in shell("emulate", "acme").err


def test_a_taken_port(shell: Shell) -> None:
    """A port that is taken is an error of one line."""
    with emulated(shell, "--json", "emulate", "launchdarkly") as process:
        text = process.stdout.readline()
        while not text.endswith("\n}\n"):
            text += process.stdout.readline()
        port = json.loads(text)["url"].rpartition(":")[2]
        said = shell("emulate", "launchdarkly", "--port", port)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "--port" in said.err
