"""Many threads at once, and another process after a fork."""

from __future__ import annotations

import os
import select
import signal
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails

from flagbrake.model.flag import Targets
from flagbrake_contract.ask import ask, user
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import area, holds, rule

area("threads", "Threads", repair="evaluate from an immutable snapshot; swap it in one assignment")
area(
    "fork",
    "Fork",
    repair="os.register_at_fork(after_in_child=...): keep the data, start threads and connections anew",
)

THREADS: Final = 16


@rule(Cap.TARGETING)
def threads_right(h: Harness) -> None:
    """Sixteen threads with different units each get their own answers, 4,800 of 4,800."""
    flag = h.serving("x", targets=(Targets("other", tuple(f"unit-{n}" for n in range(0, THREADS, 2))),))
    start = threading.Barrier(THREADS)

    def work(number: int) -> int:
        start.wait(10)
        expected = "x" if number % 2 else "another text"
        context = user(f"unit-{number}")
        return sum(ask(h.provider, flag.key, "default", context).value != expected for _ in range(300))

    with ThreadPoolExecutor(THREADS) as pool:
        wrong = sum(pool.map(work, range(THREADS)))
    holds(wrong == 0, expected="0 wrong answers", came=f"{wrong}")


@rule()
def threads_while_changing(h: Harness) -> None:
    """While a flag changes, every thread sees one of its definitions, whole, and none goes back to an older one.

    Repair: build the new snapshot aside and swap it in one assignment.
    """
    key = h.key("changing")
    h.serving("0-0", key=key)
    stop, pause = threading.Event(), threading.Event()
    wrong: list[str] = []

    def read() -> None:
        last = -1
        while not stop.is_set():
            value = str(ask(h.provider, key, "default").value)
            left, _, right = value.partition("-")
            if left != right or not left.isdigit() or int(left) < last:
                wrong.append(f"{value!r} after {last}")
                return
            last = int(left)
            # Leave the processor to whoever brings the change.
            pause.wait(0.0002)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 21):
            h.serving(f"{number}-{number}", key=key)
            pause.wait(0.003)
    finally:
        stop.set()
        for reader in readers:
            reader.join(10)
    holds(not wrong, expected="whole definitions in order", came="; ".join(wrong))


@rule()
def threads_start_together(h: Harness) -> None:
    """Eight threads that call initialize at once start the provider once: all may use it, and one change is told once.

    Repair: start under a lock (FlagProvider does).
    """
    flag = h.serving("x")
    provider = h.make_provider()
    told: list[str] = []

    def listen(_: object, event: ProviderEvent, details: ProviderEventDetails) -> None:
        if event is ProviderEvent.PROVIDER_CONFIGURATION_CHANGED:
            told.extend(details.flags_changed or ())

    provider.attach(listen)
    together = threading.Barrier(8)

    def start(_: int) -> object:
        together.wait(10)
        provider.initialize(EvaluationContext())
        return ask(provider, flag.key, "default").value

    try:
        with ThreadPoolExecutor(8) as pool:
            given = list(pool.map(start, range(8)))
        holds(set(given) == {"x"}, expected="x, 8 times", came=f"{given}")
        h.serving("y", key=flag.key)
        h.eventually(lambda: ask(provider, flag.key, "default").value == "y", expected="y", came=lambda: told)
        holds(told.count(flag.key) <= 1, expected="one event for one change", came=f"{told.count(flag.key)}")
    finally:
        provider.shutdown()


@rule(Cap.FORK)
def fork_evaluates(h: Harness) -> None:
    """After a fork the child evaluates from what it has."""
    flag = h.serving("x")
    with h.session() as session:
        came = _in_child(lambda: str(ask(session.provider, flag.key, "default").value), h.patience)
    holds(came == "x", expected="x", came=came)


@rule(Cap.FORK, witness=True)
def fork_follows(h: Harness) -> None:
    """After a fork the child still learns of changes."""
    key = h.serving("before").key
    with h.session() as session:
        reading, writing = os.pipe()

        def child() -> str:
            os.read(reading, 1)
            if h.in_process:
                h.serving("after", key=key)
            deadline = threading.Event()
            for _ in range(int(h.patience / 0.02)):
                if ask(session.provider, key, "default").value == "after":
                    break
                deadline.wait(0.02)
            return str(ask(session.provider, key, "default").value)

        def change() -> None:
            if not h.in_process:
                h.serving("after", key=key)
            os.write(writing, b"!")

        came = _in_child(child, h.patience + 5, then=change)
        os.close(reading)
        os.close(writing)
    holds(came == "after", expected="after", came=came)


def _in_child(work: Callable[[], str], patience: float, then: Callable[[], None] = lambda: None) -> str:
    """Fork, run ``work`` in the child, return what it says."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # CPython 3.12 warns of fork with threads: that is the case under test (gunicorn --preload does it).
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, work().encode())
        except BaseException as error:  # noqa: BLE001 - the child reports, then ends without any cleanup of pytest
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    try:
        os.close(writing)
        then()
        ready, _, _ = select.select([reading], [], [], patience)
        return os.read(reading, 10_000).decode() if ready else f"nothing within {patience:g} s"
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
