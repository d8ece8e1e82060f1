"""What waits: scheduled changes, approval requests, releases, and what a patch would do to them."""

from __future__ import annotations

from flagbrake_launchdarkly.emulator.account import Account
from flagbrake_launchdarkly.emulator.editing import Json
from flagbrake_launchdarkly.emulator.patching import applied
from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid


def waiting(account: Account, key: str) -> list[Json]:
    """Scheduled changes and approval requests of a flag that are not applied yet."""
    scheduled = [one for one in account.data["scheduled"] if one["flag"] == key]
    approvals = [one for one in account.data["approvals"] if one["flag"] == key and one["status"] == "pending"]
    return scheduled + approvals


def refuse_conflicts(account: Account, before: Json, after: Json | None) -> None:
    """Refuse a change after which something that waits could no longer be applied.

    Raises:
        Refusal: 400, with what would fail.
    """
    for one in waiting(account, before["key"]):
        if _fits(account, before, one) and not (after is not None and _fits(account, after, one)):
            raise invalid("this change would cause a pending scheduled change or approval request to fail")


def active_release(account: Account, key: str, environment: str | None = None) -> Json | None:
    """The release of a flag that is under way."""
    for one in account.data["releases"]:
        here = environment in {None, one["environmentKey"]}
        if one["flagKey"] == key and here and one["status"] in {"pending", "in_progress", "waiting"}:
            found: Json = one
            return found
    return None


def is_guarded(account: Account, key: str) -> bool:
    """True while a release of the flag is watched by metrics, in any environment."""
    found = (active_release(account, key, environment) for environment in account.environments)
    return any(one is not None and one["kind"] == "guarded" for one in found)


def _fits(account: Account, flag: Json, one: Json) -> bool:
    try:
        applied(account, flag, one["environment"], one["instructions"])
    except Refusal:
        return False
    return True
