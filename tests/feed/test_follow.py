"""A feed follows its store."""

from __future__ import annotations

from collections.abc import Callable

from openfeature.evaluation_context import EvaluationContext

from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Flag, KeySet, Prerequisite, Rule, Segment
from flagbrake.model.kill import KillMode
from flagbrake.model.manifest import Declaration
from flagbrake.ports.kills import KillView
from flagbrake.store import Store, open_store
from flagbrake.store.audience import FeedEvent
from flagbrake.store.feed import StoreFeed
from flagbrake.store.snapshot import Snapshot, Source
from flagbrake.store.watch import rows
from tests.support.storing import delete, execute, kill, lift, put
from tests.support.waiting import wait_until

CONTEXT = EvaluationContext("u1", {})


class Heard:
    """What a listener and a receiver were told."""

    def __init__(self, feed: StoreFeed) -> None:
        self.events: list[tuple[int, frozenset[str], FeedEvent]] = []
        self.views: list[KillView] = []
        feed.listen(self.listen)
        feed.subscribe(self.views.append)

    def listen(self, snapshot: Snapshot, changed: frozenset[str], event: FeedEvent) -> None:
        self.events.append((snapshot.revision, changed, event))

    def changes(self) -> list[frozenset[str]]:
        return [changed for _, changed, event in self.events if event is FeedEvent.CHANGED]


def serves(feed: StoreFeed, key: str) -> str | None:
    return feed.snapshot.ruleset.evaluate(key, CONTEXT).variant


def at(feed: StoreFeed, revision: int) -> Snapshot:
    wait_until(lambda: feed.snapshot.revision >= revision, why=f"revision {revision}")
    return feed.snapshot


def test_an_empty_store_is_fresh(feed: StoreFeed) -> None:
    """No flag, no kill, revision 0: that is knowledge, not its absence."""
    assert feed.snapshot.revision == 0
    assert feed.snapshot.source is Source.STORE
    assert feed.state.fresh
    assert not feed.alarms


def test_what_was_there_is_served_from_the_start(store: Store, make_feed: Callable[..., StoreFeed]) -> None:
    """start() returns with flags, declarations and kills of one revision."""
    put(store, Flag.boolean("checkout"), Declaration("checkout", safe_variant="off"))
    killed = kill(store, "agent:refunds")
    feed = make_feed()
    feed.start(5)
    assert serves(feed, "checkout") == "on"
    assert feed.snapshot.manifest.get("checkout") == Declaration("checkout", safe_variant="off")
    assert feed.snapshot.kills.kills == (killed,)
    assert feed.snapshot.revision == store.revision()


def test_every_change_arrives(store: Store, feed: StoreFeed) -> None:
    """Fifty changes, each waited for: none needs the one after it to be seen."""
    for number in range(50):
        revision = put(store, Flag.boolean("checkout", on=bool(number % 2)))
        wait_until(lambda: feed.snapshot.revision >= revision, timeout=5, why="the change")  # noqa: B023
        assert serves(feed, "checkout") == ("on" if number % 2 else "off")


def test_a_changed_flag_costs_one_row(store: Store, feed: StoreFeed, monkeypatch) -> None:
    """The other flags are neither read again nor compiled again."""
    at(feed, put(store, *(Flag.boolean(f"f{n}") for n in range(100))))
    read: list[int] = []
    real = rows.since

    def counting(*arguments, **named):
        found = real(*arguments, **named)
        read.append(len(found))
        return found

    monkeypatch.setattr(rows, "since", counting)
    before = feed.snapshot.ruleset.flags["f7"]
    at(feed, put(store, Flag.boolean("f3", on=False)))
    assert read == [1]
    assert feed.snapshot.ruleset.flags["f7"] is before


def test_changed_keys_name_the_dependents_too(store: Store, feed: StoreFeed) -> None:
    """A flag that reads a changed flag or segment, however indirectly, is among the changed keys."""
    beta = Clause(Attribute(), Op.SEGMENT, ("beta",))
    at(
        feed,
        put(
            store,
            Segment("beta"),
            Flag.boolean("base", default="off", rules=(Rule("r", (beta,), "on"),)),
            Flag.boolean("middle", prerequisites=(Prerequisite("base", ("on",)),)),
            Flag.boolean("top", prerequisites=(Prerequisite("middle", ("on",)),)),
            Flag.boolean("apart"),
        ),
    )
    heard = Heard(feed)
    at(feed, put(store, Segment("beta", included=(KeySet(("u1",)),))))
    wait_until(heard.changes, why="the change")
    assert heard.changes() == [frozenset({"base", "middle", "top"})]
    assert serves(feed, "top") == "on"


