"""``new-adapter``: a project for a provider of one's own, which passes the contract as it is written."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flagbrake._version import __version__
from flagbrake.errors import InvalidInput

if TYPE_CHECKING:
    from flagbrake.cli.session import Session

#: Template -> where it goes. `$package` is the module's name.
_PLACES: Final = {
    "pyproject.toml": "pyproject.toml",
    "readme.md": "README.md",
    "init.py": "src/$package/__init__.py",
    "adapter.py": "src/$package/adapter.py",
    "provider.py": "src/$package/provider.py",
    "control.py": "src/$package/control.py",
    "translate.py": "src/$package/translate.py",
    "errors.py": "src/$package/errors.py",
    "vendor.py": "src/$package/vendor.py",
    "contract.py": "tests/test_contract.py",
}


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("new-adapter")(new_adapter)


def new_adapter(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help='The provider\'s name, as in use = "acme".')],
    directory: Annotated[
        Path | None, typer.Option("--directory", "-d", help="Where to write it; flagbrake-NAME unless given.")
    ] = None,
) -> None:
    """Write a provider of your own: a project that passes the contract, with the places to change."""
    session: Session = context.obj
    words = _words(name)
    target = (directory or Path(f"flagbrake-{words['dashed']}")).absolute()
    pages = {Template(place).substitute(words): _page(page, words) for page, place in _PLACES.items()}
    _write(target, pages)
    session.out.line(f"Wrote {target}")
    for place in pages:
        session.out.line(f"  {place}")
    session.out.line(f"Next: cd {target}, pip install -e '.[test]', pytest; then change what says CHANGE")
    session.out.data(name=name, directory=str(target), files=list(pages))


def _words(name: str) -> dict[str, str]:
    """What the templates ask for."""
    from flagbrake import registry

    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        cure = near if re.fullmatch(r"[a-z][a-z0-9_]*", near) and not keyword.iskeyword(near) else "acme"
        raise InvalidInput(f"'{name}' is not a provider's name: small letters, digits and single _.", cure=cure)
    if name in {*registry.OURS, *registry.adapter_names()}:
        raise InvalidInput(f"There is a provider '{name}' already.", cure="another name")
    major, minor = (int(part) for part in __version__.split(".")[:2])
    return {
        "name": name,
        "dashed": name.replace("_", "-"),
        "package": f"flagbrake_{name}",
        "Class": "".join(part.capitalize() for part in name.split("_")),
        "major": f"{major}.{minor}",
        "next": f"{major}.{minor + 1}",
    }


def _page(page: str, words: dict[str, str]) -> str:
    text = files("flagbrake.cli").joinpath("template", f"{page}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(words)


def _write(target: Path, pages: dict[str, str]) -> None:
    """Write all pages into a folder that is new or empty.

    Raises:
        InvalidInput: something is there, or the folder cannot be written.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InvalidInput(f"{target} exists and is not empty; nothing was written.", cure="another --directory")
        for place, text in pages.items():
            file = target / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written ({error.strerror}).", cure="another --directory") from error
