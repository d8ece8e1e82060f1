"""Pure: a clause as Unleash constraints and back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_network
from types import MappingProxyType
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.evaluate.literals import version
from flagbrake.evaluate.vendors.chrono import moment
from flagbrake.evaluate.vendors.unleash_texts import scalar
from flagbrake.model.clause import TARGETING_KEY, UNLEASH, USER, Attribute, Case, Clause, OnMissing, Op, Semver

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
#: What servers from version 8 take.
_LATER: Final[Mapping[Op, str]] = MappingProxyType(
    {Op.SEMVER_GREATER_OR_EQUAL: "SEMVER_GTE", Op.SEMVER_LESS_OR_EQUAL: "SEMVER_LTE"}
)
_ONE: Final[Mapping[Op, str]] = MappingProxyType({**_SINGLE, **_LATER})
#: True for every version, and for every moment: what an opposite says of something else is no answer.
_READABLE: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"SEMVER": ("SEMVER_GT", "0.0.0-0"), "DATE": ("DATE_AFTER", "0000-01-01T00:00:00Z")}
)
_NAMES: Final = frozenset((*_LISTS.values(), *_ONE.values(), "NOT_IN"))
#: How a comparison is called among numbers, moments and versions: the engine goes by what the value looks like.
_ORDERS: Final[Mapping[str, tuple[Op, Op | None, Op]]] = MappingProxyType(
    {
        "EQ": (Op.EQUAL, None, Op.SEMVER_EQUAL),
        "GT": (Op.GREATER, Op.AFTER, Op.SEMVER_GREATER),
        "GTE": (Op.GREATER_OR_EQUAL, Op.ON_OR_AFTER, Op.SEMVER_GREATER_OR_EQUAL),
        "LT": (Op.LESS, Op.BEFORE, Op.SEMVER_LESS),
        "LTE": (Op.LESS_OR_EQUAL, Op.ON_OR_BEFORE, Op.SEMVER_LESS_OR_EQUAL),
        "AFTER": (Op.GREATER, Op.AFTER, Op.SEMVER_GREATER),
        "BEFORE": (Op.LESS, Op.BEFORE, Op.SEMVER_LESS),
    }
)
#: What the engine takes for a value, after blanks (unleash-yggdrasil, ``strategy_grammar.pest``).
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_DATE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_MOST: Final = 2**64 - 1


# --- names of attributes -------------------------------------------------------------------------------


def context_name(attribute: Attribute) -> str:
    """Under which name the provider sends an attribute, and a constraint asks for it."""
    path = attribute.path if attribute.kind == USER else (attribute.kind, *attribute.path)
    if path == (TARGETING_KEY,):
        return USER_ID
    if len(path) == 1:
        return path[0]
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def attribute_of(name: str) -> Attribute:
    """The attribute that a constraint's context name stands for."""
    if name == USER_ID:
        return Attribute()
    return Attribute.parse(name) if name.startswith("/") else Attribute((name,))


# --- writing -------------------------------------------------------------------------------------------


def constraints_of(clause: Clause, flag: str) -> Iterator[dict[str, Any]]:
    """The constraints that all hold where the clause does.

    Raises:
        InvalidInput: Unleash has nothing like this operator.
    """
    name = context_name(clause.attribute)
    op, negate = clause.op, clause.negate
    strict = clause.semantics.on_missing is OnMissing.NO_MATCH
    if op in _TURNED and not (negate and op in _LATER and not strict):
        if not negate:
            yield _readable(name, _SINGLE[_TURNED[op]])
        op, negate = _TURNED[op], not negate
    if clause.negate and strict and clause.op is not Op.PRESENT:
        yield present(name)
    if op is Op.PRESENT:
        yield {**present(name), "inverted": negate}
        return
    values = [_text(value) for value in clause.values]
    if op is Op.IS or (op is Op.EQUAL and any(isinstance(v, str | bool) for v in clause.values)):
        op = Op.IN
    if op in _ONE and len(values) == 1:
        made = _constraint(name, _ONE[op], negate=negate, value=values[0])
    elif op in _LISTS and 0 < len(values) <= MOST_VALUES:
        operator = "NOT_IN" if op is Op.IN and negate else _LISTS[op]
        made = _constraint(name, operator, negate=negate and op is not Op.IN, values=values)
    else:
        raise InvalidInput(
            f"Unleash has no constraint for '{clause.attribute} {clause.op.value}' with {len(values)} values"
            f" (flag '{flag}').",
            cure="another operator, or a rule for each value",
        )
    if fault := broken_constraint(made):
        raise InvalidInput(f"Unleash cannot read {fault} (flag '{flag}').", cure="another value")
    if clause.semantics.case is Case.INSENSITIVE and op in {Op.STARTS_WITH, Op.ENDS_WITH, Op.CONTAINS, Op.MATCHES}:
        made["caseInsensitive"] = True
    yield made


def present(name: str) -> dict[str, Any]:
    """True if the context has this field: every text has a start."""
    return _constraint(name, "REGEX", negate=False, value="^")


def _readable(name: str, operator: str) -> dict[str, Any]:
    least, value = _READABLE[operator.partition("_")[0]]
    return _constraint(name, least, negate=False, value=value)


def _constraint(
    name: str, operator: str, *, negate: bool, values: list[str] | None = None, value: str | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"contextName": name, "operator": operator, "values": values or [], "inverted": negate}
    made["caseInsensitive"] = False
    if value is not None:
        made["value"] = value
    return made


def _text(value: Any) -> str:
    found = scalar(value)
    return repr(value) if found is None else found


# --- reading -------------------------------------------------------------------------------------------


