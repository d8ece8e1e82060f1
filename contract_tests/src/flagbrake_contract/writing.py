"""Writing: what was written is what is there; conflicts; the audit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import Conflict
from flagbrake.model.flag import Distribution, Targets, Variant, ramp
from flagbrake.model.state import (
    Archive,
    Capability,
    Change,
    Create,
    FlagState,
    Replace,
    SetDistribution,
    SetOn,
    SetTargets,
    Support,
)
from flagbrake.model.values import WHOLE
from flagbrake_contract.ask import DEFAULTS, ask, succeeds, user
from flagbrake_contract.change import create, possible, raises, ruled, same_flag, with_targets, write
from flagbrake_contract.harness import Harness, plain
from flagbrake_contract.locks import ProcessLock
from flagbrake_contract.rules import area, holds, rule, same

Cap = Capability

area("writing", "Writing", repair="write one change, read back, return what was read")
area(
    "conflicts",
    "Conflicts",
    repair="compare `expected` with the version inside the write; raise Conflict, write nothing",
)
area("audit", "Audit", repair="write the audit entry in the write's own transaction, with `by` and `comment`")


# --- writing -----------------------------------------------------------------------------------------------


@rule(Cap.CREATE)
def writing_create(h: Harness) -> None:
    """A created flag is returned as read, and reads back the same: every kind, off, split, described."""
    for value in (True, "x", 3, 2.75, {"a": [1, None]}):
        meant = plain(h.key("made"), value, on=False, description="why", tags=("team-a",))
        if h.support(Cap.SET_DISTRIBUTION) is Support.FULL:
            meant = replace(meant, default=ramp("other", 25_000, "served"))
        state = write(h, Create(meant))
        same_flag(state.flag, meant)
        same_flag(h.the_control.read(meant.key).flag, meant)


@rule(Cap.CREATE)
def writing_served(h: Harness) -> None:
    """What the control wrote is what the provider serves."""
    key = create(h).ref.key
    _serves(h, key, "x")
    if h.support(Cap.SET_DISTRIBUTION) is Support.FULL:
        write(h, SetDistribution(key, "other"))
        _serves(h, key, "another text")


def _serves(h: Harness, key: str, expected: Any) -> None:
    h.settle()
    default = DEFAULTS[plain(key, expected).kind]
    h.eventually(
        lambda: ask(h.provider, key, default, user("u")).value == expected,
        expected=f"{expected!r} of {key}",
        came=lambda: ask(h.provider, key, default, user("u")).value,
    )


@rule(Cap.SET_ON)
def writing_on(h: Harness) -> None:
    """Off and on again change that and nothing else."""
    flag = h.serving("x", **with_targets(h))
    state = write(h, SetOn(flag.key, on=False))
    same_flag(state.flag, replace(flag, on=False))
    same_flag(write(h, SetOn(flag.key, on=True)).flag, flag)


@rule(Cap.SET_ON)
def writing_on_twice(h: Harness) -> None:
    """Writing what is already so is no error and leaves the same definition."""
    flag = h.serving("x")
    for _ in range(2):
        same_flag(write(h, SetOn(flag.key, on=False)).flag, replace(flag, on=False))


@rule(Cap.SET_ON, Cap.OFF_SERVES_SAFE)
def writing_off_variant(h: Harness) -> None:
    """OFF_SERVES_SAFE: SetOn with an off variant switches off and names what is served, in one write."""
    flag = replace(plain(h.key(), "x"), off_variant="served")
    h.put(flag)
    state = write(h, SetOn(flag.key, on=False, off_variant="other"))
    same_flag(state.flag, replace(flag, on=False, off_variant="other"))
    _serves(h, flag.key, "another text")
    same_flag(write(h, SetOn(flag.key, on=True, off_variant="served")).flag, flag)


@rule(Cap.SET_ON, Cap.OFF_SERVES_SAFE)
def writing_off_serves(h: Harness) -> None:
    """OFF_SERVES_SAFE: turned off, a flag of any kind serves its off variant."""
    for value in (True, "x", 3, 2.75, {"a": 1}):
        flag = h.serving(value)
        write(h, SetOn(flag.key, on=False))
        h.settle()
        h.eventually(
            lambda flag=flag: (
                succeeds(ask(h.provider, flag.key, DEFAULTS[flag.kind])).value  # type: ignore[misc]
                == flag.variants[1].value
            ),
            expected=repr(flag.variants[1].value),
            came=lambda flag=flag: ask(h.provider, flag.key, DEFAULTS[flag.kind]).value,  # type: ignore[misc]
        )


@rule(Cap.SET_DISTRIBUTION)
def writing_split(h: Harness) -> None:
    """A split is written and read back to the share, in order."""
    flag = h.serving("x")
    step = h.the_control.split_resolution
    for share in (0, step, 10_000, WHOLE - step, WHOLE):
        meant = ramp("other", share, "served")
        came = write(h, SetDistribution(flag.key, meant)).flag.default
        holds(_shares(came) == _shares(meant), expected=_shares(meant), came=_shares(came))


def _shares(serve: object) -> dict[str, int]:
    """Shares by variant, zero shares left out: a vendor may store 100 % as one variant."""
    if isinstance(serve, Distribution):
        return {w.variant: w.share for w in serve.weights if w.share}
    return {str(serve): WHOLE}


@rule(Cap.SET_DISTRIBUTION)
def writing_split_keeps(h: Harness) -> None:
    """A new split changes nothing else: on, targets, rules, tags, description stay."""
    flag = h.serving("x", on=False, tags=("team-a",), description="why", **with_targets(h))
    came = write(h, SetDistribution(flag.key, ramp("other", 10_000, "served"))).flag
    same_flag(replace(came, default=flag.default), flag)


@rule(Cap.SET_DISTRIBUTION, Cap.RULES)
def writing_split_in_rule(h: Harness) -> None:
    """A split may be written into one rule by its id; the default stays."""
    flag = ruled(plain(h.key("ruled"), "x"))
    h.put(flag)
    # A vendor may name rules itself.
    named = h.the_control.read(flag.key).flag.rules[0].id
    came = write(h, SetDistribution(flag.key, ramp("other", 10_000, "served"), rule=named)).flag
    same(_shares(came.rules[0].serve), {"other": 10_000, "served": 90_000})
    same(came.default, flag.default)


@rule(Cap.ATOMIC_ON_AND_SPLIT)
def writing_on_and_split(h: Harness) -> None:
    """turn_on switches the flag on in the same write: no reader sees one without the other."""
    flag = h.serving("x", on=False)
    came = write(h, SetDistribution(flag.key, "other", turn_on=True)).flag
    same((came.on, came.default), (True, "other"))


@rule(Cap.SET_TARGETS)
def writing_targets(h: Harness) -> None:
    """Targets are replaced as a whole, also by none."""
    flag = h.serving("x", targets=(Targets("other", ("ann",)),))
    for targets in ((Targets("other", ("bob", "cleo")), Targets("served", ("dora",))), ()):
        came = write(h, SetTargets(flag.key, targets)).flag.targets
        # Whose keys stand first means nothing: no key is in two of them.
        same(sorted(came, key=lambda t: t.variant), sorted(targets, key=lambda t: t.variant))


@rule(Cap.REPLACE)
def writing_replace(h: Harness) -> None:
    """Replace puts a whole definition in place."""
    flag = h.serving("x", tags=("team-a",), **with_targets(h))
    variants = (Variant("one", "1"), Variant("two", "2"), Variant("three", "3"))
    meant = replace(flag, variants=variants, default="two", off_variant="three", targets=(), tags=("team-b",))
    same_flag(write(h, Replace(meant)).flag, meant)
    same_flag(h.the_control.read(flag.key).flag, meant)


@rule(Cap.READ, Cap.NATIVE_RESTORE)
def writing_native(h: Harness) -> None:
    """The native document, put back, restores the flag exactly, whatever happened in between."""
    flag = h.serving("x", tags=("team-a",), description="why", **with_targets(h))
    before = h.the_control.read(flag.key)
    for change in possible(h, SetOn(flag.key, on=False), SetDistribution(flag.key, "other")):
        write(h, change)
    after = write(h, Replace(before.flag, native=before.native))
    same_flag(after.flag, before.flag)
    _serves(h, flag.key, "x")


@rule(Cap.ARCHIVE)
def writing_archive(h: Harness) -> None:
    """An archived flag is not served any more: FLAG_NOT_FOUND and the default."""
    flag = h.serving("x")
    write(h, Archive(flag.key))
    h.settle()
    h.eventually(
        lambda: str(ask(h.provider, flag.key, "default").error_code) == "FLAG_NOT_FOUND",
        expected="FLAG_NOT_FOUND",
        came=lambda: ask(h.provider, flag.key, "default").value,
    )


@rule(Cap.READ, Cap.SET_ON)
def writing_returns_read(h: Harness) -> None:
    """Apply returns the state as a read returns it: same version, same definition."""
    flag = h.serving("x")
    changes = possible(h, SetOn(flag.key, on=False), SetDistribution(flag.key, "other"), SetOn(flag.key, on=True))
    for change in changes:
        came = write(h, change)
        read = h.the_control.read(flag.key)
        same(came.version, read.version)
        same_flag(came.flag, read.flag)


@rule(Cap.READ, Cap.SET_ON)
def writing_version_moves(h: Harness) -> None:
    """Every write that changes the definition gives it a new version."""
    flag = h.serving("x")
    seen = {h.the_control.read(flag.key).version}
    changes = possible(h, SetOn(flag.key, on=False), SetDistribution(flag.key, "other"), SetTargets(flag.key, ()))
    for change in changes:
        version = write(h, change).version
        if not isinstance(change, SetTargets):
            holds(version not in seen, expected="a new version", came=version)
        seen.add(version)


# --- conflicts ----------------------------------------------------------------------------------------------


@rule(Cap.CREATE)
def conflicts_create(h: Harness) -> None:
    """Creating a flag that exists is a Conflict, and the flag stays as it is."""
    flag = h.serving("x")
    raises(Conflict, lambda: write(h, Create(plain(flag.key, "another definition"))))
    same_flag(h.the_control.read(flag.key).flag, flag)


@rule(Cap.COMPARE_AND_SWAP, Cap.READ, Cap.SET_ON)
def conflicts_version(h: Harness) -> None:
    """An expected version that is not the present one is a Conflict, and nothing is written: every change."""
    flag = h.serving("x")
    old = h.the_control.read(flag.key).version
    now = write(h, SetOn(flag.key, on=False), expected=old)
    for change in possible(
        h,
        SetOn(flag.key, on=True),
        SetDistribution(flag.key, "other"),
        SetTargets(flag.key, (Targets("other", ("ann",)),)),
        Replace(plain(flag.key, "new")),
        Archive(flag.key),
    ):
        raises(Conflict, lambda change=change: write(h, change, expected=old), type(change).__name__)  # type: ignore[misc]
        same(h.the_control.read(flag.key).version, now.version, type(change).__name__)


@rule(Cap.COMPARE_AND_SWAP, Cap.READ, Cap.SET_TARGETS)
def conflicts_race(h: Harness) -> None:
    """Of eight writers that expect the same version exactly one writes; the others get a Conflict."""
    flag = h.serving("x")
    version = h.the_control.read(flag.key).version

    def attempt(number: int) -> bool:
        try:
            write(h, SetTargets(flag.key, (Targets("other", (f"unit-{number}",)),)), expected=version)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        written = sum(pool.map(attempt, range(8)))
    holds(written == 1, expected="one of eight writes", came=f"{written}")


@rule(Cap.READ, Cap.SET_TARGETS)
def conflicts_lock(h: Harness) -> None:
    """Through flagbrake's writer and its lock no write is lost: eight writers, each adds a target, all are there."""
    flag = h.serving("x")
    writer = FlagWriter(h.the_control, lock=h.lock or ProcessLock(), wait=h.patience * 3)
    units = [f"unit-{n}" for n in range(8)]

    def add_one(unit: str) -> None:
        def decide(state: FlagState) -> Change:
            have = tuple(k for t in state.flag.targets for k in t.keys)
            return SetTargets(flag.key, (Targets("other", (*have, unit)),))

        writer.modify(flag.key, decide, by="ann", reason="contract")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_one, units))
    came = [k for t in h.the_control.read(flag.key).flag.targets for k in t.keys]
    same(sorted(came), units)


