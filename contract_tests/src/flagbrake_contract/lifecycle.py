"""Start, stop, and a vendor that is away."""

from __future__ import annotations

import io
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.provider import FeatureProvider

from flagbrake_contract.ask import DEFAULTS, ask, ask_async, fails_with, run, shown, succeeds
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness, wait
from flagbrake_contract.rules import Broken, Level, Said, area, holds, rule, same

T = TypeVar("T")

area("lifecycle", "Start and stop", repair="subclass FlagProvider and open everything in start, close it in stop")
area(
    "outage",
    "A vendor that is away",
    repair="bound every wait in start; raise ProviderNotReadyError (later, perhaps) or ProviderFatalError (never)",
)
area("secrets", "Secrets", repair="keep keys out of repr, messages and log records; field(repr=False)")


@rule(Cap.LIFECYCLE, spec="2.2.7", witness=True)
def lifecycle_before_start(h: Harness) -> None:
    """Before initialize every getter answers the default and PROVIDER_NOT_READY: the provider itself, since 0.9.

    Repair: check a started flag in the getters (FlagProvider does).
    """
    key = h.serving(True).key
    provider = h.make_provider()
    for kind, default in DEFAULTS.items():
        fails_with(ask(provider, key, default, kind=kind), ErrorCode.PROVIDER_NOT_READY, default, kind.value)
        answer = run(ask_async(provider, key, default, kind=kind))
        fails_with(answer, ErrorCode.PROVIDER_NOT_READY, default, f"{kind.value}, async")


@rule(Cap.LIFECYCLE, spec="2.5.2", level=Level.SHOULD)
def lifecycle_after_shutdown(h: Harness) -> None:
    """After shutdown every getter answers the default and PROVIDER_NOT_READY."""
    key = h.serving(True).key
    with h.session() as session:
        same(succeeds(ask(session.provider, key, False)).value, True)
        session.provider.shutdown()
        for kind, default in DEFAULTS.items():
            fails_with(
                ask(session.provider, key, default, kind=kind), ErrorCode.PROVIDER_NOT_READY, default, kind.value
            )


@rule(spec="2.8.2")
def lifecycle_ready_with_data(h: Harness) -> None:
    """When initialize returns, the data is there: the first evaluation answers."""
    key = h.serving("x").key
    provider = h.make_provider()
    try:
        provider.initialize(EvaluationContext())
        same(succeeds(ask(provider, key, "default")).value, "x")
    finally:
        provider.shutdown()


@rule()
def lifecycle_no_work_in_constructor(h: Harness) -> None:
    """Making a provider starts no thread and opens no socket.

    Repair: move it to start.
    """

    def make() -> None:
        made.append(h.make_provider())

    made: list[FeatureProvider] = []
    try:
        new = _every_time(h, _threads, make)
        holds(not new, expected="no new thread", came=", ".join(t.name for t in new))
        opened = _every_time(h, _sockets, make)
        holds(not opened, expected="no new socket", came=f"{len(opened)} new")
    finally:
        for provider in made:
            provider.shutdown()


@rule()
def lifecycle_initialize_twice(h: Harness) -> None:
    """A second initialize does nothing: no second thread, and the provider goes on answering."""
    key = h.serving("x").key
    with h.session() as session:
        again = _settling(h, _threads, lambda: session.provider.initialize(EvaluationContext()))
        new = _every_time(h, _threads, again)
        holds(not new, expected="no new thread", came=", ".join(t.name for t in new))
        same(succeeds(ask(session.provider, key, "default")).value, "x")


@rule(spec="2.5.3", level=Level.SHOULD)
def lifecycle_shutdown_twice(h: Harness) -> None:
    """A second shutdown does nothing."""
    with h.session() as session:
        session.provider.shutdown()
        session.provider.shutdown()


@rule()
def lifecycle_shutdown_before_start(h: Harness) -> None:
    """A shutdown without a start does nothing."""
    h.make_provider().shutdown()


@rule(Cap.REINITIALIZATION, witness=True)
def lifecycle_reinitialize(h: Harness) -> None:
    """A provider that was shut down can be started again, and follows changes again."""
    key = h.serving("x").key
    with h.session() as session:
        session.provider.shutdown()
        session.provider.initialize(EvaluationContext())
        same(succeeds(ask(session.provider, key, "default")).value, "x")
        h.serving("y", key=key)
        h.eventually(
            lambda: ask(session.provider, key, "default").value == "y",
            expected="y",
            came=lambda: ask(session.provider, key, "default").value,
        )


@rule()
def lifecycle_two_at_once(h: Harness) -> None:
    """Two instances live side by side; shutting one down leaves the other alone."""
    key = h.serving("x").key
    with h.session() as one, h.session() as two:
        one.provider.shutdown()
        same(succeeds(ask(two.provider, key, "default")).value, "x")
        h.serving("y", key=key)
        h.eventually(
            lambda: ask(two.provider, key, "default").value == "y",
            expected="y",
            came=lambda: ask(two.provider, key, "default").value,
        )


