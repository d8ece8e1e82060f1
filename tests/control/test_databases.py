"""Writer and switch on real databases, the writers many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flagbrake.control.plane import Deadlines
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import Conflict
from flagbrake.model.flag import Targets
from flagbrake.model.state import SetOn, SetTargets
from flagbrake.store import Store, open_store
from flagbrake_sql.control import SqlControl
from tests.control.conftest import Bench
from tests.control.doubles import agent_flag

KEY = "agents.refunds"


@pytest.fixture
def open_one(store_url: str) -> Iterator[Callable[[], Store]]:
    """Opens stores on one fresh database of each kind."""
    stores: list[Store] = []

    def opened() -> Store:
        stores.append(open_store(store_url, project="demo", environment="test", create=not stores))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


def test_twenty_writers_lose_nothing(open_one):
    """Two machines (stores of their own), twenty threads: every target is there, every write is audited."""
    stores = [open_one(), open_one()]
    bench = Bench(stores[0])
    bench.seed(agent_flag())

    def add(number: int) -> None:
        store = stores[number % 2]
        writer = FlagWriter(SqlControl(store), lock=store.locks, audit=store.audit, wait=60)
        writer.modify(
            KEY,
            lambda state: SetTargets(KEY, (*state.flag.targets, Targets("v2", (f"user-{number}",)))),
            by=f"w{number}",
        )

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(add, range(20)))
    found = {key for target in bench.control.read(KEY).flag.targets for key in target.keys}
    assert found == {f"user-{number}" for number in range(20)}
    assert len(stores[0].audit.entries(KEY)) == 20
    assert stores[0].audit.verify() is None


def test_twenty_kills_at_once_all_stand(open_one):
    """Twenty people kill and restore twenty flags: nothing is lost, nothing is left."""
    bench = Bench(open_one())
    keys = [f"agent-{number}" for number in range(20)]
    bench.seed(*(agent_flag(key) for key in keys))
    bench.listen("one", "two")
    switch = bench.switch(deadlines=Deadlines())
    try:
        with ThreadPoolExecutor(20) as pool:
            receipts = list(pool.map(lambda key: switch.kill(key, by="ann", reason="x", wait=30), keys))
            assert all(receipt.hearing.complete for receipt in receipts)
            assert len({receipt.kill.epoch for receipt in receipts}) == 20
            assert len(switch.standing().kills) == 20
            list(pool.map(lambda key: switch.restore(key, by="bob", reason="y", wait=30), keys))
        assert switch.standing().kills == ()
        assert bench.store.audit.verify() is None
    finally:
        for follower in bench.followers:
            follower.close()


def test_kill_edit_restore(open_one):
    """The whole walk on each database."""
    bench = Bench(open_one())
    bench.seed(agent_flag())
    bench.listen("one", "two")
    switch, before = bench.switch(), bench.control.read(KEY)
    try:
        assert switch.kill(KEY, by="ann", reason="x").hearing.complete
        assert switch.plane.writer.apply(SetOn(KEY, on=False), by="eve", reason="edit").version != before.version
        with pytest.raises(Conflict):
            switch.restore(KEY, by="bob", reason="y")
        switch.restore(KEY, by="bob", reason="y", overwrite=True)
        assert bench.control.read(KEY).native == before.native
    finally:
        for follower in bench.followers:
            follower.close()
