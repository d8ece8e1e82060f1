"""A provider over a vendor's SDK, whose own threads bring the data: when it serves, and what it tells of it."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode

from flagbrake.errors import NotAllowed, VendorUnavailable
from flagbrake.ports.provider import FlagProvider


class Standing(StrEnum):
    """What applications were told last of a provider's data."""

    #: Stopped, or starting: nothing is told, for how the start ends says it.
    UNTOLD = "untold"
    #: The start gave up waiting; the SDK did not.
    NOT_READY = "not-ready"
    READY = "ready"
    STALE = "stale"
    ERROR = "error"


class News(StrEnum):
    """What an SDK's thread hears of the data."""

    FLOWING = "flowing"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"


_LEADS: Final[Mapping[tuple[Standing, News], Standing]] = MappingProxyType(
    {
        (Standing.NOT_READY, News.FLOWING): Standing.READY,
        (Standing.READY, News.INTERRUPTED): Standing.STALE,
        (Standing.READY, News.REFUSED): Standing.ERROR,
        (Standing.STALE, News.FLOWING): Standing.READY,
        (Standing.STALE, News.REFUSED): Standing.ERROR,
        # An outage after a refusal changes nothing: as far as anybody knows the key is still refused.
        (Standing.ERROR, News.FLOWING): Standing.READY,
    }
)


def after(standing: Standing, news: News) -> Standing:
    """Where news leads; what leads nowhere else is not told again."""
    return _LEADS.get((standing, news), standing)


_EVENTS: Final[Mapping[Standing, ProviderEvent]] = MappingProxyType(
    {
        Standing.READY: ProviderEvent.PROVIDER_READY,
        Standing.STALE: ProviderEvent.PROVIDER_STALE,
        Standing.ERROR: ProviderEvent.PROVIDER_ERROR,
    }
)


