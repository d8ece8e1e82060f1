"""Clauses as LaunchDarkly writes them -> clauses of the model, in the dialect ``launchdarkly``."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

from openfeature.exception import InvalidContextError

from flagbrake.evaluate.literals import version
from flagbrake.evaluate.vendors.launchdarkly import double, millis
from flagbrake.model.clause import LAUNCHDARKLY, Attribute, Clause, Op, Semver
from flagbrake_launchdarkly.translate.attributes import read_attribute
from flagbrake_launchdarkly.translate.kinds import Kinds, NoReference, is_kind
from flagbrake_launchdarkly.translate.notes import Notes

OPERATORS: Final[Mapping[str, Op]] = {
    "in": Op.IN,
    "endsWith": Op.ENDS_WITH,
    "startsWith": Op.STARTS_WITH,
    "matches": Op.MATCHES,
    "contains": Op.CONTAINS,
    "lessThan": Op.LESS,
    "lessThanOrEqual": Op.LESS_OR_EQUAL,
    "greaterThan": Op.GREATER,
    "greaterThanOrEqual": Op.GREATER_OR_EQUAL,
    "before": Op.BEFORE,
    "after": Op.AFTER,
    "semVerEqual": Op.SEMVER_EQUAL,
    "semVerLessThan": Op.SEMVER_LESS,
    "semVerGreaterThan": Op.SEMVER_GREATER,
}
SEGMENT_MATCH: Final = "segmentMatch"


def read_clauses(data: Mapping[str, Any], place: str, notes: Notes, kinds: Kinds) -> tuple[Clause, ...]:
    """The clauses of a rule."""
    return tuple(
        _clause(clause, f"{place}.clauses[{index}]", notes, kinds)
        for index, clause in enumerate(data.get("clauses") or ())
    )


def _clause(data: Mapping[str, Any], place: str, notes: Notes, kinds: Kinds) -> Clause:
    name, negate, values = data.get("op"), bool(data.get("negate")), tuple(data.get("values") or ())
    if name == SEGMENT_MATCH:
        keys = tuple(value for value in values if isinstance(value, str))
        if not keys:
            # No segment: nobody is in it, and everybody is not.
            return Clause(Attribute(), Op.ALWAYS, (), not negate, LAUNCHDARKLY)
        return Clause(Attribute(), Op.SEGMENT, keys, negate, LAUNCHDARKLY)
    try:
        attribute = read_attribute(str(data.get("attribute") or ""), data.get("contextKind"), kinds)
    except NoReference as bad:
        fact = f"{data.get('attribute')!r} is no reference: {bad}."
        raise notes.refusal(f"{place}.attribute", fact, "a name, or '/a/b'") from None
    op = OPERATORS.get(str(name))
    if op is None:
        notes.note(place, f"the operator '{name}' is known to no SDK", "none: it matches nothing there either")
        return Clause(attribute, Op.IN, (), negate, LAUNCHDARKLY)
    found = _values(op, values, place, notes)
    if kinds.renamed and attribute.path == ("kind",):
        found = _names_of_kinds(op, found, place, notes, kinds)
    return Clause(attribute, op, found, negate, LAUNCHDARKLY)


def _names_of_kinds(op: Op, values: tuple[Any, ...], place: str, notes: Notes, kinds: Kinds) -> tuple[Any, ...]:
    """Kinds by our names for them."""
    if op is not Op.IN:
        fact = f"it compares names of kinds by '{op}', and '{kinds.unit}' is 'user' here"
        notes.grave(place, fact, "it may match otherwise")
        return values
    return tuple(kinds.ours(value) for value in values if isinstance(value, str) and is_kind(value))


def _values(op: Op, values: tuple[Any, ...], place: str, notes: Notes) -> tuple[Any, ...]:
    """The values that this operator can ever match; the others match nothing in the SDK."""
    fits = _FITS[op]
    kept = []
    for index, value in enumerate(values):
        if fits(value):
            kept.append(value)
        elif isinstance(value, (list, dict)) and op is Op.IN:
            fact = "a list or an object cannot be compared with"
            notes.edge(f"{place}.values[{index}]", fact, "an attribute that equals it does not match")
        else:
            notes.note(f"{place}.values[{index}]", f"{value!r} matches nothing under '{op}'", "none: left out")
    return tuple(kept)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, bool)) or _is_number(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    try:
        number = double(value)
    except InvalidContextError:
        return False
    return number is not None and number == number and abs(number) != float("inf")  # noqa: PLR0124 - not NaN


def _is_moment(value: Any) -> bool:
    return millis(value) is not None if isinstance(value, str) else _is_number(value)


def _is_version(value: Any) -> bool:
    return version(value, Semver.LENIENT) is not None


def _is_pattern(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError):
            return False
    return True


_FITS: Final[Mapping[Op, Callable[[Any], bool]]] = {
    Op.IN: _is_scalar,
    Op.ENDS_WITH: _is_text,
    Op.STARTS_WITH: _is_text,
    Op.CONTAINS: _is_text,
    Op.MATCHES: _is_pattern,
    Op.LESS: _is_number,
    Op.LESS_OR_EQUAL: _is_number,
    Op.GREATER: _is_number,
    Op.GREATER_OR_EQUAL: _is_number,
    Op.BEFORE: _is_moment,
    Op.AFTER: _is_moment,
    Op.SEMVER_EQUAL: _is_version,
    Op.SEMVER_LESS: _is_version,
    Op.SEMVER_GREATER: _is_version,
}
