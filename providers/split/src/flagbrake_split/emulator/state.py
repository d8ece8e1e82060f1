"""What the emulated vendor remembers: flags, definitions per environment, segments, change numbers. No HTTP."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from flagbrake_split.emulator.compile import JSON, Hashing, compile_segment, compile_split

#: What a fresh SDK says it has.
NOTHING_YET: Final = -1


@dataclass(slots=True)
class Live:
    """One flag in one environment. ``raw`` was put in by the back door and is served as it is until it is written."""

    definition: JSON
    hashing: Hashing
    change_number: int
    created: int
    raw: JSON | None = None


@dataclass(slots=True)
class Members:
    """A segment: each key with the change number that put it in (True) or took it out (False)."""

    change_number: int = NOTHING_YET
    keys: dict[str, tuple[int, bool]] = field(default_factory=dict)

    @property
    def present(self) -> list[str]:
        """The keys that are in it now."""
        return [key for key, (_, inside) in self.keys.items() if inside]


@dataclass(slots=True)
class Plane:
    """One environment, as SDKs with its key see it."""

    id: str
    name: str
    sdk_key: str
    production: bool = False
    approvals: bool = False
    allow_kills: bool = False
    change_number: int = NOTHING_YET
    segments_change_number: int = NOTHING_YET
    live: dict[str, Live] = field(default_factory=dict)
    #: What was taken away: SDKs that know it must hear of it.
    gone: dict[str, JSON] = field(default_factory=dict)
    segments: dict[str, Members] = field(default_factory=dict)
    rule_based: dict[str, tuple[int, JSON]] = field(default_factory=dict)
    rule_based_gone: dict[str, JSON] = field(default_factory=dict)

    def urn(self) -> JSON:
        """The environment inside other documents."""
        return {"id": self.id, "name": self.name}


@dataclass(slots=True)
class Said:
    """One change as the vendor's history shows it: who (the name of the key), what, and the words that came along."""

    flag: str
    environment: str
    action: str
    who: str
    title: str
    comment: str


