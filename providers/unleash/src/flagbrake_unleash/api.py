"""The calls of the admin API for one project and environment. Threads may share them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from flagbrake.errors import Conflict, InvalidInput, NotFound
from flagbrake.rest import Rest
from flagbrake_unleash import errors
from flagbrake_unleash.planning import UNFINISHED, Call, Place, document_of, documents_of, is_unfinished
from flagbrake_unleash.translate import Document

#: Seconds to wait for the answer to a write. Longer than core waits, and than a read may take: a change takes several
#: requests, and giving one up leaves half of it.
_PATIENCE: Final = 30.0
#: The links to a feature that are ours begin so: they hold the reason for which it is off.
_REASON: Final = "Off: "


class Api:
    """One project and environment of an Unleash server, by Unleash's own names."""

    def __init__(self, url: str, token: str, *, project: str, environment: str, timeout: float) -> None:
        self.url, self.project, self.environment = url, project, environment
        self.reads = Rest("Unleash", f"{url}/admin", {"Authorization": token}, errors.explain, timeout=timeout)
        self.writes = replace(self.reads, timeout=max(timeout, _PATIENCE))
        self._here = f"/projects/{quote(project, safe='')}"

    def close(self) -> None:
        """Close the connections."""
        self.reads.close()
        self.writes.close()

    def place(self, key: str) -> Place:
        """Where a feature is."""
        return Place(self.project, self.environment, key)

    # --- reading ------------------------------------------------------------------------------------

    def document(self, key: str, *, unfinished: bool = False) -> Document | None:
        """One feature; ``None`` where there is none, an archived one, or (unless asked for) one that is being made.

        Raises:
            NotFound: the project does not have this environment.
        """
        if key in {"", ".", ".."}:
            return None
        try:
            feature = self._ask(self.place(key).feature)
            feature["tags"] = self._ask(f"/features/{quote(key, safe='')}/tags")["tags"]
        except NotFound:
            return None
        if feature.get("archived"):
            return None
        environments = [e["name"] for e in feature.get("environments") or ()]
        if self.environment not in environments:
            raise errors.no_environment(self.project, self.environment, environments)
        document = document_of(feature, self.environment)
        return None if is_unfinished(document) and not unfinished else document

    def documents(self) -> Iterator[Document]:
        """All features that are whole and not archived: one call, and two for each that has several strategies.

        Raises:
            NotFound: no such project, or it does not have this environment.
        """
        export = self.export()
        if not export.get("featureEnvironments"):
            # From a project that is not there nothing is exported, from such an environment everything as off.
            self.check_place()
        for document in documents_of(export):
            if len(document["strategies"]) < 2:
                yield document
                continue
            with suppress(NotFound):
                # An export has strategies in no order at all.
                ordered = self.document(document["name"])
                if ordered is not None:  # else it went in this moment
                    yield ordered

    def check_place(self) -> None:
        """Is it there?

        Raises:
            NotFound: no such project, or it does not have this environment.
        """
        projects = [project["id"] for project in self._ask("/projects").get("projects") or ()]
        if self.project not in projects:
            raise errors.no_project(self.project, projects)
        listed = self._ask(f"/environments/project/{quote(self.project, safe='')}").get("environments") or ()
        names = [environment["name"] for environment in listed if environment.get("visible", True)]
        if self.environment not in names:
            raise errors.no_environment(self.project, self.environment, names)

    def export(self) -> Any:
        """All features as Unleash exports them."""
        body = {"environment": self.environment, "project": self.project, "downloadFile": False}
        return self.reads.body(self.reads.send("POST", "/features-batch/export", json=body), dict)

    def keys(self) -> list[str]:
        """The names of all features that are not archived."""
        return [feature["name"] for feature in self._ask(f"{self._here}/features").get("features") or ()]

    def segments(self) -> list[Any]:
        """All segments."""
        return list(self._ask("/segments").get("segments") or ())

    def has_plan(self, key: str) -> bool:
        """Are there a release plan's strategies (Enterprise)? They are served, and a feature's document has none."""
        strategies = self._list(f"{self.place(key).here}/strategies")
        return any(isinstance(s, dict) and s.get("milestoneId") for s in strategies)

    def wants_change_requests(self) -> bool:
        """Does the environment want them (Enterprise)?"""
        try:
            config = self._list(f"{self._here}/change-requests/config")
        except NotFound:
            return False  # the open-source edition has none
        return any(e.get("environment") == self.environment and e.get("changeRequestEnabled") for e in config)

    def _ask(self, path: str) -> Document:
        return self.reads.body(self.reads.get(path), dict)

    def _list(self, path: str) -> list[Any]:
        return self.reads.body(self.reads.get(path), list)

    # --- writing ------------------------------------------------------------------------------------

    def send(self, call: Call) -> None:
        """One step of a plan."""
        self.writes.send(call.method, call.path, json=call.body)

    def begin(self, key: str, meant: Document) -> Document:
        """Make a feature, or find one that is there in part because whoever made it came to grief.

        Raises:
            Conflict: there is one, whole or archived.
            NotFound: no such project, or it does not have this environment.
        """
        self.check_place()  # a feature would be made before the environment is asked for
        mark = {"type": "simple", "value": UNFINISHED}
        fields = {name: meant[name] for name in ("name", "type", "description", "impressionData")}
        with suppress(Conflict):  # a feature can be made only with tags that there are
            self.writes.send("POST", "/tags", json=mark)
        try:
            self.writes.send("POST", f"{self._here}/features", json={**fields, "tags": [mark]})
        except Conflict:
            there = self.document(key, unfinished=True)
            if there is None or not is_unfinished(there):
                raise
            return there
        made = self.document(key, unfinished=True)
        if made is None:
            raise NotFound(f"There is no flag '{key}', though it has just been made.", cure="look into Unleash")
        return made

    def revive(self, key: str) -> Document | None:
        """Bring a feature back from the archive, switched off; ``None`` where there is none."""
        try:
            self.writes.send("POST", f"{self._here}/revive", json={"features": [key]})
            return self.document(key)
        except (NotFound, InvalidInput, Conflict):
            return None

    def archive(self, key: str) -> None:
        """Put a feature into the archive."""
        self.writes.send("DELETE", self.place(key).feature)

    def note(self, key: str, reason: str, *, by: str) -> None:
        """The reason why a feature is off, where people look at it; an empty one takes the last one away."""
        feature = self.place(key).feature
        for link in self._ask(feature).get("links") or ():
            if str(link.get("title") or "").startswith(_REASON):
                self.reads.send("DELETE", f"{feature}/link/{link['id']}")
        if reason:
            where = f"{self.url.removesuffix('/api')}/projects/{self.project}/features/{key}/logs"
            self.reads.send("POST", f"{feature}/link", json={"url": where, "title": f"{_REASON}{reason} ({by})"[:255]})
