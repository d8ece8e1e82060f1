"""What a control must do: read, write, read back, refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar, Final

from flagbrake.errors import (
    NotFound,
    Unsupported,
)
from flagbrake.model.flag import FlagRef, Prerequisite, Targets, ramp
from flagbrake.model.state import (
    Archive,
    Capability,
    Replace,
    SetDistribution,
    SetOn,
    SetTargets,
    Support,
)
from flagbrake.model.values import WHOLE
from flagbrake_contract import refusals as _refusals
from flagbrake_contract import writing as _writing
from flagbrake_contract.change import create, raises, ruled, same_flag, write
from flagbrake_contract.contract import Contract
from flagbrake_contract.harness import Harness, plain
from flagbrake_contract.rules import add, area, holds, rule, same

Cap = Capability
_MODULES = (_writing, _refusals)


class ControlContract(Contract):
    """Reading and writing flags through the vendor's management side."""

    areas: ClassVar[tuple[str, ...]] = ("declared", "reading", "writing", "conflicts", "refusals", "audit")


area("declared", "What the control declares", repair="declare every Capability; what is not FULL raises Unsupported "
     "(self.unsupported) before anything is written")  # fmt: skip
area("reading", "Reading", repair="return the flag as it is now, with the vendor's document and version; cache nothing")


# --- declared -------------------------------------------------------------------------------------------


@rule()
def declared_all(h: Harness) -> None:
    """Every capability of a control is declared, and nothing else."""
    declared = h.the_control.capabilities
    same([c.value for c in Capability if c not in declared], [], "undeclared")
    same([str(c) for c in declared if c not in set(Capability)], [], "unknown")


@rule()
def declared_identity(h: Harness) -> None:
    """A control has a name, a project and an environment, and puts them into every FlagRef."""
    control = h.the_control
    for value in (control.name, control.project, control.environment):
        holds(isinstance(value, str) and value, expected="a text", came=repr(value))
    same(control.ref("k"), FlagRef(control.name, control.project, control.environment, "k"))


@rule()
def declared_resolution(h: Harness) -> None:
    """split_resolution is a divisor of 100,000."""
    step = h.the_control.split_resolution
    holds(isinstance(step, int) and step > 0 and WHOLE % step == 0, expected="a divisor of 100,000", came=repr(step))


ATTEMPTS: Final[Mapping[Capability, Callable[[Harness, str], object]]] = MappingProxyType(
    {
        Cap.READ: lambda h, key: h.the_control.read(key),
        Cap.LIST: lambda h, _: list(h.the_control.states()),
        Cap.CREATE: lambda h, _: create(h),
        Cap.SET_ON: lambda h, key: write(h, SetOn(key, on=False)),
        Cap.SET_DISTRIBUTION: lambda h, key: write(h, SetDistribution(key, ramp("other", 50_000, "served"))),
        Cap.SET_TARGETS: lambda h, key: write(h, SetTargets(key, (Targets("other", ("ann",)),))),
        Cap.REPLACE: lambda h, key: write(h, Replace(plain(key, "new"))),
        Cap.ARCHIVE: lambda h, key: write(h, Archive(key)),
        Cap.RULES: lambda h, key: write(h, Replace(ruled(plain(key, "x")))),
        Cap.SEGMENTS: lambda h, _: list(h.the_control.segments()),
        Cap.PREREQUISITES: lambda h, key: write(
            h, Replace(plain(key, "x", prerequisites=(Prerequisite(h.serving("x").key, ("served",)),)))
        ),
        Cap.ATOMIC_ON_AND_SPLIT: lambda h, key: write(h, SetDistribution(key, "other", turn_on=True)),
        Cap.NATIVE_RESTORE: lambda h, key: write(
            h, Replace(h.the_control.read(key).flag, native=h.the_control.read(key).native)
        ),
    }
)


def _declared(capability: Capability, attempt: Callable[[Harness, str], object]) -> None:
    def check(h: Harness) -> None:
        key = h.serving("x").key
        if h.support(capability) is Support.FULL:
            attempt(h, key)
            return
        before = h.the_control.read(key) if h.support(Cap.READ) is Support.FULL else None
        raises(Unsupported, lambda: attempt(h, key), f"{capability.value} is {h.support(capability).value}")
        if before is not None:
            same(h.the_control.read(key).version, before.version, "version after the refusal")

    add(
        f"declared.{capability.value}",
        check,
        text=f"`{capability.value}`: FULL works; anything else raises Unsupported and changes nothing.",
    )


