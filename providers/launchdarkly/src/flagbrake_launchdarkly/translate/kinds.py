"""LaunchDarkly's context kinds <-> the model's, where the unit is a context of any kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flagbrake.model.clause import USER, USER_STRUCTURE
from flagbrake_launchdarkly.names import RESERVED

_KIND: Final = re.compile(r"[-a-zA-Z0-9._]+")


class NoReference(ValueError):
    """A text that is no attribute reference, or an attribute or a context kind that LaunchDarkly cannot name."""


def is_kind(text: str) -> bool:
    """May a context be of this kind?"""
    return _KIND.fullmatch(text) is not None and text not in {"kind", "multi"}


@dataclass(frozen=True, slots=True)
class Kinds:
    """The model's kind ``user`` is the evaluation context itself: in LaunchDarkly, contexts of kind ``unit``.

    Where that is another one, LaunchDarkly's ``user`` is ``USER_STRUCTURE`` here; every other kind keeps its name.
    """

    unit: str = USER

    @property
    def renamed(self) -> bool:
        """Is any kind called otherwise here than in LaunchDarkly?"""
        return self.unit != USER

    def ours(self, kind: str | None) -> str:
        """The model's name of a kind; LaunchDarkly takes none for users."""
        if (kind or USER) == self.unit:
            return USER
        return USER_STRUCTURE if not kind or kind == USER else kind

    def theirs(self, kind: str) -> str:
        """LaunchDarkly's name of a kind.

        Raises:
            NoReference: it cannot be one there.
        """
        if kind == USER:
            return self.unit
        if self.renamed and kind == USER_STRUCTURE:
            return USER
        if self.renamed and kind == self.unit:
            raise NoReference(f"'{kind}' is the kind of the unit itself here (context_kind), written without a kind")
        if not is_kind(kind) or kind in RESERVED:
            raise NoReference(f"'{kind}' cannot be a context kind")
        return kind
