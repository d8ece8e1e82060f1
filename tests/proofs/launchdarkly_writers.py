"""Two controllers on one LaunchDarkly flag: ``python -m tests.proofs.launchdarkly_writers --writes 1000 [--store]``.

A semantic patch has no condition, so the lock of the store is all there is. See ``tests.proofs.writers``.
"""

from __future__ import annotations

from typing import Any

from flagbrake.ports.adapter import AdapterSettings
from flagbrake_launchdarkly.adapter import LaunchDarklyAdapter
from tests.launchdarkly.vendor import ENVIRONMENT, vendor
from tests.proofs import writers
from tests.proofs.stored import Proved, command


def run(writes: int) -> dict[str, Any]:
    """All writes of both controllers; what became of them."""
    with vendor() as made:
        options = {
            "api_token": made.emulator.api_token,
            "api_url": made.emulator.url,
            "project_key": made.emulator.account.project,
        }
        found = writers.contest(LaunchDarklyAdapter, AdapterSettings("proof", ENVIRONMENT, options), writes)
        version = made.emulator.flag(writers.KEY)["environments"][ENVIRONMENT]["version"]
    return {**found, "versions": version}


def prove(writes: int) -> Proved:
    """Run, and tell what was lost."""
    return writers.proved(run(writes))


if __name__ == "__main__":
    raise SystemExit(command("launchdarkly-writers", __doc__, prove, writes=1000))