for _capability, _attempt in ATTEMPTS.items():
    _declared(_capability, _attempt)


# --- reading ---------------------------------------------------------------------------------------------


@rule(Cap.READ)
def reading_seeded(h: Harness) -> None:
    """A flag from the back door is read as it is: kind, variants, values, state, serve."""
    for value in (True, "x", 3, 2.75, {"a": [1, None]}, 10.0, ""):
        flag = h.serving(value, description="a description", tags=("one", "two"))
        same_flag(h.the_control.read(flag.key).flag, flag)


@rule(Cap.READ)
def reading_missing(h: Harness) -> None:
    """A flag that does not exist is NotFound, and the message names it."""
    key = h.key("missing")
    error = raises(NotFound, lambda: h.the_control.read(key))
    holds(key in error.fact, expected=f"a fact with {key}", came=error.fact)


@rule(Cap.READ)
def reading_missing_cure(h: Harness) -> None:
    """NotFound names the nearest key as the cure."""
    key = h.serving("x", key=h.key("refunds-agent")).key
    error = raises(NotFound, lambda: h.the_control.read(key[:-1]))
    holds(key in str(error), expected=f"a cure with {key}", came=str(error))


@rule(Cap.READ)
def reading_state(h: Harness) -> None:
    """A state has the full reference, a version, an aware time and a native document that is JSON."""
    flag = h.serving("x")
    state = h.the_control.read(flag.key)
    same(state.ref, h.the_control.ref(flag.key))
    holds(isinstance(state.version, str) and state.version, expected="a version", came=repr(state.version))
    same(state.read_at.utcoffset(), timedelta(0), "offset of read_at")
    json.dumps(state.native)


@rule(Cap.READ)
def reading_version(h: Harness) -> None:
    """Reading twice gives the same version; another definition has another one."""
    flag = h.serving("x")
    first = h.the_control.read(flag.key).version
    same(h.the_control.read(flag.key).version, first)
    h.serving("y", key=flag.key)
    holds(h.the_control.read(flag.key).version != first, expected="another version", came=first)


@rule(Cap.READ)
def reading_fresh(h: Harness) -> None:
    """A change by the back door is read at once: nothing is cached."""
    key = h.serving("x").key
    h.the_control.read(key)
    h.serving("y", key=key)
    same(h.the_control.read(key).flag.variants[0].value, "y")


@rule(Cap.READ)
def reading_no_alias(h: Harness) -> None:
    """A caller may change the native document it was given."""
    key = h.serving({"a": 1}).key
    state = h.the_control.read(key)
    if isinstance(state.native, dict):
        state.native.clear()
    holds(h.the_control.read(key).native, expected="the document", came="an emptied one")


@rule(Cap.READ, Cap.LIST)
def reading_list(h: Harness) -> None:
    """states() yields every flag once, each as read() does."""
    keys = [h.serving(str(n)).key for n in range(3)]
    listed = [state for state in h.the_control.states() if state.ref.key in keys]
    same(sorted(state.ref.key for state in listed), sorted(keys))
    for state in listed:
        same(state.version, h.the_control.read(state.ref.key).version)


@rule(Cap.LIST)
def reading_list_damaged(h: Harness) -> None:
    """A definition that cannot be read takes no other with it: states() yields the others.

    Repair: read each by itself and leave out what is InvalidInput, with an alarm in the log (self.readable does).
    """
    before, bad, after = (h.key(name) for name in ("a", "b", "c"))
    for key in (before, after):
        h.serving("x", key=key)
    h.damage(bad)
    listed = {state.ref.key for state in h.the_control.states()}
    holds({before, after} <= listed, expected=f"{before} and {after}", came=sorted(listed & {before, bad, after}))


@rule(Cap.LIST, Cap.CREATE, Cap.ARCHIVE)
def reading_list_archived(h: Harness) -> None:
    """states() leaves out what is archived."""
    key = create(h).ref.key
    write(h, Archive(key))
    holds(key not in [s.ref.key for s in h.the_control.states()], expected=f"no {key}", came="it is listed")
