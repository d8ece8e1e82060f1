"""Clauses of the model -> clauses as LaunchDarkly writes them, also those that it has no operator for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from flagbrake.errors import InvalidInput, Unsupported
from flagbrake.evaluate.literals import version
from flagbrake.evaluate.operators import VALUELESS, test_of
from flagbrake.evaluate.vendors.launchdarkly import millis
from flagbrake.model.clause import (
    LAUNCHDARKLY,
    USER,
    Attribute,
    Case,
    Clause,
    Coercion,
    Dates,
    ListMode,
    OnMissing,
    Op,
    Regex,
    Semver,
)
from flagbrake_launchdarkly.translate.attributes import write_attribute
from flagbrake_launchdarkly.translate.conditions import OPERATORS, SEGMENT_MATCH
from flagbrake_launchdarkly.translate.kinds import Kinds, NoReference
from flagbrake_launchdarkly.translate.notes import Notes

Json = dict[str, Any]
#: One clause of the model as one or more that must all match.
Spelt = list[Json]

_WORDS: Final[Mapping[Op, str]] = {
    **{op: word for word, op in OPERATORS.items()},
    Op.EQUAL: "in",
    Op.IS: "in",
    Op.SET_ANY: "in",
    Op.SEMVER_IN: "semVerEqual",
}
_TEXT: Final = frozenset((Op.STARTS_WITH, Op.ENDS_WITH, Op.CONTAINS, Op.MATCHES, Op.IN, Op.EQUAL, Op.SET_ANY))
_NUMERIC: Final = frozenset((Op.LESS, Op.LESS_OR_EQUAL, Op.GREATER, Op.GREATER_OR_EQUAL, Op.BETWEEN))
_DATES: Final = frozenset((Op.BEFORE, Op.AFTER, Op.ON, Op.ON_OR_BEFORE, Op.ON_OR_AFTER, Op.BETWEEN_DATES))
_DAY: Final = 86_400_000
#: Every version but this one is greater, and every moment.
_FIRST_VERSION: Final = "0.0.0-0"
_FIRST_MOMENT: Final = -1e300


def write_clauses(clauses: tuple[Clause, ...], place: str, notes: Notes, kinds: Kinds) -> list[Json]:
    """The clauses of a rule. One that cannot be said makes the rule match nobody, and that is said."""
    written: list[Json] = []
    for index, clause in enumerate(clauses):
        written += _clause(clause, f"{place}.clauses[{index}]", notes, kinds)
    return written


def _clause(clause: Clause, place: str, notes: Notes, kinds: Kinds) -> Spelt:
    if clause.op is Op.SEGMENT:
        return [_say("user", "", SEGMENT_MATCH, clause.values, negate=clause.negate)]
    if clause.op is Op.ALWAYS:
        return [_nobody()] if clause.negate else []
    try:
        kind, reference = write_attribute(clause.attribute, clause.semantics.contexts, kinds)
        if kinds.renamed and reference == "kind":
            clause = _names_of_kinds(clause, kinds)
    except NoReference as bad:
        notes.grave(place, f"it reads '{clause.attribute}', and {bad}", "the rule matches nobody")
        return [_nobody()]
    say = partial(_say, kind, reference)
    reason = _foreign(clause) or _unfit(clause) or _unsayable(clause)
    if reason:
        notes.grave(place, reason, "the rule matches nobody")
        return [_nobody()]
    _differences(clause, place, notes)
    word = _WORDS.get(clause.op)
    if word is not None:
        return [say(word, clause.values, negate=clause.negate)]
    return _SPELLINGS[clause.op](clause, say, partial(notes.edge, place))


def _names_of_kinds(clause: Clause, kinds: Kinds) -> Clause:
    """Kinds by LaunchDarkly's names for them."""
    if _WORDS.get(clause.op) == "in":
        return replace(clause, values=tuple(kinds.theirs(str(value)) for value in clause.values))
    if clause.op is Op.PRESENT:
        return clause
    raise NoReference(f"'{clause.op}' compares names of kinds, of which '{kinds.unit}' is 'user' here")


