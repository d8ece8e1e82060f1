"""What an operator means: from a text to a scope that exists, with as few questions as possible."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from flagbrake.control.coverage import Catalogue, covered, find
from flagbrake.control.deadlines import Job, call
from flagbrake.control.hearing import look
from flagbrake.control.plane import Plane, Survey, inside, reason_of
from flagbrake.errors import ConfigError, FlagbrakeError, InvalidInput, NotFound
from flagbrake.model.kill import Scope, ScopeKind
from flagbrake.model.manifest import Manifest
from flagbrake.model.state import FlagState

#: So many covered flags are read one by one: where their off variants are shown, and where reading them
#: is the only way to know what they were.
_SHOWN: Final = 20
_READ: Final = 200


@dataclass(frozen=True, slots=True)
class Target:
    """A scope, and what was learnt of it before anything was written.

    ``known`` is ``None`` when the flags could not be read, ``False`` when no list shows it and the operator
    said so (``arm``). ``flag`` is the flag of its own name, if it was read.
    """

    scope: Scope
    known: bool | None
    survey: Survey
    flag: FlagState | None = None


def take_aim(plane: Plane, target: str | Scope, *, arm: bool, flag_needed: bool) -> Target:
    """Find the scope, in an environment that there is.

    Raises:
        NotFound, InvalidInput: as :func:`coverage.find`, or there is no such environment; nothing was written.
    """
    place = Job("place", lambda: _misspelt(plane))
    found = _find(plane, target, arm=arm, flag_needed=flag_needed)
    # As with scopes that no list shows: who insists is believed, but not about a flag.
    if not arm or found.scope.kind is ScopeKind.FLAG:
        _refuse_misspelt(plane, place)
    return found


def _misspelt(plane: Plane) -> FlagbrakeError | None:
    """The vendor's word that there is no such environment, asked only where nobody ever wrote or listens."""
    if plane.control is None or not plane.unwritten() or look(plane.listeners, plane.environment):
        return None
    try:
        plane.control.check_place()
    except (NotFound, ConfigError) as error:
        return error
    return None


def _refuse_misspelt(plane: Plane, place: Job[FlagbrakeError | None]) -> None:
    try:
        error = place.result(within=plane.deadlines.look)
    except Exception:  # noqa: BLE001 - a store or vendor that does not say must not keep a kill from being made
        return
    if error is not None:
        fact = f"Nothing was ever written in environment '{plane.environment}' and nobody listens there"
        raise NotFound(f"{fact}: {error.fact.rstrip('.')}; nothing was killed.", cure=error.cure)


def _find(plane: Plane, target: str | Scope, *, arm: bool, flag_needed: bool) -> Target:
    """Every question delays a kill, so the flags are listed only when nothing else knows the scope."""
    text = str(target).strip()
    kind, colon, path = text.rpartition(":")
    if colon and kind != "flag" and path.endswith("*"):
        raise InvalidInput(f"'{text}' ends in a star; a scope covers what is under it.", cure=f"{kind}:NAME, or *")
    asked = path if kind == "flag" or not colon else None
    # A key that no list has is not asked for: the answer would name its nearest, which takes long.
    job = Job("flag", lambda: plane.state(asked) if asked and plane.listed(asked) else None)
    partial, fault = _declared(plane)
    if text == "*" or (":" in text and not flag_needed and _known(text, partial)):
        return Target(find(text, partial).scope, True, Survey(partial, fault=fault), job.value)
    state = None
    try:
        state = job.result(within=plane.deadlines.look)
    except Exception as error:  # noqa: BLE001 - a broken adapter must not keep a kill from being made
        fault = fault or reason_of(error)
    if state is not None:
        partial = replace(partial, flags={state.ref.key: state.flag})
    survey = Survey(partial, {state.ref.key: state} if state else {}, fault)
    if not _known(text, partial) and not fault:
        try:
            survey = call("flags", lambda: plane.names() or plane.survey(), within=plane.deadlines.look)
        except Exception as error:  # noqa: BLE001 - a broken adapter must not keep a kill from being made
            survey = replace(survey, fault=reason_of(error))
    try:
        found = find(text, survey.catalogue, arm=arm)
    except NotFound as error:
        if not survey.fault:
            raise
        # Why nothing could be looked up is the better half: it may be the wrong environment, or a wrong token.
        raise NotFound(f"{error.fact.rstrip('.')}: {inside(survey.fault)}.", cure=error.cure) from error
    return Target(found.scope, found.known, survey, state)


def _known(text: str, catalogue: Catalogue) -> bool:
    try:
        found = find(text, catalogue)
    except NotFound:
        return False
    return found.known is True and (":" in text or found.scope in catalogue.scopes())


def _declared(plane: Plane) -> tuple[Catalogue, str]:
    """What is declared; the flags are not in it yet."""
    fault, manifest, registered = "", Manifest(), frozenset[Scope]()
    try:
        manifest, registered = call(
            "manifest", lambda: (plane.manifest(), frozenset(plane.registered())), within=plane.deadlines.look
        )
    except Exception as error:  # noqa: BLE001 - a broken adapter must not keep a kill from being made
        fault = reason_of(error)
    known = Catalogue(plane.environment, manifest, all_flags=False, declared=not fault, registered=registered)
    return known, fault


def look_around(plane: Plane, target: Target, *, prerequisites: bool = False) -> Survey:
    """All flags and declarations, as cheaply as it can be had; with ``prerequisites`` every flag is read.

    Where the flags cannot be listed, those that are known to be covered are read one by one.
    """
    try:
        survey = None if prerequisites else plane.names()
        if survey is not None:
            survey = _with_some(plane, target, survey, most=_SHOWN)
        elif target.survey.states and target.survey.catalogue.all_flags:
            survey = target.survey
        else:
            survey = plane.survey()
    except Exception as error:  # noqa: BLE001 - as above
        survey = _with_some(plane, target, replace(target.survey, fault=reason_of(error)), most=_READ)
    if target.flag is None:
        return survey
    # What was read before the kill is nearer to what was killed.
    return replace(survey, states={**survey.states, target.flag.ref.key: target.flag})


def _with_some(plane: Plane, target: Target, survey: Survey, *, most: int) -> Survey:
    """With the covered flags read, as many as are worth it."""
    states: dict[str, FlagState] = {}
    for flag in covered(target.scope, survey.catalogue)[:most]:
        try:
            state = plane.state(flag.flag)
        except Exception:  # noqa: BLE001, S112 - as above; what is missing is told as the survey's fault
            continue
        if state is not None:
            states[flag.flag] = state
    archived = {key for key, state in states.items() if state.flag.archived}
    flags = {key: state.flag for key, state in states.items() if key not in archived}
    catalogue = replace(survey.catalogue, flags=flags, names=survey.catalogue.names - archived)
    return replace(survey, catalogue=catalogue, states=states)
