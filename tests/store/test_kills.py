"""The store's lane: kills that stand whatever happens to their rows."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagbrake.errors import Conflict, InvalidInput, LockBusy, NotFound
from flagbrake.model.codec import kill_from_data
from flagbrake.model.flag import Flag
from flagbrake.model.kill import EVERYTHING, Kill, KillMode, Scope
from flagbrake.model.manifest import Declaration
from flagbrake.store import Store, notify_channel
from flagbrake.store.engine import PAYLOAD_LIMIT

AT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def a_kill(kill_id: str = "k1", scope: str = "agent:refunds", **rest) -> Kill:
    fields = {"environment": "production", "reason": "refunds the wrong people", "by": "ann", "at": AT, "epoch": 0}
    return Kill(kill_id, Scope.parse(scope), **{**fields, **rest})


def test_a_kill_stands_with_the_epoch_it_got(store: Store):
    """The epoch is the revision of its transaction; reading returns exactly what was stored."""
    with store.db.transaction() as conn:
        store.flags.write(conn, Flag.boolean("checkout"))
    placed = store.kills.kill(a_kill(), deadline=5)
    assert placed == a_kill(epoch=2)
    snapshot = store.kills.read()
    assert snapshot.kills == (placed,)
    assert (snapshot.epoch, snapshot.environment) == (2, "production")


def test_every_field_of_a_kill_survives(store: Store):
    """Mode, fallback, value, expiry: nothing is lost on the way."""
    kill = a_kill(
        scope="flag:checkout", mode=KillMode.FALLBACK, serve="v1", serve_value={"a": [1, None]}, expires_at=AT
    )
    placed = store.kills.kill(kill, deadline=5)
    assert store.kills.read().kills == (placed,) == (replace(kill, epoch=1),)


def test_the_epoch_moves_with_kills_and_lifts_only(store: Store):
    """A flag change bumps the revision and leaves the kill epoch, so nobody has to acknowledge it."""
    store.kills.kill(a_kill(), deadline=5)
    with store.db.transaction() as conn:
        store.flags.write(conn, Flag.boolean("checkout"))
    assert store.kills.read().epoch == 1
    assert store.kills.lift(a_kill(), by="bob", reason="mended", deadline=5) == 3
    assert store.kills.read().epoch == 3


def test_a_repeated_kill_changes_nothing(store: Store):
    """A retry after a lost answer returns the kill as it stands."""
    first = store.kills.kill(a_kill(), deadline=5)
    assert store.kills.kill(a_kill(reason="again"), deadline=5) == first
    assert store.revision() == 1
    assert len(store.audit.entries()) == 1


def test_a_late_retry_does_not_bring_a_lifted_kill_back(store: Store):
    """A lifted kill's id cannot be used again."""
    store.kills.kill(a_kill(), deadline=5)
    store.kills.lift(a_kill(), by="bob", reason="mended", deadline=5)
    with pytest.raises(Conflict, match="lifted already"):
        store.kills.kill(a_kill(), deadline=5)
    assert store.kills.read().kills == ()


def test_a_lift_says_who_and_why_and_is_repeatable(store: Store):
    """Lifting again returns the first epoch; lifting what never was raises NotFound."""
    placed = store.kills.kill(a_kill(), deadline=5)
    epoch = store.kills.lift(placed, by="bob", reason="mended", deadline=5)
    assert store.kills.lift(placed, by="eve", reason="me too", deadline=5) == epoch
    (lifted,) = store.kills.lifted()
    assert (lifted.kill, lifted.by, lifted.reason, lifted.epoch) == (placed, "bob", "mended", epoch)
    with pytest.raises(NotFound, match="No kill k9"):
        store.kills.lift(a_kill("k9"), by="bob", reason="?", deadline=5)


def test_a_kill_for_another_environment_is_refused(store: Store):
    """A staging kill never lands in production, nor the other way round."""
    with pytest.raises(InvalidInput, match="staging"):
        store.kills.kill(a_kill(environment="staging"), deadline=5)
    assert store.kills.read().kills == ()


def test_kills_and_lifts_are_in_the_audit(store: Store):
    """Who, why, before and after, in the transaction of the kill itself."""
    store.kills.kill(a_kill(), deadline=5)
    store.kills.lift(a_kill(), by="bob", reason="mended", deadline=5)
    lift, kill = store.audit.entries("agent:refunds")
    assert (kill.action, kill.by, kill.reason, kill.lane) == ("kill", "ann", "refunds the wrong people", "store")
    assert kill_from_data(kill.after) == a_kill(epoch=1)
    assert (lift.action, lift.by, lift.reason) == ("lift", "bob", "mended")
    assert kill_from_data(lift.before) == a_kill(epoch=1)
    assert lift.after == {"id": "k1", "lifted_epoch": 2}
    assert store.audit.verify() is None


