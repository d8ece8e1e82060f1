"""Flags, segments and declarations as rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from flagbrake.model.codec import (
    declaration_from_data,
    declaration_to_data,
    flag_from_data,
    flag_to_data,
    segment_from_data,
    segment_to_data,
)
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.manifest import Declaration
from flagbrake.store import schema
from flagbrake.store.documents import Documents, Kind, Stored

StoredFlag = Stored[Flag]
StoredSegment = Stored[Segment]
StoredDeclaration = Stored[Declaration]
FlagRows = Documents[Flag]
SegmentRows = Documents[Segment]
ManifestRows = Documents[Declaration]


def _versionless(data: dict[str, Any]) -> dict[str, Any]:
    # So that one definition has one checksum, however often it was put in place.
    data.pop("version", None)
    return data


FLAG: Final[Kind[Flag]] = Kind(
    noun="flag",
    table=schema.flag,
    key=lambda flag: flag.key,
    write=lambda flag: _versionless(flag_to_data(flag)),
    read=lambda data, version: replace(flag_from_data(data), version=version),
    archived=lambda flag: flag.archived,
)
SEGMENT: Final[Kind[Segment]] = Kind(
    noun="segment",
    table=schema.segment,
    key=lambda segment: segment.key,
    write=lambda segment: _versionless(segment_to_data(segment)),
    read=lambda data, version: replace(segment_from_data(data), version=version),
)
DECLARATION: Final[Kind[Declaration]] = Kind(
    noun="declaration",
    table=schema.manifest,
    key=lambda declaration: declaration.flag,
    write=declaration_to_data,
    read=lambda data, _version: declaration_from_data(data),
)
