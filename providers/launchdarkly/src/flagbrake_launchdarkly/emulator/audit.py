"""The audit log: who changed what, with the whole resource before and after."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection
from typing import Final

from flagbrake_launchdarkly.emulator.editing import Json, new_id
from flagbrake_launchdarkly.emulator.flags import link, now

_ACCOUNT: Final = "57be1db38b75bf0772d11383"
_PART: Final = re.compile(r"[^:;]+")


def entry_of(
    kind: str,
    places: Collection[str],
    before: Json | None,
    after: Json | None,
    *,
    by: str,
    comment: str,
    verb: str,
) -> Json:
    """An entry as it is kept."""
    resource = after or before or {}
    return {
        "_id": new_id().replace("-", "")[:24],
        "date": now(),
        "kind": kind,
        "places": list(places),
        "by": by,
        "comment": comment,
        "titleVerb": f"{verb} the {kind}",
        "name": resource.get("name", resource.get("key", "")),
        "key": resource.get("key", ""),
        "before": copy.deepcopy(before),
        "after": copy.deepcopy(after),
    }


def shown_entry(entry: Json, project: str, *, whole: bool) -> Json:
    """The representation; ``whole`` adds the resource before and after, as the read of one entry does."""
    href = f"/api/v2/auditlog/{entry['_id']}"
    thing = f"/api/v2/{entry['kind']}s/{project}/{entry['key']}"
    made: Json = {
        "_links": {"self": link(href), "canonical": link(thing), "parent": link("/api/v2/auditlog")},
        "_id": entry["_id"],
        "_accountId": _ACCOUNT,
        "date": entry["date"],
        "accesses": [{"action": "update", "resource": place} for place in entry["places"]],
        "kind": entry["kind"],
        "name": entry["name"],
        "description": "",
        "shortDescription": "",
        "comment": entry["comment"],
        "member": {"_id": "569f183514f4432160000007", "email": "member@emulator.invalid"},
        "token": {"name": entry["by"], "ending": entry["by"][-4:], "serviceToken": False},
        "titleVerb": entry["titleVerb"],
        "title": f"{entry['by']} {entry['titleVerb']} {entry['name']}",
        "target": {"_links": {"canonical": link(thing)}, "name": entry["name"], "resources": entry["places"]},
    }
    if whole:
        made["previousVersion"] = entry["before"]
        made["currentVersion"] = entry["after"]
        made["delta"] = _delta(entry["before"] or {}, entry["after"] or {})
    return made


def matches(spec: str, place: str) -> bool:
    """True if a resource specifier such as ``proj/*:env/production:flag/*`` covers this resource."""
    wanted, has = (_PART.findall(text) for text in (spec, place))
    if len(wanted) > len(has):
        return False
    for one, other in zip(wanted, has, strict=False):
        pattern = ".*".join(re.escape(part) for part in one.partition(";")[0].split("*"))
        if not re.fullmatch(pattern, other):
            return False
    return len(wanted) == len(has)


def _delta(before: Json, after: Json) -> Json:
    """What is different in ``after``, nested."""
    made: Json = {}
    for name in {*before, *after}:
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        made[name] = _delta(old, new) if isinstance(old, dict) and isinstance(new, dict) else new
    return made
