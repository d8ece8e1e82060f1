"""Split (Harness FME): its two hashes in buckets 1 to 100, and its matchers.

Source of every rule: splitio-client 10.7, ``engine/splitters.py``, ``engine/hashfns`` and
``models/grammar/matchers``. What a matcher sees of an attribute is in ``split_values``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Final

from openfeature.exception import ParseError

from flagbrake.errors import InvalidInput
from flagbrake.evaluate.bucketing import Algorithm, Locate, Place, murmur3, register
from flagbrake.evaluate.literals import moment
from flagbrake.evaluate.vendors.split_values import Version, elements, number, text, truth, version
from flagbrake.model.clause import Clause, Op
from flagbrake.model.flag import Bucketing

#: MurmurHash3 of the key with the flag's seed ("algo 2").
MURMUR: Final = "split-murmur3"
#: A hash as Java has for strings, mixed with the seed ("algo 1", and every other number).
LEGACY: Final = "split-legacy"

Test = Callable[[Any], bool]

_MINUTE: Final = 60
_DAY: Final = 86_400
#: One bucket in shares.
_STEP: Final = 1000


# --- operators -----------------------------------------------------------------------------------------

_COMPARE: Final[dict[Op, Callable[[Any, Any], bool]]] = {
    Op.LESS: operator.lt,
    Op.LESS_OR_EQUAL: operator.le,
    Op.GREATER: operator.gt,
    Op.GREATER_OR_EQUAL: operator.ge,
    Op.BEFORE: operator.lt,
    Op.ON_OR_BEFORE: operator.le,
    Op.AFTER: operator.gt,
    Op.ON_OR_AFTER: operator.ge,
    Op.SEMVER_LESS: operator.lt,
    Op.SEMVER_LESS_OR_EQUAL: operator.le,
    Op.SEMVER_GREATER: operator.gt,
    Op.SEMVER_GREATER_OR_EQUAL: operator.ge,
}


def test_of(clause: Clause) -> Test:
    """The test of one value, whatever its type; see ``operators.test_of``.

    Raises:
        InvalidInput: a value the operator cannot compare with.
    """
    return _MAKERS[clause.op](clause)


def _only(clause: Clause, kinds: tuple[type, ...], what: str, cure: str) -> tuple[Any, ...]:
    for value in clause.values:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InvalidInput(f"'{clause.op}' compares {what}, and {value!r} is not one.", cure=cure)
    return clause.values


def _texts(clause: Clause) -> tuple[str, ...]:
    return _only(clause, (str,), "strings", "a string")


def _membership(clause: Clause) -> Test:
    texts = frozenset(v for v in clause.values if isinstance(v, str))
    flags = frozenset(v for v in clause.values if isinstance(v, bool))
    numbers = frozenset(v for v in clause.values if isinstance(v, (int, float)) and not isinstance(v, bool))
    tests: list[Test] = []
    if texts:
        tests.append(lambda value: (value if type(value) is str else text(value)) in texts)
    if numbers:
        tests.append(lambda value: number(value) in numbers)
    if flags:
        tests.append(lambda value: truth(value) in flags)
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)


def _affix(clause: Clause) -> Test:
    parts = _texts(clause)
    if clause.op is Op.STARTS_WITH:
        return lambda value: (seen := text(value)) is not None and seen.startswith(parts)
    if clause.op is Op.ENDS_WITH:
        return lambda value: (seen := text(value)) is not None and seen.endswith(parts)
    return lambda value: (seen := text(value)) is not None and any(part in seen for part in parts)


def _regex(clause: Clause) -> Test:
    try:
        patterns = [re.compile(pattern) for pattern in _texts(clause)]
    except re.error as error:
        raise InvalidInput(
            f"{error.pattern!r} is not a regular expression: {error}.", cure="mend the pattern"
        ) from None
    return lambda value: (seen := text(value)) is not None and any(p.search(seen) for p in patterns)


def _order(clause: Clause) -> Test:
    values = _only(clause, (int, float), "numbers", "a number, such as 18")
    if clause.op is Op.BETWEEN:
        low, high = values
        return lambda value: (seen := number(value)) is not None and low <= seen <= high
    compare = _COMPARE[clause.op]
    return lambda value: (seen := number(value)) is not None and any(compare(seen, bound) for bound in values)


def _boolean(clause: Clause) -> Test:
    values = _only(clause, (bool,), "booleans", "true or false")
    return lambda value: truth(value) in values


def _cut(seconds: float, step: int) -> float:
    return seconds - seconds % step


def _literal(value: Any, step: int) -> float:
    """Milliseconds (or a text of RFC 3339) as seconds cut to the minute or day, in Split's own arithmetic."""
    if isinstance(value, str):
        found = moment(value)
        if found is not None:
            return _cut(found / 1_000_000, step)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        return _cut(value / 1000, step)
    fact = f"{value!r} is not a moment."
    raise InvalidInput(fact, cure="2026-01-31T23:59:00Z or milliseconds since 1970")


