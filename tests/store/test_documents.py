"""Flags, segments and declarations as rows."""

from __future__ import annotations

import pytest

from flagbrake.errors import Conflict, InvalidInput
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.codec import loads
from flagbrake.model.flag import Flag, KeySet, Rule, Segment, Targets, ramp
from flagbrake.model.kill import Scope
from flagbrake.model.manifest import Declaration
from flagbrake.store import Store

RICH = Flag.boolean(
    "checkout",
    default=ramp("on", 12_345, "off"),
    targets=(Targets("on", ("ann", "bob")),),
    rules=(Rule("r1", (Clause(Attribute.parse("country"), Op.IN, ("DE", "FR")),), "on"),),
    tags=("team-a",),
    description="Ünïcode ✓",
)


def test_a_flag_comes_back_as_it_was_written(store: Store):
    """Document and noun are the same, with the row's version, however rich the flag."""
    with store.db.transaction() as conn:
        written = store.flags.write(conn, RICH)
    row = store.flags.get("checkout")
    assert row == written
    assert row.revision == store.revision() == 1
    decoded = row.decode()
    assert decoded.version == row.version == 1
    assert decoded == Flag(**{f: getattr(RICH, f) for f in RICH.__dataclass_fields__} | {"version": 1})


def test_versions_only_grow_and_equal_definitions_share_a_checksum(store: Store):
    """Each write adds one, whatever the flag says itself; the same definition has the same checksum."""
    seen = []
    for on in (True, False, True):
        with store.db.transaction() as conn:
            seen.append(store.flags.write(conn, Flag.boolean("checkout", on=on, version=99)))
    assert [row.version for row in seen] == [1, 2, 3]
    assert seen[0].checksum == seen[2].checksum != seen[1].checksum
    assert len({row.token for row in seen}) == 3
    assert "version" not in loads(seen[0].document)


def test_deletion_leaves_a_tombstone(store: Store):
    """A deleted flag is gone from reads, shows in since(), and a new one of its key goes on counting."""
    with store.db.transaction() as conn:
        store.flags.write(conn, Flag.boolean("checkout"))
    with store.db.transaction() as conn:
        store.flags.delete(conn, "checkout")
    assert store.flags.get("checkout") is None
    assert store.flags.all() == []
    assert store.flags.keys() == []
    (tombstone,) = store.flags.since(1)
    assert tombstone.deleted
    assert tombstone.revision == 2
    with pytest.raises(InvalidInput, match="is deleted"):
        tombstone.decode()
    with store.db.transaction() as conn:
        assert store.flags.write(conn, Flag.boolean("checkout"), expected="").version == 3
    assert not store.flags.since(2)[0].deleted


def test_since_returns_what_changed_and_nothing_else(store: Store):
    """Rows changed after a revision, in the order of their change."""
    for key in ("a", "b", "c", "a"):
        with store.db.transaction() as conn:
            store.flags.write(conn, Flag.boolean(key))
    assert [(row.key, row.revision) for row in store.flags.since(2)] == [("c", 3), ("a", 4)]
    assert store.flags.since(4) == []


def test_a_write_against_an_old_version_is_refused(store: Store):
    """Compare-and-swap: another token than the stored one raises Conflict and nothing is written."""
    with store.db.transaction() as conn:
        first = store.flags.write(conn, Flag.boolean("checkout"))
    with store.db.transaction() as conn:
        second = store.flags.write(conn, Flag.boolean("checkout", on=False), expected=first.token)
    for stale in (first.token, "", "2:0000"):
        with pytest.raises(Conflict, match="changed by somebody else"), store.db.transaction() as conn:
            store.flags.write(conn, Flag.boolean("checkout"), expected=stale)
        with pytest.raises(Conflict), store.db.transaction() as conn:
            store.flags.delete(conn, "checkout", expected=stale)
    assert store.flags.get("checkout") == second
    with pytest.raises(Conflict), store.db.transaction() as conn:
        store.flags.write(conn, Flag.boolean("other"), expected=first.token)


@pytest.mark.parametrize(
    "broken", ["", "{}", "not json", '{"key":"checkout"}', RICH.key, '{"key":"checkout","kind":"boolean"}']
)
def test_a_damaged_row_is_known_as_damaged(store: Store, damage, broken):
    """A document that is not what was written never decodes; the rows beside it do."""
    with store.db.transaction() as conn:
        store.flags.write_all(conn, [RICH, Flag.boolean("other")])
    assert damage("UPDATE flagbrake_flag SET document = :d WHERE key = 'checkout'", d=broken) == 1
    rows = {row.key: row for row in store.flags.all()}
    assert not rows["checkout"].intact
    with pytest.raises(InvalidInput, match="flag 'checkout' is not what was written"):
        rows["checkout"].decode()
    assert rows["other"].decode().key == "other"


def test_archived_flags_are_kept_and_marked(store: Store):
    """An archived flag keeps its definition."""
    with store.db.transaction() as conn:
        store.flags.write(conn, Flag.boolean("checkout", archived=True))
    (row,) = store.flags.all()
    assert row.archived
    assert row.decode().archived


def test_segments_and_declarations_are_kept_alike(store: Store):
    """They too come back as written, carry the revision of their change, and leave tombstones."""
    segment = Segment("beta", included=(KeySet(("ann",)),))
    declaration = Declaration("checkout", safe_variant="off", safe_value=False, scopes=(Scope.parse("agent:refunds"),))
    with store.db.transaction() as conn:
        store.segments.write(conn, segment)
        store.manifest.write(conn, declaration)
    found = store.segments.get("beta")
    declared = store.manifest.get("checkout")
    assert found is not None
    assert found.decode() == Segment("beta", included=(KeySet(("ann",)),), version=1)
    assert declared is not None
    assert declared.decode() == declaration
    assert (found.revision, declared.revision) == (1, 1)
    with store.db.transaction() as conn:
        store.segments.delete(conn, "beta")
    assert [row.deleted for row in store.segments.since(1)] == [True]


def test_many_flags_are_written_in_one_revision(store: Store):
    """Two thousand flags, one transaction, one revision; a key twice counts once, the last one."""
    flags = [Flag.boolean(f"flag-{n}") for n in range(2000)]
    with store.db.transaction(deadline=30) as conn:
        store.flags.write_all(conn, [*flags, Flag.boolean("flag-7", on=False)])
    assert len(store.flags.all()) == 2000
    row = store.flags.get("flag-7")
    assert row is not None
    assert (row.revision, row.version, row.decode().on) == (1, 1, False)


@pytest.mark.parametrize("key", ["", "x" * 301, "a\0b", "\ud800"])
def test_a_key_that_no_database_holds_is_refused(store: Store, key):
    """It raises InvalidInput, on every database alike, and nothing is written."""
    with pytest.raises(InvalidInput), store.db.transaction() as conn:
        store.flags.write(conn, Flag.boolean(key))
    assert store.revision() == 0


def test_rows_are_found_by_many_keys(store: Store):
    """Tokens without documents, documents of some keys; deleted rows are in neither."""
    with store.db.transaction(deadline=30) as conn:
        store.flags.write_all(conn, [Flag.boolean(f"f{n:04}") for n in range(1200)])
        store.flags.delete(conn, "f0003")
    rows = {row.key: row for row in store.flags.all()}
    assert dict(store.flags.tokens()) == {key: row.token for key, row in rows.items()}
    assert [key for key, _ in store.flags.tokens(under="f0007")] == ["f0007"]
    asked = [f"f{n:04}" for n in range(1100)]
    assert store.flags.some([*asked, "none", "f0001"]) == [rows[key] for key in asked if key != "f0003"]
