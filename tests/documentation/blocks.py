"""Runs a page's code blocks, in order, in one empty folder with an empty home.

``bash`` blocks run with ``bash -euo pipefail``; a line that starts with ``pip install`` or ``make`` is
left out (the test environment stands for it). ``python`` blocks run as programs; one whose first line is
``# NAME.py`` is saved under that name instead, for a later block to start. ``toml`` blocks must be
accepted as configuration when they begin with ``# flagbrake.toml``, which also saves them. What a block
starts in the background is ended with the page.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SAVED = re.compile(r"# (\w+\.(?:py|toml))\n")
_LEFT_OUT = re.compile(r"^\s*(pip install|make|cd|git clone) .*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README and every page under docs/ that holds a block to run."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if any(b.language in {"bash", "python", "toml"} for b in blocks(page))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])


def run_page(page: Path, folder: Path) -> None:
    """Run all blocks of a page; AssertionError names the block and shows what it printed."""
    home = folder / "home"
    work = folder / "work"
    home.mkdir()
    work.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "COLUMNS": "120",
        "USER": "dana",
    }
    groups: list[int] = []
    try:
        for block in blocks(page):
            command = _command(block, work)
            if command is None:
                continue
            # Output goes to a file: a background process would hold a pipe open for ever.
            log = folder / "output.txt"
            with log.open("w+") as output:
                process = subprocess.Popen(
                    command, cwd=work, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                )
                groups.append(process.pid)
                code = process.wait(timeout=120)
            assert code == 0, f"{block.name} left with {code}:\n{block.text}\n---\n{log.read_text()}"
    finally:
        for group in groups:
            try:
                os.killpg(group, signal.SIGTERM)
            except ProcessLookupError:
                continue


def _command(block: Block, work: Path) -> list[str] | None:
    saved = _SAVED.match(block.text)
    if saved:
        (work / saved[1]).write_text(block.text, encoding="utf-8")
    match block.language:
        case "bash":
            return ["bash", "-euo", "pipefail", "-c", _LEFT_OUT.sub("", block.text)]
        case "python" if not saved:
            return [sys.executable, "-c", block.text]
        case "toml" if saved:
            return [sys.executable, "-c", f"import flagbrake.wiring as w; w.configuration({saved[1]!r})"]
        case _:
            return None
