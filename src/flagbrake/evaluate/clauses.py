"""Clauses: each becomes a predicate over (targeting key, attributes, rules), specialised when compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from flagbrake.errors import InvalidInput
from flagbrake.evaluate.operators import SETS, VALUELESS, refuse_unsupported, test_of
from flagbrake.model.clause import (
    TARGETING_KEY,
    USER,
    Attribute,
    Case,
    Clause,
    Coercion,
    Contexts,
    ListMode,
    OffFlag,
    OnMissing,
    Op,
    Semantics,
    structure_of,
)


class Rules(Protocol):
    """What a predicate asks of the present ruleset, so that it outlives a change of another flag."""

    def member(self, segment: str, key: str | None, attributes: Mapping[str, Any]) -> bool:
        """Is the context in this segment? A segment that does not exist has no members."""

    def serves(
        self, flag: str, variants: frozenset[str], key: str | None, attributes: Mapping[str, Any], off_flag: OffFlag
    ) -> bool:
        """Does that flag serve one of these variants? ``off_flag`` says what one that is off counts as."""

    def now(self) -> datetime | None:
        """The time, for what asks for it; ``None`` where nobody tells."""


#: True if a context matches.
Predicate = Callable[[str | None, Mapping[str, Any], Rules], bool]
#: Reads one attribute, ``None`` when it is absent.
Read = Callable[[str | None, Mapping[str, Any]], Any]

#: Values an operator on scalars sees element by element.
LISTS = (list, tuple, set, frozenset)
_SCALARS = frozenset((str, int, float, bool))


def reader(attribute: Attribute, contexts: Contexts = Contexts.OPEN) -> Read:
    """How to read an attribute; see :class:`Attribute` for kinds and paths."""
    if contexts is Contexts.KEYED:
        from flagbrake.evaluate.vendors import launchdarkly  # few have flags of its dialect

        return launchdarkly.reader(attribute)
    path = attribute.path if attribute.kind == USER else (structure_of(attribute.kind), *attribute.path)
    if path == (TARGETING_KEY,):
        return lambda key, _attributes: key or None
    first, *rest = path
    if not rest:
        return lambda _key, attributes: attributes.get(first)

    def nested(_key: str | None, attributes: Mapping[str, Any]) -> Any:
        value = attributes.get(first)
        for step in rest:
            if not isinstance(value, Mapping):
                return None
            value = value.get(step)
        return value

    return nested


def reader_of(clause: Clause) -> Read:
    """How a clause reads its attribute, in its own dialect."""
    if clause.semantics.coercion is Coercion.UNLEASH:
        from flagbrake.evaluate.vendors import unleash_texts  # few rulesets need it

        return unleash_texts.reader(clause.attribute)
    return reader(clause.attribute, clause.semantics.contexts)


def predicate(clause: Clause) -> Predicate:
    """Compile one clause.

    Raises:
        InvalidInput: the operator cannot compare with these values.
        Unsupported: semantics that cannot be evaluated yet.
    """
    if clause.op in VALUELESS:
        return _valueless(clause)
    refuse_unsupported(clause)
    if clause.semantics.coercion is Coercion.SPLIT:
        return _coerced(clause)
    if clause.semantics.coercion is Coercion.UNLEASH:
        from flagbrake.evaluate.vendors import unleash_conditions  # few rulesets need it

        return unleash_conditions.predicate(clause)
    if _is_plain_text(clause):
        return _plain_text(clause)
    return _general(clause)


def all_of(clauses: tuple[Clause, ...]) -> Predicate | None:
    """Compile clauses that must all match; ``None`` where there is none, which always matches."""
    predicates = [predicate(clause) for clause in clauses]
    if not predicates:
        return None
    if len(predicates) == 1:
        return predicates[0]
    if len(predicates) == 2:
        first, second = predicates
        return lambda key, attributes, rules: first(key, attributes, rules) and second(key, attributes, rules)
    several = tuple(predicates)

    def every(key: str | None, attributes: Mapping[str, Any], rules: Rules) -> bool:
        for matches in several:  # noqa: SIM110 - all() with a generator costs twice as much
            if not matches(key, attributes, rules):
                return False
        return True

    return every


def _general(clause: Clause) -> Predicate:
    test = test_of(clause)
    sense = not clause.negate
    absent = clause.negate and clause.semantics.on_missing is OnMissing.AS_FALSE
    listed = clause.semantics.list_mode
    whole = clause.op in SETS

    def judge(value: Any) -> bool:
        if value is None:
            return absent
        if not whole and isinstance(value, LISTS):
            found = listed is ListMode.ANY and any(element is not None and test(element) for element in value)
            return found is sense
        return test(value) is sense

    if _is_own(clause):
        name = clause.attribute.path[0]
        direct = _direct(clause, name, judge)
        if direct is not None:
            return direct

        def matches_own(_key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
            value = attributes.get(name)
            return test(value) is sense if type(value) in _SCALARS else judge(value)

        return matches_own
    read = reader(clause.attribute, clause.semantics.contexts)

    def matches(key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
        value = read(key, attributes)
        return test(value) is sense if type(value) in _SCALARS else judge(value)

    return matches


def _coerced(clause: Clause) -> Predicate:
    """A clause whose test reads every type itself, lists included where they are one value."""
    test = test_of(clause)
    sense = not clause.negate
    absent = clause.negate and clause.semantics.on_missing is OnMissing.AS_FALSE
    listed = clause.semantics.list_mode
    whole = clause.op in SETS or listed is ListMode.WHOLE
    read = reader(clause.attribute)
    if clause.attribute.kind != USER or len(clause.attribute.path) > 1:
        from flagbrake.evaluate.vendors import split_values  # few rulesets need it

        read = split_values.reader(clause.attribute, read)

    def matches(key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
        value = read(key, attributes)
        if value is None:
            return absent
        if not whole and isinstance(value, LISTS):
            return (listed is ListMode.ANY and any(e is not None and test(e) for e in value)) is sense
        return test(value) is sense

    return matches


def _direct(clause: Clause, name: str, judge: Callable[[Any], bool]) -> Predicate | None:
    """The next commonest clauses, a bound on a number and a prefix or suffix, without a call for the usual types."""
    sense = not clause.negate
    exact = clause.semantics.coercion is Coercion.STRICT
    if exact and clause.op in _BOUNDS and clause.values and all(type(value) in _NUMBERS for value in clause.values):
        # "Less than any of them" is "less than the greatest".
        bound = (max if clause.op in {Op.LESS, Op.LESS_OR_EQUAL} else min)(clause.values)
        return _BOUNDS[clause.op](name, bound, sense, judge)
    if clause.op in {Op.STARTS_WITH, Op.ENDS_WITH} and clause.semantics.case is Case.SENSITIVE:
        parts, starts = tuple(clause.values), clause.op is Op.STARTS_WITH

        def affix(_key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
            value = attributes.get(name)
            if type(value) is str:
                return (value.startswith(parts) if starts else value.endswith(parts)) is sense
            return judge(value)

        return affix
    return None


def _less(name: str, bound: Any, sense: bool, judge: Callable[[Any], bool]) -> Predicate:
    def matches(_key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
        value = attributes.get(name)
        return (value < bound) is sense if type(value) in _NUMBERS else judge(value)

    return matches


def _less_or_equal(name: str, bound: Any, sense: bool, judge: Callable[[Any], bool]) -> Predicate:
    def matches(_key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
        value = attributes.get(name)
        return (value <= bound) is sense if type(value) in _NUMBERS else judge(value)

    return matches


def _greater(name: str, bound: Any, sense: bool, judge: Callable[[Any], bool]) -> Predicate:
    def matches(_key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
        value = attributes.get(name)
        return (value > bound) is sense if type(value) in _NUMBERS else judge(value)

    return matches


def _greater_or_equal(name: str, bound: Any, sense: bool, judge: Callable[[Any], bool]) -> Predicate:
    def matches(_key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
        value = attributes.get(name)
        return (value >= bound) is sense if type(value) in _NUMBERS else judge(value)

    return matches


_NUMBERS = frozenset((int, float))
_BOUNDS = {
    Op.LESS: _less,
    Op.LESS_OR_EQUAL: _less_or_equal,
    Op.GREATER: _greater,
    Op.GREATER_OR_EQUAL: _greater_or_equal,
}


def _is_own(clause: Clause) -> bool:
    """Reads an attribute of the context itself, not nested: one lookup."""
    attribute = clause.attribute
    if clause.semantics.contexts is not Contexts.OPEN:
        return False
    return attribute.kind == USER and len(attribute.path) == 1 and attribute.path[0] != TARGETING_KEY


def _is_plain_text(clause: Clause) -> bool:
    return (
        clause.op in {Op.IN, Op.EQUAL}
        and _is_own(clause)
        and clause.semantics.case is Case.SENSITIVE
        and all(type(value) is str for value in clause.values)
    )


def _plain_text(clause: Clause) -> Predicate:
    """The commonest clause, ``country in [...]``, without a call beyond the lookup."""
    name = clause.attribute.path[0]
    sense = not clause.negate
    texts = frozenset(clause.values)
    semantics = clause.semantics
    if len(texts) == 1:
        (wanted,) = texts

        def equals(_key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
            value = attributes.get(name)
            if type(value) is str:
                return (value == wanted) is sense
            return _rare_text(value, texts, semantics, sense=sense)

        return equals

    def among(_key: str | None, attributes: Mapping[str, Any], _rules: Rules) -> bool:
        value = attributes.get(name)
        if type(value) is str:
            return (value in texts) is sense
        return _rare_text(value, texts, semantics, sense=sense)

    return among


def _rare_text(value: Any, texts: frozenset[str], semantics: Semantics, *, sense: bool) -> bool:
    """What ``_plain_text`` does with a value that is not simply a string."""
    if value is None:
        return not sense and semantics.on_missing is OnMissing.AS_FALSE
    if isinstance(value, LISTS):
        any_element = semantics.list_mode is ListMode.ANY
        return (any_element and any(isinstance(element, str) and element in texts for element in value)) is sense
    return (isinstance(value, str) and value in texts) is sense


def _valueless(clause: Clause) -> Predicate:
    refuse_unsupported(clause)
    sense = not clause.negate
    if clause.op is Op.ALWAYS:
        return lambda _key, _attributes, _rules: sense
    if clause.op is Op.PRESENT:
        # The one operator whose question is absence itself: negated it is true for a missing attribute.
        read = reader_of(clause)
        return lambda key, attributes, _rules: (read(key, attributes) is not None) is sense
    if not clause.values or not all(isinstance(value, str) for value in clause.values):
        what = "segments" if clause.op is Op.SEGMENT else "variants"
        raise InvalidInput(f"'{clause.op}' needs the names of {what} as values.", cure='["beta-testers"]')
    if clause.op is Op.SEGMENT:
        segments = tuple(clause.values)
        return lambda key, attributes, rules: any(rules.member(s, key, attributes) for s in segments) is sense
    flag, variants, off = clause.attribute.path[0], frozenset(clause.values), clause.semantics.off_flag
    return lambda key, attributes, rules: rules.serves(flag, variants, key, attributes, off) is sense
