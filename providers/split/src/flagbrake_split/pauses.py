"""What is put around the SDK's methods, and where it would pause."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

_log = logging.getLogger("flagbrake.split")


def pause(attempt: int, delay: float, longest: float) -> float:
    """Seconds before another attempt; not the same for all of a fleet, or it would come as one."""
    seconds: float = min(delay * 2.0 ** min(attempt, 30), longest)
    return seconds * random.uniform(0.75, 1.0)  # noqa: S311 - no secret


def never_fails(owner: Any, method: str) -> None:
    """A thread of the SDK's would end with a traceback because the vendor is away, which is told otherwise."""
    original = getattr(owner, method)

    def quiet(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever the SDK makes of an answer
            _log.debug("Split's SDK could not %s: %s", method, type(error).__name__)
            return None

    setattr(owner, method, quiet)


def unchanged(since: int) -> dict[str, Any]:
    """A part of an answer of splitChanges: nothing is new."""
    return {"s": since, "t": since, "d": []}


def then(owner: Any, method: str, after: Callable[[], None]) -> None:
    """Call something after each call of a method."""
    original = getattr(owner, method)

    def both() -> None:
        try:
            original()
        finally:
            after()

    setattr(owner, method, both)


class Pause:
    """Stands where the SDK has its backoff: it waits itself and gives zero seconds to sleep."""

    def __init__(self, wait: Callable[[int], None]) -> None:
        #: Waits, by the number of attempts that failed.
        self._wait = wait
        self._attempt = 0

    def get(self) -> float:
        """Wait; there is nothing left to sleep."""
        attempt, self._attempt = self._attempt, self._attempt + 1
        self._wait(attempt)
        return 0.0

    def reset(self) -> None:
        """It went well."""
        self._attempt = 0