@rule()
def lifecycle_no_thread_left(h: Harness) -> None:
    """After shutdown no thread of the provider is left."""
    left = _every_time(h, _threads, _settling(h, _threads, lambda: _start_and_stop(h)))
    holds(not left, expected="no thread left", came=", ".join(t.name for t in left))


@rule()
def lifecycle_no_socket_left(h: Harness) -> None:
    """After shutdown no socket of the provider is left open."""
    left = _every_time(h, _sockets, _settling(h, _sockets, lambda: _start_and_stop(h)))
    holds(not left, expected="no socket left", came=f"{len(left)} left")


def _start_and_stop(h: Harness) -> None:
    with h.session() as session:
        session.provider.shutdown()


def _settling(h: Harness, seen: Callable[[], set[T]], step: Callable[[], None]) -> Callable[[], None]:
    """The step, and a wait for what it adds to go away, longer each time."""
    patience = iter((1, 2, 5))

    def settled() -> None:
        before = seen()
        step()
        wait(lambda: seen() <= before, min(h.patience, next(patience)))

    return settled


def _every_time(h: Harness, seen: Callable[[], set[T]], step: Callable[[], None]) -> set[T]:
    """What ``step`` adds to what is seen.

    Asked three times: the vendor and the shared provider, which may live in this process too, open and close things
    in between; what the step itself leaves is there every time.
    """
    h.provider  # noqa: B018 - what the harness shares stays
    added: set[T] = set()
    for _ in range(3):
        before = seen()
        step()
        added = seen() - before
        if not added:
            break
    return added


def _threads() -> set[threading.Thread]:
    # The SDK's own event pool grows on demand and lives until the process ends.
    return {t for t in threading.enumerate() if not t.name.startswith("openfeature-event-handler")}


@rule()
def lifecycle_no_leak(h: Harness) -> None:
    """Five starts and stops leave as many file descriptors open as one.

    Repair: close what start opened, also when it fails halfway.
    """
    with h.session():
        pass
    before = after = 0
    # As with threads and sockets: the vendor and the shared provider come and go too, a leak is there every time.
    for patience in (1, 2, 5):
        before, after = _five_times(h, patience)
        if after <= before:
            break
    holds(after <= before, expected=f"{before} descriptors", came=f"{after}")


def _five_times(h: Harness, patience: float) -> tuple[int, int]:
    before = _descriptors()
    for _ in range(5):
        with h.session():
            pass
    wait(lambda: _descriptors() <= before, min(h.patience, patience))
    return before, _descriptors()


def _descriptors() -> int:
    return len(_open())


def _open() -> set[int]:
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"  # noqa: PTH112 - a proc file
    return {int(name) for name in os.listdir(folder)}  # noqa: PTH208 - names only


def _sockets() -> set[int]:
    found = set()
    for number in _open():
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode) and _is_network(number):
                found.add(number)
    return found


def _is_network(number: int) -> bool:
    # An event loop wakes itself through a socket pair: no network.
    copy = os.dup(number)
    with socket.socket(fileno=copy) as probe:
        return probe.family in (socket.AF_INET, socket.AF_INET6) or bool(
            probe.family == socket.AF_UNIX and _named(probe)
        )


def _named(probe: socket.socket) -> bool:
    try:
        return bool(probe.getpeername())
    except OSError:
        return False


# --- outage ----------------------------------------------------------------------------------------------------


def _failed_start(h: Harness, provider: FeatureProvider) -> tuple[OpenFeatureError, float]:
    begun = time.monotonic()
    ended: list[BaseException | None] = []

    def start() -> None:
        try:
            provider.initialize(EvaluationContext())
            ended.append(None)
        except BaseException as error:  # noqa: BLE001 - the finding
            ended.append(error)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    thread.join(h.start_within)
    took = time.monotonic() - begun
    if not ended:
        raise Broken(Said(f"an end of initialize within {h.start_within:g} s"), Said("it goes on"))
    error = ended[0]
    if not isinstance(error, OpenFeatureError):
        raise Broken(Said("ProviderNotReadyError or ProviderFatalError"), error or Said("a normal return"))
    return error, took


@rule(Cap.UNAVAILABLE_INIT, spec="2.4.2.1", level=Level.SHOULD, witness=True)
def outage_start(h: Harness) -> None:
    """With the vendor away, initialize ends in bounded time with PROVIDER_NOT_READY: it never returns as if ready.

    A provider that has a last known good copy may return; then it must answer from it.
    """
    key = h.serving("x").key
    with h.broken():
        provider = h.make_provider()
        try:
            try:
                error, _ = _failed_start(h, provider)
            except Broken:
                answer = ask(provider, key, "default")
                holds(answer.value == "x", expected="an error, or answers from a last known good copy",
                      came=f"a normal return, then {shown(answer)}")  # fmt: skip
                return
            same(str(error.error_code), "PROVIDER_NOT_READY")
            holds(error.error_message or str(error), expected="a message", came="none")
            fails_with(ask(provider, key, "default"), ErrorCode.PROVIDER_NOT_READY, "default")
        finally:
            provider.shutdown()


