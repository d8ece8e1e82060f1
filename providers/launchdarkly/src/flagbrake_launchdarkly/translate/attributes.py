"""Attribute references <-> attributes of the model."""

from __future__ import annotations

import re
from typing import Final

from flagbrake.model.clause import TARGETING_KEY, Attribute, Contexts
from flagbrake_launchdarkly.translate.kinds import Kinds, NoReference

_BAD_ESCAPE: Final = re.compile("~([^01]|$)")
#: Reads nothing in any context: LaunchDarkly keeps the name to itself.
NOTHING: Final = "_meta"


def read_attribute(text: str, kind: str | None, kinds: Kinds) -> Attribute:
    """A reference as a clause or ``bucketBy`` has it; without a context kind it is a literal name.

    Raises:
        NoReference: empty, two slashes in a row or one at the end, a stray tilde.
    """
    path = _path(text) if kind else (text,)
    if not path[0]:
        raise NoReference("it is empty")
    of = kinds.ours(kind)
    if path[0] == "kind" and len(path) == 1:
        return Attribute(path)  # all kinds there are, whatever kind is named
    if path[0] == "key":
        return Attribute((TARGETING_KEY, *path[1:]), of)
    # Ours, not LaunchDarkly's: no context that reaches it has an attribute of this name.
    return Attribute((NOTHING, *path), of) if path[0] == TARGETING_KEY else Attribute(path, of)


def _path(text: str) -> tuple[str, ...]:
    if not text.startswith("/"):
        return (text,)
    parts = text[1:].split("/")
    if "" in parts:
        raise NoReference("a step of its path is empty")
    if _BAD_ESCAPE.search(text):
        raise NoReference("a '~' that is not '~0' or '~1'")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def write_attribute(attribute: Attribute, contexts: Contexts, kinds: Kinds) -> tuple[str, str]:
    """Context kind and reference.

    Raises:
        NoReference: LaunchDarkly cannot name it.
    """
    path, kind = attribute.path, kinds.theirs(attribute.kind)
    if path[0] == TARGETING_KEY:
        path = ("key", *path[1:])
    elif contexts is Contexts.OPEN and path[0] in {"key", "kind", "_meta"}:
        path = (f"{path[0]}_", *path[1:])  # the provider sends it under this name
    if "" in path:
        raise NoReference("a step of its path is empty")
    if len(path) == 1 and not path[0].startswith("/"):
        return kind, path[0]
    return kind, "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
