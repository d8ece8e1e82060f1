"""One damaged row keeps its last good version and raises an alarm; a damaged kill counts as killed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError

from flagbrake.model.codec import checksum
from flagbrake.model.flag import Bucketing, Distribution, Flag, Prerequisite, Segment, Weight
from flagbrake.model.kill import EVERYTHING
from flagbrake.model.manifest import Declaration
from flagbrake.store import Store
from flagbrake.store.feed import StoreFeed
from tests.support.storing import damage, kill, put
from tests.support.waiting import wait_until

CONTEXT = EvaluationContext("u1", {})


def document(store: Store, key: str) -> str:
    found = store.flags.get(key)
    assert found is not None
    return found.document


@pytest.mark.parametrize(
    ("column", "value"),
    [("checksum", "0123456789abcdef"), ("document", "{"), ("document", '{"key":"checkout"}')],
    ids=["checksum", "not JSON", "not a flag"],
)
def test_a_damaged_flag_keeps_its_last_good_version(
    store: Store, feed: StoreFeed, caplog, column: str, value: str
) -> None:
    """It goes on answering, the other flags move on, and the alarm names flag, fact and cure."""
    put(store, Flag.boolean("checkout"), Flag.boolean("other"))
    wait_until(lambda: feed.snapshot.revision == 1, why="the flags")
    with caplog.at_level(logging.ERROR, "flagbrake.store"):
        damage(store, "flagbrake_flag", column, value, "key = 'checkout'")
        put(store, Flag.boolean("other", on=False))
        wait_until(lambda: "flag:checkout" in feed.alarms, why="the alarm")
    assert feed.snapshot.ruleset.evaluate("checkout", CONTEXT).value is True
    wait_until(lambda: feed.snapshot.ruleset.evaluate("other", CONTEXT).value is False, why="the other flag")
    assert "Flag 'checkout'" in feed.alarms["flag:checkout"]
    assert "its last good version is served" in feed.alarms["flag:checkout"]
    assert "Try: " in feed.alarms["flag:checkout"]
    assert "Flag 'checkout'" in caplog.text
    put(store, Flag.boolean("checkout", on=False))
    wait_until(lambda: "flag:checkout" not in feed.alarms, why="the alarm's end")
    assert feed.snapshot.ruleset.evaluate("checkout", CONTEXT).value is False


def test_a_flag_that_cannot_be_evaluated_keeps_its_last_good_version(store: Store, feed: StoreFeed) -> None:
    """An unknown bucketing id, written by a newer version of flagbrake: well-formed, yet not for us."""
    put(store, Flag.boolean("checkout"))
    wait_until(lambda: feed.snapshot.revision == 1, why="the flag")
    new = Distribution((Weight("on", 50_000), Weight("off", 50_000)), Bucketing("from-the-future"))
    put(store, Flag.boolean("checkout", default=new))
    wait_until(lambda: "flag:checkout" in feed.alarms, why="the alarm")
    assert "from-the-future" in feed.alarms["flag:checkout"]
    assert feed.snapshot.ruleset.evaluate("checkout", CONTEXT).value is True


def test_a_circle_of_prerequisites_is_not_taken(store: Store, feed: StoreFeed) -> None:
    """The version that closes the circle is refused."""
    put(store, Flag.boolean("a"), Flag.boolean("b", prerequisites=(Prerequisite("a", ("on",)),)))
    wait_until(lambda: feed.snapshot.revision == 1, why="the flags")
    put(store, Flag.boolean("a", prerequisites=(Prerequisite("b", ("on",)),)))
    wait_until(lambda: "flag:a" in feed.alarms, why="the alarm")
    assert feed.snapshot.ruleset.evaluate("b", CONTEXT).value is True


def test_a_flag_damaged_before_the_start_comes_from_last_known_good(
    store: Store, make_feed: Callable[..., StoreFeed]
) -> None:
    """The process that starts has never seen the good version; the file has."""
    put(store, Flag.boolean("checkout"), Segment("beta"), Declaration("checkout", safe_variant="off"))
    earlier = make_feed()
    earlier.start(5)
    earlier.stop()
    damage(store, "flagbrake_flag", "document", "{")
    damage(store, "flagbrake_manifest", "checksum", "x")
    damage(store, "flagbrake_segment", "document", "[]")
    feed = make_feed()
    feed.start(5)
    assert feed.snapshot.ruleset.evaluate("checkout", CONTEXT).value is True
    assert feed.snapshot.manifest.get("checkout")
    assert "beta" in feed.snapshot.ruleset.segments
    assert {"flag:checkout", "manifest:checkout", "segment:beta"} <= set(feed.alarms)
    feed.stop()
    once_more = make_feed()
    once_more.start(5)
    assert once_more.snapshot.ruleset.evaluate("checkout", CONTEXT).value is True


def test_a_damaged_flag_that_nobody_ever_read_is_not_served(store: Store, make_feed: Callable[..., StoreFeed]) -> None:
    """There is nothing to serve: FLAG_NOT_FOUND, and the alarm says so."""
    put(store, Flag.boolean("checkout"), Flag.boolean("other"))
    damage(store, "flagbrake_flag", "document", "{", "key = 'checkout'")
    feed = make_feed()
    feed.start(5)
    with pytest.raises(FlagNotFoundError):
        feed.snapshot.ruleset.evaluate("checkout", CONTEXT)
    assert feed.snapshot.ruleset.evaluate("other", CONTEXT).value is True
    assert "it is not served" in feed.alarms["flag:checkout"]


def test_a_row_under_another_flags_key_is_not_believed(store: Store, feed: StoreFeed) -> None:
    """An intact document in the wrong row."""
    put(store, Flag.boolean("a", on=False), Flag.boolean("b"))
    wait_until(lambda: feed.snapshot.revision == 1, why="the flags")
    wrong = document(store, "a")
    damage(store, "flagbrake_flag", "checksum", checksum(wrong), "key = 'b'")
    damage(store, "flagbrake_flag", "document", wrong, "key = 'b'")
    wait_until(lambda: "flag:b" in feed.alarms, why="the alarm")
    assert feed.snapshot.ruleset.evaluate("b", CONTEXT).value is True


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("checksum", "x", {"agent:refunds"}),
        ("document", "{", {"agent:refunds"}),
        ("scope", "agent:refundz", {"agent:refunds", "agent:refundz"}),
        ("scope", "nonsense", {"agent:refunds"}),
    ],
)
@pytest.mark.parametrize("when", ["while it runs", "before it starts"])
def test_a_damaged_kill_counts_as_killed(
    store: Store, make_feed: Callable[..., StoreFeed], when: str, column: str, value: str, expected: set[str]
) -> None:
    """Every scope that any part of the row still names."""
    kill(store, "agent:refunds")
    feed = make_feed()
    if when == "while it runs":
        feed.start(5)
    damage(store, "flagbrake_kill", column, value)
    if when == "before it starts":
        feed.start(5)
    wait_until(lambda: any(name.startswith("kill:") for name in feed.alarms), why="the alarm")
    assert {str(k.scope) for k in feed.snapshot.kills.kills} == expected
    assert all(k.corrupt for k in feed.snapshot.kills.kills)


def test_a_kill_of_which_nothing_is_legible_kills_everything(store: Store, make_feed: Callable[..., StoreFeed]) -> None:
    """Both the document and the scope are gone."""
    kill(store, "agent:refunds")
    damage(store, "flagbrake_kill", "document", "{")
    damage(store, "flagbrake_kill", "scope", "?")
    feed = make_feed()
    feed.start(5)
    assert [k.scope for k in feed.snapshot.kills.kills] == [EVERYTHING]


def test_rows_of_the_wrong_type_are_damage_too(store: Store, store_url: str, feed: StoreFeed) -> None:
    """SQLite keeps whatever is put into a column."""
    if not store_url.startswith("sqlite"):
        pytest.skip("PostgreSQL refuses it")
    put(store, Flag.boolean("checkout"))
    wait_until(lambda: feed.snapshot.revision == 1, why="the flag")
    with store.db.transaction() as conn:
        revision = store.db.bump(conn, other=True)
        conn.exec_driver_sql("UPDATE flagbrake_flag SET document = x'00ff', checksum = 5, revision = ?", (revision,))
    wait_until(lambda: "flag:checkout" in feed.alarms, why="the alarm")
    assert feed.snapshot.ruleset.evaluate("checkout", CONTEXT).value is True
    assert json.dumps(dict(feed.alarms))
