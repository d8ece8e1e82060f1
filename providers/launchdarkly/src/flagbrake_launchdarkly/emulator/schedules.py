"""Scheduled changes of a flag: kept until their date, carried out by whoever looks first after it."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from flagbrake_launchdarkly.emulator.account import MEMBER, Account
from flagbrake_launchdarkly.emulator.calls import Answer, Call, Serve
from flagbrake_launchdarkly.emulator.editing import Json, new_id
from flagbrake_launchdarkly.emulator.flags import link, now
from flagbrake_launchdarkly.emulator.patching import applied
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid, missing

_log = logging.getLogger("flagbrake.emulate.launchdarkly")
_PATH: Final = "/api/v2/projects/{project}/flags/{flag}/environments/{environment}/scheduled-changes"


def list_changes(call: Call) -> Answer:
    """``GET .../scheduled-changes``."""
    _flag(call)
    items = [_shown(call, one) for one in _mine(call)]
    return 200, {"items": items, "_links": {"self": link(_href(call))}}


def create_change(call: Call) -> Answer:
    """``POST .../scheduled-changes``."""
    body = call.object()
    date, wanted = body.get("executionDate"), body.get("instructions")
    if not isinstance(date, int) or isinstance(date, bool) or date <= now():
        raise invalid("executionDate must be in the future")
    # Instructions that do not fit now are refused now.
    applied(call.account, _flag(call), call.path["environment"], wanted)
    made = {
        "_id": new_id().replace("-", "")[:24],
        "flag": call.path["flag"],
        "environment": call.path["environment"],
        "_creationDate": now(),
        "_maintainerId": MEMBER,
        "_version": 1,
        "executionDate": date,
        "instructions": wanted,
        "comment": str(body.get("comment") or ""),
    }
    call.account.data["scheduled"].append(made)
    call.account.saved()
    return 201, _shown(call, made)


def get_change(call: Call) -> Answer:
    """``GET .../scheduled-changes/{id}``."""
    return 200, _shown(call, _one(call))


def patch_change(call: Call) -> Answer:
    """``PATCH .../scheduled-changes/{id}``: a semantic patch of three kinds."""
    one, body = _one(call), call.object()
    wanted = body.get("instructions")
    if not isinstance(wanted, list) or not wanted:
        raise invalid("instructions must be a list that is not empty")
    changed = dict(one)
    for instruction in wanted:
        if instruction.get("kind") == "deleteScheduledChange":
            return delete_change(call)
        _change(call, changed, instruction)
    changed["_version"] += 1
    one.update(changed)
    call.account.saved()
    return 200, _shown(call, one)


def delete_change(call: Call) -> Answer:
    """``DELETE .../scheduled-changes/{id}``."""
    call.account.data["scheduled"].remove(_one(call))
    call.account.saved()
    return 204, None


def carry_out(account: Account) -> None:
    """Apply what is due. One that no longer fits is dropped, as it fails at LaunchDarkly."""
    with account.lock:
        due = [one for one in account.data["scheduled"] if one["executionDate"] <= now()]
        for one in sorted(due, key=lambda one: int(one["executionDate"])):
            account.data["scheduled"].remove(one)
            flag = account.flags.get(one["flag"])
            if flag is None:
                continue
            try:
                after = applied(account, flag, one["environment"], one["instructions"])
            except Refusal as refusal:
                _log.warning("a scheduled change of %s failed: %s", one["flag"], refusal)
                continue
            account.commit_flag(one["flag"], after, by="scheduled change", comment=one["comment"])
        if due:
            account.saved()


class Clock:
    """The thread that carries out what is due."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="emulator-schedule", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; what becomes due in the meantime is carried out by the next one."""
        with self._account.lock:
            self._ended = True
            self._account.changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        with self._account.lock:
            while not self._ended:
                carry_out(self._account)
                dates = [one["executionDate"] for one in self._account.data["scheduled"]]
                wait = max(0.001, (min(dates) - now()) / 1000) if dates else None
                self._account.changed.wait(wait)


SERVED: Final[list[tuple[str, str, Serve]]] = [
    ("GET", _PATH, list_changes),
    ("POST", _PATH, create_change),
    ("GET", f"{_PATH}/{{id}}", get_change),
    ("PATCH", f"{_PATH}/{{id}}", patch_change),
    ("DELETE", f"{_PATH}/{{id}}", delete_change),
]


def _change(call: Call, changed: Json, instruction: Any) -> None:
    kind, value = instruction.get("kind"), instruction.get("value")
    if kind == "replaceScheduledChangesInstructions":
        applied(call.account, _flag(call), changed["environment"], value)
        changed["instructions"] = value
    elif kind == "updateScheduledChangesExecutionDate":
        if not isinstance(value, int) or value <= now():
            raise invalid("executionDate must be in the future")
        changed["executionDate"] = value
    else:
        raise invalid(f"unknown instruction kind '{kind}'")


def _flag(call: Call) -> Json:
    call.account.environment(call.path["environment"])
    return call.account.flag(call.path["flag"])


def _mine(call: Call) -> list[Json]:
    where = (call.path["flag"], call.path["environment"])
    return [one for one in call.account.data["scheduled"] if (one["flag"], one["environment"]) == where]


def _one(call: Call) -> Json:
    _flag(call)
    for one in _mine(call):
        if one["_id"] == call.path["id"]:
            return one
    raise missing("Unknown scheduled change")


def _href(call: Call) -> str:
    flag, environment = call.path["flag"], call.path["environment"]
    return f"/api/v2/projects/{call.account.project}/flags/{flag}/environments/{environment}/scheduled-changes"


def _shown(call: Call, one: Json) -> Json:
    made = {name: value for name, value in one.items() if name not in {"flag", "environment", "comment"}}
    made["_links"] = {"self": link(f"{_href(call)}/{one['_id']}"), "parent": link(_href(call))}
    return made
