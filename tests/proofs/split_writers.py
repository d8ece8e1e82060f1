"""Two controllers on one Split flag: ``python -m tests.proofs.split_writers --writes 1000 [--store]``.

Each controller is a process of its own with two threads: its own connections to the emulator's management API, its
own connection to the store whose lock keeps them apart. Split's API compares nothing, so the lock is all there is.
All writes are aimed at one flag at once, and each adds one unit to its targets after reading it: a write over a
stale document would lose somebody's unit. In the end every unit must be there.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import LockBusy
from flagbrake.model.flag import Flag, Targets
from flagbrake.model.state import Change, Create, FlagState, SetTargets
from flagbrake.ports.adapter import AdapterSettings
from flagbrake.store import open_store
from flagbrake_split import SplitAdapter
from flagbrake_split.emulator import SplitEmulator
from tests.proofs.stored import Proved, command

CONTROLLERS, THREADS = 2, 2
PROJECT, ENVIRONMENT, KEY = "Default", "test", "contested"


def _controller(number: int, writes: int, options: dict[str, Any], url: str, results: Any) -> None:
    control = SplitAdapter().control(AdapterSettings(PROJECT, ENVIRONMENT, options))
    with (
        open_store(url, project=PROJECT, environment=ENVIRONMENT) as store,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        writer = FlagWriter(control, lock=store.locks, audit=store.audit, wait=30.0)
        took = list(pool.map(lambda turn: _add(writer, f"{number}-{turn}"), range(writes)))
    control.close()
    results.put(took)


def _add(writer: FlagWriter, unit: str) -> float:
    def decide(state: FlagState) -> Change:
        have = tuple(key for target in state.flag.targets for key in target.keys)
        return SetTargets(KEY, (Targets("on", (*have, unit)),))

    begun = time.monotonic()
    while True:
        try:
            writer.modify(KEY, decide, by=f"controller-{unit.partition('-')[0]}", reason="proof")
        except LockBusy:
            continue
        return time.monotonic() - begun


def run(writes: int) -> dict[str, Any]:
    """All writes of both controllers; what became of them."""
    with TemporaryDirectory() as folder, SplitEmulator(ENVIRONMENT) as split:
        url = f"sqlite:///{Path(folder) / 'locks.db'}"
        open_store(url, project=PROJECT, environment=ENVIRONMENT, create=True).close()
        options = dict(split.admin_settings)
        control = SplitAdapter().control(AdapterSettings(PROJECT, ENVIRONMENT, options))
        control.apply(Create(Flag.boolean(KEY)), by="proof")
        # Spawned, not forked: the emulator's threads are here.
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        share = writes // CONTROLLERS
        processes = [
            context.Process(target=_controller, args=(number, share, options, url, results))
            for number in range(CONTROLLERS)
        ]
        for process in processes:
            process.start()
        took = [seconds for _ in processes for seconds in results.get(timeout=120 + writes)]
        for process in processes:
            process.join(30)
        there = {key for target in control.read(KEY).flag.targets for key in target.keys}
        control.close()
    wanted = {f"{number}-{turn}" for number in range(CONTROLLERS) for turn in range(share)}
    return {
        "writes": len(took),
        "controllers": CONTROLLERS,
        "threads_each": THREADS,
        "lost_updates": len(wanted - there),
        "strange_units": len(there - wanted),
        "write_median_ms": round(statistics.median(took) * 1000, 1),
    }


def prove(writes: int) -> Proved:
    """Run, and tell what was lost."""
    found = run(writes)
    return Proved(found, [f"{what}: {found[what]}" for what in ("lost_updates", "strange_units") if found[what]])


if __name__ == "__main__":
    raise SystemExit(command("split-writers", __doc__, prove, writes=1000))
