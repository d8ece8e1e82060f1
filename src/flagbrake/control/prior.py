"""What flags were before a kill: kept with it, compared when it is lifted. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.model.codec import checksum, dumps, flag_from_data, flag_to_data
from flagbrake.model.flag import Flag
from flagbrake.model.state import FlagState

#: At most so many bytes of documents are kept with one kill; of the flags beyond, only version and checksum.
BUDGET: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Prior:
    """One flag as it was. ``native`` and ``flag`` are ``None`` where only the checksum was kept."""

    key: str
    version: str
    checksum: str
    native: Any = None
    flag: Flag | None = None

    def unchanged(self, now: FlagState) -> bool:
        """True if the flag is the one that was killed: the same version, or the same document."""
        return now.version == self.version or checksum(dumps(now.native)) == self.checksum


def keep(states: Iterable[FlagState], *, budget: int = BUDGET) -> list[dict[str, Any]]:
    """The states as JSON data, in the order given, documents as long as ``budget`` bytes last."""
    kept: list[dict[str, Any]] = []
    for state in states:
        native = dumps(state.native)
        entry: dict[str, Any] = {"key": state.ref.key, "version": state.version, "checksum": checksum(native)}
        document = flag_to_data(state.flag)
        budget -= len(native) + len(dumps(document))
        if budget >= 0:
            entry |= {"native": state.native, "flag": document}
        kept.append(entry)
    return kept


def kept(data: Any) -> tuple[Prior, ...] | None:
    """What was kept, ``None`` if nothing was or it cannot be read."""
    if not isinstance(data, list):
        return None
    try:
        return tuple(_prior(entry) for entry in data)
    except (KeyError, TypeError, InvalidInput):
        return None


def _prior(entry: Mapping[str, Any]) -> Prior:
    document = entry.get("flag")
    return Prior(
        key=entry["key"],
        version=entry["version"],
        checksum=entry["checksum"],
        native=entry.get("native"),
        flag=flag_from_data(document) if document is not None else None,
    )


def difference(prior: Prior, now: FlagState | None) -> str:
    """A unified diff from before the kill to now, in lines; says so when there is no document to compare."""
    before_name, now_name = f"{prior.key} before the kill", f"{prior.key} now"
    if now is None:
        return f"--- {before_name} (version {prior.version})\n+++ {now_name}: it is gone"
    if prior.native is None:
        return (
            f"--- {before_name} (version {prior.version}, only its checksum was kept)\n"
            f"+++ {now_name} (version {now.version})"
        )
    lines = difflib.unified_diff(
        _lines(prior.native),
        _lines(now.native),
        f"{before_name} (version {prior.version})",
        f"{now_name} (version {now.version})",
        lineterm="",
    )
    return "\n".join(lines)


def _lines(document: Any) -> list[str]:
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False).splitlines()
