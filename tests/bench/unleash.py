"""Unleash: evaluation through the OpenFeature client against its floor and the published providers; kill to SDK.

Evaluation: a boolean feature with a constraint and a rollout of 50 %, and one with two variants, on the real server,
metrics on as in production. The raw call is the SDK's ``is_enabled`` or ``get_variant`` with its context built.

Kill: ``flagbrake kill`` of an Unleash feature as the command line does it (lock, read, write, read back, audit in a
SQLite store), from the call to the moment at which another SDK client that polls every second serves it. The server
itself looks for changes once a second, so most of it is waiting.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openfeature import api
from openfeature.contrib.provider.unleash import UnleashProvider as Contributed  # others', test dependencies
from unleash_openfeature_python_provider import UnleashFlagProvider as Official
from UnleashClient import UnleashClient

from flagbrake.control.writer import FlagWriter
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Flag, Rule, Variant, ramp
from flagbrake.model.state import SetOn
from flagbrake.model.values import FlagKind
from flagbrake.store import open_store
from flagbrake_unleash.sdk import MemoryCache
from tests.bench.vendor_floor import CONTEXT, FLAG, Floor, measure
from tests.unleash.harnesses import Vendor, vendor

_TWIN = Path(__file__).parents[2] / "docs" / "proofs" / "unleash-twin.json"
_KILLS = 60
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
    """Ours against the floor and the better of the published providers, in one run."""
    url, headers = f"{made.gate.url}/api", {"Authorization": made.token}
    raw = UnleashClient(url, "bench-raw", custom_headers=headers, cache=MemoryCache(), refresh_interval=60)
    raw.initialize_client()
    others = {
        "official": Official(url=url, app_name="bench-official", custom_headers=headers, cache=MemoryCache()),
        "contributed": Contributed(url, "bench-contributed", made.token, cache=MemoryCache()),
        "ours": made.provider(refresh_interval=60.0),
    }
    asked = {"userId": CONTEXT.targeting_key, "properties": dict(CONTEXT.attributes)}
    try:
        for name, provider in others.items():
            api.set_provider_and_wait(provider, f"bench-{name}")
        clients = {name: api.get_client(f"bench-{name}") for name in others}

        def booleans(name: str) -> Callable[[], object]:
            return lambda: clients[name].get_boolean_value(FLAG, False, CONTEXT)

        def texts(name: str) -> Callable[[], object]:
            return lambda: clients[name].get_string_value(_TEXT, "", CONTEXT)

        assert len({booleans(name)() for name in others} | {raw.is_enabled(FLAG, dict(asked))}) == 1
        assert len({texts(name)() for name in others}) == 1
        by_kind = {
            "boolean": measure(lambda: raw.is_enabled(FLAG, dict(asked)), {name: booleans(name) for name in others}),
            "variant": measure(lambda: raw.get_variant(_TEXT, dict(asked)), {name: texts(name) for name in others}),
        }
    finally:
        api.shutdown()
        raw.destroy()
    found: dict[str, float] = {}
    for kind, floor in by_kind.items():
        found |= {
            f"{kind}_vs_floor": floor.ratio("ours"),
            f"{kind}_vs_official": _against_the_better(floor),
            f"{kind}_raw_us": round(floor.raw * 1e6, 2),
            f"{kind}_ours_us": round(floor.others["ours"] * 1e6, 2),
            f"{kind}_official_us": round(floor.others["official"] * 1e6, 2),
            f"{kind}_contributed_us": round(floor.others["contributed"] * 1e6, 2),
        }
    worst = {f"vs_{what}": max(found[f"{kind}_vs_{what}"] for kind in by_kind) for what in ("floor", "official")}
    return {**worst, **found}


def _against_the_better(floor: Floor) -> float:
    return round(floor.others["ours"] / min(floor.others["official"], floor.others["contributed"]), 3)


def kills(made: Vendor, folder: Path) -> dict[str, float]:
    """Milliseconds from the call of a writer to the SDK of another client serving the change, polling every second."""
    provider, control = made.provider(refresh_interval=1.0), made.control()
    provider.initialize(CONTEXT)
    seen, known = threading.Event(), {}

    def told(*_: Any) -> None:
        known["at"] = time.perf_counter()
        seen.set()

    provider.attach(told)
    took: list[float] = []
    with open_store(f"sqlite:///{folder / 'bench.db'}", project="bench", environment="bench", create=True) as store:
        writer = FlagWriter(control, lock=store.locks, audit=store.audit)
        for turn in range(_KILLS * 2):
            seen.clear()
            begun = time.perf_counter()
            writer.apply(SetOn(FLAG, on=bool(turn % 2)), by="bench", reason="measured")
            assert seen.wait(10)
            if not turn % 2:
                took.append((known["at"] - begun) * 1000)
    control.close()
    provider.shutdown()
    took.sort()
    return {
        "kill_median_ms": round(statistics.median(took), 1),
        "kill_p99_ms": round(took[-1] if len(took) < 100 else took[int(len(took) * 0.99) - 1], 1),
    }


def twin() -> dict[str, float]:
    """The last full run of the twin proof."""
    if not _TWIN.exists():
        return {}
    stored = json.loads(_TWIN.read_text(encoding="utf-8"))
    return {"twin_pairs": stored["pairs"], "twin_disagreements": stored["disagreements"]}


def main(argv: list[str]) -> int:
    """Print the figures, as lines or as one JSON object."""
    parser = argparse.ArgumentParser(prog="tests.bench unleash", description=__doc__)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args(argv)
    with TemporaryDirectory() as folder, vendor(quick=False) as made:
        for flag in flags():
            made.back.put(flag)
        made.seen()
        found = {**evaluation(made), **kills(made, Path(folder)), **twin()}
    if wanted.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:24} {value}")
    return 0
