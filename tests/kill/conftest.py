"""A board with one lane in the hand, and a runtime around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flagbrake.kill import runtime
from flagbrake.kill.board import Board
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
