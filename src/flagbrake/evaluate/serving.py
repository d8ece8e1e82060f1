"""What a flag serves: one variant or a distribution, compiled to a function that allocates the answer only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from openfeature.exception import InvalidContextError, TargetingKeyMissingError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from flagbrake.evaluate.bucketing import Algorithm, Locate, Place, Position, algorithm, unit_text
from flagbrake.evaluate.clauses import reader
from flagbrake.model.clause import TARGETING_KEY, USER, Attribute
from flagbrake.model.flag import Bucketing, Distribution, Flag, Gate, Serve, Weight
from flagbrake.model.values import USE_DEFAULT, WHOLE

Answer = FlagResolutionDetails[Any]
#: The answer for a targeting key and attributes.
Served = Callable[[str | None, Mapping[str, Any]], Answer]
#: Is a context inside a gate?
Inside = Callable[[str | None, Mapping[str, Any]], bool]
#: Metadata of an answer, made once per outcome.
Facts = Mapping[str, Any]

T = TypeVar("T")


def facts(flag: Flag, **more: str) -> Facts:
    """The metadata of one outcome: the flag's version and what else is known when it is compiled."""
    return MappingProxyType({"version": flag.version, **more})


def serve(flag: Flag, what: Serve, reason: Reason, metadata: Facts) -> Served:
    """Compile a serve; ``reason`` is for one variant, a distribution's is always SPLIT."""
    if isinstance(what, str):
        return one(flag, what, reason, metadata)
    return split(flag, what, metadata)


def one(flag: Flag, name: str, reason: Reason, metadata: Facts) -> Served:
    """Always this variant."""
    variant = flag.variant(name)
    assert variant is not None, name
    value = variant.value

    def fixed(_key: str | None, _attributes: Mapping[str, Any]) -> Answer:
        return FlagResolutionDetails(value, None, None, reason, name, metadata)

    return fixed


def off(flag: Flag, metadata: Facts) -> Served:
    """The off variant, or the caller's default where there is none; reason DISABLED."""
    if flag.off_variant is not None:
        return one(flag, flag.off_variant, Reason.DISABLED, metadata)

    def default(_key: str | None, _attributes: Mapping[str, Any]) -> Answer:
        return FlagResolutionDetails(USE_DEFAULT, None, None, Reason.DISABLED, None, metadata)

    return default


def split(flag: Flag, distribution: Distribution, metadata: Facts) -> Served:
    """Compile a distribution. With one possible answer it needs no unit; otherwise a missing one is an error."""
    made = algorithm(distribution.bucketing.algorithm)
    served = [one(flag, w.variant, Reason.SPLIT, metadata) for w in weights_of(distribution, made)]
    sure = len(served) == 1 and made.place is None  # a vendor's hash may refuse a unit even where all get the same
    inside = served[0] if sure else _choose(flag, distribution, served, metadata)
    if made.stands_in and _is_targeting_key(distribution.bucketing) and _deals(distribution):
        inside = _keyed(inside, flag.key)
    gate = distribution.gate
    if gate is None or gate.outside is None:  # the rule has asked already
        return inside
    passes = _passes(gate, flag.key)
    if passes is None:
        return inside
    outside = one(flag, gate.outside, Reason.SPLIT, metadata)
    if gate.share == 0:
        return outside

    def gated(key: str | None, attributes: Mapping[str, Any]) -> Answer:
        return inside(key, attributes) if passes(key, attributes) else outside(key, attributes)

    return gated


def passing(what: Serve, owner: str) -> Inside | None:
    """Who is inside a gate that others go past, to the next rule; ``None`` where there is no such gate."""
    gate = what.gate if isinstance(what, Distribution) else None
    return None if gate is None or gate.outside is not None else _passes(gate, owner)


def _passes(gate: Gate, owner: str) -> Inside | None:
    """Who is inside; ``None`` where everybody is."""
    made = algorithm(gate.bucketing.algorithm)
    if gate.share == WHOLE and made.place is None:
        return None
    if gate.share == 0:
        return lambda _key, _attributes: False
    place, bound = position(gate.bucketing, owner), made.bound(gate.share)

    def passes(key: str | None, attributes: Mapping[str, Any]) -> bool:
        return place(key, attributes) < bound

    if gate.share != WHOLE and made.stands_in and _is_targeting_key(gate.bucketing):
        return _keyed(passes, owner)
    return passes


def _deals(distribution: Distribution) -> bool:
    return sum(1 for weight in distribution.weights if weight.share) > 1


