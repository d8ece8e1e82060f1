"""The story in five acts, every number in it measured while it is played."""

from __future__ import annotations

import os
import shlex
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flagbrake.demo.crew import Count, Crew, DemoFailed, Member, counts
from flagbrake.demo.settings import ENVIRONMENT, FLAG, SCOPE, WORKERS
from flagbrake.demo.show import Row, Scene, Show
from flagbrake.model.codec import checksum, dumps, flag_to_data
from flagbrake.model.flag import Distribution, Flag, Variant
from flagbrake.model.kill import Scope
from flagbrake.model.manifest import Declaration
from flagbrake.model.state import Create, FlagState
from flagbrake.model.values import WHOLE, FlagKind, percent_of, share_of
from flagbrake.rollout.plan import Plan
from flagbrake.rollout.state import Phase

if TYPE_CHECKING:
    from flagbrake.rollout.service import RolloutStatus
    from flagbrake.wiring import ControlPlane

#: Who acts in the demonstration, in the audit and in every reason.
OPERATOR: Final = "demo"
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
#: Short bakes, for an audience: hours become seconds, the judge and its error rate stay what they are.
_PLAN: Final[Mapping[str, Any]] = {
    "steps": "1,5,25,50,100",
    "bake": "3s",
    "interval": "1s",
    "settle": "1s",
    "checks": [{"min_sample": 20}],
}
_ROLLOUT_SECONDS: Final = 90.0
_PAUSE: Final = threading.Event()
_QUIET_NS: Final = 2_000_000_000
_TWINKLING: Final = 0.2


