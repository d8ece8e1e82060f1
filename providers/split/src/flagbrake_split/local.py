"""Flags from a file: the SDK reads it, and here it is read again.

The SDK (10.7) reads .yaml and the older format once and never again; of .json it reads on, tells nobody when it
cannot, takes a damaged file for read, and refuses one without rule-based segments.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from splitio.api import APIException


class LocalFile:
    """Reads the file of one factory of the SDK's localhost mode, at once and then every ``refresh`` seconds.

    Args:
        manager: the SDK's, which was not started.
        file: its name, for what is told.
        refresh: seconds between two looks.
        closing: set when all of it ends.
        valid: the file was read.
        interrupted: it was not; called with what is the matter.
    """

    def __init__(
        self,
        manager: Any,
        *,
        file: str,
        refresh: float,
        closing: threading.Event,
        valid: Callable[[], None],
        interrupted: Callable[[str], None],
    ) -> None:
        self._ready: threading.Event = manager._ready_flag  # noqa: SLF001 - here and below: there is no public way
        synchronizers = manager._synchronizer._split_synchronizers  # noqa: SLF001
        self._flags = synchronizers.split_sync
        self._segments = synchronizers.segment_sync
        self._file = file
        self._refresh = refresh
        self._closing = closing
        self._valid = valid
        self._interrupted = interrupted
        sanitize = self._flags._sanitize_json_elements  # noqa: SLF001
        self._flags._sanitize_json_elements = lambda parsed: sanitize({"rbs": {}, **parsed})  # noqa: SLF001

    def start(self) -> None:
        """Begin, in the background."""
        threading.Thread(target=self._follow, name="flagbrake-split-file", daemon=True).start()

    def _follow(self) -> None:
        while True:
            trouble = self._read()
            if self._closing.is_set():
                return
            if trouble:
                self._interrupted(trouble)
            else:
                self._ready.set()
                self._valid()
            if self._closing.wait(self._refresh):
                return

    def _read(self) -> str:
        """Read file and segments; what is the matter, if anything."""
        try:
            self._flags.synchronize_splits()
        except APIException:
            # Or a damaged file would be taken for the one that was read last.
            self._flags._current_ff_sha = self._flags._current_rbs_sha = "-1"  # noqa: SLF001
            return f"{self._file} cannot be read"
        missing = [name for name in sorted(self._names()) if not self._segments.synchronize_segment(name)]
        return f"The segment '{missing[0]}' of {self._file} cannot be read" if missing else ""

    def _names(self) -> set[str]:
        storage = self._flags._feature_flag_storage  # noqa: SLF001
        return set(storage.get_segment_names())
