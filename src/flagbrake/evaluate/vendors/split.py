"""Split (Harness FME): its two hashes in buckets 1 to 100, and how its matchers read whatever they are given.

Source of every rule: splitio-client 10.7, ``engine/splitters.py``, ``engine/hashfns`` and
``models/grammar/matchers``. Values that Split does not know are read as the provider sends them, see :func:`plain`;
what stands inside a structure is an attribute of its own, named as ``Attribute`` writes it, unless the context
has an attribute of just that name.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from openfeature.exception import ParseError

from flagbrake.errors import InvalidInput
from flagbrake.evaluate.bucketing import Algorithm, Locate, Place, murmur3, register
from flagbrake.evaluate.literals import moment
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Bucketing

#: MurmurHash3 of the key with the flag's seed ("algo 2").
MURMUR: Final = "split-murmur3"
#: A hash as Java has for strings, mixed with the seed ("algo 1", and every other number).
LEGACY: Final = "split-legacy"

Test = Callable[[Any], bool]
Read = Callable[[str | None, Mapping[str, Any]], Any]

#: Deeper values are left out: a list may hold itself.
_DEEPEST: Final = 20
_MINUTE: Final = 60
_DAY: Final = 86_400
#: One bucket in shares.
_STEP: Final = 1000


# --- reading attributes --------------------------------------------------------------------------------


def plain(value: Any, depth: int = _DEEPEST) -> Any:  # noqa: PLR0911 - a table of types
    """An attribute as Split is given it, ``None`` for what is left out.

    Datetimes and dates (naive is UTC) are whole seconds since 1970, Decimals numbers, tuples and sets lists;
    None, bytes and objects of other types are left out, inside structures too.
    """
    match value:
        case bool() | str() | int() | float():
            return value
        case datetime():
            return int((value.replace(tzinfo=UTC) if value.tzinfo is None else value).timestamp() // 1)
        case date():
            return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
        case Decimal():
            if not value.is_finite():
                return None
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes() | bytearray() | memoryview() | None:
            return None
        case Mapping() if depth:
            found = ((str(name), plain(one, depth - 1)) for name, one in value.items())
            return {name: one for name, one in found if one is not None}
        case Sequence() | AbstractSet() if depth:
            return [one for one in (plain(one, depth - 1) for one in value) if one is not None]
        case _:
            return None


def text(value: Any) -> str | None:
    """What a matcher of texts sees: a text as it is, anything else as JSON, ``None`` for what JSON cannot say."""
    if isinstance(value, str):
        return value
    given = plain(value)
    try:
        return None if given is None else json.dumps(given)
    except (TypeError, ValueError):
        return None


def number(value: Any) -> int | None:
    """What a matcher of numbers sees: a whole number, or the text of one; ``None`` for floats and booleans."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def truth(value: Any) -> bool | None:
    """What a matcher of booleans sees: a boolean, or the text of one in any case; else ``None``."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    try:
        decoded = json.loads(value.lower())
    except ValueError:
        return None
    return decoded if isinstance(decoded, bool) else None


def _as_set(value: Any) -> set[Any] | None:
    """What a matcher of sets sees: the elements, those of a text its letters; ``None`` for what has none."""
    try:
        return set(plain(value))
    except TypeError:
        return None


def reader(attribute: Attribute, nested: Read) -> Read:
    """How to read an attribute that is not simply one of the context: by its written name, else inside."""
    name = str(attribute)

    def read(key: str | None, attributes: Mapping[str, Any]) -> Any:
        value = attributes.get(name)
        return nested(key, attributes) if value is None else value

    return read


# --- versions ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Version:
    """A version. Equal are only versions of the same text; in order those that differ in the build part are alike."""

    numbers: tuple[int, int, int]
    before: tuple[str, ...]  # the parts of a pre-release, empty for a release
    text: str

    @classmethod
    def parse(cls, written: str) -> Version | None:
        """A version of exactly three numbers, ``None`` for any other text. Blanks and signs as ``int`` takes them."""
        body, plus, build = written.partition("+")
        release, minus, tail = body.partition("-")
        if (plus and not build) or (minus and not tail):
            return None
        try:
            major, minor, patch = (int(part) for part in release.split("."))
            before = tuple([str(int(p)) if p.isnumeric() else p for p in tail.split(".")]) if minus else ()
        except ValueError:
            return None
        shown = f"{major}.{minor}.{patch}" + ("-" + ".".join(before) if before else "") + (f"+{build}" if build else "")
        return cls((major, minor, patch), before, shown)

    def compare(self, other: Version) -> int:
        """Less than 0, 0 or more than 0."""
        if self.text == other.text:
            return 0
        if self.numbers != other.numbers:
            return -1 if self.numbers < other.numbers else 1
        if bool(self.before) != bool(other.before):
            return -1 if self.before else 1
        for mine, theirs in zip(self.before, other.before, strict=False):
            if mine != theirs:
                if mine.isnumeric() and theirs.isnumeric():
                    return int(mine) - int(theirs)
                return -1 if mine < theirs else 1
        return len(self.before) - len(other.before)


def _version(value: Any) -> Version | None:
    written = text(value)
    return None if written is None else Version.parse(written)


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
        return lambda value: (seen := _version(value)) is not None and seen.text in wanted
    if clause.op is Op.SEMVER_BETWEEN:
        low, high = values
        if low is None or high is None:
            return lambda _value: False
        start, end = low, high
        return lambda value: (seen := _version(value)) is not None and start.compare(seen) <= 0 <= end.compare(seen)
    compare, bounds = _COMPARE[clause.op], [v for v in values if v is not None]

    def test(value: Any) -> bool:
        seen = _version(value)
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
    return lambda value: (seen := _as_set(value)) is not None and compare(seen)


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
