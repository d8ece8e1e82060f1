"""What a change asks of a control, and whether it did what it should. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import Op
from flagbrake.model.flag import Distribution, Flag, Serve, Targets
from flagbrake.model.state import (
    Archive,
    Capability,
    Change,
    Create,
    Replace,
    SetDistribution,
    SetOn,
    SetTargets,
)
from flagbrake.model.values import WHOLE, percent_of


def required(change: Change) -> tuple[Capability, ...]:
    """The capabilities that must be FULL for this change."""
    return tuple(_required(change))


def _required(change: Change) -> Iterator[Capability]:
    match change:
        case SetOn(off_variant=off_variant):
            yield Capability.SET_ON
            if off_variant is not None:
                yield Capability.OFF_SERVES_SAFE
        case SetDistribution(rule=rule, turn_on=turn_on):
            yield Capability.SET_DISTRIBUTION
            if rule is not None:
                yield Capability.RULES
            if turn_on:
                yield Capability.ATOMIC_ON_AND_SPLIT
        case SetTargets():
            yield Capability.SET_TARGETS
        case Create(flag=flag):
            yield Capability.CREATE
            yield from _content(flag)
        case Replace(flag=flag, native=native):
            yield Capability.REPLACE
            yield from _content(flag) if native is None else (Capability.NATIVE_RESTORE,)
        case Archive():
            yield Capability.ARCHIVE


def _content(flag: Flag) -> Iterator[Capability]:
    if flag.targets:
        yield Capability.SET_TARGETS
    if flag.rules:
        yield Capability.RULES
    if flag.prerequisites:
        yield Capability.PREREQUISITES
    if any(clause.op is Op.SEGMENT for rule in flag.rules for clause in rule.clauses):
        yield Capability.SEGMENTS


def distributions(change: Change) -> Iterator[Distribution]:
    """Every distribution the change would write (none for a vendor's own document: it is exact already)."""
    serves: tuple[Serve, ...] = ()
    match change:
        case SetDistribution(serve=serve):
            serves = (serve,)
        case Create(flag=flag) | Replace(flag=flag, native=None):
            serves = (flag.default, *(rule.serve for rule in flag.rules))
        case _:
            pass
    for serve in serves:
        if isinstance(serve, Distribution):
            yield serve


def check_splits(change: Change, *, resolution: int, control: str) -> None:
    """Refuse a split that does not add up or that is finer than the control can set.

    Raises:
        InvalidInput: with the two nearest shares that can be set.
    """
    for distribution in distributions(change):
        if distribution.total != WHOLE:
            raise InvalidInput(
                f"The shares of flag '{change.key}' add up to {percent_of(distribution.total)} %, not 100 %.",
                cure="shares that add up to 100",
            )
        shares = [weight.share for weight in distribution.weights]
        if distribution.gate is not None:
            shares.append(distribution.gate.share)
        for share in shares:
            if not 0 <= share <= WHOLE:
                raise InvalidInput(f"A share of flag '{change.key}' is outside 0 to 100 %.", cure="0 to 100")
            if share % resolution:
                below = share - share % resolution
                raise InvalidInput(
                    f"{percent_of(share)} % is finer than '{control}' can set (steps of {percent_of(resolution)} %).",
                    cure=f"{percent_of(below)} or {percent_of(below + resolution)}",
                )


def already(flag: Flag, meant: Flag) -> bool:
    """True if nothing would change: equal but for the version and the order of targets."""
    alike = replace(flag, version=0, targets=()) == replace(meant, version=0, targets=())
    return alike and _targets(flag.targets) == _targets(meant.targets)


def difference(found: Flag, meant: Flag, change: Change) -> str:
    """What the change meant and the flag as read does not show; empty when it shows all of it.

    Only what the change touches is compared, and neither what a vendor assigns itself (rule ids, salts,
    the order of listed variants) nor what is only for people (tags, descriptions).
    """
    was, wanted = _shown(found, change), _shown(meant, change)
    return "; ".join(
        f"{part}: meant {_brief(wanted[part])}, found {_brief(was[part])}"
        for part in wanted
        if was[part] != wanted[part]
    )


def _shown(flag: Flag, change: Change) -> Mapping[str, Any]:
    match change:
        case SetOn(off_variant=None):
            return {"on": flag.on}
        case SetOn():
            return {"on": flag.on, "off variant": flag.off_variant}
        case SetDistribution(rule=rule, turn_on=turn_on):
            serve = flag.default if rule is None else next((r.serve for r in flag.rules if r.id == rule), "")
            return {"serve": _serve(serve), **({"on": flag.on} if turn_on else {})}
        case SetTargets():
            return {"targets": _targets(flag.targets)}
        case Archive():
            return {"archived": flag.archived}
        case Create() | Replace():
            return {
                "kind": flag.kind.value,
                "variants": {v.name: v.value for v in flag.variants},
                "on": flag.on,
                "off variant": flag.off_variant,
                "default": _serve(flag.default),
                "targets": _targets(flag.targets),
                "rules": [(rule.clauses, _serve(rule.serve)) for rule in flag.rules],
                "prerequisites": {p.flag: frozenset(p.variants) for p in flag.prerequisites},
                "archived": flag.archived,
            }


def _serve(serve: Serve) -> dict[str, Any]:
    if isinstance(serve, str):
        return {serve: WHOLE}
    shown: dict[str, Any] = {}
    for weight in serve.weights:
        if weight.share:
            shown[weight.variant] = shown.get(weight.variant, 0) + weight.share
    if serve.gate is not None and serve.gate.share != WHOLE:
        shown["gate"] = (serve.gate.share, serve.gate.outside)
    return shown


def _targets(targets: tuple[Targets, ...]) -> dict[tuple[str, str], frozenset[str]]:
    merged: dict[tuple[str, str], frozenset[str]] = {}
    for target in targets:
        if target.keys:
            place = (target.variant, target.kind)
            merged[place] = merged.get(place, frozenset()) | frozenset(target.keys)
    return merged


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
