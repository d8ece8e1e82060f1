"""The run in progress: which scopes it has, and what the kills say about its going on, starting, using a tool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import ContextVar, Token
from typing import Final

from flagbrake.errors import Halted, ToolDenied
from flagbrake.kill.board import Board
from flagbrake.kill.convention import DENIES_TOOL, ENDS_RUN, REFUSES_RUN, as_scope, mode_of, refusing
from flagbrake.model.kill import EVERYTHING, Kill, KillMode, Scope, ScopeKind


class Running:
    """One run, or one block inside it, from its start to its end.

    ``kill`` is set once the run was halted: it stays halted even if the kill is lifted meanwhile, because
    part of its work has been cut off already.
    """

    __slots__ = ("kill", "parent", "scopes")

    def __init__(self, scopes: Iterable[str | Scope], parent: Running | None) -> None:
        self.scopes: tuple[Scope, ...] = tuple(as_scope(s) for s in scopes)
        self.parent = parent
        self.kill: Kill | None = None

    def lineage(self) -> Iterator[Running]:
        """This run and those around it."""
        run: Running | None = self
        while run is not None:
            yield run
            run = run.parent


_current: ContextVar[Running | None] = ContextVar("flagbrake_running", default=None)
_EVERYTHING: Final = (EVERYTHING,)


def current() -> Running | None:
    """The innermost run of this task or thread."""
    return _current.get()


def enter(run: Running) -> Token[Running | None]:
    """Make ``run`` the current one."""
    return _current.set(run)


def leave(run: Running, token: Token[Running | None]) -> None:
    """Make the run around ``run`` the current one again."""
    try:
        _current.reset(token)
    except ValueError:
        # Left in another context than it was entered in: an async generator closed by the event loop.
        if _current.get() is run:
            _current.set(run.parent)


def scopes_here(scopes: Iterable[str | Scope] = ()) -> tuple[Scope, ...]:
    """The scopes given and those of the current run and the runs around it; ``*`` when there are none."""
    run = _current.get()
    around = (s for r in (run.lineage() if run else ()) for s in r.scopes)
    return (*(as_scope(s) for s in scopes), *around) or _EVERYTHING


def halting(board: Board, run: Running | None, scopes: Iterable[str | Scope] = ()) -> Kill | None:
    """The kill that ends the run, remembered in the run; ``None`` while it may go on."""
    own = [as_scope(s) for s in scopes]  # first: a scope that is none must never pass as alive
    lineage = tuple(run.lineage()) if run is not None else ()
    for around in lineage:
        if around.kill is not None:
            return around.kill
    if board.view.quiet:
        return None
    wanted = (*own, *(s for r in lineage for s in r.scopes)) or _EVERYTHING
    kill = refusing(board.matching(wanted), ENDS_RUN)
    if kill is not None and run is not None:
        run.kill = kill
    return kill


def refusing_start(board: Board, run: Running | None, scopes: Iterable[str | Scope]) -> Kill | None:
    """The kill that refuses a new run (or block) with these scopes inside ``run``.

    A drain refuses what starts now. What starts inside a run that the drain covers belongs to a run in
    progress and goes on.
    """
    halted = halting(board, run, scopes)
    if halted is not None or board.view.quiet:
        return halted
    around = tuple(s for r in (run.lineage() if run is not None else ()) for s in r.scopes)
    wanted = (*(as_scope(s) for s in scopes), *around) or _EVERYTHING
    return refusing((k for k in board.matching(wanted) if not _lets_finish(k, run, around)), REFUSES_RUN)


def _lets_finish(kill: Kill, run: Running | None, around: tuple[Scope, ...]) -> bool:
    if run is None or mode_of(kill) is not KillMode.DRAIN:
        return False
    return kill.scope == EVERYTHING or any(kill.scope.covers(s) for s in around)


def denying(board: Board, run: Running | None, tool: str, scopes: Iterable[str | Scope]) -> Kill | None:
    """The kill that denies this tool (the run itself may go on)."""
    if board.view.quiet:
        return None
    own = Scope(ScopeKind.TOOL, tool)
    around = (s for r in (run.lineage() if run is not None else ()) for s in r.scopes)
    denied = refusing(board.matching((own, *(as_scope(s) for s in scopes), *around)), DENIES_TOOL)
    if denied is not None:
        return denied
    # A drained tool has no runs of its own to let finish: every call of it is a new use.
    return refusing((k for k in board.matching((own,)) if k.scope.kind is ScopeKind.TOOL), REFUSES_RUN)


def ensure_going(board: Board, scopes: Iterable[str | Scope]) -> None:
    """Raise Halted if the current run, or anything with these scopes, must stop."""
    kill = halting(board, _current.get(), scopes)
    if kill is not None:
        raise Halted(kill)


def ensure_tool(board: Board, tool: str, scopes: Iterable[str | Scope]) -> None:
    """Raise Halted or ToolDenied if this tool must not be used now."""
    run = _current.get()
    kill = halting(board, run, (*scopes, Scope(ScopeKind.TOOL, tool)))
    if kill is not None:
        raise Halted(kill)
    denied = denying(board, run, tool, scopes)
    if denied is not None:
        raise ToolDenied(denied)
