"""The demo's processes: heard by their lines, stopped by their handles, never left behind."""

import json
import os

import pytest

from flagbrake.demo.crew import Count, Crew, DemoFailed, counts


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_member_that_listens_leaves_when_its_input_closes(tmp_path):
    """A process that reads its standard input is asked to leave by closing it."""
    with Crew(tmp_path, patience=30) as crew:
        process = crew.start("reader", "json.tool").process
        assert process.poll() is None
    assert process.returncode is not None
    assert gone(process.pid)


def test_a_member_that_does_not_listen_is_terminated(tmp_path):
    """A process that ignores its standard input is stopped all the same."""
    with Crew(tmp_path, patience=0.2) as crew:
        process = crew.start("deaf", "timeit", "-n1", "-r1", "import time; time.sleep(600)").process
    assert gone(process.pid)


def test_everything_is_stopped_when_the_story_breaks(tmp_path):
    """An exception, Ctrl-C included, leaves no process behind."""
    started = []

    def story() -> None:
        with Crew(tmp_path, patience=30) as crew:
            started.append(crew.start("reader", "json.tool").process)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        story()
    assert gone(started[0].pid)


def test_a_dead_member_is_noticed_with_its_last_words(tmp_path):
    """Waiting for a process that died fails at once and quotes its log."""
    with Crew(tmp_path) as crew:
        crew.start("lost", "flagbrake.no_such_module")
        with pytest.raises(DemoFailed, match=r"lost ended with code 1: .*No module named"):
            crew.wait(lambda: False, seconds=60, why="nothing")


def test_waiting_has_an_end(tmp_path):
    """What does not happen in time is said by name."""
    with Crew(tmp_path) as crew, pytest.raises(DemoFailed, match="the moon did not happen"):
        crew.wait(lambda: False, seconds=0.1, why="the moon")


def test_the_last_line_of_each_event_counts(tmp_path):
    """Runs and failures are summed over the members' last beats; other lines are not events."""
    beats = [
        {"event": "beat", "runs": {"v1": 4}, "failures": {}},
        {"event": "beat", "runs": {"v1": 9}, "failures": {"v1": 2}},
    ]
    code = ";".join(f"print({json.dumps(line)!r})" for line in beats)
    with Crew(tmp_path, patience=30) as crew:
        members = [crew.start(name, "timeit", "-n1", "-r1", code) for name in ("a", "b")]
        for member in members:
            member.process.wait(30)
        for ear in crew._ears:
            ear.join(30)
        assert counts(members) == {"v1": Count(18, 4)}
        crew.members.clear()
