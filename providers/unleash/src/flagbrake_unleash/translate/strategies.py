"""Pure: what a feature's strategies are, whoever made them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from flagbrake.evaluate.vendors.unleash import MURMUR
from flagbrake.model.values import WHOLE
from flagbrake_unleash.constraints import USER_ID, broken_constraint

#: Unleash's own hash: murmur3 of "group:unit", 1 to 100 for rollouts, 1 to 1000 for variants.
BUCKETING: Final = MURMUR
#: The strategy parameter that holds what Unleash has no field for.
MARK: Final = "flagbrake"
#: The variant that Unleash itself answers when nothing holds; the name is reserved there.
DISABLED: Final = "disabled"
#: One percent, the step of a rollout.
PERCENT: Final = 1000

#: Strategies that take a share, and the parameter that holds it.
_SHARES: Final = {
    "flexibleRollout": "rollout",
    "gradualRolloutUserId": "percentage",
    "gradualRolloutSessionId": "percentage",
    "gradualRolloutRandom": "percentage",
}
_STICKY: Final = {"gradualRolloutUserId": USER_ID, "gradualRolloutSessionId": "sessionId"}
#: Those that take no part where they have no group.
_GROUPED: Final = frozenset(_STICKY)
#: A share as the engine reads it: anything else is none.
_COUNT: Final = re.compile(r"\+?[0-9]+")

Document = dict[str, Any]
Part = Mapping[str, Any]


def active(feature: Part) -> list[Part]:
    """The strategies that are asked, in order."""
    return [s for s in feature.get("strategies") or () if not s.get("disabled")]


def owned_strategy(feature: Part) -> Part | None:
    """The last active strategy, if it asks nothing about the context: the one that serves everybody else."""
    strategies = active(feature)
    if not strategies:
        return None
    last, hidden = strategies[-1], leaves_out(feature)
    asked = [c for c in last.get("constraints") or () if not (hidden and is_denial(last, c))]
    return last if takes_share(last) and not asked and not last.get("segments") else None


def is_plain(feature: Part) -> bool:
    """True if the answer is on or off, without variants."""
    return not feature.get("variants") and not any(s.get("variants") for s in active(feature))


def mark_of(strategy: Part) -> Mapping[str, Any]:
    """What flagbrake noted in a strategy; nothing where somebody else wrote it."""
    text = (strategy.get("parameters") or {}).get(MARK)
    if not isinstance(text, str):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def takes_share(strategy: Part) -> bool:
    """May it be for a part of those whom it asks?"""
    return strategy.get("name") == "default" or strategy.get("name") in _SHARES


def rollout_of(strategy: Part) -> int:
    """The share of 100,000 that a strategy takes; what is not an integer from 0 to 100 takes nobody."""
    name = strategy.get("name")
    if name not in _SHARES:
        return WHOLE
    parameters = strategy.get("parameters") or {}
    text = str(parameters.get(_SHARES[name], ""))
    if not _COUNT.fullmatch(text) or (name in _GROUPED and parameters.get("groupId") is None):
        return 0
    if name == "gradualRolloutRandom":
        return min(int(text), 100) * PERCENT if int(text) > 1 else 0  # it asks whether a number from 1 to 99 is less
    return int(text) * PERCENT if int(text) <= 100 else 0


def stickiness_of(strategy: Part) -> str:
    """By which field a strategy deals: ``default`` (the user, else the session), ``random`` or a field's name."""
    name = strategy.get("name")
    if name == "gradualRolloutRandom":
        return "random"
    if name in _STICKY:
        return _STICKY[name]
    stickiness = (strategy.get("parameters") or {}).get("stickiness")
    return "default" if stickiness is None else str(stickiness)


def lists_of(feature: Part) -> list[Part]:
    """The lists of units in front of everything else. One that stands behind a rule is a rule as well."""
    shared = bool(feature.get("variants"))
    return list(takewhile(lambda s: is_list(s) and not (shared and not s.get("variants")), active(feature)))


