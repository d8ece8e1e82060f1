"""What people ask, and the check of an answer: against the live objects, never against the agent's own reading."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flagbrake.demo.corpus import Library


class Topic(StrEnum):
    """What a question is about."""

    DOES = "does"
    TAKES = "takes"
    DEFAULT = "default"
    WHICH = "which"


@dataclass(frozen=True, slots=True)
class Question:
    """``text`` is all that the agent sees; the rest is for the check."""

    text: str
    topic: Topic
    name: str
    parameter: str = ""


class WrongAnswer(Exception):
    """The answer is not what the live object says."""


def ask(library: Library) -> list[Question]:
    """Every question that can be checked, in a fixed order."""
    openings = {name: _opening(routine) for name, routine in library.objects.items()}
    alike = Counter((_module(name), opening) for name, opening in openings.items())
    questions = []
    for name, opening in openings.items():
        if opening:
            questions.append(Question(f"What does {name} do?", Topic.DOES, name))
        if opening and alike[_module(name), opening] == 1:
            text = f'Which routine of {_module(name)} does this: "{opening}"?'
            questions.append(Question(text, Topic.WHICH, name))
        questions.extend(_about_parameters(name, library.objects[name]))
    return questions


def check(library: Library, question: Question, answer: str) -> None:
    """Compare an answer with what Python itself says about the object.

    Raises:
        WrongAnswer: it differs.
    """
    routine = library.objects[question.name]
    match question.topic:
        case Topic.DOES:
            right = _is_first_sentence(answer, routine)
        case Topic.TAKES:
            right = answer.split(", ") == [*inspect.signature(routine).parameters] or (
                answer == "nothing" and not inspect.signature(routine).parameters
            )
        case Topic.DEFAULT:
            right = answer == repr(inspect.signature(routine).parameters[question.parameter].default)
        case Topic.WHICH:
            right = answer == question.name
    if not right:
        raise WrongAnswer(f"{question.text} {answer[:80]!r}")


def _about_parameters(name: str, routine: Callable[..., Any]) -> Iterator[Question]:
    try:
        parameters = inspect.signature(routine).parameters
    except ValueError:
        return
    yield Question(f"Which parameters does {name} take?", Topic.TAKES, name)
    optional = next((p for p in parameters.values() if p.default is not p.empty), None)
    if optional:
        text = f"What is the default of {optional.name} in {name}?"
        yield Question(text, Topic.DEFAULT, name, optional.name)


def _module(name: str) -> str:
    head, _, tail = name.partition(".")
    return f"{head}.{tail.partition('.')[0]}" if head == "urllib" else head


def _paragraph(routine: Callable[..., Any]) -> str:
    """The first paragraph of the docstring below the lines that repeat the routine's own name as a call."""
    lines = (inspect.getdoc(routine) or "").splitlines()
    while lines and (not lines[0].strip() or _is_call(lines[0], routine.__name__)):
        del lines[0]
    return " ".join(re.split(r"\n\s*\n", "\n".join(lines), maxsplit=1)[0].split())


def _is_call(line: str, name: str) -> bool:
    """``wrap(text, ...`` or ``S.wrap(...``: the name, perhaps dotted, and a bracket."""
    head, bracket, _ = line.strip().partition("(")
    return bool(bracket) and head.rpartition(".")[2] == name and all(part.isidentifier() for part in head.split("."))


def _opening(routine: Callable[..., Any]) -> str:
    return " ".join(_paragraph(routine).split()[:12])


def _is_first_sentence(answer: str, routine: Callable[..., Any]) -> bool:
    """The answer opens the paragraph and ends where it, or one of its sentences, ends."""
    paragraph = _paragraph(routine)
    rest = paragraph[len(answer) :]
    return bool(answer) and paragraph.startswith(answer) and (not rest or (answer.endswith(".") and rest[0] == " "))
