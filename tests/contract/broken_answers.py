"""Providers that answer wrongly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from openfeature.exception import ErrorCode, FlagNotFoundError
from openfeature.flag_evaluation import Reason

from flagbrake.model.values import FlagKind
from tests.contract.reference import ReferenceProvider
from tests.contract.sabotage import failed, of_answers, of_flags, of_provider, of_questions, served

BOOLEAN, TEXT, INTEGER, FLOAT, OBJECT = FlagKind


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
        "everything is true", "values.boolean_false", lambda a, q: served(True) if q.kind is BOOLEAN and _fine(a) else a
    ),
    of_answers(
        "everything is false",
        "values.boolean_true",
        lambda a, q: served(False) if q.kind is BOOLEAN and _fine(a) else a,
    ),
    of_answers(
        "the empty string is taken for nothing",
        "values.string_empty",
        lambda a, q: served(q.default) if q.raw == "" else a,
    ),
    of_answers(
        "zero is taken for nothing",
        "values.integer_zero",
        lambda a, q: served(q.default) if q.raw == 0 and q.kind is INTEGER else a,
    ),
    of_answers(
        "0.0 is taken for nothing",
        "values.float_zero",
        lambda a, q: served(q.default) if q.raw == 0 and q.kind is FLOAT else a,
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
        lambda a, q: changed(a, value=int(float(a.value))) if q.kind is INTEGER and _fine(a) else a,
    ),
    of_answers(
        "negative numbers lose their sign",
        "values.integer_negative",
        lambda a, q: changed(a, value=abs(a.value)) if q.kind is INTEGER and _fine(a) else a,
    ),
    of_answers(
        "floats are rounded",
        "values.float_exact",
        lambda a, q: changed(a, value=_rounded(a.value)) if q.kind is FLOAT and _fine(a) else a,
    ),
    of_answers(
        "tiny floats become zero",
        "values.float_tiny",
        lambda a, q: changed(a, value=0.0) if q.kind is FLOAT and a.value == 5e-324 else a,
    ),
    of_answers(
        "texts are trimmed",
        "values.string_blanks",
        lambda a, q: changed(a, value=str(a.value).strip()) if q.kind is TEXT and _fine(a) else a,
    ),
    of_answers(
        "texts are ASCII",
        "values.string_unicode",
        lambda a, q: changed(a, value=str(a.value).encode("ascii", "ignore").decode()) if q.kind is TEXT else a,
    ),
    of_answers(
        "texts are cut at 1,000 characters",
        "values.string_long",
        lambda a, q: changed(a, value=str(a.value)[:1000]) if q.kind is TEXT else a,
    ),
    of_answers(
        "texts that look like JSON are parsed",
        "values.string_json",
        lambda a, q: failed(q.default) if q.kind is TEXT and str(a.value).startswith("{") else a,
    ),
    of_answers(
        "nulls are dropped",
        "values.object_nested",
        lambda a, q: changed(a, value=_without_nulls(a.value)) if q.kind is OBJECT and _fine(a) else a,
    ),
    of_answers(
        "types inside an object become texts",
        "values.object_types",
        lambda a, q: (
            changed(a, value={k: str(v) for k, v in dict(a.value).items()})
            if q.kind is OBJECT and isinstance(a.value, dict) and "i" in a.value
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
        lambda a, q: served(bool(q.raw)) if q.kind is BOOLEAN and q.raw is not None else a,
    ),
    of_answers(
        'bool("false")',
        "coercion.string_true_as_boolean",
        lambda a, q: served(True) if q.kind is BOOLEAN and q.raw == "false" else a,
    ),
    of_answers(
        "1 is True",
        "coercion.integer_as_boolean",
        lambda a, q: served(bool(q.raw)) if q.kind is BOOLEAN and type(q.raw) is int else a,
    ),
    of_answers(
        "fractions are cut off",
        "coercion.fraction_as_integer",
        lambda a, q: served(int(q.raw or 0)) if q.kind is INTEGER and type(q.raw) is float else a,
    ),
    of_answers(
        "fractions are rounded", "coercion.fraction_above_one_as_integer", lambda a, q: served(6) if q.raw == 5.7 else a
    ),
    of_answers(
        "10.0 is no integer",
        "coercion.whole_float_as_integer",
        lambda a, q: failed(q.default, ErrorCode.TYPE_MISMATCH) if q.kind is INTEGER and type(q.raw) is float else a,
    ),
    of_answers(
        "integers are not widened",
        "coercion.integer_as_float",
        lambda a, q: served(q.raw) if q.kind is FLOAT and type(q.raw) is int else a,
    ),
    of_answers(
        "an integer is widened with loss",
        "coercion.large_integer_as_float",
        lambda a, q: served(float(q.raw)) if q.kind is FLOAT and type(q.raw) is int else a,
    ),
    of_answers(
        "True is 1",
        "coercion.boolean_as_integer",
        lambda a, q: served(int(bool(q.raw))) if q.kind is INTEGER and type(q.raw) is bool else a,
    ),
    of_answers(
        "True is 1.0",
        "coercion.boolean_as_float",
        lambda a, q: served(float(bool(q.raw))) if q.kind is FLOAT and type(q.raw) is bool else a,
    ),
    of_answers(
        "str() of anything",
        "coercion.integer_as_string",
        lambda a, q: served(str(q.raw)) if q.kind is TEXT and q.raw is not None else a,
    ),
    of_answers(
        "on and off for booleans",
        "coercion.boolean_as_string",
        lambda a, q: served("on" if q.raw else "off") if q.kind is TEXT and type(q.raw) is bool else a,
    ),
    of_answers(
        "objects as JSON text",
        "coercion.object_as_string",
        lambda a, q: served(json.dumps(q.raw)) if q.kind is TEXT and isinstance(q.raw, dict) else a,
    ),
    of_answers(
        "texts are parsed as numbers",
        "coercion.string_as_integer",
        lambda a, q: served(10) if q.kind is INTEGER and q.raw == "10" else a,
    ),
    of_answers(
        "texts are parsed as floats",
        "coercion.string_as_float",
        lambda a, q: served(5.5) if q.kind is FLOAT and q.raw == "5.5" else a,
    ),
    of_answers(
        "texts are parsed as objects",
        "coercion.string_as_object",
        lambda a, q: served({"a": 1}) if q.kind is OBJECT and q.raw == '{"a": 1}' else a,
    ),
]

ERRORS = [
    of_answers(
        "zero values instead of the default",
        "defaults.boolean",
        lambda a, q: (
            changed(a, value={BOOLEAN: False, TEXT: "", INTEGER: 0, FLOAT: 0.0, OBJECT: {}}[q.kind])
            if _missing(a)
            else a
        ),
    ),
    of_answers(
        "an object default is turned into a list",
        "defaults.object",
        lambda a, q: changed(a, value=[]) if _missing(a) and q.kind is OBJECT else a,
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
        lambda a, q: failed(q.default, ErrorCode.PARSE_ERROR) if q.kind is FLOAT and type(q.default) is int else a,
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
        "no variant on booleans", "variants.boolean", lambda a, q: changed(a, variant=None) if q.kind is BOOLEAN else a
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

ANSWERS = [*VALUES, *COERCION, *ERRORS, *STATE]
