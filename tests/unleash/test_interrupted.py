"""A write of several requests that is cut off after any of them: what is left, and what the next writer makes of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import FlagbrakeError, NotFound, Unavailable
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Flag, Prerequisite, Rule, Targets, Variant, ramp
from flagbrake.model.state import Archive, Change, Create, FlagState, Replace, SetOn, SetTargets
from flagbrake.model.values import FlagKind
from flagbrake.store import open_store
from flagbrake_unleash.control import UnleashControl
from flagbrake_unleash.planning import canonical
from flagbrake_unleash.translate import feature_from_flag
from tests.unleash.harnesses import Vendor
from tests.unleash.intercepting import Fault, Interceptor

CUTS = (Fault.LOST, Fault.UNANSWERED)
MANY = tuple(f"unit-{n:03}" for n in range(600))


def text(key: str, *targets: Targets, **rest) -> Flag:
    settings = {"default": ramp("v2", 10_000, "v1"), "off_variant": "v1", **rest}
    return Flag(key, FlagKind.STRING, (Variant("v1", "one"), Variant("v2", "two")), targets=targets, **settings)


def plain(key: str, *targets: Targets, **rest) -> Flag:
    return Flag.boolean(key, default=ramp("on", 10_000, "off"), targets=targets, **rest)


def as_written(flag: Flag) -> Replace:
    return Replace(flag, native=canonical(feature_from_flag(flag)))


def pays(serve: str, plan: str = "pro") -> Rule:
    return Rule(f"pays-{plan}", (Clause(Attribute(("plan",)), Op.IN, (plan,)),), serve)


@dataclass(frozen=True)
class Story:
    """A flag, and what a writer makes of it. ``kept`` are named by both."""

    before: Callable[[str], Flag]
    change: Callable[[str], Change]
    kept: frozenset[str] = frozenset()


STORIES = {
    "the first unit": Story(text, lambda key: SetTargets(key, (Targets("v2", ("ann",)),))),
    "one unit more": Story(
        lambda key: text(key, Targets("v2", ("ann",))),
        lambda key: SetTargets(key, (Targets("v2", ("bob", "ann")),)),
        frozenset({"ann"}),
    ),
    "another list": Story(
        lambda key: text(key, Targets("v2", ("ann",))),
        lambda key: SetTargets(key, (Targets("v2", ("ann",)), Targets("v1", ("bob",)))),
        frozenset({"ann"}),
    ),
    "lists that swap": Story(
        lambda key: text(key, Targets("v2", ("ann", "bob")), Targets("v1", ("cid",))),
        lambda key: SetTargets(key, (Targets("v2", ("cid", "dan")), Targets("v1", ("ann", "bob")))),
        frozenset({"ann", "bob", "cid"}),
    ),
    "a long list, from the front": Story(
        lambda key: text(key, Targets("v2", MANY)),
        lambda key: SetTargets(key, (Targets("v2", ("first", *MANY)),)),
        frozenset(MANY),
    ),
    "a long list, from behind": Story(
        lambda key: text(key, Targets("v2", ("first", *MANY))),
        lambda key: SetTargets(key, (Targets("v2", MANY),)),
        frozenset(MANY),
    ),
    "a long list, turned round": Story(
        lambda key: text(key, Targets("v2", MANY)),
        lambda key: as_written(text(key, Targets("v2", MANY[::-1]))),
        frozenset(MANY),
    ),
    "in and out of a boolean": Story(
        lambda key: plain(key, Targets("on", ("ann",)), Targets("off", ("bob",)), rules=(pays("on"),)),
        lambda key: SetTargets(key, (Targets("on", ("bob",)), Targets("off", ("ann", "cid")))),
        frozenset({"ann", "bob"}),
    ),
    "the first one out": Story(
        lambda key: plain(key, rules=(pays("on"), pays("on", "team"))),
        lambda key: SetTargets(key, (Targets("off", ("bob",)),)),
    ),
    "another definition": Story(
        lambda key: text(key, Targets("v2", ("ann",)), rules=(pays("v2"), pays("v1", "free")), tags=("old",)),
        lambda key: Replace(
            text(
                key,
                Targets("v2", ("ann", "bob")),
                rules=(pays("v1", "team"), pays("v2")),
                tags=("new",),
                description="made anew",
            )
        ),
        frozenset({"ann"}),
    ),
    "another parent": Story(
        lambda key: text(key, prerequisites=(Prerequisite("parent-one", ("on",)),)),
        lambda key: Replace(text(key, prerequisites=(Prerequisite("parent-two", ("on",)),))),
    ),
}


@dataclass
class Desk:
    """A writer whose requests can be cut off."""

    writer: FlagWriter
    control: UnleashControl
    between: Interceptor

    def cut(self, number: int, fault: Fault, write: Callable[[], FlagState]) -> FlagState | FlagbrakeError:
        """What a write says whose request of this number meets the fault."""
        self.between.fail_write(number, fault)
        try:
            return write()
        except FlagbrakeError as error:
            return error
        finally:
            self.between.always(None)

    def length(self, write: Callable[[], object]) -> int:
        """How many requests a write takes."""
        before = len(self.between.writes)
        write()
        return len(self.between.writes) - before


@contextmanager
def desk(here: Vendor, folder: Path) -> Iterator[Desk]:
    url = f"sqlite:///{folder / 'flags.db'}"
    with (
        closing(Interceptor(here.server.port)) as between,
        open_store(url, project="shop", environment="test", create=True) as store,
        closing(here.control(url=f"{between.url}/api")) as control,
    ):
        yield Desk(FlagWriter(control, lock=store.locks, audit=store.audit, wait=60.0), control, between)


def named(state: FlagState) -> set[str]:
    return {unit for target in state.flag.targets for unit in target.keys}


def one_more(state: FlagState) -> Change:
    lists = {t.variant: t for t in state.flag.targets}
    variant = next(v.name for v in state.flag.variants if v.value in {"two", True})
    mine = lists.get(variant, Targets(variant, ()))
    others = tuple(t for t in state.flag.targets if t is not mine)
    return SetTargets(state.flag.key, (*others, Targets(variant, (*mine.keys, "next"))))


@pytest.mark.parametrize(
    ("name", "apart"),
    [*((name, 1000) for name in STORIES), *((name, 1) for name in ("the first unit", "the first one out"))],
)
def test_a_write_cut_off_at_any_request(quick_vendor: Vendor, tmp_path: Path, name: str, apart: int) -> None:
    """Whichever request is lost or not answered: its writer hears of it, no unit that stays is missing, the next
    writer goes on, the same write again says what it meant, and what was before can be put back exactly. Sort orders
    as the interface gives them (``apart`` is 1) leave no room in between."""
    story, tag = STORIES[name], f"{name.replace(' ', '-').replace(',', '')}-{apart}"
    for parent in ("parent-one", "parent-two"):
        quick_vendor.back.put(Flag.boolean(parent))
    with desk(quick_vendor, tmp_path) as at:

        def begin(number: object) -> FlagState:
            flag = story.before(f"cut-{tag}-{number}")
            quick_vendor.back.write(feature_from_flag(flag), apart=apart)
            return at.control.read(flag.key)

        whole = begin("whole")
        requests = at.length(lambda: at.control.apply(story.change(whole.flag.key)))
        meant = at.control.read(whole.flag.key)
        assert requests, "the story writes"
        for number, fault in itertools.product(range(requests), CUTS):
            before = begin(f"{number}-{fault.value}")
            key = before.flag.key
            said = at.cut(number, fault, lambda key=key: at.writer.apply(story.change(key), by="ann"))
            if isinstance(said, FlagState):
                assert comparable(said) == comparable(meant)  # read back, and it is what was meant
            else:
                assert isinstance(said, Unavailable), f"{number} {fault}: {said}"
            left = at.control.read(key)
            assert story.kept <= named(left), f"{number} {fault}: missing {story.kept - named(left)}"
            after = at.writer.modify(key, one_more, by="bob")
            assert story.kept | {"next"} <= named(after), f"{number} {fault}"
            again = at.control.apply(story.change(key))
            assert comparable(again) == comparable(meant), f"{number} {fault}"
            assert (again.flag.tags, again.flag.description) == (meant.flag.tags, meant.flag.description)
            back = at.control.apply(Replace(before.flag, native=before.native))
            assert (back.version, back.flag) == (before.version, before.flag), f"{number} {fault}"


@pytest.mark.parametrize("fault", [Fault.FAILS, Fault.BROKEN])
def test_a_server_error_is_as_good_as_no_answer(quick_vendor: Vendor, tmp_path: Path, fault: Fault) -> None:
    """A 5xx in the middle of a write, whether the server did it or not: the writer says so, the next one goes on."""
    with desk(quick_vendor, tmp_path) as at:
        key = f"error-{fault.value}"
        quick_vendor.back.write(feature_from_flag(text(key, Targets("v2", ("ann",)))), apart=1000)
        both = SetTargets(key, (Targets("v2", ("ann",)), Targets("v1", ("bob",))))
        said = at.cut(0, fault, lambda: at.writer.apply(both, by="ann"))
        assert isinstance(said, Unavailable if fault is Fault.FAILS else FlagState)
        assert {"ann", "next"} <= named(at.writer.modify(key, one_more, by="bob"))


def test_a_request_that_lands_late_takes_nothing_from_the_next_writer(quick_vendor: Vendor, tmp_path: Path) -> None:
    """A write that nobody answers is given up, and its lock is not: the next writer waits until the lease has run out,
    and reads what landed meanwhile. The reading timeout is shorter than core's, and does not end a write early."""
    url = f"sqlite:///{tmp_path / 'flags.db'}"
    quick_vendor.back.put(text("late-landing", Targets("v2", ("cid",))))
    with (
        closing(Interceptor(quick_vendor.server.port)) as between,
        open_store(url, project="shop", environment="test", create=True) as store,
        closing(quick_vendor.control(url=f"{between.url}/api", timeout=2.0)) as control,
        ThreadPoolExecutor(1) as pool,
    ):
        writer = FlagWriter(control, lock=store.locks, wait=40.0, ttl=10.0, request=5.0)
        between.fail_write(0, Fault.LATE)
        with pytest.raises(Unavailable, match="may still land"):
            writer.apply(SetTargets("late-landing", (Targets("v2", ("cid", "ann")),)), by="ann")
        between.always(None)
        after = pool.submit(writer.modify, "late-landing", one_more, by="bob")
        between.let_go()
        assert named(after.result(50)) == {"cid", "ann", "next"}
        assert named(control.read("late-landing")) == {"cid", "ann", "next"}


