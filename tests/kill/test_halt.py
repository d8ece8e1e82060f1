# ruff: noqa: BLE001, PT012 - agents are written like this, and what a block raises is the subject
"""Stopping agents that are written the way people write them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flagbrake.errors import ConfigError, Halted, InvalidInput, ToolDenied
from flagbrake.kill import halt, runtime
from flagbrake.kill.board import Board
from flagbrake.model.kill import KillMode, Scope, UnknownPolicy
from tests.kill.support import ENVIRONMENT, Agent, LaneInHand

pytestmark = pytest.mark.usefixtures("installed")


def test_an_unkilled_agent_runs_to_its_end(lane):
    """The checks change nothing while nothing is killed."""
    agent = Agent()
    agent.run()
    assert (agent.models, agent.tools) == (8, 8)


def test_a_loop_that_retries_on_exception_makes_no_further_call(lane):
    """The stop is not an Exception: `except Exception: retry` does not swallow it."""
    agent = Agent(lambda n: lane.kill("agent:refunds") if n == 2 else None)
    with pytest.raises(Halted) as stop:
        agent.run()
    assert (agent.models, agent.tools) == (2, 2)
    assert stop.value.kill.scope == Scope.parse("agent:refunds")


def test_every_later_check_of_the_run_stops_too_even_after_a_restore(lane):
    """A body that swallows even BaseException meets the stop at each check until the run ends."""
    calls = 0
    with pytest.raises(Halted), halt.scope("agent:refunds"):
        for n in range(5):
            try:
                halt.check()
                calls += 1
                if n == 1:
                    lane.kill("agent:refunds")
            except BaseException:
                lane.lift()
    assert calls == 2
    halt.check("agent:refunds")  # a new run after the restore may go on


def test_check_without_arguments_uses_the_run_and_everything(lane):
    """No argument: the scopes of the current run; outside of a run only `*` counts."""
    made = lane.kill("agent:refunds")
    halt.check()
    lane.lift(made)
    with pytest.raises(Halted), halt.scope("agent:refunds.tools"):
        lane.kill("agent:refunds")
        halt.check()
    lane.lift()
    lane.kill("*")
    with pytest.raises(Halted):
        halt.check()


def test_other_agents_are_untouched(lane):
    """A kill stops what its scope covers and nothing else."""
    lane.kill("agent:refunds")
    halt.check("agent:orders", "tool:search")
    with halt.scope("agent:orders"):
        halt.check()


@pytest.mark.parametrize("bad", ["refunds", "agent:", "planet:mars"])
def test_a_scope_that_is_none_is_refused(lane, bad):
    """A typo in a check would never stop anything: it raises at once, killed or not."""
    with pytest.raises(InvalidInput):
        halt.check(bad)


def test_drain_refuses_new_runs_and_lets_the_present_one_finish(lane):
    """Drain: what runs goes on, its own inner blocks included; what starts is refused."""
    with halt.scope("agent:refunds"):
        lane.kill("agent:refunds", mode=KillMode.DRAIN)
        halt.check()
        halt.check_tool("search")
        with halt.scope("agent:refunds.step"):
            halt.check()
        refused = []

        def start_another():
            try:
                with halt.scope("agent:refunds"):
                    refused.append(False)
            except Halted:
                refused.append(True)

        thread = threading.Thread(target=start_another)
        thread.start()
        thread.join()
        assert refused == [True]
    with pytest.raises(Halted), halt.scope("agent:refunds"):
        pytest.fail("started under a drain")


def test_drain_of_another_agent_refuses_its_runs_inside_ours(lane):
    """A run in progress does not carry others through a drain."""
    with halt.scope("agent:planner"):
        lane.kill("agent:refunds", mode=KillMode.DRAIN)
        with pytest.raises(Halted), halt.scope("agent:refunds"):
            pytest.fail("started under a drain")
        halt.check()


def test_deny_tool_denies_the_tool_and_lets_the_run_go_on(lane):
    """deny-tool: this tool is refused with an ordinary exception; others and the run go on."""
    lane.kill("tool:search", mode=KillMode.DENY_TOOL)
    with halt.scope("agent:refunds"):
        with pytest.raises(ToolDenied):
            halt.check_tool("search")
        with pytest.raises(ToolDenied):
            halt.check_tool("search.web")
        halt.check_tool("calculator")
        halt.check()


def test_deny_tool_on_an_agent_denies_all_its_tools(lane):
    """A deny-tool kill of an agent takes its tools, not its life."""
    lane.kill("agent:refunds", mode=KillMode.DENY_TOOL)
    halt.check_tool("search")
    with halt.scope("agent:refunds"):
        halt.check()
        with pytest.raises(ToolDenied):
            halt.check_tool("search")


def test_check_tool_honours_halt(lane):
    """A halted run uses no tool; a tool killed in halt mode stops who uses it."""
    with pytest.raises(Halted), halt.scope("agent:refunds"):
        lane.kill("agent:refunds")
        halt.check_tool("search")
    lane.lift()
    lane.kill("tool:search")
    with pytest.raises(Halted):
        halt.check_tool("search")


def test_nothing_installed_is_said():
    """Without a runtime nothing could be killed: the check says so instead of passing."""
    outer = runtime.current()
    runtime.uninstall(outer)
    try:
        with pytest.raises(ConfigError, match=r"flagbrake\.provider\(\)"):
            halt.check("agent:refunds")
    finally:
        runtime.install(outer)


def test_unknown_closed_counts_as_killed():
    """Where the policy is closed, a silent lane stops agents."""
    board = Board(ENVIRONMENT, policy=UnknownPolicy.CLOSED, lanes=["store"])
    made = runtime.install(runtime.Runtime(board=board))
    try:
        with pytest.raises(Halted, match="has not been heard"):
            halt.check("agent:refunds")
        LaneInHand(board)
        halt.check("agent:refunds")
    finally:
        runtime.uninstall(made)


# --- the decorator ---


def test_stoppable_replies_instead_of_raising(lane):
    """reply= is for services that must answer: a value, or a callable that gets the kill."""

    @halt.stoppable("agent:refunds", reply="closed")
    def answer():
        return "open"

    @halt.stoppable("agent:refunds", reply=lambda kill: f"closed: {kill.reason}")
    def explain():
        return "open"

    @halt.stoppable("agent:refunds")
    def bare():
        return "open"

    assert (answer(), explain(), bare()) == ("open", "open", "open")
    lane.kill("agent:refunds")
    assert (answer(), explain()) == ("closed", "closed: broken")
    with pytest.raises(Halted):
        bare()


def test_stoppable_replies_when_the_kill_comes_in_the_middle(lane):
    """A check deep inside the body ends at the boundary, past every `except Exception`."""

    @halt.stoppable("agent:refunds", reply="stopped")
    def service():
        Agent(lambda n: lane.kill("agent:refunds") if n == 2 else None).run()
        return "done"

    assert service() == "stopped"


async def test_async_stoppable_cancels_a_body_that_waits(lane):
    """The kill arrives in mid-await from another thread: the body is cancelled and the reply given."""
    cancelled = asyncio.Event()

    @halt.stoppable("agent:refunds", reply="stopped")
    async def service():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    call = asyncio.create_task(service())
    await asyncio.sleep(0.02)
    await asyncio.to_thread(lane.kill, "agent:refunds")
    assert await asyncio.wait_for(call, 5) == "stopped"
    assert cancelled.is_set()


def test_a_stoppable_generator_stops_between_items(lane):
    """A stream ends with the reply; the generator is closed."""
    closed = []

    @halt.stoppable("agent:refunds", reply="[stopped]")
    def stream():
        try:
            for n in range(10):
                yield str(n)
        finally:
            closed.append(True)

    seen = []
    for item in stream():
        seen.append(item)
        if item == "2":
            lane.kill("agent:refunds")
    assert seen == ["0", "1", "2", "[stopped]"]
    assert closed == [True]


async def test_a_stoppable_async_generator_stops_while_it_waits(lane):
    """A stream that waits for its next item is cancelled."""

    @halt.stoppable("agent:refunds", reply="[stopped]")
    async def stream():
        yield "0"
        await asyncio.sleep(60)
        yield "1"

    seen = []
    async for item in stream():
        seen.append(item)
        if item == "0":
            asyncio.get_running_loop().call_later(0.02, lane.kill, "agent:refunds")
    assert seen == ["0", "[stopped]"]


async def test_a_stoppable_async_generator_is_closed_before_its_reply_ends(lane):
    """Killed between two items: the stream's own cleanup has run when the consumer's loop is over."""
    closed = []

    @halt.stoppable("agent:refunds", reply="[stopped]")
    async def stream():
        try:
            yield "0"
            yield "1"
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    seen = []
    async for item in stream():
        seen.append(item)
        if item == "0":
            lane.kill("agent:refunds")
    assert seen == ["0", "[stopped]"]
    assert closed == [True]
