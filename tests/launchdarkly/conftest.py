"""One emulator for all tests of this folder that share it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launchdarkly.vendor import Vendor, vendor


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker process has the emulator of a class, and so all tests that need it."""
    here = Path(__file__).parent
    for item in items:  # of the whole run
        if here in item.path.parents and "harness" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(f"launchdarkly-{item.nodeid.split('::')[1]}"))


@pytest.fixture
def launchdarkly() -> Iterator[Vendor]:
    """An emulator of one's own, with everything that tests break."""
    with vendor() as made:
        yield made
