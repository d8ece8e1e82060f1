"""A board with one lane in the hand, and a runtime around it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from openfeature import api
from openfeature.provider.in_memory_provider import InMemoryProvider

from flagbrake.kill import runtime
from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake.kill.runtime import Runtime
from tests.kill.support import ENVIRONMENT, LaneInHand


@pytest.fixture
def board() -> Board:
    return Board(ENVIRONMENT)


@pytest.fixture
def lane(board: Board) -> LaneInHand:
    return LaneInHand(board)


@pytest.fixture
def installed(board: Board) -> Iterator[Runtime]:
    made = runtime.install(Runtime(board=board, environment=ENVIRONMENT))
    yield made
    runtime.uninstall(made)


@pytest.fixture
def domain():
    return f"guard-{uuid.uuid4().hex}"


@pytest.fixture
def serve(board, domain):
    """Register a provider behind a guard; return the client and the guard."""

    def register(inner, **options):
        guard = Guard(inner, board, **options)
        api.set_provider_and_wait(guard, domain)
        return api.get_client(domain), guard

    yield register
    api.set_provider_and_wait(InMemoryProvider({}), domain)
