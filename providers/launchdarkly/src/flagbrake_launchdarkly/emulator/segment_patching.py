"""PATCH of a segment: the same three forms as of a flag."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from flagbrake.emulate.json_patch import PatchError, TestFailed, apply_patch
from flagbrake_launchdarkly.emulator.editing import WHOLE, Given, Json, clause_of, clauses_of, new_id
from flagbrake_launchdarkly.emulator.patching import SEMANTIC, merged
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid

#: Operations on targets that one request may hold.
BATCH: Final = 1500
_FIXED: Final = ("key", "version", "creationDate", "generation")


def patched(segment: Json, body: Any, content_type: str) -> tuple[Json, str]:
    """A copy of the segment after the patch, and its comment.

    Raises:
        Refusal: it cannot be understood, or it does not fit.
    """
    comment = str(body.get("comment") or "") if isinstance(body, dict) else ""
    if SEMANTIC in content_type.replace(" ", ""):
        after = copy.deepcopy(segment)
        _semantic(after, body)
    else:
        after = _json(segment, body)
    _check(after)
    return after, comment


def _json(segment: Json, body: Any) -> Json:
    if isinstance(body, dict) and "instructions" in body:
        raise invalid(f"a semantic patch needs the content type 'application/json; {SEMANTIC}'")
    patch = body.get("patch") if isinstance(body, dict) else body
    try:
        after = apply_patch(segment, patch) if patch is not None else merged(segment, body.get("merge", body))
    except TestFailed:
        raise Refusal(409) from None
    except PatchError as error:
        raise Refusal(422, f"Unprocessable entity. {error}") from None
    if not isinstance(after, dict) or set(segment) - set(after):
        raise invalid("a field of the segment is missing")
    for name in _FIXED:
        if after[name] != segment[name]:
            raise invalid(f"{name} cannot be changed")
    for rule in after["rules"]:
        rule.setdefault("_id", new_id())
        rule["clauses"] = [clause_of(one) for one in rule.get("clauses", ())]
    return copy.deepcopy(after)


def _semantic(segment: Json, body: Any) -> None:
    wanted = body.get("instructions") if isinstance(body, dict) else None
    if not isinstance(wanted, list) or not wanted:
        raise invalid("instructions must be a list that is not empty")
    if sum(len(one.get("values", ())) for one in wanted if "Targets" in one.get("kind", "")) > BATCH:
        raise invalid(f"more than {BATCH} operations on targets")
    for instruction in wanted:
        kind = instruction.get("kind") if isinstance(instruction, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            raise invalid(f"unknown instruction kind '{kind}'")
        KINDS[kind](segment, Given(instruction))


def _adder(side: str, *, users: bool = False) -> Callable[[Json, Given], None]:
    def add(segment: Json, given: Given) -> None:
        kept = _part(segment, side, "user" if users else given.text("contextKind", "user"))
        kept += [value for value in dict.fromkeys(given.texts("values")) if value not in kept]

    return add


def _remover(side: str, *, users: bool = False) -> Callable[[Json, Given], None]:
    def remove(segment: Json, given: Given) -> None:
        kept, gone = _part(segment, side, "user" if users else given.text("contextKind", "user")), given.texts("values")
        kept[:] = [value for value in kept if value not in gone]

    return remove


def _part(segment: Json, side: str, kind: str) -> list[str]:
    """The keys of one context kind; users stand in a list of their own."""
    if kind == "user":
        users: list[str] = segment[side]
        return users
    contexts = segment[f"{side}Contexts"]
    for one in contexts:
        if one["contextKind"] == kind:
            found: list[str] = one["values"]
            return found
    made: list[str] = []
    contexts.append({"contextKind": kind, "values": made})
    return made


def _rule(segment: Json, given: Given) -> Json:
    wanted = given.text("ruleId")
    for rule in segment["rules"]:
        if rule["_id"] == wanted:
            found: Json = rule
            return found
    raise invalid(f"there is no rule with ID '{wanted}'")


def _clause(segment: Json, given: Given) -> Json:
    wanted = given.text("clauseId")
    for clause in _rule(segment, given)["clauses"]:
        if clause["_id"] == wanted:
            found: Json = clause
            return found
    raise invalid(f"there is no clause with ID '{wanted}'")


def _rename(segment: Json, given: Given) -> None:
    segment["name"] = given.text("value")


def _add_tags(segment: Json, given: Given) -> None:
    segment["tags"] = sorted({*segment["tags"], *given.texts("values")})


def _remove_tags(segment: Json, given: Given) -> None:
    gone = given.texts("values")
    segment["tags"] = [tag for tag in segment["tags"] if tag not in gone]


def _add_rule(segment: Json, given: Given) -> None:
    made: Json = {"_id": new_id(), "clauses": clauses_of(given)}
    if given.data.get("description"):
        made["description"] = given.text("description")
    before = given.data.get("beforeRuleId")
    places = [rule["_id"] for rule in segment["rules"]]
    if before is not None and before not in places:
        raise invalid(f"there is no rule with ID '{before}'")
    segment["rules"].insert(places.index(before) if before is not None else len(places), made)


def _remove_rule(segment: Json, given: Given) -> None:
    gone = given.text("ruleId")
    segment["rules"] = [rule for rule in segment["rules"] if rule["_id"] != gone]


def _reorder(segment: Json, given: Given) -> None:
    wanted = given.texts("ruleIds")
    if sorted(wanted) != sorted(rule["_id"] for rule in segment["rules"]):
        raise invalid("ruleIds must match the current set of rules in the segment")
    segment["rules"].sort(key=lambda rule: wanted.index(rule["_id"]))


def _describe_rule(segment: Json, given: Given) -> None:
    _rule(segment, given)["description"] = given.text("description", "")


def _weigh_rule(segment: Json, given: Given) -> None:
    weight = given.data.get("weight")
    if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= WHOLE:
        raise invalid("weight must be an integer between 0 and 100000")
    _rule(segment, given).update(weight=weight, rolloutContextKind=given.text("contextKind", "user"))


def _add_clauses(segment: Json, given: Given) -> None:
    _rule(segment, given)["clauses"] += clauses_of(given)


def _remove_clauses(segment: Json, given: Given) -> None:
    rule, gone = _rule(segment, given), given.texts("clauseIds")
    rule["clauses"] = [clause for clause in rule["clauses"] if clause["_id"] not in gone]


def _update_clause(segment: Json, given: Given) -> None:
    clause = _clause(segment, given)
    made = {**clause_of(given.data.get("clause")), "_id": clause["_id"]}
    clause.clear()
    clause.update(made)


def _add_values(segment: Json, given: Given) -> None:
    clause = _clause(segment, given)
    clause["values"] += [value for value in given.items("values") if value not in clause["values"]]


def _remove_values(segment: Json, given: Given) -> None:
    clause, gone = _clause(segment, given), given.items("values")
    clause["values"] = [value for value in clause["values"] if value not in gone]


def _check(segment: Json) -> None:
    both = set(segment["included"]) & set(segment["excluded"])
    kinds = {one["contextKind"] for one in segment["includedContexts"]}
    for kind in kinds:
        sides = [
            {v for one in segment[f"{side}Contexts"] if one["contextKind"] == kind for v in one["values"]}
            for side in ("included", "excluded")
        ]
        both |= sides[0] & sides[1]
    if both:
        raise invalid(f"'{min(both)}' cannot be both included and excluded")


KINDS: Final[Mapping[str, Callable[[Json, Given], None]]] = MappingProxyType(
    {
        "updateName": _rename,
        "addTags": _add_tags,
        "removeTags": _remove_tags,
        "addIncludedTargets": _adder("included"),
        "addExcludedTargets": _adder("excluded"),
        "removeIncludedTargets": _remover("included"),
        "removeExcludedTargets": _remover("excluded"),
        "addIncludedUsers": _adder("included", users=True),
        "addExcludedUsers": _adder("excluded", users=True),
        "removeIncludedUsers": _remover("included", users=True),
        "removeExcludedUsers": _remover("excluded", users=True),
        "addRule": _add_rule,
        "removeRule": _remove_rule,
        "reorderRules": _reorder,
        "updateRuleDescription": _describe_rule,
        "updateRuleRolloutAndContextKind": _weigh_rule,
        "addClauses": _add_clauses,
        "removeClauses": _remove_clauses,
        "updateClause": _update_clause,
        "addValuesToClause": _add_values,
        "removeValuesFromClause": _remove_values,
    }
)
