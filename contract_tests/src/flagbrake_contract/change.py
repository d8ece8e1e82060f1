"""Changing flags through the control, and comparing what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flagbrake.control.changes import required
from flagbrake.errors import FlagbrakeError
from flagbrake.model.clause import Op
from flagbrake.model.flag import DEFAULT_BUCKETING, Distribution, Flag, Rule, Serve, Targets
from flagbrake.model.state import Capability, Change, Create, FlagState, Support
from flagbrake_contract.harness import Harness, plain
from flagbrake_contract.rules import Broken, Said, exactly, holds, same
from flagbrake_contract.targeting import when


def create(h: Harness, value: Any = "x", **rest: Any) -> FlagState:
    """A new flag, made through the control."""
    return write(h, Create(plain(h.key("made"), value, **rest)))


def write(h: Harness, change: Change, *, expected: str | None = None) -> FlagState:
    """Apply a change as ann."""
    return h.the_control.apply(change, expected=expected, by="ann", comment="contract")


def possible(h: Harness, *changes: Change) -> list[Change]:
    """Those of the changes whose capabilities the control declares FULL."""
    return [change for change in changes if all(h.support(need) is Support.FULL for need in required(change))]


def raises(kind: type[FlagbrakeError], call: Callable[[], object], about: str = "") -> FlagbrakeError:
    """The error of this class that a call must raise, with a fact in it."""
    try:
        came = call()
    except kind as error:
        holds(error.fact.strip(), expected="an error that says a fact", came=repr(error), about=about)
        return error
    except Exception as error:
        raise Broken(Said(kind.__name__), error, about) from error
    raise Broken(Said(kind.__name__), came if isinstance(came, str) else Said("no error"), about)


def with_targets(h: Harness) -> dict[str, Any]:
    """Targets for a seeded flag that must keep them, where the control knows targets."""
    if h.support(Capability.SET_TARGETS) is not Support.FULL:
        return {}
    return {"targets": (Targets("other", ("ann",)),)}


def definition(flag: Flag) -> Flag:
    """The flag without its version: what two equal definitions share."""
    return replace(flag, version=0)


def same_flag(came: Flag, expected: Flag, about: str = "") -> None:
    """Two definitions are equal, values by type; a vendor that has a bucketing of its own may deal by it."""
    default = _as_dealt_here(came.default, expected.default)
    same(definition(replace(came, default=default)), definition(expected), about)
    for one, two in zip(came.variants, expected.variants, strict=True):
        holds(exactly(one.value, two.value), expected=two.value, came=one.value, about=f"variant {one.name}")


def _as_dealt_here(came: Serve, expected: Serve) -> Serve:
    """A split of the vendor's own bucketing that has the shares asked for is the split asked for."""
    if not isinstance(came, Distribution) or not isinstance(expected, Distribution):
        return came
    foreign = came.bucketing.algorithm != DEFAULT_BUCKETING == expected.bucketing.algorithm
    shares = [{w.variant: w.share for w in serve.weights if w.share} for serve in (came, expected)]
    return expected if foreign and came.gate is None and shares[0] == shares[1] else came


def ruled(flag: Flag) -> Flag:
    """The flag with one rule, ``first``."""
    return replace(flag, rules=(Rule("first", (when("plan", Op.IN, "pro"),), "other"),))
