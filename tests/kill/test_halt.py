# ruff: noqa: BLE001, PT012 - agents are written like this, and what a block raises is the subject
"""Stopping agents that are written the way people write them."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time

import pytest

from flagbrake.errors import ConfigError, Halted, InvalidInput, ToolDenied
from flagbrake.kill import halt, runtime
from flagbrake.kill.board import Board
from flagbrake.model.kill import KillMode, Scope, UnknownPolicy
from tests.kill.support import ENVIRONMENT, LaneInHand
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("installed")


class Agent:
    """A hand-written loop: a model that asks for tools, tools wrapped in ``except Exception: retry``."""

    def __init__(self, on_tool_call=lambda n: None, *, steps: int = 8):
        self.models = self.tools = 0
        self.on_tool_call = on_tool_call
        self.steps = steps

    def model(self):
        halt.check("agent:refunds")
        self.models += 1

    def tool(self):
        halt.check_tool("search")
        self.tools += 1
        self.on_tool_call(self.tools)
        halt.check("agent:refunds")

    def run(self):
        for _ in range(self.steps):
            self.model()
            for _attempt in range(3):
                try:
                    self.tool()
                    break
                except Exception:
                    continue


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


# --- the async block ---


async def kill_soon(lane, scope="agent:refunds", after=0.02):
    await asyncio.sleep(after)
    await asyncio.to_thread(lane.kill, scope)


async def test_the_block_raises_halted_and_leaves_no_cancellation_behind(lane):
    """Halted comes out, not CancelledError, and the task may await again."""
    killer = asyncio.create_task(kill_soon(lane))
    with pytest.raises(Halted):
        async with halt.scope("agent:refunds"):
            await asyncio.sleep(60)
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(0)
    await killer


async def test_a_kill_between_entry_and_listening_is_not_missed(board, lane):
    """The kill lands after the check at entry and before anybody listens: the body is cancelled all the same."""
    subscribe = board.subscribe

    def too_late(callback, *, late=False):
        lane.kill("agent:refunds")
        return subscribe(callback, late=late)

    board.subscribe = too_late

    async def body():
        async with halt.scope("agent:refunds"):
            await asyncio.sleep(60)

    with pytest.raises(Halted):
        await asyncio.wait_for(body(), 5)


async def test_a_cancellation_that_was_put_off_does_not_hit_what_follows(lane):
    """A body may end before it takes its cancellation (the guard puts it off by one await); it ends with the block."""

    async def puts_it_off():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            task.cancel()
            task.uncancel()

    async def body():
        killer = asyncio.create_task(kill_soon(lane))
        with pytest.raises(Halted):
            async with halt.scope("agent:refunds"):
                await puts_it_off()
        await asyncio.sleep(0)
        await killer
        return "went on"

    assert await asyncio.wait_for(asyncio.create_task(body()), 5) == "went on"


async def test_a_cancellation_from_outside_stays_a_cancellation(lane):
    """Cancelled by others, killed or not: CancelledError goes on."""

    async def body():
        async with halt.scope("agent:refunds"):
            await asyncio.sleep(60)

    task = asyncio.create_task(body())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    both = asyncio.create_task(body())
    await asyncio.sleep(0.01)
    both.cancel()
    lane.kill("agent:refunds")
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_timeouts_around_and_inside_keep_their_meaning(lane):
    """asyncio.timeout outside of the block and inside of it still raises TimeoutError without a kill."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02), halt.scope("agent:refunds"):
            await asyncio.sleep(60)
    with pytest.raises(TimeoutError):
        async with halt.scope("agent:refunds"):
            async with asyncio.timeout(0.02):
                await asyncio.sleep(60)
    killer = asyncio.create_task(kill_soon(lane))
    with pytest.raises(Halted):
        async with asyncio.timeout(30), halt.scope("agent:refunds"), asyncio.timeout(30):
            await asyncio.sleep(60)
    await killer


async def test_nested_blocks_of_one_kill_end_as_one_halt(lane):
    """Both blocks cancel the same task; the outermost one raises Halted and nothing is left over."""
    killer = asyncio.create_task(kill_soon(lane))
    with pytest.raises(Halted):
        async with halt.scope("agent:refunds"), halt.scope("agent:refunds.step"):
            await asyncio.sleep(60)
    assert asyncio.current_task().cancelling() == 0
    await killer


async def test_a_kill_of_the_inner_block_leaves_the_outer_one_running(lane):
    """Only the covered block ends."""
    killer = asyncio.create_task(kill_soon(lane, "agent:refunds.step"))
    async with halt.scope("agent:refunds"):
        with pytest.raises(Halted):
            async with halt.scope("agent:refunds.step"):
                await asyncio.sleep(60)
        await asyncio.sleep(0)
    await killer


