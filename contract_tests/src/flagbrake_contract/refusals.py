"""What a control must refuse, and with which error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import (
    ApprovalRequired,
    FlagbrakeError,
    InvalidInput,
    NotAllowed,
    NotFound,
    RetryLater,
    Unavailable,
)
from flagbrake.model.flag import Distribution, Targets, Weight, ramp
from flagbrake.model.state import Archive, Capability, Change, Create, Replace, SetDistribution, SetOn, SetTargets
from flagbrake_contract.capability import ProviderCapability
from flagbrake_contract.change import possible
from flagbrake_contract.harness import Harness, plain
from flagbrake_contract.locks import ProcessLock
from flagbrake_contract.rules import Broken, Said, add, area, holds, rule, same

Cap = Capability

area(
    "refusals",
    "Refusals",
    repair="check the change against the flag before writing; map the vendor's errors in errors.py, one place, "
    "named by what the caller does next",
)


def refused(
    h: Harness, kind: type[FlagbrakeError] | tuple[type[FlagbrakeError], ...], change: Change
) -> FlagbrakeError:
    """The change is refused with this error, and the flag stays as it was."""
    before = _version(h, change.key)
    names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
    about = type(change).__name__
    try:
        h.the_control.apply(change, by="ann", comment="contract")
    except kind as error:
        holds(error.fact.strip(), expected="an error that says a fact", came=repr(error), about=about)
        same(_version(h, change.key), before, f"version after the refusal of {about}")
        return error
    except Exception as error:
        raise Broken(Said(names), error, about) from error
    raise Broken(Said(names), Said("no error"), about)


def _version(h: Harness, key: str) -> str | None:
    try:
        return h.the_control.read(key).version
    except NotFound:
        return None


@rule(Cap.READ, Cap.SET_ON)
def refusals_missing_flag(h: Harness) -> None:
    """A change of a flag that does not exist is NotFound, and creates nothing: every change that is FULL."""
    key = h.key("missing")
    for change in possible(h, SetOn(key, on=True), SetDistribution(key, "served"), SetTargets(key, ()), Archive(key)):
        refused(h, NotFound, change)


@rule(Cap.SET_DISTRIBUTION)
def refusals_unknown_variant(h: Harness) -> None:
    """A serve of a variant that does not exist is InvalidInput."""
    flag = h.serving("x")
    for serve in ("nothing", ramp("nothing", 50_000, "served")):
        refused(h, InvalidInput, SetDistribution(flag.key, serve))


@rule(Cap.SET_TARGETS)
def refusals_unknown_target_variant(h: Harness) -> None:
    """Targets of a variant that does not exist are InvalidInput."""
    refused(h, InvalidInput, SetTargets(h.serving("x").key, (Targets("nothing", ("ann",)),)))


@rule(Cap.SET_DISTRIBUTION, Cap.RULES)
def refusals_unknown_rule(h: Harness) -> None:
    """A serve in a rule that does not exist is InvalidInput or NotFound."""
    refused(h, (InvalidInput, NotFound), SetDistribution(h.serving("x").key, "other", rule="nothing"))


@rule(Cap.SET_DISTRIBUTION)
def refusals_shares(h: Harness) -> None:
    """Shares that do not sum to 100 %, or are negative, are InvalidInput: nothing is rounded in silence."""
    flag = h.serving("x")
    for one, two in ((50_000, 40_000), (60_000, 50_000), (110_000, -10_000)):
        refused(h, InvalidInput, SetDistribution(flag.key, Distribution((Weight("served", one), Weight("other", two)))))


@rule(Cap.SET_DISTRIBUTION)
def refusals_finer_split(h: Harness) -> None:
    """A split finer than split_resolution is never rounded in silence: InvalidInput, or written as it is.

    Through flagbrake's writer it is refused and the nearest one is named.
    """
    step = h.the_control.split_resolution
    if step == 1:
        return
    flag = h.serving("x")
    finer = ramp("other", step + 1, "served")
    writer = FlagWriter(h.the_control, lock=h.lock or ProcessLock())
    try:
        writer.apply(SetDistribution(flag.key, finer), by="ann", reason="contract")
    except InvalidInput as error:
        holds(error.cure, expected="the nearest split as the cure", came=str(error))
    else:
        raise Broken(Said("InvalidInput of the writer"), Said("no error"))
    try:
        came = h.the_control.apply(SetDistribution(flag.key, finer), by="ann", comment="contract").flag.default
    except InvalidInput:
        return
    same(came.share("other") if isinstance(came, Distribution) else came, step + 1, "share written")


@rule(Cap.CREATE)
def refusals_bad_definition(h: Harness) -> None:
    """A definition that cannot be served is InvalidInput: an unknown default, an unknown off variant, no variants."""
    from dataclasses import replace

    for spoil in ({"default": "nothing"}, {"off_variant": "nothing"}, {"variants": ()}):
        refused(h, InvalidInput, Create(replace(plain(h.key("bad"), "x"), **spoil)))


@rule(Cap.CREATE)
def refusals_bad_value(h: Harness) -> None:
    """A variant whose value is not of the flag's kind is InvalidInput."""
    from dataclasses import replace

    from flagbrake.model.flag import Variant

    flag = plain(h.key("bad"), 3)
    refused(h, InvalidInput, Create(replace(flag, variants=(*flag.variants, Variant("third", "three")))))


