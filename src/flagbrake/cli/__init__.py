"""The command line: a thin door on the same verbs as the library."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from flagbrake.errors import FlagbrakeError, MissingExtra


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code. An error is one line on stderr, never a traceback."""
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
    except FlagbrakeError as error:
        if os.environ.get("FLAGBRAKE_DEBUG"):
            raise
        detail = getattr(error, "detail", "")
        sys.stderr.write(f"{detail.rstrip()}\n" if detail else "")
        sys.stderr.write(f"flagbrake: {error}\n")
        code = error.exit_code
    except Exception as error:
        if os.environ.get("FLAGBRAKE_DEBUG"):
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())
        sys.stderr.write(f"flagbrake: this is a bug: {told}. Try: FLAGBRAKE_DEBUG=1, and report what it prints\n")
        code = 70
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


def _run(argv: list[str]) -> int:
    try:
        from flagbrake.cli.app import run
    except ModuleNotFoundError as error:
        if error.name in {"typer", "rich"}:
            raise MissingExtra("The command line is not installed.", cure="pip install 'flagbrake[cli,sql]'") from None
        raise
    return run(argv)
