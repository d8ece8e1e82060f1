"""Two controllers on one Split flag: ``python -m tests.proofs.split_writers --writes 1000 [--store]``.

Split's API compares nothing, so the lock of the store is all there is; here each controller has two threads, too. See
``tests.proofs.writers``.
"""

from __future__ import annotations

from typing import Any

from flagbrake.ports.adapter import AdapterSettings
from flagbrake_split import SplitAdapter
from flagbrake_split.emulator import SplitEmulator
from tests.proofs import writers
from tests.proofs.stored import Proved, command


def run(writes: int) -> dict[str, Any]:
    """All writes of both controllers; what became of them."""
    with SplitEmulator("test") as split:
        settings = AdapterSettings("Default", "test", dict(split.admin_settings))
        return writers.contest(SplitAdapter, settings, writes, threads=2)


def prove(writes: int) -> Proved:
    """Run, and tell what was lost."""
    return writers.proved(run(writes))


if __name__ == "__main__":
    raise SystemExit(command("split-writers", __doc__, prove, writes=1000))
