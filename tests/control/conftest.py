"""A real store with real listeners, and the switch over it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest

from flagbrake.control.plane import Deadlines
from flagbrake.control.switch import KillSwitch
from flagbrake.control.writer import FlagWriter
from flagbrake.model.flag import Flag
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.ports.control import FlagControl
from flagbrake.store import Store, open_store
from flagbrake.store.processes import Presence
from flagbrake_sql.control import SqlControl
from tests.control.doubles import Ear, agent_flag


class Follower:
    """A process as the switch sees it: present, and applying every epoch that the store reaches."""

    def __init__(self, store: Store, name: str, *, deaf: bool = False) -> None:
        self._store = store
        self._over = threading.Event()
        self.presence = Presence(store, name=name, beat=0.2)
        self.presence.start()
        self._thread = threading.Thread(target=self._follow, args=(deaf,), daemon=True)
        self._thread.start()

    def _follow(self, deaf: bool) -> None:
        seen = -1
        while not self._over.wait(0.005):
            epoch = self._store.kills.read().epoch
            if epoch > seen and not deaf:
                seen = epoch
                self.presence.applied(epoch, datetime.now(UTC))

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.presence.leave()


@dataclass
class Bench:
    """One environment: its store, its flags, who listens, and what was told."""

    store: Store
    ear: Ear = field(default_factory=Ear)
    manifest: Manifest = field(default_factory=Manifest)
    followers: list[Follower] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.control: FlagControl = SqlControl(self.store)

    def listen(self, *names: str, deaf: bool = False) -> None:
        self.followers += [Follower(self.store, name, deaf=deaf) for name in names]

    def seed(self, *flags: Flag) -> None:
        with self.store.db.transaction() as conn:
            self.store.flags.write_all(conn, flags)

    def declare(self, *declarations: Declaration) -> None:
        self.manifest = Manifest(MappingProxyType({d.flag: d for d in declarations}))

    def switch(self, *lanes, control: FlagControl | None = None, **changes) -> KillSwitch:
        writer = FlagWriter(control or self.control, lock=self.store.locks, audit=self.store.audit)
        made = KillSwitch.over(
            self.store,
            writer=writer,
            manifest=lambda: self.manifest,
            notifiers=(self.ear,),
            lanes=lanes,
            deadlines=Deadlines(lane=1.0, look=1.0, flags=1.0, notify=0.5),
        )
        return KillSwitch(replace(made.plane, **changes))

    def audited(self, subject: str) -> list[str]:
        return [entry.action for entry in reversed(self.store.audit.entries(subject))]

    def close(self) -> None:
        for follower in self.followers:
            follower.close()
        self.store.close()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store's file, to be copied: making the tables takes longest."""
    path = tmp_path_factory.mktemp("empty") / "flags.db"
    open_store(f"sqlite:///{path}", project="demo", environment="test", create=True).close()
    return path


@pytest.fixture
def opened(empty_store: Path, tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Opens stores in a folder of this test."""
    stores: list[Store] = []

    def open_one(name: str = "flags", environment: str = "test") -> Store:
        path = tmp_path / f"{name}.db"
        if not path.exists():
            shutil.copy(empty_store, path)
        stores.append(open_store(f"sqlite:///{path}", project="demo", environment=environment))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def bench(opened: Callable[..., Store]) -> Iterator[Bench]:
    """An environment with one flag and nobody listening yet."""
    made = Bench(opened())
    made.seed(agent_flag())
    yield made
    made.close()
