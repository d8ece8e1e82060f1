"""Pure: a clause as Unleash constraints and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import UNLEASH, Attribute, Case, Clause, OnMissing, Op

#: Attributes that stand for the unit itself.
USER_ID: Final = "userId"
#: The server takes no more values in one constraint.
MOST_VALUES: Final = 250

_LISTS: Final[Mapping[Op, str]] = MappingProxyType(
    {
        Op.IN: "IN",
        Op.STARTS_WITH: "STR_STARTS_WITH",
        Op.ENDS_WITH: "STR_ENDS_WITH",
        Op.CONTAINS: "STR_CONTAINS",
        Op.IN_CIDR: "IN_CIDR",
    }
)
_SINGLE: Final[Mapping[Op, str]] = MappingProxyType(
    {
        Op.EQUAL: "NUM_EQ",
        Op.LESS: "NUM_LT",
        Op.LESS_OR_EQUAL: "NUM_LTE",
        Op.GREATER: "NUM_GT",
        Op.GREATER_OR_EQUAL: "NUM_GTE",
        Op.BEFORE: "DATE_BEFORE",
        Op.AFTER: "DATE_AFTER",
        Op.SEMVER_EQUAL: "SEMVER_EQ",
        Op.SEMVER_LESS: "SEMVER_LT",
        Op.SEMVER_GREATER: "SEMVER_GT",
        Op.MATCHES: "REGEX",
    }
)
#: Asked as the opposite of their opposite: servers before version 8 do not take them.
_TURNED: Final[Mapping[Op, Op]] = MappingProxyType(
    {
        Op.SEMVER_GREATER_OR_EQUAL: Op.SEMVER_LESS,
        Op.SEMVER_LESS_OR_EQUAL: Op.SEMVER_GREATER,
        Op.ON_OR_AFTER: Op.BEFORE,
        Op.ON_OR_BEFORE: Op.AFTER,
    }
)
_OPERATORS: Final[Mapping[str, Op]] = MappingProxyType(
    {
        **{name: op for op, name in (*_LISTS.items(), *_SINGLE.items())},
        "SEMVER_GTE": Op.SEMVER_GREATER_OR_EQUAL,
        "SEMVER_LTE": Op.SEMVER_LESS_OR_EQUAL,
    }
)


def context_name(attribute: Attribute) -> str:
    """Under which name the provider sends an attribute, and a constraint asks for it."""
    return USER_ID if attribute == Attribute() else str(attribute)


def attribute_of(name: str) -> Attribute:
    """The attribute that a constraint's context name stands for."""
    return Attribute() if name == USER_ID else Attribute.parse(name)


def constraints_of(clause: Clause, flag: str) -> Iterator[dict[str, Any]]:
    """The constraints that all hold where the clause does.

    Raises:
        InvalidInput: Unleash has nothing like this operator.
    """
    name = context_name(clause.attribute)
    if clause.negate and clause.semantics.on_missing is OnMissing.NO_MATCH:
        yield present(name)
    op, negate = clause.op, clause.negate
    if op in _TURNED:
        if not negate:
            yield present(name)
        op, negate = _TURNED[op], not negate
    if op is Op.PRESENT:
        yield {**present(name), "inverted": negate}
        return
    values = [_text(value) for value in clause.values]
    if op is Op.IS:
        op = Op.IN
    if op in _SINGLE and len(values) == 1:
        yield _constraint(name, _SINGLE[op], negate=negate, value=values[0])
    elif op in _LISTS and 0 < len(values) <= MOST_VALUES:
        operator = "NOT_IN" if op is Op.IN and negate else _LISTS[op]
        made = _constraint(name, operator, negate=negate and op is not Op.IN, values=values)
        if clause.semantics.case is Case.INSENSITIVE and op is not Op.IN:
            made["caseInsensitive"] = True
        yield made
    else:
        raise InvalidInput(
            f"Unleash has no constraint for '{clause.attribute} {clause.op.value}' with {len(values)} values"
            f" (flag '{flag}').",
            cure="another operator, or a rule for each value",
        )


def present(name: str) -> dict[str, Any]:
    """True if the context has this field: the empty text is in every text."""
    return _constraint(name, "REGEX", negate=False, value="^")


def clauses_of(constraints: Sequence[Mapping[str, Any]]) -> tuple[Clause, ...]:
    """The clauses that say what the constraints say, in Unleash's own semantics."""
    guarded = {str(c.get("contextName")) for c in constraints if _is_guard(c)}
    found: list[Clause] = []
    for constraint in constraints:
        name = str(constraint.get("contextName"))
        others = any(c.get("contextName") == name and not _is_guard(c) for c in constraints)
        if _is_guard(constraint) and others:
            continue
        found.append(_clause(constraint, guarded=name in guarded and others))
    return tuple(found)


def _clause(constraint: Mapping[str, Any], *, guarded: bool) -> Clause:
    name, operator = str(constraint.get("contextName")), str(constraint.get("operator"))
    negate = bool(constraint.get("inverted"))
    semantics = replace(UNLEASH, on_missing=OnMissing.NO_MATCH) if guarded else UNLEASH
    if constraint.get("caseInsensitive"):
        semantics = replace(semantics, case=Case.INSENSITIVE)
    if _is_guard(constraint):
        return Clause(attribute_of(name), Op.PRESENT, negate=negate, semantics=semantics)
    if operator == "NOT_IN":
        operator, negate = "IN", not negate
    op = _OPERATORS.get(operator)
    if op is None:
        # What the SDK does with an operator it does not know: no match.
        return Clause(attribute_of(name), Op.ALWAYS, negate=True, semantics=semantics)
    if guarded and negate and op in _TURNED.values():
        turned = next(k for k, v in _TURNED.items() if v is op)
        return Clause(attribute_of(name), turned, (constraint.get("value"),), semantics=semantics)
    values: Iterable[Any] = constraint.get("values") or () if op in _LISTS else (constraint.get("value"),)
    return Clause(attribute_of(name), op, tuple(_typed(op, v) for v in values), negate, semantics)


def _typed(op: Op, value: Any) -> Any:
    if op in {Op.EQUAL, Op.LESS, Op.LESS_OR_EQUAL, Op.GREATER, Op.GREATER_OR_EQUAL}:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return value
        return int(number) if number.is_integer() else number
    return value


def _is_guard(constraint: Mapping[str, Any]) -> bool:
    return constraint.get("operator") == "REGEX" and constraint.get("value") == "^"


def _constraint(
    name: str, operator: str, *, negate: bool, values: list[str] | None = None, value: str | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"contextName": name, "operator": operator, "values": values or [], "inverted": negate}
    made["caseInsensitive"] = False
    if value is not None:
        made["value"] = value
    return made


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
