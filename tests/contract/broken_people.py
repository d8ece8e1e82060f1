"""Providers that give wrong people the right answers, or give away what they keep."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from flagbrake.model.clause import OnMissing, Semantics
from flagbrake.model.flag import Bucketing, Distribution
from flagbrake.model.values import FlagKind
from tests.contract.reference import ReferenceProvider
from tests.contract.sabotage import failed, of_answers, of_flags, of_provider, of_questions

BOOLEAN, TEXT, INTEGER, FLOAT, OBJECT = FlagKind


def changed(answer: Any, **fields: Any) -> Any:
    """The answer with other fields."""
    return replace(answer, **fields)


def _missing(answer: Any) -> bool:
    return answer.error_code is ErrorCode.FLAG_NOT_FOUND


def _fine(answer: Any) -> bool:
    return answer.error_code is None


def _targets_after_rules(flag):
    return replace(flag, targets=()) if flag.rules else flag


def _any_clause(flag):
    return replace(flag, rules=tuple(replace(r, clauses=r.clauses[:1]) for r in flag.rules))


def _missing_matches(flag):
    semantics = Semantics(on_missing=OnMissing.AS_FALSE)
    rules = (replace(r, clauses=tuple(replace(c, semantics=semantics) for c in r.clauses)) for r in flag.rules)
    return replace(flag, rules=tuple(rules))


def _bucketed(flag, **fields):
    def again(serve):
        return replace(serve, bucketing=Bucketing(**fields)) if isinstance(serve, Distribution) else serve

    return replace(flag, default=again(flag.default))


def _salted_by_share(flag):
    if not isinstance(flag.default, Distribution):
        return flag
    return _bucketed(flag, salt=str(flag.default.weights[0].share))


def _at_least_one_percent(flag):
    if not isinstance(flag.default, Distribution):
        return flag
    one, *rest = flag.default.weights
    if one.share:
        return flag
    weights = (replace(one, share=1000), replace(rest[0], share=rest[0].share - 1000), *rest[1:])
    return replace(flag, default=Distribution(weights))


class Random(ReferenceProvider):
    """Draws anew at every call."""

    def resolve(self, flag_key, context):
        flag = self.rules.flag(flag_key)
        if flag is not None and isinstance(flag.default, Distribution) and context.targeting_key:
            self.count = getattr(self, "count", 0) + 1
            context = EvaluationContext(str(self.count), context.attributes)
        return super().resolve(flag_key, context)


class PerInstance(ReferenceProvider):
    """Salts with itself, as Python salts hash()."""

    def resolve(self, flag_key, context):
        flag = self.rules.flag(flag_key)
        if flag is not None and isinstance(flag.default, Distribution) and context.targeting_key:
            context = EvaluationContext(f"{id(self)}{context.targeting_key}", context.attributes)
        return super().resolve(flag_key, context)


def _two_variants(flag):
    if isinstance(flag.default, Distribution) and len(flag.default.weights) > 2:
        one, two, three = flag.default.weights
        weights = (one, replace(two, share=two.share + three.share))
        return replace(flag, default=Distribution(weights))
    return flag


TARGETING = [
    of_flags("targets are ignored", "targeting.target", lambda f: replace(f, targets=())),
    of_questions(
        "units without case",
        "targeting.target",
        lambda k, c: (k, EvaluationContext((c.targeting_key or "").lower(), c.attributes)),
    ),
    of_flags("rules before targets", "targeting.target_before_rule", _targets_after_rules),
    of_flags("the last rule wins", "targeting.first_rule", lambda f: replace(f, rules=f.rules[::-1])),
    of_flags("any clause is enough", "targeting.rule_and", _any_clause),
    of_flags("a missing attribute is false, so not false matches", "targeting.negated_missing", _missing_matches),
    of_flags("rules are ignored", "targeting.rule", lambda f: replace(f, rules=())),
    of_questions(
        "texts without case",
        "targeting.case_sensitive",
        lambda k, c: (
            k,
            EvaluationContext(
                c.targeting_key, {n: v.lower() if isinstance(v, str) else v for n, v in c.attributes.items()}
            ),
        ),
    ),
    of_questions(
        "attributes become texts",
        "targeting.number",
        lambda k, c: (k, EvaluationContext(c.targeting_key, {n: str(v) for n, v in c.attributes.items()})),
    ),
    of_questions(
        "nested attributes are dropped",
        "targeting.nested",
        lambda k, c: (
            k,
            EvaluationContext(c.targeting_key, {n: v for n, v in c.attributes.items() if not isinstance(v, dict)}),
        ),
    ),
    of_questions(
        "lists are dropped",
        "targeting.list_attribute",
        lambda k, c: (
            k,
            EvaluationContext(c.targeting_key, {n: v for n, v in c.attributes.items() if not isinstance(v, list)}),
        ),
    ),
    of_flags("prerequisites are ignored", "targeting.prerequisite", lambda f: replace(f, prerequisites=())),
    of_answers(
        "a targeted zero value is taken for nothing",
        "targeting.zero_values",
        lambda a, q: changed(a, value=q.default) if a.reason == Reason.TARGETING_MATCH and not a.value else a,
    ),
    of_provider("a draw at every call", "splits.sticky", Random),
    of_provider("every instance draws for itself", "splits.sticky", PerInstance),
    of_flags("growing draws anew", "splits.growing", _salted_by_share),
    of_flags("all flags draw alike", "splits.independent", lambda f: _bucketed(f, salt="the same")),
    of_flags("0 % is a little", "splits.zero", _at_least_one_percent),
    of_flags("the third variant goes to the second", "splits.three", _two_variants),
    of_answers(
        "a split says TARGETING_MATCH",
        "splits.reason",
        lambda a, q: changed(a, reason=Reason.TARGETING_MATCH) if a.reason == Reason.SPLIT else a,
    ),
    of_questions(
        "nobody is somebody",
        "splits.no_key",
        lambda k, c: (k, EvaluationContext(c.targeting_key or "nobody", c.attributes)),
    ),
    of_questions(
        "the empty key is somebody",
        "splits.empty_key",
        lambda k, c: (k, EvaluationContext("nobody" if c.targeting_key == "" else c.targeting_key, c.attributes)),
    ),
    of_answers(
        "blank units fail",
        "splits.odd_units",
        lambda a, q: failed(q.default, ErrorCode.INVALID_CONTEXT) if bool(q.unit) and not q.unit.strip() else a,
    ),
    of_flags(
        "rules cannot split",
        "splits.in_rule",
        lambda f: replace(f, rules=tuple(replace(r, serve="other") for r in f.rules)),
    ),
    of_flags(
        "double the share",
        "splits.shares",
        lambda f: (
            replace(
                f,
                default=Distribution(
                    (replace(f.default.weights[0], share=60_000), replace(f.default.weights[1], share=40_000))
                ),
            )
            if isinstance(f.default, Distribution) and f.default.weights[0].share == 30_000
            else f
        ),
    ),
]


def _as_json(key, context):
    json.dumps(dict(context.attributes))
    return key, context


def _reserved(name):
    def twist(key, context):
        return key, EvaluationContext(str(context.attributes.get(name, context.targeting_key)), context.attributes)

    return twist


def _spoiling(key, context):
    context.attributes["seen"] = True
    return key, context


class Forgetless(ReferenceProvider):
    """Keeps the first context it saw."""

    def resolve(self, flag_key, context):
        if context.targeting_key:
            self.first = getattr(self, "first", context)
        return super().resolve(flag_key, getattr(self, "first", context))


CONTEXT = [
    of_questions("keys are trimmed", "keys.blanks", lambda k, c: (k.strip(), c)),
    of_questions("keys without case", "keys.case", lambda k, c: (k.lower(), c)),
    of_questions("keys in a URL, not quoted", "keys.url", lambda k, c: (k.split("?")[0], c)),
    of_questions("keys are cut", "keys.long", lambda k, c: (k[:100], c)),
    of_questions("keys are ASCII", "keys.unicode", lambda k, c: (k.encode("ascii", "replace").decode(), c)),
    of_questions("keys are paths", "keys.dotted", lambda k, c: (k.split(".")[-1], c)),
    of_questions("the context travels as JSON", "attributes.datetime_utc", _as_json),
    of_questions("the context travels as JSON: sets", "attributes.set", _as_json),
    of_questions(
        "the context is encoded",
        "attributes.surrogate",
        lambda k, c: (
            k,
            EvaluationContext(
                c.targeting_key, {n: v.encode() if isinstance(v, str) else v for n, v in c.attributes.items()}
            ),
        ),
    ),
    of_questions(
        "naive datetimes are compared",
        "attributes.datetime_naive",
        lambda k, c: (
            (k, c)
            if all(v.utcoffset() is not None for v in c.attributes.values() if hasattr(v, "utcoffset"))
            else (k + "?", c)
        ),
    ),
    of_questions("userId is the unit", "reserved.user_id", _reserved("userId")),
    of_questions("key is the unit", "reserved.key", _reserved("key")),
    of_questions("targetingKey is the unit", "reserved.targeting_key", _reserved("targetingKey")),
    of_questions(
        "kind multi has no unit",
        "reserved.kind_multi",
        lambda k, c: (k, EvaluationContext(None if c.attributes.get("kind") == "multi" else c.targeting_key)),
    ),
    of_questions(
        "properties must be a mapping",
        "reserved.properties",
        lambda k, c: (k, EvaluationContext(c.targeting_key, {**dict(c.attributes.get("properties", {}))})),
    ),
    of_questions("writes into the context", "context.not_changed", _spoiling),
    of_answers(
        "no context is an error",
        "context.no_targeting_key",
        lambda a, q: failed(q.default, ErrorCode.TARGETING_KEY_MISSING) if not q.unit else a,
    ),
    of_answers(
        "an empty context is an error",
        "context.empty",
        lambda a, q: failed(q.default) if not q.unit and not q.context.attributes else a,
    ),
    of_provider("remembers the first context", "context.not_remembered", Forgetless),
    of_answers(
        "long units are refused",
        "context.long_key",
        lambda a, q: failed(q.default, ErrorCode.FLAG_NOT_FOUND) if len(q.unit) > 250 else a,
    ),
    of_questions(
        "units are trimmed",
        "context.odd_keys",
        lambda k, c: (k, EvaluationContext((c.targeting_key or "").strip(), c.attributes)),
    ),
    of_answers(
        "many attributes are too many",
        "context.many",
        lambda a, q: failed(q.default) if len(q.context.attributes) > 100 else a,
    ),
]


class Live(ReferenceProvider):
    """Hands out what it keeps."""

    def _typed(self, flag_key, default, context, kind, exact):
        answer = super()._typed(flag_key, default, context, kind, exact)
        if kind is OBJECT and answer.error_code is None:
            answer.value = self.resolve(flag_key, context or EvaluationContext()).value
        return answer


class Shared(ReferenceProvider):
    """Answers with the same details each time."""

    def _typed(self, flag_key, default, context, kind, exact):
        kept = self.__dict__.setdefault("kept", {})
        answer = super()._typed(flag_key, default, context, kind, exact)
        return kept.setdefault((flag_key, kind), answer) if answer.error_code is None else answer


class SharedMetadata(ReferenceProvider):
    """One dictionary for everybody."""

    def _typed(self, flag_key, default, context, kind, exact):
        answer = super()._typed(flag_key, default, context, kind, exact)
        answer.flag_metadata = self.__dict__.setdefault("metadata", {})
        return answer


def _spoiled_default(answer, question):
    if isinstance(question.default, dict) and "list" in question.default:
        question.default["list"].append("spoilt")
    return answer


ALIASING = [
    of_provider("hands out the live object", "aliasing.object", Live),
    of_provider("hands out the live list", "aliasing.list", Live),
    of_provider("hands out the same details", "aliasing.details", Shared),
    of_provider("hands out the same metadata", "aliasing.metadata", SharedMetadata),
    of_answers("writes into the default", "aliasing.default", _spoiled_default),
]

PEOPLE = [*TARGETING, *CONTEXT, *ALIASING]
