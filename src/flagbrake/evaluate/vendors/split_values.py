"""How Split sees an attribute: as a text, a number, a truth, a set or a version.

Source of every rule: splitio-client 10.7, ``models/grammar/matchers``. Values that Split does not know are read as
the provider sends them, see :func:`plain`; what stands inside a structure is an attribute of its own, named as
``Attribute`` writes it, unless the context has an attribute of just that name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from flagbrake.model.clause import Attribute

Read = Callable[[str | None, Mapping[str, Any]], Any]

#: Deeper values are left out.
_DEEPEST: Final = 20


def plain(value: Any, within: tuple[int, ...] = ()) -> Any:  # noqa: PLR0911 - a table of types
    """An attribute as Split is given it, ``None`` for what is left out.

    Datetimes and dates (naive is UTC) are whole seconds since 1970, Decimals numbers, tuples and sets lists;
    None, bytes and objects of other types are left out, inside structures too; so is what holds itself, inside
    itself (``within`` has the ``id`` of what holds the value).
    """
    match value:
        case bool() | str() | int() | float():
            return value
        case datetime():
            return int((value.replace(tzinfo=UTC) if value.tzinfo is None else value).timestamp() // 1)
        case date():
            return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
        case Decimal():
            if not value.is_finite():
                return None
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes() | bytearray() | memoryview() | None:
            return None
        case Mapping() if len(within) < _DEEPEST and id(value) not in within:
            found = ((str(name), plain(one, (*within, id(value)))) for name, one in value.items())
            return {name: one for name, one in found if one is not None}
        case Sequence() | AbstractSet() if len(within) < _DEEPEST and id(value) not in within:
            return [one for one in (plain(one, (*within, id(value))) for one in value) if one is not None]
        case _:
            return None


def text(value: Any) -> str | None:
    """What a matcher of texts sees: a text as it is, anything else as JSON, ``None`` for what JSON cannot say."""
    if isinstance(value, str):
        return value
    given = plain(value)
    try:
        return None if given is None else json.dumps(given)
    except (TypeError, ValueError):
        return None


def number(value: Any) -> int | None:
    """What a matcher of numbers sees: a whole number, or the text of one; ``None`` for floats and booleans."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def truth(value: Any) -> bool | None:
    """What a matcher of booleans sees: a boolean, or the text of one in any case; else ``None``."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    try:
        decoded = json.loads(value.lower())
    except ValueError:
        return None
    return decoded if isinstance(decoded, bool) else None


def elements(value: Any) -> set[Any] | None:
    """What a matcher of sets sees: the elements, those of a text its letters; ``None`` for what has none."""
    try:
        return set(plain(value))
    except TypeError:
        return None


def reader(attribute: Attribute, nested: Read) -> Read:
    """How to read an attribute that is not simply one of the context: by its written name, else inside."""
    name = str(attribute)

    def read(key: str | None, attributes: Mapping[str, Any]) -> Any:
        value = attributes.get(name)
        return nested(key, attributes) if value is None else value

    return read


@dataclass(frozen=True, slots=True)
class Version:
    """A version. Equal are only versions of the same text; in order those that differ in the build part are alike."""

    numbers: tuple[int, int, int]
    before: tuple[str, ...]  # the parts of a pre-release, empty for a release
    text: str

    @classmethod
    def parse(cls, written: str) -> Version | None:
        """A version of exactly three numbers, ``None`` for any other text. Blanks and signs as ``int`` takes them."""
        body, plus, build = written.partition("+")
        release, minus, tail = body.partition("-")
        if (plus and not build) or (minus and not tail):
            return None
        try:
            major, minor, patch = (int(part) for part in release.split("."))
            before = tuple([str(int(p)) if p.isnumeric() else p for p in tail.split(".")]) if minus else ()
        except ValueError:
            return None
        shown = f"{major}.{minor}.{patch}" + ("-" + ".".join(before) if before else "") + (f"+{build}" if build else "")
        return cls((major, minor, patch), before, shown)

    def compare(self, other: Version) -> int:
        """Less than 0, 0 or more than 0."""
        if self.text == other.text:
            return 0
        if self.numbers != other.numbers:
            return -1 if self.numbers < other.numbers else 1
        if bool(self.before) != bool(other.before):
            return -1 if self.before else 1
        for mine, theirs in zip(self.before, other.before, strict=False):
            if mine != theirs:
                if mine.isnumeric() and theirs.isnumeric():
                    return int(mine) - int(theirs)
                return -1 if mine < theirs else 1
        return len(self.before) - len(other.before)


def version(value: Any) -> Version | None:
    """What a matcher of versions sees: that of the text, ``None`` for any other."""
    written = text(value)
    return None if written is None else Version.parse(written)
