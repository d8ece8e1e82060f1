"""Fixtures for pytest: flags and kills that last for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flagbrake.model.kill import Kill
    from flagbrake.testing.overriding import Override


@pytest.fixture
def override_flag() -> Iterator[Override]:
    """``override_flag("checkout", True)``: the flag serves this to everybody until the test ends.

    Works on the MemoryProvider that is set in OpenFeature (bare or under the guard; ``domain=`` picks one).
    Where no provider is set at all it sets one for the length of the test. A whole ``Flag`` may be given
    instead of key and value.
    """
    from flagbrake.testing.overriding import Override  # late: a plugin costs every test run its import

    override = Override()
    try:
        yield override
    finally:
        override.restore()


@pytest.fixture
def kill() -> Iterator[Callable[..., Kill]]:
    """``kill("agent:refunds", reason="...")``: the scope is killed in this process until the test ends.

    Travels as a lane of its own to the board that is installed (``flagbrake.provider()`` installs one);
    ``board=`` names another, ``mode=`` a mode.
    """
    from flagbrake.testing.killing import Killing

    killing = Killing()
    try:
        yield killing
    finally:
        killing.lift_all()
