"""Unleash: evaluation through the OpenFeature client against its floor and the published providers; kill to SDK.

Evaluation: a boolean feature with a constraint and a rollout of 50 %, and one with two variants, on the real server,
metrics on as in production. The raw call is the SDK's ``is_enabled`` or ``get_variant`` with its context built.

Kill: ``flagbrake kill`` of an Unleash feature as the command line does it (lock, read, write, read back, audit in a
SQLite store), from the call to the moment at which another SDK client that polls every second serves it. The server
itself looks for changes once a second, so most of it is waiting.
"""

from __future__ import annotations

from collections.abc import Callable

from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.unleash import UnleashProvider as Contributed  # others', test dependencies
from unleash_openfeature_python_provider import UnleashFlagProvider as Official
from UnleashClient import UnleashClient

from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Flag, Rule, Variant, ramp
from flagbrake.model.values import FlagKind
from flagbrake_unleash.sdk import MemoryCache
from tests.bench import vendors
from tests.bench.vendor_floor import CONTEXT, FLAG, measure
from tests.unleash.harnesses import Vendor, vendor

_TEXT = f"{FLAG}-text"
_NORWAY = Rule("norway", (Clause(Attribute(("country",)), Op.IN, ("NO",)),), ramp("on", 50_000, "off"))


def flags() -> tuple[Flag, ...]:
    """One boolean, one of two texts."""
    texts = (Variant("v1", "one"), Variant("v2", "two"))
    return (
        Flag.boolean(FLAG, default="off", rules=(_NORWAY,)),
        Flag(_TEXT, FlagKind.STRING, texts, ramp("v2", 50_000, "v1"), off_variant="v1"),
    )


def evaluation(made: Vendor) -> dict[str, float]:
    """Ours against the floor and the better of the published providers, in one run; the worse of two kinds counts."""
    url, headers = f"{made.gate.url}/api", {"Authorization": made.token}
    raw = UnleashClient(url, "bench-raw", custom_headers=headers, cache=MemoryCache(), refresh_interval=60)
    raw.initialize_client()
    providers = {
        "official": Official(url=url, app_name="bench-official", custom_headers=headers, cache=MemoryCache()),
        "contributed": Contributed(url, "bench-contributed", made.token, cache=MemoryCache()),
        "ours": made.provider(refresh_interval=60.0),
    }
    asked = {"userId": CONTEXT.targeting_key, "properties": dict(CONTEXT.attributes)}
    try:
        with vendors.clients(providers) as clients:
            booleans, variants = vendors.booleans(clients), {name: _texts(client) for name, client in clients.items()}
            assert len({ask() for ask in booleans.values()} | {raw.is_enabled(FLAG, dict(asked))}) == 1
            assert len({ask() for ask in variants.values()}) == 1
            found = {
                **vendors.figures(measure(lambda: raw.is_enabled(FLAG, dict(asked)), booleans), "boolean_"),
                **vendors.figures(measure(lambda: raw.get_variant(_TEXT, dict(asked)), variants), "variant_"),
            }
    finally:
        raw.destroy()
    worst = {name: max(found[f"boolean_{name}"], found[f"variant_{name}"]) for name in ("vs_floor", "vs_official")}
    return worst | found


def _texts(client: OpenFeatureClient) -> Callable[[], object]:
    return lambda: client.get_string_value(_TEXT, "", CONTEXT)


def measured() -> dict[str, float]:
    """All figures; the SDK that a kill has to reach polls every second."""
    with vendor(quick=False) as made:
        for flag in flags():
            made.back.put(flag)
        made.seen()
        return evaluation(made) | vendors.kills(made.provider(refresh_interval=1.0), made.control(), times=60)


def main(argv: list[str]) -> int:
    """Measure and print."""
    return vendors.command("unleash", __doc__, measured, argv)
