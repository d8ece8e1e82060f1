"""A board, a guard around a provider of ours, and a queue that keeps what it gets."""

from __future__ import annotations

import uuid

import pytest
from openfeature import api
from openfeature.exception import FlagNotFoundError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryProvider

from flagbrake.kill import runtime
from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake.kill.runtime import Runtime
from flagbrake.outcomes.tracking import Tracker
from flagbrake.ports.provider import FlagProvider
from tests.kill.support import ENVIRONMENT, LaneInHand


class Kept:
    """A recorder that keeps what it is given."""

    def __init__(self):
        self.outcomes = []

    def put(self, outcome):
        self.outcomes.append(outcome)
        return True

    @property
    def last(self):
        return self.outcomes[-1]


class Flags(FlagProvider):
    """Flags of every type; ``variants`` can be changed while runs are on."""

    name = "flags"

    def __init__(self):
        super().__init__()
        self.evaluations = 0
        self.values = {
            "agents.refunds": ("v2", "prompt two"),
            "switch": ("on", True),
            "settings": ("big", {"model": "large"}),
            "count": ("seven", 7),
            "ratio": ("half", 0.5),
        }

    def resolve(self, flag_key, context):
        self.evaluations += 1
        if flag_key not in self.values:
            raise FlagNotFoundError(f"No flag '{flag_key}'.")
        variant, value = self.values[flag_key]
        return FlagResolutionDetails(value, reason=Reason.STATIC, variant=variant, flag_metadata={"version": 12})


@pytest.fixture
def board():
    return Board(ENVIRONMENT)


@pytest.fixture
def lane(board):
    return LaneInHand(board)


@pytest.fixture
def flags():
    return Flags()


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def installed(board, flags, kept):
    domain = f"outcomes-{uuid.uuid4().hex}"
    guard = Guard(flags, board, tracker=Tracker(kept, ENVIRONMENT))
    api.set_provider_and_wait(guard, domain)
    made = runtime.install(Runtime(board=board, environment=ENVIRONMENT, provider=guard, queue=kept, domain=domain))
    yield made
    runtime.uninstall(made)
    api.set_provider_and_wait(InMemoryProvider({}), domain)


@pytest.fixture
def client(installed):
    return api.get_client(installed.domain)
