"""Runs the command line as a person does: another process, its own home, its own folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Said:
    """What a command printed and how it left."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What --json printed."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """A folder to work in and an environment that holds nothing of the machine's own settings."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """For other programs of the same test."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "USER": "dana",
        }

    def __call__(self, *words: str, timeout: float = 60, **variables: str) -> Said:
        """``shell("flag", "list")`` runs ``flagbrake flag list``."""
        done = subprocess.run(
            [sys.executable, "-m", "flagbrake", *words],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, **variables: str) -> Said:
        """The same, and it must succeed."""
        said = self(*words, **variables)
        assert said.code == 0, f"flagbrake {' '.join(words)} left with {said.code}:\n{said.out}\n{said.err}"
        return said

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python program in the folder; the caller stops it."""
        return subprocess.Popen(
            [sys.executable, "-u", "-c", program, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
