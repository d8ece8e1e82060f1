"""Two controllers on one flag of a vendor whose API compares nothing: no update may be lost.

Each controller is a process of its own: its own connections to the vendor's management API, its own connection to
the store whose lock keeps them apart. All writes are aimed at one flag at once, and each adds one unit to its targets
after reading it, so that a write over a stale document would lose somebody's unit. In the end every unit must be there.
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
from flagbrake.ports.adapter import Adapter, AdapterSettings
from flagbrake.store import open_store
from tests.proofs.stored import Proved

CONTROLLERS = 2
KEY = "contested"


def contest(adapter: type[Adapter], settings: AdapterSettings, writes: int, *, threads: int = 1) -> dict[str, Any]:
    """All writes of both controllers, each with some threads; what became of them."""
    control = adapter().control(settings)
    control.apply(Create(Flag.boolean(KEY)), by="proof")
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'locks.db'}"
        open_store(url, project=settings.project, environment=settings.environment, create=True).close()
        # Spawned, not forked: the emulator's threads are here.
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        share = writes // CONTROLLERS
        processes = [
            context.Process(target=_controller, args=(number, share, threads, adapter, settings, url, results))
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
        "threads_each": threads,
        "lost_updates": len(wanted - there),
        "strange_units": len(there - wanted),
        "write_median_ms": round(statistics.median(took) * 1000, 1),
    }


def proved(found: dict[str, Any]) -> Proved:
    """What speaks against it: units that were lost, or that nobody added."""
    return Proved(found, [f"{what}: {found[what]}" for what in ("lost_updates", "strange_units") if found[what]])


def _controller(
    number: int, writes: int, threads: int, adapter: type[Adapter], settings: AdapterSettings, url: str, results: Any
) -> None:
    control = adapter().control(settings)
    with (
        open_store(url, project=settings.project, environment=settings.environment) as store,
        ThreadPoolExecutor(threads) as pool,
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
