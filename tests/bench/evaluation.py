"""Evaluation through the OpenFeature client, side by side with the SDK's own in-memory provider, in one run.

Every pair is timed in turns (A B A B ...) and the ratio is that of the medians, so that a noisy machine
disturbs both alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

import flagbrake
from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Flag, Rule, Targets, ramp
from flagbrake.model.state import Create
from flagbrake.testing import MemoryProvider

ROUNDS = 15
CALLS = 4_000
CONTEXT = EvaluationContext("user-4711", {"country": "NO", "plan": "free", "age": 41, "beta": False, "email": "a@b.c"})


def flags() -> list[Flag]:
    """A static flag, a flag of 4 rules and a split, and two target lists of very different length."""

    def rule(number: int, attribute: str, op: Op, *values: object) -> Rule:
        return Rule(f"r{number}", (Clause(Attribute.parse(attribute), op, values),), "on")

    rules = (
        rule(1, "country", Op.IN, "SE", "DK"),
        rule(2, "plan", Op.IN, "enterprise"),
        rule(3, "age", Op.LESS, 18),
        rule(4, "email", Op.ENDS_WITH, "@example.com"),
    )
    return [
        Flag.boolean("static"),
        Flag.boolean("targeted", default=ramp("on", 30_000, "off"), rules=rules),
        Flag.boolean("list-10", default="off", targets=(Targets("on", tuple(f"u{n}" for n in range(10))),)),
        Flag.boolean("list-1m", default="off", targets=(Targets("on", tuple(f"u{n}" for n in range(1_000_000))),)),
    ]


def in_memory() -> InMemoryProvider:
    """The SDK's provider: static, and the same four rules written by hand with a precomputed split."""
    variants = {"on": True, "off": False}

    def targeted(flag: InMemoryFlag[bool], context: EvaluationContext) -> FlagResolutionDetails[bool]:
        attributes = context.attributes
        for matched in (
            attributes.get("country") in {"SE", "DK"},
            attributes.get("plan") == "enterprise",
            attributes.get("age", 99) < 18,
            str(attributes.get("email")).endswith("@example.com"),
        ):
            if matched:
                return FlagResolutionDetails(True, reason=Reason.TARGETING_MATCH, variant="on")
        return FlagResolutionDetails(flag.variants["off"], reason=Reason.SPLIT, variant="off")

    return InMemoryProvider(
        {"static": InMemoryFlag("on", variants), "targeted": InMemoryFlag("off", variants, context_evaluator=targeted)}
    )


def medians(*calls: Callable[[], object]) -> list[float]:
    """Median seconds per call of each, timed in turns."""
    # The thread's own time: what other programs take from a shared core is not the library's cost.
    timers = [timeit.Timer(call, timer=time.thread_time) for call in calls]
    for timer in timers:
        timer.timeit(CALLS)
    samples: list[list[float]] = [[] for _ in timers]
    for _ in range(ROUNDS):
        for timer, kept in zip(timers, samples, strict=True):
            kept.append(timer.timeit(CALLS) / CALLS)
    return [statistics.median(kept) for kept in samples]


def measure() -> dict[str, float]:
    """All ratios of one run."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"store": {"url": f"sqlite:///{folder}/bench.db"}, "state_dir": str(Path(folder) / "state")}
        plane = flagbrake.control_plane(settings, create=True)
        for flag in flags():
            plane.control.apply(Create(flag), by="bench")
        plane.close()
        from flagbrake.wiring import provider_parts

        parts = provider_parts(settings)
        api.set_provider_and_wait(parts.provider, "sql")
        api.set_provider_and_wait(in_memory(), "memory")
        sql, memory = api.get_client("sql"), api.get_client("memory")
        plain = EvaluationContext("u5")
        try:
            static_sql, static_memory, targeted_sql, targeted_memory, list_10, list_1m = medians(
                lambda: sql.get_boolean_value("static", False, CONTEXT),
                lambda: memory.get_boolean_value("static", False, CONTEXT),
                lambda: sql.get_boolean_value("targeted", False, CONTEXT),
                lambda: memory.get_boolean_value("targeted", False, CONTEXT),
                lambda: sql.get_boolean_value("list-10", False, plain),
                lambda: sql.get_boolean_value("list-1m", False, plain),
            )
        finally:
            api.shutdown()
    inner = MemoryProvider([Flag.boolean("static")])
    guarded = Guard(MemoryProvider([Flag.boolean("static")]), board := Board())
    inner.initialize(EvaluationContext())
    guarded.initialize(EvaluationContext())
    direct, through_guard = medians(
        lambda: inner.resolve_boolean_details("static", False, CONTEXT),
        lambda: guarded.resolve_boolean_details("static", False, CONTEXT),
    )
    timer = timeit.Timer("killed('agent:refunds')", globals={"killed": board.is_killed}, timer=time.thread_time)
    killed = min(timer.repeat(ROUNDS, 100_000)) / 100_000
    return {
        "sql_static_vs_memory": round(static_sql / static_memory, 3),
        # The stricter reading: the SDK's provider answers the flag statically, without any rule.
        "sql_targeted_vs_memory": round(targeted_sql / static_memory, 3),
        "sql_targeted_vs_memory_with_rules": round(targeted_sql / targeted_memory, 3),
        "guard_us": round((through_guard - direct) * 1e6, 3),
        "list_1m_vs_10": round(list_1m / list_10, 3),
        "is_killed_ns": round(killed * 1e9, 1),
        "memory_static_us": round(static_memory * 1e6, 2),
    }


def main(argv: list[str]) -> int:
    """Print the figures, as lines or as one JSON object."""
    parser = argparse.ArgumentParser(prog="tests.bench evaluation", description=__doc__)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args(argv)
    started = time.monotonic()
    found = measure()
    if wanted.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:36} {value}")
        print(f"({time.monotonic() - started:.0f} s)")
    return 0
