"""The lane without a store: kills and declarations from the vendor's own flags, read through the provider.

A boolean flag ``kill.<scope>`` that serves true is a kill; the JSON flag ``flagbrake.manifest`` holds
``{"flags": {KEY: declaration}}``. Both are read from the provider's memory: at start, when the vendor tells
of a change, and every second in case it does not. Nothing here is on the path of an evaluation.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, ClassVar, Final, TypeGuard

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode

from flagbrake.errors import InvalidInput
from flagbrake.model.codec import manifest_from_data
from flagbrake.model.kill import Kill, KillSnapshot, Scope
from flagbrake.model.manifest import Manifest
from flagbrake.model.reserved import is_reserved, kill_prefix, manifest_flag, scope_of
from flagbrake.ports.kills import KillView
from flagbrake.ports.provider import FlagProvider

_log = logging.getLogger("flagbrake.kill")

#: Reserved flags are asked for everybody alike.
_CONTEXT: Final = EvaluationContext("flagbrake")
#: Names remembered: what they mean, and which were told of.
_BOUND: Final = 1000
#: One of so many looks reads the declarations too: they may be long, and a change of them is told.
_SELDOM: Final = 10
#: Grows as long as the process lives, so that no successor of a lane reads below it.
_epochs = itertools.count(1)

#: Errors that say what stands in the vendor cannot be a kill switch, now and at every later look.
_UNREADABLE: Final = frozenset({ErrorCode.TYPE_MISMATCH, ErrorCode.PARSE_ERROR})


def tells_keys(provider: object) -> TypeGuard[FlagProvider]:
    """Can kills be read from this provider's own flags? Known before it is started."""
    return isinstance(provider, FlagProvider) and type(provider).keys is not FlagProvider.keys


class _Heard(Enum):
    """What a reserved flag said."""

    ON = auto()
    OFF = auto()
    CORRUPT = auto()
    NOTHING = auto()  # nobody can tell now


