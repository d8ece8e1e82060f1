"""What the management API does with segments: keys listed one by one, and segments that are rules."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from flagbrake_split.emulator.checks import Bad, check_name
from flagbrake_split.emulator.compile import JSON, NotCompilable, compile_segment
from flagbrake_split.emulator.desk import Refused
from flagbrake_split.emulator.management import Management
from flagbrake_split.emulator.state import Members, Plane


class Segments:
    """Segments of the vendor whose flags ``management`` keeps."""

    def __init__(self, management: Management) -> None:
        self._management = management
        self._state = management.state
        self._publisher = management.publisher

    # --- keys listed one by one ------------------------------------------------------------------------

    def all(self) -> list[JSON]:
        """The metadata of all segments."""
        with self._state.lock:
            return copy.deepcopy(list(self._state.segments.values()))

    def create(self, traffic_type: str, body: Any) -> JSON:
        """A new segment; it is in no environment yet."""
        with self._management.transaction():
            return self._create(self._state.segments, traffic_type, body)

    def delete(self, name: str) -> None:
        """Delete a segment that is in no environment any more."""
        with self._management.transaction():
            self._known(self._state.segments, name)
            if any(name in plane.segments for plane in self._state.planes.values()):
                raise Refused(409, f"The segment {name} is in use.")
            del self._state.segments[name]
            self._state.revision += 1

    def in_environment(self, environment: str) -> list[JSON]:
        """All segments of an environment."""
        with self._state.lock:
            plane = self._plane(environment)
            return [self._definition(plane, name) for name in plane.segments]

    def add(self, environment: str, name: str) -> JSON:
        """Bring a segment into an environment, without keys."""
        with self._management.transaction():
            plane = self._plane(environment)
            self._known(self._state.segments, name)
            if name in plane.segments:
                raise Refused(409, f"The segment {name} is in {plane.name} already.")
            plane.segments[name] = Members()
            self._state.revision += 1
            return self._definition(plane, name)

    def remove(self, environment: str, name: str) -> None:
        """Take a segment out of an environment."""
        with self._management.transaction():
            plane = self._plane(environment)
            self._members(plane, name)
            self._change(plane, name, remove=plane.segments[name].present)
            del plane.segments[name]

    def keys(self, environment: str, name: str) -> list[str]:
        """The keys of a segment."""
        with self._state.lock:
            return sorted(self._members(self._plane(environment), name).present)

    def upload(self, environment: str, name: str, keys: Any, *, replace: bool) -> list[str]:
        """Add keys, or put them in place of those that are there."""
        with self._management.transaction():
            plane = self._plane(environment)
            present = self._members(plane, name).present
            keys = _texts(keys)
            gone = set(present) - set(keys) if replace else ()
            self._change(plane, name, add=keys, remove=gone)
            return sorted(plane.segments[name].present)

    def remove_keys(self, environment: str, name: str, keys: Any) -> list[str]:
        """Take keys out."""
        with self._management.transaction():
            plane = self._plane(environment)
            self._members(plane, name)
            self._change(plane, name, remove=_texts(keys))
            return sorted(plane.segments[name].present)

    def put(self, environment: str, name: str, keys: Iterable[str]) -> None:
        """By the back door: a segment with exactly these keys."""
        with self._management.transaction():
            plane = self._plane(environment)
            if name not in self._state.segments:
                self._create(self._state.segments, "user", {"name": name})
            plane.segments.setdefault(name, Members())
        self.upload(environment, name, list(keys), replace=True)

    # --- rules -------------------------------------------------------------------------------------------

    def all_rule_based(self) -> list[JSON]:
        """The metadata of all rule-based segments."""
        with self._state.lock:
            return copy.deepcopy(list(self._state.rule_based.values()))

    def create_rule_based(self, traffic_type: str, body: Any) -> JSON:
        """A new rule-based segment; it is in no environment yet."""
        with self._management.transaction():
            return self._create(self._state.rule_based, traffic_type, body)

    def delete_rule_based(self, name: str) -> None:
        """Delete a rule-based segment that is in no environment any more."""
        with self._management.transaction():
            self._known(self._state.rule_based, name)
            if any(name in plane.rule_based for plane in self._state.planes.values()):
                raise Refused(409, f"The segment {name} is in use.")
            del self._state.rule_based[name]
            self._state.revision += 1

    def rule_based_in(self, environment: str) -> list[JSON]:
        """The definitions of all rule-based segments of an environment."""
        with self._state.lock:
            plane = self._plane(environment)
            return [self._rules(plane, name) for name in plane.rule_based]

    def write_rule_based(self, environment: str, name: str, body: Any, *, new: bool = False) -> JSON:
        """Put rules in place: ``new`` brings the segment into the environment, without rules."""
        with self._management.transaction():
            plane = self._plane(environment)
            self._known(self._state.rule_based, name)
            if new and name in plane.rule_based:
                raise Refused(409, f"The segment {name} is in {plane.name} already.")
            if not new and name not in plane.rule_based:
                raise Refused(404, f"The segment {name} is not in {plane.name}.")
            body = body if isinstance(body, dict) else {}
            definition = {
                "name": name,
                "rules": body.get("rules") or [],
                "excludedKeys": body.get("excludedKeys") or [],
                "excludedSegments": body.get("excludedSegments") or [],
            }
            try:
                compile_segment(definition, change_number=0, traffic_type="user")
            except (NotCompilable, KeyError, TypeError, AttributeError) as error:
                raise Refused(400, f"These are no rules: {error}.") from None
            before = self._state.put_rule_based(plane, copy.deepcopy(definition))
            self._publisher.rule_based_segment(plane, self._state.rule_based_segment(plane, name), before)
            return self._rules(plane, name)

    def remove_rule_based(self, environment: str, name: str) -> None:
        """Take a rule-based segment out of an environment."""
        with self._management.transaction():
            plane = self._plane(environment)
            if name not in plane.rule_based:
                raise Refused(404, f"The segment {name} is not in {plane.name}.")
            before = self._state.take_rule_based_away(plane, name)
            self._publisher.rule_based_segment(plane, plane.rule_based_gone[name], before)

    def put_rule_based(self, environment: str, definition: JSON) -> None:
        """By the back door: a rule-based segment with this definition."""
        name = definition["name"]
        with self._management.transaction():
            if name not in self._state.rule_based:
                self._create(self._state.rule_based, "user", {"name": name})
            self.write_rule_based(environment, name, definition, new=name not in self._plane(environment).rule_based)

    # --- inside --------------------------------------------------------------------------------------------

    def _create(self, kind: dict[str, JSON], traffic_type: str, body: Any) -> JSON:
        found = next((t for t in self._state.traffic_types if traffic_type in {t["name"], t["id"]}), None)
        if found is None:
            raise Refused(404, f"Traffic type not found: {traffic_type}")
        body = body if isinstance(body, dict) else {}
        try:
            name = check_name(body.get("name"))
        except Bad as error:
            raise Refused(400, str(error)) from None
        if name in self._state.segments or name in self._state.rule_based:
            raise Refused(409, f"A segment with the name {name} already exists.")
        kind[name] = {
            "name": name,
            "description": body.get("description") or "",
            "trafficType": {"id": found["id"], "name": found["name"]},
            "creationTime": self._state.tick(),
            "tags": [],
        }
        self._state.revision += 1
        return copy.deepcopy(kind[name])

    def _change(self, plane: Plane, name: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        self._state.change_segment(plane, name, add=add, remove=remove)
        self._publisher.segment(plane, name)

    def _plane(self, environment: str) -> Plane:
        plane = self._state.plane(environment)
        if plane is None:
            raise Refused(404, f"Environment not found: {environment}")
        return plane

    @staticmethod
    def _known(kind: dict[str, JSON], name: str) -> JSON:
        if name not in kind:
            raise Refused(404, f"Segment not found: {name}")
        return kind[name]

    @staticmethod
    def _members(plane: Plane, name: str) -> Members:
        if name not in plane.segments:
            raise Refused(404, f"The segment {name} is not in {plane.name}.")
        return plane.segments[name]

    def _definition(self, plane: Plane, name: str) -> JSON:
        metadata = self._state.segments[name]
        return {
            "name": name,
            "environment": plane.urn(),
            "trafficType": metadata["trafficType"],
            "creationTime": metadata["creationTime"],
        }

    def _rules(self, plane: Plane, name: str) -> JSON:
        metadata = self._state.rule_based[name]
        return copy.deepcopy(
            {
                **plane.rule_based[name][1],
                "environment": plane.urn(),
                "trafficType": metadata["trafficType"],
                "creationTime": metadata["creationTime"],
            }
        )


def _texts(keys: Any) -> list[str]:
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refused(400, "keys is an array of strings.")
    return keys
