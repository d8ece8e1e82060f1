"""The vendor's SDK against the emulator, and what stands between a test and proxies of the environment."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from splitio import get_factory
from splitio.client.client import Client
from splitio.client.factory import SplitFactory

from flagbrake_split.emulator import SplitEmulator
from tests.support.waiting import wait_until

#: Quick enough for tests: the SDK allows nothing below a second here.
_QUICK = {"impressionsMode": "DEBUG", "impressionsRefreshRate": 1, "eventsPushRate": 1, "featuresRefreshRate": 1}


@contextmanager
def no_proxies() -> Iterator[None]:
    """The SDK would send even its loopback stream through a proxy."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.lower().endswith("_proxy")}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def factory(
    split: SplitEmulator, environment: str = "", *, streaming: bool = True, **config: Any
) -> Iterator[SplitFactory]:
    """A started SDK; with streaming, when its stream is open."""
    open_before = split.streams
    made = get_factory(
        split.sdk_key(environment),
        config={**_QUICK, "streamingEnabled": streaming, **config},
        **split.sdk_addresses(),
    )
    try:
        made.block_until_ready(10)
        if streaming:
            wait_until(lambda: split.streams > open_before, why="the stream")
        yield made
    finally:
        ended = threading.Event()
        with suppress(Exception):  # the SDK complains of what it could not send to a vendor that is away
            made.destroy(ended)
            ended.wait(5)


def seen(
    client: Client, flag: str, treatment: str, *, key: str = "ann", attributes: Any = None, timeout: float = 10
) -> None:
    """Wait until the SDK gives this treatment."""
    wait_until(
        lambda: client.get_treatment(key, flag, attributes) == treatment,
        timeout=timeout,
        why=f"{treatment} of {flag} (it is {client.get_treatment(key, flag, attributes)})",
    )


def definition(name: str, treatment: str = "on", **more: Any) -> dict[str, Any]:
    """A definition that serves one treatment to everybody, ``off`` by default."""
    return {
        "name": name,
        "treatments": [{"name": "on"}, {"name": "off"}],
        "defaultTreatment": "off",
        "defaultRule": [{"treatment": treatment, "size": 100}],
        **more,
    }
