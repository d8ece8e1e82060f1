"""Writing to the real server: ramps, many writers, and a server or a database that goes away in the middle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from openfeature.evaluation_context import EvaluationContext

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import FlagbrakeError, InvalidInput, NotFound, Unavailable
from flagbrake.model.flag import Flag, Prerequisite, Targets, Variant, ramp
from flagbrake.model.state import Change, Create, FlagState, Replace, SetDistribution, SetOn, SetTargets
from flagbrake.model.values import FlagKind
from flagbrake.store import open_store
from flagbrake_unleash.control import UnleashControl
from flagbrake_unleash.translate import feature_from_flag
from tests.unleash.harnesses import Vendor, vendor
from tests.unleash.servers import needed

UNITS = [f"unit-{n}" for n in range(300)]


@contextmanager
def writers(here: Vendor, folder: Path) -> Iterator[tuple[FlagWriter, UnleashControl]]:
    """A writer with the store's lock and audit, as the control plane has it."""
    url = f"sqlite:///{folder / 'flags.db'}"
    with open_store(url, project="shop", environment="test", create=True) as store, closing(here.control()) as control:
        yield FlagWriter(control, lock=store.locks, audit=store.audit, wait=60.0), control


def two_versions(key: str, **rest) -> Flag:
    settings = {"default": ramp("v2", 0, "v1"), "off_variant": "v1", **rest}
    return Flag(key, FlagKind.STRING, (Variant("v1", "one"), Variant("v2", "two")), **settings)


@pytest.mark.parametrize(("kind", "step"), [("boolean", 1), ("string", 5)])
def test_a_ramp_by_percents_and_back(quick_vendor: Vendor, tmp_path: Path, kind: str, step: int) -> None:
    """0 to 100 and back in single percents: one owned strategy all the way, nobody is taken back on the way up."""
    key = f"ramp-{kind}"
    flag = two_versions(key) if kind == "string" else Flag.boolean(key, default=ramp("on", 0, "off"))
    new, old = ("v2", "v1") if kind == "string" else ("on", "off")
    provider = quick_vendor.provider()
    with writers(quick_vendor, tmp_path) as (writer, control), closing(_Started(provider)):
        writer.apply(Create(flag), by="ann")
        had: set[str] = set()
        falling = False
        for percent in [*range(step, 101, step), *range(100 - step, -1, -step)]:
            # Up through the writer with its lock and audit, down by the control alone: that is quicker.
            write = control.apply if falling else writer.apply
            falling = falling or percent == 100
            state = write(SetDistribution(key, ramp(new, percent * 1000, old)), by="ann")
            assert len(state.native["strategies"]) == 1
            if percent % 10 == 0 and percent:
                quick_vendor.settle()
                now = {u for u in UNITS if provider.resolve(key, EvaluationContext(u)).variant == new}
                assert abs(len(now) / len(UNITS) - percent / 100) < 0.12
                assert had <= now or had >= now
                had = now
        assert control.read(key).flag.default in {old, ramp(new, 0, old)}


def test_half_a_percent_is_refused_with_the_nearest_steps(quick_vendor: Vendor, tmp_path: Path) -> None:
    """12.5 %, which the server would take and serve as 0 %, is refused; 12 and 13 are named; nothing is written."""
    with writers(quick_vendor, tmp_path) as (writer, control):
        writer.apply(Create(two_versions("finer")), by="ann")
        before = control.read("finer").version
        for change in (writer.apply, lambda c, by: control.apply(c, by=by)):
            with pytest.raises(InvalidInput, match=r"12\.5 %.*12 or 13"):
                change(SetDistribution("finer", ramp("v2", 12_500, "v1")), by="ann")
        assert control.read("finer").version == before


def test_two_prerequisites_are_refused(quick_vendor: Vendor, tmp_path: Path) -> None:
    """Of two the server would keep the last in silence, and the flag be open to whom the first one shuts out."""
    quick_vendor.back.put(Flag.boolean("gate-one"))
    quick_vendor.back.put(Flag.boolean("gate-two"))
    needs = (Prerequisite("gate-one", ("on",)), Prerequisite("gate-two", ("on",)))
    with writers(quick_vendor, tmp_path) as (writer, control):
        with pytest.raises(InvalidInput, match=r"one prerequisite.*gate-one, gate-two"):
            writer.apply(Create(two_versions("gated", prerequisites=needs)), by="ann")
        before = writer.apply(Create(two_versions("gated", prerequisites=needs[:1])), by="ann")
        with pytest.raises(InvalidInput, match="one prerequisite"):
            writer.apply(Replace(two_versions("gated", prerequisites=needs)), by="ann")
        assert control.read("gated").version == before.version


def test_on_adds_no_strategy_for_everybody(quick_vendor: Vendor, tmp_path: Path) -> None:
    """A feature without strategies, switched on, serves nobody: the server by itself would serve everybody."""
    quick_vendor.back.write({**feature_from_flag(Flag.boolean("bare", on=False)), "strategies": []})
    with writers(quick_vendor, tmp_path) as (writer, _):
        state = writer.apply(SetOn("bare", on=True), by="ann")
        assert state.flag.on
        assert state.flag.default == "off"
        state = writer.apply(SetDistribution("bare", ramp("on", 25_000, "off")), by="ann")
        assert [s["parameters"]["rollout"] for s in state.native["strategies"]] == ["25"]


