"""Defects of openfeature-sdk 0.10 in how it runs event handlers, pinned: a failure here is good news.

What protects against all three is the same: no decision of ours hangs on a handler. Kills and flags are read from
memory, which threads of our own keep fresh and rebuild after a fork; handlers are for an application's own interest.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import uuid
import weakref
from collections.abc import Iterator

import pytest
from openfeature import _event_support, api
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.provider.no_op_provider import NoOpProvider

from flagbrake.testing import MemoryProvider

CHANGED = ProviderEvent.PROVIDER_CONFIGURATION_CHANGED


@pytest.fixture
def domain() -> Iterator[str]:
    """A domain of one's own."""
    name = f"handlers-{uuid.uuid4().hex}"
    yield name
    api.set_provider_and_wait(NoOpProvider(), name)


FORKING = """
import os, threading
from openfeature import _event_support, api
from openfeature.event import ProviderEvent
from flagbrake.testing import MemoryProvider

provider = MemoryProvider()
api.set_provider_and_wait(provider)
heard = threading.Event()
idle = threading.Event()
client = api.get_client()
client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, lambda details: heard.set())
provider.set("f", "one")
assert heard.wait(10)
# The pool's thread has run a handler and waits for the next one: the child inherits that belief, not the thread.
while not _event_support._event_executor._idle_semaphore._value:
    idle.wait(0.001)
heard.clear()
child = os.fork()
if child == 0:
    provider.set("f", "two")
    told = heard.wait(0.3)
    value = client.get_string_value("f", "default")
    os._exit(0 if not told and value == "two" else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_after_a_fork_a_handler_is_not_run():
    """The pool counts threads that the child does not have: its event waits for nobody. Evaluations are right."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "0", done.stderr


def test_handlers_that_block_stop_all_others(domain: str):
    """As many blocking handlers as the pool has threads, and no handler of anybody runs any more."""
    provider, other = MemoryProvider(), MemoryProvider()
    api.set_provider_and_wait(provider, domain)
    api.set_provider_and_wait(other, f"{domain}-other")
    go, blocked, heard = threading.Event(), threading.Semaphore(0), threading.Event()

    def block(_: object) -> None:
        blocked.release()
        go.wait(30)

    threads = _event_support._event_executor._max_workers
    client, bystander = api.get_client(domain), api.get_client(f"{domain}-other")
    client.add_handler(CHANGED, block)
    bystander.add_handler(CHANGED, lambda _: heard.set())
    try:
        for number in range(threads):
            provider.emit_provider_configuration_changed(ProviderEventDetails(message=str(number)))
        for _ in range(threads):
            assert blocked.acquire(timeout=10)
        other.set("f", "new")
        assert not heard.wait(0.1)
        assert bystander.get_string_value("f", "default") == "new"
    finally:
        go.set()
        assert heard.wait(10)
        api.set_provider_and_wait(NoOpProvider(), f"{domain}-other")


def test_a_handler_keeps_its_client_alive(domain: str):
    """A client that ever had a handler is never collected, not even when the handler is removed."""

    def handler(_: object) -> None: ...

    client = api.get_client(domain)
    client.add_handler(CHANGED, handler)
    client.remove_handler(CHANGED, handler)
    kept = weakref.ref(client)
    del client
    gc.collect()
    left = kept()
    assert left is not None
    _event_support._client_handlers.pop(left)
    del left
    gc.collect()
    assert kept() is None
