"""Pure: what the management API refuses in a name or a definition, with the words of a 400."""

from __future__ import annotations

import re
from typing import Any, Final

from flagbrake_split.emulator.compile import JSON, NotCompilable, compile_matcher

#: The strict reading of the public descriptions, which speak of letters, digits, hyphens and underscores and of a
#: letter at the beginning. The service may be more generous; who keeps to this is right in both cases.
_FLAG_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
#: As the SDK accepts treatments in its own settings.
_TREATMENT: Final = re.compile(r"[0-9]+[.A-Za-z0-9_-]*|[A-Za-z]+[A-Za-z0-9_-]*")
_LONGEST: Final = 100
_KEPT: Final = ("treatments", "defaultTreatment", "baselineTreatment", "trafficAllocation", "rules", "defaultRule")
_ALSO_KEPT: Final = ("flagSets", "impressionsDisabled", "prerequisites", "killed")


class Bad(ValueError):
    """A 400: the words of its message."""


def check_name(name: Any) -> str:
    """A flag's name.

    Raises:
        Bad: it is none.
    """
    if not isinstance(name, str) or not _FLAG_NAME.fullmatch(name) or len(name) > _LONGEST:
        raise Bad(
            f"Invalid name {name!r}. A name starts with a letter and contains only letters, digits, hyphens and "
            f"underscores, {_LONGEST} characters at most."
        )
    return name


def checked_definition(body: Any) -> JSON:
    """The part of a definition that a writer decides, checked.

    Raises:
        Bad: something is missing or does not fit together.
    """
    if not isinstance(body, dict):
        raise Bad("The definition is not an object.")
    for name in ("treatments", "defaultTreatment", "defaultRule"):
        if not body.get(name):
            raise Bad(f"{name} is mandatory.")
    names = _treatments(body["treatments"])
    for place in ("defaultTreatment", "baselineTreatment"):
        if body.get(place) and body[place] not in names:
            raise Bad(f"{place} {body[place]!r} is not one of the treatments.")
    allocation = body.get("trafficAllocation", 100)
    if isinstance(allocation, bool) or not isinstance(allocation, int) or not 0 <= allocation <= 100:
        raise Bad("trafficAllocation is an integer between 0 and 100.")
    rules = body.get("rules") or []
    if not isinstance(rules, list):
        raise Bad("rules is an array.")
    for number, rule in enumerate(rules):
        _rule(rule, names, f"rules[{number}]")
    _buckets(body["defaultRule"], names, "defaultRule")
    kept = {name: body[name] for name in (*_KEPT, *_ALSO_KEPT) if name in body and body[name] is not None}
    return {"trafficAllocation": 100, **kept, "rules": rules, "killed": bool(body.get("killed", False))}


def _treatments(treatments: Any) -> set[str]:
    if not isinstance(treatments, list) or not all(isinstance(t, dict) for t in treatments):
        raise Bad("treatments is an array of objects.")
    names = [t.get("name") for t in treatments]
    for name in names:
        if not isinstance(name, str) or not _TREATMENT.fullmatch(name) or len(name) > _LONGEST or name == "control":
            raise Bad(f"Invalid treatment name {name!r}.")
    if len(set(names)) != len(names):
        raise Bad("Treatment names are unique.")
    for treatment in treatments:
        for place in ("configurations", "description"):
            if not isinstance(treatment.get(place, ""), str | None):
                raise Bad(f"{place} of treatment {treatment['name']} is a string.")
        for place in ("keys", "segments"):
            if not all(isinstance(key, str) for key in treatment.get(place) or ()):
                raise Bad(f"{place} of treatment {treatment['name']} are strings.")
    return set(names)


def _rule(rule: Any, names: set[str], where: str) -> None:
    try:
        matchers = rule["condition"]["matchers"]
        for matcher in matchers:
            compile_matcher(matcher, traffic_type="user")
        buckets = rule["buckets"]
    except (KeyError, TypeError, AttributeError) as error:
        raise Bad(f"{where} is not a rule.") from error
    except NotCompilable as error:
        raise Bad(f"{where}: {error}.") from error
    if not matchers:
        raise Bad(f"{where} has no matchers.")
    _buckets(buckets, names, where)


def _buckets(buckets: Any, names: set[str], where: str) -> None:
    if not isinstance(buckets, list) or not buckets:
        raise Bad(f"{where} has no buckets.")
    total = 0
    for bucket in buckets:
        if not isinstance(bucket, dict) or bucket.get("treatment") not in names:
            raise Bad(f"{where} names a treatment that does not exist.")
        size = bucket.get("size")
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= 100:
            raise Bad(f"{where}: a bucket's size is an integer between 0 and 100.")
        total += size
    if total != 100:
        raise Bad(f"{where}: the sizes add up to {total}, not to 100.")
