"""What Split's management API says, as errors of ours: named by what the caller does next."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from flagbrake.errors import (
    ApprovalRequired,
    ConfigError,
    Conflict,
    FlagbrakeError,
    InvalidInput,
    NotAllowed,
    NotFound,
)
from flagbrake.model.values import percent_of

if TYPE_CHECKING:
    import httpx

#: Seconds until a limit is over, one header for the organisation and one for the caller's address.
_RESETS: Final = ("X-RateLimit-Reset-Seconds-Org", "X-RateLimit-Reset-Seconds-IP", "Retry-After")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
#: Of the vendor's own words so many characters are shown.
_LONGEST: Final = 300


def explain(answer: httpx.Response, asked: str) -> FlagbrakeError:  # noqa: PLR0911 - one return for each answer
    """The error for an answer of 400 and more."""
    said = _message(answer)
    told = f": {said}" if said else " without a word"
    fact = f"Split answered {answer.status_code} to {asked}{told}."
    text, status = said.lower(), answer.status_code
    if status in {403, 409, 423} and ("pending" in text or "locked" in text):
        return ApprovalRequired(
            f"The flag is locked by a change request that waits for approval ({asked}).",
            cure="approve or withdraw the change request in Split",
        )
    if status == 403 and "approval" in text:
        return ApprovalRequired(
            f"Split wants changes of this environment approved ({asked}).",
            cure="submit a change request in Split, or use a key that may skip approvals",
        )
    match status:
        case 400 if not said:
            # This is how a workspace refuses that wants a title and a comment with every change.
            return InvalidInput(fact, cure="a reason with the change: the workspace may demand title and comment")
        case 401:
            return NotAllowed(f"Split does not accept the admin key ({asked}).", cure="another admin_key")
        case 402 | 403:
            return NotAllowed(fact, cure="a key whose role may do this")
        case 404:
            return NotFound(fact, cure="a flag, workspace and environment that this key may see")
        case 409:
            return Conflict(fact, cure="look at the flag and decide again")
        case _:
            return InvalidInput(fact)


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds until both limits, of the organisation and of the address, are over."""
    found = [seconds for name in _RESETS if (seconds := _seconds(answer.headers.get(name))) is not None]
    return max(found, default=None)


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None  # Retry-After may be a date


def _message(answer: httpx.Response) -> str:
    try:
        body: Any = answer.json()
    except ValueError:
        return answer.text.strip()[:_LONGEST]
    said = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(said or "").split())[:_LONGEST].rstrip(".")


# --- what the control refuses itself ---------------------------------------------------------------------


def no_flag(key: str, keys: Iterable[str], environment: str) -> NotFound:
    """There is no such flag; the nearest keys are named."""
    near = difflib.get_close_matches(key, list(keys), n=3, cutoff=0.5)
    return NotFound(f"There is no flag '{key}' in {environment}.", cure=" or ".join(near) or "flagbrake flag list")


def exists(key: str, environment: str) -> Conflict:
    """A flag of this key has a definition here."""
    return Conflict(
        f"Flag '{key}' exists already in {environment}.", cure="another key, or change the one that is there"
    )


def not_created(key: str, error: InvalidInput) -> InvalidInput:
    """The vendor refused to create a flag; where its name may be why, one that would do is told.

    Public descriptions speak of letters, digits, hyphens and underscores after a letter. That is a reading: the
    vendor is asked first.
    """
    if _NAME.fullmatch(key):
        return error
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", key).strip("-")
    fitting = plain if _NAME.fullmatch(plain) else f"flag-{plain}".rstrip("-")
    return InvalidInput(f"Split does not create a flag named '{key}'.", cure=f"'{fitting}'")


def moved(key: str, *, found: str, expected: str) -> Conflict:
    """The flag is not at the version that the caller saw."""
    return Conflict(
        f"Flag '{key}' was changed by somebody else (version {found}, not {expected}); nothing was written.",
        cure="read it again, then decide again",
    )


def no_place(names: Iterable[str], *, what: str, name: str) -> ConfigError:
    """There is no such workspace or environment."""
    there = sorted(names)
    return ConfigError(f"Split shows no {what} '{name}' to this key.", cure=" or ".join(there) or "another admin_key")


def too_fine(key: str, share: int) -> InvalidInput:
    """Split distributes in whole percents."""
    below = share - share % 1000
    return InvalidInput(
        f"{percent_of(share)} % of flag '{key}' is finer than Split can set (steps of 1 %).",
        cure=f"{percent_of(below)} or {percent_of(below + 1000)}",
    )


def exposed(key: str, allocation: int) -> InvalidInput:
    """A ramp by the default rule would reach only those who are inside the traffic allocation."""
    return InvalidInput(
        f"Flag '{key}' exposes {allocation} % of its traffic only: a split would be one of those.",
        cure="set its traffic allocation to 100 in Split first (ramps use the default rule)",
    )
