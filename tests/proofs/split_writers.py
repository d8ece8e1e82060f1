"""Two controllers change one Split flag at once, many times: no change is lost.

Split's management API compares nothing, so what keeps writers apart is the lock: each change is read, decided and
written under it. ``python -m tests.proofs.split_writers 1000`` prints how many were lost: 0, or the exit code is 1.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flagbrake.control.writer import FlagWriter
from flagbrake.model.flag import Flag, Targets
from flagbrake.model.state import Change, Create, FlagState, SetTargets
from flagbrake.ports.adapter import AdapterSettings
from flagbrake.store import open_store
from flagbrake_split import SplitAdapter
from flagbrake_split.emulator import SplitEmulator

WRITERS = 4


def run(changes: int) -> int:
    """Add so many targets from several threads of two controllers; return how many are missing at the end."""
    with tempfile.TemporaryDirectory() as folder, SplitEmulator("test") as split:
        settings = AdapterSettings("Default", "test", dict(split.admin_settings))
        controls = [SplitAdapter().control(settings) for _ in range(2)]
        controls[0].apply(Create(Flag.boolean("refunds")), by="ann", comment="proof")
        url = f"sqlite:///{Path(folder) / 'store.db'}"
        # Each controller has a store of its own over the same database, as two machines would.
        with (
            open_store(url, project="Default", environment="test", create=True) as one,
            open_store(url, project="Default", environment="test") as two,
        ):
            writers = [
                FlagWriter(control, lock=store.locks, wait=120.0)
                for control, store in zip(controls, (one, two), strict=True)
            ]

            def add(number: int) -> None:
                def decide(state: FlagState) -> Change:
                    have = tuple(key for target in state.flag.targets for key in target.keys)
                    return SetTargets("refunds", (Targets("on", (*have, f"unit-{number}")),))

                writers[number % 2].modify("refunds", decide, by=f"writer-{number % 2}", reason="proof")

            with ThreadPoolExecutor(WRITERS) as pool:
                list(pool.map(add, range(changes)))
        kept = {key for target in controls[1].read("refunds").flag.targets for key in target.keys}
        for control in controls:
            control.close()
    return len({f"unit-{number}" for number in range(changes)} - kept)


def main() -> int:
    """Run the proof."""
    changes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    lost = run(changes)
    print(f"{changes} changes by two controllers, {lost} lost")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
