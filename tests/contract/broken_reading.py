"""Controls that declare and read wrongly."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from flagbrake.errors import NotFound
from flagbrake.model.state import (
    Archive,
    Capability,
    Support,
)
from tests.contract.reference import ReferenceControl
from tests.contract.sabotage import of_control

FULL = dict.fromkeys(Capability, Support.FULL)


def declaring(capability: Capability, **members: Any) -> type[ReferenceControl]:
    """The reference, which does not declare one capability (and has it all the same, or does nothing)."""
    return type("Declaring", (ReferenceControl,), {"capabilities": {**FULL, capability: Support.NOT_YET}, **members})


class Incomplete(ReferenceControl):
    """One capability is not declared."""

    capabilities = {c: s for c, s in FULL.items() if c is not Capability.AUDIT}  # noqa: RUF012 - read only


class Inventive(ReferenceControl):
    """One capability more."""

    capabilities = {**FULL, "teleport": Support.FULL}  # noqa: RUF012 - read only


class Nameless(ReferenceControl):
    """No name."""

    name = ""


class Refless(ReferenceControl):
    """A reference without the environment."""

    def ref(self, key):
        return replace(super().ref(key), environment="")


class Thirds(ReferenceControl):
    """Steps of a third."""

    split_resolution = 33_333


def ignoring(kind: type) -> type[ReferenceControl]:
    class Ignoring(ReferenceControl):
        def apply(self, change, **rest):
            return self.read(change.key) if isinstance(change, kind) else super().apply(change, **rest)

    return Ignoring


def _claims_nothing(self, change, **rest):
    return self.read(change.key) if isinstance(change, Archive) else ReferenceControl.apply(self, change, **rest)


class NoListing(ReferenceControl):
    """Says it can list, and cannot."""

    def states(self):
        raise self.unsupported(Capability.LIST)


class AllOrNone(ReferenceControl):
    """One damaged definition ends the list."""

    def readable(self, read, found):
        return (read(one) for one in found)


class NoSegments(ReferenceControl):
    """Says it has segments, and has not."""

    def segments(self):
        raise NotImplementedError


DECLARED = [
    of_control("a capability is missing", "declared.all", Incomplete),
    of_control("a capability too many", "declared.all", Inventive),
    of_control("no name", "declared.identity", Nameless),
    of_control("no environment in the reference", "declared.identity", Refless),
    of_control("a resolution that divides nothing", "declared.resolution", Thirds),
    of_control("archives though it says it cannot", "declared.archive", declaring(Capability.ARCHIVE)),
    of_control("does nothing in silence", "declared.archive", declaring(Capability.ARCHIVE, apply=_claims_nothing)),
    of_control("writes rules though it says it cannot", "declared.rules", declaring(Capability.RULES)),
    of_control("switches on though it says it cannot", "declared.set_on", declaring(Capability.SET_ON)),
    of_control("says it lists", "declared.list", NoListing),
    of_control("one damaged definition ends the list", "reading.list_damaged", AllOrNone),
    of_control("says it has segments", "declared.segments", NoSegments),
]


class Reading(ReferenceControl):
    """Reads in its own way."""

    def see(self, state: Any) -> Any:
        """What it makes of a state."""
        return state

    def read(self, key):
        return self.see(super().read(key))


class FlatNumbers(Reading):
    """10.0 is 10."""

    def see(self, state):
        def flat(value):
            return int(value) if isinstance(value, float) and value.is_integer() else value

        variants = tuple(replace(v, value=flat(v.value)) for v in state.flag.variants)
        return replace(state, flag=replace(state.flag, variants=variants))


class Undescribed(Reading):
    """Reads no tags."""

    def see(self, state):
        return replace(state, flag=replace(state.flag, tags=()))


class Absent(ReferenceControl):
    """A missing flag is None."""

    def read(self, key):
        try:
            return super().read(key)
        except NotFound:
            return None


class Helpless(ReferenceControl):
    """Names no nearest key."""

    def read(self, key):
        try:
            return super().read(key)
        except NotFound as error:
            raise NotFound(error.fact) from None


class Speechless(ReferenceControl):
    """Does not name the key."""

    def read(self, key):
        try:
            return super().read(key)
        except NotFound:
            raise NotFound("404") from None


class Naive(Reading):
    """Local time without saying so."""

    def see(self, state):
        return replace(state, read_at=datetime.now())  # noqa: DTZ005 - the defect


class Numbered(Reading):
    """Versions are numbers."""

    def see(self, state):
        return replace(state, version=state.flag.version)


class Opaque(Reading):
    """A native document that is no JSON."""

    def see(self, state):
        return replace(state, native=state)


class Frozen(Reading):
    """Always the same version."""

    def see(self, state):
        return replace(state, version="1")


class Restless(Reading):
    """Another version with each reading."""

    def see(self, state):
        self.count = self.__dict__.get("count", 0) + 1
        return replace(state, version=str(self.count))


class Cached(ReferenceControl):
    """Reads once."""

    def read(self, key):
        cache = self.__dict__.setdefault("cache", {})
        if key not in cache:
            cache[key] = super().read(key)
        return cache[key]


class SharedNative(Reading):
    """One document for everybody."""

    def see(self, state):
        shared = self.__dict__.setdefault("shared", {})
        return replace(state, native=shared.setdefault(state.version, state.native))


class Stuttering(ReferenceControl):
    """Lists twice."""

    def states(self):
        yield from super().states()
        yield from super().states()


class Grave(ReferenceControl):
    """Lists what is archived."""

    def states(self):
        yield from (self.read(key) for key in sorted(self.vendor.documents))


READING = [
    of_control("10.0 is read as 10", "reading.seeded", FlatNumbers),
    of_control("tags are not read", "reading.seeded", Undescribed),
    of_control("a missing flag is None", "reading.missing", Absent),
    of_control("a missing flag is not named", "reading.missing", Speechless),
    of_control("the nearest key is not named", "reading.missing_cure", Helpless),
    of_control("naive times", "reading.state", Naive),
    of_control("versions are numbers", "reading.state", Numbered),
    of_control("a native document that is no JSON", "reading.state", Opaque),
    of_control("one version for all", "reading.version", Frozen),
    of_control("a version for each reading", "reading.version", Restless),
    of_control("reads once", "reading.fresh", Cached),
    of_control("one native document for all", "reading.no_alias", SharedNative),
    of_control("lists twice", "reading.list", Stuttering),
    of_control("lists what is archived", "reading.list_archived", Grave),
]

READERS = [*DECLARED, *READING]
