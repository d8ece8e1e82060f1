"""Pure: the shape of a flag as it is kept, so that no patch leaves something in it that nobody can read."""

from __future__ import annotations

from typing import Any, Final

from flagbrake_launchdarkly.emulator.editing import Json
from flagbrake_launchdarkly.emulator.refusals import invalid

# A shape is a type, `object` for anything, [shape of each item], {name: shape} with "?" after names that may be
# missing, or {"*": shape of each member}.
_ROLLOUT: Final = {
    "variations": [{"variation": int, "weight": int, "_untracked?": bool}],
    "bucketBy?": str,
    "contextKind?": str,
    "seed?": int,
    "experimentAllocation?": {"defaultVariation": int, "canReshuffle": bool},
}
_SERVE: Final = {"variation?": int, "rollout?": _ROLLOUT}
_CLAUSE: Final = {
    "_id": str,
    "attribute": str,
    "op": str,
    "values": [object],
    "contextKind?": str,
    "negate": bool,
}
_TARGET: Final = {"contextKind?": str, "values": [str], "variation": int}
_CONFIG: Final = {
    "on": bool,
    "archived": bool,
    "salt": str,
    "sel": str,
    "lastModified": int,
    "version": int,
    "targets": [_TARGET],
    "contextTargets": [_TARGET],
    "rules": [
        {
            "_id": str,
            **_SERVE,
            "clauses": [_CLAUSE],
            "trackEvents": bool,
            "description?": str,
            "disabled?": bool,
            "ref?": str,
        }
    ],
    "fallthrough": _SERVE,
    "offVariation?": int,
    "prerequisites": [{"key": str, "variation": int}],
    "trackEvents": bool,
    "trackEventsFallthrough": bool,
    "_sdk?": object,
}
_FLAG: Final = {
    "name": str,
    "kind": str,
    "description?": str,
    "key": str,
    "_version": int,
    "creationDate": int,
    "includeInSnippet": bool,
    "clientSideAvailability": {"usingMobileKey": bool, "usingEnvironmentId": bool},
    "variations": [{"_id": str, "value": object, "name?": str, "description?": str}],
    "temporary": bool,
    "tags": [str],
    "customProperties": {"*": {"name": str, "value": [str]}},
    "archived": bool,
    "archivedDate?": int,
    "deprecated": bool,
    "deprecatedDate?": int,
    "defaults": {"onVariation": int, "offVariation": int},
    "maintainerId?": str,
    "maintainerTeamKey?": str,
    "environments": {"*": _CONFIG},
}


def check_shape(flag: Json) -> None:
    """Refuse a flag that holds something else than a flag holds.

    Raises:
        Refusal: 400, with the path.
    """
    misfit = _misfit(flag, _FLAG, "")
    if misfit is not None:
        raise invalid(f"{misfit or '/'} does not fit")


def _misfit(value: Any, shape: Any, path: str) -> str | None:
    """The first path that does not fit; ``None`` when everything does."""
    if shape is object:
        return None
    if isinstance(shape, type):
        fits = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
        return None if fits else path
    if isinstance(shape, list):
        if not isinstance(value, list):
            return path
        found = (_misfit(item, shape[0], f"{path}/{index}") for index, item in enumerate(value))
        return next((one for one in found if one is not None), None)
    return _misfit_of_members(value, shape, path)


def _misfit_of_members(value: Any, shape: dict[str, Any], path: str) -> str | None:
    if not isinstance(value, dict):
        return path
    each = shape.get("*")
    missing = [name for name in shape if name not in value and name != "*" and not name.endswith("?")]
    if missing:
        return f"{path}/{missing[0]}"
    for name, member in value.items():
        expected = each if each is not None else shape.get(name, shape.get(f"{name}?"))
        if expected is None:
            return f"{path}/{name}"
        # What may be missing may be null: LaunchDarkly shows neither.
        misfit = None if member is None and f"{name}?" in shape else _misfit(member, expected, f"{path}/{name}")
        if misfit is not None:
            return misfit
    return None
