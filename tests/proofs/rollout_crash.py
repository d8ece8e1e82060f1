"""Engines killed at random points of rollouts: ``python -m tests.proofs.rollout_crash --runs 100 [--both] [--json]``.

Each run is one rollout on a real database, driven by real engine processes. They are killed with SIGKILL
again and again: after a random time, or at a random one of their database statements (before it, after it,
or right before a commit, so that the database client dies in the middle of a transaction). Half of the
versions are sound and must complete, half are broken and must be rolled back. Afterwards the audit and the
rollout's own history are asked: no step skipped or done twice, no entry lost, the share never above the plan.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Event

from sqlalchemy import event

from flagbrake.control.writer import FlagWriter
from flagbrake.metrics.outcomes import OutcomesSource
from flagbrake.model.flag import Flag, Variant
from flagbrake.model.outcome import Outcome, Result
from flagbrake.model.state import Create
from flagbrake.model.values import WHOLE, FlagKind
from flagbrake.rollout.engine import Engine
from flagbrake.rollout.plan import Plan
from flagbrake.rollout.service import RolloutService
from flagbrake.rollout.state import Phase
from flagbrake.store import Store, open_store
from flagbrake_sql.control import SqlControl

STORED = Path(__file__).parents[2] / "docs" / "proofs" / "rollout-crash.json"
FLAG = "agents.refunds"
#: Seconds a dead engine's claim, and its lock on the flag, keep a successor waiting: short here, 30 in earnest.
LEASE = 1.0
#: After so many kills a run may finish in peace.
MOST_KILLS = 10
PATIENCE = 120.0


@dataclass
class Run:
    """One rollout and what became of it."""

    seed: int
    database: str
    #: The step at which the new version begins to fail; ``None`` for a sound one.
    breaks_at: int | None
    phase: str = ""
    kills: int = 0
    mid_transaction: int = 0
    steps: list[int] = field(default_factory=list)
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def plan() -> Plan:
    """Four steps and quick windows; the judge sees runs of the present revision only."""
    return Plan.from_data(
        {
            "flag": FLAG, "canary": "v2", "baseline": "v1", "steps": [1, 10, 50, 100], "bake": "150ms",
            "interval": "80ms", "settle": "40ms", "checks": [{"metric": "run", "min_sample": 20}],
        }
    )  # fmt: skip


def engine_of(store: Store) -> Engine:
    """An engine with short leases."""
    writer = FlagWriter(SqlControl(store), lock=store.locks, ttl=LEASE, wait=0.0)
    return Engine(store, writer, sources={"outcomes": OutcomesSource(store.outcomes)}, lease=LEASE)


# --- processes -----------------------------------------------------------------------------------------


def forked(work: Callable[[], None]) -> int:
    """Run ``work`` in a new process that leaves nothing behind but its exit status."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def drive(url: str, project: str, rollout: str, deadly: tuple[str, int] | None) -> None:
    """An engine until the rollout is over; with ``deadly`` it kills itself at the n-th such moment."""
    with open_store(url, project=project, environment="proof") as store:
        if deadly is not None:
            _arm(store, *deadly)
        engine, stop = engine_of(store), Event()
        while True:
            engine.tick()
            row = store.rollouts.get(rollout)
            if row is None or not row.active:
                return
            stop.wait(0.02)


def _arm(store: Store, moment: str, number: int) -> None:
    left = [number]

    def die(*_args: object) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(store.db._engine, moment, die)


def feed(url: str, project: str, breaks_at: int | None) -> None:
    """Agents: outcomes of both variants under the revision they would have been given."""
    breaking = WHOLE + 1 if breaks_at is None else plan().share(breaks_at)
    with open_store(url, project=project, environment="proof") as store:
        stop, number = Event(), 0
        while True:
            row = store.flags.get(FLAG)
            assert row is not None
            batch, now = [], datetime.now(UTC)
            broken = _share(row.data()["default"]) >= breaking
            for variant, runs in (("v1", 20), ("v2", 10)):
                for index in range(runs):
                    number += 1
                    bad = index % 10 == 0 or (variant == "v2" and broken and index % 2)
                    batch.append(
                        Outcome(
                            run_id=f"{os.getpid()}-{number}", flag=FLAG, variant=variant, revision=row.version,
                            unit="u", started_at=now, finished_at=now, result=Result.FAILURE if bad else Result.SUCCESS,
                        )
                    )  # fmt: skip
            store.outcomes.write(batch)
            stop.wait(0.03)


