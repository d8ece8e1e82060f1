"""Nobody waits for a vendor: not the constructor, not an answer, not the event loop. Bounds are generous."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import FeatureProvider

from flagbrake.model.state import Support
from flagbrake_contract.ask import ask, ask_async
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import holds, rule

#: Seconds. What comes from memory takes microseconds; who waits for a network waits longer than this.
_AT_ONCE: Final = 1.0
#: How long a start that may hang is given before it is asked all the same.
_HEAD_START: Final = 1.0


def _aside(work: Callable[[], object], seconds: float) -> float | None:
    """Run in a thread; the seconds it took, ``None`` when it goes on. Whatever it raises is another rule's affair."""
    took: list[float] = []

    def timed() -> None:
        begun = time.monotonic()
        with suppress(Exception):
            work()
        took.append(time.monotonic() - begun)

    thread = threading.Thread(target=timed, daemon=True)
    thread.start()
    thread.join(seconds)
    return took[0] if took else None


def _begun(provider: FeatureProvider) -> None:
    """Start it; whether that succeeds, fails or hangs, it must answer."""
    _aside(lambda: provider.initialize(EvaluationContext()), _HEAD_START)


def _given_up(h: Harness, provider: FeatureProvider) -> None:
    _aside(provider.shutdown, h.start_within)


def _at_once(took: float | None, limit: float, what: str) -> None:
    came = f"nothing within {limit:g} s" if took is None else f"{took:.1f} s"
    holds(took is not None and took < _AT_ONCE, expected=f"{what} in under {_AT_ONCE:g} s", came=came)


@rule(Cap.UNAVAILABLE_INIT)
def outage_constructor(h: Harness) -> None:
    """Making a provider waits for nobody, also when the vendor is away or never answers.

    Repair: wait in start, where initialize is expected to take its time; a constructor runs while modules load.
    """
    made: list[FeatureProvider] = []
    with h.broken():
        took = _aside(lambda: made.append(h.make_provider()), h.start_within)
    _at_once(took, h.start_within, "a provider of a vendor that is away")
    if h.support(Cap.HANGING_INIT) is Support.FULL:
        took = _aside(lambda: made.append(h.hanging()), h.start_within)
        _at_once(took, h.start_within, "a provider of a vendor that never answers")
    for provider in made:
        _given_up(h, provider)


@rule(Cap.UNAVAILABLE_INIT)
def outage_unready_fast(h: Harness) -> None:
    """A provider that could not start answers at once: twenty evaluations, none of which waits for it to be ready.

    Repair: answer PROVIDER_NOT_READY from a flag in memory; only initialize waits.
    """
    key = h.serving(True).key
    with h.broken():
        provider = h.make_provider()
        _begun(provider)
        took = _aside(lambda: [ask(provider, key, False) for _ in range(20)], h.start_within)
        _given_up(h, provider)
    _at_once(took, h.start_within, "20 answers")


@rule(Cap.HANGING_INIT)
def outage_hanging_answer(h: Harness) -> None:
    """While the vendor accepts connections and never answers, an evaluation answers at once: it asks nobody.

    Repair: evaluate from memory; fetch in a thread of its own.
    """
    provider = h.hanging()
    _begun(provider)
    took = _aside(lambda: ask(provider, h.key("any"), True), h.start_within)
    _given_up(h, provider)
    _at_once(took, h.start_within, "an answer")


@rule(Cap.HANGING_INIT)
def outage_hanging_loop(h: Harness) -> None:
    """While the vendor never answers, an async evaluation leaves the event loop to the others.

    Repair: evaluate from memory, or await an async client; the SDK's own async getters call the sync ones.
    """
    provider = h.hanging()
    _begun(provider)
    gaps: list[float] = []
    ended = _aside(lambda: gaps.append(asyncio.run(_longest_gap(provider, h.key("any")))), h.start_within)
    _given_up(h, provider)
    gap = gaps[0] if ended is not None and gaps else None
    _at_once(gap, h.start_within, "every turn of the event loop")


async def _longest_gap(provider: FeatureProvider, key: str) -> float:
    """The longest time for which a task that wants to run every 10 ms did not run."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            longest, last = max(longest, now - last), now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    with suppress(Exception):
        await asyncio.wait_for(ask_async(provider, key, "default"), 5)
    await asyncio.sleep(0.05)
    ticking.cancel()
    return longest
