"""The reference keeps the whole contract, bare and under the guard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake_contract import ControlContract, EventsContract, Harness, KillContract, ProviderContract
from tests.contract.reference import ReferenceProvider, reference


class TestReference(ProviderContract, EventsContract, KillContract, ControlContract):
    """The reference itself."""

    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        """Fresh for every rule."""
        with reference() as made:
            yield made


class TestGuardedReference(ProviderContract, EventsContract):
    """The guard over the reference."""

    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        """Fresh for every rule."""
        with reference(lambda vendor: Guard(ReferenceProvider(vendor), Board("contract"))) as made:
            yield made
