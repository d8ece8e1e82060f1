"""Pure: LaunchDarkly's documents <-> the model. Every loss is a value.

Two representations of a flag are read and written: the one that SDKs receive (``/sdk/latest-all``, the
stream), in which everything is an index, and the one of the management API, which holds all environments.
A :class:`~flagbrake.model.loss.Loss` says where, what and with which effect; a document that LaunchDarkly's
own SDK answers with an error (a variation that is not there, a rollout of nothing) raises InvalidInput.

Names of variants are those that travel with the flag (``flagbrake_launchdarkly.names``), else the index. A
prerequisite names a variation of *another* flag by its index, so whoever reads or writes one flag alone says
what that flag's variants are called (``names``: flag key -> names in order); without it the index is the name.

Contexts: kind ``user`` is the evaluation context itself; an attribute ``K`` that is a structure with a
``targetingKey`` is a context of kind ``K``. ``unit`` is LaunchDarkly's name for the first (the option
``context_kind``): its ``user`` is then ``/user`` in the model, and only who reads and writes with the same
``unit`` comes back to the same document. The whole rule stands in ``flagbrake.evaluate.vendors.launchdarkly``
and is what ``flagbrake_launchdarkly.context`` sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import USER
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.loss import Loss, Translated
from flagbrake_launchdarkly.translate.kinds import Kinds
from flagbrake_launchdarkly.translate.notes import Notes
from flagbrake_launchdarkly.translate.reading import Names, read_flag, read_segment, variant_names
from flagbrake_launchdarkly.translate.rest import as_sdk_flag, as_sdk_segment, write_rest_flag, write_rest_segment
from flagbrake_launchdarkly.translate.writing import write_flag, write_segment

__all__ = [
    "Environment",
    "environment_from_sdk",
    "environment_to_sdk",
    "flag_from_rest",
    "flag_from_sdk",
    "flag_to_rest",
    "flag_to_sdk",
    "segment_from_rest",
    "segment_from_sdk",
    "segment_to_rest",
    "segment_to_sdk",
    "variant_names",
]

_NO_NAMES: Final[Names] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Environment:
    """All flags and segments of an environment; ``refused`` says why a flag or segment (``segment:KEY``) is not."""

    flags: Mapping[str, Flag] = field(default_factory=lambda: MappingProxyType({}))
    segments: Mapping[str, Segment] = field(default_factory=lambda: MappingProxyType({}))
    refused: Mapping[str, InvalidInput] = field(default_factory=lambda: MappingProxyType({}))


def flag_from_sdk(data: Mapping[str, Any], *, names: Names = _NO_NAMES, unit: str = USER) -> Translated[Flag]:
    """A flag as SDKs receive it.

    Raises:
        InvalidInput: SDKs answer it with an error.
    """
    notes = Notes(f"flags.{data['key']}")
    return Translated(read_flag(data, names, notes, Kinds(unit)), tuple(notes.losses))


def segment_from_sdk(data: Mapping[str, Any], *, unit: str = USER) -> Translated[Segment]:
    """A segment as SDKs receive it. Raises as :func:`flag_from_sdk`."""
    notes = Notes(f"segments.{data['key']}")
    return Translated(read_segment(data, notes, Kinds(unit)), tuple(notes.losses))


def environment_from_sdk(data: Mapping[str, Any], *, unit: str = USER) -> Translated[Environment]:
    """``{"flags": {...}, "segments": {...}}`` as ``/sdk/latest-all`` answers; deleted ones are left out."""
    flags = {key: flag for key, flag in (data.get("flags") or {}).items() if not flag.get("deleted")}
    names = {key: variant_names(flag) for key, flag in flags.items()}
    losses: list[Loss] = []
    refused: dict[str, InvalidInput] = {}
    made: dict[str, Flag] = {}
    for key, flag in flags.items():
        try:
            done = flag_from_sdk(flag, names=names, unit=unit)
        except InvalidInput as error:
            refused[key] = error
            continue
        made[key] = done.result
        losses += done.losses
    segments: dict[str, Segment] = {}
    for key, segment in (data.get("segments") or {}).items():
        if segment.get("deleted"):
            continue
        try:
            read = segment_from_sdk(segment, unit=unit)
        except InvalidInput as error:
            refused[f"segment:{key}"] = error
            continue
        segments[key] = read.result
        losses += read.losses
    found = Environment(MappingProxyType(made), MappingProxyType(segments), MappingProxyType(refused))
    return Translated(found, tuple(losses))


def flag_to_sdk(flag: Flag, *, names: Names = _NO_NAMES, unit: str = USER) -> Translated[dict[str, Any]]:
    """A flag as SDKs receive it, with the names of its variants. An archived one is a deleted one to them.

    Raises:
        InvalidInput: a prerequisite names a variant whose index is not known from ``names``.
    """
    notes = Notes(f"flags.{flag.key}")
    for name in flag.valueless:
        notes.grave(f"variants.{name}", "a variant without a value", "null instead of the caller's default")
    return Translated(write_flag(flag.valued(), names, notes, Kinds(unit)), tuple(notes.losses))


def segment_to_sdk(segment: Segment, *, unit: str = USER) -> Translated[dict[str, Any]]:
    """A segment as SDKs receive it."""
    notes = Notes(f"segments.{segment.key}")
    return Translated(write_segment(segment, notes, Kinds(unit)), tuple(notes.losses))


def environment_to_sdk(
    flags: Mapping[str, Flag], segments: Mapping[str, Segment] = MappingProxyType({}), *, unit: str = USER
) -> Translated[dict[str, Any]]:
    """Flags and segments as ``/sdk/latest-all`` answers them. Raises as :func:`flag_to_sdk`."""
    names = {key: flag.variant_names for key, flag in flags.items()}
    written = {key: flag_to_sdk(flag, names=names, unit=unit) for key, flag in flags.items()}
    others = {key: segment_to_sdk(segment, unit=unit) for key, segment in segments.items()}
    losses = tuple(loss for done in (*written.values(), *others.values()) for loss in done.losses)
    data = {
        "flags": {key: done.result for key, done in written.items()},
        "segments": {key: done.result for key, done in others.items()},
    }
    return Translated(data, losses)


def flag_from_rest(
    data: Mapping[str, Any], environment: str, *, names: Names = _NO_NAMES, unit: str = USER
) -> Translated[Flag]:
    """One environment of a flag as the management API shows it.

    Raises:
        InvalidInput: SDKs answer it with an error, or it has no such environment.
    """
    notes = Notes(f"flags.{data['key']}")
    read = read_flag(as_sdk_flag(data, environment, notes), names, notes, Kinds(unit))
    return Translated(read, tuple(notes.losses))


def segment_from_rest(data: Mapping[str, Any], *, unit: str = USER) -> Translated[Segment]:
    """A segment as the management API shows it. Raises as :func:`flag_from_sdk`."""
    return segment_from_sdk(as_sdk_segment(data), unit=unit)


def flag_to_rest(
    flag: Flag, environment: str, *, names: Names = _NO_NAMES, unit: str = USER
) -> Translated[dict[str, Any]]:
    """A flag as the management API shows it, with this one environment. Raises as :func:`flag_to_sdk`."""
    done = flag_to_sdk(flag, names=names, unit=unit)
    return Translated(write_rest_flag(flag, done.result, environment), done.losses)


def segment_to_rest(segment: Segment, *, unit: str = USER) -> Translated[dict[str, Any]]:
    """A segment as the management API shows it."""
    done = segment_to_sdk(segment, unit=unit)
    return Translated(write_rest_segment(segment, done.result), done.losses)
