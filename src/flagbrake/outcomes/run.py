"""One run of an agent: its variant is fixed at the start, its outcome is recorded at the end."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext

from flagbrake.errors import Halted, InvalidInput, ToolDenied
from flagbrake.kill import running, runtime
from flagbrake.kill.convention import as_scope, context_scopes, flag_scopes
from flagbrake.kill.running import Running
from flagbrake.kill.runtime import Runtime
from flagbrake.model.kill import Scope
from flagbrake.model.outcome import Outcome, Result
from flagbrake.outcomes.choice import choose, merged
from flagbrake.outcomes.token import RunToken, unit_hash

_log = logging.getLogger("flagbrake.outcomes")

#: The metric of the run itself; tracked metrics have other names.
RUN: Final = "run"
_ERROR_BOUND: Final = 200

_current: ContextVar[Run | None] = ContextVar("flagbrake_run", default=None)


def run(
    flag: str,
    context: EvaluationContext | str | None = None,
    *,
    client: OpenFeatureClient | None = None,
    scopes: Iterable[str | Scope] = (),
    default: Any = None,
) -> Run:
    """Begin a run whose version a flag decides, for ``with`` and ``async with``.

    At the start the flag is evaluated once, whatever its type, and the run keeps that variant to its end,
    whatever happens to the flag meanwhile. The body is timed; leaving it normally records SUCCESS, with an
    exception FAILURE, by a kill KILLED, by a cancellation or Ctrl-C ABANDONED (the last two never count for or
    against a variant). Recording never breaks the body.

    Args:
        flag: the flag's key.
        context: the evaluation context, or just the targeting key.
        client: the OpenFeature client to ask; that of the installed runtime otherwise.
        scopes: what the run belongs to, beside ``flag:KEY`` and the scopes that the manifest declares.
        default: ``run.value`` if the flag cannot be evaluated.

    Raises:
        Halted: at entry, if a ``halt`` or ``drain`` kill covers the run.
        ConfigError: at entry, if nothing is installed in this process.
        InvalidInput: not a scope.
    """
    return Run(flag, context, client=client, scopes=scopes, default=default)


def current_run() -> Run | None:
    """The innermost run of this task or thread, ``None`` outside of any."""
    return _current.get()


def report(token: str, *, metric: str, ok: bool | None = None, value: float | None = None, error: str = "") -> bool:
    """Record feedback on a run from anywhere, later: ``token`` is its ``run.token``.

    The first report of a metric on a run counts, repetitions change nothing.

    Args:
        token: the text of ``run.token``.
        metric: the metric's name; not ``run``, which is the run itself.
        ok: whether it counts as good; ``None`` counts as good, for metrics that only have a value.
        value: a number: a score, an amount.
        error: what kind of failure, when ``ok`` is false.

    Returns:
        False when it could not be queued.

    Raises:
        InvalidInput: not a token, a token of another environment, or a metric without a name.
        ConfigError: nothing is installed in this process.
    """
    read = RunToken.parse(token)
    here = runtime.current()
    if here.environment and read.environment != here.environment:
        raise InvalidInput(
            f"This run belongs to environment '{read.environment}', this process to '{here.environment}'.",
            cure=f"report it from a process configured for '{read.environment}'",
        )
    if not metric or metric == RUN:
        raise InvalidInput(f"'{metric}' is not a metric of its own.", cure="a name such as 'resolved'")
    now = datetime.now(UTC)
    return _put(here, _outcome(read, now, _result(ok=ok), metric=metric, error=error, value=value))


class Run:
    """What :func:`run` returns; for one use.

    ``variant`` is ``None`` when the flag could not be evaluated: the body runs with ``default`` and nothing is
    recorded, because there is no variant to record it for.
    """

    def __init__(
        self,
        flag: str,
        context: EvaluationContext | str | None,
        *,
        client: OpenFeatureClient | None,
        scopes: Iterable[str | Scope],
        default: Any,
    ) -> None:
        self.flag = flag
        self.id = uuid.uuid4().hex
        self.variant: str | None = None
        self.value: Any = default
        self.version: int | None = None
        self.started_at: datetime | None = None
        self.scopes: tuple[Scope, ...] = ()
        self._context = EvaluationContext(context) if isinstance(context, str) else context or EvaluationContext()
        self._client = client
        self._given = tuple(as_scope(s) for s in scopes)
        self._runtime: Runtime | None = None
        self._running: Running | None = None
        self._inside: Token[Running | None] | None = None
        self._outer: Run | None = None
        self._clock = 0.0
        self._failed: str | None = None
        self._token: RunToken | None = None

    @property
    def token(self) -> str:
        """This run as text, for :func:`report` in another process; empty without a variant."""
        return str(self._token) if self._token is not None else ""

    def fail(self, why: str) -> None:
        """Count this run as a failure although the body does not raise; the last reason is recorded."""
        self._failed = why or "failed"

    def track(self, metric: str, *, ok: bool | None = None, value: float | None = None, error: str = "") -> bool:
        """Record a metric of this run; the first of each name counts. False when it was not queued."""
        if self._token is None or self._runtime is None or not metric or metric == RUN:
            _log.warning("Metric '%s' of a run of '%s' cannot be recorded.", metric, self.flag)
            return False
        now = datetime.now(UTC)
        return _put(self._runtime, _outcome(self._token, now, _result(ok=ok), metric=metric, error=error, value=value))

    # --- entering and leaving -------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._runtime is not None:
            raise InvalidInput(f"This run of '{self.flag}' was used already.", cure="run(...) once for each run")
        here = self._runtime = runtime.current()
        declaration = here.board.manifest.get(self.flag)
        seen = merged(self._context, self._client)
        self.scopes = (*flag_scopes(self.flag, declaration), *context_scopes(declaration, seen), *self._given)
        self.started_at = datetime.now(UTC)
        choice = choose(here, self.flag, self._context, self._client)
        if choice.error:
            _log.warning("A run of '%s' has no variant: %s", self.flag, choice.error)
        else:
            self.value = choice.value
        self.variant, self.version = choice.variant, choice.version
        if self.variant is not None:
            unit = unit_hash(seen.targeting_key, here.environment)
            self._token = RunToken(
                self.id, here.environment, self.flag, self.version or 0, self.variant, unit, self.started_at
            )
        outer = running.current()
        kill = running.refusing_start(here.board, outer, self.scopes)
        self._clock = time.perf_counter()
        if kill is not None:
            self._record(Result.KILLED, kill.id)
            raise Halted(kill)
        self._running = Running(self.scopes, outer)
        self._inside = running.enter(self._running)
        self._outer = _current.get()
        _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._running is not None
        assert self._inside is not None
        running.leave(self._running, self._inside)
        if _current.get() is self:
            _current.set(self._outer)
        try:
            self._record(*self._judged(error))
        except Exception:  # noqa: BLE001 - recording never breaks the body
            _log.exception("The outcome of a run of '%s' could not be recorded.", self.flag)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _judged(self, error: BaseException | None) -> tuple[Result, str]:
        assert self._running is not None
        cause = _deciding(error)
        if isinstance(cause, (Halted, ToolDenied)):
            return Result.KILLED, cause.kill.id
        if error is not None and self._running.kill is not None:
            # The body turned the stop into something else on its way out.
            return Result.KILLED, self._running.kill.id
        if cause is None:
            return (Result.SUCCESS, "") if self._failed is None else (Result.FAILURE, self._failed)
        name = type(cause).__name__
        if isinstance(cause, Exception):
            return Result.FAILURE, name if self._failed is None else self._failed
        return Result.ABANDONED, name

    def _record(self, result: Result, error: str) -> None:
        if self._token is None or self._runtime is None:
            return
        took = (time.perf_counter() - self._clock) * 1000
        _put(self._runtime, _outcome(self._token, datetime.now(UTC), result, error=error, duration_ms=took))


def _deciding(error: BaseException | None) -> BaseException | None:
    """The exception that says how the run ended: out of a group, a stop before an error before a cancellation."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_deciding(e) for e in error.exceptions]
    for kinds in ((Halted, ToolDenied), Exception, asyncio.CancelledError):
        for leaf in leaves:
            if isinstance(leaf, kinds):
                return leaf
    return leaves[0]


def _result(*, ok: bool | None) -> Result:
    return Result.FAILURE if ok is False else Result.SUCCESS


def _outcome(
    token: RunToken,
    at: datetime,
    result: Result,
    *,
    metric: str = RUN,
    error: str = "",
    value: float | None = None,
    duration_ms: float | None = None,
) -> Outcome:
    return Outcome(
        run_id=token.run_id,
        flag=token.flag,
        variant=token.variant,
        revision=token.version,
        unit=token.unit,
        started_at=token.started_at,
        finished_at=at,
        result=result,
        metric=metric,
        error_type=error[:_ERROR_BOUND],
        duration_ms=duration_ms,
        value=value,
    )


def _put(here: Runtime, outcome: Outcome) -> bool:
    if here.queue is None:
        return False
    try:
        return here.queue.put(outcome)
    except Exception:  # noqa: BLE001 - recording never breaks the body
        _log.exception("An outcome of '%s' could not be queued.", outcome.flag)
        return False
