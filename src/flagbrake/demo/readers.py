"""Three versions of the skill that changes: reading a signature and a summary out of a page of `help()`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as the page shows it; ``default`` is its text, ``None`` when it has none."""

    name: str
    default: str | None


class Reader(Protocol):
    """What a version of the agent can read out of a page."""

    def parameters(self, page: str) -> list[Parameter]:
        """The parameters that the page's first line shows."""

    def summary(self, page: str) -> str:
        """The first sentence of the page's description."""


class LineReader:
    """v1: walks the page line by line and the signature character by character. Long, careful."""

    _CALL = re.compile(r"[\w.]+\(.*\)")
    _SENTENCE = re.compile(r"\.\s+(?=[A-Z])")

    def parameters(self, page: str) -> list[Parameter]:
        """Split at the commas that stand outside brackets and quotes."""
        return [_parameter(piece) for piece in self._pieces(page) if piece not in {"/", "*"}]

    def summary(self, page: str) -> str:
        """The first paragraph below any line that repeats the call, up to the end of its first sentence."""
        lines = [line.strip() for line in page.splitlines()[1:]]
        while lines and (not lines[0] or self._CALL.match(lines[0])):
            del lines[0]
        paragraph = lines[: lines.index("")] if "" in lines else lines
        first, *rest = self._SENTENCE.split(" ".join(paragraph), maxsplit=1)
        return first + "." if rest else first

    def _pieces(self, page: str) -> list[str]:
        line = page.partition("\n")[0]
        pieces, piece, depth, quote = [], "", 0, ""
        for character in line[line.index("(") + 1 :]:
            if quote:
                quote = "" if character == quote else quote
            elif character in "'\"":
                quote = character
            elif character in "([{<":
                depth += 1
            elif character in ")]}>":
                depth -= 1
            if depth < 0:
                break
            if character == "," and depth == 0 and not quote:
                pieces.append(piece.strip())
                piece = ""
            else:
                piece += character
        return [*pieces, piece.strip()] if piece.strip() else pieces


class PatternReader:
    """v2: "two patterns instead of forty lines". Tried on the builtins, reviewed, shipped.

    Its defects are genuine: a keyword-only mark (``*`` alone) is no parameter to the pattern, which then
    finds nothing to subscript; and a sentence that goes on in the next line is cut at the line's end.
    """

    _PAGE = re.compile(
        r"[^(\n]+\((?P<call>.*)\)[^\n]*\n(?:\s+[\w.]+\(.*\).*\n)*\s+(?P<summary>.+?(?:\.(?=\s)|$))", re.MULTILINE
    )
    _PARAMETER = re.compile(r"\*{0,2}(?P<name>\w+)(?:=(?P<default>.+))?")

    def parameters(self, page: str) -> list[Parameter]:
        """Split at the commas."""
        call = self._PAGE.match(page)["call"].replace(", /", "")  # type: ignore[index]
        return [self._parameter(piece) for piece in call.split(", ")] if call else []

    def summary(self, page: str) -> str:
        """What the pattern found."""
        return self._PAGE.match(page)["summary"]  # type: ignore[index]

    def _parameter(self, piece: str) -> Parameter:
        found = self._PARAMETER.fullmatch(piece)
        return Parameter(found["name"], found["default"])  # type: ignore[index]


class MendedPatternReader:
    """v3: the patterns of v2, which now know keyword-only marks, nested defaults and sentences over two lines."""

    _CALL = re.compile(r"[^(\n]+\((?P<call>.*)\)")
    _REST = re.compile(
        r"""[^\n]*\n
        (?: \s+ [\w.]+ \(.*\) .*\n | \s*\n )*                         # lines that repeat the call, empty lines
        \s* (?P<summary> (?: . | \n(?!\s*\n) )+? (?: \.(?=\s+[A-Z]) | (?=\n\s*\n|\Z) ))
        """,
        re.VERBOSE,
    )
    _PARAMETER = re.compile(
        r"""\*{0,2} (?P<name>\w+)
        (?: = (?P<default> (?: '[^']*' | "[^"]*" | \([^)]*\) | <[^>]*> | \[[^]]*] | {[^}]*} | [^,'"(<\[{]+ )+ ) )?
        """,
        re.VERBOSE,
    )

    def parameters(self, page: str) -> list[Parameter]:
        """Every name with its default; the marks ``*`` and ``/`` have no name."""
        call = self._CALL.match(page)
        found = self._PARAMETER.finditer(call["call"]) if call else ()
        return [Parameter(one["name"], one["default"]) for one in found]

    def summary(self, page: str) -> str:
        """The first sentence, whatever the number of its lines."""
        found = self._REST.match(page)
        return " ".join(found["summary"].split()) if found else ""


def _parameter(piece: str) -> Parameter:
    name, equals, default = piece.partition("=")
    return Parameter(name.lstrip("*"), default if equals else None)


#: The variants of the flag, and what each of them runs.
READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {"v1": LineReader(), "v2": PatternReader(), "v3": MendedPatternReader()}
)
