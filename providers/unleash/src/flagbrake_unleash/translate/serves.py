"""Pure: what a serve says, and how far Unleash can say it."""

from __future__ import annotations

from collections.abc import Iterator

from flagbrake.errors import InvalidInput
from flagbrake.model.flag import Bucketing, Distribution, Flag, Serve
from flagbrake.model.values import WHOLE, FlagKind, percent_of
from flagbrake_unleash.translate.strategies import PERCENT


def can_be_plain(flag: Flag) -> bool:
    """True if on where any strategy holds, off elsewhere, says the same as first match."""
    if flag.kind is not FlagKind.BOOLEAN or sorted(str(v.value) for v in flag.variants) != ["False", "True"]:
        return False
    true = next(v.name for v in flag.variants if v.value)
    if sum(t.variant != true for t in flag.targets) > 1:
        return False
    out = {key for t in flag.targets if t.variant != true for key in t.keys}
    if any(t.variant == true and not out.isdisjoint(t.keys) for t in flag.targets):
        return False  # a list lets in whom another one leaves out, whichever comes first
    serves = [*(rule.serve for rule in flag.rules), flag.default]
    if not all(_is_plain(serve, true) for serve in serves):
        return False
    # A unit that one strategy passes over is asked again by the next: only the last that takes any may keep it.
    takes = [min(shares_of(serve).get(true, 0), gate_share(serve)) for serve in serves]
    last = max((n for n, share in enumerate(takes) if share), default=0)
    return all(share == WHOLE or passes_on(serve) for share, serve in zip(takes[:last], serves, strict=False))


def _is_plain(serve: Serve, true: str) -> bool:
    """On or off, shared out once at the most."""
    if isinstance(serve, str) or serve.gate is None:
        return True
    return serve.share(true) == WHOLE and serve.gate.outside != true


def passes_on(serve: Serve) -> bool:
    """Are those outside of its share asked by what comes next?"""
    return isinstance(serve, Distribution) and serve.gate is not None and serve.gate.outside is None


def bucketings_of(serve: Serve) -> Iterator[Bucketing]:
    """What a serve deals by, its gate's first; what deals to one only does not deal."""
    if isinstance(serve, Distribution):
        if serve.gate is not None:
            yield serve.gate.bucketing
        if sum(1 for weight in serve.weights if weight.share) > 1:
            yield serve.bucketing


def is_for_all(serve: Serve) -> bool:
    """Does nobody have to be dealt anything?"""
    return next(bucketings_of(serve), None) is None


def shares_of(serve: Serve) -> dict[str, int]:
    """The shares of a serve by variant, of 100,000."""
    if isinstance(serve, str):
        return {serve: WHOLE}
    found: dict[str, int] = {}
    for weight in serve.weights:
        found[weight.variant] = found.get(weight.variant, 0) + weight.share
    return found


def gate_share(serve: Serve) -> int:
    """The share that is let in at all, of 100,000."""
    return serve.gate.share if isinstance(serve, Distribution) and serve.gate is not None else WHOLE


def whole_percent(share: int, key: str) -> int:
    """A share in percents.

    Raises:
        InvalidInput: it is none of Unleash's steps; the nearest are named.
    """
    if share % PERCENT or not 0 <= share <= WHOLE:
        below = max(0, min(share - share % PERCENT, WHOLE - PERCENT))
        raise InvalidInput(
            f"{percent_of(share)} % of flag '{key}' is no step of Unleash, which takes whole percents.",
            cure=f"{percent_of(below)} or {percent_of(below + PERCENT)}",
        )
    return share // PERCENT
