"""A machine where only wheels are installed: an empty folder, with commands that see no editable install."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {"flagbrake": ".", "flagbrake_sql": "providers/sql", "flagbrake_contract": "contract_tests"}

# `pip install .` builds the project of this folder and unpacks its wheel; everything else is there already.
_PIP = """#!/bin/sh
for last; do :; done
[ "$last" = . ] || exit 0
rm -rf dist && python -m build --wheel --no-isolation --outdir dist . && python -m zipfile -e dist/*.whl {site}
"""


def build(folder: Path, out: Path) -> None:
    """A wheel, without a network."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def unpack(wheel: Path, site: Path) -> None:
    """What an installer does with a pure wheel."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)


@dataclass(frozen=True)
class Machine:
    """``wheels`` are ours, unpacked; ``home`` is empty and holds what the stranger does and installs."""

    wheels: Path
    home: Path

    def __post_init__(self) -> None:
        for folder in ("bin", "site", "work"):
            (self.home / folder).mkdir(parents=True)
        # -S: this environment's own site-packages (and its editable installs) are not looked at; -P: nor the
        # working folder. PYTHONPATH entries are not searched for .pth files.
        commands = {name: f'#!/bin/sh\nexec {sys.executable} -S -P {rest} "$@"\n' for name, rest in _COMMANDS.items()}
        for name, text in {**commands, "pip": _PIP.format(site=self.home / "site")}.items():
            file = self.home / "bin" / name
            file.write_text(text)
            file.chmod(0o755)

    @property
    def work(self) -> Path:
        """The stranger's folder."""
        return self.home / "work"

    def run(self, script: str, *, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a piece of bash; the exit code is the caller's affair."""
        third_party = next(path for path in sys.path if path.endswith("site-packages"))
        # As on any machine, the standard library comes first: a vendor's client brings an argparse of Python 2.
        standard = sysconfig.get_path("stdlib")
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder or self.work,
            env={
                "PATH": f"{self.home / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
                "HOME": str(self.home),
                "PYTHONPATH": os.pathsep.join(map(str, (self.home / "site", self.wheels, standard, third_party))),
                "PYTHONDONTWRITEBYTECODE": "1",
                "COLUMNS": "200",
                "LANG": "C.UTF-8",
                "USER": "dana",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=170,
        )


_COMMANDS = {"python": "", "pytest": "-m pytest", "flagbrake": "-m flagbrake"}
