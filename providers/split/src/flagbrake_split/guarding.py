"""Pure: what Split must be asked besides, so that a clause of another dialect is answered as it was meant.

Split reads a text as the number or the boolean that it spells, a list as one value, and takes a negated matcher for
met where there is nothing. Its matchers of sets tell these apart: they see the letters of a text and the elements of
a list, and in a number or a boolean nothing at all.
"""

from __future__ import annotations

from typing import Any, Final

from flagbrake.model.clause import TARGETING_KEY, USER, Clause, Coercion, ListMode, OnMissing, Op

JSON = dict[str, Any]

_NUMERIC: Final = frozenset((Op.EQUAL, Op.LESS, Op.LESS_OR_EQUAL, Op.GREATER, Op.GREATER_OR_EQUAL, Op.BETWEEN, Op.IN))
_DIGITS: Final = tuple("0123456789")
#: One of these is in every text that spells a boolean.
_BOOLEAN: Final = tuple("TFtf")
#: Met by whatever is there.
PRESENT: Final[JSON] = {"matcherType": "MATCHES_STRING", "stringMatcherData": ""}


def is_numeric(clause: Clause) -> bool:
    """It compares with numbers."""
    return clause.op in _NUMERIC and bool(clause.values) and not any(isinstance(v, (str, bool)) for v in clause.values)


def needs_no_text(clause: Clause) -> bool:
    """A text that spells the number or boolean is no match in the clause's dialect."""
    strict = clause.semantics.coercion in {Coercion.STRICT, Coercion.DOUBLE}
    return strict and not _is_key(clause) and (clause.op is Op.IS or is_numeric(clause))


def texts_of(clause: Clause) -> JSON:
    """Met by every text that might spell what the clause asks for, and by no number and no boolean."""
    letters = _BOOLEAN if clause.op is Op.IS else _DIGITS
    return {"matcherType": "CONTAINS_ANY_OF_SET", "whitelistMatcherData": {"whitelist": list(letters)}}


def looks_into_lists(clause: Clause) -> bool:
    """A list matches if one of its elements does, and Split can be asked that.

    A value of one letter is left out: the text it stands in has it too.
    """
    texts = bool(clause.values) and all(isinstance(v, str) and len(v) != 1 for v in clause.values)
    asked = clause.op is Op.IN or (clause.op is Op.EQUAL and texts)
    return asked and texts and clause.semantics.list_mode is ListMode.ANY and not _is_key(clause)


def elements_of(clause: Clause) -> JSON:
    """Met by a list with one of the values."""
    return {"matcherType": "CONTAINS_ANY_OF_SET", "whitelistMatcherData": {"whitelist": list(clause.values)}}


def needs_presence(clause: Clause) -> bool:
    """Split would match where the attribute is missing, and the clause does not."""
    if clause.op in {Op.ALWAYS, Op.SEGMENT, Op.FLAG, Op.PRESENT} or _is_key(clause):
        return False
    return clause.semantics.on_missing is OnMissing.NO_MATCH


def _is_key(clause: Clause) -> bool:
    """It asks for the unit itself, which is always a text."""
    return clause.attribute.kind == USER and clause.attribute.path == (TARGETING_KEY,)
