"""PATCH of a flag: semantic patch, JSON patch or merge patch, all or nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from flagbrake.emulate.json_patch import PatchError, TestFailed, apply_patch
from flagbrake_launchdarkly.emulator import instructions
from flagbrake_launchdarkly.emulator.account import MEMBER, Account
from flagbrake_launchdarkly.emulator.compiler import kind_of
from flagbrake_launchdarkly.emulator.editing import Edit, Json, check_flag, new_id
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid
from flagbrake_launchdarkly.emulator.shape import check_shape
from flagbrake_launchdarkly.emulator.targeting import place_users

SEMANTIC: Final = "domain-model=launchdarkly.semanticpatch"
#: What a JSON patch cannot change.
_FIXED: Final = ("key", "_version", "creationDate")
_FIXED_CONFIG: Final = ("version", "lastModified", "salt", "sel")
_OPTIONAL: Final = {"archivedDate", "deprecatedDate", "maintainerId", "maintainerTeamKey", "description"}


@dataclass(frozen=True, slots=True)
class Patched:
    """What a patch makes of a flag; ``after`` is ``None`` when it deletes it."""

    after: Json | None
    comment: str
    #: Environments whose configuration it alters.
    touched: frozenset[str]


def patched(account: Account, key: str, body: Any, content_type: str) -> Patched:
    """Apply a request's body to a copy of the flag. Call it under the account's lock.

    Raises:
        Refusal: it cannot be understood, or it does not fit.
    """
    flag = account.flag(key)
    if SEMANTIC in content_type.replace(" ", ""):
        return _semantic(account, flag, body)
    if isinstance(body, dict) and "instructions" in body:
        raise invalid(f"a semantic patch needs the content type 'application/json; {SEMANTIC}'")
    if isinstance(body, list):
        return _json(flag, lambda copied: apply_patch(copied, body), "")
    if not isinstance(body, dict):
        raise invalid("a patch must be an array or an object")
    comment = str(body.get("comment") or "")
    if "patch" in body:
        return _json(flag, lambda copied: apply_patch(copied, body["patch"]), comment)
    return _json(flag, lambda copied: merged(copied, body.get("merge", body)), comment)


def _semantic(account: Account, flag: Json, body: Any) -> Patched:
    if not isinstance(body, dict):
        raise invalid("a semantic patch must be an object")
    environment = body.get("environmentKey")
    if environment is not None and environment not in account.environments:
        raise invalid(f"unknown environment '{environment}'")
    after = applied(account, flag, environment, body.get("instructions"))
    kinds = {one["kind"] for one in body["instructions"]}
    touched = frozenset({environment} if kinds & set(instructions.IN_ENVIRONMENT) and environment else ())
    return Patched(after, str(body.get("comment") or ""), touched)


def applied(account: Account, flag: Json, environment: str | None, wanted: Any) -> Json | None:
    """A copy of the flag after instructions; ``None`` if they delete it.

    Raises:
        Refusal: one of them is unknown or does not fit.
    """
    edit = Edit(copy.deepcopy(flag), environment, account.flags, frozenset({MEMBER}))
    instructions.apply(edit, wanted)
    if edit.deleted:
        return None
    check_shape(edit.flag)
    return edit.flag


def _json(flag: Json, change: Callable[[Json], Any], comment: str) -> Patched:
    try:
        after = change(copy.deepcopy(flag))
    except TestFailed:
        raise Refusal(409) from None
    except PatchError as error:
        raise Refusal(422, f"Unprocessable entity. {error}") from None
    _complete(flag, after)
    check_shape(after)
    check_flag(after)
    touched = {name for name, config in after["environments"].items() if config != flag["environments"][name]}
    return Patched(after, comment, frozenset(touched))


def _complete(before: Json, after: Any) -> None:
    """Give what is new its IDs, and refuse changes to what cannot be changed."""
    if not isinstance(after, dict) or set(before) - _OPTIONAL - set(after):
        raise invalid("a field of the flag is missing")
    _refuse_changed(before, after, _FIXED)
    if set(after["environments"]) != set(before["environments"]):
        raise invalid("environments cannot be added or removed")
    if not isinstance(after["variations"], list) or not all(_is_variation(one) for one in after["variations"]):
        raise invalid("variations must be a list of objects with a value")
    for variation in after["variations"]:
        variation.setdefault("_id", new_id())
    after["kind"] = kind_of([variation["value"] for variation in after["variations"]])
    for name, config in after["environments"].items():
        _complete_config(before["environments"][name], config, name)


def _complete_config(old: Json, config: Any, name: str) -> None:
    if not isinstance(config, dict) or set(old) - {"_sdk", "offVariation"} - set(config):
        raise invalid(f"a field of environment '{name}' is missing")
    _refuse_changed(old, config, _FIXED_CONFIG)
    for rule in config["rules"]:
        rule.setdefault("_id", new_id())
        rule.setdefault("trackEvents", False)
        for clause in rule.setdefault("clauses", []):
            clause.setdefault("_id", new_id())
            clause.setdefault("negate", False)
    if config != old:
        place_users(config)


def _refuse_changed(before: Json, after: Json, names: Iterable[str]) -> None:
    for name in names:
        if after[name] != before[name]:
            raise invalid(f"{name} cannot be changed")


def _is_variation(one: Any) -> bool:
    return isinstance(one, dict) and "value" in one


def merged(document: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    made = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made
