"""One worker process: asks, answers in the version its flag says, and reports on standard output.

It is written the way an agent service is: a provider, a loop, `flagbrake.run` around each run. What is
particular to the demonstration is the reporting: one JSON object a line, with what this process counted
and the moments (``time.monotonic_ns``, one clock for all processes of a machine) at which it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any

from openfeature import api
from openfeature.evaluation_context import EvaluationContext

import flagbrake
from flagbrake.demo.agent import Agent, Brake, agent
from flagbrake.demo.corpus import gather
from flagbrake.demo.questions import ask, check
from flagbrake.demo.readers import READERS
from flagbrake.demo.settings import FLAG, REST

_BEAT_SECONDS = 0.2
_LOOK_AGAIN_SECONDS = 0.02


class Report:
    """Writes what happened, one line each; counts runs, failures and kinds of errors per version."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.halted = False
        #: What the last run was given.
        self.version = ""
        self._next_beat = 0.0

    def line(self, event: str, **facts: Any) -> None:
        """One event, now."""
        document = {"event": event, "at": time.monotonic_ns(), **facts}
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()

    def beat(self, calls: int) -> None:
        """The counts so far, at most five times a second."""
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + _BEAT_SECONDS
        self.line("beat", runs=self.runs, failures=self.failures, errors=self.errors, calls=calls, version=self.version)


class Worker:
    """The loop. One agent per version, made once."""

    def __init__(self, name: str, rest: float) -> None:
        library = gather()
        brake = Brake(step=flagbrake.halt.check, tool=flagbrake.halt.check_tool)
        self.name = name
        self.rest = rest
        self.library = library
        self.questions = ask(library)
        self.agents: dict[str, Agent] = {version: agent(version, library, brake) for version in READERS}
        #: Which of the questions people ask next; the order is the worker's own, the same every time.
        self.curiosity = random.Random(name)  # noqa: S311 - not a secret
        self.report = Report()

    @property
    def calls(self) -> int:
        """Tool calls made so far, in all versions."""
        return sum(one.calls for one in self.agents.values())

    def work(self, leaving: threading.Event) -> None:
        """Answer questions until told to leave. A halt ends the run, not the process: it asks again, and again."""
        number = 0
        while not leaving.is_set():
            number += 1
            try:
                self._one(EvaluationContext(f"{self.name}-{number}"))
            except flagbrake.Halted as stop:
                self._halted(stop)
                leaving.wait(_LOOK_AGAIN_SECONDS)
            except Exception:  # noqa: BLE001, S110 - counted below and recorded by flagbrake.run; the service goes on
                pass
            self.report.beat(self.calls)
            leaving.wait(self.rest)

    def _one(self, asker: EvaluationContext) -> None:
        question = self.curiosity.choice(self.questions)
        with flagbrake.run(FLAG, asker, default="v1") as run:
            flagbrake.halt.check()
            version: str = run.value
            self.report.version = version
            self._resumed(version)
            try:
                check(self.library, question, self.agents[version].answer(question.text))
            except Exception as error:
                self.report.failures[version] += 1
                self.report.errors[f"{version} {type(error).__name__}"] += 1
                raise
            finally:
                self.report.runs[version] += 1

    def _resumed(self, version: str) -> None:
        if self.report.halted:
            self.report.halted = False
            self.report.line("resumed", version=version, calls=self.calls)

    def _halted(self, stop: flagbrake.Halted) -> None:
        if self.report.halted:
            return
        at = time.monotonic_ns()
        self.report.halted = True
        served = api.get_client().get_string_details(FLAG, "none", EvaluationContext(self.name))
        self.report.line(
            "halted",
            stopped=at,
            calls=self.calls,
            why=str(stop),
            kill=stop.kill.id,
            served=served.variant,
            reason=str(served.reason),
        )


def main() -> None:
    """Work until standard input closes: whoever started this worker is gone, or wants it to leave."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--rest", type=float, default=REST)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the story's to handle: it closes our input
    leaving, opened = threading.Event(), threading.Event()

    def leave_at_end_of_input() -> None:
        sys.stdin.read()
        leaving.set()
        if not opened.is_set():
            os._exit(0)  # still reading pages: nothing is open, nobody needs to wait for them

    threading.Thread(target=leave_at_end_of_input, name="leaving", daemon=True).start()
    worker = Worker(given.name, given.rest)
    opened.set()
    api.set_provider_and_wait(flagbrake.provider(given.config, name=given.name))
    worker.report.line("ready", questions=len(worker.questions), pages=len(worker.library.pages))
    try:
        worker.work(leaving)
    finally:
        api.shutdown()
    worker.report.line(
        "left",
        runs=worker.report.runs,
        failures=worker.report.failures,
        errors=worker.report.errors,
        calls=worker.calls,
    )


if __name__ == "__main__":
    main()
