"""What the benchmarks of all vendors have in common: who is compared, how a kill is timed, what is printed.

A vendor's own module says how its SDK is asked bare, which providers others have published for it, and what the
figures mean there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.provider import FeatureProvider

from flagbrake.control.writer import FlagWriter
from flagbrake.model.flag import Flag, Variant
from flagbrake.model.state import SetOn
from flagbrake.model.values import FlagKind
from flagbrake.ports.control import FlagControl
from flagbrake.ports.provider import FlagProvider
from flagbrake.store import open_store
from tests.bench.vendor_floor import CONTEXT, FLAG, Floor
from tests.proofs import stored

OURS = "ours"
#: A boolean that is on for everybody.
BOOLEAN = Flag(FLAG, FlagKind.BOOLEAN, (Variant("on", True), Variant("off", False)), "on", off_variant="off")


@contextmanager
def clients(providers: Mapping[str, FeatureProvider]) -> Iterator[Mapping[str, OpenFeatureClient]]:
    """An OpenFeature client over each, by name; all are shut down at the end."""
    try:
        for name, provider in providers.items():
            api.set_provider_and_wait(provider, f"bench-{name}")
        yield {name: api.get_client(f"bench-{name}") for name in providers}
    finally:
        api.shutdown()


def booleans(over: Mapping[str, OpenFeatureClient]) -> dict[str, Callable[[], object]]:
    """The boolean, asked as an application asks for it."""

    def asking(client: OpenFeatureClient) -> Callable[[], object]:
        return lambda: client.get_boolean_value(FLAG, False, CONTEXT)

    return {name: asking(client) for name, client in over.items()}


def figures(found: Floor, prefix: str = "") -> dict[str, float]:
    """Ours as a multiple of the floor and of the best of the others, and microseconds of each."""
    best = min((name for name in found.others if name != OURS), key=lambda name: found.others[name])
    named = {
        "vs_floor": found.ratio(OURS),
        "vs_official": round(found.others[OURS] / found.others[best], 3),
        "official_vs_floor": found.ratio(best),
        "raw_us": round(found.raw * 1e6, 2),
        "client_us": round(found.client * 1e6, 2),
        **{f"{name}_us": round(seconds * 1e6, 2) for name, seconds in found.others.items()},
    }
    return {f"{prefix}{name}": value for name, value in named.items()}


def kills(provider: FlagProvider, control: FlagControl, *, times: int = 200, patience: float = 10) -> dict[str, float]:
    """Milliseconds from the call of a writer to another SDK serving the change.

    A kill as ``flagbrake kill`` makes it: lock, read, write, read back, audit in a SQLite store. It is over when the
    provider tells the change, at which moment it serves it already. Both are closed at the end.
    """
    provider.initialize(CONTEXT)
    seen = threading.Event()
    at = 0.0

    def told(*_: Any) -> None:
        nonlocal at
        at = time.perf_counter()
        seen.set()

    provider.attach(told)
    took: list[float] = []
    with (
        TemporaryDirectory() as folder,
        open_store(
            f"sqlite:///{Path(folder) / 'bench.db'}", project="bench", environment="bench", create=True
        ) as store,
    ):
        writer = FlagWriter(control, lock=store.locks, audit=store.audit)
        for turn in range(times * 2):
            seen.clear()
            begun = time.perf_counter()
            writer.apply(SetOn(FLAG, on=bool(turn % 2)), by="bench", reason="measured")
            assert seen.wait(patience)
            if not turn % 2:
                took.append((at - begun) * 1000)
    control.close()
    provider.shutdown()
    took.sort()
    return {
        "kill_median_ms": round(statistics.median(took), 1),
        "kill_p99_ms": round(took[-1] if len(took) < 100 else took[int(len(took) * 0.99) - 1], 1),
    }


def command(name: str, about: str | None, measured: Callable[[], Mapping[str, float]], argv: list[str]) -> int:
    """Print the figures and those of the last full twin proof, as lines or as one JSON object."""
    parser = argparse.ArgumentParser(prog=f"tests.bench {name}", description=about)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args(argv)
    found = dict(measured())
    if twin := stored.last(f"{name}-twin"):
        found |= {"twin_pairs": twin["pairs"], "twin_disagreements": twin["disagreements"]}
    if wanted.json:
        print(json.dumps(found))
    else:
        for figure, value in found.items():
            print(f"{figure:24} {value}")
    return 0
