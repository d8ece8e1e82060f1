"""Providers that make others wait, lose what is tracked, and let one bad definition take the rest with it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails

from flagbrake.model.clause import Op
from flagbrake_contract import Harness
from tests.contract.reference import SECRET, ReferenceProvider, Vendor, reference
from tests.contract.sabotage import (
    Sabotage,
    failed,
    of_answers,
    of_provider,
    of_questions,
    served,
)

#: Longer than what a rule bears.
TOO_LONG = 1.2


class BlockingConstructor(ReferenceProvider):
    """Waits for the vendor while it is made."""

    def __init__(self, vendor: Vendor, key: str = SECRET, *, hanging: bool = False) -> None:
        super().__init__(vendor, key, hanging=hanging)
        if not vendor.up:
            time.sleep(TOO_LONG)


def hanging_constructor() -> Harness:
    """Made at once when the vendor is away, but not when it never answers."""
    harness = reference()
    made = harness.hanging

    def slow() -> Any:
        time.sleep(TOO_LONG)
        return made()

    harness._hanging = slow
    return harness


class WaitsForReady(ReferenceProvider):
    """Every call asks once more whether it is ready now."""

    def _typed(self, flag_key, default, context, kind, exact):
        if not self._serving:
            time.sleep(TOO_LONG / 20)
        return super()._typed(flag_key, default, context, kind, exact)


class AsksTheVendor(ReferenceProvider):
    """Every evaluation is a request."""

    def _typed(self, flag_key, default, context, kind, exact):
        if self._hanging:
            time.sleep(TOO_LONG)
        return super()._typed(flag_key, default, context, kind, exact)


class HoldsTheLoop(ReferenceProvider):
    """The async getter makes a synchronous request."""

    async def resolve_string_details_async(self, flag_key, default_value, evaluation_context=None):
        if self._hanging:
            time.sleep(TOO_LONG)  # noqa: ASYNC251 - that is the defect
        return self.resolve_string_details(flag_key, default_value, evaluation_context)


class AllOrNothing(ReferenceProvider):
    """One damaged definition rejects all of them."""

    def start(self, context: EvaluationContext) -> None:
        if len(self.vendor.flags()) < len(self.vendor.documents):
            raise ValueError("A document is damaged.")
        super().start(context)


class Offended(ReferenceProvider):
    """After a damaged definition it follows nobody any more."""

    def take(self, keys: frozenset[str]) -> None:
        if len(self.vendor.flags()) == len(self.vendor.documents):
            super().take(keys)


class Silent(ReferenceProvider):
    """Tracking does nothing."""

    def track(self, tracking_event_name, evaluation_context=None, tracking_event_details=None):
        pass


class Unattributed(ReferenceProvider):
    """Nobody knows who did it."""

    def track(self, tracking_event_name, evaluation_context=None, tracking_event_details=None):
        super().track(tracking_event_name, None, tracking_event_details)


class Valueless(ReferenceProvider):
    """The value is lost."""

    def track(self, tracking_event_name, evaluation_context=None, tracking_event_details=None):
        details = TrackingEventDetails(None, dict(tracking_event_details.attributes) if tracking_event_details else {})
        super().track(tracking_event_name, evaluation_context, details)


class WithoutAttributes(ReferenceProvider):
    """The attributes are lost."""

    def track(self, tracking_event_name, evaluation_context=None, tracking_event_details=None):
        value = tracking_event_details.value if tracking_event_details else None
        super().track(tracking_event_name, evaluation_context, TrackingEventDetails(value))


class Twice(ReferenceProvider):
    """Every event counts double."""

    def track(self, tracking_event_name, evaluation_context=None, tracking_event_details=None):
        for _ in range(2):
            super().track(tracking_event_name, evaluation_context, tracking_event_details)


def _attributes(change: Any) -> Any:
    def twist(key: str, context: EvaluationContext) -> tuple[str, EvaluationContext]:
        changed = {name: change(value) for name, value in context.attributes.items()}
        return key, EvaluationContext(context.targeting_key, changed)

    return twist


def _on_moments(answer: Any, question: Any) -> Any:
    moments = [v for v in question.context.attributes.values() if isinstance(v, datetime)]
    flag = question.flag
    textual = flag is not None and any(c.op is Op.EQUAL for r in flag.rules for c in r.clauses)
    return failed(question.default) if moments and textual else answer


BOUNDS = [
    of_provider("the constructor waits for the vendor", "outage.constructor", BlockingConstructor),
    Sabotage("the constructor waits for an answer", "outage.constructor", hanging_constructor),
    of_provider("each call waits to be ready", "outage.unready_fast", WaitsForReady),
    of_provider("asks the vendor", "outage.hanging_answer", AsksTheVendor),
    of_provider("holds the event loop", "outage.hanging_loop", HoldsTheLoop),
    of_provider("one damaged definition stops the start", "errors.bad_definition", AllOrNothing),
    of_provider("one damaged definition stops the following", "errors.bad_definition", Offended),
    of_provider("tracking does nothing", "tracking.arrives", Silent, patience=0.3),
    of_provider("tracking forgets who", "tracking.arrives", Unattributed),
    of_provider("tracking forgets the value", "tracking.arrives", Valueless),
    of_provider("tracking forgets the attributes", "tracking.arrives", WithoutAttributes),
    of_provider("tracks twice", "tracking.arrives", Twice),
    of_questions(
        "naive datetimes are lost",
        "targeting.after_naive",
        _attributes(lambda v: None if isinstance(v, datetime) and v.tzinfo is None else v),
    ),
    of_questions(
        "a datetime is its number of seconds",
        "targeting.datetime_no_number",
        _attributes(lambda v: v.timestamp() if isinstance(v, datetime) else v),
    ),
    of_questions(
        "a structure is its text",
        "targeting.structure_no_text",
        _attributes(lambda v: str(v) if isinstance(v, dict) else v),
    ),
    of_answers("a datetime and a text are an error", "targeting.datetime_text", _on_moments),
    of_answers(
        "a boolean without an off variant is False",
        "off.without_variant_boolean",
        lambda a, q: (
            replace(served(False), reason=a.reason)
            if q.flag is not None and not q.flag.on and q.flag.off_variant is None and q.default is True
            else a
        ),
    ),
]
