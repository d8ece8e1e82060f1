"""An adapter of ours to guard, and how to ask it."""

from __future__ import annotations

from openfeature.exception import FlagNotFoundError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from flagbrake.model.values import MISMATCH, USE_DEFAULT
from flagbrake.ports.provider import FlagProvider

VALUES = {"text": "new", "switch": True, "count": 7, "ratio": 0.5, "settings": {"model": ["big"]}}
SAFE = {"text": "old", "switch": False, "count": 1, "ratio": 1, "settings": {"model": ["small"]}}


class Ours(FlagProvider):
    """An adapter of ours: knows its variants and what it serves when off."""

    name = "ours"

    def resolve(self, flag_key, context):
        if flag_key not in VALUES:
            raise FlagNotFoundError(f"No flag '{flag_key}'.")
        return FlagResolutionDetails(VALUES[flag_key], reason=Reason.STATIC, variant="v2", flag_metadata={"version": 3})

    def value_of(self, flag_key, variant):
        return {"v1": SAFE, "v2": VALUES}[variant].get(flag_key, MISMATCH) if variant in {"v1", "v2"} else MISMATCH

    def off_value(self, flag_key):
        if flag_key == "switch":
            return FlagResolutionDetails(USE_DEFAULT, reason=Reason.DISABLED)
        return FlagResolutionDetails(SAFE.get(flag_key), reason=Reason.DISABLED, variant="v1")


ASK = {
    "text": ("string", "default"),
    "switch": ("boolean", True),
    "count": ("integer", 99),
    "ratio": ("float", 9.5),
    "settings": ("object", {"model": []}),
}


def details(client, flag, context=None):
    kind, default = ASK[flag]
    return getattr(client, f"get_{kind}_details")(flag, default, context)


async def details_async(client, flag, context=None):
    kind, default = ASK[flag]
    return await getattr(client, f"get_{kind}_details_async")(flag, default, context)
