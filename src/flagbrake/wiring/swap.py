"""A change of vendor is compared with the flags that were evaluated before it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
from pathlib import Path

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, ProviderFatalError
from openfeature.provider import FeatureProvider

from flagbrake.config import Config
from flagbrake.model.codec import checksum
from flagbrake.model.words import counted

_log = logging.getLogger("flagbrake.wiring")
_LISTED = 10


class EvaluatedFlags:
    """The keys a project's processes have evaluated, with the provider that answered; one file per environment.

    ``saw`` is called for the first sight of a key in this process and only marks it; a timer writes.
    Writing is best effort: the file can only make a later start more careful.
    """

    def __init__(self, settings: Config) -> None:
        name = checksum(f"{settings.base}\n{settings.project}\n{settings.environment}")
        self.path: Path = settings.state_dir / f"evaluated-{name}.json"
        self.use = settings.use
        self.keys: set[str] = set()
        self._provider: FeatureProvider | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def saw(self, key: str) -> None:
        """Remember a key; cheap, called once per key and process."""
        self.keys.add(key)
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(1.0, self.save)
                self._timer.daemon = True
                self._timer.start()

    def before(self) -> tuple[str, frozenset[str]]:
        """Provider and keys of earlier starts; (``""``, empty) when nothing is known."""
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            return str(data["use"]), frozenset(map(str, data["flags"]))
        except FileNotFoundError:
            return "", frozenset()
        except (OSError, ValueError, KeyError, TypeError):
            _log.warning("%s cannot be read; the comparison at a change of `use` is left out", self.path)
            return "", frozenset()

    def save(self) -> None:
        """Write the union of what was there (for the same provider) and what this process saw."""
        with self._lock:
            self._timer = None
        use, flags = self.before()
        # A key that nobody has (a typo in a service) must not stand in the way of a change of vendor.
        self.keys -= {key for key in self.keys if self._provider is not None and _lacks(self._provider, key)}
        merged = self.keys | flags if use in {self.use, ""} else set(self.keys)
        if use == self.use and merged == flags:
            return
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"use": self.use, "flags": sorted(merged)}, file)
            Path(name).replace(self.path)

    def close(self) -> None:
        """Stop the timer and write."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self.keys:
            self.save()

    def compare(self, provider: FeatureProvider, *, allow_missing: bool) -> None:
        """After a change of ``use``: does the new provider know every flag evaluated before?

        Raises:
            ProviderFatalError: it lacks some, and ``allow_missing`` is not set.
        """
        self._provider = provider
        use, flags = self.before()
        if not flags or use == self.use:
            return
        missing = sorted(key for key in flags if _lacks(provider, key))
        if missing:
            named = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
            asked = counted(len(flags), "flag")
            text = f"'{self.use}' lacks {len(missing)} of the {asked} evaluated under '{use}': {named}."
            if not allow_missing:
                raise ProviderFatalError(f"{text} Try: create them there, or allow_missing = true")
            _log.warning("%s Callers get their defaults.", text)
        self.keys |= flags


def _lacks(provider: FeatureProvider, key: str) -> bool:
    answer = provider.resolve_object_details(flag_key=key, default_value={}, evaluation_context=EvaluationContext("-"))
    return answer.error_code is ErrorCode.FLAG_NOT_FOUND
