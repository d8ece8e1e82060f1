"""The floor under a vendor's provider: what is paid whatever an adapter does, measured in the same run.

A vendor's SDK costs what it costs, and so does the OpenFeature client over any provider. The floor of a vendor is its
raw SDK call with the SDK's context built for it, plus what the OpenFeature client adds over its own in-memory provider:
``raw + (client over in-memory - bare in-memory)``. Everything is timed in turns and in the thread's own time, so that a
busy machine disturbs all alike; ratios are of medians.
"""

from __future__ import annotations

import statistics
import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

#: Turns, and calls in each.
ROUNDS = 25
CALLS = 2_000
#: The context of every measurement: who is asked about, and three attributes.
CONTEXT = EvaluationContext("user-4711", {"country": "NO", "plan": "free", "age": 41})
FLAG = "bench"


@dataclass(frozen=True, slots=True)
class Floor:
    """Median seconds per call."""

    #: The vendor's SDK with its context built.
    raw: float
    #: What the OpenFeature client adds over its in-memory provider.
    client: float
    #: The other calls that were measured, by name.
    others: Mapping[str, float]

    @property
    def floor(self) -> float:
        """What no adapter can be faster than without doing the vendor's work in its place."""
        return self.raw + self.client

    def ratio(self, name: str) -> float:
        """A call, as a multiple of the floor."""
        return round(self.others[name] / self.floor, 3)


def measure(raw: Callable[[], object], calls: Mapping[str, Callable[[], object]]) -> Floor:
    """Time ``raw`` and ``calls`` in turns with the client over the in-memory provider and that provider bare.

    Args:
        raw: one evaluation by the vendor's SDK of a boolean flag for :data:`CONTEXT`, the SDK's context built anew.
        calls: what is compared, as an application calls it, by name.
    """
    memory = InMemoryProvider({FLAG: InMemoryFlag("on", {"on": True, "off": False})})
    api.set_provider_and_wait(memory, "bench-floor")
    client = api.get_client("bench-floor")
    timed = {
        "": raw,
        " client": lambda: client.get_boolean_value(FLAG, False, CONTEXT),
        " memory": lambda: memory.resolve_boolean_details(FLAG, False, CONTEXT),
        **calls,
    }
    found = medians(timed)
    added = found[" client"] - found[" memory"]
    return Floor(found[""], added, {name: found[name] for name in calls})


def medians(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds per call of each, timed in turns."""
    timers = {name: timeit.Timer(call, timer=time.thread_time) for name, call in calls.items()}
    for timer in timers.values():
        timer.timeit(CALLS)
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            samples[name].append(timer.timeit(CALLS) / CALLS)
    return {name: statistics.median(kept) for name, kept in samples.items()}