@rule(Cap.UNAVAILABLE_INIT)
def outage_start_later(h: Harness) -> None:
    """A start that failed for want of the vendor can be repeated when it is back."""
    key = h.serving("x").key
    provider = h.make_provider()
    try:
        with h.broken(), suppress(OpenFeatureError):
            provider.initialize(EvaluationContext())
        h.settle()
        wait(lambda: _started(provider, key), h.patience)
        same(succeeds(ask(provider, key, "default")).value, "x")
    finally:
        provider.shutdown()


def _started(provider: FeatureProvider, key: str) -> bool:
    with suppress(OpenFeatureError):
        provider.initialize(EvaluationContext())
    return ask(provider, key, "default").error_code is None


@rule(Cap.STALE)
def outage_goes_on(h: Harness) -> None:
    """With the vendor away, a started provider goes on answering what it knew, without an error."""
    key = h.serving("x").key
    with h.session() as session, h.broken():
        for _ in range(100):
            same(succeeds(ask(session.provider, key, "default")).value, "x")


@rule(Cap.STALE)
def outage_fast(h: Harness) -> None:
    """With the vendor away an answer takes no longer than usual: it comes from memory, no call waits."""
    key = h.serving("x").key
    with h.session() as session, h.broken():
        begun = time.monotonic()
        for _ in range(100):
            ask(session.provider, key, "default")
            ask(session.provider, h.key("missing"), "default")
        took = time.monotonic() - begun
    holds(took < 1.0, expected="200 answers in under a second", came=f"{took:.2f} s")


@rule(Cap.STALE)
def outage_recovers(h: Harness) -> None:
    """When the vendor is back, the provider follows changes again, by itself."""
    key = h.serving("x").key
    with h.session() as session:
        with h.broken():
            same(ask(session.provider, key, "default").value, "x")
        h.serving("y", key=key)
        h.eventually(
            lambda: ask(session.provider, key, "default").value == "y",
            expected="y",
            came=lambda: ask(session.provider, key, "default").value,
        )


@rule(Cap.STALE)
def outage_shutdown(h: Harness) -> None:
    """With the vendor away, shutdown ends in bounded time and raises nothing."""
    with h.session() as session, h.broken():
        begun = time.monotonic()
        session.provider.shutdown()
        took = time.monotonic() - begun
    holds(took < h.start_within, expected=f"less than {h.start_within:g} s", came=f"{took:.1f} s")


@rule(Cap.AUTHENTICATION, spec="2.4.2.1", level=Level.SHOULD, witness=True)
def outage_rejected(h: Harness) -> None:
    """A key that the vendor refuses is PROVIDER_FATAL: it will never work.

    Repair: raise ProviderFatalError from start; a READY with a refused key serves defaults for ever.
    """
    provider = h.rejected()
    try:
        error, _ = _failed_start(h, provider)
        same(str(error.error_code), "PROVIDER_FATAL")
    finally:
        provider.shutdown()


@rule(Cap.HANGING_INIT, witness=True)
def outage_hanging(h: Harness) -> None:
    """A vendor that accepts and never answers does not hold initialize for ever: PROVIDER_NOT_READY in bounded time."""
    provider = h.hanging()
    try:
        error, _ = _failed_start(h, provider)
        same(str(error.error_code), "PROVIDER_NOT_READY")
    finally:
        provider.shutdown()


# --- secrets ---------------------------------------------------------------------------------------------------


@contextmanager
def _logged() -> Iterator[Callable[[], str]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield stream.getvalue
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _told(h: Harness, text: str, where: str) -> None:
    for number, secret in enumerate(h.secrets, 1):
        holds(secret not in text, expected=f"no secret in {where}", came=f"secret {number} of the harness stands in it")


@rule()
def secrets_repr(h: Harness) -> None:
    """No secret stands in the provider's repr, str or metadata."""
    for provider in (h.make_provider(), h.provider):
        _told(h, f"{provider!r} {provider} {provider.get_metadata()!r}", "repr, str or metadata")


@rule()
def secrets_log(h: Harness) -> None:
    """No secret is logged, at any level, at start, evaluation and stop."""
    key = h.serving("x").key
    with _logged() as text:
        with h.session() as session:
            ask(session.provider, key, "default")
            ask(session.provider, h.key("missing"), "default")
            ask(session.provider, key, 5)
        _told(h, text(), "the log")


@rule(Cap.UNAVAILABLE_INIT)
def secrets_error(h: Harness) -> None:
    """No secret stands in the error or the log of a start that fails."""
    with h.broken(), _logged() as text:
        provider = h.make_provider()
        try:
            provider.initialize(EvaluationContext())
        except OpenFeatureError as error:
            _told(h, f"{error!r} {error} {error.error_message}", "the error")
        finally:
            provider.shutdown()
        _told(h, text(), "the log")
