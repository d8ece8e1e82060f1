"""Providers that answer wrongly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, FlagNotFoundError
from openfeature.flag_evaluation import Reason

from flagbrake.model.clause import OnMissing, Semantics
from flagbrake.model.flag import Bucketing, Distribution
from flagbrake.model.values import FlagKind
from tests.contract.reference import ReferenceProvider
from tests.contract.sabotage import failed, of_answers, of_flags, of_provider, of_questions, served

B, S, I, F, O = FlagKind


def changed(answer: Any, **fields: Any) -> Any:
    """The answer with other fields."""
    return replace(answer, **fields)


def _missing(answer: Any) -> bool:
    return answer.error_code is ErrorCode.FLAG_NOT_FOUND


def _fine(answer: Any) -> bool:
    return answer.error_code is None


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) and math.isfinite(value) else value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


VALUES = [
    of_answers(
        "false is taken for nothing", "values.boolean_false", lambda a, q: served(q.default) if q.raw is False else a
    ),
    of_answers(
        "everything is true", "values.boolean_false", lambda a, q: served(True) if q.kind is B and _fine(a) else a
    ),
    of_answers(
        "everything is false", "values.boolean_true", lambda a, q: served(False) if q.kind is B and _fine(a) else a
    ),
    of_answers(
        "the empty string is taken for nothing",
        "values.string_empty",
        lambda a, q: served(q.default) if q.raw == "" else a,
    ),
    of_answers(
        "zero is taken for nothing",
        "values.integer_zero",
        lambda a, q: served(q.default) if q.raw == 0 and q.kind is I else a,
    ),
    of_answers(
        "0.0 is taken for nothing",
        "values.float_zero",
        lambda a, q: served(q.default) if q.raw == 0 and q.kind is F else a,
    ),
    of_answers(
        "the empty object is taken for nothing",
        "values.object_empty",
        lambda a, q: served(q.default) if q.raw == {} else a,
    ),
    of_answers(
        "the empty list is taken for nothing", "values.list_empty", lambda a, q: served(q.default) if q.raw == [] else a
    ),
    of_answers(
        "integers travel as floats",
        "values.integer_large",
        lambda a, q: changed(a, value=int(float(a.value))) if q.kind is I and _fine(a) else a,
    ),
    of_answers(
        "negative numbers lose their sign",
        "values.integer_negative",
        lambda a, q: changed(a, value=abs(a.value)) if q.kind is I and _fine(a) else a,
    ),
    of_answers(
        "floats are rounded",
        "values.float_exact",
        lambda a, q: changed(a, value=_rounded(a.value)) if q.kind is F and _fine(a) else a,
    ),
    of_answers(
        "tiny floats become zero",
        "values.float_tiny",
        lambda a, q: changed(a, value=0.0) if q.kind is F and a.value == 5e-324 else a,
    ),
    of_answers(
        "texts are trimmed",
        "values.string_blanks",
        lambda a, q: changed(a, value=str(a.value).strip()) if q.kind is S and _fine(a) else a,
    ),
    of_answers(
        "texts are ASCII",
        "values.string_unicode",
        lambda a, q: changed(a, value=str(a.value).encode("ascii", "ignore").decode()) if q.kind is S else a,
    ),
    of_answers(
        "texts are cut at 1,000 characters",
        "values.string_long",
        lambda a, q: changed(a, value=str(a.value)[:1000]) if q.kind is S else a,
    ),
    of_answers(
        "texts that look like JSON are parsed",
        "values.string_json",
        lambda a, q: failed(q.default) if q.kind is S and str(a.value).startswith("{") else a,
    ),
    of_answers(
        "nulls are dropped",
        "values.object_nested",
        lambda a, q: changed(a, value=_without_nulls(a.value)) if q.kind is O and _fine(a) else a,
    ),
    of_answers(
        "types inside an object become texts",
        "values.object_types",
        lambda a, q: (
            changed(a, value={k: str(v) for k, v in dict(a.value).items()})
            if q.kind is O and isinstance(a.value, dict) and "i" in a.value
            else a
        ),
    ),
    of_answers(
        "lists are tuples",
        "values.list_plain",
        lambda a, q: changed(a, value=tuple(a.value)) if isinstance(a.value, list) else a,
    ),
    of_answers(
        "objects are read-only mappings",
        "values.object_plain",
        lambda a, q: changed(a, value=MappingProxyType(a.value)) if isinstance(a.value, dict) else a,
    ),
]

COERCION = [
    of_answers(
        "bool(value) of anything",
        "coercion.string_as_boolean",
        lambda a, q: served(bool(q.raw)) if q.kind is B and q.raw is not None else a,
    ),
    of_answers(
        'bool("false")',
        "coercion.string_true_as_boolean",
        lambda a, q: served(True) if q.kind is B and q.raw == "false" else a,
    ),
    of_answers(
        "1 is True",
        "coercion.integer_as_boolean",
        lambda a, q: served(bool(q.raw)) if q.kind is B and type(q.raw) is int else a,
    ),
    of_answers(
        "fractions are cut off",
        "coercion.fraction_as_integer",
        lambda a, q: served(int(q.raw or 0)) if q.kind is I and type(q.raw) is float else a,
    ),
    of_answers(
        "fractions are rounded", "coercion.fraction_above_one_as_integer", lambda a, q: served(6) if q.raw == 5.7 else a
    ),
    of_answers(
        "10.0 is no integer",
        "coercion.whole_float_as_integer",
        lambda a, q: failed(q.default, ErrorCode.TYPE_MISMATCH) if q.kind is I and type(q.raw) is float else a,
    ),
    of_answers(
        "integers are not widened",
        "coercion.integer_as_float",
        lambda a, q: served(q.raw) if q.kind is F and type(q.raw) is int else a,
    ),
    of_answers(
        "an integer is widened with loss",
        "coercion.large_integer_as_float",
        lambda a, q: served(float(q.raw)) if q.kind is F and type(q.raw) is int else a,
    ),
    of_answers(
        "True is 1",
        "coercion.boolean_as_integer",
        lambda a, q: served(int(bool(q.raw))) if q.kind is I and type(q.raw) is bool else a,
    ),
    of_answers(
        "True is 1.0",
        "coercion.boolean_as_float",
        lambda a, q: served(float(bool(q.raw))) if q.kind is F and type(q.raw) is bool else a,
    ),
    of_answers(
        "str() of anything",
        "coercion.integer_as_string",
        lambda a, q: served(str(q.raw)) if q.kind is S and q.raw is not None else a,
    ),
    of_answers(
        "on and off for booleans",
        "coercion.boolean_as_string",
        lambda a, q: served("on" if q.raw else "off") if q.kind is S and type(q.raw) is bool else a,
    ),
    of_answers(
        "objects as JSON text",
        "coercion.object_as_string",
        lambda a, q: served(json.dumps(q.raw)) if q.kind is S and isinstance(q.raw, dict) else a,
    ),
    of_answers(
        "texts are parsed as numbers",
        "coercion.string_as_integer",
        lambda a, q: served(10) if q.kind is I and q.raw == "10" else a,
    ),
    of_answers(
        "texts are parsed as floats",
        "coercion.string_as_float",
        lambda a, q: served(5.5) if q.kind is F and q.raw == "5.5" else a,
    ),
    of_answers(
        "texts are parsed as objects",
        "coercion.string_as_object",
        lambda a, q: served({"a": 1}) if q.kind is O and q.raw == '{"a": 1}' else a,
    ),
]

ERRORS = [
    of_answers(
        "zero values instead of the default",
        "defaults.boolean",
        lambda a, q: changed(a, value={B: False, S: "", I: 0, F: 0.0, O: {}}[q.kind]) if _missing(a) else a,
    ),
    of_answers(
        "an object default is turned into a list",
        "defaults.object",
        lambda a, q: changed(a, value=[]) if _missing(a) and q.kind is O else a,
    ),
    of_answers(
        "None as default is a mismatch",
        "defaults.integer_none_present",
        lambda a, q: failed(None, ErrorCode.TYPE_MISMATCH) if q.default is None else a,
    ),
    of_answers(
        "None as default of a missing flag is a mismatch",
        "defaults.string_none_missing",
        lambda a, q: failed(None, ErrorCode.TYPE_MISMATCH) if q.default is None and _missing(a) else a,
    ),
    of_answers(
        "the default decides the type",
        "defaults.other_type",
        lambda a, q: failed(q.default, ErrorCode.PARSE_ERROR) if q.kind is F and type(q.default) is int else a,
    ),
    of_answers(
        "a list default is not taken",
        "defaults.list",
        lambda a, q: failed(q.default) if isinstance(q.default, list) and _fine(a) else a,
    ),
    of_answers(
        "a missing flag is no error",
        "errors.not_found",
        lambda a, q: served(q.default, reason=Reason.DEFAULT) if _missing(a) else a,
    ),
    of_answers(
        "a missing flag has reason DEFAULT",
        "errors.not_found",
        lambda a, q: changed(a, reason=Reason.DEFAULT) if _missing(a) else a,
    ),
    of_answers(
        "a missing flag is not named",
        "errors.not_found_message",
        lambda a, q: changed(a, error_message=None) if _missing(a) else a,
    ),
    of_answers(
        "a missing flag serves control",
        "errors.not_found_variant",
        lambda a, q: changed(a, variant="control") if _missing(a) else a,
    ),
    of_questions("the empty key crashes", "errors.empty_key", lambda key, c: (key or key[1], c)),
    of_answers(
        "a mismatch is GENERAL",
        "errors.type_mismatch",
        lambda a, q: failed(q.default) if a.error_code is ErrorCode.TYPE_MISMATCH else a,
    ),
    of_answers(
        "a mismatch carries the wrong value",
        "async.mismatch_default",
        lambda a, q: changed(a, value=q.raw) if a.error_code is ErrorCode.TYPE_MISMATCH else a,
    ),
    of_answers(
        "good answers have an error code",
        "errors.none_on_success",
        lambda a, q: changed(a, error_code=ErrorCode.GENERAL) if _fine(a) else a,
    ),
    of_answers(
        "good answers say OK",
        "errors.no_message_on_success",
        lambda a, q: changed(a, error_message="OK") if _fine(a) else a,
    ),
    of_answers(
        "the vendor's own reasons", "reasons.present", lambda a, q: changed(a, reason="FALLTHROUGH") if _fine(a) else a
    ),
    of_answers("no reason", "reasons.present", lambda a, q: changed(a, reason=None)),
    of_answers(
        "TARGETING_MATCH, always",
        "reasons.default",
        lambda a, q: changed(a, reason=Reason.TARGETING_MATCH) if _fine(a) else a,
    ),
    of_answers("STATIC, always", "reasons.target", lambda a, q: changed(a, reason=Reason.STATIC) if _fine(a) else a),
    of_answers("DEFAULT, always", "reasons.static", lambda a, q: changed(a, reason=Reason.DEFAULT) if _fine(a) else a),
    of_answers(
        "no variant on booleans", "variants.boolean", lambda a, q: changed(a, variant=None) if q.kind is B else a
    ),
    of_answers("variants by index", "variants.named", lambda a, q: changed(a, variant="0") if _fine(a) else a),
    of_answers(
        "the default's variant, always",
        "variants.targeted",
        lambda a, q: changed(a, variant="served") if _fine(a) else a,
    ),
    of_answers("metadata with None", "metadata.types", lambda a, q: changed(a, flag_metadata={"config": None})),
    of_answers("metadata with a list", "metadata.types", lambda a, q: changed(a, flag_metadata={"tags": ["a"]})),
]


class Nameless(ReferenceProvider):
    """No name."""

    name = ""


class NegativeCache(ReferenceProvider):
    """Remembers what it did not find."""

    def resolve(self, flag_key, context):
        missing = self.__dict__.setdefault("missing", set())
        if flag_key in missing:
            raise FlagNotFoundError(f"No flag '{flag_key}', still.")
        try:
            return super().resolve(flag_key, context)
        except FlagNotFoundError:
            missing.add(flag_key)
            raise


class Undying(ReferenceProvider):
    """Keeps what was deleted."""

    def take(self, keys):
        super().take(frozenset(k for k in keys if k in self.vendor.documents))


STATE = [
    of_provider("no name", "metadata.name", Nameless),
    of_provider("remembers what was missing", "errors.repeat", NegativeCache),
    of_provider("keeps what was deleted", "errors.deleted", Undying),
    of_flags("off is ignored", "off.serves_off_variant", lambda f: replace(f, on=True)),
    of_flags(
        "off never ends",
        "off.and_on_again",
        lambda f, seen=set(): (seen.add(f.key) if not f.on else None) or replace(f, on=f.key not in seen),
    ),
    of_answers(
        "off serves the default",
        "off.boolean",
        lambda a, q: changed(a, value=q.default) if a.reason == Reason.DISABLED else a,
    ),
    of_answers(
        "off is STATIC",
        "off.serves_off_variant",
        lambda a, q: changed(a, reason=Reason.STATIC) if a.reason == Reason.DISABLED else a,
    ),
    of_answers(
        "off has no variant",
        "off.variant_named",
        lambda a, q: changed(a, variant=None) if a.reason == Reason.DISABLED else a,
    ),
    of_flags(
        "off without a variant serves the first one",
        "off.without_variant",
        lambda f: replace(f, off_variant=f.off_variant or f.variants[0].name),
    ),
    of_flags("targets beat off", "off.beats_targets", lambda f: replace(f, on=True) if f.targets else f),
]


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
        if kind is O and answer.error_code is None:
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

ANSWERS = [*VALUES, *COERCION, *ERRORS, *STATE, *TARGETING, *CONTEXT, *ALIASING]
