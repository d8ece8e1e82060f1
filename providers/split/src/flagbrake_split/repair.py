"""What the SDK (10.7) leaves undone when a request fails, done: updates, segments, a stream that was refused.

In streaming mode it asks once. An update whose download fails is dropped until some later update; a segment that
does not load is left out, so that its members get what everybody gets, and nobody is told; a flag that arrives by
download has its new segments not loaded at all, and one that arrives inside the message blocks all later updates
for minutes, because its segment is asked for the flag's change number, which it seldom has; one flag that it cannot
read keeps all others from arriving; and when a stream opens, no update is read before every segment has loaded, or
failed to. A stream whose connection was refused once is never opened again; one that opens, or is refused, before its
opener waits for that is waited for without end; and one that ends before its opener has noted it is never missed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from splitio.api import APIException
from splitio.models import rule_based_segments, splits
from splitio.push import splitsse
from splitio.util.storage_helper import get_standard_segment_names_in_rbs_storage
from splitio.util.threadutil import EventGroup

_log = logging.getLogger("flagbrake.split")


class Repairs:
    """Over the manager of one factory that streams or polls.

    Args:
        manager: the SDK's.
        closing: set when all of it ends.
        pause: seconds before the next attempt, by the number of those that failed.
        trouble: called with what is the matter, once for each failed attempt.
        mended: called when every segment is there again.
    """

    def __init__(
        self,
        manager: Any,
        *,
        closing: threading.Event,
        pause: Callable[[int], float],
        trouble: Callable[[str], None],
        mended: Callable[[], None],
    ) -> None:
        self._synchronizer = manager._synchronizer  # noqa: SLF001 - here and below: there is no public way
        self._segments = self._synchronizer._split_synchronizers.segment_sync  # noqa: SLF001
        self._closing = closing
        self._pause = pause
        self._trouble = trouble
        self._mended = mended
        self._missing: set[str] = set()
        self._lock = threading.Lock()
        self._trying = False
        self._watch_segments(self._segments._api)  # noqa: SLF001
        ready = manager._ready_flag  # noqa: SLF001
        # The start waits for them; nothing later does.
        self._synchronizer._synchronize_segments = lambda: self._segments.synchronize_segments(dont_wait=ready.is_set())  # noqa: SLF001
        if hasattr(manager, "_push"):
            splitsse.EventGroup = Events
            self._mend_worker(manager._push._processor._feature_flag_worker)  # noqa: SLF001
            _startable_again(manager._push._sse_client._client)  # noqa: SLF001
            _missed(manager._push)  # noqa: SLF001

    @property
    def missing(self) -> bool:
        """A segment that flags ask for could not be loaded, or not be followed."""
        return bool(self._missing)

    # --- updates ------------------------------------------------------------------------------------------

    def _mend_worker(self, worker: Any) -> None:
        fetch = worker._handler  # noqa: SLF001

        def until_it_is_there(till: int | None = None, _rules: int | None = None) -> Any:
            # The second place of the method is not what the worker gives it: whether to load new segments.
            attempt = 0
            while True:
                result = fetch(till)
                if result.success or not worker.is_running():
                    return result
                self._closing.wait(self._pause(attempt))
                attempt += 1

        worker._handler = until_it_is_there  # noqa: SLF001
        apply = worker._apply_iff_if_needed  # noqa: SLF001

        def applied(event: Any) -> bool:
            try:
                return bool(apply(event))
            except Exception as error:  # noqa: BLE001 - whatever the message holds: a download tells
                _log.debug("An update of Split's cannot be applied as it came: %s", error)
                return False

        worker._apply_iff_if_needed = applied  # noqa: SLF001
        # Not in the worker: updates behind this one, such as the end of a kill, would wait for it.
        worker._segment_handler = lambda name, _till: self._segments._worker_pool.submit_work(name)  # noqa: SLF001

    # --- segments -----------------------------------------------------------------------------------------

    def _watch_segments(self, api: Any) -> None:
        fetch = api.fetch_segment

        def fetch_segment(name: str, since: int, *args: Any, **kwargs: Any) -> Any:
            if self._closing.is_set():
                # Nothing is new: whichever thread of the SDK asks is content and ends.
                return {"name": name, "added": [], "removed": [], "since": since, "till": since}
            try:
                answer = fetch(name, since, *args, **kwargs)
                answer["added"], answer["removed"], answer["since"], answer["till"]
            except APIException as error:
                self._lost(name, error)
                raise
            except Exception as error:  # somebody else answered
                self._lost(name, failure := Unreadable("no answer of segmentChanges"))
                raise failure from error
            self._found({name})
            return answer

        api.fetch_segment = fetch_segment

    def _lost(self, name: str, error: APIException) -> None:
        with self._lock:
            self._missing.add(name)
            begin, self._trying = not self._trying, True
        self._trouble(f"Segment '{name}' does not load ({explained(error)})")
        if begin:
            threading.Thread(target=self._try_again, name="flagbrake-split-segments", daemon=True).start()

    def _found(self, names: set[str]) -> None:
        with self._lock:
            was = bool(self._missing)
            self._missing -= names
            mended = was and not self._missing
        if mended:
            self._mended()

    def _try_again(self) -> None:
        attempt = 0
        while not self._closing.wait(self._pause(attempt)):
            attempt += 1
            with self._lock:
                missing = set(self._missing)
            asked = self._asked_for()
            self._found(missing - asked)
            for name in sorted(missing & asked):
                with suppress(Exception):  # told already, where it was fetched
                    self._segments.synchronize_segment(name)
            with self._lock:
                if not self._missing:
                    self._trying = False
                    return

    def _asked_for(self) -> set[str]:
        """The segments of which some flag still makes something."""
        of_rules = get_standard_segment_names_in_rbs_storage(self._segments._rule_based_segment_storage)  # noqa: SLF001
        return {*self._segments._feature_flag_storage.get_segment_names(), *of_rules}  # noqa: SLF001


class Events(EventGroup):  # type: ignore[misc]
    """Events of which one is waited for, also one that was set before."""

    def __init__(self) -> None:
        super().__init__()
        self._events: list[threading.Event] = []

    def make_event(self) -> Any:
        """One more."""
        self._events.append(super().make_event())
        return self._events[-1]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the first."""
        with self._cond:
            return bool(self._cond.wait_for(lambda: any(event.is_set() for event in self._events), timeout))