def _date(clause: Clause) -> Test:
    step = _DAY if clause.op is Op.ON else _MINUTE
    values = [_literal(value, step) for value in clause.values]

    def seen(value: Any) -> float | None:
        seconds = number(value)
        return None if seconds is None else _cut(seconds, step)

    if clause.op is Op.BETWEEN_DATES:
        low, high = values
        return lambda value: (at := seen(value)) is not None and low <= at <= high
    if clause.op is Op.ON:
        days = frozenset(values)
        return lambda value: seen(value) in days
    compare = _COMPARE[clause.op]
    return lambda value: (at := seen(value)) is not None and any(compare(at, bound) for bound in values)


def _versions(clause: Clause) -> Test:
    # A literal that is no version matches nothing, as in the SDK.
    values = [Version.parse(value) for value in _texts(clause)]
    if clause.op in {Op.SEMVER_EQUAL, Op.SEMVER_IN}:
        wanted = frozenset(v.text for v in values if v is not None)
        return lambda value: (seen := version(value)) is not None and seen.text in wanted
    if clause.op is Op.SEMVER_BETWEEN:
        low, high = values
        if low is None or high is None:
            return lambda _value: False
        start, end = low, high
        return lambda value: (seen := version(value)) is not None and start.compare(seen) <= 0 <= end.compare(seen)
    compare, bounds = _COMPARE[clause.op], [v for v in values if v is not None]

    def test(value: Any) -> bool:
        seen = version(value)
        return seen is not None and any(compare(seen.compare(bound), 0) for bound in bounds)

    return test


def _sets(clause: Clause) -> Test:
    wanted = frozenset(clause.values)
    compare: Callable[[set[Any]], bool] = {
        Op.SET_EQUAL: lambda seen: seen == wanted,
        Op.SET_ANY: lambda seen: not seen.isdisjoint(wanted),
        Op.SET_ALL: lambda seen: wanted <= seen,
        Op.SET_PART: lambda seen: bool(seen) and seen <= wanted,
    }[clause.op]
    return lambda value: (seen := elements(value)) is not None and compare(seen)


_MAKERS: Final[dict[Op, Callable[[Clause], Test]]] = {
    Op.IN: _membership,
    Op.EQUAL: _membership,
    Op.MATCHES: _regex,
    Op.IS: _boolean,
    **dict.fromkeys((Op.STARTS_WITH, Op.ENDS_WITH, Op.CONTAINS), _affix),
    **dict.fromkeys((Op.LESS, Op.LESS_OR_EQUAL, Op.GREATER, Op.GREATER_OR_EQUAL, Op.BETWEEN), _order),
    **dict.fromkeys(
        (Op.BEFORE, Op.AFTER, Op.ON, Op.ON_OR_BEFORE, Op.ON_OR_AFTER, Op.BETWEEN_DATES),
        _date,
    ),
    **dict.fromkeys((op for op in Op if op.value.startswith("semver_")), _versions),
    **dict.fromkeys((Op.SET_EQUAL, Op.SET_ANY, Op.SET_ALL, Op.SET_PART), _sets),
}
#: What Split can say of an attribute's value.
OPERATORS: Final = frozenset(_MAKERS)


# --- bucketing -----------------------------------------------------------------------------------------


def _murmur(bucketing: Bucketing, owner: str) -> Locate:
    if bucketing.seed is None:
        return _unknown(owner)
    murmur, seed = murmur3(), bucketing.seed & 0xFFFF_FFFF
    return lambda unit: murmur(unit.encode(), seed) % 100 + 1


def _legacy(bucketing: Bucketing, owner: str) -> Locate:
    if bucketing.seed is None:
        return _unknown(owner)
    seed = _int32(bucketing.seed)

    def locate(unit: str) -> int:
        unit.encode()  # half a surrogate pair names no unit, with this hash as with the other
        found = 0
        for letter in unit:
            found = _int32(_int32(31 * _int32(found)) + ord(letter))
        return abs(_int32(found ^ seed)) % 100 + 1

    return locate


def _int32(value: int) -> int:
    # The SDK lets one number too many pass at each end; buckets depend on it.
    if -2_147_483_649 <= value <= 2_147_483_648:
        return value
    return (value + 2_147_483_648) % 4_294_967_296 - 2_147_483_648


def _unknown(owner: str) -> Locate:
    def locate(_unit: str) -> int:
        raise ParseError(f"'{owner}' is shared out with a seed that only Split knows.")

    return locate


def _bound(share: int) -> Place:
    return share // _STEP + 1


def _shown(place: Place) -> int:
    # The last share inside bucket N, so that what is shown inside a share is inside it.
    return int(place) * _STEP - 1


register(Algorithm(MURMUR, _murmur, _bound, _shown))
register(Algorithm(LEGACY, _legacy, _bound, _shown))
