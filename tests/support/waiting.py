"""Waiting for a condition, with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 10, why: str = "the condition") -> T:
    """Return the first true value of ``predicate``; fail after ``timeout`` seconds, saying ``why`` we waited."""
    pause = threading.Event()
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"Waited {timeout} s in vain for {why}.")
        pause.wait(0.005)
