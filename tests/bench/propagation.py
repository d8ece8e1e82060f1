"""From the commit of a kill until the last of 20 processes has applied it to its board.

Times are CLOCK_MONOTONIC, which Linux shares between processes. The clock starts as COMMIT is sent (so the
database's own writing counts) and stops after the board has taken the kill. Idle processes do nothing else;
busy ones evaluate a flag without pause, all of them at once, which measures the scheduler as much as us.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from sqlalchemy import event

from flagbrake.kill.board import Board
from flagbrake.model.flag import Flag, ramp
from flagbrake.model.kill import Kill, Scope
from flagbrake.ports.kills import KillView
from flagbrake.store import Store, open_store
from flagbrake.store.feed import StoreFeed

HOME: dict[str, Any] = {"project": "bench", "environment": "bench"}
PROCESSES = 20
SCOPE = Scope.parse("agent:bench")


# --- a process that listens ---------------------------------------------------------------------------


def worker(url: str, folder: str, *, busy: bool) -> int:
    """Follow the store until standard input closes; then print when which epoch was applied, and the CPU used."""
    feed = StoreFeed(url, state_dir=Path(folder), **HOME)
    board = Board(HOME["environment"])
    applied: dict[int, float] = {}

    def note(view: KillView) -> None:
        # Subscribed after the board, so the board has the kill already.
        if board.is_killed(SCOPE):
            applied.setdefault(view.snapshot.epoch, time.monotonic())

    feed.start(30)
    feed.subscribe(board.receive)
    feed.subscribe(note)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    print("ready", flush=True)
    began, cpu = time.monotonic(), time.process_time()
    context = EvaluationContext("user-1", {"country": "NO"})
    while busy and not ended.is_set():
        for _ in range(1000):
            feed.snapshot.ruleset.evaluate("split", context)
    ended.wait()
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    print(json.dumps({"applied": applied, "cpu": share, "means": feed.state.means}), flush=True)
    feed.stop()
    return 0


@contextmanager
def listening(url: str, folder: Path, *, busy: bool) -> Iterator[list[subprocess.Popen[str]]]:
    """Twenty listening processes, all ready."""
    command = [sys.executable, "-m", "tests.bench", "propagation", "--worker", url, str(folder)]
    processes = [
        subprocess.Popen(
            [*command, *(["--busy"] if busy else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError("a listening process did not start")
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


# --- the killer -----------------------------------------------------------------------------------------


def rounds(store: Store, count: int, pause: float, late: list[float]) -> dict[int, tuple[float, float]]:
    """Kill and lift ``count`` times; for each kill's epoch, when it was asked for and when COMMIT was sent.

    ``late`` takes by how much this process woke late from its pauses: what the machine itself adds.
    """
    sent: list[float] = []

    def committing(_connection: object) -> None:
        sent.append(time.monotonic())

    event.listen(store.db._engine, "commit", committing)
    times: dict[int, tuple[float, float]] = {}
    waiting = threading.Event()

    def rest() -> None:
        wanted = pause * random.uniform(0.7, 1.3)
        began = time.monotonic()
        waiting.wait(wanted)
        late.append((time.monotonic() - began - wanted) * 1000)

    for _ in range(count):
        wanted = Kill(uuid.uuid4().hex, SCOPE, HOME["environment"], "bench", "bench", datetime.now(UTC), 0)
        asked = time.monotonic()
        made = store.kills.kill(wanted, deadline=10)
        times[made.epoch] = (asked, sent[-1])
        rest()
        store.kills.lift(made, by="bench", reason="bench", deadline=10)
        rest()
    return times


def measure(url: str, *, busy: bool, count: int, pause: float) -> dict[str, Any]:
    """Milliseconds of one case: median and 99th percentile of the last process."""
    with tempfile.TemporaryDirectory() as folder, open_store(url, create=True, **HOME) as store:
        with store.db.transaction() as conn:
            store.flags.write(conn, Flag.boolean("split", default=ramp("on", 30_000, "off")))
        with listening(url, Path(folder), busy=busy) as processes:
            threading.Event().wait(1.0)
            late: list[float] = []
            times = rounds(store, count, pause, late)
            reports = []
            for process in processes:
                out, _ = process.communicate("stop\n", timeout=60)
                reports.append(json.loads(out.splitlines()[-1]))
    last, first, asked = [], [], []
    missed = 0
    for epoch, (called, sent) in times.items():
        seen = [report["applied"].get(str(epoch)) for report in reports]
        if None in seen:
            missed += 1  # superseded by the lift before it was seen
            continue
        last.append((max(seen) - sent) * 1000)
        first.append((min(seen) - sent) * 1000)
        asked.append((max(seen) - called) * 1000)
    return {
        "median": round(statistics.median(last), 2),
        "p99": round(percentile(last, 99), 2),
        "max": round(max(last), 2),
        "first_median": round(statistics.median(first), 2),
        "from_call_median": round(statistics.median(asked), 2),
        "kills": len(last),
        "missed": missed,
        "late_p99": round(percentile(late, 99), 2),
        "cpu_percent_each": round(100 * statistics.mean(report["cpu"] for report in reports), 2),
        "means": reports[0]["means"],
    }


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that is not below ``percent`` of all."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def main(argv: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="propagation", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--worker", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--busy", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.worker:
        return worker(*given.worker, busy=given.busy)
    figures: dict[str, Any] = {"processes": PROCESSES}
    for kind in ("sqlite", "postgresql"):
        if given.only in {None, kind}:
            with database(kind) as url:
                figures |= cases(kind, url, given.kills)
    print(json.dumps(figures) if given.json else "\n".join(f"{key:32} {value}" for key, value in figures.items()))
    return 0


def cases(kind: str, url: str, kills: int) -> dict[str, Any]:
    """Idle and busy, under flat keys."""
    idle = measure(url, busy=False, count=kills, pause=0.06)

    busy = measure(url, busy=True, count=max(10, kills // 5), pause=0.4)
    return {
        f"{kind}_median_ms": idle["median"],
        f"{kind}_p99_ms": idle["p99"],
        f"{kind}_max_ms": idle["max"],
        f"{kind}_first_median_ms": idle["first_median"],
        f"{kind}_from_call_median_ms": idle["from_call_median"],
        f"{kind}_idle_cpu_percent": idle["cpu_percent_each"],
        f"{kind}_kills": idle["kills"],
        f"{kind}_missed": idle["missed"],
        f"{kind}_machine_late_p99_ms": idle["late_p99"],
        f"{kind}_means": idle["means"],
        f"{kind}_busy_median_ms": busy["median"],
        f"{kind}_busy_p99_ms": busy["p99"],
    }


@contextmanager
def database(kind: str) -> Iterator[str]:
    """A fresh database of a kind."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            yield f"sqlite:///{folder}/flags.db"
            return
        from tests.support.servers import PostgreSQL, temporary

        server = PostgreSQL(temporary())
        server.start()
        try:
            with server.database() as url:
                yield url
        finally:
            server.remove()


if __name__ == "__main__":
    raise SystemExit(main())
