"""The management API of flags: list, read, create, patch, delete, copy, status."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any, Final

from flagbrake_launchdarkly.emulator import pending
from flagbrake_launchdarkly.emulator.account import MEMBER
from flagbrake_launchdarkly.emulator.calls import Answer, Call, Serve
from flagbrake_launchdarkly.emulator.editing import Json, check_flag
from flagbrake_launchdarkly.emulator.flags import link, new_flag, shown
from flagbrake_launchdarkly.emulator.patching import patched
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid

_PAGE: Final = 20
_LARGEST: Final = 100
_PATHS: Final = "/api/v2/flags/{project}"


def shown_flag(call: Call, flag: Json, *, summary: bool = False, listed: bool = False) -> Json:
    """The representation this request asks for."""
    wanted = _environments(call)
    if listed and not wanted:
        wanted = frozenset()
    return shown(flag, call.account.project, wanted, summary=summary, names=call.account.names)


def get_flag(call: Call) -> Answer:
    """``GET /flags/{p}/{f}``: in full, in the environments asked for."""
    return 200, shown_flag(call, call.account.flag(call.path["flag"]))


def list_flags(call: Call) -> Answer:
    """``GET /flags/{p}``: a page, without rules and targets unless ``summary=0``."""
    keep = _filter(call)
    flags = [flag for flag in call.account.flags.values() if keep(flag)]
    _sort(flags, call.query.get("sort", ""))
    limit, offset = min(call.number("limit", _PAGE), _LARGEST) or _PAGE, call.number("offset", 0)
    summary = call.query.get("summary", "1").lower() not in {"0", "false"}
    items = [shown_flag(call, flag, summary=summary, listed=True) for flag in flags[offset : offset + limit]]
    return 200, {"items": items, "_links": _links(call, len(flags), limit, offset), "totalCount": len(flags)}


def create_flag(call: Call) -> Answer:
    """``POST /flags/{p}``."""
    account, body = call.account, call.object()
    flag = new_flag({"maintainerId": MEMBER, **body}, account.environments)
    if flag["key"] in account.flags:
        raise Refusal(409, "Flag key already exists", code="conflict")
    source = call.query.get("clone")
    if source:
        flag = _clone(flag, account.flag(source))
    account.commit_flag(flag["key"], flag, by=call.token, verb="created")
    return 201, shown_flag(call, flag)


def patch_flag(call: Call) -> Answer:
    """``PATCH /flags/{p}/{f}``."""
    account, key = call.account, call.path["flag"]
    before = account.flag(key)
    made = patched(account, key, call.body(), call.headers.get("content-type", ""))
    for environment in sorted(made.touched):
        if account.environment(environment)["requiresApproval"]:
            raise Refusal(405)
    if not call.truth("ignoreConflicts"):
        pending.refuse_conflicts(account, before, made.after)
    if call.truth("dryRun"):
        return 200, shown_flag(call, made.after or before)
    account.commit_flag(key, made.after, by=call.token, comment=made.comment)
    return (200, shown_flag(call, made.after)) if made.after is not None else (204, None)


def delete_flag(call: Call) -> Answer:
    """``DELETE /flags/{p}/{f}``: in every environment."""
    key = call.account.flag(call.path["flag"])["key"]
    call.account.commit_flag(key, None, by=call.token, verb="deleted")
    return 204, None


def copy_flag(call: Call) -> Answer:
    """``POST /flags/{p}/{f}/copy``: one environment's settings to another; ``currentVersion`` is the lock."""
    account, body = call.account, call.object()
    before = account.flag(call.path["flag"])
    after = copy.deepcopy(before)
    source, target = (_side(body, after, name) for name in ("source", "target"))
    if account.environment(body["target"]["key"])["requiresApproval"]:
        raise Refusal(405)
    for action, fields in _COPIED.items():
        if action in (body.get("includedActions") or _COPIED) and action not in (body.get("excludedActions") or ()):
            target.update({name: copy.deepcopy(source[name]) for name in fields})
    check_flag(after)
    account.commit_flag(before["key"], after, by=call.token, comment=str(body.get("comment") or ""), verb="copied")
    return 201, shown_flag(call, after)


def flag_status(call: Call) -> Answer:
    """``GET /flag-statuses/{p}/{e}/{f}``."""
    flag = call.account.flag(call.path["flag"])
    call.account.environment(call.path["environment"])
    return 200, _status(call, flag)


def flag_statuses(call: Call) -> Answer:
    """``GET /flag-statuses/{p}/{e}``."""
    call.account.environment(call.path["environment"])
    items = [_status(call, flag) for flag in call.account.flags.values()]
    return 200, {"_links": {"self": link(call_path(call))}, "items": items}


SERVED: Final[list[tuple[str, str, Serve]]] = [
    ("GET", _PATHS, list_flags),
    ("POST", _PATHS, create_flag),
    ("GET", f"{_PATHS}/{{flag}}", get_flag),
    ("PATCH", f"{_PATHS}/{{flag}}", patch_flag),
    ("DELETE", f"{_PATHS}/{{flag}}", delete_flag),
    ("POST", f"{_PATHS}/{{flag}}/copy", copy_flag),
    ("GET", "/api/v2/flag-statuses/{project}/{environment}", flag_statuses),
    ("GET", "/api/v2/flag-statuses/{project}/{environment}/{flag}", flag_status),
]

