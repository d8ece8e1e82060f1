"""`flagbrake engine` as a process of the demonstration: it leaves when its standard input closes."""

from __future__ import annotations

import _thread
import argparse
import sys
import threading


def main() -> None:
    """Run the real command; whoever started this process ends it by closing its standard input."""
    from flagbrake.cli import main as flagbrake

    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    given = parser.parse_args()

    def leave_at_end_of_input() -> None:
        sys.stdin.read()
        _thread.interrupt_main()  # what Ctrl-C does: the engine finishes its tick and stops

    threading.Thread(target=leave_at_end_of_input, name="leaving", daemon=True).start()
    flagbrake(["--config", given.config, "engine"])


if __name__ == "__main__":
    main()