class Unreadable(APIException):  # type: ignore[misc]
    """An answer that is none."""


def explained(error: APIException) -> str:
    """What became of a request, without a secret."""
    if isinstance(error, Unreadable):
        return "what answers in Split's place cannot be read"
    # The SDK says -1 where nothing answered.
    return f"Split answers {error.status_code}" if error.status_code > 0 else "Split is not reached"


def readable(answer: Any) -> dict[str, Any]:
    """What is in an answer of splitChanges, without the flags and rules that the SDK cannot read.

    Raises:
        Unreadable: this is no such answer.
    """
    try:
        for part, read in (("ff", splits.from_raw), ("rbs", rule_based_segments.from_raw)):
            answer[part]["s"], answer[part]["t"]
            answer[part]["d"] = [one for one in answer[part].get("d", []) if can(read, one)]
    except (TypeError, KeyError, AttributeError) as error:
        raise Unreadable("no answer of splitChanges") from error
    found: dict[str, Any] = answer
    return found


def can(read: Callable[[Any], Any], one: Any) -> bool:
    """True if the SDK can read this flag or rule-based segment; the log tells of it if not."""
    try:
        read(one)
    except Exception:  # noqa: BLE001 - whatever the SDK makes of it
        name = one.get("name") if isinstance(one, dict) else None
        _log.error("'%s' of Split cannot be read by its SDK; what was known of it is served on.", name)
        return False
    return True


def _startable_again(client: Any) -> None:
    """The stream's client: a connection that was refused leaves it as if it had one."""
    start = client.start

    def quiet(*args: Any, **kwargs: Any) -> Any:
        free = client._conn is None  # noqa: SLF001
        try:
            return start(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - its thread would end with a traceback
            _log.debug("Split's stream does not open: %s", type(error).__name__)
            if free and client._conn is not None:  # noqa: SLF001
                client._conn.close()  # noqa: SLF001
                client._conn = None  # noqa: SLF001
            return False

    client.start = quiet


def _missed(push: Any) -> None:
    """The keeper of the stream: without a stream it has none, whatever it noted."""
    start = push.start

    def surely() -> None:
        stream = push._sse_client  # noqa: SLF001
        if stream._status is stream._Status.IDLE:  # noqa: SLF001
            push._running = False  # noqa: SLF001
        start()

    push.start = surely
