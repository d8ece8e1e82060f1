"""What starting costs: the import beside OpenFeature's own, and 10,000 flags from a store.

Imports are timed in fresh interpreters, in turns, and the ratio is that of the medians of the time the
import itself took.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from typing import Any

ROUNDS = 15
FLAGS = 10_000
_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
_MODULES = "import sys, flagbrake; print(*sorted({m.partition('.')[0] for m in sys.modules}))"

_FILL = """
import sys
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Flag, Rule, ramp
from flagbrake.store import open_store

def rules(n):
    return tuple(Rule(f"r{i}", (Clause(Attribute.parse(a), Op.IN, (f"v{n}", f"w{n}")),), "on")
                 for i, a in enumerate(("country", "plan", "team", "/org/name")))

with open_store(sys.argv[1], project="bench", environment="bench", create=True) as store:
    with store.db.transaction() as conn:
        store.flags.write_all(conn, [
            Flag.boolean(f"flag-{n}", default=ramp("on", n * 10, "off"), rules=rules(n), description="For the bench.")
            for n in range(int(sys.argv[2]))
        ])
"""

_LOAD = """
import json, sys, time
from flagbrake.store.feed import StoreFeed

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024

def now():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024

feed = StoreFeed(sys.argv[1], project="bench", environment="bench", state_dir=sys.argv[2])
before, cpu, began = now(), time.process_time(), time.perf_counter()
feed.start(60)
seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
loaded = len(feed.snapshot.ruleset.flags)
feed.stop()
found = {"s": seconds, "cpu": cpu, "mb": peak(), "grown": peak() - before}
print(json.dumps(found | {"flags": loaded, "source": feed.snapshot.source}))
"""


def fresh(program: str, *arguments: str) -> str:
    """What a program prints in an interpreter of its own."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def imports() -> dict[str, Any]:
    """Milliseconds of both imports and their ratio; and whether something heavy came along."""
    times: dict[str, list[float]] = {"openfeature.api": [], "flagbrake": []}
    for _ in range(ROUNDS):
        for module, taken in times.items():
            taken.append(float(fresh(_IMPORT.format(module))) * 1000)
    ours, theirs = (statistics.median(times[module]) for module in ("flagbrake", "openfeature.api"))
    heavy = {"sqlalchemy", "alembic", "psycopg", "httpx", "typer", "rich", "mmh3"}
    return {
        "import_vs_openfeature": round(ours / theirs, 2),
        "import_ms": round(ours, 1),
        "import_openfeature_ms": round(theirs, 1),
        "import_heavy": sorted(heavy & set(fresh(_MODULES).split())),
    }


def loads() -> dict[str, Any]:
    """Seconds and peak memory of a process that loads 10,000 flags; then the same from last known good."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/flags.db"
        fresh(_FILL, url, str(FLAGS))
        runs = [json.loads(fresh(_LOAD, url, f"{folder}/state{n}")) for n in range(3)]
        fresh(f"import os; os.rename('{folder}/flags.db', '{folder}/away.db')")
        saved = json.loads(fresh(_LOAD, url, f"{folder}/state0"))
    best = min(runs, key=lambda run: run["s"])
    if best["flags"] != FLAGS or saved["flags"] != FLAGS or saved["source"] != "last-known-good":
        raise RuntimeError("not every flag was loaded")
    return {
        "load_10k_s": round(best["s"], 2),
        "load_10k_median_s": round(statistics.median(run["s"] for run in runs), 2),
        "load_10k_cpu_s": round(min(run["cpu"] for run in runs), 2),
        "load_10k_mb": round(best["mb"], 1),
        "load_10k_grown_mb": round(best["grown"], 1),
        "load_10k_last_known_good_s": round(saved["s"], 2),
    }


def main(argv: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="startup", description=__doc__)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    figures = imports() | loads()
    print(json.dumps(figures) if given.json else "\n".join(f"{key:28} {value}" for key, value in figures.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
