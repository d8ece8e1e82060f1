"""The split a step means, and what a split found on the flag amounts to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flagbrake.errors import InvalidInput, NotFound
from flagbrake.model.flag import Distribution, Flag, Serve, Weight, ramp
from flagbrake.model.values import WHOLE, percent_of


def serve_of(flag: Flag, rule: str | None) -> Serve | None:
    """What the flag serves at the place a plan moves; ``None`` when that rule is gone."""
    if rule is None:
        return flag.default
    return next((r.serve for r in flag.rules if r.id == rule), None)


def serve_at(share: int, *, canary: str, baseline: str, before: Serve) -> Serve:
    """``share`` of 100,000 to the canary, the rest to the baseline.

    Keeps bucketing, gate and order of the split before, so that no unit changes side but those that the
    larger share adds.
    """
    if not isinstance(before, Distribution):
        return canary if share == WHOLE else ramp(canary, share, baseline)
    weights = (Weight(canary, share), Weight(baseline, WHOLE - share))
    listed = [weight.variant for weight in before.weights]
    if canary in listed and baseline in listed and listed.index(baseline) < listed.index(canary):
        weights = weights[::-1]
    return replace(before, weights=weights)


def shape(serve: Serve | None) -> Mapping[str, int | tuple[int, str | None]] | None:
    """The shares above zero per variant, and the gate: what a vendor's own ids and salts do not touch."""
    if serve is None:
        return None
    if isinstance(serve, str):
        return {serve: WHOLE}
    shares: dict[str, int | tuple[int, str | None]] = {
        weight.variant: serve.share(weight.variant) for weight in serve.weights if weight.share
    }
    if serve.gate is not None and serve.gate.share != WHOLE:
        shares["\0gate"] = (serve.gate.share, serve.gate.outside)
    return shares


def share_served(serve: Serve | None, variant: str) -> int:
    """The share of 100,000 that gets a variant, gates left out."""
    if isinstance(serve, Distribution):
        return serve.share(variant)
    return WHOLE if serve == variant else 0


def is_two_way(serve: Serve | None, canary: str, baseline: str) -> bool:
    """True if nobody gets anything but the two variants."""
    if serve is None:
        return False
    if isinstance(serve, str):
        return serve in {canary, baseline}
    served = {weight.variant for weight in serve.weights if weight.share}
    if serve.gate is not None and serve.gate.share != WHOLE and serve.gate.outside is not None:
        served.add(serve.gate.outside)
    return served <= {canary, baseline}


def check_start(flag: Flag, *, canary: str, baseline: str, first: int, rule: str | None) -> Serve:
    """The split before a rollout, if the rollout can begin from it.

    Raises:
        NotFound: an unknown rule or variant.
        InvalidInput: the flag is off, serves a third variant, or the canary has the first step's share already.
    """
    for name in (canary, baseline):
        if flag.variant(name) is None:
            raise NotFound(f"Flag '{flag.key}' has no variant '{name}'.", cure=" or ".join(flag.variant_names))
    before = serve_of(flag, rule)
    if before is None:
        there = ", ".join(r.id for r in flag.rules) or "it has no rules"
        raise NotFound(f"Flag '{flag.key}' has no rule '{rule}'.", cure=there)
    if not flag.on or flag.archived:
        raise InvalidInput(
            f"Flag '{flag.key}' is {'archived' if flag.archived else 'off'}: nobody would get '{canary}'.",
            cure=f"flagbrake flag set {flag.key} --on" if not flag.archived else "another flag",
        )
    if not is_two_way(before, canary, baseline):
        served = ", ".join(name for name in (shape(before) or {}) if not name.startswith("\0"))
        raise InvalidInput(
            f"Flag '{flag.key}' serves {served}; a rollout moves traffic between '{baseline}' and '{canary}' only.",
            cure=f"name the served variant as the baseline, or serve '{baseline}' first",
        )
    served_now = share_served(before, canary)
    if served_now >= first:
        raise InvalidInput(
            f"'{canary}' gets {percent_of(served_now)} % of flag '{flag.key}' already; "
            f"the first step of {percent_of(first)} % is not more.",
            cure=f"steps above {percent_of(served_now)}" if served_now < WHOLE else f"serve '{baseline}' first",
        )
    return before
