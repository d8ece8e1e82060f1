"""Short words for what tests do to a store."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from flagbrake.model.flag import Flag, Segment
from flagbrake.model.kill import Kill, KillMode, Scope
from flagbrake.model.manifest import Declaration
from flagbrake.store import Store

_ids = itertools.count(1)


def put(store: Store, *nouns: Flag | Segment | Declaration) -> int:
    """Write flags, segments and declarations in one transaction; return the revision."""
    with store.db.transaction() as conn:
        for noun in nouns:
            match noun:
                case Flag():
                    store.flags.write(conn, noun)
                case Segment():
                    store.segments.write(conn, noun)
                case Declaration():
                    store.manifest.write(conn, noun)
        return store.db.bump(conn)


def delete(store: Store, flag: str) -> int:
    """Delete a flag; return the revision."""
    with store.db.transaction() as conn:
        return store.flags.delete(conn, flag)


def kill(store: Store, scope: str, *, reason: str = "a test", mode: KillMode = KillMode.HALT) -> Kill:
    """Kill a scope; return the kill as stored."""
    made = Kill(
        f"k{next(_ids)}", Scope.parse(scope), store.environment, reason, "tester", datetime.now(UTC), 0, mode=mode
    )
    return store.kills.kill(made, deadline=5)


def lift(store: Store, killed: Kill) -> int:
    """Lift a kill; return the epoch."""
    return store.kills.lift(killed, by="tester", reason="over", deadline=5)


def execute(store: Store, statement: str, **values: Any) -> None:
    """Run a statement behind the store's back, without bumping the revision."""
    with store.db.transaction() as conn:
        conn.execute(text(statement), values)


def damage(store: Store, table: str, column: str, value: str, where: str = "1 = 1") -> None:
    """Change a column behind the store's back and bump the revision, as a bit flip before a change would show."""
    with store.db.transaction() as conn:
        revision = store.db.bump(conn, other=True)
        stamp = ", revision = :revision" if table != "flagbrake_kill" else ""
        conn.execute(
            text(f"UPDATE {table} SET {column} = :value{stamp} WHERE {where}"),
            {"value": value, "revision": revision} if stamp else {"value": value},
        )
        if table == "flagbrake_kill":
            conn.execute(text("UPDATE flagbrake_revision SET kill_epoch = :r"), {"r": revision})
