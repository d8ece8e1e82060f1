"""What the audience sees: a live table on a terminal, plain lines elsewhere, and a tape for the picture."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flagbrake.demo.crew import Count

_TAPE_WIDTH = 108


@dataclass(frozen=True, slots=True)
class Row:
    """One version at a glance; ``share`` is the percentage it is given now, as text."""

    version: str
    share: str
    count: Count


@dataclass(frozen=True, slots=True)
class Scene:
    """A rollout at one moment: at which step (the share as text, empty before and after), and what the judge says.

    ``evidence`` and ``limit`` are ``None`` before the judge has seen anything.
    """

    title: str
    step: str
    phase: str
    words: str
    rows: Sequence[Row]
    evidence: float | None = None
    limit: float | None = None


class Update(Protocol):
    """Shows a scene."""

    def __call__(self, scene: Scene) -> None:
        """Show it in place of the last one."""


class Show:
    """Prints to the terminal and, when asked to, onto a tape that becomes an SVG."""

    def __init__(self, *, capture: Path | None = None, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = _TAPE_WIDTH
        self.capture = capture
        self._tape = Console(
            record=True, file=io.StringIO(), width=_TAPE_WIDTH, force_terminal=True, highlight=False,
            color_system="truecolor",
        )  # fmt: skip

    def print(self, what: RenderableType = "") -> None:
        """One line or table, everywhere."""
        self.console.print(what)
        self._tape.print(what)

    def _line(self, line: Text) -> None:
        self.console.print(line, soft_wrap=True)  # whole lines: commands are there to be copied
        self._tape.print(line)

    def act(self, title: str) -> None:
        """A new part of the story."""
        self.print()
        self.print(Text(title, style="bold"))

    def say(self, text: str, style: str = "") -> None:
        """One line of the story."""
        self._line(Text(f"  {text}", style=style))

    def promise(self, text: str, *, held: bool) -> None:
        """A promise and whether it held."""
        mark = Text("  held    ", style="green") if held else Text("  BROKEN  ", style="bold red")
        self.print(mark + Text(text, style=""))

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Names and figures, aligned."""
        width = max(len(name) for name, _ in facts)
        for name, figure in facts:
            self._line(Text.assemble((f"  {name.ljust(width)}  ", "dim"), figure))

    @contextmanager
    def live(self) -> Iterator[Update]:
        """Show scenes in one place; each step leaves one line behind, and the last scene stays."""
        last: list[Scene] = []

        def shown(scene: Scene) -> None:
            if last and last[0].step and last[0].step != scene.step and last[0].words:
                self._line(_left_behind(last[0]))
            last[:] = [scene]

        if self.console.is_terminal:
            with Live(console=self.console, auto_refresh=False, transient=True) as live:

                def update(scene: Scene) -> None:
                    shown(scene)
                    live.update(picture(scene), refresh=True)

                yield update
        else:
            yield shown
        for scene in last:
            self.print(picture(scene))

    def close(self) -> None:
        """Write the tape."""
        if self.capture:
            self.capture.parent.mkdir(parents=True, exist_ok=True)
            picture = self._tape.export_svg(title="flagbrake demo")
            # The picture loads nothing from elsewhere: without the web font its letters are the reader's own.
            self.capture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8")


def picture(scene: Scene) -> RenderableType:
    """The table of a scene."""
    table = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    table.add_column("  version")
    for heading in ("share", "runs", "failures", "failed"):
        table.add_column(heading, justify="right")
    for row in scene.rows:
        share = row.count.share
        failed = "-" if share is None else f"{share * 100:.1f} %"
        table.add_row(f"  {row.version}", row.share, f"{row.count.runs}", f"{row.count.failures}", failed)
    head = Text(f"  {scene.title}: {scene.phase}", style="cyan")
    return Group(head, table, Text(f"  {_judged(scene)}", style="dim"))


def _left_behind(scene: Scene) -> Text:
    """What is remembered of a step: ``at 5 %: v2 fails 7.1 %, v1 1.5 %; evidence 12``."""
    return Text(f"  at {scene.step:>5}: {_judged(scene)}", style="dim")


def _judged(scene: Scene) -> str:
    if scene.evidence is None or scene.limit is None:
        return scene.words
    evidence = f"{scene.evidence:.0f}" if scene.evidence >= 10 else f"{scene.evidence:.2g}"
    bar = _bar(scene.evidence, scene.limit)
    return "; ".join(filter(None, (scene.words, f"evidence {evidence} of {scene.limit:.0f} {bar}")))


def _bar(evidence: float, limit: float) -> str:
    """How near the judge is to a rollback; logarithmic, as evidence multiplies."""
    filled = 0 if evidence <= 1 else min(10, round(10 * math.log(evidence) / math.log(limit)))
    return "[" + "#" * filled + "." * (10 - filled) + "]"