_COPIED: Final = {
    "updateOn": ("on",),
    "updatePrerequisites": ("prerequisites",),
    "updateTargets": ("targets", "contextTargets"),
    "updateRules": ("rules",),
    "updateFallthrough": ("fallthrough",),
    "updateOffVariation": ("offVariation",),
}


def call_path(call: Call) -> str:
    """A link to what statuses are of."""
    return f"/api/v2/flag-statuses/{call.account.project}/{call.path['environment']}"


def _status(call: Call, flag: Json) -> Json:
    config = flag["environments"][call.path["environment"]]
    href = f"{call_path(call)}/{flag['key']}"
    parent = link(f"/api/v2/flags/{call.account.project}/{flag['key']}")
    name = "new" if config["version"] == 1 else "active"
    return {"name": name, "_links": {"self": link(href), "parent": parent}}


def _environments(call: Call) -> frozenset[str] | None:
    """The environments asked for, by either spelling; ``None`` for all."""
    wanted = [call.query[name] for name in ("env", "filterEnv") if call.query.get(name)]
    wanted += [value for name, value in _filters(call) if name == "filterEnv"]
    keys = [key for text in wanted for key in re.split(r"[,+]", text)]
    for key in keys:
        call.account.environment(key)
    return frozenset(keys) or None


def _filters(call: Call) -> list[tuple[str, str]]:
    pairs = [part.partition(":") for part in call.query.get("filter", "").split(",") if part]
    if any(not colon for _, colon, _ in pairs):
        raise invalid("a filter is a list of name:value")
    return [(name, value) for name, _, value in pairs]


def _filter(call: Call) -> Callable[[Json], bool]:
    """What a flag must be to be listed; live, unless another state is asked for."""
    pairs = [*_filters(call), *(("tags", call.query["tag"]) for _ in "1" if call.query.get("tag"))]
    if call.truth("archived"):
        pairs.append(("archived", "true"))
    for name, _ in pairs:
        if name not in _TESTS:
            raise invalid(f"unknown filter '{name}'")
    if not any(name in {"state", "status", "archived"} for name, _ in pairs):
        pairs.append(("state", "live"))
    return lambda flag: all(_TESTS[name](call, flag, value) for name, value in pairs)


def _archived(_: Call, flag: Json, value: str) -> bool:
    return bool(flag["archived"] == (value == "true"))


def _found(_: Call, flag: Json, value: str) -> bool:
    return value.lower() in flag["key"].lower() or value.lower() in flag["name"].lower()


def _in_state(_: Call, flag: Json, value: str) -> bool:
    return _state(flag) in value.split("|")


def _tagged(_: Call, flag: Json, value: str) -> bool:
    return set(value.replace(" ", "+").split("+")) <= set(flag["tags"])


_TESTS: Final[dict[str, Callable[[Call, Json, str], bool]]] = {
    "query": _found,
    "tags": _tagged,
    "state": _in_state,
    "status": _in_state,
    "archived": _archived,
    "type": lambda _, flag, value: bool(flag["temporary"] == (value == "temporary")),
    "maintainerId": lambda _, flag, value: flag.get("maintainerId") == value,
    "guardedRollout": lambda call, flag, _: pending.is_guarded(call.account, flag["key"]),
    "filterEnv": lambda *_: True,
}


def _state(flag: Json) -> str:
    if flag["archived"]:
        return "archived"
    return "deprecated" if flag["deprecated"] else "live"


def _sort(flags: list[Json], how: str) -> None:
    backwards, name = how.startswith("-"), how.lstrip("-")
    keys: dict[str, Callable[[Json], Any]] = {
        "": lambda flag: -flag["creationDate"],
        "key": lambda flag: flag["key"],
        "name": lambda flag: flag["name"],
        "creationDate": lambda flag: flag["creationDate"],
    }
    if name not in keys:
        raise invalid(f"cannot sort by '{name}'")
    flags.sort(key=keys[name], reverse=backwards)


def _links(call: Call, total: int, limit: int, offset: int) -> Json:
    from urllib.parse import urlencode

    base = f"/api/v2/flags/{call.account.project}"

    def page(start: int) -> Json:
        return link(f"{base}?{urlencode({**call.query, 'limit': limit, 'offset': start})}")

    made = {"self": link(f"{base}?{urlencode(call.query)}" if call.query else base)}
    if offset + limit < total:
        made["next"] = page(offset + limit)
        made["last"] = page((total - 1) // limit * limit)
    if offset > 0:
        made["prev"], made["first"] = page(max(0, offset - limit)), page(0)
    return made


def _side(body: Json, flag: Json, name: str) -> Json:
    side = body.get(name)
    if not isinstance(side, dict) or side.get("key") not in flag["environments"]:
        raise invalid(f"{name} must name an environment")
    config: Json = flag["environments"][side["key"]]
    if side.get("currentVersion") not in {None, config["version"]}:
        raise Refusal(409)
    return config


def _clone(flag: Json, source: Json) -> Json:
    made = copy.deepcopy(source)
    made.update({name: flag[name] for name in ("key", "name", "_version", "creationDate")})
    for name, config in made["environments"].items():
        config.update(
            {fixed: flag["environments"][name][fixed] for fixed in ("salt", "sel", "version", "lastModified")}
        )
    return made
