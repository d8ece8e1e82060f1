"""Our own providers, for the same table: what they are known to break counts as broken there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flagbrake_contract import Harness
from tests.contract import harnesses
from tests.peers.kit import Peer


@contextmanager
def memory(_: Path) -> Iterator[Harness]:
    """As in our own tests."""
    yield harnesses.memory()


MEMORY = Peer(
    "flagbrake-memory", "flagbrake memory", ("flagbrake",), "as in the tests of this repository", memory, ours=True
)
SQLITE = Peer(
    "flagbrake-sqlite",
    "flagbrake SQL, SQLite",
    ("flagbrake-sql",),
    "as in the tests of this repository",
    harnesses.sqlite,
    ours=True,
    shared=True,
)
POSTGRESQL = Peer(
    "flagbrake-postgresql",
    "flagbrake SQL, PostgreSQL",
    ("flagbrake-sql",),
    "as in the tests of this repository, with the restricted role",
    harnesses.postgresql,
    ours=True,
    shared=True,
)