@rule(Cap.READ, Cap.SET_ON)
def conflicts_writer_expected(h: Harness) -> None:
    """Through flagbrake's writer an outdated version is refused on every vendor, with or without its own compare."""
    flag = h.serving("x")
    old = h.the_control.read(flag.key).version
    write(h, SetOn(flag.key, on=False))
    writer = FlagWriter(h.the_control, lock=h.lock or ProcessLock())
    raises(Conflict, lambda: writer.apply(SetOn(flag.key, on=True), by="ann", reason="late", expected=old))
    same(h.the_control.read(flag.key).flag.on, False)


# --- audit ---------------------------------------------------------------------------------------------------


@rule(Cap.AUDIT, Cap.SET_ON)
def audit_entry(h: Harness) -> None:
    """A write leaves one entry with who and why."""
    flag = h.serving("x")
    before = len(h.audited(flag.key))
    h.the_control.apply(SetOn(flag.key, on=False), by="ann", comment="because it burns")
    new = h.audited(flag.key)[before:]
    holds(len(new) == 1, expected="one entry", came=f"{len(new)}: {new}")
    who, why = new[0]
    holds("ann" in who and "because it burns" in why, expected="ann, because it burns", came=f"{who}, {why}")


@rule(Cap.AUDIT, Cap.COMPARE_AND_SWAP, Cap.READ, Cap.SET_ON)
def audit_refused(h: Harness) -> None:
    """A write that was refused leaves no entry that says it was done."""
    flag = h.serving("x")
    old = h.the_control.read(flag.key).version
    write(h, SetOn(flag.key, on=False))
    before = h.audited(flag.key)
    raises(Conflict, lambda: write(h, SetOn(flag.key, on=True), expected=old))
    same(h.audited(flag.key), before)


@rule(Cap.COMMENTS, Cap.SET_ON)
def audit_comment(h: Harness) -> None:
    """COMMENTS: the reason stands in the vendor's own history."""
    flag = h.serving("x")
    h.the_control.apply(SetOn(flag.key, on=False), by="ann", comment="because it burns")
    said = [why for _, why in h.audited(flag.key)]
    holds(any("because it burns" in why for why in said), expected="the comment", came=f"{said}")
