"""A place for one test's store."""

from __future__ import annotations

from dataclasses import dataclass

from flagbrake.ports.clock import Clock
from flagbrake.store import Store, open_store


@dataclass(frozen=True)
class Place:
    """A database with tables and a project in it that no other test uses: fresh, without a database's cost."""

    url: str
    project: str

    def open(self, environment: str = "production", clock: Clock | None = None) -> Store:
        return open_store(self.url, project=self.project, environment=environment, clock=clock, create=True)
