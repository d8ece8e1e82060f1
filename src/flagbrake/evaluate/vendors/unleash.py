"""Unleash: its hash of "group:unit", and its constraints, which see every attribute as a text.

Source of every rule: unleash-yggdrasil 0.21 (``strategy_parsing.rs``, ``lib.rs``), run as the engine of
UnleashClient 6.9. Attributes are the texts that the provider sends, see :func:`text`; what stands inside a structure
is named by its path, ``/org/plan``, unless the context has an attribute of just that name.
"""

from __future__ import annotations

import json
import math
import operator
import re
import sys
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from openfeature.exception import TargetingKeyMissingError

from flagbrake.errors import InvalidInput
from flagbrake.evaluate.bucketing import Algorithm, Locate, Place, Position, murmur3, register
from flagbrake.evaluate.literals import version
from flagbrake.evaluate.vendors.chrono import moment
from flagbrake.model.clause import (
    TARGETING_KEY,
    USER,
    Attribute,
    Case,
    Clause,
    Dates,
    ListMode,
    OnMissing,
    Op,
    Regex,
    Semantics,
    Semver,
)
from flagbrake.model.flag import Bucketing
from flagbrake.model.values import WHOLE

#: MurmurHash3 of "group:unit", 1 to 100 for rollouts; with the seed :data:`VARIANTS`, 1 to the sum of the weights.
MURMUR: Final = "unleash-murmur3"
#: The seed with which variants are dealt.
VARIANTS: Final = 86028157

#: Buckets of rollouts and, unless a flag says otherwise, of variants.
_PERCENTS: Final = 100
_THOUSANDTHS: Final = 1000
#: Context fields; the engine also looks for them among the properties.
_CURRENT_TIME: Final = "currentTime"
_USER_ID: Final = "userId"
#: The engine's numbers are 64-bit floats that differ by more than this, or are equal.
_EPSILON: Final = sys.float_info.epsilon
#: The numbers of a version are 64-bit integers.
_MOST: Final = 2**64 - 1
_NUMBER: Final = re.compile(r"[+-]?(?:inf|infinity|nan|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)", re.IGNORECASE)

Read = Callable[[str | None, Mapping[str, Any]], str | None]
#: Tests one text.
Test = Callable[[str], bool]


# --- reading attributes --------------------------------------------------------------------------------


def text(value: Any) -> str | None:
    """An attribute as it travels, ``None`` for what does not.

    A text as it is (half a surrogate pair is a question mark), ``true`` and ``false``, numbers in decimal (5.0 is
    ``5``), datetimes in ISO 8601 (naive is UTC), lists as JSON. Structures travel entry by entry.
    """
    if isinstance(value, (list, tuple)):
        try:
            return json.dumps(value, separators=(",", ":"), default=scalar)
        except (TypeError, ValueError, RecursionError):
            return None
    return scalar(value)


def scalar(value: Any) -> str | None:  # noqa: PLR0911 - a table of types
    """As :func:`text`, for what is no list."""
    if isinstance(value, str):
        return str(value) if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 10_000 else None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return None


def current_time(value: Any) -> str | None:
    """The field of that name: a datetime, or the text of one in any form that Python reads; else ``None``."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return scalar(value) if isinstance(value, datetime) else None


def reader(attribute: Attribute) -> Read:
    """How to read an attribute, as a text; ``None`` where it is absent."""
    steps = attribute.path if attribute.kind == USER else (attribute.kind, *attribute.path)
    if steps == (TARGETING_KEY,):
        return lambda key, attributes: text(key or attributes.get(_USER_ID))
    if steps == (_CURRENT_TIME,):
        return _time
    if len(steps) == 1:
        (name,) = steps
        return lambda _key, attributes: text(attributes.get(name))
    path = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    first, *rest = steps

    def nested(_key: str | None, attributes: Mapping[str, Any]) -> str | None:
        whole = text(attributes.get(path))
        if whole is not None:
            return whole
        value = attributes.get(first)
        for step in rest:
            if not isinstance(value, Mapping):
                return None
            value = value.get(step)
        return text(value)

    return nested


def _time(_key: str | None, attributes: Mapping[str, Any]) -> str | None:
    value = attributes.get(_CURRENT_TIME)
    named = current_time(value)
    return text(value) if named is None else named


# --- conditions ----------------------------------------------------------------------------------------


def predicate(clause: Clause) -> Callable[[str | None, Mapping[str, Any], Any], bool]:
    """Compile one clause that reads an attribute.

    Raises:
        InvalidInput: the operator cannot compare with these values.
        Unsupported: a pattern that cannot be evaluated. MissingExtra: one that needs ``google-re2``.
    """
    test, read, sense = _MAKERS[clause.op](clause), reader(clause.attribute), not clause.negate
    absent = clause.negate and clause.semantics.on_missing is OnMissing.AS_FALSE
    if clause.op in _DATES and clause.attribute.kind == USER and clause.attribute.path == (_CURRENT_TIME,):

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
    **dict.fromkeys((Op.STARTS_WITH, Op.ENDS_WITH, Op.CONTAINS), _part),
    **dict.fromkeys((Op.LESS, Op.LESS_OR_EQUAL, Op.GREATER, Op.GREATER_OR_EQUAL, Op.BETWEEN), _numbers),
    **dict.fromkeys(_DATES, _moments),
    **dict.fromkeys(_VERSIONS, _versions),
}


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


_MAKERS[Op.IN_CIDR] = _networks  # type: ignore[index]


# --- bucketing -----------------------------------------------------------------------------------------


def _locate(bucketing: Bucketing, owner: str) -> Locate:
    murmur, seed = murmur3(), bucketing.seed or 0
    prefix = f"{owner if bucketing.group is None else bucketing.group}:".encode()
    buckets = bucketing.buckets or (_THOUSANDTHS if seed == VARIANTS else _PERCENTS)
    # The middle of its bucket, of 100,000: inside a share that ends where a bucket ends, rounded or not.
    return lambda unit: (2 * (murmur(prefix + unit.encode(), seed) % buckets) + 1) * (WHOLE // 2) // buckets


def _place(bucketing: Bucketing, owner: str) -> Position:
    """Who names no unit is outside of every rollout; where Unleash would draw lots, it is an error."""
    locate = _locate(bucketing, owner)
    reads = [reader(a) for a in (bucketing.override, bucketing.attribute) if a is not None]
    by_lot = bucketing.override is not None or bucketing.seed == VARIANTS

    def place(key: str | None, attributes: Mapping[str, Any]) -> Place:
        for read in reads:
            unit = read(key, attributes)
            if unit is not None:
                return locate(unit)
        if by_lot:
            raise TargetingKeyMissingError(f"'{owner}' is split by unit, and the context names none.")
        return math.inf

    return place


def _shown(place: Place) -> int:
    return WHOLE if place == math.inf else int(place)


register(Algorithm(MURMUR, _locate, lambda share: share, _shown, place=_place))
