"""LaunchDarkly's errors in our words, named by what the caller does next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    InvalidContextError,
    OpenFeatureError,
    ParseError,
    ProviderNotReadyError,
)

from flagbrake.errors import ApprovalRequired, Conflict, FlagbrakeError, InvalidInput, NotAllowed, NotFound

if TYPE_CHECKING:
    import httpx

_SDK: Final[Mapping[str, Callable[[str], OpenFeatureError]]] = {
    "CLIENT_NOT_READY": ProviderNotReadyError,
    "MALFORMED_FLAG": ParseError,
    "USER_NOT_SPECIFIED": InvalidContextError,
}
_SDK_SAYS: Final[Mapping[str, str]] = {
    "CLIENT_NOT_READY": "is not known: the SDK has no data yet",
    "MALFORMED_FLAG": "cannot be evaluated: its definition is damaged",
    "USER_NOT_SPECIFIED": "cannot be evaluated: the context is none that LaunchDarkly takes",
    "EXCEPTION": "cannot be evaluated: the SDK failed",
}


def unanswered(flag_key: str, reason: Mapping[str, Any]) -> OpenFeatureError:
    """The SDK's evaluation error as OpenFeature's."""
    kind = str(reason.get("errorKind", "FLAG_NOT_FOUND"))
    if kind == "FLAG_NOT_FOUND" or reason["kind"] != "ERROR":
        return FlagNotFoundError(f"Flag '{flag_key}' does not exist.")
    return _SDK.get(kind, GeneralError)(f"Flag '{flag_key}' {_SDK_SAYS.get(kind, f'answers {kind}')}.")


def explain(answer: httpx.Response, asked: str) -> FlagbrakeError:  # noqa: PLR0911 - a table of answers
    """The error for an answer of 400 and more of the management API."""
    said = _said(answer)
    fact = f"LaunchDarkly answered {answer.status_code} to {asked}: {said}"
    match answer.status_code:
        case 401:
            return NotAllowed(fact, cure="an API access token that is valid (an SDK key is none)")
        case 403:
            return NotAllowed(fact, cure="a token whose role may do this in this environment")
        case 404:
            return NotFound(fact, cure="look at project_key and environment_key, and at what this token may see")
        case 405:
            return ApprovalRequired(fact, cure="ask for an approval in LaunchDarkly, or use a token that may bypass it")
        case 409:
            return Conflict(fact, cure="read it again and decide again")
        case 400 if _pending(said):
            return ApprovalRequired(fact, cure="wait for the pending change in LaunchDarkly, or withdraw it")
        case _:
            return InvalidInput(fact)


def _pending(said: str) -> bool:
    text = said.lower()
    return any(word in text for word in ("scheduled", "pending", "approval"))


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", "no message")).rstrip(".") + "."
    except (ValueError, AttributeError):
        return "no message."


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds to wait after a 429: ``Retry-After``, else ``X-Ratelimit-Reset`` (milliseconds since 1970)."""
    for header, reading in (("Retry-After", float), ("X-Ratelimit-Reset", lambda text: _until(text, answer))):
        text = answer.headers.get(header)
        if text:
            try:
                return max(0.0, reading(text))
            except ValueError:
                continue
    return None


def _until(text: str, answer: httpx.Response) -> float:
    """Counted from the vendor's own clock where it tells it: ours may be wrong by a day."""
    try:
        now = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        now = time.time()
    return float(text) / 1000 - now