class State:
    """The whole vendor, one workspace. Everything that reads or writes it holds :attr:`lock`."""

    def __init__(self, environments: Iterable[str], *, workspace: str = "Default") -> None:
        self.lock = threading.RLock()
        self.workspace: JSON = {"id": f"ws-{workspace.lower()}", "name": workspace, "type": "workspace"}
        self.requires_comments = False
        self.traffic_types: list[JSON] = [
            {"id": f"tt-{name}", "name": name, "type": "trafficType", "displayAttributeId": "name"}
            for name in ("user", "account", "anonymous")
        ]
        self.planes: dict[str, Plane] = {
            name: Plane(f"env-{name}", name, f"sdk-{name}-emulated", production=name.startswith("prod"))
            for name in environments
        }
        #: Metadata of flags; what is archived has ``archived`` true.
        self.flags: dict[str, JSON] = {}
        self.segments: dict[str, JSON] = {}
        self.rule_based: dict[str, JSON] = {}
        self.requests: dict[str, JSON] = {}
        self.history: list[Said] = []
        self.revision = 0
        self._random = random.Random(time.time_ns())  # noqa: S311 - seeds of buckets, nothing secret
        self._last_time = 0

    # --- time and chance -------------------------------------------------------------------------------

    def tick(self) -> int:
        """The time in ms since the epoch, later than every time given before: change numbers are times."""
        self._last_time = max(self._last_time + 1, time.time_ns() // 1_000_000)
        return self._last_time

    def hashing(self) -> Hashing:
        """New seeds, as a new flag and a reallocated one get them."""
        return Hashing(self._random.randint(-(2**31), 2**31 - 1), self._random.randint(-(2**31), 2**31 - 1))

    def new_id(self, kind: str) -> str:
        """An id that nothing has."""
        return f"{kind}-{self._random.getrandbits(48):012x}"

    # --- finding -----------------------------------------------------------------------------------------

    def plane(self, name_or_id: str) -> Plane | None:
        """An environment by its name or id."""
        found = self.planes.get(name_or_id)
        return found or next((p for p in self.planes.values() if p.id == name_or_id), None)

    def plane_of_key(self, sdk_key: str) -> Plane | None:
        """The environment that an SDK key opens."""
        return next((p for p in self.planes.values() if p.sdk_key == sdk_key), None)

    def locked(self, flag: str, plane: Plane) -> bool:
        """True while a change request on the flag waits in this environment."""
        return any(
            r["status"] == "REQUESTED"
            and (r.get("split") or {}).get("name") == flag
            and r["environment"]["id"] == plane.id
            for r in self.requests.values()
        )

    # --- changing: each commits, and returns the environment's change number before it ------------------------

    def put(self, plane: Plane, definition: JSON, *, raw: JSON | None = None, hashing: Hashing | None = None) -> int:
        """Put a definition in place (its ``lastUpdateTime`` is set); ``raw`` is what SDKs shall get, word for word."""
        name, now, before = definition["name"], self.tick(), plane.change_number
        old = plane.live.get(name)
        created = old.created if old else now
        if raw is not None:
            hashing = Hashing(raw["seed"], raw.get("trafficAllocationSeed") or 0, raw.get("algo") or 1)
            # A tester may number changes; time still goes forward for the SDKs.
            now = max(now, raw.get("changeNumber") or 0)
            self._last_time = now
            raw = {**raw, "changeNumber": now}
        elif hashing is None:
            hashing = old.hashing if old else self.hashing()
        document = {**definition, "creationTime": created, "lastUpdateTime": now}
        plane.live[name] = Live(document, hashing, now, created, raw)
        plane.gone.pop(name, None)
        plane.change_number = now
        self.revision += 1
        return before

    def take_away(self, plane: Plane, name: str) -> int:
        """Remove a definition: SDKs forget the flag."""
        before, now = plane.change_number, self.tick()
        live = plane.live.pop(name)
        plane.gone[name] = {**self.split(plane, live), "status": "ARCHIVED", "changeNumber": now}
        plane.change_number = now
        self.revision += 1
        return before

    def change_segment(self, plane: Plane, name: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Put keys into a segment of an environment, or take them out."""
        now = self.tick()
        members = plane.segments.setdefault(name, Members())
        for key in remove:
            if key in members.keys:
                members.keys[key] = (now, False)
        for key in add:
            if not members.keys.get(key, (0, False))[1]:
                members.keys[key] = (now, True)
        members.change_number = now
        self.revision += 1

    def put_rule_based(self, plane: Plane, definition: JSON) -> int:
        """Put the rules of a segment in place."""
        before, now = plane.segments_change_number, self.tick()
        plane.rule_based[definition["name"]] = (now, definition)
        plane.rule_based_gone.pop(definition["name"], None)
        plane.segments_change_number = now
        self.revision += 1
        return before

    def take_rule_based_away(self, plane: Plane, name: str) -> int:
        """Remove the rules of a segment."""
        before, now = plane.segments_change_number, self.tick()
        _, definition = plane.rule_based.pop(name)
        plane.rule_based_gone[name] = {**self._compiled(plane, definition, now), "status": "ARCHIVED"}
        plane.segments_change_number = now
        self.revision += 1
        return before

    # --- what SDKs download ---------------------------------------------------------------------------------

    def split(self, plane: Plane, live: Live) -> JSON:
        """One flag as SDKs get it."""
        if live.raw is not None:
            return live.raw
        name = live.definition["name"]
        return compile_split(
            live.definition,
            hashing=live.hashing,
            change_number=live.change_number,
            traffic_type=self._traffic_type(self.flags.get(name)),
            flag_sets=[s.get("name") or s["id"] for s in live.definition.get("flagSets") or ()],
            rule_based=plane.rule_based,
        )

    def split_changes(self, plane: Plane, since: int, segments_since: int, sets: frozenset[str] = frozenset()) -> JSON:
        """The answer of splitChanges."""
        splits = [self.split(plane, live) for live in plane.live.values() if live.change_number > since]
        if since != NOTHING_YET:
            splits += [split for split in plane.gone.values() if split["changeNumber"] > since]
        if sets:
            # A flag that left the sets is told as archived, so that who had it forgets it.
            splits = [s if sets & set(s["sets"]) else {**s, "status": "ARCHIVED"} for s in splits]
        return {
            "ff": {"s": since, "t": max(plane.change_number, since), "d": splits},
            "rbs": {
                "s": segments_since,
                "t": max(plane.segments_change_number, segments_since),
                "d": list(self._rule_based_changes(plane, segments_since)),
            },
        }

    def segment_changes(self, plane: Plane, name: str, since: int) -> JSON:
        """The answer of segmentChanges; a segment that does not exist is one without keys."""
        members = plane.segments.get(name, Members())
        added = [key for key, (at, inside) in members.keys.items() if inside and at > since]
        removed = [key for key, (at, inside) in members.keys.items() if not inside and at > since != NOTHING_YET]
        till = max(members.change_number, since)
        return {"name": name, "added": added, "removed": removed, "since": since, "till": till}

    def rule_based_segment(self, plane: Plane, name: str) -> JSON:
        """One rule-based segment as SDKs get it."""
        at, definition = plane.rule_based[name]
        return self._compiled(plane, definition, at)

    def _rule_based_changes(self, plane: Plane, since: int) -> Iterator[JSON]:
        for at, definition in plane.rule_based.values():
            if at > since:
                yield self._compiled(plane, definition, at)
        if since != NOTHING_YET:
            yield from (s for s in plane.rule_based_gone.values() if s["changeNumber"] > since)

    def _compiled(self, plane: Plane, definition: JSON, at: int) -> JSON:
        return compile_segment(
            definition,
            change_number=at,
            traffic_type=self._traffic_type(self.rule_based.get(definition["name"])),
            rule_based=plane.rule_based,
        )

    @staticmethod
    def _traffic_type(metadata: JSON | None) -> str:
        return str(metadata["trafficType"]["name"]) if metadata else "user"

    # --- on paper ---------------------------------------------------------------------------------------------

    def to_data(self) -> JSON:
        """As JSON, for a file."""
        return {
            "workspace": self.workspace,
            "requires_comments": self.requires_comments,
            "flags": self.flags,
            "segments": self.segments,
            "rule_based": self.rule_based,
            "requests": self.requests,
            "environments": {name: _plane_data(plane) for name, plane in self.planes.items()},
        }

    def load(self, data: JSON) -> None:
        """Take over what :meth:`to_data` wrote; environments that it lacks stay as they are."""
        self.workspace = data["workspace"]
        self.requires_comments = data["requires_comments"]
        self.flags, self.requests = data["flags"], data["requests"]
        self.segments, self.rule_based = data["segments"], data["rule_based"]
        for name, plane in data["environments"].items():
            self.planes[name] = _plane(plane)
        numbers = (max(p.change_number, p.segments_change_number) for p in self.planes.values())
        self._last_time = max(self._last_time, *numbers)


def _plane_data(plane: Plane) -> JSON:
    plain = ("id", "name", "sdk_key", "production", "approvals", "allow_kills", "change_number")
    return {
        **{name: getattr(plane, name) for name in plain},
        "segments_change_number": plane.segments_change_number,
        "live": {
            name: {
                "definition": live.definition,
                "hashing": [live.hashing.seed, live.hashing.allocation_seed, live.hashing.algo],
                "change_number": live.change_number,
                "created": live.created,
                "raw": live.raw,
            }
            for name, live in plane.live.items()
        },
        "gone": plane.gone,
        "segments": {
            name: {"change_number": m.change_number, "keys": {k: list(v) for k, v in m.keys.items()}}
            for name, m in plane.segments.items()
        },
        "rule_based": {name: list(pair) for name, pair in plane.rule_based.items()},
        "rule_based_gone": plane.rule_based_gone,
    }


def _plane(data: JSON) -> Plane:
    plane = Plane(**{k: v for k, v in data.items() if k not in {"live", "gone", "segments", "rule_based"}})
    plane.gone = data["gone"]
    for name, live in data["live"].items():
        plane.live[name] = Live(**{**live, "hashing": Hashing(*live["hashing"])})
    for name, members in data["segments"].items():
        keys: dict[str, Any] = {key: (at, inside) for key, (at, inside) in members["keys"].items()}
        plane.segments[name] = Members(members["change_number"], keys)
    plane.rule_based = {name: (at, definition) for name, (at, definition) in data["rule_based"].items()}
    return plane