@dataclass(slots=True)
class Account:
    """What was measured, and which promises held."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    promises: list[tuple[str, bool]] = field(default_factory=list)

    def promise(self, text: str, *, held: bool) -> None:
        """Note one promise."""
        self.promises.append((text, held))

    @property
    def kept(self) -> bool:
        """True if every promise held."""
        return all(held for _, held in self.promises)


def tell(*, directory: Path | None = None, capture: Path | None = None) -> int:
    """Tell the whole story; returns the exit code: 0 only if every promise held.

    Args:
        directory: where the store and the logs stay; a new temporary directory unless given.
        capture: an SVG file to draw the terminal into.
    """
    from flagbrake.wiring import control_plane

    where = directory or Path(tempfile.mkdtemp(prefix="flagbrake-demo-"))
    where.mkdir(parents=True, exist_ok=True)
    config = where / "flagbrake.toml"
    show = Show(capture=capture)
    with _only_these_settings():
        config.write_text(_CONFIGURATION, encoding="utf-8")
        with Crew(where) as crew, control_plane(config, create=True) as plane:
            story = Story(show, crew, plane, config)
            try:
                kept = story.play()
            except KeyboardInterrupt:
                show.say("Interrupted: every process that was started is being stopped.", "yellow")
                return 130
    show.close()
    return 0 if kept else 1


class Story:
    """The acts, in order."""

    def __init__(self, show: Show, crew: Crew, plane: ControlPlane, config: Path) -> None:
        self.show = show
        self.crew = crew
        self.plane = plane
        self.config = config
        self.account = Account()
        self.workers: list[Member] = []

    def play(self) -> bool:
        """All acts; True if every promise held."""
        begun = time.monotonic()
        self.curtain()
        self.rollout("v2", title="2  v2 is rolled out: two patterns instead of forty lines", meant_to_pass=False)
        self.rollout("v3", title="3  v3 is v2, mended", meant_to_pass=True)
        before = self.plane.control.read(FLAG)
        self.kill()
        self.restore(before)
        self.summary(time.monotonic() - begun)
        return self.account.kept

    def curtain(self) -> None:
        """A flag, its safe variant, and four workers on v1."""
        show = self.show
        show.act("1  Four agents answer questions about Python's own documentation")
        variants = tuple(Variant(version, version) for version in VERSIONS)
        flag = Flag(FLAG, FlagKind.STRING, variants, "v1", off_variant="v1", description="The version that answers")
        self.plane.writer.apply(Create(flag), by=OPERATOR, reason="the demonstration begins")
        declaration = Declaration(FLAG, FlagKind.STRING, "v1", "v1", scopes=(Scope.parse(SCOPE),))
        self.plane.declare(declaration, by=OPERATOR, reason="the demonstration begins")
        names = [f"worker-{number}" for number in range(1, WORKERS + 1)]
        self.workers = [
            self.crew.start(name, "flagbrake.demo.worker", "--config", str(self.config), "--name", name)
            for name in names
        ]
        self.crew.start("engine", "flagbrake.demo.engine", "--config", str(self.config))
        show.say(f"store {self.plane.store.url_shown}, flag {FLAG}: {', '.join(VERSIONS)}; safe variant v1; {SCOPE}")
        self.crew.wait(
            lambda: all("beat" in worker.heard for worker in self.workers), seconds=60, why="the start of the workers"
        )
        self.crew.wait(lambda: bool(self.plane.store.engines.live(10)), seconds=30, why="the start of the engine")
        ready = self.workers[0].heard["ready"]
        show.say(f"{WORKERS} worker processes: {ready['questions']} questions over {ready['pages']} pages of help()")

    def rollout(self, canary: str, *, title: str, meant_to_pass: bool) -> None:
        """One rollout from 1 to 100 %, watched until it ends; nobody helps it."""
        show = self.show
        show.act(title)
        plan = Plan.from_options(FLAG, canary, "v1", **_PLAN)
        earlier = counts(self.workers)
        begun = time.monotonic()
        started = self.plane.rollouts.start(plan, by=OPERATOR, reason=f"{canary} is ready")
        steps: list[str] = []
        with show.live() as update:
            while True:
                status = self.plane.rollouts.status(started.id)
                if status.percent not in steps[-1:]:
                    steps.append(status.percent)
                update(self._scene(status, earlier))
                if status.terminal:
                    break
                if time.monotonic() > begun + _ROLLOUT_SECONDS:
                    raise DemoFailed(f"The rollout of {canary} did not end: {status.words}.", cure="a faster machine")
                self.crew.check()
                _PAUSE.wait(_TWINKLING)
        seconds = time.monotonic() - begun
        show.say(f"{status.phase.value} after {seconds:.0f} s: {status.words}", "bold")
        if meant_to_pass:
            self._passed(canary, status, steps, seconds)
        else:
            self._caught(canary, status, seconds)

    def _passed(self, canary: str, status: RolloutStatus, steps: list[str], seconds: float) -> None:
        way = " -> ".join(step for step in steps if step != "0")
        self.account.facts.append((f"{canary} went", f"{way} % in {seconds:.0f} s: {status.words}"))
        default = self.plane.control.read(FLAG).flag.default
        share = default.share(canary) if isinstance(default, Distribution) else WHOLE * (default == canary)
        held = status.phase is Phase.COMPLETED and share == WHOLE
        self.account.promise(f"{canary}, mended, went to 100 %", held=held)

    def _caught(self, canary: str, status: RolloutStatus, seconds: float) -> None:
        """What it took: the judge's own tally, and every run the bad version was given before it was gone."""
        tally = status.assessments[0]["tally"] if status.assessments else {}
        served = counts(self.workers).get(canary, Count(0, 0))
        judged = f"{tally.get('canary', 0)}, of which {tally.get('canary_bad', 0)} failed"
        given = f"{served.runs}, of which {served.failures} failed; {seconds:.1f} s from start to rollback"
        self.account.facts += [
            (f"runs of {canary} until detection", judged),
            (f"runs of {canary} in all", given),
            (f"decision on {canary}", status.words),
        ]
        default = self.plane.control.read(FLAG).flag.default
        held = status.phase is Phase.ROLLED_BACK and default == "v1" and bool(status.why)
        self.account.promise(f"{canary} was caught and rolled back by itself, with a reason", held=held)

    def _scene(self, status: RolloutStatus, earlier: Mapping[str, Count]) -> Scene:
        now = counts(self.workers)
        share = share_of(status.percent)
        shares = {status.canary: share, status.baseline: WHOLE - share}
        nothing = Count(0, 0)
        rows = [
            Row(
                version,
                f"{percent_of(shares[version])} %",
                now.get(version, nothing).minus(earlier.get(version, nothing)),
            )
            for version in sorted(shares)
        ]
        judged = status.assessments[0] if status.assessments else {}
        ended = status.terminal
        phase = status.phase.value if ended else f"step {status.step + 1} of {len(status.steps)}"
        return Scene(
            title=f"{FLAG}: {status.canary} against {status.baseline}",
            phase=phase if ended or not status.verdict else f"{phase}, {status.verdict}",
            words="" if ended else status.words,
            rows=rows,
            evidence=judged.get("evidence"),
            limit=judged.get("limit"),
        )

    def kill(self) -> None:
        """One command stops all four, in the middle of what they do."""
        show, workers = self.show, self.workers
        show.act(f"4  One kill: flagbrake kill {SCOPE}")
        started = time.monotonic_ns()
        receipt = self.plane.switch.kill(SCOPE, by=OPERATOR, reason="answers must stop now")
        confirmed = time.monotonic_ns()
        self.crew.wait(
            lambda: all((worker.last("halted", "stopped") or 0) > started for worker in workers),
            seconds=20,
            why="the stop of every worker",
        )
        show.say(f"receipt: {receipt.hearing}")
        stops = sorted((worker.last("halted", "stopped") - started) / 1e6 for worker in workers)
        calls = {worker.name: worker.last("halted", "calls") for worker in workers}
        show.say(f"stopped after {', '.join(f'{ms:.1f}' for ms in stops)} ms", "bold")
        show.say(f'worker-1 says: "{workers[0].last("halted", "why")}"')
        served = {worker.last("halted", "served") for worker in workers}
        reasons = {worker.last("halted", "reason") for worker in workers}
        show.say(f"who asks OpenFeature now is told {', '.join(sorted(served))}, reason {', '.join(sorted(reasons))}")
        moment = time.monotonic_ns()
        self.crew.wait(
            lambda: all((worker.last("beat", "at") or 0) > moment + _QUIET_NS for worker in workers),
            seconds=20,
            why="two seconds of silence",
        )
        later = {worker.name: worker.last("beat", "calls") for worker in workers}
        more = sum(later.values()) - sum(calls.values())
        show.say(f"two seconds later, the loops still running: {more} further tool calls")
        self.account.facts.append(("kill to last worker stopped", f"{stops[-1]:.1f} ms"))
        self.account.facts.append(("kill to receipt, all confirmed", f"{(confirmed - started) / 1e6:.0f} ms"))
        self.account.promise("one kill stopped all four workers, and no tool was called after it", held=more == 0)
        self.account.promise("a killed flag serves its safe variant", held=served == {"v1"} and reasons == {"DISABLED"})

    def restore(self, before: FlagState) -> None:
        """One command brings back exactly what was there."""
        show, workers = self.show, self.workers
        show.act(f"5  flagbrake restore {SCOPE}")
        started = time.monotonic_ns()
        self.plane.switch.restore(SCOPE, by=OPERATOR, reason="looked into, all is well")
        self.crew.wait(
            lambda: all((worker.last("resumed", "at") or 0) > started for worker in workers),
            seconds=20,
            why="the return of every worker",
        )
        back = max(worker.last("resumed", "at") - started for worker in workers) / 1e6
        after = self.plane.control.read(FLAG)
        same = _print_of(before) == _print_of(after) and before.version == after.version
        standing = self.plane.store.kills.read().kills
        versions = sorted({worker.last("resumed", "version") for worker in workers})
        show.facts(
            [
                ("before the kill", f"version {before.version}, checksum {_print_of(before)}"),
                (
                    "after the restore",
                    f"version {after.version}, checksum {_print_of(after)}; {len(standing)} kills stand",
                ),
            ]
        )
        show.say(f"four workers answer again with {', '.join(versions)}, the last after {back:.0f} ms")
        self.account.facts.append(("restore to last worker back", f"{back:.0f} ms"))
        self.account.promise(
            "restore brought back exactly what was there", held=same and not standing and versions == ["v3"]
        )

    def summary(self, seconds: float) -> None:
        """What was measured, which promises held, where to look next."""
        show = self.show
        show.act("What was promised, and what was measured")
        for text, held in self.account.promises:
            show.promise(text, held=held)
        total = sum(count.runs for count in counts(self.workers).values())
        show.print()
        show.facts([*self.account.facts, ("in all", f"{total} runs in {seconds:.0f} s")])
        command = f"flagbrake --config {shlex.quote(str(self.config))}"
        show.act("Where to look next")
        for words in ("history", f"flag explain {FLAG} --user dana", "rollout status", "doctor"):
            show.say(f"{command} {words}", "cyan")


def _print_of(state: FlagState) -> str:
    """A fingerprint of the flag as the provider keeps it."""
    return checksum(dumps({"flag": flag_to_data(state.flag), "native": state.native}))


@contextmanager
def _only_these_settings() -> Iterator[None]:
    """Hide ``FLAGBRAKE_*``: somebody's variables must not point the demonstration at their own store."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("FLAGBRAKE_")}
    try:
        yield
    finally:
        os.environ.update(hidden)
