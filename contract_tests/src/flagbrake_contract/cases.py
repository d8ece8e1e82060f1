"""Rules that are rows: values of five kinds, what may become what, and what a context may hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

from flagbrake.model.flag import Targets
from flagbrake.model.values import FlagKind
from flagbrake_contract.ask import DEFAULTS, ask, fails_with, succeeds
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import Level, add, area, same

area(
    "values",
    "Values",
    repair="answer with the value of the variant that the flag serves, in the type that its definition has; "
    "zero values are values",
)
area(
    "coercion",
    "Numbers and types",
    repair="convert with flagbrake.model.values.coerce (FlagProvider does): nothing may be lost, "
    "and what does not fit is TYPE_MISMATCH with the caller's default",
)
area(
    "attributes",
    "What a context may hold",
    repair="translate or leave out an attribute the vendor cannot take; never fail the evaluation for it",
)
area(
    "reserved",
    "Reserved attribute names",
    repair="send an attribute whose name the vendor reserves under another name; the targeting key is the unit",
)


#: The rows that prove a capability.
WITNESSES: Final = frozenset(
    ("object_plain", "integer_large", "whole_float_as_integer", "string_as_boolean", "boolean_as_string")
)


@dataclass(frozen=True, slots=True)
class Value:
    """A flag that serves ``value`` must answer exactly it."""

    name: str
    value: Any
    says: str
    needs: tuple[Cap, ...] = ()


_DEEP: Final = {"a": {"b": [1, 2.5, "three", {"c": None, "d": [[], {}]}]}, "flag": False}

VALUES: Final = (
    Value("boolean_true", True, "A boolean flag that serves true answers True."),
    Value("boolean_false", False, "A boolean flag that serves false answers False, whatever the default."),
    Value("string_plain", "a text", "A string is answered as it is."),
    Value("string_empty", "", "The empty string is a value, not a missing one."),
    Value("string_unicode", "Grüße, 世界 🚦\u0000\u2028end", "Every Unicode text passes unchanged."),
    Value("string_long", "x" * 10_000, "A text of 10,000 characters passes unchanged."),
    Value("string_of_digits", "10", 'The string "10" stays a string.', (Cap.STRING_TYPING,)),
    Value("string_true", "true", 'The string "true" stays a string.', (Cap.STRING_TYPING,)),
    Value("string_json", '{"a": 1}', "A string that looks like JSON stays a string.", (Cap.STRING_TYPING,)),
    Value("string_blanks", "  two  ", "Blanks around a text are part of it."),
    Value("integer_plain", 10, "An integer is answered as an int."),
    Value("integer_zero", 0, "Zero is a value, not a missing one."),
    Value("integer_negative", -7, "A negative integer is answered as it is."),
    Value("integer_largest_safe", 2**53 - 1, "Integers up to 2^53-1 are exact."),
    Value("integer_large", 2**53 + 1, "Integers above 2^53 are exact.", (Cap.LARGE_INTEGERS,)),
    Value("float_plain", 2.75, "A float is answered as a float."),
    Value("float_zero", 0.0, "0.0 is a value and a float."),
    Value("float_negative", -0.1, "A negative float is answered as it is."),
    Value("float_tiny", 5e-324, "The smallest float passes unchanged."),
    Value("float_huge", 1.7976931348623157e308, "The largest float passes unchanged."),
    Value("float_exact", 0.1 + 0.2, "All 17 digits of a float pass."),
    Value("object_plain", {"colour": "blue", "size": 3}, "An object is answered as a dict.", (Cap.OBJECT,)),
    Value("object_empty", {}, "The empty object is a value.", (Cap.OBJECT,)),
    Value("object_nested", _DEEP, "Nested objects, lists and nulls pass unchanged.", (Cap.OBJECT,)),
    Value("object_types", {"t": True, "i": 1, "f": 1.5, "s": "1"}, "Types inside an object are kept.", (Cap.OBJECT,)),
    Value("object_unicode", {"ключ": "значение"}, "Unicode keys of an object pass unchanged.", (Cap.OBJECT,)),
    Value("list_plain", ["a", "b"], "A list is an object value and answered as a list.", (Cap.OBJECT,)),
    Value("list_empty", [], "The empty list is a value.", (Cap.OBJECT,)),
    Value("list_of_objects", [{"n": 1}, {"n": 2}], "A list of objects passes unchanged.", (Cap.OBJECT,)),
)


def _value(row: Value) -> None:
    def check(h: Harness) -> None:
        flag = h.serving(row.value)
        default = (not row.value) if isinstance(row.value, bool) else DEFAULTS[flag.kind]
        same(succeeds(ask(h.provider, flag.key, default, kind=flag.kind)).value, row.value)

    add(f"values.{row.name}", check, text=row.says, spec="2.2.3", needs=row.needs, witness=row.name in WITNESSES)


for _row in VALUES:
    _value(_row)


@dataclass(frozen=True, slots=True)
class Coerced:
    """A flag that serves ``value``, asked as ``kind``: ``expected``, or TYPE_MISMATCH when that is an error code."""

    name: str
    value: Any
    kind: FlagKind
    expected: Any
    says: str
    needs: tuple[Cap, ...]


_N, _S, _T = (Cap.NUMERIC_COERCION,), (Cap.STRING_TYPING,), (Cap.FULLY_TYPED_VALUES,)
_NO = ErrorCode.TYPE_MISMATCH
_B, _STR, _INT, _FLOAT, _OBJ = FlagKind

COERCED: Final = (
    Coerced("whole_float_as_integer", 10.0, _INT, 10, "10.0 asked as integer is 10.", _N),
    Coerced("fraction_as_integer", 0.5, _INT, _NO, "0.5 asked as integer is a mismatch, never 0.", _N),
    Coerced("fraction_above_one_as_integer", 5.7, _INT, _NO, "5.7 asked as integer is a mismatch, never 5.", _N),
    Coerced("integer_as_float", 10, _FLOAT, 10.0, "10 asked as float is 10.0, a float.", _N),
    Coerced("zero_as_float", 0, _FLOAT, 0.0, "0 asked as float is 0.0, a float.", _N),
    Coerced(
        "large_integer_as_float",
        2**53 + 1,
        _FLOAT,
        _NO,
        "An integer no float holds exactly is a mismatch.",
        (*_N, Cap.LARGE_INTEGERS),
    ),
    Coerced(
        "huge_integer_as_float",
        10**400,
        _FLOAT,
        _NO,
        "An integer beyond every float is a mismatch.",
        (*_N, Cap.LARGE_INTEGERS),
    ),
    Coerced("boolean_as_integer", True, _INT, _NO, "A boolean is never a number: True is not 1.", _T),
    Coerced("false_as_integer", False, _INT, _NO, "A boolean is never a number: False is not 0.", _T),
    Coerced("boolean_as_float", True, _FLOAT, _NO, "A boolean is never a number: True is not 1.0.", _T),
    Coerced("boolean_as_string", True, _STR, _NO, "A boolean is not the text of a boolean.", _T),
    Coerced("boolean_as_object", True, _OBJ, _NO, "A boolean is not an object.", _T),
    Coerced("integer_as_boolean", 1, _B, _NO, "1 is not True.", _T),
    Coerced("zero_as_boolean", 0, _B, _NO, "0 is not False.", _T),
    Coerced("integer_as_string", 10, _STR, _NO, "A number is not a text.", _T),
    Coerced("integer_as_object", 10, _OBJ, _NO, "A number is not an object.", _T),
    Coerced("float_as_boolean", 1.5, _B, _NO, "A float is not a boolean.", _T),
    Coerced("float_as_string", 1.5, _STR, _NO, "A float is not a text.", _T),
    Coerced("string_as_boolean", "blue", _B, _NO, "A text is not a boolean, however true it looks to Python.", _S),
    Coerced("string_true_as_boolean", "false", _B, _NO, '"false" is a text, not a boolean.', _S),
    Coerced("string_as_integer", "10", _INT, _NO, '"10" is a text, not a number.', _S),
    Coerced("string_as_float", "5.5", _FLOAT, _NO, '"5.5" is a text, not a number.', _S),
    Coerced("string_as_object", '{"a": 1}', _OBJ, _NO, "A text is not an object, even if it is JSON.", _S),
    Coerced("object_as_boolean", {"a": 1}, _B, _NO, "An object is not a boolean.", (*_T, Cap.OBJECT)),
    Coerced("object_as_string", {"a": 1}, _STR, _NO, "An object is not its JSON text.", (*_T, Cap.OBJECT)),
    Coerced("object_as_integer", {"a": 1}, _INT, _NO, "An object is not a number.", (*_T, Cap.OBJECT)),
    Coerced("list_as_string", ["a"], _STR, _NO, "A list is not a text.", (*_T, Cap.OBJECT)),
)


def _coerced(row: Coerced) -> None:
    def check(h: Harness) -> None:
        flag = h.serving(row.value)
        default = DEFAULTS[row.kind]
        answer = ask(h.provider, flag.key, default, kind=row.kind)
        if isinstance(row.expected, ErrorCode):
            fails_with(answer, row.expected, default)
        else:
            same(succeeds(answer).value, row.expected)

    add(
        f"coercion.{row.name}",
        check,
        text=row.says,
        spec="1.3.4",
        level=Level.SHOULD,
        needs=row.needs,
        witness=row.name in WITNESSES,
    )


for _one in COERCED:
    _coerced(_one)


@dataclass(frozen=True, slots=True)
class Held:
    """A context that holds ``value`` under ``attribute`` must not disturb an evaluation."""

    name: str
    value: Any
    says: str
    spec: str = ""
    attribute: str = "attribute"


_AWARE = datetime(2026, 3, 1, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))

HELD: Final = (
    Held("string", "text", "An attribute may be a string.", "3.1.2"),
    Held("boolean", False, "An attribute may be a boolean.", "3.1.2"),
    Held("integer", 2**60, "An attribute may be an integer of any size.", "3.1.2"),
    Held("float", 0.1, "An attribute may be a float.", "3.1.2"),
    Held("datetime_utc", datetime(2026, 3, 1, tzinfo=UTC), "An attribute may be a datetime in UTC.", "3.1.2"),
    Held("datetime_offset", _AWARE, "An attribute may be a datetime with any offset.", "3.1.2"),
    Held("datetime_naive", datetime(2026, 3, 1, 12), "A naive datetime disturbs nothing."),  # noqa: DTZ001 - the case
    Held(
        "structure",
        {"name": "acme", "plan": {"tier": 3, "tags": ["a", None]}},
        "An attribute may be a structure.",
        "3.1.2",
    ),
    Held("structure_readonly", MappingProxyType({"name": "acme"}), "Any Mapping is a structure.", "3.1.2"),
    Held("list", ["a", "b"], "An attribute may be a list.", "3.1.2"),
    Held("list_mixed", ["a", 1, None, {"b": 2.5}], "A list may mix types.", "3.1.2"),
    Held("tuple", ("a", "b"), "Any sequence is a list.", "3.1.2"),
    Held("none", None, "None counts as no attribute."),
    Held("decimal", Decimal("10.5"), "A Decimal disturbs nothing."),
    Held("set", {"a"}, "A set disturbs nothing."),
    Held("bytes", b"\x00\xff", "Bytes disturb nothing."),
    Held("object", object(), "An arbitrary object disturbs nothing."),
    Held("nan", float("nan"), "NaN disturbs nothing."),
    Held("infinity", float("inf"), "Infinity disturbs nothing."),
    Held("long", "x" * 100_000, "A text of 100,000 characters disturbs nothing."),
    Held("unicode", "Grüße 世界 🚦", "A Unicode text disturbs nothing."),
    Held("surrogate", "\ud800", "A text that no encoder takes disturbs nothing."),
    Held("name_unicode", "x", "An attribute's name may be any text.", "", "größe 世界"),
    Held("name_empty", "x", "An empty attribute name disturbs nothing.", "", ""),
    Held("name_odd", "x", "Slashes, dots and blanks in a name disturb nothing.", "", "/a.b c~$"),
)


def _undisturbed(row: Held | Reserved) -> Any:
    def check(h: Harness) -> None:
        key = h.key("held")
        flag = h.serving("everybody", key=key, targets=(Targets("other", ("the-unit",)),))
        context = EvaluationContext("the-unit", {row.attribute: row.value})
        about = f"attribute {row.attribute!r}"
        same(succeeds(ask(h.provider, key, "default", context), about).value, flag.variants[1].value, about)
        context = EvaluationContext("nobody", {row.attribute: row.value})
        same(succeeds(ask(h.provider, key, "default", context), about).value, "everybody", about)

    return check


@dataclass(frozen=True, slots=True)
class Reserved:
    """A name that some vendor reserves, with a value that would change who is asked about."""

    name: str
    attribute: str
    value: Any


RESERVED: Final = (
    Reserved("key", "key", "the-unit-of-another"),
    Reserved("kind", "kind", "org"),
    Reserved("kind_multi", "kind", "multi"),
    Reserved("targeting_key", "targetingKey", "another"),
    Reserved("user_id", "userId", "another"),
    Reserved("session_id", "sessionId", "another"),
    Reserved("id", "id", "another"),
    Reserved("name", "name", 5),
    Reserved("anonymous", "anonymous", "yes"),
    Reserved("properties", "properties", "not a mapping"),
    Reserved("environment", "environment", "production"),
    Reserved("app_name", "appName", "another"),
    Reserved("remote_address", "remoteAddress", "not an address"),
    Reserved("current_time", "currentTime", "not a time"),
    Reserved("meta", "_meta", {"privateAttributes": ["key"]}),
    Reserved("flagd", "$flagd", {"flagKey": "another"}),
)

for _held in HELD:
    add(
        f"attributes.{_held.name}",
        _undisturbed(_held),
        text=f"{_held.says} The unit is still recognised.",
        spec=_held.spec,
        needs=(Cap.TARGETING,),
    )
for _name in RESERVED:
    add(
        f"reserved.{_name.name}",
        _undisturbed(_name),
        text=f"An attribute named `{_name.attribute}` neither fails the evaluation nor changes who is asked about.",
        needs=(Cap.TARGETING,),
    )
