"""Strict reading of JSON data: every complaint names the path, the fact and the cure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from flagbrake.errors import InvalidInput

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

#: Longest key, variant or rule name: what every supported store and vendor can hold.
LONGEST_NAME = 256


class Malformed(Exception):
    """A complaint on its way up; each container it passes puts its own name in front of the path.

    The path is built only when something is wrong, so a good document pays nothing for it.
    """

    def __init__(self, fact: str, cure: str, *path: str) -> None:
        self.fact = fact
        self.cure = cure
        self.path = list(path)
        super().__init__(fact)

    def under(self, step: str) -> Malformed:
        """The same complaint, one container further out."""
        self.path.insert(0, step)
        return self

    def as_input_error(self, where: str) -> InvalidInput:
        """The public error."""
        text = where
        for step in self.path:
            text += step if step.startswith("[") or not text else f".{step}"
        return InvalidInput(f"{text}: {self.fact}" if text else self.fact, cure=self.cure)


def reading(read: Callable[[Any], T], data: Any, where: str) -> T:
    """Run ``read`` on ``data``; a complaint becomes InvalidInput with the whole path."""
    try:
        return read(data)
    except Malformed as bad:
        raise bad.as_input_error(where) from None


def inside(name: str, read: Callable[[Any], T], item: Any) -> T:
    """``read(item)`` with ``name`` put in front of the path of a complaint."""
    try:
        return read(item)
    except Malformed as bad:
        raise bad.under(name) from None


def each(name: str, read: Callable[[Any], T], items: Any) -> tuple[T, ...]:
    """``read`` applied to every element of a list."""
    if type(items) is not list:
        raise Malformed(f"must be a list, not {shown(items)}.", "[ ... ]", name)
    done: list[T] = []
    try:
        for item in items:
            done.append(read(item))  # noqa: PERF401 - the index of the failing element is len(done)
    except Malformed as bad:
        raise bad.under(f"[{len(done)}]").under(name) from None
    return tuple(done)


def fields(data: Any, allowed: frozenset[str], required: tuple[str, ...], what: str) -> dict[str, Any]:
    """``data`` if it is an object with only known and all required names."""
    if type(data) is not dict:
        raise Malformed(f"must be an object ({what}), not {shown(data)}.", "{ " + ", ".join(required) + " }")
    if not data.keys() <= allowed:
        unknown(min((k for k in data if k not in allowed), key=str), allowed, what)
    for name in required:
        if name not in data:
            raise Malformed(f"{what} has no '{name}'.", f'add "{name}": ...')
    return data


def unknown(name: object, known: Iterable[str], what: str) -> NoReturn:
    """Complain about a name nobody knows."""
    raise Malformed(f"'{name}' is not a field of {what}.", suggestion(name, known))


def suggestion(name: object, known: Iterable[str]) -> str:
    """The nearest known name, else all of them."""
    import difflib  # only on the way to an error

    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f"'{close[0]}'" if close else "one of " + ", ".join(names)


def shown(value: Any) -> str:  # noqa: PLR0911 - one answer per JSON type
    """A value as a complaint shows it: short, in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case str():
            return repr(value if len(value) <= 40 else value[:37] + "...")
        case int() | float():
            return repr(value)
        case _:
            return f"a {type(value).__name__}"


def text(data: Mapping[str, Any], name: str, default: str = "") -> str:
    """A string field."""
    value = data.get(name, default)
    if type(value) is not str:
        raise Malformed(f"must be a string, not {shown(value)}.", f'"{name}": "..."', name)
    return value


def key(data: Mapping[str, Any], name: str) -> str:
    """A string that names something: not empty, printable, no blanks around it."""
    value = text(data, name)
    if not value or len(value) > LONGEST_NAME or not value.isprintable() or value[0] == " " or value[-1] == " ":
        raise Malformed(f"{shown(value)} cannot be a name.", f"1 to {LONGEST_NAME} printable characters", name)
    return value


def boolean(data: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """A boolean field."""
    value = data.get(name, default)
    if type(value) is not bool:
        raise Malformed(f"must be true or false, not {shown(value)}.", f'"{name}": true', name)
    return value


def integer(data: Mapping[str, Any], name: str, default: int = 0) -> int:
    """An integer field that is not negative."""
    value = data.get(name, default)
    if type(value) is not int or value < 0:
        raise Malformed(f"must be a whole number from 0, not {shown(value)}.", f'"{name}": 1', name)
    return value


def choice(values: Mapping[str, E], data: Mapping[str, Any], name: str) -> E:
    """A field that names a member of an enumeration; ``values`` maps texts to members."""
    value = data[name]
    member = values.get(value) if type(value) is str else None
    if member is None:
        raise Malformed(f"{shown(value)} is not known here.", suggestion(value, values), name)
    return member


def members(enum: type[E]) -> dict[str, E]:
    """Text to member."""
    return {member.value: member for member in enum}


def texts(name: str, items: Any) -> tuple[str, ...]:
    """A list of strings. Lists of a million are checked without a Python loop."""
    if type(items) is not list:
        raise Malformed(f"must be a list of strings, not {shown(items)}.", '["..."]', name)
    if not set(map(type, items)) <= {str}:
        index = next(i for i, item in enumerate(items) if type(item) is not str)
        raise Malformed(f"must be a string, not {shown(items[index])}.", '"..."', name, f"[{index}]")
    return tuple(items)


def moment(data: Mapping[str, Any], name: str) -> datetime:
    """An ISO 8601 moment with an offset, as UTC."""
    value = text(data, name)
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise Malformed(f"{shown(value)} is not a moment with an offset.", "2026-01-31T23:59:00+00:00", name)
    return parsed.astimezone(UTC)


def json_value(value: Any) -> Any:
    """``value`` if it is JSON through and through, numbers finite, object keys strings."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return value
        case float() if math.isfinite(value):
            return value
        case list():
            for index, item in enumerate(value):
                inside(f"[{index}]", json_value, item)
            return value
        case dict():
            for name, item in value.items():
                if type(name) is not str:
                    raise Malformed(f"{shown(name)} cannot be an object's key.", f'"{name}"')
                inside(name, json_value, item)
            return value
        case _:
            raise Malformed(f"{value!r} is not a JSON value.", "a string, number, true, false, list or object")
