"""The pytest fixtures that come with flagbrake."""

from __future__ import annotations

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext

from flagbrake.errors import InvalidInput
from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake.kill.runtime import Runtime, install, uninstall
from flagbrake.model.flag import Flag
from flagbrake.testing import MemoryProvider
from flagbrake.testing.killing import Killing
from flagbrake.testing.overriding import Override

CONTEXT = EvaluationContext("u1")


def test_override_restores_every_flag():
    """What was there comes back exactly; what was not there is gone; the last of several changes does not stay."""
    provider = MemoryProvider([before := Flag.boolean("checkout", version=4)])
    api.set_provider_and_wait(provider, "override")
    override = Override()
    override("checkout", False, domain="override")
    override("checkout", "blue", domain="override")
    override(Flag.boolean("new"), domain="override")
    assert api.get_client("override").get_string_value("checkout", "") == "blue"
    override.restore()
    assert provider.flags == {"checkout": before}


def test_override_reaches_through_the_guard():
    """The provider under a guard is found."""
    provider = MemoryProvider([Flag.boolean("checkout")])
    api.set_provider_and_wait(Guard(provider, Board()), "guarded")
    override = Override()
    override("checkout", False, domain="guarded")
    assert api.get_client("guarded").get_boolean_value("checkout", True) is False
    override.restore()


def test_override_refuses_other_providers():
    """A vendor's flags cannot be overridden: the error says what to set instead."""
    from openfeature.provider.in_memory_provider import InMemoryProvider

    api.set_provider_and_wait(InMemoryProvider({}), "foreign")
    with pytest.raises(InvalidInput, match="MemoryProvider"):
        Override()("checkout", True, domain="foreign")


def test_fixture_override_flag(override_flag):
    """Without any provider set, the fixture sets one; the flag is served at once."""
    override_flag("checkout", "v2")
    assert api.get_client().get_string_value("checkout", "v1", CONTEXT) == "v2"


def test_fixture_override_flag_was_undone():
    """The test before left nothing behind."""
    assert api.get_client().get_string_value("checkout", "v1", CONTEXT) == "v1"


@pytest.fixture
def board():
    made = Board("test")
    runtime = install(Runtime(made, "test"))
    yield made
    uninstall(runtime)


def test_fixture_kill(board, kill):
    """A kill is seen by the board at once and covers what is under its scope."""
    kill("agent:refunds", reason="double payments")
    assert board.is_killed("agent:refunds.tools")
    assert not board.is_killed("agent:billing")


def test_kills_are_lifted_at_the_end(board):
    """Nothing stands after the test, and the next test can kill again on the same board."""
    for _ in range(2):
        killing = Killing()
        first = killing("tool:shell")
        killing("tool:browser")
        killing.lift(first)
        assert not board.is_killed("tool:shell")
        assert board.is_killed("tool:browser")
        killing.lift_all()
        assert not board.is_killed("tool:browser")
