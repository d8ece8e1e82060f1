"""The processes of the demonstration: started here, heard here, and stopped here by their handles."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from flagbrake.errors import FlagbrakeError

_LOOK_SECONDS = 0.1


class DemoFailed(FlagbrakeError):
    """A process of the demonstration died, or something did not happen in time."""


@dataclass(slots=True)
class Member:
    """One process, and what it has said: the last line of each event by its name."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    heard: dict[str, dict[str, Any]] = field(default_factory=dict)

    def last(self, event: str, fact: str) -> Any:
        """A fact of the last such event, ``None`` if there was none."""
        return self.heard.get(event, {}).get(fact)


class Crew:
    """All processes. Leaving the context stops every one: first asked, then terminated, then killed."""

    def __init__(self, directory: Path, *, patience: float = 5.0) -> None:
        self.directory = directory
        self.patience = patience
        self.members: list[Member] = []
        self._news = threading.Condition()
        self._ears: list[threading.Thread] = []

    def start(self, name: str, module: str, *arguments: str) -> Member:
        """Start ``python -m module arguments``; it leaves when its standard input closes."""
        log = self.directory / f"{name}.log"
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own module, our own arguments
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
            )
        member = Member(name, process, log)
        self.members.append(member)
        assert process.stdout is not None
        ear = threading.Thread(target=self._listen, args=(member, process.stdout), name=f"ear-{name}", daemon=True)
        ear.start()
        self._ears.append(ear)
        return member

    def wait(self, happened: Callable[[], bool], *, seconds: float, why: str) -> None:
        """Wait until something has happened.

        Raises:
            DemoFailed: it did not in time, or a process died.
        """
        for _ in range(max(1, round(seconds / _LOOK_SECONDS))):
            with self._news:
                if happened() or self._news.wait_for(happened, timeout=_LOOK_SECONDS):
                    return
            self.check()
        raise DemoFailed(f"{why} did not happen within {seconds:.0f} s.", cure=f"the logs in {self.directory}")

    def check(self) -> None:
        """Notice a process that died.

        Raises:
            DemoFailed: with the last line of its log.
        """
        for member in self.members:
            code = member.process.poll()
            if code is not None:
                lines = member.log.read_text(encoding="utf-8").strip().splitlines()
                last = lines[-1] if lines else "it said nothing"
                raise DemoFailed(f"{member.name} ended with code {code}: {last}.", cure=f"read {member.log}")

    def close(self) -> None:
        """Stop every process; a second Ctrl-C meanwhile only makes it quicker."""
        patience = self.patience
        for member in self.members:
            if member.process.stdin is not None:
                # A process that has died already leaves a pipe that cannot be flushed.
                with contextlib.suppress(OSError):
                    member.process.stdin.close()
        for stop in ("terminate", "kill", None):
            deadline = time.monotonic() + patience
            try:
                for member in self.members:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        member.process.wait(max(0.0, deadline - time.monotonic()))
            except KeyboardInterrupt:
                patience = 0.1
            for member in self.members:
                if stop and member.process.poll() is None:
                    getattr(member.process, stop)()
        for ear in self._ears:
            ear.join(self.patience)
        self.members = []

    def _listen(self, member: Member, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                try:
                    said = json.loads(line)
                except ValueError:
                    continue  # a human-readable line (the engine's); its log has the rest
                if not isinstance(said, dict) or "event" not in said:
                    continue
                with self._news:
                    member.heard[said["event"]] = said
                    self._news.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Count:
    """Runs and failures of one version."""

    runs: int
    failures: int

    def minus(self, other: Count) -> Count:
        """What came after ``other``."""
        return Count(self.runs - other.runs, self.failures - other.failures)

    @property
    def share(self) -> float | None:
        """Failures per run, ``None`` without runs."""
        return self.failures / self.runs if self.runs else None


def counts(members: Sequence[Member]) -> dict[str, Count]:
    """Runs and failures per version, summed over the workers' last beats."""
    runs, failures = Counter[str](), Counter[str]()
    for member in members:
        runs.update(member.last("beat", "runs") or {})
        failures.update(member.last("beat", "failures") or {})
    return {version: Count(runs[version], failures[version]) for version in sorted(runs)}


def errors(members: Sequence[Member], version: str) -> Counter[str]:
    """How often each kind of error ended a run of this version."""
    found = Counter[str]()
    for member in members:
        for name, number in (member.last("beat", "errors") or {}).items():
            at, _, kind = name.partition(" ")
            if at == version:
                found[kind] += number
    return found
