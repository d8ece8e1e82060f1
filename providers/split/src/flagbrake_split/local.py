"""Flags from a file: the SDK reads it, and here it is read again.

The SDK (10.7) reads .yaml and the older format once and never again; of .json it reads on, tells nobody when it
cannot, and refuses one without rule-based segments or with one flag that it cannot read. A rule of a .yaml file has
the label of every other, so that nobody knows which one answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from splitio.api import APIException
from splitio.models import rule_based_segments, splits
from splitio.models.grammar.matchers import AllKeysMatcher
from splitio.util.storage_helper import get_standard_segment_names_in_rbs_storage

from flagbrake_split.repair import can

#: The labels that Split itself gives.
_EVERYBODY: Final = "default rule"
_NAMED: Final = "whitelisted"


class LocalFile:
    """Reads the file of one factory of the SDK's localhost mode, at once and then every ``refresh`` seconds.

    Args:
        manager: the SDK's, which was not started.
        file: its name, for what is told.
        refresh: seconds between two looks.
        closing: set when all of it ends; ``hurry`` is set then too.
        hurry: set to look at once.
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
        hurry: threading.Event,
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
        self._hurry = hurry
        self._valid = valid
        self._interrupted = interrupted
        #: The number that a .json file gives its flags; the SDK leaves one alone that is less than the last.
        self._number = -1
        self._mend()

    def _mend(self) -> None:
        flags = self._flags
        sections = flags._sanitize_json_elements  # noqa: SLF001

        def both_sections(parsed: dict[str, Any]) -> Any:
            found = sections({"rbs": {}, **parsed})
            self._number = found["ff"]["t"]
            return found

        flags._sanitize_json_elements = both_sections  # noqa: SLF001
        each = (("_sanitize_feature_flag_elements", splits), ("_sanitize_rb_segment_elements", rule_based_segments))
        for method, model in each:
            setattr(flags, method, _one_by_one(getattr(flags, method), model.from_raw))
        read = flags._read_feature_flags_from_yaml_file  # noqa: SLF001
        flags._read_feature_flags_from_yaml_file = lambda name: _labelled(read(name))  # noqa: SLF001

    def start(self) -> None:
        """Begin, in the background."""
        threading.Thread(target=self._follow, name="flagbrake-split-file", daemon=True).start()

    def _follow(self) -> None:
        while True:
            trouble = self._read()
            read = not trouble
            missing = self._missing() if read else ""
            if self._closing.is_set():
                return
            if read and not (missing and self._ready.is_set()):
                # The first flags serve, though a segment may be missing: that is told from then on.
                self._ready.set()
                self._valid()
            if trouble or missing:
                self._interrupted(trouble or missing)
            self._hurry.wait(self._refresh)
            if self._closing.is_set():
                return
            self._hurry.clear()

    def _read(self) -> str:
        """Read the file; what is the matter, if anything."""
        try:
            self._flags.synchronize_splits()
        except APIException:
            return f"{self._file} cannot be read"
        served = self._flags._feature_flag_storage.get_change_number()  # noqa: SLF001
        if -1 < self._number < served:
            return f"{self._file} is left alone: its ff.t, {self._number}, is less than the {served} of what is served"
        return ""

    def _missing(self) -> str:
        """Read the segments; what is the matter, if anything."""
        missing = [name for name in sorted(self._names()) if not self._segments.synchronize_segment(name)]
        return f"The segment '{missing[0]}' of {self._file} cannot be read" if missing else ""

    def _names(self) -> set[str]:
        of_rules = get_standard_segment_names_in_rbs_storage(self._flags._rule_based_segment_storage)  # noqa: SLF001
        return {*self._flags._feature_flag_storage.get_segment_names(), *of_rules}  # noqa: SLF001


def _one_by_one(
    sanitize: Callable[[list[Any]], list[Any]], read: Callable[[Any], Any]
) -> Callable[[list[Any]], list[Any]]:
    """What cannot be read is left out."""

    def whole(one: Any) -> Any:
        return read(sanitize([one])[0])

    return lambda found: [sanitize([one])[0] for one in found if can(whole, one)]


def _labelled(found: dict[str, Any]) -> dict[str, Any]:
    for split in found.values():
        for condition in split.conditions:
            everybody = isinstance(condition.matchers[0], AllKeysMatcher)
            condition._label = _EVERYBODY if everybody else _NAMED  # noqa: SLF001
    return found
