"""What Unleash's admin API says, as errors of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flagbrake.errors import (
    ApprovalRequired,
    Conflict,
    FlagbrakeError,
    InvalidInput,
    NotAllowed,
    NotFound,
)

if TYPE_CHECKING:
    import httpx


def explain(answer: httpx.Response, asked: str) -> FlagbrakeError:  # noqa: PLR0911 - one per status
    """The error for an answer of 400 to 499."""
    said = _said(answer)
    match answer.status_code:
        case 401:
            return NotAllowed(f"Unleash refuses the admin token ({asked}).", cure="another `admin_token`")
        case 403 if "change request" in said.lower().replace("_", " "):
            return ApprovalRequired(
                f"Unleash wants a change request here ({asked}).", cure="open one in Unleash, or ask who may bypass it"
            )
        case 403:
            return NotAllowed(
                f"Unleash does not allow this to the admin token ({asked}): {said}.",
                cure="a token of a user or service account that may; a client's token may not",
            )
        case 404 if "NotFoundError" not in answer.text or "The path you were looking for" in said:
            return NotFound(f"Unleash has nothing at {asked}.", cure="look at `url`; some features are Enterprise only")
        case 404:
            return NotFound(f"{said}.")
        case 409:
            return Conflict(
                f"Unleash answered 409 to {asked}: {said or 'it exists already'}.",
                cure="look at it and decide again; a name is taken in all projects, by archived features too",
            )
        case _:
            return InvalidInput(f"Unleash refuses {asked} ({answer.status_code}): {said or 'without a word'}.")


def no_flag(key: str, keys: Iterable[str], environment: str) -> NotFound:
    """There is no such flag; the nearest are named."""
    near = difflib.get_close_matches(key, list(keys), n=3, cutoff=0.5)
    return NotFound(f"There is no flag '{key}' in {environment}.", cure=" or ".join(near) or "flagbrake flag list")


def no_project(project: str, projects: Iterable[str]) -> NotFound:
    """There is no such project, or the token may not see it."""
    cure = f"unleash_project = {' or '.join(repr(name) for name in projects) or 'another'}"
    return NotFound(f"Unleash shows no project '{project}' to this token.", cure=cure)


def no_environment(project: str, environment: str, environments: Iterable[str]) -> NotFound:
    """The project has no such environment, or it is not enabled there."""
    cure = " or ".join(environments) or "enable it there"
    return NotFound(f"Unleash's project '{project}' has no environment '{environment}'.", cure=cure)


def planned(key: str) -> ApprovalRequired:
    """A release plan of Unleash's owns the flag's strategies."""
    return ApprovalRequired(
        f"The strategies of '{key}' are a release plan's (Enterprise): what is written beside it, it would overrule.",
        cure="change the plan in Unleash, or take it off the flag; switching off needs neither",
    )


def moved(key: str, *, found: str, expected: str) -> Conflict:
    """The flag is not at the version that the caller saw."""
    return Conflict(
        f"Flag '{key}' was changed by somebody else (version {found}, not {expected}); nothing was written.",
        cure="read it again, then decide again",
    )


def _said(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    details = [d.get("message", "") for d in body.get("details") or () if isinstance(d, dict)]
    return ("; ".join(d for d in details if d) or str(body.get("message") or "")).strip().rstrip(".")
