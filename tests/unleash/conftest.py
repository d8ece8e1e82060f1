"""One real server for all tests of this folder that share it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unleash.harnesses import Vendor, vendor
from tests.unleash.servers import needed


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker process has the server, and so all tests that need it."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and {"quick_vendor", "true_vendor", "harness", "own"}.intersection(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.xdist_group("unleash"))


@pytest.fixture(scope="session")
def quick_vendor() -> Iterator[Vendor]:
    """The server whose one-second timers run every 50 ms."""
    needed()
    with vendor() as made:
        yield made


@pytest.fixture(scope="session")
def true_vendor() -> Iterator[Vendor]:
    """The server as it is, which looks for changes once a second."""
    needed()
    with vendor(quick=False) as made:
        yield made
