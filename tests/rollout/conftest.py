"""A real store, a real SQL control, and time that tests hold in their hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from flagbrake.control.writer import FlagWriter
from flagbrake.metrics.outcomes import OutcomesSource
from flagbrake.model.flag import Flag, Variant
from flagbrake.model.outcome import Outcome, Result
from flagbrake.model.state import Create
from flagbrake.model.values import FlagKind
from flagbrake.ports.notify import Notice, Notifier
from flagbrake.rollout.engine import Engine
from flagbrake.rollout.plan import Plan
from flagbrake.rollout.service import RolloutService
from flagbrake.rollout.split import share_served
from flagbrake.store import Store, open_store
from flagbrake_sql.control import SqlControl

FLAG = "agents.refunds"


class HeldClock:
    """Time moves when a test moves it; monotonic time with it."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def move(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Pigeonhole(Notifier):
    """Keeps every notice."""

    name: ClassVar[str] = "pigeonhole"

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        self.notices.append(notice)


@dataclass
class Bench:
    """Everything a rollout test holds."""

    store: Store
    clock: HeldClock
    control: SqlControl
    writer: FlagWriter
    notices: Pigeonhole
    engine: Engine
    service: RolloutService
    runs: int = field(default=0)

    def another_engine(self) -> Engine:
        return Engine(
            self.store,
            self.writer,
            sources={"outcomes": OutcomesSource(self.store.outcomes)},
            notifiers=[self.notices],
            clock=self.clock,
        )

    @property
    def canary_share(self) -> int:
        return share_served(self.control.read(FLAG).flag.default, "v2")

    def plan(self, *steps: object, bake: str = "60s", **rest: object) -> Plan:
        given = {"interval": "10s", "settle": "5s", "checks": [{"metric": "run", "min_sample": 20}], **rest}
        return Plan.from_data(
            {"flag": FLAG, "canary": "v2", "baseline": "v1", "steps": list(steps), "bake": bake, **given}
        )

    def record(self, *, v1: tuple[int, int] = (0, 0), v2: tuple[int, int] = (0, 0), late: float = 0.0) -> None:
        """Runs that started just now under the flag's present revision: (runs, bad runs) per variant."""
        revision = self.control.read(FLAG).flag.version
        started = self.clock.now() - timedelta(seconds=late)
        batch = []
        for variant, (runs, bad) in (("v1", v1), ("v2", v2)):
            for number in range(runs):
                self.runs += 1
                result = Result.FAILURE if number < bad else Result.SUCCESS
                batch.append(
                    Outcome(
                        run_id=f"run-{self.runs}", flag=FLAG, variant=variant, revision=revision, unit=f"u{self.runs}",
                        started_at=started, finished_at=started, result=result,
                    )
                )  # fmt: skip
        self.store.outcomes.write(batch)

    def pass_time(self, seconds: float, *, every: float = 5.0, traffic: Callable[[], None] | None = None) -> None:
        """Let time pass in ticks."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < end:
            if traffic:
                traffic()
            self.clock.move(every)
            self.engine.tick(self.clock.now())


@pytest.fixture
def bench(store_url: str) -> Iterator[Bench]:
    clock = HeldClock()
    with open_store(store_url, project="p", environment="test", clock=clock, create=True) as store:
        control = SqlControl(store)
        writer = FlagWriter(control, lock=store.locks, clock=clock)
        variants = (Variant("v1", "one"), Variant("v2", "two"), Variant("v3", "three"))
        writer.apply(Create(Flag(FLAG, FlagKind.STRING, variants, "v1", off_variant="v1")), by="ana")
        notices = Pigeonhole()
        engine = Engine(
            store,
            writer,
            sources={"outcomes": OutcomesSource(store.outcomes)},
            notifiers=[notices],
            clock=clock,
        )
        yield Bench(store, clock, control, writer, notices, engine, RolloutService(engine))
