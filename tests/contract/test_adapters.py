"""Our own adapters keep the contract, bare and under the guard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openfeature.provider import FeatureProvider

from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake_contract import ControlContract, EventsContract, Harness, KillContract, ProviderContract
from tests.contract import harnesses


def guarded(provider: FeatureProvider) -> Guard:
    """A guard with nothing killed."""
    return Guard(provider, Board("contract"))


class TestMemory(ProviderContract, EventsContract, KillContract, ControlContract):
    """The user's test double."""

    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        """Fresh for every rule."""
        with harnesses.memory() as made:
            yield made


class TestGuardedMemory(ProviderContract, EventsContract):
    """The guard over the user's test double."""

    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        """Fresh for every rule."""
        with harnesses.memory(guarded) as made:
            yield made


class TestSqlite(ProviderContract, EventsContract, KillContract, ControlContract):
    """SQL on SQLite."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
        """One for all rules: they use keys of their own."""
        with harnesses.sqlite(tmp_path_factory.mktemp("sqlite")) as made, made:
            yield made


class TestGuardedSqlite(ProviderContract, EventsContract):
    """The guard over SQL on SQLite."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
        """One for all rules."""
        with harnesses.sqlite(tmp_path_factory.mktemp("sqlite"), guarded) as made, made:
            yield made


@pytest.mark.postgresql
class TestPostgresql(ProviderContract, EventsContract, KillContract, ControlContract):
    """SQL on PostgreSQL."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
        """One for all rules."""
        with harnesses.postgresql(tmp_path_factory.mktemp("postgresql")) as made, made:
            yield made


@pytest.mark.postgresql
class TestGuardedPostgresql(ProviderContract, EventsContract):
    """The guard over SQL on PostgreSQL."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
        """One for all rules."""
        with harnesses.postgresql(tmp_path_factory.mktemp("postgresql"), guarded) as made, made:
            yield made
