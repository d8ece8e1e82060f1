"""The wheels, as strangers get them: what is in them, and a new user's first five minutes with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.stranger import DISTRIBUTIONS


def test_versions_agree(wheels: dict[str, Path]) -> None:
    """Every distribution carries the one version that stands in the core."""
    from flagbrake import __version__

    assert {wheel.name.split("-")[1] for wheel in wheels.values()} == {__version__}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_holds_its_package_and_nothing_else(wheels: dict[str, Path], name: str) -> None:
    """A wheel holds one package with its type marker and the licence, and no test."""
    names = zipfile.ZipFile(wheels[name]).namelist()
    tops = {entry.split("/")[0] for entry in names}
    assert tops == {name, f"{name}-{wheels[name].name.split('-')[1]}.dist-info"}
    assert f"{name}/py.typed" in names
    assert any("licenses/LICENSE" in entry for entry in names)
    assert not any("test_" in entry for entry in names)


def test_import_is_light(installed: Path, tmp_path: Path) -> None:
    """`import flagbrake` loads no database library, no HTTP client, no vendor's SDK, no command line."""
    code = (
        "import sys, flagbrake; print(flagbrake.__file__);"
        "heavy = {'sqlalchemy', 'alembic', 'psycopg', 'httpx', 'typer', 'rich', 'mmh3', 'ldclient', 'splitio'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = _python(installed, tmp_path, "-c", code)
    assert str(installed) in done.stdout


def test_first_five_minutes(installed: Path, tmp_path: Path) -> None:
    """With the wheels alone, in an empty folder: init, first flag, six lines in a service, first kill."""

    def flagbrake(*words: str) -> str:
        return _python(installed, tmp_path, "-m", "flagbrake", *words).stdout

    flagbrake("init")
    flagbrake("flag", "create", "new-search")
    flagbrake("flag", "set", "new-search", "on")
    service = (
        "import asyncio, sys\n"
        "from openfeature import api\n"
        "import flagbrake\n"
        "api.set_provider_and_wait(flagbrake.provider())\n"
        "async def main():\n"
        "    async with flagbrake.halt.scope('flag:new-search'):\n"
        "        print(api.get_client().get_boolean_value('new-search', False), flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except flagbrake.Halted as stop:\n"
        "    print('halted', stop)\n"
        "api.shutdown()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", service],
        cwd=tmp_path,
        env=_environment(installed, tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "True"
        assert "is killed" in flagbrake("kill", "new-search", "--reason", "trying it")
        assert "halted" in process.stdout.read()
        assert process.wait(timeout=30) == 0


def _environment(installed: Path, home: Path) -> dict[str, str]:
    # PYTHONPATH entries are not searched for .pth files, so the editable install stays out of sight.
    site = next(path for path in sys.path if path.endswith("site-packages"))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": f"{installed}{os.pathsep}{site}",
        "COLUMNS": "200",
        "LANG": "C.UTF-8",
    }


def _python(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -S: this environment's own site-packages (and its editable installs) are not looked at.
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=folder,
        env=_environment(installed, folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
