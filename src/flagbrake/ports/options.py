"""An adapter's table of flagbrake.toml, read: each option by a check, each error with its name and a cure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike, fspath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flagbrake.errors import ConfigError

#: Takes what the table holds and returns what is used, or raises :class:`Unfit`.
Check = Callable[[Any], Any]
_Name = TypeVar("_Name", bound=str)


class Unfit(ValueError):
    """An option that cannot be used: ``[acme] option FACT. Try: CURE``."""

    def __init__(self, fact: str, cure: str) -> None:
        super().__init__(fact)
        self.cure = cure


def read(adapter: str, table: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """The options that are given and have a check, checked. The rest is somebody else's.

    Raises:
        ConfigError: a value that its check does not take; a secret's is not shown.
    """
    found = {}
    for option, check in checks.items():
        if option in table:
            try:
                found[option] = check(table[option])
            except Unfit as unfit:
                cure = unfit.cure.replace("OPTION", option)
                raise ConfigError(f"[{adapter}] {option} {unfit}.", cure=cure) from None
    return found


def text(value: Any) -> str:
    """A text, without blanks around it; a path will do."""
    found = fspath(value) if isinstance(value, PathLike) else value
    if not isinstance(found, str) or not found.strip():
        raise Unfit("is not a text", 'OPTION = "..."')
    return found.strip()


def secret(value: Any) -> str:
    """A key or a token: printable, and in one piece."""
    found = text(value)
    if not found.isascii() or not found.isprintable() or " " in found:
        raise Unfit("holds characters that no key has", "copy it again, whole")
    return found


def address(value: Any) -> str:
    """Where a server is, without a slash at the end; addresses are shown, so there is no password in one."""
    found = text(value)
    try:
        parts = urlsplit(found)
    except ValueError:
        raise Unfit("is no address", "https://HOST") from None
    if "@" in parts.netloc:
        raise Unfit("holds a user or a password, and addresses are shown", "https://HOST")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Unfit(f"is '{found}'", "https://HOST")
    return found.rstrip("/")


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise Unfit("is not a list of texts", 'OPTION = ["..."]')
    return tuple(value)


def seconds(value: Any) -> float:
    """A number of seconds above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise Unfit("is not a number of seconds above 0", "OPTION = 5")
    return float(value)


def seconds_or_never(value: Any) -> float:
    """A number of seconds, or 0 for never."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    return seconds(value)


def switch(value: Any) -> bool:
    """True or false, and nothing that only looks like it."""
    if not isinstance(value, bool):
        raise Unfit("is not true or false", "OPTION = true")
    return value


def one_of(*names: _Name) -> Callable[[Any], _Name]:
    """One of these names, or of an enumeration's."""

    def check(value: Any) -> _Name:
        for name in names:
            if value == name:
                return name
        raise Unfit(f"is {value!r}", ", ".join(names))

    return check