def is_list(strategy: Part) -> bool:
    """Is this a list of units that get one variant, as flagbrake writes it?

    The mark alone does not tell: people edit what flagbrake wrote, and then it is what it says.
    """
    constraints = list(strategy.get("constraints") or ())
    return (
        isinstance(mark_of(strategy).get("target"), int)
        and len(constraints) == 1
        and names_units(constraints[0], "IN")
        and not strategy.get("segments")
        and strategy.get("name") == "flexibleRollout"
        and rollout_of(strategy) == WHOLE
        and stickiness_of(strategy) == "default"
        and sum(1 for v in strategy.get("variants") or () if v.get("weight")) <= 1
    )


def leaves_out(feature: Part) -> bool:
    """Are the units that its strategies leave out by name targets, and no conditions of theirs?

    So flagbrake writes a plain feature: all strategies behind the lists leave out the same ones, but for the middle of
    a write. Where others have put strategies among them that do not, each strategy asks what it asks.
    """
    strategies = active(feature)[len(lists_of(feature)) :]
    if not strategies or not is_plain(feature):
        return False
    named = set(denied(strategies[-1]))
    ours = all("rule" in mark_of(strategy) for strategy in strategies[:-1])
    return ours or all(set(denied(strategy)) == named for strategy in strategies)


def left_out(feature: Part) -> tuple[str, ...]:
    """The units that a plain feature leaves out by name: those that its last strategy does."""
    return denied(active(feature)[-1]) if leaves_out(feature) else ()


def denied(strategy: Part) -> tuple[str, ...]:
    """The units that one strategy leaves out by name."""
    return tuple(v for c in strategy.get("constraints") or () if is_denial(strategy, c) for v in c["values"])


def is_denial(strategy: Part, constraint: Part) -> bool:
    """Is this constraint the list of units that the strategy leaves out?"""
    return "denied" in mark_of(strategy) and names_units(constraint, "NOT_IN")


def listed(operator: str, units: Sequence[str]) -> Document:
    """A list of units, as :func:`names_units` knows it."""
    named = {"contextName": USER_ID, "operator": operator, "values": list(units)}
    return {**named, "inverted": False, "caseInsensitive": False}


def names_units(constraint: Part, operator: str) -> bool:
    """Is this a list of units, and for this operator?"""
    return bool(
        constraint.get("contextName") == USER_ID
        and constraint.get("operator") == operator
        and not constraint.get("inverted")
    )


def broken(strategies: Sequence[Part], segments: Mapping[int, Part] | None) -> str:
    """Why the engine cannot read these strategies and answers off to everybody, one bad part is enough; else nothing.

    ``segments`` has their documents by number; ``None`` where they are not known, and taken for there.
    """
    return next(_faults(strategies, segments), "")


def _faults(strategies: Sequence[Part], segments: Mapping[int, Part] | None) -> Iterator[str]:
    for number, strategy in enumerate(strategies, 1):
        constraints = list(strategy.get("constraints") or ())
        for segment in strategy.get("segments") or ():
            if segments is not None and segment not in segments:
                yield f"strategy {number} asks segment {segment}, which is not there"
            constraints += (segments or {}).get(segment, {}).get("constraints") or ()
        found = (*_faults_of(strategy), *(broken_constraint(constraint) for constraint in constraints))
        yield from (f"strategy {number} has {fault}" for fault in found if fault)


def _faults_of(strategy: Part) -> Iterator[str]:
    """What the engine cannot read of a strategy's own parameters; what it has no use for it does not read."""
    name = strategy.get("name")
    parameters = strategy.get("parameters") or {}
    texts = {key: text for key, text in parameters.items() if isinstance(text, str)}
    share = texts.get(_SHARES.get(str(name), ""), "")
    if name != "gradualRolloutRandom" and _COUNT.fullmatch(share) and (name not in _GROUPED or "groupId" in texts):
        if int(share) > 100:
            yield f"a rollout of {share} %"
        for key in ("stickiness", "groupId"):
            if '"' in texts.get(key, "") or texts.get(key, "").endswith("\\"):
                yield f"a {key} with a quote, or a backslash at its end"
    listed = texts.get({"userWithId": "userIds", "remoteAddress": "IPs"}.get(str(name), ""), "")
    if '"' in listed or any(text.strip().endswith("\\") for text in listed.split(",")):
        yield "a list with a quote, or a backslash at the end of an entry"
