"""A fresh emulator, and no proxies between it and the SDK."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flagbrake.ports.control import FlagControl
from flagbrake_split.emulator import SplitEmulator
from tests.split.controlling import control_of
from tests.split.sdk import no_proxies


@pytest.fixture(autouse=True, scope="session")
def _direct() -> Iterator[None]:
    with no_proxies():
        yield


@pytest.fixture
def split() -> Iterator[SplitEmulator]:
    """One environment, ``test``, and ``production`` beside it."""
    with SplitEmulator("test", "production") as emulator:
        yield emulator


@pytest.fixture
def control(split: SplitEmulator) -> Iterator[FlagControl]:
    """Split's control over the emulator."""
    made = control_of(split)
    yield made
    made.close()