# --- prior states ------------------------------------------------------------------------------------------


def test_a_kill_keeps_what_its_flags_were(store: Store):
    """The flags that a scope covers, by key or by declaration: document, version and checksum."""
    with store.db.transaction() as conn:
        store.flags.write_all(conn, [Flag.boolean("refunds-model"), Flag.boolean("checkout"), Flag.boolean("other")])
        store.manifest.write(conn, Declaration("refunds-model", scopes=(Scope.parse("agent:refunds.model"),)))
    rows = {row.key: row for row in store.flags.all()}
    placed = store.kills.kill(a_kill(), deadline=5)
    row = rows["refunds-model"]
    kept = {"key": row.key, "version": row.token, "checksum": row.checksum, "native": row.data(), "flag": row.data()}
    assert store.kills.prior(placed.id) == [kept]
    store.kills.kill(a_kill("k2", "flag:checkout"), deadline=5)
    assert [entry["key"] for entry in store.kills.prior("k2")] == ["checkout"]
    with store.db.transaction() as conn:
        store.flags.write_all(conn, [Flag.boolean("shop_a.x"), Flag.boolean("shop_a"), Flag.boolean("shopza.x")])
    store.kills.kill(a_kill("k3", "flag:shop_a"), deadline=5)
    assert [entry["key"] for entry in store.kills.prior("k3")] == ["shop_a", "shop_a.x"]
    store.kills.lift(placed, by="bob", reason="mended", deadline=5)
    assert store.kills.prior(placed.id) == [kept]


def test_prior_states_of_a_vendor_come_back_as_given(store: Store):
    """What control read from a vendor is kept as it is, with the kill or right after it."""
    given = [{"key": "x", "version": "17", "checksum": "ab", "native": {"environments": {"p": {"on": True}}}}]
    store.kills.kill(a_kill(), deadline=5, prior=given)
    assert store.kills.prior("k1") == given
    store.kills.remember("k1", [])
    assert store.kills.prior("k1") == []
    with pytest.raises(NotFound):
        store.kills.remember("k9", [])


def test_a_kill_of_everything_does_not_carry_every_document(store: Store):
    """Beyond a few hundred flags only versions and checksums are kept, so that the kill is quick."""
    with store.db.transaction(deadline=30) as conn:
        store.flags.write_all(conn, [Flag.boolean(f"f{n}") for n in range(500)])
    store.kills.kill(a_kill(scope="*"), deadline=10)
    prior = store.kills.prior("k1")
    assert len(prior) == 500
    assert set(prior[0]) == {"key", "version", "checksum"}


def test_damaged_prior_states_are_not_given_out(store: Store, damage):
    """Unknown is None: restore must not write a document that nobody had."""
    store.kills.kill(a_kill(), deadline=5, prior=[{"key": "x", "version": "1", "checksum": "2"}])
    damage("UPDATE flagbrake_kill SET prior = '[]'")
    assert store.kills.prior("k1") is None
    assert not store.kills.read().kills[0].corrupt


def test_an_unreadable_declaration_does_not_hinder_a_kill(store: Store, damage):
    """An emergency kill never fails over something else's row."""
    with store.db.transaction() as conn:
        store.manifest.write(conn, Declaration("checkout"))
        store.flags.write(conn, Flag.boolean("checkout"))
    damage("UPDATE flagbrake_manifest SET document = 'x'")
    damage("UPDATE flagbrake_flag SET document = 'x'")
    store.kills.kill(a_kill(scope="*"), deadline=5)
    assert [entry["key"] for entry in store.kills.prior("k1")] == ["checkout"]


# --- corruption --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["scope", "document", "checksum", "epoch", "id"])
def test_damage_to_any_column_leaves_the_scope_killed(store: Store, damage, column):
    """Whatever one column becomes, what was killed stays killed and the kill is marked corrupt."""
    store.kills.kill(a_kill(), deadline=5)
    value = 9 if column == "epoch" else "rubbish"
    damage(f"UPDATE flagbrake_kill SET {column} = :v", v=value)
    kills = store.kills.read().kills
    assert kills
    assert all(kill.corrupt for kill in kills)
    assert any(kill.scope.covers(Scope.parse("agent:refunds")) for kill in kills)


