"""The demo as a whole, in short: the same processes, store and engine; fewer steps and shorter bakes."""

import io
import re

import pytest
from rich.console import Console

from flagbrake.demo.crew import Count
from flagbrake.demo.show import Row, Scene, Show, picture
from flagbrake.demo.stage import Account
from flagbrake.demo.story import tell
from flagbrake.errors import InvalidInput

_SHORT = {"steps": "50,100", "bake": "1s", "interval": "1s", "settle": "1s", "checks": [{"min_sample": 300}]}


@pytest.mark.timeout(300)
def test_the_story_keeps_its_promises(tmp_path, capsys, monkeypatch):
    """v2 is rolled back, v3 passes, one kill stops all workers, a restore is exact; whatever FLAGBRAKE_* says."""
    monkeypatch.setenv("FLAGBRAKE_STORE_URL", "postgresql://nowhere.invalid/production")
    picture_file = tmp_path / "img" / "demo.svg"
    code = tell(directory=tmp_path / "stage", capture=picture_file, plan=_SHORT)
    said = capsys.readouterr().out
    assert code == 0, said
    assert said.count("  held    ") == 5
    assert "rolled back" in said
    assert "0 further tool calls" in said
    assert re.search(r"kill to last worker stopped +\d+\.\d ms", said)
    svg = picture_file.read_text(encoding="utf-8")
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "").replace("https://www.textualize.io", "")
    assert not [line for log in (tmp_path / "stage").glob("*.log") for line in log.read_text().splitlines()]


def test_a_folder_in_use_is_left_alone(tmp_path):
    """The demo never writes over somebody's settings."""
    mine = tmp_path / "flagbrake.toml"
    mine.write_text("mine")
    with pytest.raises(InvalidInput, match="has something in it"):
        tell(directory=tmp_path)
    assert mine.read_text() == "mine"


def test_one_broken_promise_is_not_success():
    """The exit code is 0 only if every promise held, and none at all is not success."""
    account = Account()
    assert not account.kept
    account.promise("one", held=True)
    assert account.kept
    account.promise("two", held=False)
    assert not account.kept


def scene(step: str, evidence: float) -> Scene:
    rows = [Row("v1", "95 %", Count(400, 4)), Row("v2", "5 %", Count(0, 0))]
    return Scene("f: v2 against v1", step, f"step {step}", "v2 fails 9 %, v1 1 %", rows, evidence, 100.0)


def printed(*, terminal: bool) -> str:
    paper = io.StringIO()
    show = Show(console=Console(file=paper, force_terminal=terminal, width=100, highlight=False))
    with show.live() as update:
        update(scene("", 1.0))
        update(scene("1 %", 2.0))
        update(scene("1 %", 10.0))
        update(scene("5 %", 1000.0))
    return paper.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_each_step_leaves_a_line_and_the_end_a_table(terminal):
    """What was known at the end of a step stays readable, on a terminal and in a log."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed(terminal=terminal))
    assert "at   1 %: v2 fails 9 %, v1 1 %; evidence 10 of 100 [#####.....]" in text
    assert text.count("  at ") == 1
    assert text.rstrip().endswith("evidence 1000 of 100 [##########]")


def test_no_runs_are_no_percentage():
    """A version without runs has no failure rate: a dash, never 0 %."""
    paper = io.StringIO()
    Console(file=paper, width=100).print(picture(scene("5 %", 1.0)))
    row = next(line for line in paper.getvalue().splitlines() if line.strip().startswith("v2"))
    assert row.split() == ["v2", "5", "%", "0", "0", "-"]
