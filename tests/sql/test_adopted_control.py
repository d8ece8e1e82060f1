"""Flags and kills of adopted tables are read, written and lifted in place, on real databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from flagbrake.control.switch import KillSwitch
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import Conflict, InvalidInput, NotFound
from flagbrake.model.flag import Distribution, Rule, Targets, ramp
from flagbrake.model.manifest import Manifest
from flagbrake.model.state import Archive, Replace, SetDistribution, SetOn, SetTargets
from flagbrake.store import Store, open_store
from flagbrake.store.adopt import adopt
from flagbrake_sql.control import SqlControl

TABLES = (
    (
        "CREATE TABLE feature_flags"
        " (name VARCHAR(100) PRIMARY KEY, enabled BOOLEAN, rollout_percentage INTEGER, whitelist TEXT)"
    ),
    "CREATE TABLE kill_switches (name VARCHAR(100) PRIMARY KEY, active BOOLEAN, reason TEXT, activated_by TEXT)",
    "INSERT INTO feature_flags VALUES ('search', TRUE, 25, '[\"dana\"]'), ('old', FALSE, NULL, NULL)",
    "INSERT INTO kill_switches VALUES ('search', FALSE, NULL, NULL), ('agent:refunds', TRUE, 'by hand', 'ken')",
)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store beside a team's own tables, adopted."""
    with open_store(store_url, project="p", environment="e", create=True) as opened:
        with opened.db._engine.connect() as conn, conn.begin():
            for statement in TABLES:
                conn.execute(text(statement.replace(":", "\\:")))
        adopt(opened, by="ann")
        yield opened


def row(store: Store, name: str) -> dict[str, Any]:
    """The team's own row."""
    with store.db.reading() as conn:
        query = text("SELECT enabled, rollout_percentage, whitelist FROM feature_flags WHERE name = :name")
        return dict(conn.execute(query, {"name": name}).mappings().one())


def test_changes_land_in_their_row(store: Store) -> None:
    """On, off, percentage and targets are written where the team's own software reads them, and audited."""
    control = SqlControl(store)
    control.apply(SetDistribution("search", ramp("on", 40_000, "off")), by="ann", comment="up")
    assert row(store, "search")["rollout_percentage"] == 40
    control.apply(SetDistribution("search", "on"), by="ann")
    assert row(store, "search")["rollout_percentage"] == 100
    control.apply(SetOn("search", on=False), by="ann")
    assert not row(store, "search")["enabled"]
    control.apply(SetTargets("search", (Targets("on", ("dana", "ken")),)), by="ann")
    assert row(store, "search")["whitelist"] == '["dana", "ken"]'
    assert next(e.action for e in store.audit.entries("search")) == "set-targets"
    assert {s.flag.key for s in control.states()} == {"search", "old"}


def test_what_is_written_is_what_is_read(store: Store) -> None:
    """The state returned is the state read; one that is true already writes nothing; the version is compared."""
    control = SqlControl(store)
    before = control.read("search")
    after = control.apply(SetDistribution("search", ramp("on", 40_000, "off")), by="ann", expected=before.version)
    assert control.read("search").flag == after.flag
    entries = len(store.audit.entries("search"))
    control.apply(SetDistribution("search", ramp("on", 40_000, "off")), by="ann")
    assert len(store.audit.entries("search")) == entries
    with pytest.raises(Conflict):
        control.apply(SetOn("search", on=False), by="ann", expected=before.version)
    control.apply(Replace(before.flag, before.native), by="ann")
    assert control.read("search").flag == before.flag


def test_what_the_table_cannot_hold_is_refused(store: Store) -> None:
    """A fraction of a percent, a rule, an archive: refused with the cure, and the row stays."""
    control, before = SqlControl(store), row(store, "search")
    with pytest.raises(InvalidInput, match=r"whole percents.* Try: 12 or 13"):
        control.apply(SetDistribution("search", ramp("on", 12_500, "off")), by="ann")
    flag = control.read("search").flag
    ruled = Replace(
        type(flag)(flag.key, flag.kind, flag.variants, "on", off_variant="off", rules=(Rule("r", (), "on"),))
    )
    for change in (ruled, Archive("search")):
        with pytest.raises(InvalidInput, match="adopted table"):
            control.apply(change, by="ann")
    assert row(store, "search") == before
    with pytest.raises(NotFound, match="search"):
        control.read("serch")


def test_their_kills_are_listed_and_lifted(store: Store) -> None:
    """A kill made by hand stands in the list, and a restore sets `active` to false in their row."""
    switch = KillSwitch.over(store, writer=FlagWriter(SqlControl(store), lock=store.locks), manifest=Manifest)
    (standing,) = switch.standing().kills
    assert (str(standing.kill.scope), standing.kill.reason, standing.kill.by) == ("agent:refunds", "by hand", "ken")
    switch.restore("agent:refunds", by="ann", reason="looked at", lift_only=True, wait=0)
    assert switch.standing().kills == ()
    with store.db.reading() as conn:
        assert not conn.execute(text("SELECT max(CASE WHEN active THEN 1 ELSE 0 END) FROM kill_switches")).scalar()
    assert store.audit.entries(action="lift")[0].by == "ann"


def test_a_split_off_first_has_no_place(store: Store) -> None:
    """Our buckets begin with `on`: a split that lists `off` first would move everybody."""
    with pytest.raises(InvalidInput, match="adopted table"):
        SqlControl(store).apply(SetDistribution("search", ramp("off", 40_000, "on")), by="ann")
    assert isinstance(SqlControl(store).read("search").flag.default, Distribution)