def _keyed(
    inside: Callable[[str | None, Mapping[str, Any]], T], owner: str
) -> Callable[[str | None, Mapping[str, Any]], T]:
    """A vendor's SDK gives the same stand-in to all who have no key; ours says so."""

    def keyed(key: str | None, attributes: Mapping[str, Any]) -> T:
        if not key:
            raise TargetingKeyMissingError(f"'{owner}' is split by targeting key, and the context has none.")
        return inside(key, attributes)

    return keyed


def weights_of(distribution: Distribution, made: Algorithm) -> list[Weight]:
    """The weights that somebody may get, in order: shares of zero only where every context has a place."""
    return [w for w in distribution.weights if w.share or made.place is not None]


def _choose(flag: Flag, distribution: Distribution, served: list[Served], metadata: Facts) -> Served:
    bucketing = distribution.bucketing
    made = algorithm(bucketing.algorithm)
    # The last bound is the whole: not asked.
    bounds = made.bounds([w.share for w in weights_of(distribution, made)])[:-1]
    if len(bounds) == 1 and _is_targeting_key(bucketing) and made.place is None:
        return _either_by_key(flag, distribution, made.locate(bucketing, flag.key), bounds[0], metadata)
    place = position(bucketing, flag.key)
    if len(bounds) == 1:
        first, second = served
        (bound,) = bounds

        def either(key: str | None, attributes: Mapping[str, Any]) -> Answer:
            return first(key, attributes) if place(key, attributes) < bound else second(key, attributes)

        return either

    def among(key: str | None, attributes: Mapping[str, Any]) -> Answer:
        return served[bisect_right(bounds, place(key, attributes))](key, attributes)

    return among


def _either_by_key(flag: Flag, distribution: Distribution, locate: Locate, bound: Place, metadata: Facts) -> Served:
    """The commonest split, two variants by targeting key, without a call beyond the hash."""
    (one_name, one_value), (other_name, other_value) = (
        (w.variant, found.value) for w in distribution.weights if w.share and (found := flag.variant(w.variant))
    )
    rare = _by_targeting_key(locate, flag.key)

    def either(key: str | None, attributes: Mapping[str, Any]) -> Answer:
        # What is not simply a string takes the long way, which tells what is wrong with it.
        if (locate(key) if type(key) is str and key and key.isascii() else rare(key, attributes)) < bound:
            return FlagResolutionDetails(one_value, None, None, Reason.SPLIT, one_name, metadata)
        return FlagResolutionDetails(other_value, None, None, Reason.SPLIT, other_name, metadata)

    return either


def _is_targeting_key(bucketing: Bucketing) -> bool:
    own = bucketing.attribute.kind == USER and bucketing.attribute.path == (TARGETING_KEY,)
    return own and bucketing.override is None


def position(bucketing: Bucketing, owner: str) -> Position:
    """Where a context's unit falls; ``owner`` (flag or segment key) is the default salt.

    The function raises TargetingKeyMissingError when the attribute that names the unit is absent, empty or
    not a string or whole number: also for an attribute other than the targeting key, for the unit is what
    the context does not say. An algorithm with places of its own for such contexts raises nothing.
    """
    made = algorithm(bucketing.algorithm)
    if made.place is not None:
        return made.place(bucketing, owner)
    locate = made.locate(bucketing, owner)
    if bucketing.override is not None:
        return _by_override(bucketing.override, position(replace(bucketing, override=None), owner), locate)
    attribute = bucketing.attribute
    if _is_targeting_key(bucketing):
        return _by_targeting_key(locate, owner)
    read = reader(attribute)

    def by_attribute(key: str | None, attributes: Mapping[str, Any]) -> Place:
        unit = unit_text(read(key, attributes))
        if unit is None:
            raise TargetingKeyMissingError(f"'{owner}' is split by '{attribute}', which the context does not have.")
        try:
            return locate(unit)
        except UnicodeError:
            raise InvalidContextError(f"'{attribute}' must be a string of valid Unicode.") from None

    return by_attribute


def _by_override(override: Attribute, usual: Position, locate: Locate) -> Position:
    """Where the unit named by ``override`` falls; where it names none, the usual unit."""
    read = reader(override)

    def by_override(key: str | None, attributes: Mapping[str, Any]) -> Place:
        unit = unit_text(read(key, attributes))
        if unit is None:
            return usual(key, attributes)
        try:
            return locate(unit)
        except UnicodeError:
            raise InvalidContextError(f"'{override}' must be a string of valid Unicode.") from None

    return by_override


def _by_targeting_key(locate: Locate, owner: str) -> Position:
    def by_key(key: str | None, _attributes: Mapping[str, Any]) -> Place:
        if not key:
            raise TargetingKeyMissingError(f"'{owner}' is split by targeting key, and the context has none.")
        try:
            return locate(key)
        except (TypeError, AttributeError, UnicodeError):
            raise InvalidContextError("The targeting key must be a string of valid Unicode.") from None

    return by_key