class FlagKills:
    """A :class:`KillFeed` over a provider that tells its keys. Give it to the guard: ``Guard(..., flags=...)``.

    The guard starts it, passes the provider's events on and stops it. A view is trusted for ``trust`` seconds
    after the last look at which the provider was ready: when the vendor is cut off, when the thread is dead
    or after a fork that the provider did not survive, the lane goes silent and the policy decides.

    Args:
        provider: what is read; one whose ``keys()`` is ``None`` leaves the lane UNKNOWN.
        environment: stamped on every kill; what the vendor's key opens is this environment.
        trust: seconds.
        every: seconds between two looks when nothing is told.
    """

    #: The lane's name on the board.
    lane: ClassVar[str] = "flags"

    def __init__(
        self,
        provider: FlagProvider,
        *,
        environment: str,
        trust: float = 15.0,
        every: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._provider = provider
        self._dot = provider.reserved_dot
        self._environment = environment
        self._trust = trust
        self._every = every
        self._monotonic = monotonic
        self._now = now
        #: ``None`` until the provider's start or its events have told.
        self._ready: bool | None = None
        self._kills: dict[str, Kill] = {}
        self._epoch = next(_epochs)
        self._answered = False
        self._valid_until = 0.0
        self._manifest = Manifest()
        self._document: Any = None
        self._told: set[str] = set()
        self._scopes: dict[str, Scope | None] = {}
        self._view: KillView | None = None
        self._receivers: list[Callable[[KillView], None]] = []
        self._thread: threading.Thread | None = None
        self._renew()
        _lanes.add(self)

    def _renew(self) -> None:
        # Re-entrant: a listener of the board may make the provider tell of something.
        self._lock = threading.RLock()
        self._ended = threading.Event()

    # --- the feed -----------------------------------------------------------------------------------------

    def subscribe(self, receive: Callable[[KillView], None]) -> Callable[[], None]:
        """Call ``receive`` after every look; return the unsubscriber."""
        with self._lock:
            self._receivers.append(receive)
            if self._view is not None:
                receive(self._view)

        def unsubscribe() -> None:
            with self._lock:
                if receive in self._receivers:
                    self._receivers.remove(receive)

        return unsubscribe

    # --- life ---------------------------------------------------------------------------------------------

    def start(self, *, ready: bool = True) -> None:
        """Look once, here and now, then from a thread; ``ready``: the provider's start has succeeded."""
        with self._lock:
            if self._ready is None:
                self._ready = ready
            self.look()
            if self._thread is None:
                self._ended.clear()
                self._run()

    def _run(self) -> None:
        self._thread = threading.Thread(target=self._watch, args=(self._ended,), name="flagbrake-flags", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. What was killed stays killed on the board, and its trust runs out."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._ready = None
            self._ended.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)
        with self._lock:
            self._ended = threading.Event()

    def heard(self, event: ProviderEvent, details: ProviderEventDetails) -> None:
        """The provider tells something; kills are applied when this returns."""
        if event is ProviderEvent.PROVIDER_CONFIGURATION_CHANGED:
            changed = details.flags_changed
            if changed and not any(is_reserved(key, dot=self._dot) for key in changed):
                return
        else:
            self._ready = event is ProviderEvent.PROVIDER_READY
        if self._thread is not None:
            self.look()

    def _watch(self, ended: threading.Event) -> None:
        for n in itertools.count(1):
            if ended.wait(self._every):
                return
            self.look(declarations=n % _SELDOM == 0)

    def _forked(self) -> None:
        running = self._thread is not None
        self._renew()
        self._thread = None
        if running and self._provider.follows_after_fork:
            self._run()

    # --- looking ------------------------------------------------------------------------------------------

    def look(self, *, declarations: bool = True) -> None:
        """Read the reserved flags and tell the board. Never raises: what cannot be read is not trusted."""
        with self._lock:
            try:
                if self._read(declarations=declarations):
                    self._answered = True
                    if self._ready:
                        self._valid_until = self._monotonic() + self._trust
            except Exception:  # noqa: BLE001 - a provider that fails makes the lane UNKNOWN, nothing else
                if "look" not in self._told:
                    self._told.add("look")
                    _log.exception("The kill flags of '%s' cannot be read; kills are UNKNOWN.", self._provider.name)
            else:
                self._told.discard("look")
            if not self._answered:
                return  # never heard is another fact than silent
            snapshot = KillSnapshot(self._environment, self._epoch, tuple(self._kills.values()))
            view = self._view = KillView(snapshot, self._manifest, self._valid_until)
            for receive in tuple(self._receivers):
                receive(view)

    def _read(self, *, declarations: bool) -> bool:
        """Take in what the flags say now; False when something could not be asked."""
        keys = self._provider.keys()
        if keys is None:
            return False
        found, sure = self._standing(keys)
        if found != self._kills:
            self._epoch = next(_epochs)
            fresh = found.keys() - self._kills.keys()
            self._kills = {
                key: replace(kill, epoch=self._epoch) if key in fresh else kill for key, kill in found.items()
            }
        return (not declarations or self._read_manifest()) and sure

    def _standing(self, keys: Collection[str]) -> tuple[dict[str, Kill], bool]:
        found: dict[str, Kill] = {}
        sure = True
        prefix = kill_prefix(dot=self._dot)
        for key in [key for key in keys if key.startswith(prefix)]:
            scope = self._scope(key)
            if scope is None:
                continue
            before = self._kills.get(key)
            heard, version, why = self._ask(key)
            if heard is _Heard.NOTHING:
                sure = False
                heard = _Heard.ON if before is not None else _Heard.OFF
                if before is not None:
                    found[key] = before
            elif heard is not _Heard.OFF:
                corrupt = heard is _Heard.CORRUPT
                same = before is not None and before.corrupt is corrupt
                found[key] = before if same and before else self._kill(key, scope, version, why, corrupt=corrupt)
        return found, sure

    def _ask(self, key: str) -> tuple[_Heard, object, str]:
        answer = self._provider.resolve_boolean_details(key, False, _CONTEXT)
        version = answer.flag_metadata.get("version")
        if answer.error_code is None:
            return (_Heard.ON if answer.value is True else _Heard.OFF), version, f"the flag '{key}' is on"
        if answer.error_code is ErrorCode.FLAG_NOT_FOUND:
            return _Heard.OFF, None, ""
        if answer.error_code in _UNREADABLE:
            return _Heard.CORRUPT, None, f"the flag '{key}' cannot be read as a boolean: {answer.error_message}"
        return _Heard.NOTHING, None, ""

    def _kill(self, key: str, scope: Scope, version: object, why: str, *, corrupt: bool) -> Kill:
        vendor = self._provider.name
        return Kill(
            id=key if version in {None, ""} else f"{key}@{version}",
            scope=scope,
            environment=self._environment,
            reason=f"{vendor}: {why}",
            by=vendor,
            at=self._now(),
            epoch=0,
            lane=self.lane,
            corrupt=corrupt,
        )

    def _scope(self, key: str) -> Scope | None:
        try:
            return self._scopes[key]
        except KeyError:
            if len(self._scopes) >= _BOUND:
                self._scopes.clear()
        try:
            found: Scope | None = scope_of(key, dot=self._dot)
        except InvalidInput as error:
            found = None
            self._once(key, f"{error} It is ignored.")
        self._scopes[key] = found
        return found

    # --- declarations -------------------------------------------------------------------------------------

    def _read_manifest(self) -> bool:
        key = manifest_flag(dot=self._dot)
        answer = self._provider.resolve_object_details(key, {}, _CONTEXT)
        document: Any = answer.value
        if answer.error_code is ErrorCode.FLAG_NOT_FOUND:
            document = {"flags": {}}
        elif answer.error_code in _UNREADABLE:
            self._once(key, f"'{key}' cannot be read: {answer.error_message} The declarations stay as they were.")
            return True
        elif answer.error_code is not None:
            return False
        if document != self._document:
            self._document = document
            self._manifest = self._declared(key, document)
        return True

    def _declared(self, key: str, document: Any) -> Manifest:
        try:
            manifest, bad = manifest_from_data(document, where=key)
        except InvalidInput as error:
            _log.error("%s The declarations stay as they were.", error)
            return self._manifest
        for complaint in bad:
            _log.error("%s The entry is left out.", complaint)
        return manifest

    def _once(self, key: str, text: str) -> None:
        if key not in self._told and len(self._told) < _BOUND:
            self._told.add(key)
            _log.warning("%s", text)


_lanes: weakref.WeakSet[FlagKills] = weakref.WeakSet()


def _after_fork() -> None:
    # The threads are gone, and one of them may have held the lock.
    for lane in list(_lanes):
        lane._forked()  # noqa: SLF001 - the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