async def test_a_body_that_swallows_the_cancellation_is_cancelled_again(lane):
    """`except asyncio.CancelledError: continue` does not survive."""
    swallowed = 0
    killer = asyncio.create_task(kill_soon(lane))
    with pytest.raises(Halted):
        async with halt.scope("agent:refunds", grace=0.02):
            while swallowed < 3:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    swallowed += 1
    assert swallowed == 3
    assert asyncio.current_task().cancelling() == 0
    await killer


async def test_a_task_group_is_stopped_whole(lane):
    """All children of a TaskGroup in the block are cancelled; none calls a tool again."""
    agents = [Agent(), Agent()]

    async def child(agent):
        while True:
            try:
                agent.model()
                await asyncio.sleep(0.001)
                agent.tool()
            except Exception:
                continue

    killer = asyncio.create_task(kill_soon(lane))
    with pytest.raises(Halted):
        async with halt.scope("agent:refunds"), asyncio.TaskGroup() as group:
            for agent in agents:
                group.create_task(child(agent))
    before = [(a.models, a.tools) for a in agents]
    await killer
    await asyncio.sleep(0.02)
    assert [(a.models, a.tools) for a in agents] == before
    assert all(a.models for a in agents)


async def test_gathered_children_are_stopped(lane):
    """asyncio.gather in the block: children cancelled, Halted out."""
    ended = []

    async def child(n):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(n)

    killer = asyncio.create_task(kill_soon(lane))
    with pytest.raises(Halted):
        async with halt.scope("agent:refunds"):
            await asyncio.gather(child(0), child(1))
    assert sorted(ended) == [0, 1]
    await killer


async def test_an_error_of_a_killed_body_does_not_hide_the_kill(lane):
    """A body that turns the cancellation into an error of its own still ends as Halted, with the cause."""
    killer = asyncio.create_task(kill_soon(lane))
    with pytest.raises(Halted) as stop:
        async with halt.scope("agent:refunds"):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise ValueError("wrapped") from None
    assert isinstance(stop.value.__cause__, ValueError)
    await killer


async def test_silence_stops_a_body_where_the_policy_is_closed():
    """A lane that goes silent sends nothing: the block looks at the clock itself."""
    board = Board(ENVIRONMENT, policy=UnknownPolicy.CLOSED)
    made = runtime.install(runtime.Runtime(board=board))
    try:
        LaneInHand(board).say(valid_for=0.05)
        with pytest.raises(Halted, match="gone silent"):
            async with halt.scope("agent:refunds"):
                await asyncio.sleep(60)
    finally:
        runtime.uninstall(made)


async def test_threads_of_a_run_see_its_scopes(lane):
    """asyncio.to_thread carries the run with it."""

    def work():
        lane.kill("agent:refunds")
        halt.check()

    with pytest.raises(Halted):
        async with halt.scope("agent:refunds"):
            await asyncio.to_thread(work)


async def test_kill_to_cancelled_is_quick(lane):
    """From the kill in a thread to the awaiting task cancelled: milliseconds at the worst, about 0.1 ms usually."""
    took = []
    for _ in range(50):
        started = asyncio.Event()
        at = []

        async def body(started=started, at=at):
            try:
                async with halt.scope("agent:refunds"):
                    started.set()
                    try:
                        await asyncio.sleep(60)
                    finally:
                        at.append(time.perf_counter())
            except Halted:
                pass

        task = asyncio.create_task(body())
        await started.wait()
        sent = []

        def send(sent=sent):
            sent.append(time.perf_counter())
            lane.kill("agent:refunds")

        thread = threading.Thread(target=send)
        thread.start()
        await task
        await asyncio.to_thread(thread.join)
        took.append(at[0] - sent[0])
        lane.lift()
    print(f"median {statistics.median(took) * 1e6:.0f} us, worst {max(took) * 1e6:.0f} us")
    assert statistics.median(took) < 0.05


def test_a_plain_block_checks_at_its_exit(lane):
    """`with` cannot interrupt; a body that never checks still cannot leave as if nothing had happened."""
    with pytest.raises(Halted), halt.scope("agent:refunds"):
        lane.kill("agent:refunds")


def test_the_board_is_left_clean(lane, board):
    """Ended blocks leave no subscription behind."""

    async def body():
        async with halt.scope("agent:refunds"):
            await asyncio.sleep(0)

    asyncio.run(body())
    wait_until(lambda: not board._soon, timeout=1, why="subscriptions are gone")
