"""The real server is there, is the real one, and goes away."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from flagbrake.errors import ConfigError, MissingExtra
from flagbrake_unleash.emulator import UnleashEmulator
from flagbrake_unleash.server import install
from tests.support.command import Shell
from tests.support.servers import temporary
from tests.unleash.servers import HOME, needed, unleash


def test_the_server_starts_answers_its_clients_and_leaves_nothing():
    """A started server knows its tokens; a stopped one leaves no process and no folder."""
    needed()
    with unleash(quick=False) as (server, database):
        token = server.backend_tokens["development"]
        request = urllib.request.Request(f"{server.url}/api/client/features", headers={"Authorization": token})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["features"] == []
        process = server._process
        assert token not in repr(server)
    assert process is not None
    assert process.poll() is not None
    assert not database.folder.exists()


def test_node_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Some systems have the one without the other: the error names what is missing."""
    (tmp_path / "node").write_text("#!/bin/sh\necho v22.1.0\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.defpath", "")
    with pytest.raises(MissingExtra, match=r"npm, which is not there.*install npm"):
        install(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_database_that_does_not_start(tmp_path: Path):
    """The error says so, and stopping what never ran is no error of its own."""
    needed()
    (tmp_path / "data").mkdir()
    emulator = UnleashEmulator(environment="development", file=tmp_path, home=HOME)
    with pytest.raises(ConfigError, match="PostgreSQL does not start"):
        emulator.start()
    emulator.stop()


def test_a_developer_starts_the_real_server_with_one_command(tmp_path: Path):
    """``flagbrake emulate unleash`` prints settings that lead to a real server; Ctrl-C leaves nothing behind."""
    needed()
    shell, folder = Shell(tmp_path), temporary()
    folder.chmod(0o755)  # PostgreSQL may run as another user
    (tmp_path / "state" / "flagbrake").mkdir(parents=True)
    (tmp_path / "state" / "flagbrake" / "unleash-server").symlink_to(HOME)
    command = [sys.executable, "-m", "flagbrake", "emulate", "unleash", "--file", str(folder), "--json"]
    tokens = set()
    for _ in range(2):
        process = subprocess.Popen(command, cwd=tmp_path, env=shell.environment, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            said = json.loads("".join([*iter(process.stdout.readline, "}\n"), "}"]))
            request = urllib.request.Request(
                f"{said['settings']['url']}/client/features", headers={"Authorization": said["settings"]["token"]}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 200
            tokens.add(said["admin_settings"]["admin_token"])
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
    assert len(tokens) == 1  # what is kept is found again, tokens too
    assert not (folder / "data" / "postmaster.pid").exists()
    shutil.rmtree(folder)
