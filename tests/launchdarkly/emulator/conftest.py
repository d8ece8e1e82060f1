"""A running emulator, and clients of both of its planes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from flagbrake_launchdarkly.emulator import LaunchDarklyEmulator
from tests.launchdarkly.emulator.clients import Api, sdk


@pytest.fixture
def ld() -> Iterator[LaunchDarklyEmulator]:
    """An account with the environments production and test."""
    with LaunchDarklyEmulator() as made:
        yield made


@pytest.fixture
def api(ld: LaunchDarklyEmulator) -> Iterator[Api]:
    """The management API, every answer parsed with the vendor's generated models."""
    with Api(ld) as made:
        yield made


@pytest.fixture
def client(ld: LaunchDarklyEmulator) -> Iterator[Any]:
    """Makes real SDK clients of an environment; they are closed afterwards."""
    with ExitStack() as stack:
        yield lambda environment="production", **config: stack.enter_context(sdk(ld, environment, **config))
