"""The tables that many teams start with are served in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError
from sqlalchemy import text

from flagbrake.errors import InvalidInput, NotFound
from flagbrake.model.flag import Flag
from flagbrake.model.kill import EVERYTHING, Scope
from flagbrake.store import Store, open_store
from flagbrake.store.adopt import adopt
from flagbrake.store.adopted import flag_of, flags_of, kill_of
from flagbrake.store.feed import StoreFeed
from tests.feed.conftest import HOME
from tests.support.storing import delete, kill, put
from tests.support.waiting import wait_until

TABLES = """
CREATE TABLE feature_flags (name VARCHAR(100) PRIMARY KEY, enabled BOOLEAN, rollout_percentage NUMERIC,
                            whitelist TEXT, created_at TIMESTAMP, updated_at TIMESTAMP);
CREATE TABLE kill_switches (name VARCHAR(100) PRIMARY KEY, active BOOLEAN, reason TEXT, activated_by TEXT,
                            activated_at TIMESTAMP, updated_at TIMESTAMP);
CREATE TABLE agent_logs (version TEXT, success BOOLEAN, error TEXT, latency_ms REAL, timestamp TIMESTAMP);
INSERT INTO feature_flags (name, enabled, rollout_percentage, whitelist) VALUES
  ('new-search', TRUE, 0, '["dana"]'), ('checkout', TRUE, 100, NULL), ('old', FALSE, NULL, '');
INSERT INTO kill_switches (name, active) VALUES ('search', FALSE), ('checkout', FALSE), ('all', FALSE);
"""


def run(store: Store, statement: str) -> None:
    """A statement of the team's own software: it knows nothing of flagbrake and bumps nothing."""
    with store.db._engine.connect() as conn, conn.begin():
        for part in statement.split(";"):
            if part.strip():
                conn.execute(text(part.replace(":", r"\:")))


@pytest.fixture
def legacy(store: Store) -> Store:
    run(store, TABLES)
    return store


@pytest.fixture
def following(legacy: Store, make_feed: Callable[..., StoreFeed]) -> StoreFeed:
    """Adopted, and followed."""
    assert adopt(legacy, by="tester") == ("feature_flags", "kill_switches", "agent_logs")
    feed = make_feed()
    feed.start(5)
    return feed


def value(feed: StoreFeed, key: str, user: str = "u1") -> Any:
    return feed.snapshot.ruleset.evaluate(key, EvaluationContext(user)).value


def scopes(feed: StoreFeed) -> set[str]:
    return {str(k.scope) for k in feed.snapshot.kills.kills}


def listed(store: Store) -> set[str]:
    """The adopted flags of a listing."""
    with store.db.reading() as conn:
        return {flag.key for flag in store.adoption.flags(conn)}


def test_existing_rows_serve(following: StoreFeed, legacy: Store) -> None:
    """enabled, the percentage and the whitelist; a flag that is off serves off."""
    assert value(following, "checkout") is True
    assert value(following, "old") is False
    assert value(following, "new-search", "dana") is True
    assert value(following, "new-search", "ken") is False
    assert not following.alarms
    assert {"checkout", "old", "new-search"} == listed(legacy)


def test_an_existing_update_still_stops_agents(following: StoreFeed, legacy: Store) -> None:
    """The statement people have in their runbooks, and the one that lets go again."""
    run(legacy, "UPDATE kill_switches SET active = TRUE, reason = 'bad', activated_by = 'ana' WHERE name = 'search'")
    wait_until(lambda: scopes(following) == {"agent:search"}, timeout=3, why="the kill")
    (killed,) = following.snapshot.kills.kills
    assert (killed.reason, killed.by, killed.lane) == ("bad", "ana", "adopted")
    assert [k.id for k in legacy.kills.read().kills] == ["adopted:search"]
    run(legacy, "UPDATE kill_switches SET active = FALSE WHERE name = 'search'")
    wait_until(lambda: not scopes(following), timeout=3, why="the end of it")


@pytest.mark.parametrize(
    ("name", "scope"),
    [("checkout", "flag:checkout"), ("all", "*"), ("tenant:acme", "tenant:acme"), ("brand-new", "agent:brand-new")],
)
def test_what_a_switch_names(following: StoreFeed, legacy: Store, name: str, scope: str) -> None:
    """A scope as written, everything, a flag of that name, else an agent; inserted or updated."""
    run(legacy, f"DELETE FROM kill_switches WHERE name = '{name}'")
    run(legacy, f"INSERT INTO kill_switches (name, active) VALUES ('{name}', TRUE)")
    wait_until(lambda: scopes(following) == {scope}, timeout=3, why="the kill")
    run(legacy, "DELETE FROM kill_switches")
    wait_until(lambda: not scopes(following), timeout=3, why="the deletion")


