"""Semantic instructions: rules and their clauses. They change one environment."""

from __future__ import annotations

from flagbrake_launchdarkly.emulator.editing import Edit, Given, Json, clause_of, clauses_of, new_id, serve_of
from flagbrake_launchdarkly.emulator.refusals import invalid


def add_rule(edit: Edit, given: Given) -> None:
    """``addRule``: at the end, or before ``beforeRuleId``."""
    rules, made = edit.config["rules"], rule_of(edit, given)
    before = given.data.get("beforeRuleId")
    place = rules.index(edit.rule(given.text("beforeRuleId"))) if before else len(rules)
    rules.insert(place, made)


def remove_rule(edit: Edit, given: Given) -> None:
    """``removeRule``: one that is not there is left alone."""
    rule_id = given.text("ruleId")
    edit.config["rules"] = [rule for rule in edit.config["rules"] if rule["_id"] != rule_id]


def replace_rules(edit: Edit, given: Given) -> None:
    """``replaceRules``."""
    edit.config["rules"] = [rule_of(edit, one) for one in given.objects("rules")]


def reorder_rules(edit: Edit, given: Given) -> None:
    """``reorderRules``: every rule must be named, once."""
    wanted = given.texts("ruleIds")
    if sorted(wanted) != sorted(rule["_id"] for rule in edit.config["rules"]):
        raise invalid("ruleIds must match the current set of rules on the flag")
    edit.config["rules"].sort(key=lambda rule: wanted.index(rule["_id"]))


def serve_rule(edit: Edit, given: Given) -> None:
    """``updateRuleVariationOrRollout``."""
    rule, serve = edit.rule(given.text("ruleId")), serve_of(edit, given)
    for name in ("variation", "rollout"):
        rule.pop(name, None)
    rule.update(serve)


def describe_rule(edit: Edit, given: Given) -> None:
    """``updateRuleDescription``."""
    edit.rule(given.text("ruleId"))["description"] = given.text("description", "")


def track_rule(edit: Edit, given: Given) -> None:
    """``updateRuleTrackEvents``."""
    edit.rule(given.text("ruleId"))["trackEvents"] = given.flag("trackEvents")


def add_clauses(edit: Edit, given: Given) -> None:
    """``addClauses``."""
    edit.rule(given.text("ruleId"))["clauses"] += clauses_of(given)


def remove_clauses(edit: Edit, given: Given) -> None:
    """``removeClauses``."""
    rule, gone = edit.rule(given.text("ruleId")), given.texts("clauseIds")
    for clause_id in gone:
        edit.clause(rule["_id"], clause_id)
    rule["clauses"] = [clause for clause in rule["clauses"] if clause["_id"] not in gone]


def update_clause(edit: Edit, given: Given) -> None:
    """``updateClause``: its ID stays."""
    clause = edit.clause(given.text("ruleId"), given.text("clauseId"))
    made = clause_of(given.data.get("clause"))
    made["_id"] = clause["_id"]
    clause.clear()
    clause.update(made)


def add_values(edit: Edit, given: Given) -> None:
    """``addValuesToClause``: those that are there already are left alone."""
    clause = edit.clause(given.text("ruleId"), given.text("clauseId"))
    clause["values"] += [value for value in given.items("values") if value not in clause["values"]]


def remove_values(edit: Edit, given: Given) -> None:
    """``removeValuesFromClause``."""
    clause = edit.clause(given.text("ruleId"), given.text("clauseId"))
    gone = given.items("values")
    clause["values"] = [value for value in clause["values"] if value not in gone]


def rule_of(edit: Edit, given: Given) -> Json:
    """A rule as it is kept."""
    clauses = clauses_of(given)
    if not clauses:
        raise invalid("a rule needs clauses")
    rule: Json = {"_id": new_id(), **serve_of(edit, given), "clauses": clauses}
    rule["trackEvents"] = bool(given.data.get("trackEvents", False))
    description = given.data.get("description")
    return rule if description is None else {**rule, "description": given.text("description", "")}
