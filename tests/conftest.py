"""What several rooms' tests need: databases, and patience."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from flagbrake.store import open_store
from tests.support.places import Place
from tests.support.servers import PostgreSQL, shared, temporary

# A busy machine is no finding: no test is about time.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


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


@pytest.fixture(scope="session")
def _migrated(postgresql: PostgreSQL) -> Iterator[str]:
    with postgresql.database() as url:
        open_store(url, project="shop", environment="production", create=True).close()
        yield url


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "flags.db"
    open_store(f"sqlite:///{path}", project="shop", environment="production", create=True).close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A store of each kind with nothing in it; much cheaper than a database of its own (``store_url``)."""
    if request.param == "sqlite":
        url = f"sqlite:///{shutil.copy(request.getfixturevalue('_template'), tmp_path / 'flags.db')}"
    else:
        url = request.getfixturevalue("_migrated")
    return Place(url, f"shop-{secrets.token_hex(4)}")
