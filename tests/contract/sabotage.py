"""How to break the reference: one defect at a time, with the rule that must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from flagbrake.model.flag import Flag
from flagbrake.model.values import FlagKind
from flagbrake_contract import Harness, guarding, level0
from tests.contract.reference import ReferenceProvider, Vendor, reference

Answer = FlagResolutionDetails[Any]


@dataclass(frozen=True)
class Sabotage:
    """A defect, the rule named for it, and the harness that has it."""

    defect: str
    rule: str
    harness: Callable[[], Harness]
    #: Names in flagbrake_contract.guarding and level0 to put something broken behind.
    instead: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def done(self) -> Iterator[Harness]:
        """The harness, with the defect in place."""
        with ExitStack() as undo:
            for module in (guarding, level0):
                known = {name: broken for name, broken in self.instead.items() if hasattr(module, name)}
                undo.enter_context(patch.dict(vars(module), known))
            yield undo.enter_context(self.harness())

    def __str__(self) -> str:
        return f"{self.rule}: {self.defect}"


@dataclass(frozen=True)
class Question:
    """What was asked, and what the flag really serves."""

    key: str
    default: Any
    context: EvaluationContext
    kind: FlagKind
    rules: Any

    @property
    def raw(self) -> Any:
        """The value before any coercion, ``None`` for a missing flag."""
        try:
            return self.rules.evaluate(self.key, self.context).value
        except OpenFeatureError:
            return None

    @property
    def flag(self) -> Flag | None:
        """The definition."""
        found: Flag | None = self.rules.flag(self.key)
        return found

    @property
    def unit(self) -> str:
        """Who asks."""
        return self.context.targeting_key or ""


def served(value: Any, **rest: Any) -> Answer:
    """A good answer."""
    rest.setdefault("reason", Reason.STATIC)
    return FlagResolutionDetails(value, **rest)


def failed(default: Any, code: ErrorCode = ErrorCode.GENERAL) -> Answer:
    """An error answer."""
    return FlagResolutionDetails(default, code, "sabotage", Reason.ERROR)


Twist = Callable[[Answer, Question], Answer]


def twisting(twist: Twist) -> type[ReferenceProvider]:
    """The reference with its answers twisted."""

    class Twisted(ReferenceProvider):
        def _typed(self, flag_key, default, context, kind, exact):
            answer = super()._typed(flag_key, default, context, kind, exact)
            if answer.error_code is ErrorCode.PROVIDER_NOT_READY:
                return answer
            return twist(answer, Question(flag_key, default, context or EvaluationContext(), kind, self.rules))

    return Twisted


def of_answers(defect: str, rule: str, twist: Twist) -> Sabotage:
    """A defect in what is answered."""
    return Sabotage(defect, rule, lambda: reference(twisting(twist)))


def of_questions(
    defect: str, rule: str, twist: Callable[[str, EvaluationContext], tuple[str, EvaluationContext]]
) -> Sabotage:
    """A defect in how the question is passed on."""

    class Misheard(ReferenceProvider):
        def resolve(self, flag_key, context):
            return super().resolve(*twist(flag_key, context))

    return Sabotage(defect, rule, lambda: reference(Misheard))


def of_flags(defect: str, rule: str, twist: Callable[[Flag], Flag]) -> Sabotage:
    """A defect in how a definition is understood."""

    class Misread(ReferenceProvider):
        def start(self, context):
            super().start(context)
            for key in self.rules.flags:
                self.take(frozenset({key}))

        def take(self, keys):
            flags = {key: self.vendor.flag(key) for key in keys}
            self.rules = self.rules.changed({key: twist(flag) if flag else None for key, flag in flags.items()})

    return Sabotage(defect, rule, lambda: reference(Misread))


def of_provider(defect: str, rule: str, provider: Callable[[Vendor], Any], **rest: Any) -> Sabotage:
    """A defect of a whole provider."""
    return Sabotage(defect, rule, lambda: reference(provider, **rest))


def of_control(defect: str, rule: str, control: Callable[[Vendor], Any], **rest: Any) -> Sabotage:
    """A defect of a control."""
    return Sabotage(defect, rule, lambda: reference(control=control, **rest))


def of_guard(defect: str, rule: str, **instead: Any) -> Sabotage:
    """A defect in the guard or the board."""
    return Sabotage(defect, rule, reference, instead)
