"""What ``flagbrake doctor`` looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from flagbrake.errors import FlagbrakeError, InvalidInput
from flagbrake.kill.convention import flag_scopes
from flagbrake.model.reserved import is_reserved, looks_like_kill, scope_of
from flagbrake.model.state import FlagState
from flagbrake.model.words import counted
from flagbrake.wiring.plane import ControlPlane
from flagbrake.wiring.settings import configuration

_LEVELS: Final = (
    "level 0 (provider '{}' and no store: kills are its own flags, no process reports)",
    "level 1 (provider '{}' with a store)",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what is so, and the cure when it should not be."""

    level: Literal["ok", "warning", "failure"]
    subject: str
    text: str
    cure: str = ""


def examine(plane: ControlPlane) -> Iterator[Finding]:
    """Look at everything; a part that cannot be looked at is a failure of its own and hides no other.

    Findings are yielded as they are made, and the vendor is asked for its flags once: one that is down takes seconds.
    """
    for look in (_settings, _store, _audit, _processes, _engine):
        yield from _tried(look.__name__, partial(look, plane))
    states: list[FlagState] | None = None
    try:
        states = list(plane.control.states())
    except FlagbrakeError as error:
        yield Finding("failure", "flags", error.fact, error.cure)
    if states is not None:
        yield from _tried("flags", partial(_flags, plane, states))
        yield from _tried("reserved", partial(_reserved, plane, states))
    yield from _tried("kills", partial(_kills, plane, states))


def _tried(name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except FlagbrakeError as error:
        yield Finding("failure", name.strip("_"), error.fact, error.cure)


def unopened(error: FlagbrakeError, config: str | None, environment: str | None) -> list[Finding]:
    """What can be said when the store itself cannot be opened."""
    cure = error.cure.removesuffix("; flagbrake doctor").removesuffix("flagbrake doctor").rstrip("? ")
    try:
        settings = configuration(config, admin=True, environment=environment)
    except FlagbrakeError as bad:
        return [Finding("failure", "settings", bad.fact, bad.cure)]
    told = f"{settings.path or 'defaults'}, provider '{settings.use}', environment {settings.environment}"
    return [
        Finding("ok", "settings", told),
        Finding("failure", "store", error.fact, f"{cure}?" if cure.startswith("is ") else cure),
    ]


def _settings(plane: ControlPlane) -> Iterator[Finding]:
    path, level = plane.config.path, _LEVELS[plane.level].format(plane.config.use)
    if path is None:
        text = f"no flagbrake.toml: defaults apply to this folder only, {level}."
        yield Finding("warning", "settings", text, "flagbrake init")
    else:
        yield Finding("ok", "settings", f"{path}, {level}")


def _store(plane: ControlPlane) -> Iterator[Finding]:
    if plane.level == 0:
        yield Finding("ok", "records", f"lock, audit and journal of this machine in {plane.store.url_shown}")
        return
    yield Finding("ok", "store", f"{plane.store.url_shown} answers, revision {plane.store.revision()}")


def _audit(plane: ControlPlane) -> Iterator[Finding]:
    broken = plane.store.audit.verify()
    if broken is None:
        yield Finding("ok", "audit", "the audit chain is whole")
    else:
        yield Finding("failure", "audit", f"the audit chain is broken at entry {broken}.", "ask who changed the table")


def _processes(plane: ControlPlane) -> Iterator[Finding]:
    if plane.level == 0:
        yield Finding("ok", "processes", "level 0: no process reports, so nobody knows who listens")
        return
    live = plane.store.processes.live()
    if not live:
        text = f"no live process listens to kills in {plane.config.environment}."
        yield Finding("warning", "processes", text, "start one, or look at its environment and store")
        return
    behind = [p for p in live if p.epoch < max(q.epoch for q in live)]
    yield Finding("ok", "processes", f"listening to kills: {counted(len(live), 'live process')}")
    for process in behind:
        yield Finding("warning", "processes", f"{process.host}/{process.pid} has not applied the last kill yet.")


def _engine(plane: ControlPlane) -> Iterator[Finding]:
    active = plane.store.rollouts.active()
    live = plane.store.engines.live(plane.config.engine_silent_after)
    if live:
        yield Finding("ok", "engine", f"{counted(len(live), 'live engine')}, {counted(len(active), 'active rollout')}")
    elif active:
        text = f"{counted(len(active), 'active rollout')} and no live engine: nothing is watched."
        yield Finding("failure", "engine", text, "flagbrake engine")
    else:
        yield Finding("ok", "engine", "no active rollout, no engine needed")


def _flags(plane: ControlPlane, states: Iterable[FlagState]) -> Iterator[Finding]:
    manifest = plane.manifest()
    dot = plane.control.reserved_dot
    flags = [state.flag for state in states if not is_reserved(state.flag.key, dot=dot)]
    yield Finding("ok", "flags", f"{counted(len(flags), 'flag')}, {counted(len(manifest.declarations), 'declaration')}")
    for flag in flags:
        declared = manifest.get(flag.key)
        safe = declared.safe_variant if declared else None
        declare = f"flagbrake flag declare {flag.key} --safe VARIANT"
        if safe is None:
            text = f"{flag.key} has no safe variant: while killed it serves its off variant."
            yield Finding("warning", "flags", text, declare)
        elif flag.variant(safe) is None:
            yield Finding("failure", "flags", f"the safe variant '{safe}' of {flag.key} does not exist.", declare)
        elif flag.off_variant not in {safe, None}:
            text = f"{flag.key} serves '{flag.off_variant}' when off, and '{safe}' when killed."
            yield Finding("warning", "flags", text, "make them the same, so that off and killed agree")


def _reserved(plane: ControlPlane, states: Iterable[FlagState]) -> Iterator[Finding]:
    """Flags that a person may take for a kill switch, and no process does."""
    dot = plane.control.reserved_dot
    for state in states:
        if looks_like_kill(state.flag.key, dot=dot):
            try:
                scope_of(state.flag.key, dot=dot)
            except InvalidInput as error:
                yield Finding("warning", "reserved", f"{error.fact} It kills nothing.", error.cure)


def _kills(plane: ControlPlane, states: Iterable[FlagState] | None) -> Iterator[Finding]:
    """What is killed; ``states`` is ``None`` when the flags could not be read, which hides no kill."""
    standing = plane.switch.standing()
    manifest = plane.manifest()
    keys = None if states is None else [state.flag.key for state in states]
    for entry in standing.kills:
        text = f"{entry.kill.scope} is killed since {entry.kill.at:%Y-%m-%d %H:%M} UTC: {entry.kill.reason}"
        if keys is None:
            text += "."
        else:
            covered = [k for k in keys if any(entry.kill.scope.covers(s) for s in flag_scopes(k, manifest.get(k)))]
            text += f" ({counted(len(covered), 'flag')})."
        yield Finding("warning", "kills", text, f"flagbrake restore {entry.kill.scope}")
        if entry.expired:
            yield Finding(
                "warning", "kills", f"{entry.kill.scope} has expired and still stands.", "restore it, or leave it"
            )
    for lane, why in standing.unread:
        yield Finding("warning", "kills", f"the lane {lane} could not be read: {why}")
    if not standing.kills and not standing.unread:
        yield Finding("ok", "kills", "nothing is killed")