def test_twenty_writers_at_once(quick_vendor: Vendor, tmp_path: Path) -> None:
    """Twenty writers, each adds one unit to what it read: all twenty are there. The server alone would lose most."""
    with writers(quick_vendor, tmp_path) as (writer, control):
        writer.apply(Create(two_versions("contested")), by="ann")

        def add(unit: str) -> FlagState:
            def decide(state: FlagState) -> Change:
                have = tuple(k for t in state.flag.targets for k in t.keys)
                return SetTargets("contested", (Targets("v2", (*have, unit)),))

            return writer.modify("contested", decide, by=unit)

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(add, UNITS[:20]))
        (targets,) = control.read("contested").flag.targets
        assert sorted(targets.keys) == sorted(UNITS[:20])


def test_a_kill_and_an_exact_restore(quick_vendor: Vendor, tmp_path: Path) -> None:
    """Off with a reason, edited by a person meanwhile, put back from the document: the same version as before."""
    with writers(quick_vendor, tmp_path) as (writer, control):
        flag = two_versions(
            "burning", default=ramp("v2", 30_000, "v1"), targets=(Targets("v2", ("ann",)),), tags=("team-x",)
        )
        before = writer.apply(Create(flag), by="ann")
        writer.apply(SetOn("burning", on=False), by="ann", reason="paid twice")
        assert any("paid twice" in link["title"] for link in _links(control, "burning"))
        quick_vendor.back.put(Flag.boolean("burning", on=False))  # somebody rebuilt it
        after = writer.apply(Replace(before.flag, native=before.native), by="ann", reason="mended")
        assert after.version == before.version
        assert after.native == before.native
        assert after.flag == before.flag
        writer.apply(SetOn("burning", on=False), by="ann", reason="again")
        writer.apply(SetOn("burning", on=True), by="ann")
        assert not _links(control, "burning")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", ["server", "database"])
def test_a_restart_in_the_middle_of_writing(tmp_path: Path, what: str) -> None:
    """The server, then its database, crash and come back under three writers: every write that said it was done is
    there, every other one raised an error of ours, and the flag is whole."""
    needed()
    with vendor() as here, writers(here, tmp_path) as (writer, control):
        writer.apply(Create(two_versions("rocked")), by="ann")
        said_done: set[str] = set()
        errors: list[FlagbrakeError] = []
        stop = threading.Event()

        def work(number: int) -> None:
            turn = 0
            while not stop.is_set():
                unit, turn = f"{number}-{turn}", turn + 1

                def decide(state: FlagState, unit: str = unit) -> Change:
                    have = tuple(k for t in state.flag.targets for k in t.keys)
                    return SetTargets("rocked", (Targets("v2", (*have, unit)[-200:]),))

                try:
                    writer.modify("rocked", decide, by=unit)
                except FlagbrakeError as error:
                    errors.append(error)
                else:
                    said_done.add(unit)

        with ThreadPoolExecutor(3) as pool:
            work_of = [pool.submit(work, number) for number in range(3)]
            _wait_for(said_done, 5)
            if what == "server":
                here.server.kill()
                _wait_for(errors, 1)
                here.server.start()
            else:
                here.database.stop()
                _wait_for(errors, 1)
                here.database.start()
            _wait_for(said_done, len(said_done) + 5)
            stop.set()
            for each in work_of:
                each.result(60)
        assert all(isinstance(error, Unavailable) or "did not" in str(error) for error in errors), errors
        state = control.read("rocked")
        there = {k for t in state.flag.targets for k in t.keys}
        assert said_done <= there
        assert len(state.native["strategies"]) == 2


class _Started:
    def __init__(self, provider) -> None:
        self.provider = provider
        provider.initialize(EvaluationContext())

    def close(self) -> None:
        self.provider.shutdown()


def _wait_for(things, count: int) -> None:
    from tests.support.waiting import wait_until

    wait_until(lambda: len(things) >= count, timeout=90, why=f"{count} of them")


def _links(control: UnleashControl, key: str) -> list[dict]:
    return control._api.reads.get(control._api.place(key).feature).json().get("links") or []


@pytest.mark.parametrize(
    ("project", "environment", "told"),
    [
        ("default", "nope", r"project 'default' has no environment 'nope'\. Try: .*development"),
        ("nope", "development", r"no project 'nope' to this token\. Try: unleash_project = 'default'"),
    ],
)
def test_a_place_that_is_not_there(quick_vendor: Vendor, project: str, environment: str, told: str) -> None:
    """The server lists such a place as empty, or as all off, and makes features in it: told instead."""
    quick_vendor.back.put(Flag.boolean("place-other"))
    with closing(quick_vendor.control()) as here:
        url, token = f"{quick_vendor.server.url}/api", quick_vendor.server.admin_token
        lost = UnleashControl(
            url, token, project="p", environment="e", native_project=project, native_environment=environment
        )
        with closing(lost):
            for ask in (lambda: list(lost.states()), lambda: list(lost.remarks()), lost.check_place):
                with pytest.raises(NotFound, match=told):
                    ask()
            with pytest.raises(NotFound, match=told):
                lost.apply(Create(Flag.boolean("place-new")), by="ann")
        assert not any("place-new" in remark.text for remark in here.remarks())
