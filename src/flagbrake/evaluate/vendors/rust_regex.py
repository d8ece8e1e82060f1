r"""Patterns of Rust's ``regex`` 1.x, searched for by RE2, which is of the same family: no look-around, linear time.

RE2 counts ASCII where Rust counts Unicode, so classes are spelt out; word boundaries (``\b``) stay those of ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NoReturn

from flagbrake.errors import MissingExtra, Unsupported

#: ``\w``, ``\s`` of Unicode Technical Standard 18, as what stands inside a class.
_WORD: Final = (
    r"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}"
    r"\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}"
)
_SPACE: Final = r"\t-\r\x{85}\p{Z}"
_CLASSES: Final = {"d": r"\p{Nd}", "w": _WORD, "s": _SPACE}
_ESCAPES: Final = frozenset("afnrtv")
_ASSERTIONS: Final = frozenset("AzbB")
_REPEAT: Final = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_GROUP: Final = re.compile(r"\?(?:P?<(?P<name>[A-Za-z_][A-Za-z0-9_.\[\]]*)>|(?P<flags>[a-zA-Z-]*)(?P<end>[:)]))")
_POSIX: Final = re.compile(r"\[:\^?[a-z]+:\]")
_CODE: Final = re.compile(r"x[0-9A-Fa-f]{2}|[xuU]\{[0-9A-Fa-f]+\}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}")
_PROPERTY: Final = re.compile(r"[pP](?:[A-Za-z]|\{\^?[^}]*\})")
#: Complaints of RE2 about what Rust would take.
_NARROWER: Final = (
    "bad repetition operator",
    "invalid repetition size",
    "invalid character class range",
    "pattern too large",
)


class _Refused(Exception):
    """Rust does not take the pattern."""


@lru_cache(maxsize=1024)
def search(pattern: str, *, ignore_case: bool) -> Callable[[str], bool]:
    """Is the pattern somewhere in a text? One that Rust refuses is nowhere.

    Raises:
        MissingExtra: ``google-re2`` is not installed.
        Unsupported: Rust takes the pattern and this cannot.
    """
    try:
        import re2
    except ImportError:
        fact = "A regular expression of Unleash needs google-re2, which is not installed."
        raise MissingExtra(fact, cure="pip install 'flagbrake[re2]'") from None
    try:
        spelt = _Spelling(pattern).spelt()
    except _Refused:
        return lambda _text: False
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    try:
        compiled = re2.compile(spelt, options)
    except re2.error as error:
        if any(str(part).startswith(_NARROWER) for part in _said(error)):
            _unsupported(pattern)
        return lambda _text: False
    return lambda text: compiled.search(text) is not None


def _said(error: Exception) -> list[str]:
    return [part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in error.args]


def _unsupported(pattern: str) -> NoReturn:
    raise Unsupported(f"The pattern {pattern!r} cannot be evaluated here.", cure="simpler sets and repetitions")


class _Spelling:
    """One pass over a pattern: the same in RE2's words."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._made: list[str] = []

    def spelt(self) -> str:
        while self._at < len(self._pattern):
            letter = self._pattern[self._at]
            match letter:
                case "\\":
                    self._escape()
                case "[":
                    self._class()
                case "(":
                    self._group()
                case "{":
                    self._take(_REPEAT)
                case _:
                    self._made.append(letter)
                    self._at += 1
        return "".join(self._made)

    def _take(self, form: re.Pattern[str], *, skip: int = 0) -> re.Match[str]:
        found = form.match(self._pattern, self._at + skip)
        if found is None:
            raise _Refused
        self._made.append(self._pattern[self._at : found.end()])
        self._at = found.end()
        return found

    def _escape(self, *, inside: bool = False) -> None:
        letter = self._pattern[self._at + 1 : self._at + 2]
        if letter in _ASSERTIONS and letter and not inside:
            if letter in "bB" and self._pattern[self._at + 2 : self._at + 3] == "{":
                _unsupported(self._pattern)
        elif letter and letter in "dDwWsS":
            self._class_of(letter, inside=inside)
            return
        elif letter and letter in "pP":
            self._take(_PROPERTY, skip=1)
            return
        elif letter and letter in "xuU":
            self._code()
            return
        elif letter in {"<", ">"}:
            _unsupported(self._pattern)
        elif letter not in _ESCAPES and (not letter.isascii() or letter.isalnum() or not letter):
            raise _Refused
        self._made.append("\\" + letter)
        self._at += 2

    def _class_of(self, letter: str, *, inside: bool) -> None:
        members = _CLASSES[letter.lower()]
        if not inside:
            self._made.append(f"[{members}]" if letter.islower() else f"[^{members}]")
        elif letter.islower():
            self._made.append(members)
        elif letter == "D":
            self._made.append(r"\P{Nd}")
        else:
            _unsupported(self._pattern)
        self._at += 2

    def _code(self) -> None:
        found = _CODE.match(self._pattern, self._at + 1)
        if found is None:
            raise _Refused
        digits = found[0][1:].strip("{}")
        self._made.append(f"\\x{{{digits}}}")
        self._at = found.end()

    def _group(self) -> None:
        self._made.append("(")
        self._at += 1
        if self._pattern[self._at : self._at + 1] != "?":
            return
        found = _GROUP.match(self._pattern, self._at)
        if found is None or (found["flags"] == "" and found["end"] == ")"):
            raise _Refused
        self._at = found.end()
        if found["name"]:
            self._made.append(f"?P<{found['name']}>")
            return
        flags = found["flags"]
        if not set(flags) <= set("imsUuxR-") or flags.count("-") > 1 or flags.endswith("-"):
            raise _Refused
        on, _, off = flags.partition("-")
        if "x" in flags or "R" in flags or "u" in off:
            _unsupported(self._pattern)
        on = on.replace("u", "")
        kept = on + (f"-{off}" if off else "")
        self._made.append(f"?{kept}{found['end']}" if kept or found["end"] == ":" else "?:)")

    def _class(self) -> None:
        self._made.append("[")
        self._at += 1
        if self._pattern[self._at : self._at + 1] == "^":
            self._made.append("^")
            self._at += 1
        if self._pattern[self._at : self._at + 1] == "]":
            self._made.append(r"\]")
            self._at += 1
        while True:
            letter = self._pattern[self._at : self._at + 1]
            if not letter:
                raise _Refused
            if letter == "\\":
                self._escape(inside=True)
            elif letter == "[":
                if not _POSIX.match(self._pattern, self._at):
                    _unsupported(self._pattern)
                self._take(_POSIX)
            elif self._pattern[self._at : self._at + 2] in {"&&", "--", "~~"}:
                _unsupported(self._pattern)
            else:
                self._made.append(letter)
                self._at += 1
                if letter == "]":
                    return
