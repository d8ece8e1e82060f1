"""Split: evaluation through the OpenFeature client against its floor and the vendor's own provider; kill to SDK.

Evaluation: one flag on the emulator, the real SDK streaming, impressions on as in production. The raw call is the SDK's
``get_treatment_with_config`` with its attributes made, as the vendor's documentation writes it.

Kill: a kill through the writer as ``flagbrake kill`` does it (lock, read, write, read back, audit in a SQLite store),
from the call to the moment at which another SDK serves the default treatment.
"""

from __future__ import annotations

from typing import Any

from split_openfeature_provider import SplitProvider as Official  # the vendor's, a test dependency
from splitio import get_factory

from tests.bench import vendors
from tests.bench.vendor_floor import CONTEXT, FLAG, measure
from tests.split.controlling import control_of
from tests.split.vendor import ENVIRONMENT, Vendor, vendor


def evaluation(made: Vendor) -> dict[str, float]:
    """Ours against the floor and the official provider, in one run."""

    def factory() -> Any:
        started = get_factory(made.emulator.sdk_key(ENVIRONMENT), **made.emulator.sdk_addresses())
        started.block_until_ready(5)
        return started

    raw, behind = factory(), factory()
    sdk = raw.client()

    def bare() -> object:
        return sdk.get_treatment_with_config(CONTEXT.targeting_key, FLAG, dict(CONTEXT.attributes))

    assert bare()[0] == "on"  # type: ignore[index]
    official = Official({"SplitClient": behind.client()})
    try:
        with vendors.clients({"ours": made.provider(), "official": official}) as clients:
            assert all(client.get_boolean_value(FLAG, False, CONTEXT) is True for client in clients.values())
            return vendors.figures(measure(bare, vendors.booleans(clients)))
    finally:
        raw.destroy()
        behind.destroy()


def measured() -> dict[str, float]:
    """All figures."""
    with vendor() as made:
        made.put(vendors.BOOLEAN)
        control = control_of(made.emulator, ENVIRONMENT)
        return evaluation(made) | vendors.kills(made.provider(), control, patience=40)


def main(argv: list[str]) -> int:
    """Measure and print."""
    return vendors.command("split", __doc__, measured, argv)
