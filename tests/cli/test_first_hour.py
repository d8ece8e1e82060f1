"""Every error a new user meets in the first hour: one line with the thing, the fact and the cure."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flagbrake.store import open_store
from flagbrake.store.processes import Presence
from tests.support.command import Said, Shell
from tests.support.waiting import wait_until


def complaint(said: Said, *words: str) -> None:
    """One line on stderr that holds all words; no traceback; not success."""
    assert said.code != 0, said.out
    lines = [line for line in said.err.splitlines() if line]
    assert len(lines) == 1, said.err
    for word in words:
        assert word in lines[0], lines[0]
    assert "Traceback" not in said.err + said.out


@pytest.fixture
def ready(shell: Shell) -> Shell:
    """A folder after ``init``, with one flag."""
    shell.ok("init")
    shell.ok("flag", "create", "agents.refunds", "--variant", "v1", "--variant", "v2", "--safe", "v1")
    return shell


def test_no_store_yet(shell: Shell) -> None:
    """Before init, a command says that there is no database and names init."""
    complaint(shell("flag", "list"), "flagbrake.db", "flagbrake init")


def test_no_such_configuration(shell: Shell) -> None:
    """A configuration file that is named and not there is named back."""
    complaint(shell("--config", "nope.toml", "flag", "list"), "nope.toml", "flagbrake init")


def test_wrong_key(ready: Shell) -> None:
    """A mistyped key in the file says which one was meant."""
    (ready.folder / "flagbrake.toml").write_text('enviroment = "x"\n')
    complaint(ready("flag", "list"), "'enviroment'", "flagbrake.toml", "environment")


def test_unknown_provider(ready: Shell) -> None:
    """A provider that is not installed is told, with those that are and what to do."""
    (ready.folder / "flagbrake.toml").write_text('use = "posthog"\n[store]\nurl = "sqlite:///flagbrake.db"\n')
    complaint(ready("flag", "list"), "No provider 'posthog'", "sql", "pip install")


@pytest.mark.parametrize("percent", ["v2=150", "v2=-1", "v2=ten", "v2=0.0001"])
def test_bad_percentage(ready: Shell, percent: str) -> None:
    """A percentage that is none is refused with the number and the cure, and nothing changes."""
    before = ready.ok("--json", "flag", "show", "agents.refunds").data["flag"]
    complaint(ready("flag", "set", "agents.refunds", percent), percent.removeprefix("v2="), "Try:")
    assert ready.ok("--json", "flag", "show", "agents.refunds").data["flag"] == before


def test_unknown_flag(ready: Shell) -> None:
    """An unknown flag names the nearest."""
    for words in (("flag", "show", "agents.refund"), ("flag", "set", "agents.refund", "on")):
        complaint(ready(*words), "agents.refund", "agents.refunds")


def test_locked_database(ready: Shell) -> None:
    """A database that somebody holds locked is told as such, after a bounded wait."""
    holder = sqlite3.connect(ready.folder / "flagbrake.db", isolation_level=None)
    holder.execute("begin exclusive")
    try:
        complaint(ready("flag", "set", "agents.refunds", "v2"), "flagbrake.db", "Try:")
    finally:
        holder.close()


def test_bad_json(ready: Shell) -> None:
    """A variant whose value is not JSON shows what was given and what is expected."""
    complaint(ready("flag", "create", "x", "--variant", "a={broken"), "{broken", "JSON")


def test_not_a_database(shell: Shell) -> None:
    """A file that is not a database is named."""
    (shell.folder / "flagbrake.db").write_text("hello " * 1000)
    complaint(shell("init"), "flagbrake.db")


def test_unknown_command_and_option(shell: Shell) -> None:
    """A mistyped command or option is one line that says where help is."""
    complaint(shell("flg", "list"), "flg", "--help")
    complaint(shell("flag", "list", "--jsn"), "--jsn", "--help")


def test_missing_extra(ready: Shell) -> None:
    """PostgreSQL without its driver says which extra has it."""
    blocked = Path(ready.folder / "blocked")
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys; sys.modules['psycopg'] = None\n")
    said = ready(
        "flag",
        "list",
        FLAGBRAKE_STORE_URL="postgresql://u:hush@127.0.0.1:1/none",
        PYTHONPATH=str(blocked),
    )
    complaint(said, "psycopg", "pip install 'flagbrake[")
    assert "hush" not in said.err


def test_database_down(ready: Shell) -> None:
    """A server that does not answer is named without its password."""
    said = ready("flag", "list", FLAGBRAKE_STORE_URL="postgresql://u:hush@127.0.0.1:1/none")
    complaint(said, "127.0.0.1", "Try:")
    assert "hush" not in said.err


def test_kill_of_a_typo(ready: Shell) -> None:
    """A mistyped scope kills nothing, names the nearest, exits 3."""
    said = ready("kill", "agents.refnds", "--reason", "x")
    complaint(said, "agents.refnds", "agents.refunds")
    assert said.code == 3
    assert ready.ok("kills", "--json").data["kills"] == []


def test_kill_that_nobody_hears(ready: Shell) -> None:
    """A kill that is stored while no process listens is not a success: exit 3, and --arm is named."""
    said = ready("kill", "agents.refunds", "--reason", "x")
    complaint(said, "no live process", "--arm")
    assert said.code == 3
    assert [k["kill"]["scope"] for k in ready.ok("kills", "--json").data["kills"]] != []


def test_one_is_one(ready: Shell) -> None:
    """One user, one flag: what is counted is spelt as it is read."""
    ready.ok("flag", "target", "agents.refunds", "v2", "ann")
    assert "target 1 user -> v2" in ready.ok("flag", "show", "agents.refunds").out
    assert "1 flag, 1 declaration" in ready("doctor").out


def test_an_interrupted_kill_prints_its_receipt(ready: Shell) -> None:
    """Ctrl-C while a process that never confirms is waited for: it is stored, and who confirmed is known by then."""
    url = f"sqlite:///{ready.folder / 'flagbrake.db'}"
    words = [sys.executable, "-m", "flagbrake", "kill", "agents.refunds", "--reason", "x", "--wait", "60"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with open_store(url, project="default", environment="development") as store:
        keen, deaf = Presence(store, name="keen", beat=0.2), Presence(store, name="deaf", beat=0.2)
        keen.start()
        deaf.start()
        kill = subprocess.Popen(words, cwd=ready.folder, env=ready.environment, **streams)
        try:
            wait_until(lambda: store.kills.read().kills, timeout=30, why="the kill is stored")
            keen.applied(store.kills.read().epoch, datetime.now(UTC))
            wait_until(lambda: max(p.epoch for p in store.processes.live()) > 0, why="one has confirmed")
            kill.send_signal(signal.SIGINT)
            out, err = kill.communicate(timeout=30)
        finally:
            kill.kill()
            kill.communicate()
            keen.leave()
            deaf.leave()
    assert kill.returncode == 130
    assert "lane store: took it" in out
    assert "confirmed by 1/2 live processes" in out
    assert "missing: deaf (" in out
    assert "Interrupted. The kill of flag:agents.refunds is stored in development" in err
    assert "Missing: deaf (" in err


def test_an_engine_prints_what_happens_as_it_happens(ready: Shell) -> None:
    """One line, at once and into a pipe too: when, which rollout, what, why."""
    words = [sys.executable, "-m", "flagbrake", "engine"]
    log = ready.folder / "engine.log"
    with log.open("w") as out:
        engine = subprocess.Popen(words, cwd=ready.folder, env=ready.environment, stdout=out)
        try:
            wait_until(lambda: "Ticking every" in log.read_text(), timeout=30)
            said = ready("rollout", "start", "agents.refunds", "v2", "--steps", "50,100", "--json")
            wait_until(lambda: "rollout-step" in log.read_text(), timeout=30)
        finally:
            engine.terminate()
            engine.wait(30)
    news = [line for line in log.read_text().splitlines() if " rollout-" in line]
    assert len(news) == 1
    assert f" UTC  agents.refunds {said.data['rollout']}  rollout-step  " in news[0]
    assert "50 %" in news[0]


def test_a_repeated_kill_adds_nothing(ready: Shell) -> None:
    """Who kills again in a hurry gets the kill that stands, told as such; one restore ends it."""
    first = ready.ok("kill", "agents.refunds", "--reason", "a", "--arm", "--json").data["receipt"]["kills"][0]
    again = ready.ok("kill", "agents.refunds", "--reason", "b", "--arm")
    assert "was killed already, by dana" in again.err
    assert [k["kill"]["id"] for k in ready.ok("kills", "--json").data["kills"]] == [first["id"]]
    ready.ok("restore", "agents.refunds", "--reason", "c")
    assert ready.ok("kills", "--json").data["kills"] == []


def test_a_killed_flag_is_shown_as_killed(ready: Shell) -> None:
    """Whoever lists, shows, sets or explains a killed flag is told first that it is killed and what it serves."""
    ready.ok("kill", "agents.refunds", "--reason", "paid twice", "--arm")
    told = "KILLED: agents.refunds serves v1 until flag:agents.refunds is restored: paid twice"
    for words in (("show", "agents.refunds"), ("set", "agents.refunds", "v2=10"), ("explain", "agents.refunds")):
        assert told in ready.ok("flag", *words).out
    assert ready.ok("flag", "list", "--json").data["flags"][0]["killed"] == ["flag:agents.refunds"]


def test_an_environment_nobody_used_is_noticed(ready: Shell) -> None:
    """A mistyped environment is not simply empty: the ones that exist are named."""
    said = ready("-e", "prodution", "kills")
    assert "nothing was ever written in environment 'prodution'; there is: development" in said.err


def test_history_shows_the_change(ready: Shell) -> None:
    """An entry about a flag says what was and what is."""
    ready.ok("flag", "set", "agents.refunds", "v2=10")
    assert "default v1 -> v2 10 %, v1 90 %" in ready.ok("history", "agents.refunds").out


def test_a_row_is_one_line_for_another_program(ready: Shell) -> None:
    """Where no terminal says how wide it is, `grep` finds whole rows; in a narrow one a name is broken, not cut off."""
    key = "agents." + "long" * 20
    ready.ok("flag", "create", key, "--safe", "off", "--reason", "for the search " * 10)
    wide = ready.ok("history", COLUMNS="").out
    assert any(key in line and "create" in line and "for the search" in line for line in wide.splitlines())
    narrow = ready.ok("history", COLUMNS="60").out
    assert "…" not in narrow


def test_version(shell: Shell) -> None:
    """``--version`` prints the one version."""
    from flagbrake import __version__

    assert shell.ok("--version").out.strip() == f"flagbrake {__version__}"


def test_a_failed_init_leaves_nothing_behind(shell: Shell) -> None:
    """An init that cannot use its URL writes no settings that would stand in the way of the next one."""
    complaint(shell("init", "--url", "banana"), "not a database URL", "sqlite:///")
    assert not (shell.folder / "flagbrake.toml").exists()
    shell.ok("init")


def test_init_does_not_change_settings(shell: Shell) -> None:
    """Settings that are there are not touched, and nothing is claimed about a store that they may not have."""
    settings = shell.folder / "flagbrake.toml"
    settings.write_text('use = "launchdarkly"\nenvironment = "test"\n')
    complaint(shell("init", "--url", "sqlite:///other.db"), "exists, and init does not change it", "[store] url")
    assert "store" not in settings.read_text()


def test_doctor_lists_what_it_can(ready: Shell) -> None:
    """With the store down doctor still prints its list, with the store as a failure."""
    said = ready("doctor", "--json", FLAGBRAKE_STORE_URL="postgresql://u:hush@127.0.0.1:1/none")
    assert said.code == 1
    assert [(f["level"], f["subject"]) for f in said.data["findings"]] == [("ok", "settings"), ("failure", "store")]
    assert "hush" not in said.out + said.err


def test_an_error_is_data_with_json(ready: Shell) -> None:
    """With --json an error is in the document too, so that a script need not read sentences."""
    said = ready("flag", "show", "agents.refund", "--json")
    assert said.data["error"]["kind"] == "NotFound"
    assert said.data["error"]["exit_code"] == said.code == 3


def test_a_star_is_no_wildcard(ready: Shell) -> None:
    """`agent:*` would cover nothing: refused with what is meant, and nothing is stored."""
    complaint(ready("kill", "agent:*", "--reason", "x", "--arm"), "agent:*", "agent:NAME, or *")
    assert ready.ok("kills", "--json").data["kills"] == []


@pytest.mark.parametrize(
    ("words", "code"), [(("flag", "list"), 0), (("--json", "history"), 0), (("--json", "flag", "show", "nope"), 3)]
)
def test_a_reader_that_has_gone(ready: Shell, words: tuple[str, ...], code: int) -> None:
    """`| head`: a command does what it does and leaves as it leaves, whether anybody reads it to the end or not."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flagbrake", *words],
            cwd=ready.folder,
            env=ready.environment,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert done.returncode == code, done.stderr
    assert "bug" not in done.stderr
    assert "Exception" not in done.stderr