class SdkProvider(FlagProvider):
    """Write :meth:`connect`, :meth:`disconnect`, :meth:`after_fork` and ``resolve``; say what the SDK hears.

    What it hears, in whatever thread, goes to :meth:`data_flows`, :meth:`data_interrupted`, :meth:`key_refused`
    and :meth:`flags_changed`. Made of that here: a start that waits until there is data, a refusal or no more
    time; a start that gave up and serves after all when the data comes; READY, STALE and ERROR once each and in
    order; a shutdown that ends an SDK also when its start failed; a child of ``os.fork`` that goes on.

    Args:
        timeout: seconds a start waits for data.
    """

    #: The vendor as people write it.
    vendor: ClassVar[str]
    #: Which key the SDK needs; the cure of a refusal.
    right_key: ClassVar[str] = "the SDK key of this environment"
    follows_after_fork: ClassVar[bool] = True

    def __init__(self, *, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout
        self._connected = False
        self._arrived = False
        self._refused = False
        self._trouble = ""
        #: Set when there is nothing more to wait for.
        self._settled = threading.Event()
        self._standing = Standing.UNTOLD
        #: Held while a change of standing is told, or a later one could overtake it. Not taken by evaluation.
        self._telling = threading.RLock()
        self._sequence = itertools.count(1)
        _living.add(self)

    # --- what an adapter writes -----------------------------------------------------------------------

    @abstractmethod
    def connect(self) -> None:
        """Make the SDK and set it going; what it hears is said from now on. What it raises ends the start."""

    @abstractmethod
    def disconnect(self) -> None:
        """End the SDK and its threads, within bounds. Called once for each ``connect``, also for one that raised."""

    @abstractmethod
    def after_fork(self) -> None:
        """In a child process: the SDK's threads and whoever held its locks are gone, the flags are not."""

    def hurry(self) -> None:
        """Try again now, if the SDK pauses: somebody starts once more. One that cannot be hurried is waited for."""

    def await_data(self, seconds: float) -> None:
        """Wait until there is data or a refusal; for an SDK that waits in ``connect`` there is nothing to do."""
        self._settled.wait(seconds)

    def source(self) -> str:
        """Where data was waited for, for the message of a start without any."""
        return self.vendor

    def way_out(self) -> str:
        """What an operator does when no data came from :meth:`source`; the cure of that message."""
        return "look whether its address is reachable from here"

    # --- what an adapter says, from the SDK's threads -------------------------------------------------------

    def data_flows(self) -> None:
        """There is data, and it is followed. Saying it again is cheap and tells nothing."""
        with self._telling:
            self._arrived, self._refused, self._trouble = True, False, ""
            self._hear(News.FLOWING, f"{self.vendor}'s data flows")
            self._settled.set()

    def data_interrupted(self, message: str) -> None:
        """The data is not followed just now; ``message`` says why and shows no secret."""
        with self._telling:
            self._trouble = message
            self._hear(News.INTERRUPTED, f"{message}; the last known flags are served")

    def key_refused(self, message: str, status: int | None = None) -> None:
        """The vendor refuses the key, with an HTTP status if there is one."""
        with self._telling:
            self._refused, self._trouble = True, message
            # Not PROVIDER_FATAL, on which OpenFeature would answer defaults: what was received is still served.
            text = f"{message}; the last known flags are served and it is tried again"
            self._hear(News.REFUSED, text, {} if status is None else {f"{self.name}_status": status})
            self._settled.set()

    def flags_changed(self, keys: list[str]) -> None:
        """These flags answer anew, and no others; the new answers are served already."""
        if self._serving:
            details = ProviderEventDetails(flags_changed=keys, metadata=self._numbered())
            self.emit_provider_configuration_changed(details)

    def _hear(self, news: News, message: str, facts: Mapping[str, int] = MappingProxyType({})) -> None:
        before, self._standing = self._standing, after(self._standing, news)
        if self._standing is before:
            return
        if before is Standing.NOT_READY:
            self._serving = True  # the start had given up; this is the recovery it promised
        ready = self._standing is Standing.READY
        logging.getLogger(f"flagbrake.{self.name}").log(logging.INFO if ready else logging.WARNING, "%s.", message)
        code = ErrorCode.GENERAL if self._standing is Standing.ERROR else None
        details = ProviderEventDetails(message=message, error_code=code, metadata=self._numbered(facts))
        self.emit(_EVENTS[self._standing], details)

    def _numbered(self, facts: Mapping[str, int] = MappingProxyType({})) -> dict[str, bool | str | int | float]:
        # Handlers run in a pool, in any order: the sequence tells what came first.
        return {"sequence": next(self._sequence), **facts}

    # --- lifecycle --------------------------------------------------------------------------------------------

    def start(self, context: EvaluationContext) -> None:
        """Connect and wait for data.

        Raises:
            NotAllowed: the key is refused. It is tried again; when it is taken after all, the provider serves
                and emits READY.
            VendorUnavailable: no data in time. It is tried on; when data arrives the provider serves it and
                emits READY.
        """
        with self._telling:
            self._standing = Standing.UNTOLD
            first = not self._connected
            if first:
                self._arrived = False
            # What is heard meanwhile comes before this, and is what the start finds, or after it, and ends the start.
            again = self._refused or not self._arrived
            if again:
                self._refused, self._trouble = False, ""
                self._settled.clear()
        if first:
            self._connected = True
            try:
                self.connect()
            except BaseException:
                self.stop()
                raise
        elif again:
            self.hurry()
        self.await_data(self._timeout)
        with self._telling:
            ready, trouble = self._arrived and not self._refused, self._trouble
            self._standing = Standing.READY if ready else Standing.NOT_READY
            if ready:
                return
            if self._refused:
                raise NotAllowed(f"{trouble}.", cure=self.right_key)
        why = f"yet: {trouble}" if trouble else f"after {self._timeout:g} s"
        raise VendorUnavailable(f"No flags from {self.source()} {why}; it is tried on.", cure=self.way_out())

    def stop(self) -> None:
        """Disconnect; nothing is told from now on."""
        with self._telling:
            self._standing = Standing.UNTOLD
            self._serving = False
        if self._connected:
            self._connected = False
            self.disconnect()

    def shutdown(self) -> None:
        """Stop, also when the start failed and the SDK is still trying."""
        with self._lifecycle:
            self.stop()

    def _forked(self) -> None:
        self._lifecycle, self._telling = threading.RLock(), threading.RLock()
        self._settled = threading.Event()
        if self._arrived:
            self._settled.set()
        if self._connected:
            self.after_fork()


#: All providers of this kind, which a child made by ``os.fork`` has to set going again.
_living: Final[weakref.WeakSet[SdkProvider]] = weakref.WeakSet()


def _after_fork() -> None:
    for provider in list(_living):
        try:
            provider._forked()  # noqa: SLF001 - of this module
        except Exception:  # one vendor's trouble leaves the others alone
            logging.getLogger("flagbrake").exception("Provider '%s' does not follow in this process.", provider.name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
