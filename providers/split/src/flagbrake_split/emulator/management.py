"""What the management API does, whatever its dialect: every call commits, then tells the streams, or is refused."""

from __future__ import annotations

import copy
from typing import Any, Final

from flagbrake_split.emulator.change_requests import ChangeRequests
from flagbrake_split.emulator.checks import Bad
from flagbrake_split.emulator.compile import JSON, NotCompilable, definition_of
from flagbrake_split.emulator.desk import Refused, Words, an_object
from flagbrake_split.emulator.flags import Flags
from flagbrake_split.emulator.state import Plane

#: Members of a definition that nobody writes.
_ASSIGNED: Final = (
    "name",
    "environment",
    "trafficType",
    "id",
    "creationTime",
    "lastUpdateTime",
    "lastTrafficReceivedAt",
)


class Management(Flags, ChangeRequests):
    """Definitions of flags in environments; metadata and change requests come with it."""

    def workspaces(self) -> list[JSON]:
        """All workspaces: one."""
        with self.state.lock:
            return [{**self.state.workspace, "requiresTitleAndComments": self.state.requires_comments}]

    def environments(self) -> list[JSON]:
        """All environments, with how changes are permitted there."""
        with self.state.lock:
            return [_environment(plane) for plane in self.state.planes.values()]

    # --- definitions -----------------------------------------------------------------------------------------

    def definitions(self, environment: str) -> list[JSON]:
        """All definitions of an environment."""
        with self.state.lock:
            plane = self._plane(environment)
            return [self._document(plane, live) for live in plane.live.values()]

    def definition(self, environment: str, name: str) -> JSON:
        """One definition."""
        with self.state.lock:
            plane = self._plane(environment)
            self._metadata(name)
            return self._document(plane, self._live(plane, name))

    def create_definition(self, environment: str, name: str, body: Any, words: Words) -> JSON:
        """Configure a flag in an environment."""
        with self.transaction():
            plane = self._plane(environment)
            self._metadata(name)
            if name in plane.live:
                raise Refused(409, f"The feature flag {name} is already configured in {plane.name}.")
            self._permit(plane, name, words)
            # A new definition is alive, whatever its writer says.
            return self._write(plane, name, {**an_object(body), "killed": False}, "create-definition", words)

    def replace_definition(self, environment: str, name: str, body: Any, words: Words) -> JSON:
        """Replace a definition as a whole. It stays killed, or alive: only kill, restore and PATCH change that."""
        with self.transaction():
            plane = self._plane(environment)
            self._metadata(name)
            killed = self._live(plane, name).definition.get("killed", False)
            self._permit(plane, name, words)
            return self._write(plane, name, {**an_object(body), "killed": killed}, "update", words)

    def patch_definition(self, environment: str, name: str, patch: Any, words: Words) -> JSON:
        """Change parts of a definition."""
        with self.transaction():
            plane = self._plane(environment)
            self._metadata(name)
            live = self._live(plane, name)
            self._permit(plane, name, words)
            before = self._document(plane, live)
            changed = self._patched(before, patch)
            for place in _ASSIGNED:
                if changed.get(place) != before.get(place):
                    raise Refused(400, f"{place} cannot be changed.")
            return self._write(plane, name, changed, "update", words)

    def kill(self, environment: str, name: str, words: Words) -> JSON:
        """Everybody gets the default treatment."""
        with self.transaction():
            plane = self._plane(environment)
            self._metadata(name)
            live = self._live(plane, name)
            self._permit(plane, name, words, kill=True)
            if not live.definition.get("killed"):
                self._put(plane, {**live.definition, "killed": True}, kill=True)
            self._keep(name, plane.name, "kill", words)
            return self._document(plane, plane.live[name])

    def restore(self, environment: str, name: str, words: Words) -> JSON:
        """Take a kill back."""
        with self.transaction():
            plane = self._plane(environment)
            self._metadata(name)
            live = self._live(plane, name)
            self._permit(plane, name, words)
            if live.definition.get("killed"):
                self._put(plane, {**live.definition, "killed": False})
            self._keep(name, plane.name, "restore", words)
            return self._document(plane, plane.live[name])

    def reallocate(self, environment: str, name: str, words: Words) -> JSON:
        """New seeds: everybody is distributed anew."""
        with self.transaction():
            plane = self._plane(environment)
            self._metadata(name)
            live = self._live(plane, name)
            self._permit(plane, name, words)
            self._put(plane, live.definition, reallocate=True)
            self._keep(name, plane.name, "reallocate", words)
            return self._document(plane, plane.live[name])

    def remove_definition(self, environment: str, name: str, words: Words) -> None:
        """Take a flag out of an environment: SDKs forget it."""
        with self.transaction():
            plane = self._plane(environment)
            self._metadata(name)
            self._live(plane, name)
            self._permit(plane, name, words)
            self._forget(plane, name)
            self._keep(name, plane.name, "remove", words)

    # --- by the back door -----------------------------------------------------------------------------------------

    def put_raw(self, environment: str, split: JSON) -> JSON:
        """Put in what SDKs shall download, word for word; the management side shows the definition that says it."""
        with self.transaction():
            plane = self._plane(environment)
            try:
                definition = definition_of(split)
            except NotCompilable as error:
                raise Bad(f"No definition says this split: {error}.") from error
            self._ensure_metadata(split["name"], split.get("trafficTypeName") or "user")
            before = self.state.put(plane, definition, raw=copy.deepcopy(split))
            live = plane.live[split["name"]]
            self.publisher.split(plane, self.state.split(plane, live), before)
            return self._document(plane, live)

    def put_definition(self, environment: str, definition: JSON, *, description: str = "", tags: Any = ()) -> JSON:
        """Put a definition in, whatever permissions say."""
        with self.transaction():
            plane, name = self._plane(environment), definition["name"]
            metadata = self._ensure_metadata(name, "user")
            metadata.update(description=description, tags=[{"name": tag} for tag in tags], archived=False)
            return self._write(plane, name, definition, "", Words())

    def remove(self, environment: str, name: str) -> None:
        """Take a flag out, whatever permissions say; nothing happens if it is not there."""
        with self.transaction():
            self._forget(self._plane(environment), name)
            if not any(name in plane.live for plane in self.state.planes.values()):
                self.state.flags.pop(name, None)


def _environment(plane: Plane) -> JSON:
    return {
        "id": plane.id,
        "name": plane.name,
        "type": "environment",
        "production": plane.production,
        "status": "ACTIVE",
        "creationTime": 0,
        "orgId": "org",
        "changePermissions": {
            "areApprovalsRequired": plane.approvals,
            "allowKills": plane.allow_kills,
            "areApproversRestricted": False,
            "areEditorsRestricted": False,
            "approvers": [],
            "editors": [],
        },
        "apiTokens": [],
    }
