"""The way out for outcomes: never blocks, keeps within its bound, counts what it loses."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime

import pytest

from flagbrake.errors import StoreUnavailable
from flagbrake.model.outcome import Outcome, Result
from flagbrake.outcomes.queue import Counts, OutcomeQueue
from tests.support.waiting import wait_until

AT = datetime(2026, 1, 2, tzinfo=UTC)


def outcome(n: int) -> Outcome:
    return Outcome(f"run-{n}", "f", "v1", 1, "unit", AT, AT, Result.SUCCESS)


class Sink:
    """A store that can be down, slow or picky; idempotent, as the port demands."""

    def __init__(self):
        self.rows = {}
        self.batches = []
        self.down = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.refuses = set()
        self.tries = 0

    def write(self, batch):
        self.tries += 1
        self.gate.wait(10)
        if self.down.is_set():
            raise StoreUnavailable("The database did not answer.")
        if any(o.run_id in self.refuses for o in batch):
            raise ValueError("cannot be stored")
        self.batches.append(len(batch))
        for o in batch:
            self.rows[o.run_id] = o


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def queue(sink):
    made = OutcomeQueue(sink, bound=100, batch=10, linger=0.02)
    yield made
    sink.gate.set()
    made.close(0.5)


def test_outcomes_are_written_in_batches(queue, sink):
    """Everything put is written once, in order, in batches of at most the size asked for."""
    assert all(queue.put(outcome(n)) for n in range(35))
    assert queue.flush(5)
    assert list(sink.rows) == [f"run-{n}" for n in range(35)]
    assert max(sink.batches) <= 10
    assert len(sink.batches) < 35
    assert queue.counts == Counts(35, 0, 0, 0)


def test_nothing_starts_before_the_first_outcome(sink):
    """No thread until there is something to write."""
    before = threading.active_count()
    OutcomeQueue(sink)
    assert threading.active_count() == before


def test_a_stuck_store_never_blocks_the_caller(queue, sink, caplog):
    """put() returns at once while the store hangs; beyond the bound outcomes are dropped, counted, told once."""
    sink.gate.clear()
    with caplog.at_level(logging.WARNING, "flagbrake.outcomes"):
        started = time.perf_counter()
        taken = [queue.put(outcome(n)) for n in range(500)]
        assert time.perf_counter() - started < 1
    assert taken.count(True) == 100
    assert queue.counts.dropped == 400
    assert caplog.text.count("being dropped") == 1
    assert not queue.flush(0.05)
    sink.gate.set()
    assert queue.flush(5)
    assert queue.counts == Counts(100, 0, 400, 0)


def test_outcomes_wait_for_a_store_that_is_down(queue, sink):
    """StoreUnavailable: kept, tried again with growing pauses, written when it is back."""
    sink.down.set()
    for n in range(25):
        queue.put(outcome(n))
    wait_until(lambda: sink.tries >= 3, why="it is tried again")
    assert queue.counts.pending == 25
    sink.down.clear()
    assert queue.flush(5)
    assert len(sink.rows) == 25


def test_one_that_cannot_be_stored_does_not_stop_the_others(queue, sink):
    """A refused outcome is counted and left out; its batch goes on without it."""
    sink.refuses = {"run-3"}
    for n in range(10):
        queue.put(outcome(n))
    assert queue.flush(5)
    assert len(sink.rows) == 9
    assert queue.counts == Counts(9, 0, 0, 1)


def test_closing_writes_what_waits_and_takes_no_more(queue, sink):
    """close() flushes; what comes later is dropped and counted."""
    queue.put(outcome(1))
    assert queue.close(5)
    assert "run-1" in sink.rows
    assert not queue.put(outcome(2))
    assert queue.counts.dropped == 1


def test_a_reopened_queue_writes_again(queue, sink):
    """A provider that is initialised again after its shutdown records again."""
    queue.put(outcome(1))
    assert queue.close(5)
    queue.reopen()
    assert queue.put(outcome(2))
    assert queue.flush(5)
    assert list(sink.rows) == ["run-1", "run-2"]


def test_closing_with_the_store_down_ends_in_time(sink, caplog):
    """The end of a process is not held up: bounded, and what is lost is said."""
    queue = OutcomeQueue(sink, linger=0.01)
    sink.down.set()
    queue.put(outcome(1))
    started = time.perf_counter()
    with caplog.at_level(logging.WARNING, "flagbrake.outcomes"):
        assert not queue.close(0.2)
    assert time.perf_counter() - started < 2
    assert "1 outcomes could not be written" in caplog.text


def test_many_threads_lose_nothing(sink):
    """Outcomes of eight threads are all written once."""
    queue = OutcomeQueue(sink, linger=0.001)

    def work(base):
        for n in range(500):
            queue.put(outcome(base + n))

    threads = [threading.Thread(target=work, args=(1000 * t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.close(10)
    assert len(sink.rows) == 4000
    assert queue.counts.written == 4000


PROGRAM = """
import json, os, sys
from datetime import UTC, datetime
from flagbrake.model.outcome import Outcome, Result
from flagbrake.outcomes.queue import OutcomeQueue
AT = datetime(2026, 1, 2, tzinfo=UTC)
class File:
    def write(self, batch):
        with open(sys.argv[1], "a") as out:
            for o in batch:
                out.write(json.dumps([os.getpid(), o.run_id]) + "\\n")
def outcome(name):
    return Outcome(name, "f", "v1", 1, "u", AT, AT, Result.SUCCESS)
queue = OutcomeQueue(File(), linger=LINGER)
"""


def run_program(tmp_path, body, linger="30.0"):
    path = tmp_path / "out.jsonl"
    program = PROGRAM.replace("LINGER", linger) + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return rows, done


def test_the_end_of_the_process_writes_what_waits(tmp_path):
    """atexit flushes, although the first outcome would have lingered for half a minute."""
    rows, _ = run_program(tmp_path, 'queue.put(outcome("last"))')
    assert [name for _, name in rows] == ["last"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_with_an_empty_queue(tmp_path):
    """Parent and child each write their own outcomes once, even if the lock was held at the fork."""
    rows, done = run_program(
        tmp_path,
        """
        import threading
        queue.put(outcome("parent-before"))
        held, go = threading.Event(), threading.Event()
        def hold():
            with queue._changed:
                held.set()
                go.wait(10)
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(10)
        child = os.fork()
        if child == 0:
            assert queue.counts.pending == 0
            queue.put(outcome("child"))
            queue.close(5)
            os._exit(0)
        go.set()
        thread.join()
        print(child)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        queue.put(outcome("parent-after"))
        """,
    )
    child = int(done.stdout)
    assert sorted(name for _, name in rows) == ["child", "parent-after", "parent-before"]
    assert [pid for pid, name in rows if name == "child"] == [child]
    assert all(pid != child for pid, name in rows if name != "child")