def broken_constraint(constraint: Mapping[str, Any]) -> str:  # noqa: PLR0911 - a list of faults
    """Why the engine cannot read this constraint, and with it the whole feature; nothing where it can."""
    name, operator = str(constraint.get("contextName")), str(constraint.get("operator"))
    if '"' in name or name.endswith("\\"):
        return f"the name {name!r}, with a quote or a backslash at its end"
    if operator not in _NAMES:
        return f"an operator '{operator}', which it does not know"
    if operator in _LISTS.values() or operator == "NOT_IN":
        values = constraint.get("values") or ()
        if not values and operator not in {"IN", "NOT_IN"}:
            return f"'{operator}' without values"
        odd = next((v for v in values if str(v).endswith("\\")), None)
        return "" if odd is None else f"the value {odd!r}, with a backslash at its end"
    value = constraint.get("value")
    if not isinstance(value, str):
        return f"'{operator}' without a value"
    if operator == "REGEX":
        return f"the pattern {value!r}, with a backslash at its end" if value.endswith("\\") else ""
    if operator.startswith("SEMVER") and value.startswith("v"):
        return ""  # this one constraint holds for nobody
    return "" if _literal(operator, value) is not None else f"the value {value!r} of '{operator}'"


def clauses_of(constraints: Sequence[Mapping[str, Any]]) -> tuple[Clause, ...]:
    """The clauses that say what the constraints say, in Unleash's own semantics."""
    asked = list(constraints)
    found: list[Clause] = []
    for constraint in constraints:
        turned = _turned(constraint, asked)
        if turned is not None:
            asked.remove(_readable(str(constraint.get("contextName")), str(constraint.get("operator"))))
            found.append(turned)
            asked.remove(constraint)
    guards = {str(c.get("contextName")) for c in asked if _is_guard(c)}
    guarded = {n for n in guards if any(_takes_guard(c) and c.get("contextName") == n for c in asked)}
    for constraint in asked:
        name = str(constraint.get("contextName"))
        if name in guarded and _is_guard(constraint):
            continue
        found.append(_clause(constraint, guarded=name in guarded and _takes_guard(constraint)))
    return tuple(found)


def _takes_guard(constraint: Mapping[str, Any]) -> bool:
    """A guard says that the field is there; that is news only to what holds where it is absent."""
    return bool(constraint.get("inverted")) is not (constraint.get("operator") == "NOT_IN")


def _turned(constraint: Mapping[str, Any], asked: Sequence[Mapping[str, Any]]) -> Clause | None:
    """``not before`` among moments is ``on or after``, as flagbrake writes it."""
    name, operator = str(constraint.get("contextName")), str(constraint.get("operator"))
    if not constraint.get("inverted") or operator.partition("_")[0] not in _READABLE:
        return None
    if _readable(name, operator) not in asked or broken_constraint(constraint):
        return None
    made = _clause(constraint, guarded=True)
    op = next((turned for turned, opposite in _TURNED.items() if opposite is made.op), None)
    return None if op is None else replace(made, op=op, negate=False)


def _clause(constraint: Mapping[str, Any], *, guarded: bool) -> Clause:
    attribute, operator = attribute_of(str(constraint.get("contextName"))), str(constraint.get("operator"))
    negate = bool(constraint.get("inverted"))
    semantics = replace(UNLEASH, on_missing=OnMissing.NO_MATCH) if guarded else UNLEASH
    if constraint.get("caseInsensitive") and operator not in {"IN", "NOT_IN"}:
        semantics = replace(semantics, case=Case.INSENSITIVE)
    if _is_guard({**constraint, "inverted": False}):
        return Clause(attribute, Op.PRESENT, negate=negate, semantics=UNLEASH)
    if operator == "NOT_IN":
        return Clause(attribute, Op.IN, tuple(constraint.get("values") or ()), not negate, semantics)
    if operator in _LISTS.values():
        values = tuple(str(v) for v in constraint.get("values") or ())
        op = next(op for op, name in _LISTS.items() if name == operator)
        if op is Op.IN_CIDR:
            values = tuple(v for v in values if is_network(v))  # the engine passes over the others
        return Clause(attribute, op, values, negate, semantics)
    value = constraint.get("value")
    if operator == "REGEX":
        return Clause(attribute, Op.MATCHES, (value,), negate, semantics)
    found = None if str(value).startswith("v") else _literal(operator, str(value))
    if found is None:
        return Clause(attribute, Op.ALWAYS, negate=True, semantics=semantics)
    return Clause(attribute, found[0], (found[1],), negate, semantics)


def _literal(operator: str, value: str) -> tuple[Op, Any] | None:
    """The comparison that the engine makes of an operator and a value, ``None`` where it can make none."""
    orders = _ORDERS.get(operator.partition("_")[2])
    text = value.strip(" \t")
    if orders is None:
        return None
    number, date, semver = orders
    if _DATE.fullmatch(text):
        return (date, text) if date is not None and moment(text) is not None else None
    rank = version(text, Semver.STRICT)
    if rank is not None:
        return (semver, text) if max(rank[:3]) <= _MOST else None
    if not _NUMBER.fullmatch(text):
        return None
    found = float(text)
    return number, int(found) if math.isfinite(found) and found.is_integer() else text if math.isinf(found) else found


def is_network(text: str) -> bool:
    """Is this an address or a network, as the engine reads one?"""
    base, slash, mask = text.partition("/")
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    # Python also takes zones, and masks of the other bits (only one of which begins and ends with the same bit: none).
    turned = mask.startswith("0.") and any(part != "0" for part in mask.split("."))
    return "%" not in base and not (slash and turned)


def _is_guard(constraint: Mapping[str, Any]) -> bool:
    return constraint.get("operator") == "REGEX" and constraint.get("value") == "^" and not constraint.get("inverted")
