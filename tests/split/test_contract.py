"""Split keeps the contract: the real SDK streaming from the emulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flagbrake_contract import EventsContract, Harness, KillContract, ProviderContract
from tests.split.vendor import harness as split_harness


class TestSplit(ProviderContract, EventsContract, KillContract):
    """Split."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[Harness]:
        """One for all rules: they use keys of their own."""
        with split_harness() as made:
            yield made
