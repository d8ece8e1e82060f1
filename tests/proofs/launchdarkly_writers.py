"""Two controllers on one LaunchDarkly flag: ``python -m tests.proofs.launchdarkly_writers --writes 1000 [--store]``.

Each controller is a process of its own: its own connections to the emulator's management API, its own connection to
the store whose lock keeps them apart. All writes are aimed at one flag at once, and each adds one unit to its targets
after reading it, so that a write over a stale document would lose somebody's unit. In the end every unit must be there.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import LockBusy
from flagbrake.model.flag import Flag, Targets, Variant
from flagbrake.model.state import Change, FlagState, SetTargets
from flagbrake.model.values import FlagKind
from flagbrake.store import open_store
from flagbrake_launchdarkly.control import LaunchDarklyControl
from flagbrake_launchdarkly.options import ApiOptions
from tests.launchdarkly.vendor import ENVIRONMENT, vendor
from tests.proofs.stored import Proved, command

CONTROLLERS = 2
KEY = "contested"


def _controller(number: int, writes: int, settings: dict[str, str], url: str, results: Any) -> None:
    control = LaunchDarklyControl(ApiOptions(**settings), project="proof", environment=ENVIRONMENT)  # type: ignore[arg-type]
    took: list[float] = []
    with open_store(url, project="proof", environment=ENVIRONMENT) as store:
        writer = FlagWriter(control, lock=store.locks, audit=store.audit, wait=30.0)
        for turn in range(writes):
            begun = time.monotonic()
            _add(writer, f"{number}-{turn}")
            took.append(time.monotonic() - begun)
    control.close()
    results.put(took)


def _add(writer: FlagWriter, unit: str) -> None:
    def decide(state: FlagState) -> Change:
        have = tuple(key for target in state.flag.targets for key in target.keys)
        return SetTargets(KEY, (Targets("v2", (*have, unit)),))

    while True:
        try:
            writer.modify(KEY, decide, by=f"controller-{unit.partition('-')[0]}", reason="proof")
        except LockBusy:
            continue
        return


def run(writes: int) -> dict[str, Any]:
    """All writes of both controllers; what became of them."""
    variants = (Variant("v1", "one"), Variant("v2", "two"))
    with TemporaryDirectory() as folder, vendor() as made:
        url = f"sqlite:///{Path(folder) / 'locks.db'}"
        open_store(url, project="proof", environment=ENVIRONMENT, create=True).close()
        made.put(Flag(KEY, FlagKind.STRING, variants, "v1", off_variant="v1"))
        settings = {
            "api_token": made.emulator.api_token,
            "api_url": made.emulator.url,
            "project_key": made.emulator.account.project,
            "environment_key": ENVIRONMENT,
        }
        # Spawned, not forked: the emulator's threads are here.
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        share = writes // CONTROLLERS
        processes = [
            context.Process(target=_controller, args=(number, share, settings, url, results))
            for number in range(CONTROLLERS)
        ]
        for process in processes:
            process.start()
        took = [seconds for _ in processes for seconds in results.get(timeout=120 + writes)]
        for process in processes:
            process.join(30)
        control = made.control()
        there = {key for target in control.read(KEY).flag.targets for key in target.keys}
        control.close()
        version = made.emulator.flag(KEY)["environments"][ENVIRONMENT]["version"]
    wanted = {f"{number}-{turn}" for number in range(CONTROLLERS) for turn in range(share)}
    return {
        "writes": len(took),
        "controllers": CONTROLLERS,
        "lost_updates": len(wanted - there),
        "strange_units": len(there - wanted),
        "versions": version,
        "write_median_ms": round(statistics.median(took) * 1000, 1),
    }


def prove(writes: int) -> Proved:
    """Run, and tell what was lost."""
    found = run(writes)
    return Proved(found, [f"{what}: {found[what]}" for what in ("lost_updates", "strange_units") if found[what]])


if __name__ == "__main__":
    raise SystemExit(command("launchdarkly-writers", __doc__, prove, writes=1000))
