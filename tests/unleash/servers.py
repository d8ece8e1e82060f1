"""The real Unleash server for tests: one per test run, on a PostgreSQL database of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flagbrake_unleash.server import UnleashServer, missing
from tests.support.servers import PostgreSQL, temporary

HERE = Path(__file__).parent
#: Where `make` installs the server.
HOME = HERE / "server"
#: Makes the server look for changes every 50 ms instead of every second. Nothing else of it is touched.
QUICK = HERE / "server" / "quick.mjs"


def needed() -> None:
    """Skip without the server, in one line; fail where it must be there."""
    reason = missing(HOME)
    if reason is None:
        return
    if os.environ.get("FLAGBRAKE_REQUIRE_SERVERS"):
        pytest.fail(f"FLAGBRAKE_REQUIRE_SERVERS is set. {reason}")
    pytest.skip(f"{reason} The Unleash tests are skipped.")


@contextmanager
def unleash(*, quick: bool) -> Iterator[tuple[UnleashServer, PostgreSQL]]:
    """A server with nothing in it, and its database; both are gone afterwards."""
    database = PostgreSQL(temporary())
    database.start()
    try:
        log = database.folder / "unleash.log"
        address = f"postgres://postgres@/postgres?host={database.folder}"
        server = UnleashServer(HOME, address, log=log, node=("--import", QUICK.as_uri()) if quick else ())
        try:
            yield server.start(), database
        finally:
            server.stop()
    finally:
        database.remove()
