"""How commands speak: tables and lines for people, one JSON document with --json."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table

#: Columns of a line that nobody looks at in a terminal.
_WIDE: Final = 2000


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on; rich would leave with 1."""
        _unread()


class Output:
    """Collects what a command says; ``--json`` prints the data instead of the words."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        # What another program reads has one line for each row, however long.
        wide = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _WIDE
        self.console = _Console(highlight=False, soft_wrap=True, width=wide)
        self._data: dict[str, Any] = {}

    def line(self, text: str, *, style: str | None = None) -> None:
        """One line for people."""
        if not self.as_json:
            self.console.print(text, style=style, markup=False)

    def news(self, text: str) -> None:
        """One line for people, at once, from a command that goes on whether anybody still reads it or not."""
        if not self.as_json:
            with contextlib.suppress(OSError):
                sys.stdout.write(f"{text}\n")
                sys.stdout.flush()

    def warn(self, text: str) -> None:
        """One line on stderr, in both modes."""
        sys.stderr.write(f"flagbrake: {text}\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
        """A table, or the sentence that says why there is none."""
        if self.as_json:
            return
        made = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            # Names are what is looked for: a long one is broken, not cut off.
            made.add_column(column, overflow="fold")
        for row in rows:
            made.add_row(*(_cell(value) for value in row))
        if made.row_count:
            self.console.print(made)
        else:
            self.line(empty)

    def data(self, **values: Any) -> None:
        """What --json prints, under these names."""
        self._data.update(values)

    def finish(self) -> None:
        """Print the collected document, once: at the end of a command, or before one that goes on."""
        try:
            if self.as_json and self._data:
                sys.stdout.write(json.dumps(self._data, default=_plain, indent=2, ensure_ascii=False) + "\n")
                self._data = {}
            sys.stdout.flush()
        except BrokenPipeError:
            _unread()


def _unread() -> None:
    """The reader (head, less) has gone: what a command does, and how it leaves, is not its affair."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """``3 s``, ``12 min``, ``5 h``, ``9 d``; ``never`` for none."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{max(0, round(seconds / size))} {unit}"
    return f"{round(seconds / 86_400)} d"


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return str(value).replace("[", "\\[")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)