def end(child: int) -> None:
    """Kill a child and forget it."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


# --- one run ---------------------------------------------------------------------------------------------


def run(seed: int, url: str) -> Run:
    """One rollout, killed over and over, then examined."""
    random = Random(seed)
    breaks_at = random.randrange(3) if seed % 2 else None
    project = f"crash-{seed}-{os.getpid()}"
    result = Run(seed, url.partition(":")[0], breaks_at)
    began = time.monotonic()
    with open_store(url, project=project, environment="proof", create=True) as store:
        flag = Flag(FLAG, FlagKind.STRING, (Variant("v1", "one"), Variant("v2", "two")), "v1", off_variant="v1")
        engine = engine_of(store)
        engine.writer.apply(Create(flag), by="ana", reason="the proof begins")
        rollout = RolloutService(engine).start(plan(), by="ana", here=True).id
    feeder = forked(lambda: feed(url, project, breaks_at))
    try:
        _drive_and_kill(result, random, url, project, rollout)
    finally:
        end(feeder)
    result.seconds = round(time.monotonic() - began, 2)
    with open_store(url, project=project, environment="proof") as store:
        examine(result, store, rollout)
    return result


def _drive_and_kill(result: Run, random: Random, url: str, project: str, rollout: str) -> None:
    over = time.monotonic() + PATIENCE
    pause = Event()
    while time.monotonic() < over:
        deadly, lifetime = None, PATIENCE
        if result.kills < MOST_KILLS:
            if random.random() < 0.6:
                moment = random.choice(["before_cursor_execute", "after_cursor_execute", "commit"])
                deadly = (moment, random.randint(1, 60 if moment != "commit" else 12))
            else:
                lifetime = random.uniform(0.01, 0.5)
        child = forked(lambda d=deadly: drive(url, project, rollout, d))
        dies_at = time.monotonic() + lifetime
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > min(dies_at, over):
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
                break
            pause.wait(0.002)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return
        if os.WIFSIGNALED(status):
            result.kills += 1
            result.mid_transaction += deadly is not None
        else:
            result.faults.append(f"an engine ended by itself with status {status}")
            return
    result.faults.append(f"not over after {PATIENCE:g} s")


# --- the questions ---------------------------------------------------------------------------------------


def examine(result: Run, store: Store, rollout: str) -> None:
    """Ask the history, the audit and the flag; every contradiction is a fault."""
    fault = result.faults.append
    row = store.rollouts.get(rollout)
    assert row is not None
    result.phase = row.status
    wanted = Phase.COMPLETED if result.breaks_at is None else Phase.ROLLED_BACK
    # A sound version that is rolled back would be noise (alpha 1 %); the outcomes here are not random.
    if row.status != wanted.value:
        fault(f"ended as {row.status}, not as {wanted.value}")
    history = store.rollouts.events(rollout)
    if [one.seq for one in history] != list(range(1, len(history) + 1)):
        fault("the history has a gap")
    result.steps = [one.data["step"] for one in history if one.kind == "step"]
    if result.steps != list(range(len(result.steps))):
        fault(f"steps confirmed: {result.steps}")
    if result.breaks_at is None and len(result.steps) != len(plan().steps):
        fault(f"completed after {len(result.steps)} steps")
    if result.breaks_at is not None and len(result.steps) <= result.breaks_at:
        fault(f"rolled back at step {len(result.steps)}, before it broke")
    windows = [(one.data["step"], one.data["window"]) for one in history if one.kind == "window"]
    if len(set(windows)) != len(windows):
        fault("a window was judged twice")
    _examine_audit(result, store, history, fault)


def _examine_audit(result: Run, store: Store, history: list, fault: Callable[[str], None]) -> None:
    broken_at = store.audit.verify()
    if broken_at is not None:
        fault(f"the audit chain is broken at {broken_at}")
    entries = list(reversed(store.audit.entries(limit=100_000)))
    writes = [entry for entry in entries if entry.action == "set-distribution"]
    flag = store.flags.get(FLAG)
    assert flag is not None
    if flag.version != 1 + len(writes):
        fault(f"the flag is at version {flag.version} after {len(writes)} audited writes")
    shares = [_share(entry.after["default"]) for entry in writes]
    planned = [step.share for step in plan().steps]
    meant = planned[: len(result.steps)] + ([0] if result.phase == Phase.ROLLED_BACK.value else [])
    if shares != meant:
        fault(f"shares written: {shares}, meant: {meant}")
    if any(share not in {0, *planned} for share in shares):
        fault(f"a share that is not in the plan: {shares}")
    if result.phase == Phase.ROLLED_BACK.value and flag.data()["default"] != "v1":
        fault("the split before was not put back")
    told = Counter(one.kind for one in history if one.kind not in {"window", "edited", "blind", "seeing"})
    audited = Counter(e.action.removeprefix("rollout-") for e in entries if e.action.startswith("rollout-"))
    if told != audited:
        fault(f"history and audit differ: {dict(told)} and {dict(audited)}")


def _share(default: object) -> int:
    if isinstance(default, dict):
        return sum(weight["share"] for weight in default["split"] if weight["variant"] == "v2")
    return WHOLE if default == "v2" else 0


# --- all runs --------------------------------------------------------------------------------------------


def prove(runs: int, urls: list[str], *, first: int = 0, shown: Callable[[Run], None] = lambda _: None) -> dict:
    """``runs`` rollouts, taking the databases in turn."""
    began, found = time.monotonic(), []
    for number in range(runs):
        done = run(first + number, urls[(number // 2) % len(urls)])
        shown(done)
        found.append(done)
    return {
        "proof": "rollout-crash",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "seconds": round(time.monotonic() - began, 1),
        "runs": runs,
        "by_database": dict(Counter(one.database for one in found)),
        "kills": sum(one.kills for one in found),
        "kills_at_a_statement_or_commit": sum(one.mid_transaction for one in found),
        "ended": dict(Counter(one.phase for one in found)),
        "steps_confirmed": sum(len(one.steps) for one in found),
        "faults": [f"seed {one.seed}: {fault}" for one in found for fault in one.faults],
        "rollouts": [asdict(one) for one in found],
    }


def main() -> int:
    """Run, print, and store when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="the first run's seed; odd seeds have a broken version")
    parser.add_argument("--url", action="append", help="a PostgreSQL database; SQLite without it; may be repeated")
    parser.add_argument("--both", action="store_true", help="SQLite and the embedded PostgreSQL in turn")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--store", action="store_true", help=f"write {STORED.name}")
    options = parser.parse_args()

    def shown(one: Run) -> None:
        faults = "; ".join(one.faults) or "no fault"
        text = (
            f"seed {one.seed:>3} {one.database:<11} {one.kills:>2} kills  {one.phase:<12} {one.seconds:>6} s  {faults}"
        )
        print(text, file=sys.stderr, flush=True)

    with TemporaryDirectory() as folder:
        urls = options.url or [f"sqlite:///{folder}/flags.db"]
        if options.both:
            from tests.support.servers import shared

            with shared(f"crash-{os.getpid()}") as server, server.database() as url:
                result = prove(options.runs, [f"sqlite:///{folder}/flags.db", url], first=options.seed, shown=shown)
        else:
            result = prove(options.runs, urls, first=options.seed, shown=shown)
    arguments = " ".join(a for a in sys.argv[1:] if a != "--json" and "://" not in a)
    result = {"command": f"python -m tests.proofs.rollout_crash {arguments}".strip(), **result}
    if options.store:
        STORED.parent.mkdir(parents=True, exist_ok=True)
        STORED.write_text(json.dumps(result, indent=1) + "\n")
    summary = {key: value for key, value in result.items() if key != "rollouts"}
    print(json.dumps(result if options.json else summary, indent=None if options.json else 1))
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
