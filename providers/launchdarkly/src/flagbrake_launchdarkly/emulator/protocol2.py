"""Pure: the events of the SDKs' second protocol, which SDKs call experimental.

A state names the run of the emulator that it is of: one of an earlier run is not taken for the present one.
"""

from __future__ import annotations

from typing import Any, Final

from flagbrake_launchdarkly.emulator.editing import Json

Event = tuple[str, Json]

_KINDS: Final = {"flags": "flag", "segments": "segment"}


def topic(environment: str) -> str:
    """Where its streams listen."""
    return f"{environment}?2"


def state(run: str, environment: str, version: int) -> str:
    """What a client names as its basis."""
    return f"(p:{run}-{environment}:{version})"


def intent(run: str, code: str, version: int) -> Event:
    """What follows: everything, changes, or nothing."""
    payload = {"id": run, "target": version, "intentCode": code, "reason": "emulated"}
    return "server-intent", {"payloads": [payload]}


def change(kind: str, key: str, content: Json | None, version: int) -> Event:
    """One thing that is new, or gone."""
    told: dict[str, Any] = {"version": version, "kind": _KINDS[kind], "key": key}
    return ("delete-object", told) if content is None else ("put-object", {**told, "object": content})


def transferred(run: str, environment: str, version: int) -> Event:
    """What was told is complete."""
    return "payload-transferred", {"state": state(run, environment, version), "version": version}


def everything(data: Json, run: str, environment: str, version: int) -> list[Event]:
    """The whole of an environment."""
    puts = [
        change(kind, key, content, content["version"])
        for kind in ("segments", "flags")
        for key, content in data[kind].items()
    ]
    return [intent(run, "xfer-full", version), *puts, transferred(run, environment, version)]
