"""Split: evaluation through the OpenFeature client against its floor and the vendor's own provider; kill to SDK.

Evaluation: one flag on the emulator, the real SDK streaming, impressions on as in production. The raw call is the SDK's
``get_treatment_with_config`` with its attributes made, as the vendor's documentation writes it.

Kill: a kill through the writer as ``flagbrake kill`` does it (lock, read, write, read back, audit in a SQLite store),
from the call to the moment at which another SDK serves the default treatment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openfeature import api
from splitio import get_factory

from flagbrake.control.writer import FlagWriter
from flagbrake.model.flag import Flag, Variant
from flagbrake.model.state import SetOn
from flagbrake.model.values import FlagKind
from flagbrake.store import open_store
from flagbrake_split.provider import SplitProvider
from tests.bench.vendor_floor import CONTEXT, FLAG, measure
from tests.split.controlling import control_of
from tests.split.vendor import ENVIRONMENT, Vendor, vendor

_TWIN = Path(__file__).parents[2] / "docs" / "proofs" / "split-twin.json"
_KILLS = 200
_BOOLEAN = Flag(FLAG, FlagKind.BOOLEAN, (Variant("on", True), Variant("off", False)), "on", off_variant="off")


def evaluation(made: Vendor) -> dict[str, float]:
    """Ours against the floor and the official provider, in one run."""
    from split_openfeature_provider import SplitProvider as Official  # the vendor's, a test dependency

    def factory() -> Any:
        started = get_factory(made.emulator.sdk_key(ENVIRONMENT), **made.emulator.sdk_addresses())
        started.block_until_ready(5)
        return started

    raw, behind = factory(), factory()
    sdk = raw.client()
    try:
        api.set_provider_and_wait(made.provider(), "bench-ours")
        api.set_provider_and_wait(Official({"SplitClient": behind.client()}), "bench-official")
        ours, theirs = api.get_client("bench-ours"), api.get_client("bench-official")

        def bare() -> object:
            return sdk.get_treatment_with_config(CONTEXT.targeting_key, FLAG, dict(CONTEXT.attributes))

        assert bare()[0] == "on"  # type: ignore[index]
        for client in (ours, theirs):
            assert client.get_boolean_value(FLAG, False, CONTEXT) is True
        found = measure(
            bare,
            {
                "ours": lambda: ours.get_boolean_value(FLAG, False, CONTEXT),
                "official": lambda: theirs.get_boolean_value(FLAG, False, CONTEXT),
            },
        )
    finally:
        api.shutdown()
        raw.destroy()
        behind.destroy()
    return {
        "vs_floor": found.ratio("ours"),
        "vs_official": round(found.others["ours"] / found.others["official"], 3),
        "official_vs_floor": found.ratio("official"),
        "raw_us": round(found.raw * 1e6, 2),
        "client_us": round(found.client * 1e6, 2),
        "ours_us": round(found.others["ours"] * 1e6, 2),
        "official_us": round(found.others["official"] * 1e6, 2),
    }


def kills(made: Vendor, folder: Path) -> dict[str, float]:
    """Milliseconds from the call of a writer to the SDK of another client serving the change."""
    provider, control = made.provider(), control_of(made.emulator, ENVIRONMENT)
    provider.initialize(CONTEXT)
    made.emulator.wait_for(lambda: True)
    seen = threading.Event()
    known = _watch(provider, seen)
    took: list[float] = []
    with open_store(f"sqlite:///{folder / 'bench.db'}", project="bench", environment=ENVIRONMENT, create=True) as store:
        writer = FlagWriter(control, lock=store.locks, audit=store.audit)
        for turn in range(_KILLS * 2):
            seen.clear()
            begun = time.perf_counter()
            writer.apply(SetOn(FLAG, on=bool(turn % 2)), by="bench", reason="measured")
            assert seen.wait(40)
            if not turn % 2:
                took.append((known["at"] - begun) * 1000)
    control.close()
    provider.shutdown()
    took.sort()
    return {
        "kill_median_ms": round(statistics.median(took), 1),
        "kill_p99_ms": round(took[int(len(took) * 0.99) - 1], 1),
    }


def _watch(provider: SplitProvider, seen: threading.Event) -> dict[str, float]:
    """When the provider's SDK last told of a change, at which moment it serves it already."""
    known: dict[str, float] = {}

    def told(*_: Any) -> None:
        known["at"] = time.perf_counter()
        seen.set()

    provider.attach(told)
    return known


def twin() -> dict[str, float]:
    """The last full run of the twin proof."""
    if not _TWIN.exists():
        return {}
    stored = json.loads(_TWIN.read_text(encoding="utf-8"))
    return {"twin_pairs": stored["pairs"], "twin_disagreements": stored["disagreements"]}


def main(argv: list[str]) -> int:
    """Print the figures, as lines or as one JSON object."""
    parser = argparse.ArgumentParser(prog="tests.bench split", description=__doc__)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args(argv)
    with TemporaryDirectory() as folder, vendor() as made:
        made.put(_BOOLEAN)
        found = {**evaluation(made), **kills(made, Path(folder)), **twin()}
    if wanted.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:24} {value}")
    return 0