def test_a_changed_row_is_served(following: StoreFeed, legacy: Store) -> None:
    """Updated, inserted and deleted rows of feature_flags, in a running process."""
    run(legacy, "UPDATE feature_flags SET enabled = FALSE WHERE name = 'checkout'")
    wait_until(lambda: value(following, "checkout") is False, timeout=3, why="the update")
    run(legacy, "INSERT INTO feature_flags (name, enabled) VALUES ('fresh', TRUE)")
    wait_until(lambda: "fresh" in following.snapshot.ruleset.flags, timeout=3, why="the insert")
    run(legacy, "DELETE FROM feature_flags WHERE name = 'fresh'")
    wait_until(lambda: "fresh" not in following.snapshot.ruleset.flags, timeout=3, why="the deletion")


def test_flagbrakes_own_flag_wins_with_an_alarm(following: StoreFeed, legacy: Store) -> None:
    """Of two flags of one name ours is served; when it goes, theirs is."""
    put(legacy, Flag.boolean("checkout", on=False))
    wait_until(lambda: value(following, "checkout") is False, why="ours")
    wait_until(lambda: "adopted:checkout" in following.alarms, why="the alarm")
    run(legacy, "UPDATE feature_flags SET rollout_percentage = 99 WHERE name = 'checkout'")
    delete(legacy, "checkout")
    wait_until(lambda: "adopted:checkout" not in following.alarms, why="the alarm's end")
    assert following.snapshot.ruleset.flags["checkout"].on
    assert listed(legacy) == {"checkout", "old", "new-search"}


def test_own_kills_and_adopted_kills_stand_together(following: StoreFeed, legacy: Store) -> None:
    """A kill of ours that is announced does not let go of theirs, not even for a moment."""
    seen: list[set[str]] = []
    run(legacy, "UPDATE kill_switches SET active = TRUE WHERE name = 'search'")
    wait_until(lambda: scopes(following) == {"agent:search"}, why="theirs")
    following.subscribe(lambda view: seen.append({str(k.scope) for k in view.snapshot.kills}))
    kill(legacy, "tool:email")
    wait_until(lambda: scopes(following) == {"agent:search", "tool:email"}, why="both")
    assert all("agent:search" in each for each in seen)


def test_an_unreadable_row_of_flags_keeps_its_last_good_version(following: StoreFeed, legacy: Store) -> None:
    """101 per cent, or a whitelist that is none."""
    run(legacy, "UPDATE feature_flags SET rollout_percentage = 101 WHERE name = 'checkout'")
    wait_until(lambda: "flag:checkout" in following.alarms, why="the alarm")
    assert value(following, "checkout") is True
    assert "101 %" in following.alarms["flag:checkout"]
    run(legacy, "UPDATE feature_flags SET rollout_percentage = 0 WHERE name = 'checkout'")
    wait_until(lambda: value(following, "checkout") is False, why="the mended row")
    assert "flag:checkout" not in following.alarms


def test_a_switch_that_cannot_be_read_counts_as_active(following: StoreFeed, legacy: Store) -> None:
    """NULL is neither true nor false; a name that is no scope may have meant anything."""
    run(legacy, "UPDATE kill_switches SET active = NULL WHERE name = 'search'")
    wait_until(lambda: scopes(following) == {"agent:search"}, why="killed to be safe")
    assert "active is None" in following.alarms["kill:search"]
    run(legacy, "UPDATE kill_switches SET active = FALSE")
    wait_until(lambda: not scopes(following), why="the mended row")
    run(legacy, "INSERT INTO kill_switches (name, active) VALUES ('planet:mars', TRUE)")
    wait_until(lambda: scopes(following) == {"*"}, why="killed to be safe")


def test_it_outlives_an_outage(following: StoreFeed, legacy: Store, make_feed: Callable[..., StoreFeed]) -> None:
    """Adopted flags and kills are in last known good like any other."""
    run(legacy, "UPDATE kill_switches SET active = TRUE WHERE name = 'search'")
    wait_until(lambda: scopes(following) == {"agent:search"}, why="the kill")
    following.stop()
    saved = following.last_known_good.read()
    other = make_feed()
    other._memory.saved = saved
    assert other._serve_saved()
    assert value(other, "checkout") is True
    assert scopes(other) == {"agent:search"}


def test_a_process_that_runs_learns_of_the_adoption(
    legacy: Store, store_url: str, make_feed: Callable[..., StoreFeed]
) -> None:
    """And another environment does not."""
    feed = make_feed()
    feed.start(5)
    with pytest.raises(FlagNotFoundError):
        value(feed, "checkout")
    adopt(legacy)
    wait_until(lambda: "checkout" in feed.snapshot.ruleset.flags, why="the adopted flags")
    with open_store(store_url, project="shop", environment="staging"):
        staging = make_feed(environment="staging")
        staging.start(5)
        assert not staging.snapshot.ruleset.flags


def test_adopting_twice_changes_nothing(following: StoreFeed, legacy: Store) -> None:
    """The record and the triggers are as after the first time; the audit says who."""
    adopt(legacy, by="tester")
    before = legacy.revision()
    run(legacy, "UPDATE kill_switches SET active = TRUE WHERE name = 'search'")
    assert legacy.revision() == before + 1
    assert [entry.by for entry in legacy.audit.entries(limit=2)] == ["tester", "tester"]
    assert legacy.audit.verify() is None


