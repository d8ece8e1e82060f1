"""Pure: the types of matchers: the SDK's names, the management API's names, our operators.

The names of a definition are those of Split's reference of matcher types; ``BETWEEN_SEMVER`` in it is our reading, no
page names it.
"""

from __future__ import annotations

from typing import Any, Final

from flagbrake.model.clause import Op

JSON = dict[str, Any]

#: Every field that holds a matcher's value in the SDK's form; a matcher has one of them.
_DATA: Final = (
    "userDefinedSegmentMatcherData",
    "whitelistMatcherData",
    "unaryNumericMatcherData",
    "betweenMatcherData",
    "dependencyMatcherData",
    "booleanMatcherData",
    "stringMatcherData",
    "betweenStringMatcherData",
)
LISTS: Final = {
    "WHITELIST": ("IN_LIST_STRING", Op.IN),
    "STARTS_WITH": ("STARTS_WITH_STRING", Op.STARTS_WITH),
    "ENDS_WITH": ("ENDS_WITH_STRING", Op.ENDS_WITH),
    "CONTAINS_STRING": ("CONTAINS_STRING", Op.CONTAINS),
    "EQUAL_TO_SET": ("EQUAL_SET", Op.SET_EQUAL),
    "CONTAINS_ANY_OF_SET": ("ANY_OF_SET", Op.SET_ANY),
    "CONTAINS_ALL_OF_SET": ("ALL_OF_SET", Op.SET_ALL),
    "PART_OF_SET": ("PART_OF_SET", Op.SET_PART),
    "IN_LIST_SEMVER": ("IN_LIST_SEMVER", Op.SEMVER_IN),
}
TEXTS: Final = {
    "MATCHES_STRING": ("MATCHES_STRING", Op.MATCHES),
    "EQUAL_TO_SEMVER": ("EQUAL_TO_SEMVER", Op.SEMVER_EQUAL),
    "GREATER_THAN_OR_EQUAL_TO_SEMVER": ("GREATER_THAN_OR_EQUAL_TO_SEMVER", Op.SEMVER_GREATER_OR_EQUAL),
    "LESS_THAN_OR_EQUAL_TO_SEMVER": ("LESS_THAN_OR_EQUAL_TO_SEMVER", Op.SEMVER_LESS_OR_EQUAL),
}
NUMBERS: Final = {
    ("EQUAL_TO", "NUMBER"): ("EQUAL_NUMBER", Op.EQUAL),
    ("EQUAL_TO", "DATETIME"): ("ON_DATE", Op.ON),
    ("GREATER_THAN_OR_EQUAL_TO", "NUMBER"): ("GREATER_THAN_OR_EQUAL_NUMBER", Op.GREATER_OR_EQUAL),
    ("GREATER_THAN_OR_EQUAL_TO", "DATETIME"): ("ON_OR_AFTER_DATE", Op.ON_OR_AFTER),
    ("LESS_THAN_OR_EQUAL_TO", "NUMBER"): ("LESS_THAN_OR_EQUAL_NUMBER", Op.LESS_OR_EQUAL),
    ("LESS_THAN_OR_EQUAL_TO", "DATETIME"): ("ON_OR_BEFORE_DATE", Op.ON_OR_BEFORE),
}
BETWEEN: Final = {
    "NUMBER": ("BETWEEN_NUMBER", Op.BETWEEN),
    "DATETIME": ("BETWEEN_DATE", Op.BETWEEN_DATES),
}
SEGMENTS: Final = ("IN_SEGMENT", "IN_RULE_BASED_SEGMENT")


def complete(matcher: JSON, traffic_type: str) -> JSON:
    """A matcher of the SDK's form with all its fields."""
    selector = {"trafficType": traffic_type, "attribute": matcher.get("attribute")}
    whole: JSON = {
        "keySelector": selector,
        "matcherType": matcher["matcherType"],
        "negate": matcher.get("negate", False),
    }
    return {**whole, **{name: matcher[name] for name in _DATA if name in matcher}}