def test_a_row_that_names_two_scopes_kills_both(store: Store, damage):
    """If the column says one thing and the document another, both are killed."""
    store.kills.kill(a_kill(), deadline=5)
    damage("UPDATE flagbrake_kill SET scope = 'tool:pay'")
    assert {str(kill.scope) for kill in store.kills.read().kills} == {"agent:refunds", "tool:pay"}


def test_a_row_that_names_no_scope_kills_everything(store: Store, damage):
    """Nobody knows what it was, so it is everything."""
    store.kills.kill(a_kill(), deadline=5)
    damage("UPDATE flagbrake_kill SET scope = 'x', document = '{'")
    (kill,) = store.kills.read().kills
    assert (kill.scope, kill.corrupt) == (EVERYTHING, True)


def test_a_damaged_kill_can_be_lifted_by_its_id(store: Store, damage):
    """It is listed, and lifting works on what is listed."""
    store.kills.kill(a_kill(), deadline=5)
    damage("UPDATE flagbrake_kill SET document = 'rubbish'")
    (kill,) = store.kills.read().kills
    store.kills.lift(kill, by="bob", reason="it was damaged", deadline=5)
    assert store.kills.read().kills == ()
    assert store.kills.lifted()[0].kill.corrupt


_IDS = itertools.count()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 4))
def test_no_flipped_bit_of_a_document_resurrects(store: Store, damage, where, bit):
    """Any one changed character of the document: still killed, and marked."""
    kill_id = f"k{next(_IDS)}"
    store.kills.kill(a_kill(kill_id), deadline=5)
    with store.db.reading() as conn:
        document = store.kills._row(conn, kill_id)["document"]
    place = int(where * len(document))
    flipped = chr(ord(document[place]) ^ (1 << bit))
    damage(
        "UPDATE flagbrake_kill SET document = :d WHERE id = :id",
        d=document[:place] + flipped + document[place + 1 :],
        id=kill_id,
    )
    kills = [kill for kill in store.kills.read().kills if kill.id == kill_id]
    assert all(kill.corrupt for kill in kills)
    assert any(kill.scope.covers(Scope.parse("agent:refunds")) for kill in kills)
    store.kills.lift(a_kill(kill_id), by="t", reason="", deadline=5)


# --- travel ------------------------------------------------------------------------------------------------


def test_a_kill_keeps_its_deadline(store: Store):
    """A store that another writer holds makes the lane raise within its deadline, not later."""
    with store.db.transaction() as conn:
        store.db.bump(conn)
        took: list[float] = []

        def kill() -> None:
            start = time.monotonic()
            with pytest.raises(LockBusy):
                store.kills.kill(a_kill(), deadline=0.3)
            took.append(time.monotonic() - start)

        thread = threading.Thread(target=kill)
        thread.start()
        thread.join(10)
    assert 0.2 < took[0] < 2.5
    assert store.kills.read().kills == ()


@pytest.mark.postgresql
@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_kills_travel_in_the_announcement(store: Store, place):
    """All standing kills are in the payload, as data, with the epoch; after a lift, what still stands."""
    with psycopg.connect(place.url, autocommit=True) as watcher:
        watcher.execute(f"LISTEN {notify_channel(store.project, 'production')}")
        first = store.kills.kill(a_kill(), deadline=5)
        second = store.kills.kill(a_kill("k2", "tool:pay"), deadline=5)
        store.kills.lift(first, by="bob", reason="mended", deadline=5)
        heard = [json.loads(n.payload) for n in watcher.notifies(timeout=5, stop_after=3)]
        assert [[kill_from_data(k) for k in body["kills"]] for body in heard] == [[first], [first, second], [second]]
        assert [body["revision"] for body in heard] == [1, 2, 3]
        assert not any(body["reload"] for body in heard)
        store.kills.kill(a_kill("k3", reason="long " * PAYLOAD_LIMIT), deadline=5)
        (body,) = (json.loads(n.payload) for n in watcher.notifies(timeout=5, stop_after=1))
        assert body == {"revision": 4, "kills": None, "flags": None, "reload": True}


def test_kills_from_many_threads_all_stand(store: Store):
    """Ten at once: ten kills, ten epochs, one whole chain."""
    threads = [
        threading.Thread(target=store.kills.kill, args=(a_kill(f"k{n}", f"agent:a{n}"),), kwargs={"deadline": 20})
        for n in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    snapshot = store.kills.read()
    assert sorted(kill.epoch for kill in snapshot.kills) == list(range(1, 11))
    assert snapshot.epoch == 10
    assert store.audit.verify() is None
