"""One saboteur per row: rules that are rows of a table are broken one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, TargetingKeyMissingError
from openfeature.flag_evaluation import Reason

from flagbrake.kill.guard import Guard
from flagbrake.model.flag import Bucketing, Distribution
from flagbrake.model.values import FlagKind
from flagbrake_contract import cases, context, targeting
from flagbrake_contract.control import ATTEMPTS
from flagbrake_contract.rules import exactly
from tests.contract.broken_controls import ToPercents
from tests.contract.broken_reading import declaring
from tests.contract.reference import ReferenceProvider
from tests.contract.sabotage import (
    Sabotage,
    failed,
    of_answers,
    of_control,
    of_flags,
    of_guard,
    of_provider,
    of_questions,
    served,
)


def _value(row: cases.Value) -> Sabotage:
    def twist(answer, question):
        return served(question.default) if exactly(question.raw, row.value) else answer

    return of_answers("this very value is taken for nothing", f"values.{row.name}", twist)


def _coerced(row: cases.Coerced) -> Sabotage:
    refused = isinstance(row.expected, ErrorCode)

    def twist(answer, question):
        if question.kind is row.kind and exactly(question.raw, row.value):
            return served(row.value) if refused else failed(question.default, ErrorCode.TYPE_MISMATCH)
        return answer

    defect = "this very value is let through" if refused else "this very value is refused"
    return of_answers(defect, f"coercion.{row.name}", twist)


def _held(area: str, row: Any) -> Sabotage:
    def twist(answer, question):
        return failed(question.default) if row.attribute in question.context.attributes else answer

    return of_answers("this very attribute fails", f"{area}.{row.name}", twist)


def _swapped(area: str, row: Any) -> Sabotage:
    def twist(key, context):
        unit = "somebody else" if row.attribute in context.attributes else context.targeting_key
        return key, EvaluationContext(unit, context.attributes)

    return of_questions("this very attribute changes who is asked about", f"{area}.{row.name}", twist)


def _without_rules(flag):
    return replace(flag, rules=())


def _for_everybody(flag):
    return replace(flag, rules=tuple(replace(rule, clauses=()) for rule in flag.rules))


def _key(name: str, key: str) -> Sabotage:
    return of_questions(
        "this very key is not found", f"keys.{name}", lambda k, c: (f"{k}?", c) if k.startswith(key) else (k, c)
    )


ROWS = [
    *map(_value, cases.VALUES),
    *map(_coerced, cases.COERCED),
    *(_held("attributes", row) for row in cases.HELD),
    *(_swapped("attributes", row) for row in cases.HELD),
    *(_held("reserved", row) for row in cases.RESERVED),
    *(_swapped("reserved", row) for row in cases.RESERVED),
    *(of_flags("this very rule never matches", f"targeting.{row.name}", _without_rules) for row in targeting.MATCHES),
    *(of_flags("this very rule always matches", f"targeting.{row.name}", _for_everybody) for row in targeting.MATCHES),
    *(_key(name, key) for name, key, _ in context.KEYS),
    *(
        of_control("does it though it says it cannot", f"declared.{capability.value}", declaring(capability))
        for capability in ATTEMPTS
    ),
]


def _missing_default(kind: FlagKind, rule: str, wanted: Any, wrong: Any) -> Sabotage:
    def twist(answer, question):
        hit = answer.error_code is ErrorCode.FLAG_NOT_FOUND and question.kind is kind
        return replace(answer, value=wrong) if hit and exactly(question.default, wanted) else answer

    return of_answers("another value for this very default", rule, twist)


def _of_kind(kind: FlagKind) -> list[Sabotage]:
    name = kind.value
    zero = {"boolean": False, "string": "", "integer": 0, "float": 0.0, "object": {}}[name]
    default = cases.DEFAULTS[kind]

    async def unready(self, flag_key, default_value, evaluation_context=None):
        return failed(default_value)

    def renamed(self, key, default, context=None):
        return getattr(ReferenceProvider, f"resolve_{name}_details")(self, key, default, context)

    def present(answer, question):
        return failed(None) if question.default is None and answer.error_code is None else answer

    return [
        _missing_default(kind, f"defaults.{name}", default, None),
        _missing_default(kind, f"defaults.{name}_zero", zero, None),
        _missing_default(kind, f"defaults.{name}_none_missing", None, zero),
        of_answers("None is no default", f"defaults.{name}_none_present", present),
        of_provider(
            "async fails", f"async.{name}", type("P", (ReferenceProvider,), {f"resolve_{name}_details_async": unready})
        ),
        of_provider("renamed", f"client.{name}", type("P", (ReferenceProvider,), {f"resolve_{name}_details": renamed})),
    ]


class ContextDemanding(ReferenceProvider):
    """No context is an error."""

    def _typed(self, flag_key, default, context, kind, exact):
        if context is None:
            return failed(default)
        return super()._typed(flag_key, default, context, kind, exact)


class UnitDemanding(ReferenceProvider):
    """Answers nobody without a targeting key."""

    def resolve(self, flag_key, context):
        if not context.targeting_key and context.attributes:
            raise TargetingKeyMissingError("Who?")
        return super().resolve(flag_key, context)


class Doubtful(ReferenceProvider):
    """Every change makes it STALE."""

    def heard(self, what, keys):
        super().heard(what, keys)
        super().heard("away", keys)


class ManyNames(ReferenceProvider):
    """Another name each time."""

    count = 0

    def get_metadata(self):
        self.count += 1
        return type(super().get_metadata())(f"name-{self.count}")


class Beginnings(ReferenceProvider):
    """A key stands for all that begins with it."""

    def resolve(self, flag_key, context):
        found = next((k for k in sorted(self.rules.flags) if flag_key.startswith(k)), flag_key)
        return super().resolve(found, context)


class Forgetful(ReferenceProvider):
    """Knows no value of a variant, and does not say so."""

    def value_of(self, flag_key, variant):
        return None


class OpenInOutage(Guard):
    """Guards nothing while the vendor is away."""

    def _ruled(self, kind, getter, flag_key, default, context):
        if not self.inner.vendor.up:
            return getter(flag_key, default, context)
        return super()._ruled(kind, getter, flag_key, default, context)


class OpenAlways(Guard):
    """Guards nothing."""

    def _ruled(self, kind, getter, flag_key, default, context):
        return getter(flag_key, default, context)


OTHERS = [
    *(sabotage for kind in FlagKind for sabotage in _of_kind(kind)),
    of_provider("no context is an error", "context.none", ContextDemanding),
    of_provider("nobody gets nothing", "targeting.anonymous", UnitDemanding),
    of_provider("every change is an outage", "client.status", Doubtful),
    of_provider("another name each time", "hooks.run", ManyNames),
    of_provider("a beginning is enough", "keys.prefix", Beginnings),
    of_answers(
        "a missing flag is no error",
        "hooks.error",
        lambda a, q: served(q.default) if a.error_code is ErrorCode.FLAG_NOT_FOUND else a,
    ),
    of_answers(
        "rules are DEFAULT",
        "targeting.rule_reason",
        lambda a, q: replace(a, reason=Reason.DEFAULT) if a.reason == Reason.TARGETING_MATCH else a,
    ),
    of_flags(
        "off is the off variant for everybody",
        "targeting.prerequisite_off",
        lambda f: f if f.on else replace(f, on=True, default=f.off_variant or "served"),
    ),
    of_answers(
        "floats cannot be split",
        "splits.kinds",
        lambda a, q: failed(q.default) if a.reason == Reason.SPLIT and q.kind is FlagKind.FLOAT else a,
    ),
    of_guard("open in an outage", "kills.vendor_away", Guard=OpenInOutage),
    of_flags(
        "a salt of its own",
        "common.buckets",
        lambda f: (
            replace(f, default=replace(f.default, bucketing=Bucketing(salt="another")))
            if isinstance(f.default, Distribution)
            else f
        ),
    ),
    of_flags("rules are ignored", "common.story", _without_rules),
    of_answers(
        "a mismatch is not explained",
        "errors.type_mismatch_message",
        lambda a, q: replace(a, error_message="str is not int") if a.error_code is ErrorCode.TYPE_MISMATCH else a,
    ),
    of_provider("does not know its variants", "kills.named_without_value", Forgetful),
    of_guard("guards nothing", "common.story", Guard=OpenAlways),
    of_control("finer splits are rounded", "refusals.finer_split", ToPercents),
]

ALL_ROWS = [*ROWS, *OTHERS]
