"""What several rooms' tests need: databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import PostgreSQL, shared, temporary


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The server of this test run, shared by its worker processes. Do not stop it."""
    with shared(os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")[:12]) as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """A fresh, empty PostgreSQL database."""
    with postgresql.database() as url:
        yield url


@pytest.fixture
def postgresql_server() -> Iterator[PostgreSQL]:
    """A running server of one's own, with ``stop()`` and ``start()``, for outages."""
    server = PostgreSQL(temporary())
    server.start()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flags.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url
