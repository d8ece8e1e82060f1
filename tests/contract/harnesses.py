"""Harnesses of our own adapters: in memory, and SQL on both databases."""

from __future__ import annotations

import itertools
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.provider import FeatureProvider

from flagbrake.model.flag import Flag
from flagbrake.store import Store, open_store
from flagbrake.store.feed import StoreFeed
from flagbrake.store.grants import grants
from flagbrake.store.snapshot import Source
from flagbrake.testing import MemoryControl, MemoryLock, MemoryProvider
from flagbrake_contract import Harness, ProviderCapability, all_but
from flagbrake_contract.harness import plain
from flagbrake_sql.control import SqlControl
from flagbrake_sql.provider import SqlProvider
from tests.support.servers import PostgreSQL, temporary
from tests.support.storing import damage, delete, put
from tests.support.waiting import wait_until

Cap = ProviderCapability
Wrap = Callable[[FeatureProvider], FeatureProvider]


def memory(wrap: Wrap = lambda provider: provider, *, kind: type[MemoryProvider] = MemoryProvider) -> Harness:
    """MemoryProvider and MemoryControl. Each provider made mirrors the one that the control writes."""
    source = MemoryProvider()
    made: list[MemoryProvider] = []
    control = MemoryControl(source)

    def mirror(_: FeatureProvider, event: ProviderEvent, details: ProviderEventDetails) -> None:
        for key in details.flags_changed or ():
            flag = source.flags.get(key)
            for provider in made:
                provider.remove(key) if flag is None else provider.put(flag)

    source.attach(mirror)

    def make() -> FeatureProvider:
        made.append(kind(source.flags.values()))
        return wrap(made[-1])

    versions = itertools.count(1)

    def seed(flag: Flag) -> None:
        source.put(replace(flag, version=next(versions)))

    return Harness(
        make,
        seed,
        control=control,
        lock=MemoryLock(),
        remove=source.remove,
        audited=lambda key: [(w.by, w.comment) for w in control.written if w.change.key == key],
        cannot_refuse="flags in this process's memory are anybody's",
        tracked=lambda: [
            (
                t.name,
                t.context.targeting_key if t.context else None,
                t.details.value if t.details else None,
                t.details.attributes if t.details else {},
            )
            for provider in made
            for t in provider.tracked
        ],
        in_process=True,
        # There is no vendor that could go away, refuse a key or hang.
        capabilities=all_but(Cap.STALE, Cap.UNAVAILABLE_INIT, Cap.AUTHENTICATION, Cap.HANGING_INIT),
    )


@contextmanager
def sql(
    url: str, state: Path, wrap: Wrap = lambda provider: provider, *, agents: str = "", **tools: Any
) -> Iterator[Harness]:
    """SqlProvider (on ``agents``, if it is another address) and SqlControl; every provider has a feed of its own."""
    made: list[SqlProvider] = []
    folders = itertools.count()

    def make(address: str = agents or url) -> FeatureProvider:
        folder = state / str(next(folders))
        feed = StoreFeed(address, project="contract", environment="test", state_dir=folder)
        made.append(SqlProvider(feed, timeout=2.0))
        return wrap(made[-1])

    def settle() -> None:
        revision = store.revision()
        for provider in made:
            wait_until(lambda provider=provider: _has_seen(provider, revision), timeout=20, why="the feed")

    def remove(key: str) -> None:
        delete(store, key)

    def damaged(key: str) -> None:
        put(store, plain(key, "x"))
        damage(store, "flagbrake_flag", "document", "{", f"key = '{key}'")

    with open_store(url, project="contract", environment="test", create=True) as store:
        yield Harness(
            make,
            lambda flag: put(store, flag),
            control=SqlControl(store),
            lock=store.locks,
            remove=remove,
            settle=settle,
            audited=lambda key: _audited(store, key),
            damage=damaged,
            **{key: (lambda tool=tool: tool(make)) if key.startswith("make_") else tool for key, tool in tools.items()},
        )