def test_what_is_deleted_or_archived_is_not_served(store: Store, feed: StoreFeed) -> None:
    """Both end a flag in a running process."""
    at(feed, put(store, Flag.boolean("a"), Flag.boolean("b"), Flag.boolean("c")))
    delete(store, "a")
    revision = put(store, Flag.boolean("b", archived=True))
    at(feed, revision)
    assert set(feed.snapshot.ruleset.flags) == {"c"}


def test_kills_and_lifts_reach_receivers_with_a_term(store: Store, feed: StoreFeed) -> None:
    """A receiver hears every kill and lift, and until when it may believe them; silence renews the term."""
    heard = Heard(feed)
    assert [view.snapshot.kills for view in heard.views] == [()]
    killed = kill(store, "agent:refunds", mode=KillMode.DRAIN)
    wait_until(lambda: heard.views[-1].snapshot.kills, why="the kill")
    assert heard.views[-1].snapshot.kills == (killed,)
    assert heard.views[-1].snapshot.epoch == killed.epoch
    epoch = lift(store, killed)
    wait_until(lambda: not heard.views[-1].snapshot.kills, why="the lift")
    wait_until(lambda: heard.views[-1].snapshot.epoch == epoch, why="the epoch of the lift")
    term = heard.views[-1].valid_until
    wait_until(lambda: heard.views[-1].valid_until > term + 0.5, timeout=5, why="a longer term without any change")


def test_declarations_reach_receivers(store: Store, feed: StoreFeed) -> None:
    """The manifest travels with the kills."""
    heard = Heard(feed)
    put(store, Declaration("checkout", safe_variant="off"))
    wait_until(lambda: heard.views[-1].manifest.get("checkout"), why="the declaration")


def test_other_environments_are_not_ours(store: Store, store_url: str, feed: StoreFeed) -> None:
    """Flags and kills of staging never show in production."""
    with open_store(store_url, project="shop", environment="staging") as staging:
        put(staging, Flag.boolean("checkout"))
        kill(staging, "*")
    at(feed, put(store, Flag.boolean("mine")))
    assert set(feed.snapshot.ruleset.flags) == {"mine"}
    assert feed.snapshot.kills.kills == ()


def test_kills_only(store: Store, make_feed: Callable[..., StoreFeed]) -> None:
    """With another vendor's flags the feed carries kills and declarations, and reads no flag."""
    put(store, Flag.boolean("checkout"), Declaration("checkout", safe_variant="off"))
    feed = make_feed(flags=False)
    feed.start(5)
    assert not feed.snapshot.ruleset.flags
    assert feed.snapshot.manifest.get("checkout")
    killed = kill(store, "*")
    wait_until(lambda: feed.snapshot.kills.kills == (killed,), why="the kill")


def test_a_change_without_a_notification_is_found_by_the_counter(store: Store, feed: StoreFeed) -> None:
    """What commits while no one is told (a NOTIFY lost, a restore of rows) is seen by the safety poll."""
    put(store, Flag.boolean("checkout"))
    at(feed, 1)
    execute(store, "UPDATE flagbrake_flag SET archived = :yes, revision = 2", yes=True)
    execute(store, "UPDATE flagbrake_revision SET revision = 2")
    wait_until(lambda: "checkout" not in feed.snapshot.ruleset.flags, timeout=5, why="the silent change")


def test_a_listener_that_fails_does_not_end_the_feed(store: Store, feed: StoreFeed) -> None:
    """One bad listener or receiver costs nobody else a kill."""

    def fail(*_: object) -> None:
        raise RuntimeError("mine")

    feed.listen(fail)
    try:
        feed.subscribe(fail)
    except RuntimeError:
        raise AssertionError("subscribing must not raise what a receiver raises") from None
    heard = Heard(feed)
    kill(store, "*")
    wait_until(lambda: heard.views[-1].snapshot.kills, why="the kill")
    assert feed.state.fresh


def test_a_shared_feed_stops_with_its_last_user(store: Store, make_feed: Callable[..., StoreFeed]) -> None:
    """start and stop count."""
    feed = make_feed()
    feed.start(5)
    feed.start(5)
    feed.stop()
    at(feed, put(store, Flag.boolean("a")))
    feed.stop()
    assert feed._thread is None
    feed.start(5)
    at(feed, put(store, Flag.boolean("b")))
