"""How LaunchDarkly says no: a status, and ``{"code", "message", "id"}``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

_CODES: Final = {
    400: ("invalid_request", "Invalid request body"),
    401: ("unauthorized", "Invalid access token"),
    403: ("forbidden", "Forbidden. Access to the requested resource was denied."),
    404: ("not_found", "Invalid resource identifier"),
    405: ("method_not_allowed", "Approval is required to make this request"),
    409: ("optimistic_locking_error", "Conflict. Optimistic lock error. Try again later."),
    422: ("patch_failed", "Unprocessable entity. Unable to process update description."),
    429: ("rate_limited", "You've exceeded the API rate limit. Try again later."),
}


class Refusal(Exception):
    """A request that is refused; nothing was changed."""

    def __init__(self, status: int, message: str = "", *, code: str = "") -> None:
        usual, text = _CODES.get(status, ("internal_service_error", "Internal service error"))
        self.status = status
        self.code = code or usual
        self.message = message or text
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        """As LaunchDarkly words it."""
        return {"code": self.code, "message": self.message, "id": str(uuid.uuid4())}


def invalid(message: str) -> Refusal:
    """400: the request cannot be understood or does not fit."""
    return Refusal(400, message)


def missing(message: str = "") -> Refusal:
    """404: there is no such thing."""
    return Refusal(404, message)


def refusal_of(status: int) -> tuple[Any, Mapping[str, str]]:
    """Body and headers of a status, for faults."""
    headers = {}
    if status == 429:
        headers = {
            "X-Ratelimit-Global-Remaining": "0",
            "X-Ratelimit-Route-Remaining": "0",
            "X-Ratelimit-Reset": str(int(time.time() * 1000) + 1000),
        }
    return Refusal(status).body(), headers
