"""Stopping an agent: checks in its loop, a decorator around it, a block that cancels its body."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Token
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from flagbrake.errors import Halted
from flagbrake.kill import running, runtime
from flagbrake.kill.board import Board
from flagbrake.kill.running import Running
from flagbrake.kill.state import State
from flagbrake.model.kill import Kill, Scope

__all__ = ["check", "check_tool", "scope", "stoppable"]

P = ParamSpec("P")
R = TypeVar("R")


class _Raise:
    def __repr__(self) -> str:
        return "RAISE"


_RAISE: Final = _Raise()

#: What a kill does not replace when it leaves a block.
_PASSING: Final = (Halted, KeyboardInterrupt, SystemExit, GeneratorExit)

#: Seconds a cancelled body may take to clean up before it is cancelled again.
GRACE: Final = 0.5


def check(*scopes: str | Scope) -> None:
    """Stop here if any of these scopes, or the current run, is killed in ``halt`` mode.

    Without arguments: the scopes of the current run, or ``*`` outside of any. Call it before every model
    call and every step. It costs less than a microsecond and does no I/O. A run that was halted once stays
    halted: every later check raises too, also after a restore.

    Raises:
        Halted: a ``BaseException``, so that ``except Exception: retry`` does not swallow it.
        ConfigError: nothing is installed in this process.
        InvalidInput: not a scope.
    """
    running.ensure_going(runtime.current().board, scopes)


def check_tool(name: str, *scopes: str | Scope) -> None:
    """Stop before using a tool that is denied.

    Args:
        name: the tool's name, without ``tool:``.
        scopes: further scopes of this use, beside those of the current run.

    Raises:
        ToolDenied: a ``deny-tool`` kill covers the tool or the run; the run may go on without it.
        Halted: as :func:`check`.
        ConfigError: nothing is installed in this process.
    """
    running.ensure_tool(runtime.current().board, name, scopes)


def scope(*scopes: str | Scope, grace: float = GRACE) -> Block:
    """A block that a kill stops: ``async with halt.scope("agent:refunds"):`` or the plain ``with``.

    ``async with`` cancels the body's task as soon as the kill arrives, in whatever thread, and raises Halted
    out of the block. ``with`` cannot interrupt; it checks at entry and at exit. Both refuse to start under
    ``halt`` and ``drain``; only ``halt`` ends what is in progress.

    Args:
        scopes: what the block belongs to, beside the scopes of the run around it. None: only those, or ``*``.
        grace: seconds that a cancelled body may take to clean up before it is cancelled again.
    """
    return Block(scopes, grace=grace)


def stoppable(
    *scopes: str | Scope, reply: Any = _RAISE, grace: float = GRACE
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run every call of a function in a :func:`scope`. For sync and async functions and generators.

    Args:
        scopes: as for :func:`scope`.
        reply: answer this instead of raising Halted: a value, or a callable that gets the Kill. For services
            that must answer something. A generator yields it as its last item.
        grace: as for :func:`scope`.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        wrapper: Any
        call: Any = function
        if inspect.isasyncgenfunction(function):
            wrapper = _async_generator(call, scopes, reply, grace)
        elif inspect.isgeneratorfunction(function):
            wrapper = _generator(call, scopes, reply)
        elif inspect.iscoroutinefunction(function):
            wrapper = _coroutine(call, scopes, reply, grace)
        else:
            wrapper = _plain(call, scopes, reply)
        return functools.wraps(function)(wrapper)

    return decorate


def _answer(halted: Halted, reply: Any) -> Any:
    if reply is _RAISE:
        raise halted
    return reply(halted.kill) if callable(reply) else reply


def _plain(function: Callable[..., Any], scopes: tuple[str | Scope, ...], reply: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            with Block(scopes):
                return function(*args, **kwargs)
        except Halted as halted:
            return _answer(halted, reply)

    return call


def _coroutine(
    function: Callable[..., Any], scopes: tuple[str | Scope, ...], reply: Any, grace: float
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            async with Block(scopes, grace=grace):
                return await function(*args, **kwargs)
        except Halted as halted:
            answer = _answer(halted, reply)
            return await answer if inspect.isawaitable(answer) else answer

    return call


def _generator(function: Callable[..., Any], scopes: tuple[str | Scope, ...], reply: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps = function(*args, **kwargs)
        sent: Any = None
        try:
            while True:
                # One block per step: between two steps the consumer's code runs, which is not ours to stop.
                with Block(scopes):
                    try:
                        item = steps.send(sent)
                    except StopIteration as end:
                        return end.value
                sent = yield item
        except Halted as halted:
            yield _answer(halted, reply)
        finally:
            steps.close()
        return None

    return call


def _async_generator(
    function: Callable[..., Any], scopes: tuple[str | Scope, ...], reply: Any, grace: float
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = function(*args, **kwargs)
        sent: Any = None
        try:
            while True:
                async with Block(scopes, grace=grace):
                    try:
                        item = await steps.asend(sent)
                    except StopAsyncIteration:
                        return
                sent = yield item
        except Halted as halted:
            yield _answer(halted, reply)
        finally:
            await steps.aclose()

    return call


class Block:
    """What :func:`scope` returns; for one use."""

    def __init__(self, scopes: tuple[str | Scope, ...], *, grace: float = GRACE) -> None:
        self._scopes = scopes
        self._grace = grace
        self._board: Board | None = None
        self._running: Running | None = None
        self._token: Token[Running | None] | None = None
        self._watch: _Watch | None = None

    def _enter(self) -> tuple[Board, Running]:
        board = runtime.current().board
        outer = running.current()
        kill = running.refusing_start(board, outer, self._scopes)
        if kill is not None:
            raise Halted(kill)
        run = Running(self._scopes, outer)
        self._board, self._running = board, run
        self._token = running.enter(run)
        return board, run

    def _leave(self) -> Kill | None:
        """End the run; the kill that ended it, if one did."""
        assert self._board is not None
        assert self._running is not None
        assert self._token is not None
        running.leave(self._running, self._token)
        return running.halting(self._board, self._running)

    def __enter__(self) -> Running:
        return self._enter()[1]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kill = self._leave()
        # An exception of a halted body is often the kill's own doing, and a retry around it must not go on.
        if kill is not None and not isinstance(error, (*_PASSING, asyncio.CancelledError)):
            raise Halted(kill) from error

    async def __aenter__(self) -> Running:
        board, run = self._enter()
        self._watch = _Watch(board, run, self._grace)
        self._watch.start()
        return run

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._watch is not None
        kill = self._leave()
        cancelled_by_others = await self._watch.stop()
        if kill is None or isinstance(error, _PASSING):
            return
        if isinstance(error, asyncio.CancelledError):
            if cancelled_by_others:
                return
            raise Halted(kill) from None
        raise Halted(kill) from error


class _Watch:
    """Cancels a task when the kill arrives, and again if it will not listen."""

    def __init__(self, board: Board, run: Running, grace: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self._loop = asyncio.get_running_loop()
        self._board = board
        self._run = run
        self._grace = grace
        self._before = task.cancelling()
        self._cancels = 0
        self._over = False
        self._again: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._unsubscribe = self._board.subscribe(self._changed)
        # A kill between the check at entry and the subscription would wake nobody.
        self._changed(self._board.state, self._board.state)
        self._listen_for_silence()

    def _changed(self, old: State, new: State) -> None:
        """In any thread."""
        if self._over or running.halting(self._board, self._run) is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # the loop is closed: there is nothing left to cancel
            self._over = True

    def _listen_for_silence(self) -> None:
        """A lane that falls silent sends nothing; where that kills, look when its time is up."""
        state = self._board.state
        if self._over or not state.may_close or state.valid_until == float("inf"):
            return
        self._silence = self._loop.call_later(self._board.seconds_left(), self._listen_for_silence)

    def _cancel(self) -> None:
        if self._over or self._task.done():
            return
        self._cancels += 1
        self._task.cancel()
        if self._again is not None:
            self._again.cancel()
        self._again = self._loop.call_later(self._grace, self._cancel)

    async def stop(self) -> bool:
        """Stop watching; True if somebody else cancelled the task too."""
        self._over = True
        self._unsubscribe()
        for timer in (self._again, self._silence):
            if timer is not None:
                timer.cancel()
        left = self._task.cancelling()
        for _ in range(self._cancels):
            left = self._task.uncancel()
        by_others = left > self._before
        if self._cancels and not by_others and getattr(self._task, "_must_cancel", False):
            # Our own request, not delivered yet (Python 3.13 drops it in uncancel): it must not hit what follows.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        return by_others
