"""Unleash's constraints: tests of one text.

Source of every rule: unleash-yggdrasil 0.21 (``strategy_parsing.rs``, ``lib.rs``), run as the engine of
UnleashClient 6.9.
"""

from __future__ import annotations

import math
import operator
import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.evaluate.literals import version
from flagbrake.evaluate.vendors.chrono import moment
from flagbrake.evaluate.vendors.unleash_texts import CURRENT_TIME, reader, scalar, text
from flagbrake.model.clause import USER, Case, Clause, Dates, ListMode, OnMissing, Op, Regex, Semantics, Semver

#: The engine's numbers are 64-bit floats that differ by more than this, or are equal.
_EPSILON: Final = sys.float_info.epsilon
#: The numbers of a version are 64-bit integers.
_MOST: Final = 2**64 - 1
_NUMBER: Final = re.compile(r"[+-]?(?:inf|infinity|nan|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)", re.IGNORECASE)

#: Tests one text.
Test = Callable[[str], bool]


def predicate(clause: Clause) -> Callable[[str | None, Mapping[str, Any], Any], bool]:
    """Compile one clause that reads an attribute.

    Raises:
        InvalidInput: the operator cannot compare with these values.
        Unsupported: a pattern that cannot be evaluated. MissingExtra: one that needs ``google-re2``.
    """
    test, read, sense = _MAKERS[clause.op](clause), reader(clause.attribute), not clause.negate
    absent = clause.negate and clause.semantics.on_missing is OnMissing.AS_FALSE
    if clause.op in _DATES and clause.attribute.kind == USER and clause.attribute.path == (CURRENT_TIME,):

        def by_the_clock(key: str | None, attributes: Mapping[str, Any], rules: Any) -> bool:
            value = read(key, attributes) or text(rules.now())
            return absent if value is None else test(value) is sense

        return by_the_clock

    def matches(key: str | None, attributes: Mapping[str, Any], _rules: Any) -> bool:
        value = read(key, attributes)
        return absent if value is None else test(value) is sense

    return matches


def test_of(clause: Clause) -> Callable[[Any], bool]:
    """The test of one value, whatever its type. Raises as :func:`predicate`."""
    test = _MAKERS[clause.op](clause)
    return lambda value: (seen := text(value)) is not None and test(seen)


def beyond(op: Op, semantics: Semantics) -> str:
    """What in these semantics does not go with texts."""
    if op not in _MAKERS:
        return f"coercion '{semantics.coercion}'"
    if semantics.list_mode is not ListMode.WHOLE:
        return f"coercion '{semantics.coercion}' and lists read as '{semantics.list_mode}'"
    if op in _VERSIONS and semantics.semver is not Semver.STRICT:
        return f"coercion '{semantics.coercion}' and versions read as '{semantics.semver}'"
    if op in _DATES and semantics.dates is not Dates.ISO:
        return f"coercion '{semantics.coercion}' and dates read as '{semantics.dates}'"
    return ""


def _texts(clause: Clause) -> list[str]:
    found = [scalar(value) for value in clause.values]
    return [value for value in found if value is not None]


def _in(clause: Clause) -> Test:
    """Among texts. The engine has no other case here."""
    texts = frozenset(_texts(clause))
    return lambda value: value in texts


def _equal(clause: Clause) -> Test:
    read = [_number_literal(v) for v in clause.values if isinstance(v, (int, float))]
    numbers = [number for number in read if number is not None]
    texts = frozenset(_texts(clause)) if len(numbers) < len(clause.values) else frozenset()

    def test(value: str) -> bool:
        if value in texts:
            return True
        seen = _number_of(value)
        return seen is not None and any(abs(seen - number) < _EPSILON for number in numbers)

    return test


def _part(clause: Clause) -> Test:
    fold = clause.semantics.case is Case.INSENSITIVE
    parts = tuple(part.lower() if fold else part for part in _texts(clause))
    find: Test
    if clause.op is Op.STARTS_WITH:
        find = lambda value: value.startswith(parts)  # noqa: E731 - one of three of a kind
    elif clause.op is Op.ENDS_WITH:
        find = lambda value: value.endswith(parts)  # noqa: E731
    else:
        find = lambda value: any(part in value for part in parts)  # noqa: E731
    return (lambda value: find(value.lower())) if fold else find


