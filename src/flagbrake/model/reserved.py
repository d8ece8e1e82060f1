"""The one table between scopes and the names of the vendor flags that carry their kills.

``agent:refunds.tools`` is ``kill.agent.refunds.tools`` and ``*`` is ``kill.everything``. In a path, ASCII
letters, digits and ``-`` stand for themselves and dots for dots; everything else, the underscore too, is
``_XX`` for each byte of its UTF-8 form, in upper-case hex. Where a vendor's names may hold no dot, another
character stands for it (``dot="-"``: ``kill-agent-refunds-tools``), and that one is escaped in paths.

Every scope has one name and every name at most one scope: what is written otherwise is refused, so that
two flags can never disagree about the same kill.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import Final

from flagbrake.errors import InvalidInput
from flagbrake.model.kill import EVERYTHING, Scope, ScopeKind

#: The first part of a kill's name; reserved, whatever follows it.
_KILL: Final = "kill"
#: Has no path, so no kind that may come can be taken for it.
_EVERYTHING: Final = "everything"
_MANIFEST: Final = ("flagbrake", "manifest")
_ESCAPE: Final = re.compile(r"_([0-9A-F]{2})")

#: Longer names are not written: the shortest limit of a supported vendor.
LONGEST: Final = 100


def kill_flag(scope: Scope, *, dot: str = ".") -> str:
    """The name of the vendor flag that kills a scope while it serves true.

    Raises:
        InvalidInput: a path with an empty part, or one that is no text (half of a surrogate pair).
    """
    if scope.kind is ScopeKind.EVERYTHING:
        return f"{_KILL}{dot}{_EVERYTHING}"
    try:
        path = "".join(_table(dot).get(c) or _escaped(c) for c in Scope.parse(str(scope)).path)
    except UnicodeEncodeError as error:
        raise InvalidInput(f"The path of {scope!r} is not valid text.", cure="another name") from error
    return f"{_KILL}{dot}{scope.kind.value}{dot}{path}"


def new_kill_flag(scope: Scope, *, dot: str = ".") -> str:
    """:func:`kill_flag` for a flag that is about to be written.

    Raises:
        InvalidInput: as above, or longer than vendors take.
    """
    name = kill_flag(scope, dot=dot)
    if len(name) > LONGEST:
        raise InvalidInput(
            f"The flag that kills {scope} would have a name of {len(name)} characters; vendors take {LONGEST}.",
            cure="kill a shorter scope above it",
        )
    return name


def scope_of(name: str, *, dot: str = ".") -> Scope:
    """The scope that a flag of this name kills.

    Raises:
        InvalidInput: not the name that :func:`kill_flag` gives to any scope.
    """
    kill, _, rest = name.partition(dot)
    kind, separator, path = rest.partition(dot)
    if kill == _KILL and rest == _EVERYTHING:
        return EVERYTHING
    try:
        if kill != _KILL or not separator or kind not in set(ScopeKind):
            raise _stranger(name)
        scope = Scope.parse(f"{kind}:{_unescaped(path.replace(dot, '.'))}")
        if kill_flag(scope, dot=dot) != name:
            raise _stranger(name)
    except (InvalidInput, UnicodeDecodeError):
        raise _stranger(name) from None
    return scope


def manifest_flag(*, dot: str = ".") -> str:
    """The name of the flag that holds the declarations."""
    return dot.join(_MANIFEST)


def kill_prefix(*, dot: str = ".") -> str:
    """What every kill's name begins with."""
    return _KILL + dot


def looks_like_kill(name: str, *, dot: str = ".") -> bool:
    """True for every name that begins as a kill's does, whether it names a scope or not."""
    return name.startswith(kill_prefix(dot=dot))


def is_reserved(name: str, *, dot: str = ".") -> bool:
    """True for what is read as a kill or as the declarations."""
    return looks_like_kill(name, dot=dot) or name == manifest_flag(dot=dot)


@lru_cache(maxsize=8)
def _table(dot: str) -> dict[str, str]:
    plain = {c: c for c in (*string.ascii_letters, *string.digits, "-") if c != dot}
    return {**plain, ".": dot}


def _escaped(character: str) -> str:
    return "".join(f"_{byte:02X}" for byte in character.encode())


def _unescaped(path: str) -> str:
    raw = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), path)
    # Every character is one byte now; what was none is refused by the codec.
    return raw.encode("latin-1", "replace").decode()


def _stranger(name: str) -> InvalidInput:
    kinds = ", ".join(k.value for k in ScopeKind if k is not ScopeKind.EVERYTHING)
    return InvalidInput(
        f"'{name}' begins as the name of a kill does and names no scope.",
        cure=f"another name, or the canonical one of a scope ({kinds})",
    )
