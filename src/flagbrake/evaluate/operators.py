"""Operators: each clause becomes a test of one value that is present and not a list."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final

from openfeature.exception import InvalidContextError

from flagbrake.errors import InvalidInput, Unsupported
from flagbrake.evaluate.literals import DAY, moment, version
from flagbrake.model.clause import Case, Clause, Coercion, Dates, Op, Regex, Semantics, Semver

#: Tests one value.
Test = Callable[[Any], bool]

#: Operators that do not test the attribute's value; ``clauses`` compiles them.
VALUELESS: Final = frozenset((Op.PRESENT, Op.SEGMENT, Op.FLAG, Op.ALWAYS))
#: Operators that take a list (or one scalar) as a whole.
SETS: Final = frozenset((Op.SET_EQUAL, Op.SET_ANY, Op.SET_ALL, Op.SET_PART))

_COMPARE: Final[dict[Op, Callable[[Any, Any], bool]]] = {
    Op.LESS: operator.lt,
    Op.LESS_OR_EQUAL: operator.le,
    Op.GREATER: operator.gt,
    Op.GREATER_OR_EQUAL: operator.ge,
    Op.BEFORE: operator.lt,
    Op.AFTER: operator.gt,
    Op.ON_OR_BEFORE: operator.le,
    Op.ON_OR_AFTER: operator.ge,
    Op.SEMVER_LESS: operator.lt,
    Op.SEMVER_LESS_OR_EQUAL: operator.le,
    Op.SEMVER_GREATER: operator.gt,
    Op.SEMVER_GREATER_OR_EQUAL: operator.ge,
}
_NUMBERS: Final = frozenset((int, float))
_TEXT: Final = frozenset((Op.STARTS_WITH, Op.ENDS_WITH, Op.CONTAINS, Op.MATCHES))
_DATE: Final = frozenset((Op.BEFORE, Op.AFTER, Op.ON, Op.ON_OR_BEFORE, Op.ON_OR_AFTER, Op.BETWEEN_DATES))
_VERSION: Final = frozenset(op for op in Op if op.value.startswith("semver_"))
_PAIR: Final = frozenset((Op.BETWEEN, Op.BETWEEN_DATES, Op.SEMVER_BETWEEN))


def refuse_unsupported(clause: Clause) -> None:
    """Raise Unsupported for semantics that this evaluator does not have; it never answers a quiet false."""
    op, semantics = clause.op, clause.semantics
    trouble = ""
    if semantics.coercion is Coercion.SPLIT and op not in VALUELESS:
        trouble = _beyond_split(op, semantics)
    elif semantics.coercion is Coercion.UNLEASH and op not in VALUELESS:
        from flagbrake.evaluate.vendors import unleash_conditions  # few rulesets need it

        trouble = unleash_conditions.beyond(op, semantics)
    elif semantics.regex is not Regex.PYTHON and op is Op.MATCHES:
        trouble = f"regular expressions of '{semantics.regex}'"
    elif semantics.semver is Semver.SPLIT and op in _VERSION:
        trouble = f"versions read as '{semantics.semver}'"
    elif semantics.dates not in {Dates.RFC3339_OR_MILLIS, Dates.ISO_OR_MILLIS} and op in _DATE:
        trouble = f"dates read as '{semantics.dates}'"
    if trouble:
        raise Unsupported(f"Operator '{op}' with {trouble} cannot be evaluated yet.", cure="the dialect 'ours'")


def _beyond_split(op: Op, semantics: Semantics) -> str:
    """What in these semantics does not go with Split's way of reading values."""
    if op is Op.IN_CIDR or semantics.case is not Case.SENSITIVE:
        return f"coercion '{semantics.coercion}'" + ("" if op is Op.IN_CIDR else f" and case '{semantics.case}'")
    if op is Op.MATCHES and semantics.regex is not Regex.PYTHON:
        return f"regular expressions of '{semantics.regex}'"
    if op in _VERSION and semantics.semver is not Semver.SPLIT:
        return f"coercion '{semantics.coercion}' and versions read as '{semantics.semver}'"
    if op in _DATE and semantics.dates is not Dates.EPOCH_SECONDS:
        return f"coercion '{semantics.coercion}' and dates read as '{semantics.dates}'"
    return ""