@pytest.mark.postgresql
def test_a_long_transaction_of_theirs_does_not_hold_up_a_kill(
    postgresql_url: str, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """Their UPDATE waits for its commit for minutes: the counter is not locked meanwhile."""
    with open_store(postgresql_url, create=True, **HOME) as store:
        run(store, TABLES)
        adopt(store)
        feed = make_feed_at(postgresql_url)
        feed.start(5)
        with store.db._engine.connect() as theirs, theirs.begin() as transaction:
            theirs.execute(text("UPDATE kill_switches SET active = TRUE"))
            kill(store, "tool:email")
            wait_until(lambda: scopes(feed) == {"tool:email"}, timeout=3, why="our kill")
            transaction.commit()
        wait_until(lambda: "*" in scopes(feed), timeout=3, why="their kill")
        run(store, "TRUNCATE kill_switches")
        wait_until(lambda: scopes(feed) == {"tool:email"}, timeout=3, why="the truncation")


@pytest.mark.postgresql
def test_a_role_that_knows_nothing_of_flagbrake_still_stops_agents(
    postgresql_url: str, make_feed_at: Callable[..., StoreFeed]
) -> None:
    """The team's software has rights on its own tables only."""
    with open_store(postgresql_url, create=True, **HOME) as store:
        run(store, TABLES)
        adopt(store)
        feed = make_feed_at(postgresql_url)
        feed.start(5)
        with store.db._engine.connect() as conn, conn.begin():
            conn.execute(text("DROP ROLE IF EXISTS theirs_alone"))
            conn.execute(text("CREATE ROLE theirs_alone"))
            conn.execute(text("GRANT SELECT, UPDATE ON kill_switches TO theirs_alone"))
        run(store, "SET LOCAL ROLE theirs_alone; UPDATE kill_switches SET active = TRUE WHERE name = 'search'")
        wait_until(lambda: scopes(feed) == {"agent:search"}, timeout=3, why="the kill")


def test_nothing_to_adopt_says_what_was_looked_for(store: Store) -> None:
    """And changes nothing."""
    with pytest.raises(NotFound, match="None of feature_flags, kill_switches, agent_logs"):
        adopt(store)
    assert store.revision() == 0


def test_a_table_of_another_shape_is_refused(store: Store) -> None:
    """Named with what it has and what is missing."""
    run(store, "CREATE TABLE feature_flags (name TEXT, value TEXT)")
    with pytest.raises(InvalidInput, match="feature_flags has no column enabled"):
        adopt(store)


@given(st.lists(st.text(min_size=1).filter(lambda s: "\x00" not in s), max_size=5))
def test_names_survive_every_form_of_a_list(names: list[str]) -> None:
    """JSON, and PostgreSQL's array with its quoting."""
    import json

    wanted = tuple(dict.fromkeys(names))
    as_json = flag_of({"name": "f", "enabled": True, "whitelist": json.dumps(names)})
    quoted = (name.replace("\\", "\\\\").replace('"', '\\"') for name in names)
    as_array = flag_of({"name": "f", "enabled": 1, "whitelist": "{" + ",".join(f'"{q}"' for q in quoted) + "}"})
    for flag in (as_json, as_array):
        assert (flag.targets[0].keys if flag.targets else ()) == wanted


def test_a_comma_list_and_numbers() -> None:
    """What people write by hand."""
    assert flag_of({"name": "f", "enabled": "yes", "whitelist": "dana, ken ,,4"}).targets[0].keys == (
        "dana",
        "ken",
        "4",
    )
    for strange in ('{"a": 1}', "[1, [2]]", "[", "{a,{b}}"):
        with pytest.raises(InvalidInput):
            flag_of({"name": "f", "enabled": True, "whitelist": strange})


def test_two_rows_of_one_name_are_nobodys_flag() -> None:
    """Without a unique key the table may hold both an on and an off."""
    rows = [{"name": "f", "enabled": True}, {"name": "f", "enabled": False}, {"name": "f", "enabled": True}]
    documents, faults = flags_of(rows)
    assert documents == {}
    assert "several rows" in faults["f"]


@pytest.mark.parametrize("active", [True, 1, "true", "t", "YES"])
def test_active_in_every_spelling(active: Any) -> None:
    """SQLite's 1, PostgreSQL's true, a text column's yes."""
    found = kill_of({"name": "x", "active": active}, environment="e", epoch=3, is_flag=False)
    assert found is not None
    assert (found[0].scope, found[0].epoch, found[1]) == (Scope.parse("agent:x"), 3, "")


def test_a_kill_whose_time_is_strange_still_stands() -> None:
    """When it was is told, not decided on."""
    found = kill_of(
        {"name": "GLOBAL", "active": 1, "activated_at": "last tuesday"}, environment="e", epoch=1, is_flag=False
    )
    assert found is not None
    assert (found[0].scope, found[0].corrupt) == (EVERYTHING, False)
