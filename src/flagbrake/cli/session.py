"""What every command shares: the global options, the opened control plane, the confirmations."""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from flagbrake.cli.output import Output
from flagbrake.errors import InvalidInput

if TYPE_CHECKING:
    from flagbrake.wiring import ControlPlane

#: Options every command takes, wherever they stand on the line: name -> takes a value.
GLOBAL_OPTIONS: Final = {
    "--config": True,
    "-c": True,
    "--environment": True,
    "-e": True,
    "--by": True,
    "--json": False,
    "--yes": False,
    "-y": False,
}


@dataclass(slots=False)
class Session:
    """One command's run."""

    config: str | None = None
    environment: str | None = None
    by: str = ""
    as_json: bool = False
    yes: bool = False
    out: Output = field(init=False)

    def __post_init__(self) -> None:
        self.out = Output(as_json=self.as_json)
        self.by = self.by or _user()

    @cached_property
    def plane(self) -> ControlPlane:
        """The control plane, opened on first use."""
        from flagbrake.wiring import control_plane

        return control_plane(self.config, environment=self.environment)

    def open(self, *, create: bool) -> ControlPlane:
        """The control plane, with its tables made or upgraded first."""
        from flagbrake.wiring import control_plane

        self.__dict__["plane"] = plane = control_plane(self.config, environment=self.environment, create=create)
        return plane

    def say_where(self) -> None:
        """The first line of every command that reads or writes: which environment, which store."""
        plane = self.plane
        self.out.line(plane.place(), style="dim")
        known = plane.store.environments() if plane.level else ()
        if known and plane.config.environment not in known:
            told = ", ".join(known)
            self.out.warn(f"nothing was ever written in environment '{plane.config.environment}'; there is: {told}")
        self.out.data(
            environment=plane.config.environment,
            project=plane.config.project,
            store=plane.store.url_shown,
            level=plane.level,
        )

    def confirm(self, what: str) -> None:
        """Ask before adding capability in a production environment; ``--yes`` answers beforehand.

        Raises:
            InvalidInput: refused, or there is no terminal to ask on and no ``--yes``.
        """
        environment = self.plane.config.environment
        if self.yes or not environment.lower().startswith("prod"):
            return
        if not sys.stdin.isatty():
            raise InvalidInput(f"{environment}: {what} asks for a confirmation and there is no terminal.", cure="--yes")
        answer = input(f"{environment}: {what}. Type the environment's name to go on: ")
        if answer.strip() != environment:
            raise InvalidInput(f"{environment}: not confirmed, nothing was changed.", cure=f"type '{environment}'")

    def close(self) -> None:
        """Close what was opened and print the JSON document."""
        if "plane" in self.__dict__:
            self.plane.close()
        self.out.finish()


def hoist(argv: list[str]) -> tuple[dict[str, str | bool], list[str]]:
    """Take the global options out of a command line, wherever they stand before ``--``."""
    values: dict[str, str | bool] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif name not in GLOBAL_OPTIONS or (equals and not name.startswith("--")):
            rest.append(word)
        elif not GLOBAL_OPTIONS[name]:
            values[name] = True
        elif equals:
            values[name] = value
        else:
            following = next(words, None)
            if following is None:
                raise InvalidInput(f"{name} takes a value.", cure=f"{name} VALUE")
            values[name] = following
    return values, rest


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no passwd entry for this uid, as in many containers
        return "unknown"
