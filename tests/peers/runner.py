"""Runs the children: each provider in processes of its own, each rule in bounded time."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Seconds that one rule may take, its harness included.
LIMIT = 90.0
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy")

CHILD = (sys.executable, "-m", "tests.peers.child")

Finding = dict[str, Any]


def environment() -> dict[str, str]:
    """Ours without proxies (a loopback address must not go through one) and without settings vendors read."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in _PROXIES and not name.startswith(("FLAGD_", "UNLEASH_", "SPLIT_", "LD_", "OFREP_"))
    }
    return {**kept, "NO_PROXY": "*", "PYTHONWARNINGS": "ignore"}


def run(name: str, rules: Iterable[str], *, limit: float = LIMIT, command: Sequence[str] = CHILD) -> dict[str, Finding]:
    """Every rule on one provider. A rule that does not end, or takes the process with it, is a finding too."""
    left = list(rules)
    found: dict[str, Finding] = {}
    while left:
        done = _process([*command, name], left, limit)
        found |= done
        remaining = [rule for rule in left if rule not in done]
        if len(remaining) == len(left):
            raise RuntimeError(f"{name}: a process that says nothing at all. Try: python -m tests.peers.child {name} 1")
        left = remaining
    return found


def _process(command: list[str], rules: list[str], limit: float) -> dict[str, Finding]:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*command, str(writing)],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("PEERS_STDERR") else subprocess.DEVNULL,
        pass_fds=(writing,),
        start_new_session=True,
    )
    os.close(writing)
    assert process.stdin is not None
    with process.stdin as rest:
        rest.write("\n".join(rules).encode())
    found: dict[str, Finding] = {}
    under_way = ""
    text = b""
    try:
        while True:
            ready, _, _ = select.select([reading], [], [], limit)
            chunk = os.read(reading, 1 << 16) if ready else b""
            if not chunk:
                if under_way:
                    came = "the process died" if ready else f"no end within {limit:g} s"
                    found[under_way] = {"outcome": "failed", "expected": "an end", "came": came, "seconds": limit}
                return found
            text += chunk
            *lines, text = text.split(b"\n")
            for line in lines:
                said = json.loads(line)
                rule, state = said.pop("rule"), said.pop("state")
                if state == "begun":
                    under_way, begun = rule, time.monotonic()
                else:
                    found[rule] = {**said, "seconds": round(time.monotonic() - begun, 2)}
                    under_way = ""
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
