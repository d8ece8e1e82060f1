"""What the tests of this room share: a lane in the hand, and kills written short."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Any

from flagbrake.kill import halt
from flagbrake.kill.board import Board
from flagbrake.model.kill import Kill, KillMode, KillSnapshot, Scope
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.ports.kills import KillView

ENVIRONMENT = "test"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def kill(scope: str, *, mode: KillMode = KillMode.HALT, ident: str = "", epoch: int = 1, **rest: Any) -> Kill:
    rest.setdefault("environment", ENVIRONMENT)
    return Kill(
        ident or f"k-{scope}", Scope.parse(scope), rest.pop("environment"), "broken", "ann", AT, epoch, mode, **rest
    )


def declared(*declarations: Declaration) -> Manifest:
    return Manifest({d.flag: d for d in declarations})


def view(
    epoch: int, *kills: Kill, manifest: Manifest | None = None, valid_until: float = math.inf, **rest: Any
) -> KillView:
    snapshot = KillSnapshot(rest.get("environment", ENVIRONMENT), epoch, kills)
    return KillView(snapshot, manifest or Manifest(), valid_until)


class LaneInHand:
    """A lane that says what the test says: keeps kills and epoch, tells the board at every change."""

    def __init__(self, board: Board, lane: str = "store", manifest: Manifest | None = None) -> None:
        self.board = board
        self.lane = lane
        self.epoch = 0
        self.kills: tuple[Kill, ...] = ()
        self.manifest = manifest or Manifest()
        self.say()

    def say(self, *, valid_for: float = 3600.0) -> None:
        self.board.receive(
            view(self.epoch, *self.kills, manifest=self.manifest, valid_until=time.monotonic() + valid_for),
            lane=self.lane,
        )

    def kill(self, scope: str, **rest: Any) -> Kill:
        self.epoch += 1
        made = kill(scope, epoch=self.epoch, **rest)
        self.kills = (*self.kills, made)
        self.say()
        return made

    def lift(self, made: Kill | None = None) -> None:
        self.epoch += 1
        self.kills = tuple(k for k in self.kills if made is not None and k.id != made.id)
        self.say()


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
                except Exception:  # noqa: BLE001 - agents are written like this
                    continue
