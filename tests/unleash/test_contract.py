"""The Unleash adapter keeps the contract, on the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flagbrake_contract import ControlContract, EventsContract, Harness, KillContract, ProviderContract
from tests.unleash.harnesses import Vendor
from tests.unleash.harnesses import harness as harness_of


class TestUnleash(ProviderContract, EventsContract, KillContract, ControlContract):
    """Both planes."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, quick_vendor: Vendor) -> Iterator[Harness]:
        """One for all rules: they use keys of their own."""
        with harness_of(quick_vendor) as made:
            yield made
