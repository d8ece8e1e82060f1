"""Opening, making and upgrading a store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from flagbrake.errors import ConfigError, StoreUnavailable
from flagbrake.store import Store, open_store, schema
from flagbrake.store.engine import parse_url, shown
from flagbrake.store.migrations.run import configuration

SECRET = "hunter2-not-to-be-seen"


def test_nothing_is_made_unless_asked(store_url: str, tmp_path: Path):
    """Without create a missing store is an error with the cure, and no file appears."""
    with pytest.raises(ConfigError, match="flagbrake init"):
        open_store(store_url, project="shop", environment="production")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_sqlite_file_is_not_a_store(tmp_path: Path):
    """A file without tables is refused with the cure."""
    (tmp_path / "flags.db").touch()
    with pytest.raises(ConfigError, match=r"no flagbrake tables.*flagbrake init"):
        open_store(f"sqlite:///{tmp_path}/flags.db", project="shop", environment="production")


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path):
    """A text file is refused by name and keeps its content."""
    path = tmp_path / "notes.txt"
    path.write_text("my notes, not a database, long enough to be a page of something" * 20)
    with pytest.raises(ConfigError, match=r"notes\.txt is not a SQLite database"):
        open_store(f"sqlite:///{path}", project="shop", environment="production", create=True)
    assert path.read_text().startswith("my notes")


def test_opening_again_finds_what_was_made(store_url: str):
    """create on a store that exists changes nothing; afterwards it opens without create."""
    for create in (True, True, False):
        with open_store(store_url, project="shop", environment="production", create=create) as store:
            assert store.revision() == 0


def test_several_processes_may_start_at_once(store_url: str):
    """Three processes that all make the store succeed, and it is made once."""
    script = (
        "import sys, alembic.command; from flagbrake.store import open_store; print('ready', flush=True);"
        "sys.stdin.readline(); open_store(sys.argv[1], project='shop', environment='production', create=True).close()"
    )
    command = [sys.executable, "-c", script, store_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    children = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.communicate(timeout=60)[1] for child in children] == [""] * 3
    with open_store(store_url, project="shop", environment="production") as store:
        assert store.revision() == 0


def test_a_fresh_file_that_is_busy_is_waited_for(tmp_path: Path):
    """Making the tables waits for whoever holds the file, within the deadline."""
    other = sqlite3.connect(tmp_path / "flags.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    other.execute("CREATE TABLE theirs (x)")
    timer = threading.Timer(0.3, other.execute, ["COMMIT"])
    timer.start()
    open_store(f"sqlite:///{tmp_path}/flags.db", project="shop", environment="production", create=True).close()
    timer.join()
    other.close()


def test_migrations_make_exactly_the_metadata(store: Store):
    """The tables that the migrations make are the tables that the code expects."""
    with store.db.transaction() as conn:
        context = MigrationContext.configure(
            conn, opts={"version_table": schema.VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, schema.metadata) == []


def test_the_newest_migration_is_the_one_the_code_names():
    """SCHEMA_HEAD is the head of the migration scripts, of which there is one."""
    assert ScriptDirectory.from_config(configuration()).get_heads() == [schema.SCHEMA_HEAD]


@pytest.fixture
def own(store_url: str) -> Iterator[Store]:
    """A store in a database of its own, whose tables may be tampered with."""
    with open_store(store_url, project="shop", environment="production", create=True) as opened:
        yield opened


def _pretend(store: Store, version: str) -> None:
    with store.db.transaction() as conn:
        conn.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = :v"), {"v": version})


@pytest.mark.parametrize("create", [True, False])
def test_tables_of_the_next_minor_version_are_used(own: Store, store_url: str, create):
    """A store upgraded by the next minor version stays readable and writable, and is not taken back."""
    _pretend(own, "v0_2_07")
    with open_store(store_url, project="shop", environment="production", create=create) as again:
        assert again.revision() == 0


@pytest.mark.parametrize(
    ("version", "message"),
    [("v0_3_01", "flagbrake~=0.3.0"), ("v1_0_01", "flagbrake~=1.0.0"), ("abc123", "unknown version 'abc123'")],
)
@pytest.mark.parametrize("create", [True, False])
def test_tables_that_are_too_new_are_refused(own: Store, store_url: str, version, message, create):
    """More than one minor version ahead, or not ours: refused with the cure, whatever is asked."""
    _pretend(own, version)
    with pytest.raises(ConfigError, match=message):
        open_store(store_url, project="shop", environment="production", create=create)


def test_older_tables_name_the_cure(own: Store, store_url: str):
    """Tables that are older are not upgraded behind an agent's back."""
    _pretend(own, "v0_0_01")
    with pytest.raises(ConfigError, match=r"older than this flagbrake.*flagbrake init"):
        open_store(store_url, project="shop", environment="production")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@localhost:1/none",
        f"mysql://me:{SECRET}@localhost/none",
        f"//me:{SECRET}@",
        f"postgresql://me:{SECRET}@[::/none",
    ],
)
def test_a_password_is_in_no_error(url):
    """Whatever is wrong with the address, the error does not repeat its password."""
    with pytest.raises((ConfigError, StoreUnavailable)) as caught:
        open_store(url, project="shop", environment="production")
    told = repr(caught.value) + str(caught.value) + str(caught.value.__cause__)
    assert SECRET not in told


def test_the_address_is_shown_without_password_and_options():
    """What is shown to people names user, host and database only."""
    url = parse_url(f"postgresql://me:{SECRET}@db.example:5433/flags?sslpassword={SECRET}")
    assert shown(url) == "postgresql://me@db.example:5433/flags"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "flags.db", "", "oracle://x/y"])
def test_addresses_that_cannot_hold_a_store_are_refused(url):
    """Memory is not shared, and other databases are not known: the cure shows what is."""
    with pytest.raises(ConfigError, match=r"sqlite:///flags\.db or postgresql://"):
        open_store(url, project="shop", environment="production", create=True)


def test_a_deleted_file_fails_and_does_not_come_back_empty(tmp_path: Path):
    """A store whose file was deleted while a process ran is unavailable; an empty one would mean no kills."""
    url = f"sqlite:///{tmp_path}/flags.db"
    open_store(url, project="shop", environment="production", create=True).close()
    store = open_store(url, project="shop", environment="production")
    store.close()
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(StoreUnavailable):
        store.revision()
    assert list(tmp_path.iterdir()) == []


def test_sqlite_commits_survive_a_power_cut(tmp_path: Path):
    """WAL with synchronous=FULL: what was committed is on the disk."""
    url = f"sqlite:///{tmp_path}/a b#ü.db"
    with open_store(url, project="shop", environment="x", create=True) as store, store.db.transaction() as conn:
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    assert "a b#ü.db" in {path.name for path in tmp_path.iterdir()}


def test_rows_that_come_by_the_hundred_do_not_sync(tmp_path):
    """Outcomes and heartbeats do not wait for the disk, and the next kill on the same connection does."""
    with open_store(f"sqlite:///{tmp_path}/x.db", project="p", environment="e", create=True) as store:
        for durable, level in ((False, 1), (True, 2), (False, 1)):
            with store.db.transaction(durable=durable) as conn:
                assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == level
