"""Change requests: changes that somebody else approves. Until then their flag is locked."""

from __future__ import annotations

from typing import Any

from flagbrake_split.emulator.compile import JSON
from flagbrake_split.emulator.desk import Desk, Refused, Words, an_object


class ChangeRequests(Desk):
    """What waits for an approval, and what came of it."""

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
            body = an_object(body)
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
            request, status = self.state.requests.get(request_id), an_object(body).get("status")
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
