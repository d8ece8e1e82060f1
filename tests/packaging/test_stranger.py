"""An outside repository: the tutorial and the template, built in an empty folder from wheels only."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documentation.blocks import ROOT, blocks
from tests.support.stranger import Machine

PAGE = ROOT / "docs" / "write-a-provider.md"
ADAPTER, TESTS = "flagbrake_inhouse.py", "test_inhouse.py"
_SAVED = re.compile(r"# ([\w./]+\.(?:py|toml))(, continued)?\n")

#: A whole test file of an outside repository; blank lines are not counted.
ELEVEN_LINES = """\
import pytest
from flagbrake_contract import EventsContract, Harness, KillContract, ProviderContract, all_but
from flagbrake_my_house.provider import MyHouseProvider, Vendor
from flagbrake_my_house.translate import document_of


@pytest.fixture
def harness():
    vendor, cannot = Vendor(), all_but("stale", "unavailable-init", "authentication", "hanging-init")
    tools = {"seed": lambda flag: vendor.put(flag.key, document_of(flag)), "remove": vendor.delete, "in_process": True}
    with Harness(lambda: MyHouseProvider(vendor), capabilities=cannot, **tools) as made:
        yield made


class TestMyHouse(ProviderContract, EventsContract, KillContract): ...
"""


@dataclass(frozen=True)
class Followed:
    """What became of the page: the machine, the folder with its files, and what every command block printed."""

    machine: Machine
    folder: Path
    printed: dict[str, str]


# The page is followed once, by one worker.
pytestmark = pytest.mark.xdist_group("stranger")


@pytest.fixture(scope="module")
def followed(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Followed:
    """The page, followed to its end as a reader does: files saved, commands typed."""
    machine = Machine(installed, tmp_path_factory.mktemp("reader") / "home")
    printed: dict[str, str] = {}
    folder = machine.work
    for block in blocks(PAGE):
        saved = _SAVED.match(block.text)
        if block.language in {"python", "toml"}:
            assert saved, f"{block.name} does not say where it goes"
            with (folder / saved[1]).open("a" if saved[2] else "x", encoding="utf-8") as file:
                file.write(block.text)
        elif block.language == "bash":
            done = machine.run(block.text, folder=folder)
            assert done.returncode == 0, f"{block.name}:\n{block.text}\n---\n{done.stdout}"
            printed[block.text] = done.stdout
            entered = re.search(r"cd (\S+)", block.text)
            folder = folder / entered[1] if entered else folder
    return Followed(machine, folder, printed)


def test_the_tutorial_ends_with_a_passing_adapter(followed: Followed) -> None:
    """Every block of the page does what it says; the whole contract passes, and so does the swap to it."""
    said = "".join(followed.printed.values())
    assert re.search(r"\d{3} passed, \d+ skipped, 2 xfailed", said)
    assert "| `values.boolean_true` |" in (followed.folder / "report.md").read_text()
    assert "serves on 25 %" in said
    assert "flag:new-search is restored" in said
    flags = json.loads((followed.folder / "flags.json").read_text())
    assert flags["new-search"]["default"]["split"][0] == {"share": 25_000, "variant": "on"}


def test_quoted_failures_are_real(followed: Followed) -> None:
    """A failure that the page quotes is printed by the run it stands under, word for word."""
    said = "".join(followed.printed.values())
    quoted = [text for block in blocks(PAGE) if block.language == "text" for text in block.text.strip().split("\n\n")]
    assert len(quoted) >= 2
    for text in quoted:
        assert text in said


def test_the_adapter_is_short(followed: Followed) -> None:
    """Provider, control and adapter together are under 100 lines of code."""
    lines = [line.strip() for line in (followed.folder / ADAPTER).read_text().splitlines()]
    assert len([line for line in lines if line and not line.startswith(("#", '"""'))]) < 100


@pytest.mark.parametrize(
    ("rule", "line", "instead", "expected", "came", "repair"),
    [
        (
            "reading.version",
            "checksum(dumps(document))",
            '"1"',
            "another version",
            "1",
            "return the flag as it is now",
        ),
        (
            "values.boolean_true",
            "return self._rules.evaluate(flag_key, context)",
            "return self._rules.off(flag_key)",
            "True",
            "False",
            "answer with the value of the variant that the flag serves",
        ),
    ],
    ids=["control", "provider"],
)
def test_a_broken_line_is_told(
    followed: Followed, tmp_path: Path, rule: str, line: str, instead: str, expected: str, came: str, repair: str
) -> None:
    """One changed line fails the rule named for it, which says what was expected, what came and how to repair it."""
    whole = (followed.folder / ADAPTER).read_text()
    assert whole.count(line) == 1
    (tmp_path / ADAPTER).write_text(whole.replace(line, instead))
    for name in (TESTS, "flagfile.py"):
        (tmp_path / name).write_text((followed.folder / name).read_text())
    done = followed.machine.run(f"pytest -q '{TESTS}::TestInhouse::test_rule[{rule}]'", folder=tmp_path)
    assert done.returncode == 1
    told = dict(re.findall(r"^\s+(rule|expected|came|repair|read):\s+(.*)$", done.stdout, re.MULTILINE))
    assert f"Rule {rule} is broken" in done.stdout
    assert told["rule"]
    assert told["expected"] == expected
    assert told["came"] == came
    assert told["repair"].startswith(repair)
    assert told["read"] == f"docs/contract.md, heading {rule}"


def test_the_template_passes_as_it_is(installed: Path, tmp_path: Path) -> None:
    """`flagbrake new-adapter` writes a project that passes, installs, and is found by `use`.

    Another repository then needs a test file of eleven lines.
    """
    machine = Machine(installed, tmp_path / "home")
    done = machine.run("flagbrake new-adapter my_house && cd flagbrake-my-house && pytest -q && pip install .")
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d{3} passed, \d+ skipped", done.stdout)
    settings = 'use = "my_house"\n[store]\nurl = "sqlite:///flagbrake.db"\n'
    (machine.work / "flagbrake.toml").write_text(settings)
    done = machine.run("flagbrake init && flagbrake flag create new-search && flagbrake doctor")
    assert done.returncode == 0, done.stdout
    assert "provider 'my_house'" in done.stdout
    assert len([line for line in ELEVEN_LINES.splitlines() if line.strip()]) == 11
    (machine.work / "test_outside.py").write_text(ELEVEN_LINES)
    done = machine.run("pytest -q test_outside.py")
    assert done.returncode == 0, done.stdout


def test_the_template_spoils_nothing(installed: Path, tmp_path: Path) -> None:
    """It refuses a folder with something in it, a name that is taken and one that is none; --json tells the files."""
    machine = Machine(installed, tmp_path / "home")
    written = json.loads(machine.run("flagbrake --json new-adapter acme --directory here").stdout)
    assert written["directory"] == str(machine.work / "here")
    assert all((machine.work / "here" / name).is_file() for name in written["files"])
    before = {file: file.read_text() for file in machine.work.rglob("*") if file.is_file()}
    again = machine.run("flagbrake new-adapter acme --directory here")
    assert (again.returncode, "not empty; nothing was written" in again.stdout) == (2, True)
    assert machine.run("flagbrake new-adapter sql").returncode == 2
    assert "Try: acme_2" in machine.run("flagbrake new-adapter Acme-2").stdout
    assert before == {file: file.read_text() for file in machine.work.rglob("*") if file.is_file()}
