"""What the management API does, whatever its dialect: every call commits, then tells the streams, or is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flagbrake.emulate.json_patch import PatchError, TestFailed, apply_patch
from flagbrake_split.emulator.checks import Bad, check_name, checked_definition
from flagbrake_split.emulator.compile import JSON, NotCompilable, definition_of
from flagbrake_split.emulator.publisher import Publisher
from flagbrake_split.emulator.state import Live, Plane, Said, State

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class Refused(Exception):
    """The answer is this status and this message; an empty message is an empty body."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(f"{status} {message}")


@dataclass(frozen=True, slots=True)
class Words:
    """Who writes, and what is said with it."""

    who: str = ""
    title: str = ""
    comment: str = ""


class Management:
    """Flags and their definitions."""

    def __init__(self, state: State, publisher: Publisher, committed: Callable[[], object] = lambda: None) -> None:
        self.state = state
        self.publisher = publisher
        self._committed = committed

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Alone with the state; what leaves without an error is kept."""
        with self.state.lock:
            before = self.state.revision
            yield
            if self.state.revision != before:
                self._committed()

    # --- metadata ------------------------------------------------------------------------------------------

    def workspaces(self) -> list[JSON]:
        """All workspaces: one."""
        with self.state.lock:
            return [{**self.state.workspace, "requiresTitleAndComments": self.state.requires_comments}]

    def environments(self) -> list[JSON]:
        """All environments, with how changes are permitted there."""
        with self.state.lock:
            return [_environment(plane) for plane in self.state.planes.values()]

    def flags(self, *, tags: tuple[str, ...] = (), name: str = "") -> list[JSON]:
        """The metadata of all flags that are not archived."""
        with self.state.lock:
            found = [f for f in self.state.flags.values() if not f["archived"] and name in f["name"]]
        if tags:
            found = [f for f in found if {t["name"] for t in f["tags"]} & set(tags)]
        return [_shown(f) for f in found]

    def flag(self, name: str) -> JSON:
        """The metadata of one flag."""
        with self.state.lock:
            return _shown(self._metadata(name))

    def create_flag(self, traffic_type: str, body: Any, words: Words) -> JSON:
        """A new flag; it has no definition anywhere yet."""
        with self.transaction():
            found = next((t for t in self.state.traffic_types if traffic_type in {t["name"], t["id"]}), None)
            if found is None:
                raise Refused(404, f"Traffic type not found: {traffic_type}")
            if not isinstance(body, dict):
                raise Refused(400, "The flag is not an object.")
            try:
                name = check_name(body.get("name"))
            except Bad as error:
                raise Refused(400, str(error)) from None
            if name in self.state.flags:
                raise Refused(409, f"A feature flag with the name {name} already exists.")
            made = self._new_metadata(name, body.get("description") or "", found)
            self._keep(name, "", "create", words)
            return _shown(made)

    def _new_metadata(self, name: str, description: str, traffic_type: JSON) -> JSON:
        now = self.state.tick()
        made = self.state.flags[name] = {
            "name": name,
            "description": description,
            "trafficType": {"id": traffic_type["id"], "name": traffic_type["name"]},
            "creationTime": now,
            "id": self.state.new_id("flag"),
            "rolloutStatus": {"id": "rollout-pre", "name": "Pre-Production"},
            "rolloutStatusTimestamp": now,
            "tags": [],
            "owners": [],
            "archived": False,
        }
        return made

    def patch_flag(self, name: str, patch: Any, words: Words) -> JSON:
        """Change description, tags or rollout status."""
        with self.transaction():
            metadata = self._metadata(name)
            changed = self._patched(_shown(metadata), patch)
            for place in ("name", "id", "trafficType", "creationTime"):
                if changed.get(place) != metadata[place]:
                    raise Refused(400, f"{place} cannot be changed.")
            tags = changed.get("tags") or []
            if not all(isinstance(t, dict) and isinstance(t.get("name"), str) for t in tags):
                raise Refused(400, "tags is an array of objects with a name.")
            self.state.flags[name] = {**metadata, **changed, "tags": [{"name": t["name"]} for t in tags]}
            self._keep(name, "", "update-metadata", words)
            return _shown(self.state.flags[name])

    def tag(self, name: str, tags: Any, words: Words) -> list[JSON]:
        """Add tags."""
        with self.transaction():
            metadata = self._metadata(name)
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise Refused(400, "Tags are an array of strings.")
            known = [t["name"] for t in metadata["tags"]]
            metadata["tags"] = [{"name": tag} for tag in dict.fromkeys([*known, *tags])]
            self._keep(name, "", "tag", words)
            return list(metadata["tags"])

    def describe(self, name: str, text: str, words: Words) -> JSON:
        """Replace the description."""
        with self.transaction():
            self._metadata(name)["description"] = text
            self._keep(name, "", "describe", words)
            return _shown(self._metadata(name))

    def delete_flag(self, name: str, words: Words) -> None:
        """Delete a flag everywhere."""
        with self.transaction():
            self._metadata(name, archived=True)
            for plane in self.state.planes.values():
                self._forget(plane, name)
            del self.state.flags[name]
            self._keep(name, "", "delete", words)

    def archive_flag(self, name: str, words: Words) -> JSON:
        """Archive a flag everywhere: SDKs forget it, its definitions are kept."""
        with self.transaction():
            metadata = self._metadata(name)
            kept = {}
            for plane in self.state.planes.values():
                self._writable(plane, name)
                if name in plane.live:
                    kept[plane.name] = plane.live[name].definition
                    self._forget(plane, name)
            metadata.update(archived=True, kept=kept)
            self._keep(name, "", "archive", words)
            return _shown(metadata)

    def unarchive_flag(self, name: str, words: Words) -> JSON:
        """Bring an archived flag back, with its definitions."""
        with self.transaction():
            metadata = self._metadata(name, archived=True)
            if not metadata["archived"]:
                raise Refused(409, f"The feature flag {name} is not archived.")
            metadata["archived"] = False
            for environment, definition in metadata.pop("kept", {}).items():
                plane = self.state.planes[environment]
                self._put(plane, definition)
            self._keep(name, "", "unarchive", words)
            return _shown(metadata)

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
            return self._write(plane, name, {**_object(body), "killed": False}, "create-definition", words)

    def replace_definition(self, environment: str, name: str, body: Any, words: Words) -> JSON:
        """Replace a definition as a whole. It stays killed, or alive: only kill, restore and PATCH change that."""
        with self.transaction():
            plane = self._plane(environment)
            self._metadata(name)
            killed = self._live(plane, name).definition.get("killed", False)
            self._permit(plane, name, words)
            return self._write(plane, name, {**_object(body), "killed": killed}, "update", words)

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

    # --- change requests -----------------------------------------------------------------------------------------

    def change_requests(self, *, environment: str | None = None, status: str | None = None) -> list[JSON]:
        """Change requests, the oldest first."""
        with self.state.lock:
            plane = self._plane(environment) if environment else None
            return [
                r
                for r in self.state.requests.values()
                if (plane is None or r["environment"]["id"] == plane.id) and status in {None, r["status"]}
            ]

    def request_change(self, environment: str, body: Any, words: Words) -> JSON:
        """Ask for a change that somebody else approves; until then the flag is locked."""
        with self.transaction():
            plane = self._plane(environment)
            body = _object(body)
            split, operation = body.get("split"), body.get("operationType", "UPDATE")
            if not isinstance(split, dict) or not isinstance(split.get("name"), str):
                raise Refused(400, "A change request of this emulator is about a split.")
            self._metadata(split["name"])
            if operation not in {"CREATE", "UPDATE", "KILL", "RESTORE"}:
                raise Refused(400, f"Unknown operationType {operation!r}.")
            self._writable(plane, split["name"])
            request = {
                "id": self.state.new_id("cr"),
                "status": "REQUESTED",
                "title": body.get("title") or "",
                "comment": body.get("comment") or "",
                "split": split,
                "segment": None,
                "operationType": operation,
                "environment": plane.urn(),
                "approvers": body.get("approvers") or [],
                "comments": [],
                "rolloutStatus": body.get("rolloutStatus") or {},
            }
            self.state.requests[request["id"]] = request
            self._keep(split["name"], plane.name, "request", words)
            return request

    def decide(self, request_id: str, body: Any, words: Words) -> JSON:
        """Approve (the change is made at once), reject or withdraw."""
        with self.transaction():
            request, status = self.state.requests.get(request_id), _object(body).get("status")
            if request is None:
                raise Refused(404, f"Change request not found: {request_id}")
            if status not in {"APPROVED", "REJECTED", "WITHDRAWN"}:
                raise Refused(400, f"Unknown status {status!r}.")
            if request["status"] != "REQUESTED":
                raise Refused(409, f"The change request is {request['status']} already.")
            request["status"] = status
            request["comments"].append({"comment": body.get("comment") or "", "user": words.who, "role": "approver"})
            if status == "APPROVED":
                self._carry_out(request, words)
            self._keep(request["split"]["name"], request["environment"]["name"], status.lower(), words)
            return request

    def _carry_out(self, request: JSON, words: Words) -> None:
        plane, name = self._plane(request["environment"]["id"]), request["split"]["name"]
        match request["operationType"]:
            case "KILL":
                self._put(plane, {**self._live(plane, name).definition, "killed": True}, kill=True)
            case "RESTORE":
                self._put(plane, {**self._live(plane, name).definition, "killed": False})
            case _:
                live = plane.live.get(name)
                killed = live.definition.get("killed", False) if live else False
                self._write(plane, name, {**request["split"], "killed": killed}, "update", words)

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

    def _ensure_metadata(self, name: str, traffic_type: str) -> JSON:
        if name not in self.state.flags:
            types = self.state.traffic_types
            found = next((t for t in types if traffic_type in {t["name"], t["id"]}), types[0])
            # The back door takes names that the front door refuses: SDKs know no rule for them.
            self._new_metadata(name, "", found)
        return self.state.flags[name]

    # --- inside -----------------------------------------------------------------------------------------------

    def _plane(self, environment: str) -> Plane:
        plane = self.state.plane(environment)
        if plane is None:
            raise Refused(404, f"Environment not found: {environment}")
        return plane

    def _metadata(self, name: str, *, archived: bool = False) -> JSON:
        found = self.state.flags.get(name)
        if found is None or (found["archived"] and not archived):
            raise Refused(404, f"Feature flag not found: {name}")
        return found

    def _live(self, plane: Plane, name: str) -> Live:
        found = plane.live.get(name)
        if found is None:
            raise Refused(404, f"The feature flag {name} is not configured in {plane.name}.")
        return found

    def _permit(self, plane: Plane, name: str, words: Words, *, kill: bool = False) -> None:
        if self.state.requires_comments and not (words.title and words.comment):
            raise Refused(400, "")
        if plane.approvals and not (kill and plane.allow_kills):
            raise Refused(403, f"Approvals are required. orgId=org envId={plane.id}")
        self._writable(plane, name)

    def _writable(self, plane: Plane, name: str) -> None:
        if self.state.locked(name, plane):
            raise Refused(409, f"The feature flag {name} is locked by a pending change request in {plane.name}.")

    def _patched(self, document: JSON, patch: Any) -> JSON:
        try:
            return _object(apply_patch(document, patch))
        except TestFailed as error:
            raise Refused(409, f"The patch was not applied: {error}.") from None
        except PatchError as error:
            raise Refused(400, f"The patch was not applied: {error}.") from None

    def _write(self, plane: Plane, name: str, body: JSON, action: str, words: Words) -> JSON:
        try:
            definition = {"name": name, **checked_definition(body)}
        except Bad as error:
            raise Refused(400, str(error)) from None
        self._put(plane, definition)
        if action:
            self._keep(name, plane.name, action, words)
        return self._document(plane, plane.live[name])

    def _put(self, plane: Plane, definition: JSON, *, kill: bool = False, reallocate: bool = False) -> None:
        hashing = self.state.hashing() if reallocate else None
        before = self.state.put(plane, copy.deepcopy(definition), hashing=hashing)
        split = self.state.split(plane, plane.live[definition["name"]])
        if kill:
            self.publisher.kill(plane, split)
        else:
            self.publisher.split(plane, split, before)

    def _forget(self, plane: Plane, name: str) -> None:
        if name in plane.live:
            before = self.state.take_away(plane, name)
            self.publisher.split(plane, plane.gone[name], before)

    def _keep(self, name: str, environment: str, action: str, words: Words) -> None:
        self.state.revision += 1
        if words.who:  # the back door leaves no trace
            self.state.history.append(Said(name, environment, action, words.who, words.title, words.comment))

    def _document(self, plane: Plane, live: Live) -> JSON:
        metadata = self.state.flags[live.definition["name"]]
        return copy.deepcopy(
            {
                **live.definition,
                "environment": plane.urn(),
                "trafficType": metadata["trafficType"],
                "lastTrafficReceivedAt": 0,
            }
        )


def _object(body: Any) -> JSON:
    if not isinstance(body, dict):
        raise Refused(400, "The body is not an object.")
    return body


def _shown(metadata: JSON) -> JSON:
    return copy.deepcopy({k: v for k, v in metadata.items() if k not in {"archived", "kept"}})


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
