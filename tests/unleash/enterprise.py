"""What the open-source server enforces of Enterprise once its tables say so: change requests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg

from flagbrake_unleash.server import UnleashServer
from tests.unleash.backdoor import ENVIRONMENT, PROJECT


def editor_token(server: UnleashServer) -> str:
    """A token of a person who may edit, and may not go past change requests as an administrator may."""
    name, password = f"editor-{uuid.uuid4().hex[:8]}", "Long-enough-1!"
    admin = {"Authorization": server.admin_token}
    user = {"username": name, "password": password, "rootRole": 2, "sendEmail": False}
    httpx.post(f"{server.url}/api/admin/user-admin", json=user, headers=admin).raise_for_status()
    with httpx.Client(base_url=server.url) as person:
        person.post("/auth/simple/login", json={"username": name, "password": password}).raise_for_status()
        asked = {"description": "tests", "expiresAt": "2100-01-01T00:00:00Z"}
        made = person.post("/api/admin/user/tokens", json=asked)
        made.raise_for_status()
        return str(made.json()["secret"])


@contextmanager
def change_requests(database: str) -> Iterator[None]:
    """The environment wants them."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO change_request_settings (project, environment, required_approvals) VALUES (%s, %s, 1)",
            (PROJECT, ENVIRONMENT),
        )
        try:
            yield
        finally:
            conn.execute("DELETE FROM change_request_settings")