def _regex(clause: Clause) -> Test:
    fold = clause.semantics.case is Case.INSENSITIVE
    if clause.semantics.regex is Regex.RUST:
        from flagbrake.evaluate.vendors.rust_regex import search  # needs an extra, which few have

        searches = [search(pattern, ignore_case=fold) for pattern in _texts(clause)]
        return lambda value: any(found(value) for found in searches)
    try:
        patterns = [re.compile(pattern, re.IGNORECASE if fold else 0) for pattern in _texts(clause)]
    except re.error as error:
        fact = f"{error.pattern!r} is not a regular expression: {error}."
        raise InvalidInput(fact, cure="mend the pattern") from None
    return lambda value: any(pattern.search(value) for pattern in patterns)


def _number_of(value: str) -> float | None:
    return float(value) if _NUMBER.fullmatch(value) else None


def _read_all(clause: Clause, read: Callable[[Any], Any], what: str, example: str) -> list[Any]:
    found = [read(value) for value in clause.values]
    for value, seen in zip(clause.values, found, strict=True):
        if seen is None:
            raise InvalidInput(f"'{clause.op}' compares {what}, and {value!r} is not one.", cure=example)
    return found


def _number_literal(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value) if isinstance(value, (int, float)) else _number_of(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _numbers(clause: Clause) -> Test:
    return _ordered(clause, _read_all(clause, _number_literal, "numbers", "a number, such as 18"), _number_of)


def _moments(clause: Clause) -> Test:
    bounds = _read_all(clause, lambda v: moment(scalar(v) or ""), "moments", "2026-01-31T23:59:00Z")
    if clause.op is Op.ON:
        days = frozenset(seconds // 86_400 for seconds, _ in bounds)
        return lambda value: (seen := moment(value)) is not None and seen[0] // 86_400 in days
    return _ordered(clause, bounds, moment)


def _versions(clause: Clause) -> Test:
    bounds = _read_all(clause, _version_of, "versions", "'1.2.3'")
    if clause.op in {Op.SEMVER_EQUAL, Op.SEMVER_IN}:
        wanted = frozenset(bounds)
        return lambda value: _version_of(value) in wanted
    return _ordered(clause, bounds, _version_of)


def _version_of(value: Any) -> Any:
    """The rank of a version, without its build part; ``None`` for what is none."""
    rank = version(value, Semver.STRICT)
    return None if rank is None or max(rank[:3]) > _MOST else rank


def _ordered(clause: Clause, bounds: Collection[Any], read: Callable[[str], Any]) -> Test:
    compare = _COMPARE.get(clause.op)
    if compare is None:
        low, high = bounds
        return lambda value: (seen := read(value)) is not None and low <= seen <= high
    return lambda value: (seen := read(value)) is not None and any(compare(seen, bound) for bound in bounds)


def _networks(clause: Clause) -> Test:
    from ipaddress import ip_address, ip_network  # few flags need it

    networks = []
    for value in _texts(clause):
        try:
            networks.append(ip_network(value, strict=False))
        except ValueError:
            raise InvalidInput(f"{value!r} is not a network.", cure="'10.0.0.0/8' or '2001:db8::/32'") from None

    def test(value: str) -> bool:
        try:
            address = ip_address(value)
        except ValueError:
            return False
        return "%" not in value and any(address in network for network in networks)

    return test


_COMPARE: Final[Mapping[Op, Callable[[Any, Any], bool]]] = {
    **dict.fromkeys((Op.LESS, Op.BEFORE, Op.SEMVER_LESS), operator.lt),
    **dict.fromkeys((Op.LESS_OR_EQUAL, Op.ON_OR_BEFORE, Op.SEMVER_LESS_OR_EQUAL), operator.le),
    **dict.fromkeys((Op.GREATER, Op.AFTER, Op.SEMVER_GREATER), operator.gt),
    **dict.fromkeys((Op.GREATER_OR_EQUAL, Op.ON_OR_AFTER, Op.SEMVER_GREATER_OR_EQUAL), operator.ge),
}
_DATES: Final = frozenset((Op.BEFORE, Op.AFTER, Op.ON, Op.ON_OR_BEFORE, Op.ON_OR_AFTER, Op.BETWEEN_DATES))
_VERSIONS: Final = frozenset(op for op in Op if op.value.startswith("semver_"))
_MAKERS: Final[Mapping[Op, Callable[[Clause], Test]]] = {
    Op.IN: _in,
    Op.IS: _in,
    Op.EQUAL: _equal,
    Op.MATCHES: _regex,
    Op.IN_CIDR: _networks,
    **dict.fromkeys((Op.STARTS_WITH, Op.ENDS_WITH, Op.CONTAINS), _part),
    **dict.fromkeys((Op.LESS, Op.LESS_OR_EQUAL, Op.GREATER, Op.GREATER_OR_EQUAL, Op.BETWEEN), _numbers),
    **dict.fromkeys(_DATES, _moments),
    **dict.fromkeys(_VERSIONS, _versions),
}
