"""What the fixture ``kill`` does: a kill lane of its own, fed by the test."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from flagbrake.errors import NotFound
from flagbrake.kill import runtime
from flagbrake.kill.board import Board
from flagbrake.model.kill import Kill, KillMode, KillSnapshot, Scope
from flagbrake.model.manifest import Manifest
from flagbrake.ports.kills import KillView

_LANE = "testing"


class _Feed:
    """A KillFeed with one listener, the board."""

    def __init__(self, board: Board) -> None:
        self.environment = board.environment
        self.kills: tuple[Kill, ...] = ()
        # A lane's epoch never falls, also from one test to the next.
        before = board.state.lanes.get(_LANE)
        self.epoch = before.highest if before else 0
        self._receive: Callable[[KillView], None] | None = None

    def subscribe(self, receive: Callable[[KillView], None]) -> Callable[[], None]:
        self._receive = receive
        self.say(self.kills)
        return self._unsubscribe

    def say(self, kills: tuple[Kill, ...]) -> None:
        self.kills = kills
        self.epoch += 1
        if self._receive is not None:
            snapshot = KillSnapshot(self.environment, self.epoch, kills)
            self._receive(KillView(snapshot, Manifest(), math.inf))

    def _unsubscribe(self) -> None:
        self._receive = None


class Killing:
    """Callable; lifts everything at the end."""

    def __init__(self) -> None:
        self._feeds: list[tuple[Board, _Feed, Callable[[], None]]] = []

    def __call__(
        self,
        scope: str | Scope,
        *,
        reason: str = "killed by the test",
        by: str = "pytest",
        mode: KillMode | str = KillMode.HALT,
        serve: str | None = None,
        board: Board | None = None,
    ) -> Kill:
        """Kill a scope (``agent:refunds``, ``flag:checkout``, ``*``); the next check sees it.

        Raises:
            InvalidInput: not a scope. ConfigError: no board is installed in this process.
        """
        feed = self._feed(board or runtime.current().board)
        killed = Kill(
            id=f"test-{uuid.uuid4().hex[:8]}",
            scope=Scope.parse(scope) if isinstance(scope, str) else scope,
            environment=feed.environment,
            reason=reason,
            by=by,
            at=datetime.now(UTC),
            epoch=feed.epoch + 1,
            mode=KillMode(mode),
            serve=serve,
            lane=_LANE,
        )
        feed.say((*feed.kills, killed))
        return killed

    def lift(self, kill: Kill) -> None:
        """Lift one kill before the test ends.

        Raises:
            NotFound: this fixture did not make it.
        """
        for _, feed, _ in self._feeds:
            if any(standing.id == kill.id for standing in feed.kills):
                feed.say(tuple(standing for standing in feed.kills if standing.id != kill.id))
                return
        raise NotFound(f"Kill {kill.id} does not stand in this test.")

    def lift_all(self) -> None:
        """Lift every kill and stop speaking to the boards."""
        for _, feed, detach in reversed(self._feeds):
            feed.say(())
            detach()
        self._feeds.clear()

    def _feed(self, board: Board) -> _Feed:
        for known, feed, _ in self._feeds:
            if known is board:
                return feed
        feed = _Feed(board)
        self._feeds.append((board, feed, board.attach(feed, lane=_LANE)))
        return feed
