"""The Admin API v2 (``/internal/api/v2``), with admin keys or, in workspaces moved to Harness, ``x-api-key``."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from flagbrake.errors import NotFound
from flagbrake.rest import Rest
from flagbrake_split import errors
from flagbrake_split.api import JSON, ManagementApi, Manners, Words

#: Where the vendor's own API is.
PUBLIC: Final = "https://api.split.io/internal/api/v2"
#: How long a page is asked for; the vendor may give less.
_PAGE: Final = 50
_KEYS_PAGE: Final = 100

_name = partial(quote, safe="")


class ApiV2(ManagementApi):
    """The API of one workspace and environment.

    Args:
        rest: the connection, its base URL ending in ``/internal/api/v2``.
        workspace: its id or name; looked up at the first use.
        environment: its id or name.
        traffic_type: of flags that are created.
    """

    def __init__(self, rest: Rest, *, workspace: str, environment: str, traffic_type: str = "user") -> None:
        self._rest = rest
        self._asked = workspace
        self._environment = environment
        self._traffic_type = traffic_type
        self._workspace = ""
        self._looking = threading.Lock()

    @classmethod
    def connect(
        cls,
        *,
        key: str,
        workspace: str,
        environment: str,
        url: str = PUBLIC,
        traffic_type: str = "user",
        harness: bool = False,
        timeout: float = 4.5,
    ) -> ApiV2:
        """Over HTTP. ``harness``: the key is one of Harness (PAT or service account), not a Split admin key."""
        headers = {"x-api-key": key} if harness else {"Authorization": f"Bearer {key}"}
        rest = Rest("Split", url, headers, errors.explain, errors.retry_after, timeout=timeout)
        return cls(rest, workspace=workspace, environment=environment, traffic_type=traffic_type)

    # --- reading -----------------------------------------------------------------------------------------

    def metadata(self, name: str) -> JSON:
        """What a flag has in common in all environments."""
        return self._get(f"/splits/ws/{self._ws}/{_name(name)}")

    def definition(self, name: str, environment: str = "") -> JSON:
        """A flag's definition in this environment, or another one."""
        return self._get(self._definition(name, environment))

    def all_metadata(self) -> Iterator[JSON]:
        """The metadata of every flag that is not archived."""
        return self._pages(f"/splits/ws/{self._ws}")

    def all_definitions(self) -> Iterator[JSON]:
        """Every definition in this environment.

        Raises:
            ConfigError: there is no such environment; those that there are, are named.
        """
        try:
            yield from self._pages(f"/splits/ws/{self._ws}/environments/{_name(self._environment)}")
        except NotFound:
            self._environments()
            raise

    def other_environments(self) -> Sequence[str]:
        """The ids of the workspace's other environments.

        Raises:
            ConfigError: this environment is not one of the workspace's.
        """
        here, found = self._environments()
        return [e["id"] for e in found if e is not here]

    def manners(self) -> Manners:
        """How this workspace and environment want to be written to.

        Raises:
            ConfigError: there is no such workspace, or environment.
        """
        here, _ = self._environments()
        workspace = next((w for w in self._pages("/workspaces") if _name(w["id"]) == self._ws), {})
        permissions = here.get("changePermissions") or {}
        return Manners(
            wants_words=bool(workspace.get("requiresTitleAndComments")),
            wants_approvals=bool(permissions.get("areApprovalsRequired")),
            excepts_kills=bool(permissions.get("allowKills")),
        )

    def _environments(self) -> tuple[JSON, list[JSON]]:
        """This environment, and all of the workspace."""
        found: list[JSON] = self._rest.body(self._rest.get(f"/environments/ws/{self._ws}"), list)
        here = next((e for e in found if self._environment in {e["id"], e["name"]}), None)
        if here is None:
            raise errors.no_place((e["name"] for e in found), what="environment", name=self._environment)
        return here, found

    def segments(self) -> Iterator[JSON]:
        """Segments whose keys are listed: ``name``, ``keys``."""
        environment = _name(self._environment)
        for segment in self._pages(f"/segments/ws/{self._ws}/environments/{environment}"):
            path = f"/segments/{environment}/{_name(segment['name'])}/keys"
            keys = [one["key"] for one in self._pages(path, holds="keys", total="count", size=_KEYS_PAGE)]
            yield {**segment, "keys": keys}

    def rule_based_segments(self) -> Iterator[JSON]:
        """Definitions of segments that are rules."""
        # The vendor's own client, too, takes this list for one page: it does not say how many there are.
        path = f"/rule-based-segments/ws/{self._ws}/environments/{_name(self._environment)}"
        yield from self._rest.body(self._rest.get(path), list)

    # --- writing -----------------------------------------------------------------------------------------

    def create(self, name: str, description: str, words: Words) -> None:
        """A new flag, without a definition."""
        path = f"/splits/ws/{self._ws}/trafficTypes/{_name(self._traffic_type)}"
        self._rest.send("POST", path, json={"name": name, "description": description}, params=_said(words))

    def create_definition(self, name: str, definition: JSON, words: Words) -> None:
        """Configure a flag in this environment."""
        self._rest.send("POST", self._definition(name), json={**definition, **_said(words)})

    def change_definition(self, name: str, before: JSON, after: JSON, words: Words) -> None:
        """Write the fields in which ``after`` differs, in one JSON Patch."""
        self._patch(self._definition(name), before, after, words)

    def change_metadata(self, name: str, before: JSON, after: JSON, words: Words) -> None:
        """The same for description and tags."""
        self._patch(f"/splits/ws/{self._ws}/{_name(name)}", before, after, words)

    def kill(self, name: str, words: Words) -> None:
        """Serve the default treatment to everybody."""
        self._rest.send("PUT", f"{self._definition(name)}/kill", json=_said(words))

    def restore(self, name: str, words: Words) -> None:
        """Take a kill back."""
        self._rest.send("PUT", f"{self._definition(name)}/restore", json=_said(words))

    def remove_definition(self, name: str, words: Words) -> None:
        """Take a flag out of this environment."""
        self._rest.send("DELETE", self._definition(name), params=_said(words))

    def archive(self, name: str, words: Words) -> None:
        """Archive a flag, in all environments."""
        self._rest.send("POST", f"/splits/ws/{self._ws}/{_name(name)}/archive", json={}, params=_said(words))

    def unarchive(self, name: str, words: Words) -> None:
        """Bring an archived flag back."""
        self._rest.send("POST", f"/splits/ws/{self._ws}/{_name(name)}/unarchive", json={}, params=_said(words))

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    # --- inside ------------------------------------------------------------------------------------------

    @property
    def _ws(self) -> str:
        """The workspace's id."""
        with self._looking:
            if not self._workspace:
                found = list(self._pages("/workspaces"))
                ids = [w["id"] for w in found if self._asked in {w["id"], w["name"]}]
                if len(ids) != 1:
                    raise errors.no_place((w["name"] for w in found), what="workspace", name=self._asked)
                self._workspace = _name(ids[0])
            return self._workspace

    def _definition(self, name: str, environment: str = "") -> str:
        return f"/splits/ws/{self._ws}/{_name(name)}/environments/{_name(environment or self._environment)}"

    def _get(self, path: str) -> JSON:
        return self._rest.body(self._rest.get(path), dict)

    def _pages(
        self, path: str, *, holds: str = "objects", total: str = "totalCount", size: int = _PAGE
    ) -> Iterator[JSON]:
        offset = 0
        while True:
            page = self._get_page(path, {"limit": size, "offset": offset})
            found = page[holds]
            yield from found
            offset += len(found)
            if not found or offset >= int(page[total]):
                return

    def _get_page(self, path: str, params: Mapping[str, Any]) -> JSON:
        return self._rest.body(self._rest.get(path, params), dict)

    def _patch(self, path: str, before: JSON, after: JSON, words: Words) -> None:
        operations = patch(before, after)
        if operations:
            # The body is an array and has no place for words: they go with the query.
            self._rest.send("PATCH", path, json=operations, params=_said(words))


def patch(before: JSON, after: JSON) -> list[JSON]:
    """The JSON Patch that makes ``after`` of ``before``, field by field: parts inside fields have no stable address."""
    operations: list[JSON] = []
    for name, value in after.items():
        if name not in before:
            operations.append({"op": "add", "path": f"/{name}", "value": value})
        elif before[name] != value:
            operations.append({"op": "replace", "path": f"/{name}", "value": value})
    operations += [{"op": "remove", "path": f"/{name}"} for name in before if name not in after]
    return operations


def _said(words: Words) -> JSON:
    return {"title": words.title, "comment": words.comment} if words.comment else {}
