"""One command stops agents that were written the way people write them."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.command import Shell
from tests.support.waiting import wait_until

#: A loop as found in the wild: every tool is wrapped in ``except Exception: retry``.
STUBBORN = """
import json, sys, time
from openfeature import api
import flagbrake

api.set_provider_and_wait(flagbrake.provider(name="stubborn"))
calls = {"model": 0, "tool": 0}
print("ready", flush=True)

def model():
    flagbrake.halt.check()
    calls["model"] += 1
    return "use the tool"

def tool():
    flagbrake.halt.check()
    calls["tool"] += 1
    time.sleep(0.005)
    if calls["tool"] % 3 == 0:
        raise ConnectionError("flaky backend")

try:
    with flagbrake.run("agents.refunds", "user-1"):
        try:
            while True:
                try:
                    model()
                    tool()
                except Exception:
                    continue
        except flagbrake.Halted as stop:
            at_stop = dict(calls)
            try:
                model()
            except BaseException as again:
                said = {"stop": str(stop), "at_stop": at_stop, "after": calls, "again": type(again).__name__}
                print(json.dumps(said), flush=True)
            raise
except flagbrake.Halted:
    pass
api.shutdown()
"""


@pytest.fixture
def agent(shell: Shell):
    """One stubborn agent, at work."""
    process = shell.start(STUBBORN)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready", process.stderr and process.stderr.read()
    yield process
    process.kill()
    process.wait()


def test_a_stubborn_loop_makes_no_further_call(shell: Shell, agent: subprocess.Popen[str]) -> None:
    """After a kill a loop that retries on every exception makes no further model or tool call."""
    receipt = shell.ok("kill", "agent:refunds", "--reason", "paid twice", "--json").data["receipt"]
    assert [ack["process"].split()[0] for ack in receipt["hearing"]["applied"]] == ["stubborn"]
    out, _ = agent.communicate(timeout=30)
    said = json.loads(out.splitlines()[-1])
    assert "paid twice" in said["stop"]
    assert said["again"] == "Halted"
    assert said["after"] == said["at_stop"]


def test_stop_prove_restore_in_five_commands(shell: Shell, agent: subprocess.Popen[str]) -> None:
    """Stop, prove that it stopped, restore: five commands at most, and what was there is there again."""
    shell.ok("flag", "set", "agents.refunds", "v2=10")
    before = shell.ok("flag", "show", "agents.refunds", "--json").data["flag"]
    shell.ok("kill", "agent:refunds", "--reason", "paid twice")  # 1
    assert shell.ok("kills", "--json").data["kills"][0]["kill"]["reason"] == "paid twice"  # 2
    agent.wait(timeout=30)
    shell.ok("restore", "agent:refunds", "--reason", "fixed")  # 3
    assert shell.ok("kills", "--json").data["kills"] == []  # 4
    actions = [entry["action"] for entry in shell.ok("history", "agent:refunds", "--json").data["entries"]]  # 5
    assert "kill" in actions
    assert "lift" in actions
    assert shell.ok("flag", "show", "agents.refunds", "--json").data["flag"] == before


def test_the_wrong_environment_is_no_success(shell: Shell, agent: subprocess.Popen[str]) -> None:
    """A kill in staging neither stops production nor prints success."""
    said = shell("-e", "staging", "kill", "*", "--reason", "x")
    assert said.code == 3
    assert "staging" in said.err
    assert "is killed" not in said.out
    assert agent.poll() is None
    assert shell.ok("kills", "--json").data["kills"] == []


def test_an_edit_while_killed_is_not_lost(shell: Shell) -> None:
    """A flag edited while killed: restore shows the difference and keeps or overwrites it, as told."""
    shell.ok("kill", "agents.refunds", "--reason", "x", "--arm")
    shell.ok("flag", "set", "agents.refunds", "v2")
    said = shell("restore", "agents.refunds", "--reason", "y")
    assert said.code == 5
    assert "--lift-only" in said.err
    assert "--overwrite" in said.err
    shell.ok("restore", "agents.refunds", "--reason", "y", "--overwrite")
    assert shell.ok("flag", "show", "agents.refunds", "--json").data["flag"]["default"] == "v1"


def test_a_process_that_hangs_is_named(shell: Shell, agent: subprocess.Popen[str]) -> None:
    """A process that does not confirm is named, and the kill is not called a success."""
    import os
    import signal

    os.kill(agent.pid, signal.SIGSTOP)
    try:
        said = shell("kill", "agent:refunds", "--reason", "x", "--wait", "0.5")
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    assert said.code == 3
    assert "stubborn" in said.err
    wait_until(lambda: agent.poll() is not None, timeout=20, why="the agent goes on, sees the kill and ends")
