"""LaunchDarkly's management API: the requests, and nothing about what they mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from flagbrake.errors import InvalidInput, NotAllowed, NotFound
from flagbrake.rest import Rest
from flagbrake_launchdarkly.errors import explain, retry_after
from flagbrake_launchdarkly.options import ApiOptions

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]

_VERSION: Final = "20240415"
_SEMANTIC: Final = "application/json; domain-model=launchdarkly.semanticpatch"
_PAGE: Final = 100
_LOG_PAGE: Final = 20
#: Releases in one of these states own the weights of their rule.
_ACTIVE: Final = frozenset(("pending", "in_progress", "waiting"))


class Api:
    """The calls of one project and environment. Threads may share it."""

    def __init__(self, options: ApiOptions) -> None:
        self.project = options.project_key
        self.environment = options.environment_key
        self._rest, self._beta = (_rest(options, version) for version in (_VERSION, "beta"))
        self._releases_known = True

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()
        self._beta.close()

    # --- flags ----------------------------------------------------------------------------------------

    def flag(self, key: str) -> Json:
        """One flag in full, with all environments: variations belong to all of them."""
        return self._object(self._rest.get(self._flag(key)))

    def flags(self, *, whole: bool, state: str = "live") -> Iterator[Json]:
        """The flags that are not archived (or those ``archived``); without ``whole`` no rules and targets."""
        asked = {"filter": f"state:{state}", "env": self.environment, "summary": "0" if whole else "1"}
        return self._pages(f"/api/v2/flags/{quote(self.project, safe='')}", asked)

    def create(self, body: Json) -> Json:
        """Make a flag, in all environments."""
        return self._object(self._rest.send("POST", f"/api/v2/flags/{quote(self.project, safe='')}", json=body))

    def instruct(self, key: str, instructions: list[Json], comment: str, *, here: bool = True) -> Json:
        """A semantic patch: all of it or nothing."""
        return self._semantic(key, instructions, comment, here=here)

    def try_write(self, key: str) -> None:
        """Would turning this flag off be allowed? Nothing is done."""
        self._semantic(key, [{"kind": "turnFlagOff"}], "", here=True, params={"dryRun": "true"})

    def _semantic(
        self, key: str, instructions: list[Json], comment: str, *, here: bool, params: Mapping[str, str] | None = None
    ) -> Json:
        body: Json = {"comment": comment, "instructions": instructions}
        if here:
            body["environmentKey"] = self.environment
        content, headers = json.dumps(body).encode(), {"Content-Type": _SEMANTIC}
        return self._object(self._rest.send("PATCH", self._flag(key), content=content, headers=headers, params=params))

    def patch(self, key: str, operations: list[Json], comment: str) -> Json:
        """A JSON patch: all of it or nothing; a ``test`` that fails is a conflict."""
        return self._object(self._rest.send("PATCH", self._flag(key), json={"comment": comment, "patch": operations}))

    def delete(self, key: str) -> None:
        """Delete a flag, in all environments, for good."""
        self._rest.send("DELETE", self._flag(key))

    # --- the rest ---------------------------------------------------------------------------------------

    def segments(self) -> Iterator[Json]:
        """The segments of the environment."""
        place = f"/api/v2/segments/{quote(self.project, safe='')}/{quote(self.environment, safe='')}"
        return self._pages(place, {})

    def active_release(self, key: str) -> Json | None:
        """The guarded or progressive release of this flag that is under way; they are a part that is in beta."""
        if not self._releases_known:
            return None
        place = f"{self._environment(key)}/releases"
        try:
            items = self._object(self._beta.get(place, {"limit": 20})).get("items") or ()
        except NotAllowed:
            self._releases_known = False  # the account or the token has no releases: ask no more
            return None
        except (NotFound, InvalidInput):
            return None
        return next((one for one in items if one.get("status") in _ACTIVE), None)

    def log(self, key: str, limit: int) -> Iterator[Json]:
        """The audit log about a flag here, newest first."""
        spec = f"proj/{self.project}:env/{self.environment}:flag/{key}"
        before: int | None = None
        while limit > 0:
            asked: Json = {"spec": spec, "limit": min(limit, _LOG_PAGE)}
            if before is not None:
                asked["before"] = before
            items = self._object(self._rest.get("/api/v2/auditlog", asked)).get("items") or []
            yield from items
            limit -= len(items)
            if len(items) < asked["limit"]:
                return
            before = items[-1]["date"]

    def environment_rep(self) -> Json:
        """The environment's own page: its approval settings among others."""
        place = f"/api/v2/projects/{quote(self.project, safe='')}/environments/{quote(self.environment, safe='')}"
        return self._object(self._rest.get(place))

    def environments(self) -> list[str]:
        """The keys of the project's environments, the first hundred of them."""
        place = f"/api/v2/projects/{quote(self.project, safe='')}/environments"
        return [rep["key"] for rep in self._object(self._rest.get(place, {"limit": 100})).get("items") or ()]

    # --- inside -----------------------------------------------------------------------------------------

    def _object(self, answer: httpx.Response) -> Json:
        return self._rest.body(answer, dict)

    def _flag(self, key: str) -> str:
        return f"/api/v2/flags/{quote(self.project, safe='')}/{quote(key, safe='')}"

    def _environment(self, key: str) -> str:
        project, flag, environment = (quote(part, safe="") for part in (self.project, key, self.environment))
        return f"/api/v2/projects/{project}/flags/{flag}/environments/{environment}"

    def _pages(self, path: str, asked: Mapping[str, Any]) -> Iterator[Json]:
        offset = 0
        while True:
            page = self._object(self._rest.get(path, {**asked, "limit": _PAGE, "offset": offset}))
            items = page.get("items") or []
            yield from items
            offset += len(items)
            total = page.get("totalCount")
            if not items or (offset >= total if isinstance(total, int) else len(items) < _PAGE):
                return


def _rest(options: ApiOptions, version: str) -> Rest:
    return Rest(
        "LaunchDarkly",
        options.api_url,
        headers={"Authorization": options.api_token, "LD-API-Version": version},
        explain=explain,
        retry_after=retry_after,
        timeout=options.api_timeout,
    )