def test_an_archiving_that_nobody_answers(quick_vendor: Vendor, tmp_path: Path) -> None:
    """A feature that is not there after it is archived; one that still is was not, and that is said."""
    with desk(quick_vendor, tmp_path) as at:
        for fault, gone in ((Fault.UNANSWERED, True), (Fault.LOST, False)):
            quick_vendor.back.put(text(key := f"archived-{fault.value}"))
            said = at.cut(0, fault, lambda key=key: at.writer.apply(Archive(key), by="ann"))
            assert said.flag.archived if isinstance(said, FlagState) else not gone
            assert isinstance(said, FlagState if gone else Unavailable)


def comparable(state: FlagState) -> object:
    flag = state.flag
    lists = {t.variant: frozenset(t.keys) - {"next"} for t in flag.targets}
    # Without tags and the description, which core compares as little: they are for people.
    return {v: k for v, k in lists.items() if k}, flag.rules, flag.on, flag.prerequisites


def test_a_feature_half_made_is_not_there_and_is_made_again(quick_vendor: Vendor, tmp_path: Path) -> None:
    """A Create that was cut off leaves nothing that anybody reads or lists, serves nobody, and can be repeated."""
    with desk(quick_vendor, tmp_path) as at:

        def flag(number: object) -> Flag:
            return text(f"half-{number}", Targets("v2", ("ann",)), rules=(pays("v2"),), tags=("team-x",))

        requests = at.length(lambda: at.writer.apply(Create(flag("whole")), by="ann"))
        meant = at.control.read("half-whole")
        assert meant.flag.tags == ("team-x",)
        for number, fault in itertools.product(range(requests), CUTS):
            made = flag(f"{number}-{fault.value}")
            said = at.cut(number, fault, lambda made=made: at.writer.apply(Create(made), by="ann"))
            if isinstance(said, Unavailable) and _nowhere(at.control, made.key):
                again = at.writer.apply(Create(made), by="ann")
            else:  # only the last request is missing, that which switches it on, or its answer
                assert number >= requests - 2, f"{number} {fault}: {said}"
                again = at.writer.apply(SetOn(made.key, on=True), by="ann")
            assert again.native == {**meant.native, "name": made.key, "strategies": _of(meant, made.key)}, number
        assert {meant.flag.key, made.key} <= {s.flag.key for s in at.control.states()}


def test_what_is_half_made_and_switched_on_by_a_person_is_theirs(quick_vendor: Vendor, tmp_path: Path) -> None:
    """Somebody found it in Unleash and switched it on: it is a flag from then on, also when it is off again."""
    with desk(quick_vendor, tmp_path) as at:
        at.cut(2, Fault.LOST, lambda: at.writer.apply(Create(text("found")), by="ann"))
        assert _nowhere(at.control, "found")
        assert "found" not in {s.flag.key for s in at.control.states()}
        assert any("found" in remark.text and not remark.fine for remark in at.control.remarks())
        at.control._api.reads.send("POST", f"{at.control._api.place('found').here}/on")
        assert at.control.read("found").flag.on
        assert not at.writer.apply(SetOn("found", on=False), by="ann").flag.on
        assert not at.control.read("found").flag.tags


def _nowhere(control: UnleashControl, key: str) -> bool:
    try:
        control.read(key)
    except NotFound:
        return True
    return False


def _of(state: FlagState, key: str) -> list:
    return [{**s, "parameters": {**s["parameters"], "groupId": key}} for s in state.native["strategies"]]