def _say(kind: str, reference: str, word: str, values: Collection[Any], /, *, negate: bool = False) -> Json:
    return {"contextKind": kind, "attribute": reference, "op": word, "values": list(values), "negate": negate}


def _nobody() -> Json:
    return _say("user", "key", "in", ())


def _unfit(clause: Clause) -> str:
    """Why the operator cannot compare with these values, empty where it can."""
    try:
        if clause.op not in VALUELESS:
            test_of(clause)
    except (InvalidInput, Unsupported) as error:
        return error.fact.rstrip(".")
    return ""


def _unsayable(clause: Clause) -> str:
    """Why an operator cannot be said in clauses that must all match, empty where it can."""
    if clause.op not in _WORDS and clause.op not in _SPELLINGS:
        return f"LaunchDarkly has no operator for '{clause.op}'"
    if clause.op in _WORDS:
        return ""
    if clause.op is not Op.PRESENT and not clause.values:
        return f"'{clause.op}' compares with nothing"
    if clause.negate and clause.op not in _NEGATED:
        return f"the opposite of '{clause.op}' takes two clauses of which one is enough"
    if clause.op is Op.ON and len(clause.values) > 1:
        return "one of several days takes several clauses of which one is enough"
    return ""


def _foreign(clause: Clause) -> str:
    """Why LaunchDarkly cannot read values as this clause does, empty where it can."""
    semantics = clause.semantics
    if semantics.coercion not in {Coercion.STRICT, Coercion.DOUBLE}:
        return f"LaunchDarkly does not change the types of values as '{semantics.coercion}' does"
    if semantics.case is Case.INSENSITIVE and clause.op in _TEXT:
        return "LaunchDarkly always minds letter case"
    if semantics.regex is not Regex.PYTHON and clause.op is Op.MATCHES:
        return f"the pattern is written for '{semantics.regex}'"
    if semantics.dates not in {Dates.RFC3339_OR_MILLIS, Dates.ISO_OR_MILLIS} and clause.op in _DATES:
        return f"LaunchDarkly does not read dates as '{semantics.dates}' does"
    if clause.negate and semantics.on_missing is OnMissing.AS_FALSE:
        return "in LaunchDarkly the opposite of a condition never matches where the attribute is absent"
    return ""


def _differences(clause: Clause, place: str, notes: Notes) -> None:
    """What LaunchDarkly sees differently in unusual values."""
    ours, theirs = clause.semantics, LAUNCHDARKLY
    if ours == theirs:
        return
    if ours.coercion is not theirs.coercion and clause.op in _NUMERIC:
        notes.edge(
            place, "LaunchDarkly orders numbers as 64-bit floats", "whole numbers above 2**53 may be taken as equal"
        )
    if ours.dates is not theirs.dates and clause.op in _DATES:
        notes.edge(place, "LaunchDarkly reads more forms of ISO 8601", "'20260131T000000Z' is a moment there")
    if ours.semver is not theirs.semver and clause.op.value.startswith("semver_"):
        notes.edge(place, "LaunchDarkly completes versions", "'1.2' is 1.2.0 there")
    if ours.contexts is not theirs.contexts:
        _contexts(clause.attribute, place, notes)
    if ours.list_mode is not ListMode.ANY and clause.op is not Op.SET_ANY:
        notes.edge(place, "LaunchDarkly looks into lists", "a list matches if one of its elements does")


def _contexts(attribute: Attribute, place: str, notes: Notes) -> None:
    if attribute.kind != USER:
        fact = f"LaunchDarkly knows a context of kind '{attribute.kind}' by its key"
        notes.edge(place, fact, f"'{attribute.kind}' without a targetingKey is not there")
    elif attribute.path in {("name",), ("anonymous",)}:
        fact = f"LaunchDarkly has a meaning of its own for '{attribute}'"
        notes.edge(place, fact, "a name that is no text is absent, and who is not said to be anonymous is not")


# --- operators that LaunchDarkly does not have -----------------------------------------------------------


class _Say(Protocol):
    def __call__(self, word: str, values: Collection[Any], /, *, negate: bool = False) -> Json: ...


_Edge = Callable[[str, str], None]
_LISTS: Final = ("it takes several clauses", "each of them may find another element of a list")


