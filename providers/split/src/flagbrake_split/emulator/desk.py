"""What every deed at the vendor's desk shares: find, permit, commit, then tell the streams."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flagbrake.emulate.json_patch import PatchError, TestFailed, apply_patch
from flagbrake_split.emulator.checks import Bad, checked_definition
from flagbrake_split.emulator.compile import JSON
from flagbrake_split.emulator.publisher import Publisher
from flagbrake_split.emulator.state import Live, Plane, Said, State

if TYPE_CHECKING:
    from collections.abc import Iterator


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


class Desk:
    """The state, and how it is changed: alone, with permission, then told to the streams."""

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

    # --- finding -----------------------------------------------------------------------------------------

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
            return an_object(apply_patch(document, patch))
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


def an_object(body: Any) -> JSON:
    """The body, or 400."""
    if not isinstance(body, dict):
        raise Refused(400, "The body is not an object.")
    return body
