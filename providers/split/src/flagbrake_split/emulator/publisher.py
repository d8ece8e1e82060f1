"""Commit first, then tell: what changed goes to the streams of its environment, in order unless asked otherwise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from flagbrake.emulate.sse import Hub
from flagbrake_split.emulator import wire
from flagbrake_split.emulator.compile import JSON
from flagbrake_split.emulator.state import Plane

#: The organisation in the names of channels.
ORG = "org"


def topic(environment: str, kind: str) -> str:
    """The channel of an environment's flags (``splits``) or segments."""
    return f"{ORG}_{environment}_{kind}"


class Publisher:
    """Tells the streams. Its caller holds the state's lock, so the order of messages is that of commits."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        #: How flags travel inside messages; ``None``: messages only say that something changed.
        self.instant: wire.Instant | None = wire.Instant.ZLIB
        self._held: list[Callable[[], object]] | None = None
        self._cut_next = False
        self._lock = threading.Lock()

    # --- trouble on request --------------------------------------------------------------------------

    def hold(self) -> None:
        """Keep messages back from now on."""
        with self._lock:
            self._held = self._held or []

    def release(self, *, backwards: bool = False) -> int:
        """Send what was kept back, in its order or against it; how many messages there were."""
        with self._lock:
            held, self._held = self._held or [], None
        for send in reversed(held) if backwards else held:
            send()
        return len(held)

    def cut_before_next(self) -> None:
        """Cut all streams between the next commit and its message."""
        with self._lock:
            self._cut_next = True

    # --- messages --------------------------------------------------------------------------------------

    def split(self, plane: Plane, split: JSON, before: int) -> None:
        """A flag changed."""
        now = plane.change_number
        if self.instant is None:
            update = wire.split_update(now)
        else:
            update = wire.split_update(now, before=before, split=split, instant=self.instant)
        self._send(topic(plane.name, "splits"), update)

    def kill(self, plane: Plane, split: JSON) -> None:
        """A flag was killed."""
        update = wire.split_kill(split["name"], split["defaultTreatment"], plane.change_number)
        self._send(topic(plane.name, "splits"), update)

    def segment(self, plane: Plane, name: str) -> None:
        """The keys of a segment changed."""
        update = wire.segment_update(name, plane.segments[name].change_number)
        self._send(topic(plane.name, "segments"), update)

    def rule_based_segment(self, plane: Plane, segment: JSON, before: int) -> None:
        """The rules of a segment changed."""
        now = plane.segments_change_number
        if self.instant is None:
            update = wire.segment_rules_update(now)
        else:
            update = wire.segment_rules_update(now, before=before, segment=segment, instant=self.instant)
        self._send(topic(plane.name, "splits"), update)

    def control(self, kind: str) -> None:
        """Tell every stream to pause, to go on, or to end for good."""
        self._send(wire.REGIONS[0], wire.control(kind))

    def occupancy(self, publishers: int) -> None:
        """Tell every stream how many publishers each region has."""
        for region in wire.REGIONS:
            self._send(region, wire.occupancy(publishers), channel=wire.OCCUPANCY + region, name="[meta]occupancy")

    def error(self, code: int, status: int = 401, text: str = "Token expired") -> None:
        """Send the streaming service's error event to every stream."""
        self._deliver(lambda: self.hub.publish(wire.REGIONS[0], wire.error(code, status, text)))

    def _send(self, to: str, data: JSON, *, channel: str = "", name: str | None = None) -> None:
        sent = wire.message(channel or to, data, now=time.time_ns() // 1_000_000, name=name)
        self._deliver(lambda: self.hub.publish(to, sent))

    def _deliver(self, send: Callable[[], object]) -> None:
        with self._lock:
            cut, self._cut_next = self._cut_next, False
            if self._held is not None and not cut:
                self._held.append(send)
                return
        if cut:
            self.hub.cut()
        send()
