"""What the SQL control says when it refuses; what the database says is mapped in ``flagbrake.store.faults``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from flagbrake.errors import Conflict, InvalidInput, NotFound


def no_flag(key: str, keys: Iterable[str], environment: str) -> NotFound:
    """There is no such flag; the nearest keys are named."""
    near = difflib.get_close_matches(key, list(keys), n=3, cutoff=0.5)
    return NotFound(f"There is no flag '{key}' in {environment}.", cure=" or ".join(near) or "flagbrake flag list")


def exists(key: str, *, archived: bool) -> Conflict:
    """A flag of this key is there, shown or archived."""
    if archived:
        return Conflict(
            f"Flag '{key}' exists already: it is archived.", cure="another key, or replace the archived one"
        )
    return Conflict(f"Flag '{key}' exists already.", cure="another key, or change the one that is there")


def moved(key: str, *, found: str, expected: str) -> Conflict:
    """The flag is not at the version that the caller saw."""
    return Conflict(
        f"Flag '{key}' was changed by somebody else (version {found}, not {expected}); nothing was written.",
        cure="read it again, then decide again",
    )


def wrong_native(key: str, found: str) -> InvalidInput:
    """The document to restore is another flag's."""
    return InvalidInput(f"The document to put in place of '{key}' is the flag '{found}'.", cure=f"the one of '{key}'")
