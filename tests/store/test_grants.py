"""The restricted role, tried on a real server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from flagbrake.errors import ConfigError, InvalidInput, NotAllowed
from flagbrake.model.flag import Flag
from flagbrake.model.outcome import Outcome, Result
from flagbrake.store import Store, open_store, schema
from flagbrake.store.grants import grants
from flagbrake.store.processes import Presence
from tests.store.test_kills import a_kill
from tests.support.servers import PostgreSQL, psql
from tests.support.waiting import wait_until

pytestmark = pytest.mark.postgresql
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def owner(postgresql_url: str) -> Iterator[Store]:
    with open_store(postgresql_url, project="shop", environment="production", create=True) as store:
        with store.db.transaction() as conn:
            store.flags.write(conn, Flag.boolean("checkout"))
        store.kills.kill(a_kill(), deadline=5)
        yield store


@pytest.fixture
def agent_url(owner: Store, postgresql: PostgreSQL, postgresql_url: str) -> Iterator[str]:
    """The store as a restricted role reaches it, with the grants given by the real psql."""
    role = f"agents_{secrets.token_hex(4)}"
    postgresql.execute(f"CREATE ROLE {role} LOGIN")
    for _ in range(2):  # again, as after an upgrade
        psql(postgresql_url, grants("postgresql", role))
    yield postgresql_url.replace("postgres@", f"{role}@")
    psql(postgresql_url, f"DROP OWNED BY {role}")
    postgresql.execute(f"DROP ROLE {role}")


def test_an_agent_can_do_its_work(owner: Store, agent_url: str):
    """Open, read flags and kills, record outcomes, say that it lives and what it has applied, and leave."""
    with open_store(agent_url, project="shop", environment="production") as agent:
        assert agent.flags.get("checkout") is not None
        assert agent.segments.all() == []
        assert agent.manifest.all() == []
        assert len(agent.kills.read().kills) == 1
        assert agent.revision() == 2
        outcome = Outcome("r", "checkout", "on", 1, "u", NOW, NOW, Result.SUCCESS)
        for _ in range(2):
            agent.outcomes.write([outcome])
        presence = Presence(agent, beat=0.05)
        presence.start()
        presence.applied(2, NOW)
        wait_until(lambda: [process.epoch for process in owner.processes.live()] == [2], why="the acknowledgement")
        presence.leave()
        assert owner.processes.live() == []


@pytest.mark.parametrize(
    "attempt",
    [
        lambda store, conn: store.flags.write(conn, Flag.boolean("checkout", on=False)),
        lambda store, conn: store.flags.delete(conn, "checkout"),
        lambda store, conn: store.audit.append(conn, at=NOW, by="x", action="x", subject="x"),
        lambda store, conn: store.db.bump(conn),
        lambda store, conn: store.kills.kill(a_kill("k2"), deadline=5),
        lambda store, conn: store.kills.lift(a_kill(), by="x", reason="x", deadline=5),
        lambda store, conn: store.locks.acquire("checkout", ttl=5),
        lambda store, conn: store.engines.beat("e", "h", 1, NOW),
        lambda store, conn: store.rollouts.active(conn=conn),
        lambda store, conn: store.outcomes.prune(before=NOW),
        lambda store, conn: store.processes.live(),
        lambda store, conn: store.audit.entries(),
    ],
)
def test_an_agent_can_do_nothing_else(owner: Store, agent_url: str, attempt):
    """Every control write, and reading who did what, raises NotAllowed."""
    with open_store(agent_url, project="shop", environment="production") as agent:
        with pytest.raises(NotAllowed, match="may not do this"), agent.db.transaction() as conn:
            attempt(agent, conn)
        with pytest.raises(NotAllowed), agent.db.transaction() as conn:
            attempt(agent, conn)
    row = owner.flags.get("checkout")
    assert row is not None
    assert row.decode().on
    assert len(owner.kills.read().kills) == 1


def test_no_table_is_forgotten(owner: Store, agent_url: str):
    """What each table allows, column by column, is exactly this list."""
    allowed = {
        "SELECT": {
            schema.VERSION_TABLE,
            *(t.name for t in (schema.revision, schema.flag, schema.segment, schema.manifest, schema.kill)),
            schema.adoption.name,
        },
        "INSERT": {"flagbrake_outcome", "flagbrake_process"},
        "UPDATE": set(),
        "DELETE": set(),
        "TRUNCATE": set(),
    }
    with psycopg.connect(agent_url) as conn:
        for right, tables in allowed.items():
            query = (
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                " AND has_table_privilege(oid, %s)"
            )
            assert {row[0] for row in conn.execute(query, (right,))} == tables
        query = (
            "SELECT table_name, column_name FROM information_schema.column_privileges"
            " WHERE grantee = current_user AND privilege_type = 'UPDATE'"
        )
        assert set(conn.execute(query)) == {
            ("flagbrake_process", column) for column in ("seen_at", "epoch", "applied_at", "left_at")
        }


def test_an_agent_cannot_make_the_store(postgresql: PostgreSQL, agent_url: str):
    """On an empty database an agent is told to run init, and may not do it itself."""
    with postgresql.database() as empty:
        role = agent_url.split("//")[1].split("@", maxsplit=1)[0]
        with pytest.raises(ConfigError, match="flagbrake init"):
            open_store(empty.replace("postgres@", f"{role}@"), project="shop", environment="production")
        with pytest.raises(NotAllowed):
            open_store(empty.replace("postgres@", f"{role}@"), project="shop", environment="production", create=True)


def test_sqlite_says_that_there_are_no_roles():
    """Only comments, which say what there is instead."""
    text = grants("sqlite", "agents")
    assert all(line.startswith("--") for line in text.splitlines())
    assert "no roles" in text
    assert "permissions" in text


@pytest.mark.parametrize("role", ["", "x; DROP TABLE flagbrake_kill", 'a"b', "é", "1a", "x" * 64])
def test_a_role_that_cannot_be_is_refused(role):
    """Nothing is pasted into SQL that is not a plain name."""
    with pytest.raises(InvalidInput):
        grants("postgresql", role)
    with pytest.raises(InvalidInput, match="mysql"):
        grants("mysql", "agents")