@rule(Cap.REPLACE)
def refusals_bad_replacement(h: Harness) -> None:
    """A replacement that cannot be served is InvalidInput, and the old definition stays."""
    from dataclasses import replace

    flag = h.serving("x")
    refused(h, InvalidInput, Replace(replace(flag, default="nothing")))


@rule(ProviderCapability.UNAVAILABLE_INIT, Cap.READ, Cap.SET_ON)
def refusals_unreachable(h: Harness) -> None:
    """With the vendor away, reading and writing raise Unavailable in bounded time."""
    flag = h.serving("x")
    with h.broken():
        for call in _calls(h, flag.key):
            try:
                call()
            except Unavailable as error:
                holds(error.fact.strip(), expected="a fact", came=repr(error))
            except Exception as error:
                raise Broken(Said("Unavailable"), error) from error
            else:
                raise Broken(Said("Unavailable"), Said("no error"))
    same(h.the_control.read(flag.key).flag.key, flag.key, "read after the vendor is back")


def _calls(h: Harness, key: str) -> tuple[Callable[[], Any], ...]:
    control = h.the_control
    return (lambda: control.read(key), lambda: control.apply(SetOn(key, on=False), by="ann", comment="contract"))


@rule(ProviderCapability.UNAVAILABLE_INIT, Cap.READ, Cap.SET_ON)
def refusals_no_secret(h: Harness) -> None:
    """No secret stands in the error of a vendor that is away, nor in the control's repr."""
    flag = h.serving("x")
    texts = [f"{h.the_control!r} {h.the_control}"]
    with h.broken():
        for call in _calls(h, flag.key):
            try:
                call()
            except FlagbrakeError as error:
                texts.append(f"{error} {error!r} {error.__cause__}")
    for number, secret in enumerate(h.secrets, 1):
        holds(not any(secret in t for t in texts), expected="no secret", came=f"secret {number} of the harness")


def _by_tool(name: str, kind: type[FlagbrakeError], says: str) -> None:
    def check(h: Harness) -> None:
        refusing = h.refusing(name)
        flag = h.serving("x")
        with refusing:
            refused(h, kind, SetOn(flag.key, on=False))

    add(
        f"refusals.{_snake(name)}",
        check,
        text=f"{says} A vendor that never refuses so is declared with the reason (`cannot_refuse`).",
        needs=(Cap.SET_ON,),
    )


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")


_by_tool("NotAllowed", NotAllowed, "A token or role that may not write is NotAllowed, and nothing is written.")
_by_tool("ApprovalRequired", ApprovalRequired, "A change that the vendor wants approved is ApprovalRequired.")
_by_tool("RetryLater", RetryLater, "A rate limit is RetryLater, with the seconds to wait when the vendor says them.")