def _present(_clause: Clause, say: _Say, _edge: _Edge) -> Spelt:
    return [say("in", (), negate=True)]  # the opposite of "among none": absent attributes match nothing


def _between(clause: Clause, say: _Say, edge: _Edge) -> Spelt:
    edge(*_LISTS)
    low, high = clause.values
    return [say("greaterThanOrEqual", [low]), say("lessThanOrEqual", [high])]


def _moment(value: Any) -> float:
    found = millis(value)
    assert found is not None, value
    return found


def _least(values: Collection[Any], key: Callable[[Any], Any]) -> Any:
    return min(values, key=key)


def _greatest(values: Collection[Any], key: Callable[[Any], Any]) -> Any:
    return max(values, key=key)


def _rank(value: Any) -> Any:
    return version(value, Semver.LENIENT)


def _guarded(
    clause: Clause, say: _Say, edge: _Edge, *, beyond: str, bound: Any, first: tuple[str, Any], what: str
) -> Spelt:
    """``<=`` and ``>=`` where there are only ``<`` and ``>``: not beyond the bound, and not unreadable."""
    if clause.negate:
        edge(f"LaunchDarkly has no '{clause.op}'", f"what is no {what} does not match")
        return [say(beyond, [bound])]
    edge(*_LISTS)
    return [say(*first), say(beyond, [bound], negate=True)]


_SOME_MOMENT: Final = ("after", [_FIRST_MOMENT])
_SOME_VERSION: Final = ("semVerGreaterThan", [_FIRST_VERSION])


def _on_or_before(clause: Clause, say: _Say, edge: _Edge) -> Spelt:
    bound = _greatest(clause.values, _moment)
    return _guarded(clause, say, edge, beyond="after", bound=bound, first=_SOME_MOMENT, what="moment")


def _on_or_after(clause: Clause, say: _Say, edge: _Edge) -> Spelt:
    bound = _least(clause.values, _moment)
    return _guarded(clause, say, edge, beyond="before", bound=bound, first=_SOME_MOMENT, what="moment")


def _between_dates(clause: Clause, say: _Say, edge: _Edge) -> Spelt:
    edge(*_LISTS)
    low, high = clause.values
    return [say(*_SOME_MOMENT), say("before", [low], negate=True), say("after", [high], negate=True)]


def _on(clause: Clause, say: _Say, edge: _Edge) -> Spelt:
    edge(*_LISTS)
    start = int(_moment(clause.values[0]) // _DAY) * _DAY
    return [say("after", [start - 0.001]), say("before", [start + _DAY])]


def _semver_least(clause: Clause, say: _Say, edge: _Edge) -> Spelt:
    bound = _least(clause.values, _rank)
    return _guarded(clause, say, edge, beyond="semVerLessThan", bound=bound, first=_SOME_VERSION, what="version")


def _semver_most(clause: Clause, say: _Say, edge: _Edge) -> Spelt:
    bound = _greatest(clause.values, _rank)
    return _guarded(clause, say, edge, beyond="semVerGreaterThan", bound=bound, first=_SOME_VERSION, what="version")


def _semver_between(clause: Clause, say: _Say, edge: _Edge) -> Spelt:
    low, high = clause.values
    return [
        *_semver_least(replace(clause, values=(low,)), say, edge),
        say("semVerGreaterThan", [high], negate=True),
    ]


_SPELLINGS: Final[Mapping[Op, Callable[[Clause, _Say, _Edge], Spelt]]] = {
    Op.PRESENT: _present,
    Op.BETWEEN: _between,
    Op.ON: _on,
    Op.ON_OR_BEFORE: _on_or_before,
    Op.ON_OR_AFTER: _on_or_after,
    Op.BETWEEN_DATES: _between_dates,
    Op.SEMVER_LESS_OR_EQUAL: _semver_most,
    Op.SEMVER_GREATER_OR_EQUAL: _semver_least,
    Op.SEMVER_BETWEEN: _semver_between,
}
#: Those whose opposite is one clause again.
_NEGATED: Final = frozenset((Op.ON_OR_BEFORE, Op.ON_OR_AFTER, Op.SEMVER_LESS_OR_EQUAL, Op.SEMVER_GREATER_OR_EQUAL))