def test_of(clause: Clause) -> Test:
    """The test of one value (for set operators: of a list of them).

    Raises:
        InvalidInput: a value the operator cannot compare with.
        Unsupported: semantics that cannot be evaluated yet.
    """
    refuse_unsupported(clause)
    op, values = clause.op, clause.values
    if op in _PAIR and len(values) != 2:
        raise InvalidInput(f"'{op}' needs two values, the bounds, not {len(values)}.", cure="[low, high]")
    if clause.semantics.coercion is Coercion.SPLIT:
        from flagbrake.evaluate.vendors import split  # few rulesets need it

        return split.test_of(clause)
    if clause.semantics.coercion is Coercion.UNLEASH:
        from flagbrake.evaluate.vendors import unleash_conditions  # few rulesets need it

        return unleash_conditions.test_of(clause)
    return _maker(op)(clause)


def _maker(op: Op) -> Callable[[Clause], Test]:
    if op in {Op.IN, Op.EQUAL}:
        return _membership
    if op in _TEXT:
        return _text
    if op in SETS:
        return _set
    if op in _DATE:
        return _date
    if op in _VERSION:
        return _version
    return {Op.BETWEEN: _number, Op.IS: _is, Op.IN_CIDR: _cidr}.get(op, _number)


def is_number(value: Any) -> bool:
    """True for int and float, never for bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _fold(values: Collection[str], case: Case) -> list[str]:
    return list(values) if case is Case.SENSITIVE else [v.casefold() for v in values]


def _only(clause: Clause, fits: Callable[[Any], bool], what: str, example: str) -> tuple[Any, ...]:
    for value in clause.values:
        if not fits(value):
            raise InvalidInput(f"'{clause.op}' compares {what}, and {value!r} is not one.", cure=example)
    return clause.values


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _membership(clause: Clause) -> Test:
    texts = frozenset(_fold([v for v in clause.values if isinstance(v, str)], clause.semantics.case))
    numbers = frozenset(v for v in clause.values if is_number(v))
    flags = frozenset(v for v in clause.values if isinstance(v, bool))
    fold = clause.semantics.case is Case.INSENSITIVE

    def test(value: Any) -> bool:
        # Types are kept apart: True == 1 for Python, and "5" is not 5.
        if isinstance(value, str):
            return (value.casefold() if fold else value) in texts
        if isinstance(value, bool):
            return value in flags
        return is_number(value) and value in numbers

    return test


def _text(clause: Clause) -> Test:
    values = _only(clause, _is_text, "strings", "a string")
    if clause.op is Op.MATCHES:
        return _regex(clause)
    parts = tuple(_fold(values, clause.semantics.case))
    if clause.semantics.case is Case.INSENSITIVE:
        find = _search(clause.op, parts)
        return lambda value: isinstance(value, str) and find(value.casefold())
    return _search(clause.op, parts)


def _search(op: Op, parts: tuple[str, ...]) -> Test:
    if op is Op.STARTS_WITH:
        return lambda value: isinstance(value, str) and value.startswith(parts)
    if op is Op.ENDS_WITH:
        return lambda value: isinstance(value, str) and value.endswith(parts)
    return lambda value: isinstance(value, str) and any(part in value for part in parts)


def _regex(clause: Clause) -> Test:
    flags = re.IGNORECASE if clause.semantics.case is Case.INSENSITIVE else 0
    patterns = []
    for value in clause.values:
        try:
            patterns.append(re.compile(value, flags))
        except re.error as error:
            raise InvalidInput(f"{value!r} is not a regular expression: {error}.", cure="mend the pattern") from None

    def test(value: Any) -> bool:
        return isinstance(value, str) and any(pattern.search(value) for pattern in patterns)

    return test


def _any_of(op: Op, values: Collection[Any], read: Callable[[Any], Any]) -> Test:
    if not values:
        return lambda _value: False
    if op in {Op.SEMVER_EQUAL, Op.SEMVER_IN}:
        wanted = frozenset(values)
        return lambda value: (seen := read(value)) is not None and seen in wanted
    compare = _COMPARE[op]
    # "Less than any of them" is "less than the greatest".
    bound = (max if compare in {operator.lt, operator.le} else min)(values)

    def test(value: Any) -> bool:
        seen = read(value)
        return seen is not None and compare(seen, bound)

    return test


def _number(clause: Clause) -> Test:
    values = _only(clause, is_number, "numbers", "a number, such as 18")
    if clause.semantics.coercion is Coercion.DOUBLE:
        return _double(clause)
    if clause.op is Op.BETWEEN:
        low, high = values
        return lambda value: is_number(value) and low <= value <= high
    if not values:
        return lambda _value: False
    compare = _COMPARE[clause.op]
    bound = (max if compare in {operator.lt, operator.le} else min)(values)
    # The type of nearly every number is one of two; subclasses take the longer way.
    return lambda value: (type(value) in _NUMBERS or is_number(value)) and compare(value, bound)


def _double(clause: Clause) -> Test:
    from flagbrake.evaluate.vendors.launchdarkly import double  # few have flags of its dialect

    values = [_readable(value, double) for value in clause.values]
    if clause.op is Op.BETWEEN:
        low, high = values
        return lambda value: (seen := double(value)) is not None and low <= seen <= high
    return _any_of(clause.op, values, double)


def _readable(value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value)
    except InvalidContextError as error:
        raise InvalidInput(f"{value!r} cannot be compared with: {error.error_message}", cure="another value") from None


def _is(clause: Clause) -> Test:
    values = _only(clause, lambda v: isinstance(v, bool), "booleans", "true or false")
    return lambda value: isinstance(value, bool) and value in values


def _date(clause: Clause) -> Test:
    read: Callable[[Any], Any] = moment
    day = DAY
    if clause.semantics.dates is Dates.ISO_OR_MILLIS:
        from flagbrake.evaluate.vendors.launchdarkly import millis  # few have flags of its dialect

        read, day = millis, DAY // 1000
    known = [_readable(value, read) for value in clause.values]
    _only(clause, lambda v: read(v) is not None, "moments", "2026-01-31T23:59:00Z or milliseconds since 1970")
    if clause.op is Op.BETWEEN_DATES:
        low, high = known
        return lambda value: (seen := read(value)) is not None and low <= seen <= high
    if clause.op is Op.ON:
        days = frozenset(m // day for m in known)
        return lambda value: (seen := read(value)) is not None and seen // day in days
    return _any_of(clause.op, known, read)


def _version(clause: Clause) -> Test:
    read = partial(version, mode=clause.semantics.semver)
    _only(clause, lambda v: read(v) is not None, "versions", "'1.2.3'")
    values = [r for r in map(read, clause.values) if r is not None]
    if clause.op is Op.SEMVER_BETWEEN:
        low, high = values
        return lambda value: (seen := read(value)) is not None and low <= seen <= high
    return _any_of(clause.op, values, read)


def _typed(value: Any, case: Case) -> tuple[str, Any] | None:
    if isinstance(value, str):
        return "text", value.casefold() if case is Case.INSENSITIVE else value
    if isinstance(value, bool):
        return "boolean", value
    return ("number", value) if is_number(value) else None


def _set(clause: Clause) -> Test:
    case = clause.semantics.case
    wanted = frozenset(_typed(v, case) for v in clause.values)
    compare: Callable[[frozenset[Any]], bool] = {
        Op.SET_EQUAL: lambda seen: seen == wanted,
        Op.SET_ANY: lambda seen: not seen.isdisjoint(wanted),
        Op.SET_ALL: lambda seen: wanted <= seen,
        Op.SET_PART: lambda seen: bool(seen) and seen <= wanted,
    }[clause.op]

    def test(value: Any) -> bool:
        elements = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
        return compare(frozenset(_typed(e, case) for e in elements))

    return test


def _cidr(clause: Clause) -> Test:
    from ipaddress import ip_address, ip_network  # few flags need it

    networks = []
    for value in _only(clause, _is_text, "networks", "'10.0.0.0/8'"):
        try:
            networks.append(ip_network(value, strict=False))
        except ValueError:
            raise InvalidInput(f"{value!r} is not a network.", cure="'10.0.0.0/8' or '2001:db8::/32'") from None

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            address = ip_address(value)
        except ValueError:
            return False
        return any(address in network for network in networks)

    return test
