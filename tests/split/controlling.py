"""A flag for the control's tests, and the control over an emulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flagbrake.model.clause import SPLIT, Attribute, Clause, Op
from flagbrake.model.flag import Flag, Rule, Targets, Variant, ramp
from flagbrake.model.state import FlagState
from flagbrake.model.values import FlagKind
from flagbrake.ports.adapter import AdapterSettings
from flagbrake.ports.control import FlagControl
from flagbrake_split import SplitAdapter
from flagbrake_split.emulator import SplitEmulator

VARIANTS = (Variant("v2", {"model": "b"}), Variant("v1", {"model": "a"}))
#: The default treatment, which a kill serves, is the broken version.
MISSET = Flag(
    "refunds",
    FlagKind.OBJECT,
    VARIANTS,
    ramp("v2", 30_000, "v1"),
    off_variant="v2",
    targets=(Targets("v2", ("vip",)),),
    rules=(Rule("rule-1", (Clause(Attribute(("plan",)), Op.IN, ("pro",), semantics=SPLIT),), "v2"),),
    tags=("agents",),
    description="pays back",
)
BY: dict[str, str] = {"by": "ann", "comment": "because it burns"}


def control_of(split: SplitEmulator, environment: str = "test", **options: Any) -> FlagControl:
    """The control, as settings would make it."""
    return SplitAdapter().control(AdapterSettings("Default", environment, {**split.admin_settings, **options}))


def stripped(state: FlagState) -> Flag:
    """The flag without its version."""
    return replace(state.flag, version=0)


def paths(split: SplitEmulator) -> list[str]:
    """What was done through the management API, in order."""
    return [f"{said.action} {said.environment}".strip() for said in split.history]
