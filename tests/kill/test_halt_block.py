# ruff: noqa: BLE001, PT012 - agents are written like this, and what a block raises is the subject
"""The block that cancels its body when a kill arrives."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time

import pytest

from flagbrake.errors import Halted
from flagbrake.kill import halt, runtime
from flagbrake.kill.board import Board
from flagbrake.model.kill import UnknownPolicy
from tests.kill.support import ENVIRONMENT, Agent, LaneInHand
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("installed")


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
