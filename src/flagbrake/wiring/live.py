"""What ``flagbrake doctor --live`` asks the vendor itself, and the self-test that it runs on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError

from flagbrake.errors import Conflict, FlagbrakeError, InvalidInput, NotFound
from flagbrake.model.flag import Flag, Variant, ramp
from flagbrake.model.state import (
    Archive,
    Capability,
    Change,
    Create,
    FlagState,
    Replace,
    SetDistribution,
    SetOn,
    Support,
)
from flagbrake.model.values import WHOLE, FlagKind
from flagbrake.model.words import counted
from flagbrake.ports.provider import FlagProvider
from flagbrake.wiring.health import Finding
from flagbrake.wiring.plane import ControlPlane

#: The only flag that the self-test touches.
SELFTEST: Final = "flagbrake-selftest"
_ABOUT: Final = "Made by flagbrake doctor --selftest; may be archived."
_BY: Final = "doctor"
_WHY: Final = "self-test"
_PATIENCE: Final = 30.0
_UNITS: Final = tuple(f"unit-{number}" for number in range(200))
_FLAG: Final = Flag(
    SELFTEST,
    FlagKind.STRING,
    (Variant("v1", "one"), Variant("v2", "two")),
    "v1",
    off_variant="v1",
    description=_ABOUT,
)


def examine_live(plane: ControlPlane, *, selftest: bool = False) -> Iterator[Finding]:
    """Ask the vendor: does the agents' key work, does the token, are both of one environment?

    With ``selftest`` a flag of its own is created, ramped, turned off, restored and archived, and an SDK is watched
    following each step. Findings are yielded as they are made; after a failure what was made is archived.
    """
    with _provider(plane) as (provider, found):
        yield found
        keys = None if provider is None else _keys(provider)
        yield from _management(plane, keys)
        if not selftest:
            yield Finding("ok", "selftest", "not asked for: nothing was written (--selftest tries a flag of its own)")
        elif provider is None:
            yield Finding("failure", "selftest", "not run: without flags at the SDK nothing could be watched.")
        else:
            yield from _selftest(plane, provider)


@contextmanager
def _provider(plane: ControlPlane) -> Iterator[tuple[FlagProvider | None, Finding]]:
    """The data plane as an agent has it, started, and what came of the start."""
    provider: FlagProvider | None = None
    begun = time.monotonic()
    try:
        provider = plane.data_plane()
        provider.initialize(EvaluationContext())
        keys = _keys(provider)
        told = "flags" if keys is None else counted(len(keys), "flag")
        found = Finding("ok", "agents", f"the agents' key works: {told} in {_ms(begun)}")
    except OpenFeatureError as error:
        text = error.error_message or str(error)
        found = Finding("failure", "agents", f"agents get no flags: {text}")
    except FlagbrakeError as error:
        found = Finding("failure", "agents", error.fact, error.cure)
    try:
        yield (provider if found.level == "ok" else None), found
    finally:
        if provider is not None:
            provider.shutdown()


def _keys(provider: FlagProvider) -> set[str] | None:
    keys = provider.keys()
    return None if keys is None else set(keys)


def _management(plane: ControlPlane, at_agents: set[str] | None) -> Iterator[Finding]:
    begun = time.monotonic()
    try:
        keys = {state.ref.key for state in plane.control.states()}
        yield Finding("ok", "token", f"the management side answers: {counted(len(keys), 'flag')} in {_ms(begun)}")
    except FlagbrakeError as error:
        yield Finding("failure", "token", error.fact, error.cure)
        return
    if keys and at_agents is not None and not keys & at_agents:
        text = "agents and the management side share no flag: their keys are of two environments or projects."
        yield Finding("failure", "environment", text, "the key of the environment that the settings name")
    elif at_agents is not None:
        yield Finding(
            "ok", "environment", f"agents and the management side share {counted(len(keys & at_agents), 'flag')}"
        )
    try:
        for remark in plane.control.remarks():
            yield Finding("ok" if remark.fine else "warning", "account", remark.text, remark.cure)
    except FlagbrakeError as error:
        yield Finding("warning", "account", error.fact, error.cure)


class _Failed(Exception):
    """A step did not show at the SDK."""


def _selftest(plane: ControlPlane, provider: FlagProvider) -> Iterator[Finding]:
    run = _Run(plane, provider)
    try:
        for name, step in run.steps():
            begun = time.monotonic()
            seen = step()
            text = f"{name} in {_ms(begun, run.written)}"
            yield Finding("ok", "selftest", f"{text}, {seen} {_ms(run.written)} later" if seen else text)
    except (FlagbrakeError, _Failed) as error:
        cure = error.cure if isinstance(error, FlagbrakeError) else ""
        fact = error.fact if isinstance(error, FlagbrakeError) else str(error)
        yield Finding("failure", "selftest", f"{name}: {fact}", cure)
        yield run.clean_up()


class _Run:
    """The steps of one self-test."""

    def __init__(self, plane: ControlPlane, provider: FlagProvider) -> None:
        self._plane = plane
        self._provider = provider
        self._before: FlagState | None = None
        self._made = False
        #: When the last write was confirmed.
        self.written = 0.0

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Each with its name; a step returns what the SDK was seen to do."""
        yield "created", self._create
        yield "ramped to 50 %", self._ramp
        yield "turned off", self._off
        yield "restored", self._restore
        if self._full(Capability.ARCHIVE):
            yield "archived", self._archive

    def clean_up(self) -> Finding:
        """After a failure."""
        if not self._made or not self._full(Capability.ARCHIVE):
            return Finding("ok", "selftest", "nothing is left behind" if not self._made else f"{SELFTEST} is left")
        try:
            self._write(Archive(SELFTEST))
        except NotFound:
            return Finding("ok", "selftest", "nothing is left behind")
        except FlagbrakeError as error:
            return Finding("failure", "selftest", f"{SELFTEST} is left behind: {error.fact}", "archive it by hand")
        return Finding("ok", "selftest", f"{SELFTEST} is archived: nothing is left behind")

    def _create(self) -> str:
        self._made = True
        try:
            self._write(Create(_FLAG))
        except Conflict:
            # Left by an earlier run, archived or not; anything else under this name is not ours to touch.
            if not self._ours():
                self._made = False
                raise InvalidInput(f"There is a flag '{SELFTEST}' that is not ours.", cure="rename it") from None
            self._write(Replace(_FLAG))
        self._await(lambda: self._served() == {"v1"}, "v1 to everybody")
        return "served to the SDK"

    def _ours(self) -> bool:
        try:
            return self._plane.control.read(SELFTEST).flag.description == _ABOUT
        except NotFound:
            return True  # archived at a vendor that does not show what is archived: the name has to do

    def _ramp(self) -> str:
        self._write(SetDistribution(SELFTEST, ramp("v2", WHOLE // 2, "v1")))
        self._before = self._plane.control.read(SELFTEST)
        self._await(lambda: self._served() == {"v1", "v2"}, "v1 to some and v2 to others")
        return "split at the SDK"

    def _off(self) -> str:
        self._write(SetOn(SELFTEST, on=False))
        if self._full(Capability.OFF_SERVES_SAFE):
            self._await(lambda: self._served() == {"v1"}, "the off variant to everybody")
            return "the off variant at the SDK"
        self._await(lambda: "v2" not in self._served(), "v2 to nobody")
        return "no v2 at the SDK"

    def _restore(self) -> str:
        assert self._before is not None
        if self._full(Capability.NATIVE_RESTORE):
            self._write(Replace(self._before.flag, native=self._before.native))
        else:
            self._write(SetOn(SELFTEST, on=True))
        self._await(lambda: self._served() == {"v1", "v2"}, "the split as it was")
        return "the split back at the SDK"

    def _archive(self) -> str:
        self._write(Archive(SELFTEST))
        self._made = False
        self._await(lambda: self._ask("unit-0").error_code is ErrorCode.FLAG_NOT_FOUND, "no such flag")
        return "gone from the SDK"

    def _write(self, change: Change) -> None:
        self._plane.writer.apply(change, by=_BY, reason=_WHY)
        self.written = time.monotonic()

    def _full(self, capability: Capability) -> bool:
        return self._plane.control.capabilities.get(capability) is Support.FULL

    def _ask(self, unit: str) -> Any:
        context = EvaluationContext(unit)
        return self._provider.resolve_string_details(SELFTEST, "", evaluation_context=context)

    def _served(self) -> set[str | None]:
        values = {variant.value: variant.name for variant in _FLAG.variants}
        return {values.get(self._ask(unit).value) for unit in _UNITS}

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        pause, end = threading.Event(), time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise _Failed(f"written, and within {_PATIENCE:g} s the SDK did not serve {what}.")
            pause.wait(0.01)


def _ms(since: float, until: float = 0.0) -> str:
    return f"{((until or time.monotonic()) - since) * 1000:.0f} ms"
