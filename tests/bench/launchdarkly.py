"""LaunchDarkly: evaluation through the OpenFeature client against its floor and the vendor's own provider; kill to SDK.

Evaluation: one flag on the emulator, the real SDK streaming, analytics on as in production. The raw call is the SDK's
``variation_detail`` with its context built, as the vendor's documentation writes it.

Kill: ``flagbrake kill`` of a LaunchDarkly flag as the command line does it (lock, read, write, read back, audit in a
SQLite store), from the call to the moment at which another SDK client serves the off value.
"""

from __future__ import annotations

from ld_openfeature import LaunchDarklyProvider as Official  # the vendor's, a test dependency
from ldclient import Config, Context, LDClient

from tests.bench import vendors
from tests.bench.vendor_floor import CONTEXT, FLAG, measure
from tests.launchdarkly.vendor import ENVIRONMENT, Vendor, vendor


def evaluation(made: Vendor) -> dict[str, float]:
    """Ours against the floor and the official provider, in one run."""

    def config() -> Config:
        url = made.emulator.url
        return Config(made.emulator.sdk_key(ENVIRONMENT), base_uri=url, stream_uri=url, events_uri=url)

    raw = LDClient(config(), start_wait=5)
    attributes = CONTEXT.attributes

    def bare() -> object:
        builder = Context.builder(CONTEXT.targeting_key)
        for name, value in attributes.items():
            builder.set(name, value)
        return raw.variation_detail(FLAG, builder.build(), False)

    try:
        with vendors.clients({"ours": made.provider(), "official": Official(config(), 5)}) as clients:
            assert all(c.get_boolean_details(FLAG, False, CONTEXT).error_code is None for c in clients.values())
            return vendors.figures(measure(bare, vendors.booleans(clients)))
    finally:
        raw.close()


def measured() -> dict[str, float]:
    """All figures."""
    with vendor() as made:
        made.put(vendors.BOOLEAN)
        return evaluation(made) | vendors.kills(made.provider(), made.control())


def main(argv: list[str]) -> int:
    """Measure and print."""
    return vendors.command("launchdarkly", __doc__, measured, argv)
