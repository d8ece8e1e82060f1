"""Several processes on one store: locks exclude, the audit does not fork, kill -9 leaves nothing half done."""

from __future__ import annotations

import random
import subprocess
import sys
import threading

import pytest

from flagbrake.errors import NotFound
from flagbrake.store import Store
from tests.support.places import Place

_COUNTER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from flagbrake.store import open_store
path = Path(sys.argv[3])
with open_store(sys.argv[1], project=sys.argv[2], environment="production") as store:
    for turn in range(15):
        with store.locks.held("counter", ttl=30, wait=30):
            path.write_text(str(int(path.read_text()) + 1))
        store.audit.record(at=datetime.now(UTC), by="x", action="count", subject=str(turn))
"""


def test_locks_exclude_and_the_audit_stays_one_chain(place: Place, store: Store, tmp_path):
    """Three processes add to a plain file under a lock and record it: no addition is lost, no entry forks."""
    path = tmp_path / "counter"
    path.write_text("0")
    command = [sys.executable, "-c", _COUNTER, place.url, place.project, str(path)]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [child.communicate(timeout=60)[1] for child in children] == [""] * 3
    assert path.read_text() == "45"
    assert len(store.audit.entries(limit=99)) == 45
    assert store.audit.verify() is None


#: Every transaction writes two flags that must agree, and every third one a kill or a lift.
_WRITER = """
import os, sys
from datetime import UTC, datetime
from flagbrake.model.flag import Flag, ramp
from flagbrake.model.kill import Kill, Scope
from flagbrake.store import open_store
with open_store(sys.argv[1], project=sys.argv[2], environment="production") as store:
    start = store.revision()
    for number in range(start + 1, start + 100_000):
        now = datetime.now(UTC)
        with store.db.transaction(deadline=30) as conn:
            for key in ("a", "b"):
                store.flags.write(conn, Flag.boolean(key, default=ramp("on", number, "off")))
            store.audit.append(conn, at=now, by="t", action="set", subject="a,b", after=number)
        print(number, flush=True)
        kill = Kill(f"k{number}", Scope.parse("agent:x"), "production", "r", "t", now, 0)
        store.kills.kill(kill, deadline=30)
        print(kill.id, flush=True)
        store.kills.lift(kill, by="t", reason="r", deadline=30)
        print("-" + kill.id, flush=True)
"""


def test_a_killed_process_leaves_whole_transactions_only(place: Place, store: Store):
    """kill -9 at random points: both flags or neither, every change with its entry, nothing confirmed is lost."""
    chance = random.Random(7)
    for _ in range(3):
        told = _killed_writer(place, lines=chance.randint(1, 25), pause=chance.random() * 0.01)
        shares = {row.key: row.decode().default.share("on") for row in store.flags.all()}
        assert shares["a"] == shares["b"] >= max(int(line) for line in told if line.isdecimal())
        standing = {kill.id for kill in store.kills.read().kills}
        lifted = {entry.kill.id for entry in store.kills.lifted(limit=999)}
        assert not standing & lifted
        for line in told:
            if line.startswith("-"):
                assert line[1:] in lifted
            elif line.startswith("k"):
                assert line in standing | lifted
        # Each transaction has one revision and one entry.
        assert store.revision() == store.audit.entries(limit=1)[0].seq
        assert store.audit.verify() is None
        # What was in the middle is over: the next writer is not hindered, and a kill that stood stands.
        with pytest.raises(NotFound):
            store.kills.lift(_unknown(standing), by="t", reason="r", deadline=5)


def _killed_writer(place: Place, *, lines: int, pause: float) -> list[str]:
    """Start a writer, kill it shortly after some lines; return the lines it finished."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, place.url, place.project], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    told = [child.stdout.readline().strip() for _ in range(lines)]
    threading.Event().wait(pause)
    child.kill()
    told += [line.strip() for line in child.stdout if line.endswith("\n")]
    child.wait()
    return told


def _unknown(standing: set[str]):
    from tests.store.test_kills import a_kill

    assert "never" not in standing
    return a_kill("never")
