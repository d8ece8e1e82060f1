"""LaunchDarkly keeps the contract: the real SDK streaming from the emulator, the control over its management API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openfeature.provider import FeatureProvider

from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake_contract import ControlContract, EventsContract, Harness, KillContract, ProviderContract
from tests.launchdarkly import account
from tests.launchdarkly.vendor import harness as launchdarkly_harness


def guarded(provider: FeatureProvider) -> Guard:
    """A guard with nothing killed."""
    return Guard(provider, Board("contract"))


class TestLaunchDarkly(ProviderContract, EventsContract, KillContract, ControlContract):
    """LaunchDarkly."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[Harness]:
        """One for all rules: they use keys of their own."""
        with launchdarkly_harness() as made:
            yield made


class TestGuardedLaunchDarkly(ProviderContract, EventsContract):
    """The guard over LaunchDarkly."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[Harness]:
        """One for all rules."""
        with launchdarkly_harness(guarded) as made:
            yield made


class TestLaunchDarklyOfAgents(KillContract, ControlContract):
    """LaunchDarkly, its targeting keys those of contexts of kind ``agent``."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[Harness]:
        """One for all rules."""
        with launchdarkly_harness(kind="agent") as made:
            yield made


class TestRealLaunchDarkly(ProviderContract, EventsContract, KillContract, ControlContract):
    """LaunchDarkly itself: a scratch project of an account, named by LAUNCHDARKLY_CONTRACT_*; else not collected."""

    __test__ = not account.missing()

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[Harness]:
        """One for all rules."""
        with account.account() as made:
            yield made
