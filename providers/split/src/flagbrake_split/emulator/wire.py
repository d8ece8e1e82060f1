"""Pure: the token of the streaming service, and what its messages look like."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from enum import IntEnum
from typing import Any, Final

from flagbrake.emulate.sse import encoded
from flagbrake_split.emulator.compile import JSON

#: Channels of the two streaming regions carry how many publishers they have in front of their names.
OCCUPANCY: Final = "[?occupancy=metrics.publishers]"
REGIONS: Final = ("control_pri", "control_sec")


class Instant(IntEnum):
    """How the changed flag travels inside the message itself."""

    PLAIN = 0
    GZIP = 1
    ZLIB = 2


def channels(org: str, environment: str) -> dict[str, list[str]]:
    """What a token may subscribe to."""
    watched = ["subscribe", "channel-metadata:publishers"]
    own = {f"{org}_{environment}_{kind}": ["subscribe"] for kind in ("splits", "segments")}
    return {**own, **dict.fromkeys(REGIONS, watched)}


def token(capability: dict[str, list[str]], *, issued: int, lifetime: int, unique: str) -> str:
    """A JWT as the SDK reads it: nobody checks its signature, everybody its times (seconds)."""
    header = {"alg": "HS256", "kid": "emulator", "typ": "JWT"}
    payload = {
        "x-ably-capability": json.dumps(capability),
        "x-ably-clientId": "clientId",
        "jti": unique,
        "exp": issued + lifetime,
        "iat": issued,
    }
    return ".".join((_part(json.dumps(header).encode()), _part(json.dumps(payload).encode()), _part(b"unsigned")))


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def expires(text: str) -> int | None:
    """When a token of ours expires, in seconds since the epoch; ``None`` when it is not one."""
    try:
        payload = text.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return found if isinstance(found, int) else None


def first(now: int) -> bytes:
    """The first event of a stream: an id and nothing else."""
    return f"id: first:0:{now}\n\n".encode()


def message(channel: str, data: Any, *, now: int, name: str | None = None) -> bytes:
    """A message; its data is a text that holds JSON."""
    body = {
        "id": f"{now}:0:0",
        "clientId": "emulator",
        "timestamp": now,
        "encoding": "json",
        "channel": channel,
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")),
    }
    return encoded("message", body if name is None else {**body, "name": name})


def split_update(change_number: int, *, before: int | None = None, split: JSON | None = None, instant: int = 2) -> JSON:
    """A flag changed. With the flag and the change number before, SDKs that stood there need no download."""
    return _update("SPLIT_UPDATE", change_number, before, split, instant)


def segment_rules_update(
    change_number: int, *, before: int | None = None, segment: JSON | None = None, instant: int = 2
) -> JSON:
    """A rule-based segment changed; as :func:`split_update`."""
    return _update("RB_SEGMENT_UPDATE", change_number, before, segment, instant)


def _update(kind: str, change_number: int, before: int | None, document: JSON | None, instant: int) -> JSON:
    update: JSON = {"type": kind, "changeNumber": change_number}
    if document is None:
        return update
    return {**update, "pcn": before, "c": int(instant), "d": packed(document, Instant(instant))}


def packed(document: JSON, how: Instant) -> str:
    """A document inside a message."""
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    if how is Instant.GZIP:
        data = gzip.compress(data)
    elif how is Instant.ZLIB:
        data = zlib.compress(data)
    return base64.b64encode(data).decode()


def split_kill(name: str, default_treatment: str, change_number: int) -> JSON:
    """A flag was killed: SDKs serve the default treatment at once, then download."""
    return {
        "type": "SPLIT_KILL",
        "changeNumber": change_number,
        "splitName": name,
        "defaultTreatment": default_treatment,
    }


def segment_update(name: str, change_number: int) -> JSON:
    """The keys of a segment changed."""
    return {"type": "SEGMENT_UPDATE", "changeNumber": change_number, "segmentName": name}


def control(kind: str) -> JSON:
    """``STREAMING_ENABLED``, ``STREAMING_PAUSED`` or ``STREAMING_DISABLED``."""
    return {"type": "CONTROL", "controlType": kind}


def occupancy(publishers: int) -> JSON:
    """How many publishers a region has; none in both means that nothing will come."""
    return {"metrics": {"publishers": publishers}}


def error(code: int, status: int, text: str) -> bytes:
    """The streaming service's error event."""
    return encoded(
        "error", {"message": text, "code": code, "statusCode": status, "href": f"https://help.ably.io/error/{code}"}
    )
