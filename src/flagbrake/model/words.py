"""Words for people: how many of what."""

from __future__ import annotations

import re


def counted(number: int, thing: str) -> str:
    """``1 flag``, ``0 flags``, ``2 processes``, ``2 companies``."""
    return f"{number} {thing if number == 1 else plural(thing)}"


def plural(thing: str) -> str:
    """The regular plural of a thing whose last word is the noun: other plurals are not asked for here."""
    if re.search(r"(s|x|z|ch|sh)$", thing):
        return f"{thing}es"
    if re.search(r"[^aeiou]y$", thing):
        return f"{thing[:-1]}ies"
    return f"{thing}s"
