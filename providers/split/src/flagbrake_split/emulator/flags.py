"""Flags apart from environments: their metadata, their tags, and the archive."""

from __future__ import annotations

import copy
from typing import Any

from flagbrake_split.emulator.checks import Bad, check_name
from flagbrake_split.emulator.compile import JSON
from flagbrake_split.emulator.desk import Desk, Refused, Words


class Flags(Desk):
    """The metadata of flags."""

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

    def _ensure_metadata(self, name: str, traffic_type: str) -> JSON:
        if name not in self.state.flags:
            types = self.state.traffic_types
            found = next((t for t in types if traffic_type in {t["name"], t["id"]}), types[0])
            # The back door takes names that the front door refuses: SDKs know no rule for them.
            self._new_metadata(name, "", found)
        return self.state.flags[name]


def _shown(metadata: JSON) -> JSON:
    return copy.deepcopy({k: v for k, v in metadata.items() if k not in {"archived", "kept"}})
