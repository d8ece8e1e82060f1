"""The SDK's manager: held back until somebody watches it, and ended for good, with all it began."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from splitio.client import factory as factories
from splitio.sync.manager import Manager

#: Seconds the end of the stream's thread is waited for.
_END: Final = 4.0


def start_no_more(manager: Any) -> None:
    """A factory that is closed before it was ready would still start its tasks when its last attempt ends."""
    synchronizer = manager._synchronizer  # noqa: SLF001
    synchronizer.start_periodic_data_recording = _nothing
    synchronizer.start_periodic_fetching = _nothing
    if hasattr(manager, "_push"):
        push = manager._push  # noqa: SLF001
        push.start = _nothing
        # A stream that comes up in the middle of closing would start workers that nobody stops.
        switch = push.update_workers_status
        push.update_workers_status = lambda _enabled: switch(False)


def flush_once(factory: Any) -> None:
    """A full queue of impressions or events asks for a flush with each one more; one that is under way will do.

    Thousands of them would keep the task from ending, each with a request, where the vendor takes none.
    """
    tasks = factory._sync_manager._synchronizer._split_tasks  # noqa: SLF001 - its queues have no public hook
    for kind, task in (("impressions", tasks.impressions_task), ("events", tasks.events_task)):
        factory._storages[kind].set_queue_full_hook(_unless_asked(task))  # noqa: SLF001 - the same


def _unless_asked(task: Any) -> Callable[[], None]:
    asked = task._task._messages  # noqa: SLF001 - what was asked for and is not done yet

    def flush() -> None:
        if asked.empty():
            task.flush()

    return flush


def workers_ended(manager: Any) -> None:
    """A stream that came up while it was closed may have started workers after they were told to stop."""
    handler = getattr(manager, "_push_status_handler", None)
    if handler is None:
        return
    if handler.is_alive():
        handler.join(_END)
    manager._push.update_workers_status(False)  # noqa: SLF001


class _Held(Manager):  # type: ignore[misc]
    """The SDK's manager, which starts when it is watched: its first answer would else come before that.

    One of a file is not started: the SDK would do it before the factory is there, and reads are made otherwise.
    """

    #: Held while a factory is made.
    one: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._go: threading.Event | None = getattr(_making, "go", None)
        self._local: bool = getattr(_making, "local", False)

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start the SDK's tasks."""
        if self._local:
            return
        if self._go is not None:
            self._go.wait()
        super().start(*args, **kwargs)


_making = threading.local()


@contextmanager
def held(*, local: bool) -> Iterator[threading.Event]:
    """Factories made by this thread wait with their start until the event is set."""
    _making.go, _making.local = threading.Event(), local
    with _Held.one:
        known, factories.Manager = factories.Manager, _Held
        try:
            yield _making.go
        finally:
            factories.Manager = known
            _making.go.set()
            _making.go, _making.local = None, False


def renew() -> None:
    """In a child of ``os.fork`` whoever was making a factory is gone, and holds its locks for ever."""
    _Held.one = threading.Lock()
    factories._INSTANTIATED_FACTORIES_LOCK = threading.RLock()  # noqa: SLF001 - the SDK's, of all factories
    # Nor are their factories: the SDK would warn of too many, and whoever wrote to stderr may hold its lock too.
    factories._INSTANTIATED_FACTORIES.clear()  # noqa: SLF001 - the same


# A provider that starts in the child needs it too; one that goes on there has done it before.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew)


def _nothing() -> None: ...
