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


@contextmanager
def launchdarkly(_: Path) -> Iterator[Harness]:
    """The vendor's SDK streaming from our emulator."""
    from tests.launchdarkly.vendor import harness  # late: one vendor's SDK has no business in another's run

    with harness() as made:
        yield made


@contextmanager
def split(_: Path) -> Iterator[Harness]:
    """The vendor's SDK streaming from our emulator."""
    from tests.split.vendor import harness

    with harness() as made:
        yield made


@contextmanager
def unleash(_: Path) -> Iterator[Harness]:
    """The vendor's SDK and the real server, whose one-second timers run every 50 ms."""
    from tests.unleash.harnesses import harness, vendor

    with vendor() as server, harness(server) as made:
        yield made


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
LAUNCHDARKLY = Peer(
    "flagbrake-launchdarkly",
    "flagbrake LaunchDarkly",
    ("flagbrake-launchdarkly", "launchdarkly-server-sdk"),
    "the vendor's SDK streaming from the emulator of this repository",
    launchdarkly,
    ours=True,
    shared=True,
)
SPLIT = Peer(
    "flagbrake-split",
    "flagbrake Split",
    ("flagbrake-split", "splitio-client"),
    "the vendor's SDK streaming from the emulator of this repository",
    split,
    ours=True,
    shared=True,
)
UNLEASH = Peer(
    "flagbrake-unleash",
    "flagbrake Unleash",
    ("flagbrake-unleash", "UnleashClient"),
    "the vendor's SDK polling the real Unleash server, whose one-second timers run every 50 ms",
    unleash,
    ours=True,
    shared=True,
)
