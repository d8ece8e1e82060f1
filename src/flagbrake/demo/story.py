"""The story in five acts, every number in it measured while it is told."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flagbrake.demo import braking, rolling
from flagbrake.demo.crew import Crew, counts
from flagbrake.demo.settings import ENVIRONMENT, FLAG, SCOPE, WORKERS
from flagbrake.demo.show import Show
from flagbrake.demo.stage import OPERATOR, Stage
from flagbrake.errors import InvalidInput
from flagbrake.model.flag import Flag, Variant
from flagbrake.model.kill import Scope
from flagbrake.model.manifest import Declaration
from flagbrake.model.state import Create
from flagbrake.model.values import FlagKind

VERSIONS: Final = ("v1", "v2", "v3")
_CONFIGURATION: Final = f"""\
use = "sql"
environment = "{ENVIRONMENT}"
state_dir = "state"

[store]
url = "sqlite:///flagbrake.db"

[engine]
interval = 0.5
"""
_START_SECONDS: Final = 90.0


def tell(*, directory: Path | None = None, capture: Path | None = None, plan: Mapping[str, Any] = rolling.PLAN) -> int:
    """Tell the whole story; returns the exit code: 0 only if every promise held.

    Args:
        directory: an empty or new folder where the store and the logs stay; a temporary one unless given.
        capture: an SVG file to draw the terminal into.
        plan: steps, bake and checks of both rollouts.

    Raises:
        InvalidInput: the folder has something in it.
        DemoFailed: a process died, or something did not happen in time. Everything started is stopped.
    """
    from flagbrake.wiring import control_plane

    show = Show(capture=capture)
    where = _empty(directory)
    config = where / "flagbrake.toml"
    config.write_text(_CONFIGURATION, encoding="utf-8")
    try:
        with _no_other_settings(), Crew(where) as crew, control_plane(config, create=True) as plane:
            kept = play(Stage(show, crew, plane, config), plan)
    except KeyboardInterrupt:
        show.say("interrupted: every process that was started has been stopped", "yellow")
        return 130
    show.close()
    return 0 if kept else 1


def play(stage: Stage, plan: Mapping[str, Any] = rolling.PLAN) -> bool:
    """All acts; True if every promise held."""
    show, begun = stage.show, time.monotonic()
    show.act("1  Four agents answer questions about Python's own documentation")
    set_up(stage)
    show.act("2  v2 is rolled out: two patterns instead of forty lines")
    if rolling.caught(stage, "v2", plan):  # else nobody can go on from there
        show.act("3  v3 is rolled out: v2, mended")
        rolling.passed(stage, "v3", plan)
        before = stage.plane.control.read(FLAG)
        show.act(f"4  One command stops all four: flagbrake kill {SCOPE}")
        braking.kill(stage)
        show.act(f"5  One command brings back what was there: flagbrake restore {SCOPE}")
        braking.restore(stage, before, {"v3"})
    sum_up(stage, time.monotonic() - begun)
    return stage.account.kept


def set_up(stage: Stage) -> None:
    """A flag, its safe variant, four workers on v1 and an engine."""
    plane = stage.plane
    variants = tuple(Variant(version, version) for version in VERSIONS)
    flag = Flag(FLAG, FlagKind.STRING, variants, "v1", off_variant="v1", description="The version that answers")
    plane.writer.apply(Create(flag), by=OPERATOR, reason="the demonstration begins")
    declaration = Declaration(FLAG, FlagKind.STRING, "v1", "v1", scopes=(Scope.parse(SCOPE),))
    plane.declare(declaration, by=OPERATOR, reason="the demonstration begins")
    settings = ("--config", str(stage.config))
    for number in range(1, WORKERS + 1):
        name = f"worker-{number}"
        stage.workers.append(stage.crew.start(name, "flagbrake.demo.worker", *settings, "--name", name))
    stage.crew.start("engine", "flagbrake.demo.engine", *settings)
    stage.show.say(f"flag {FLAG} serves v1 of {', '.join(VERSIONS)}; safe variant v1, scope {SCOPE}; SQLite")
    stage.crew.wait(
        lambda: all("beat" in worker.heard for worker in stage.workers) and bool(plane.store.engines.live(10)),
        seconds=_START_SECONDS,
        why="the start of the workers and the engine",
    )
    ready = stage.workers[0].heard["ready"]
    stage.show.say(f"{WORKERS} worker processes and an engine: {ready['questions']} questions, {ready['pages']} pages")


def sum_up(stage: Stage, seconds: float) -> None:
    """What was measured, which promises held, where to look next."""
    show, account = stage.show, stage.account
    show.act("What was promised, and what was measured")
    for text, held in account.promises:
        show.promise(text, held=held)
    total = sum(count.runs for count in counts(stage.workers).values())
    show.print()
    show.facts([*account.facts, ("in all", f"{total} runs in {seconds:.0f} s")])
    show.act("Where to look next")
    command = f"flagbrake --config {shlex.quote(str(stage.config))}"
    for words in ("history", f"rollout status {FLAG}", f"flag explain {FLAG} --user dana", "doctor"):
        show.say(f"{command} {words}", "cyan")


def _empty(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="flagbrake-demo-"))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        occupied = any(directory.iterdir())
    except OSError as error:
        raise InvalidInput(f"{directory} cannot be used ({error.strerror}).", cure="another --dir") from error
    if occupied:
        raise InvalidInput(f"{directory} has something in it.", cure="an empty or new folder for --dir")
    return directory


@contextmanager
def _no_other_settings() -> Iterator[None]:
    """Hide ``FLAGBRAKE_*``: somebody's variables must not point the demonstration at their own store."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FLAGBRAKE_")}
    try:
        yield
    finally:
        os.environ.update(hidden)