def _has_seen(provider: SqlProvider, revision: int) -> bool:
    feed = provider.feed
    if feed._thread is None or (not feed.state.fresh and feed.snapshot.source is Source.NOWHERE):
        return True  # not started, or nothing it could ever reach
    return feed.state.fresh and feed.snapshot.revision >= revision and provider._ruleset is feed.snapshot.ruleset


def _audited(store: Store, key: str) -> list[tuple[str, str]]:
    return [(entry.by, entry.reason) for entry in reversed(store.audit.entries(subject=key))]


@contextmanager
def sqlite(folder: Path, wrap: Wrap = lambda provider: provider) -> Iterator[Harness]:
    """SQL on SQLite: the vendor goes away when its file does."""
    file, away = folder / "flags.db", folder / "away"
    away.mkdir()
    parts = [file.with_name(file.name + suffix) for suffix in ("", "-wal", "-shm")]

    def break_vendor() -> None:
        for part in parts:
            if part.exists():
                part.rename(away / part.name)

    def restore_vendor() -> None:
        for part in reversed(parts):
            if (away / part.name).exists():
                (away / part.name).rename(part)

    no_database, locked = folder / "letter.txt", folder / "locked.db"
    no_database.write_text("Dear database, " * 100)
    with (
        closing(sqlite3.connect(locked, isolation_level=None)) as holder,
        sql(
            f"sqlite:///{file}",
            folder / "state",
            wrap,
            break_vendor=break_vendor,
            restore_vendor=restore_vendor,
            refuse={"RetryLater": lambda: _held(file)},
            cannot_refuse={
                "NotAllowed": "a SQLite file knows no roles: who can open it may write it",
                "ApprovalRequired": _NO_APPROVALS,
            },
            # What a file can do of that kind: be something else, and be held by somebody for ever.
            make_rejected=lambda make: make(f"sqlite:///{no_database}"),
            make_hanging=lambda make: make(f"sqlite:///{locked}"),
        ) as harness,
    ):
        holder.execute("CREATE TABLE held (x)")
        holder.execute("BEGIN EXCLUSIVE")
        yield harness


_NO_APPROVALS = "a database asks nobody: approvals are a policy above the control"


@contextmanager
def _held(file: Path) -> Iterator[None]:
    """Another writer holds the file."""
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def _locked(server: PostgreSQL) -> Iterator[None]:
    """Another writer holds the counter that every write bumps."""
    with psycopg.connect(server.url()) as holder:
        holder.execute("SELECT 1 FROM flagbrake_revision FOR UPDATE")
        yield


@contextmanager
def _read_only(server: PostgreSQL) -> Iterator[None]:
    """The operators' role may read, and nothing else."""
    server.execute("REVOKE INSERT, UPDATE ON flagbrake_flag FROM operators")
    try:
        yield
    finally:
        server.execute("GRANT INSERT, UPDATE ON flagbrake_flag TO operators")


@contextmanager
def postgresql(folder: Path, wrap: Wrap = lambda provider: provider) -> Iterator[Harness]:
    """SQL on a PostgreSQL server of its own, which can be stopped. Providers have the restricted role of agents."""
    server = PostgreSQL(temporary())
    server.start()
    try:
        server.execute("CREATE ROLE operators LOGIN")
        server.execute("GRANT ALL ON SCHEMA public TO operators")
        with open_store(server.url(user="operators"), project="contract", environment="test", create=True):
            server.execute("CREATE ROLE agents LOGIN")
            server.execute(grants("postgresql", "agents"))
        with (
            silent() as port,
            sql(
                server.url(user="operators"),
                folder / "state",
                wrap,
                agents=server.url(user="agents"),
                break_vendor=server.stop,
                restore_vendor=server.start,
                refuse={"NotAllowed": lambda: _read_only(server), "RetryLater": lambda: _locked(server)},
                cannot_refuse={"ApprovalRequired": _NO_APPROVALS},
                make_rejected=lambda make: make(server.url(user="nobody")),
                make_hanging=lambda make: make(f"postgresql://postgres@127.0.0.1:{port}/postgres"),
                patience=20.0,
            ) as harness,
        ):
            yield harness
    finally:
        server.remove()


@contextmanager
def silent() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(listening.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in kept:
                connection.close()
