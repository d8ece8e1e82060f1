"""Names of variants, which LaunchDarkly keeps from its SDKs: they travel as targets of a kind of their own.

LaunchDarkly gives a variation a name in its interface and its management API; a server SDK receives values and
an index only. flagbrake's control therefore writes, with what it writes anyway, one individual target per
variation: a context of kind ``flagbrake-variant`` whose key is the name. No agent is such a context, so no answer
changes; every SDK receives the flag and its names in one document, of one version. A flag that flagbrake never
wrote has none: there the index is the variant (``"0"``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

#: The context kind whose keys are names of variants.
NAMES: Final = "flagbrake-variant"
#: The context kind that marks a variation as one of other environments only: variations belong to all of them.
DROPPED: Final = "flagbrake-dropped"
#: No context may be of these kinds: it would choose its variant itself.
RESERVED: Final = frozenset((NAMES, DROPPED))


def names_of(document: Mapping[str, Any]) -> dict[int, str]:
    """Variation index -> name, of a flag as an SDK receives it or of an environment as the management API shows it."""
    found: dict[int, str] = {}
    for target in document.get("contextTargets") or ():
        if target.get("contextKind") == NAMES:
            for key in target.get("values") or ():
                found.setdefault(int(target["variation"]), str(key))
    # Two variations of one name tell nothing.
    return {index: name for index, name in found.items() if list(found.values()).count(name) == 1}


def name_targets(names: Sequence[str]) -> list[dict[str, Any]]:
    """The targets that carry these names, in the order of the variations."""
    return [{"contextKind": NAMES, "variation": index, "values": [name]} for index, name in enumerate(names)]


def without_names(targets: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The targets that are meant for contexts."""
    return [target for target in targets if target.get("contextKind") not in RESERVED]


def dropped_of(document: Mapping[str, Any]) -> frozenset[int]:
    """The variations that this environment has dropped and others still use."""
    marked = (t for t in document.get("contextTargets") or () if t.get("contextKind") == DROPPED)
    return frozenset(int(target["variation"]) for target in marked)
