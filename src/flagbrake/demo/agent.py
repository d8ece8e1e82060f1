"""A small agent: plan a step, call a tool, look at what came back, answer. Every step asks the brake first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from flagbrake.demo.corpus import Library
from flagbrake.demo.readers import READERS, Reader

_TRIES: Final = 3
_STEPS: Final = 8


class GaveUp(Exception):
    """The agent found no answer."""


@dataclass(frozen=True, slots=True)
class Brake:
    """What the agent asks before a step and before a tool: ``halt.check`` and ``halt.check_tool``."""

    step: Callable[[], object]
    tool: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Call:
    """Use this tool next."""

    tool: str
    argument: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Done."""

    text: str


@dataclass(slots=True)
class Agent:
    """One version of the agent. ``calls`` counts tool calls that were really made."""

    library: Library
    reader: Reader
    brake: Brake
    calls: int = 0
    _plans: tuple[tuple[re.Pattern[str], Callable[..., Call | Answer]], ...] = field(init=False)

    def __post_init__(self) -> None:
        self._plans = (
            (re.compile(r'Which routine of ([\w.]+) does this: "(.*)"\?', re.DOTALL), self._which),
            (re.compile(r"Which parameters does ([\w.]+) take\?"), self._takes),
            (re.compile(r"What is the default of (\w+) in ([\w.]+)\?"), self._default),
            (re.compile(r"What does ([\w.]+) do\?"), self._does),
        )

    def answer(self, question: str) -> str:
        """Answer one question.

        Raises:
            GaveUp: no plan, no page, or no answer within the steps.
            Exception: what a tool raised three times.
        """
        seen: dict[str, str] = {}
        for _ in range(_STEPS):
            self.brake.step()
            step = self._plan(question, seen)
            if isinstance(step, Answer):
                return step.text
            seen[step.argument if step.tool == "read" else step.tool] = self._use(step)
        raise GaveUp(f"No answer in {_STEPS} steps.")

    def _plan(self, question: str, seen: Mapping[str, str]) -> Call | Answer:
        """What a language model would decide: a tool to call, or the answer. Here a few patterns decide it."""
        for pattern, plan in self._plans:
            if found := pattern.fullmatch(question):
                return plan(seen, *found.groups())
        raise GaveUp("No plan for this question.")

    def _use(self, call: Call) -> str:
        """Call a tool, again if it fails: a brake that ``except Exception`` could swallow would not hold here."""
        for attempt in range(_TRIES):
            try:
                self.brake.tool(call.tool)
                self.calls += 1
                return self._tool(call)
            except Exception:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError

    def _tool(self, call: Call) -> str:
        match call.tool:
            case "search":
                module, _, words = call.argument.partition(" ")
                return "\n".join(self.library.search(words, within=module + "."))
            case "read":
                return self.library.read(call.argument)
            case "parameters":
                return "\n".join(
                    p.name if p.default is None else f"{p.name}={p.default}"
                    for p in self.reader.parameters(call.argument)
                )
            case "summary":
                return self.reader.summary(call.argument)
            case _:
                raise GaveUp(f"No tool '{call.tool}'.")

    # Each plan takes what the tools have said so far (a page by its name, the rest by tool) and returns one step.

    def _which(self, seen: Mapping[str, str], module: str, words: str) -> Call | Answer:
        if "search" not in seen:
            return Call("search", f"{module} {words}")
        for name in seen["search"].splitlines():
            if name not in seen:
                return Call("read", name)
            if words in " ".join(seen[name].split()):
                return Answer(name)
        raise GaveUp("None of the pages found says that.")

    def _does(self, seen: Mapping[str, str], name: str) -> Call | Answer:
        if name not in seen:
            return Call("read", name)
        return Answer(seen["summary"]) if "summary" in seen else Call("summary", seen[name])

    def _takes(self, seen: Mapping[str, str], name: str) -> Call | Answer:
        if "parameters" not in seen:
            return self._signature(seen, name)
        names = [line.partition("=")[0] for line in seen["parameters"].splitlines()]
        return Answer(", ".join(names) or "nothing")

    def _default(self, seen: Mapping[str, str], parameter: str, name: str) -> Call | Answer:
        if "parameters" not in seen:
            return self._signature(seen, name)
        defaults = dict(line.split("=", 1) for line in seen["parameters"].splitlines() if "=" in line)
        return Answer(defaults[parameter])

    def _signature(self, seen: Mapping[str, str], name: str) -> Call:
        return Call("parameters", seen[name]) if name in seen else Call("read", name)


def agent(version: str, library: Library, brake: Brake) -> Agent:
    """The agent in one version: ``v1``, ``v2`` or ``v3``."""
    return Agent(library, READERS[version], brake)
