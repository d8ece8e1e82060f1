"""A provider whose flags a test puts in by hand; it answers with the real evaluator."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.track import TrackingEventDetails

from flagbrake.errors import InvalidInput
from flagbrake.evaluate import Ruleset
from flagbrake.model.flag import Flag, Segment, Variant
from flagbrake.model.values import FlagKind, kind_of
from flagbrake.ports.clock import SystemClock
from flagbrake.ports.provider import FlagProvider


@dataclass(frozen=True, slots=True)
class Tracked:
    """One ``client.track`` call."""

    name: str
    context: EvaluationContext | None
    details: TrackingEventDetails | None


class MemoryProvider(FlagProvider):
    """Flags in memory. ``put``, ``set`` and ``remove`` are seen by the next evaluation and told as an event.

    ``tracked`` lists the tracking events in order. A flag that cannot be evaluated is refused at once, not
    kept aside as in production: a test wants to know.
    """

    name: ClassVar[str] = "memory"
    follows_after_fork: ClassVar[bool] = True

    def __init__(self, flags: Iterable[Flag] = (), segments: Iterable[Segment] = ()) -> None:
        super().__init__()
        self._writing = threading.RLock()
        self._rules = Ruleset({}, clock=SystemClock().now)
        self.tracked: list[Tracked] = []
        self._ended = False
        self._change({f.key: f for f in flags}, {s.key: s for s in segments}, tell=False)

    def start(self, context: EvaluationContext) -> None:
        """From now on changes are told."""
        self._ended = False

    def stop(self) -> None:
        """After it nothing more is told."""
        self._ended = True

    # --- writing ----------------------------------------------------------------------------------

    def put(self, *flags: Flag) -> None:
        """Add or replace flags, in one step.

        Raises:
            InvalidInput: one of them cannot be evaluated; none was put in.
        """
        self._change({flag.key: flag for flag in flags}, {})

    def remove(self, *keys: str) -> None:
        """Take flags out; one that is not there does not matter."""
        self._change({key: None for key in keys if key in self.flags}, {})

    def set(self, key: str, value: Any) -> Flag:
        """Make a flag serve ``value`` to everybody; return it. A flag that is not there is made up.

        Raises:
            InvalidInput: ``value`` is not a boolean, string, number, list or object.
        """
        with self._writing:
            flag = _serving(self.flags.get(key), key, value)
            self.put(flag)
            return flag

    def put_segment(self, *segments: Segment) -> None:
        """Add or replace segments, in one step.

        Raises:
            InvalidInput: one of them cannot be evaluated; none was put in.
        """
        self._change({}, {segment.key: segment for segment in segments})

    def remove_segment(self, *keys: str) -> None:
        """Take segments out: they have no members any more."""
        self._change({}, {key: None for key in keys if key in self._rules.segments})

    def _change(
        self, flags: Mapping[str, Flag | None], segments: Mapping[str, Segment | None], *, tell: bool = True
    ) -> None:
        if not flags and not segments:
            return
        with self._writing:
            rules = self._rules.changed(flags, segments)
            for error in rules.rejected.values():
                raise error
            touched = sorted({*flags, *rules.users_of(segments), *self._rules.users_of(segments)})
            self._rules = rules
        if tell and not self._ended:
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=touched))

    # --- reading ----------------------------------------------------------------------------------

    @property
    def rules(self) -> Ruleset:
        """The present ruleset, for ``explain``."""
        return self._rules

    @property
    def flags(self) -> Mapping[str, Flag]:
        """The present flags, archived ones included."""
        return self._rules.flags

    def resolve(self, flag_key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        """Answer with the evaluator."""
        return self._rules.evaluate(flag_key, context)

    def off_value(self, flag_key: str) -> FlagResolutionDetails[Any] | None:
        """What the flag serves when it is off."""
        return self._rules.off(flag_key)

    def value_of(self, flag_key: str, variant: str) -> Any:
        """The value of a variant."""
        return self._rules.value_of(flag_key, variant)

    def keys(self) -> Collection[str]:
        """The keys of all flags, archived ones too."""
        return self._rules.keys()

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Keep the event in ``tracked``."""
        self.tracked.append(Tracked(tracking_event_name, evaluation_context, tracking_event_details))


def _serving(flag: Flag | None, key: str, value: Any) -> Flag:
    kind = kind_of(value)
    if kind is None:
        raise InvalidInput(f"{value!r} is not a flag's value.", cure="a boolean, string, number, list or object")
    if flag is None or flag.kind is not kind:
        flag = _made_up(key, kind, value, flag.version if flag else 0)
    same = next((v.name for v in flag.variants if v.value == value and kind_of(v.value) is kind), None)
    if same is None:
        same = "set"
        kept = tuple(v for v in flag.variants if v.name != same)
        flag = replace(flag, variants=(*kept, Variant(same, value)))
    return replace(
        flag, on=True, archived=False, default=same, targets=(), rules=(), prerequisites=(), version=flag.version + 1
    )


def _made_up(key: str, kind: FlagKind, value: Any, version: int) -> Flag:
    if kind is FlagKind.BOOLEAN:
        return Flag.boolean(key, version=version)
    return Flag(key, kind, (Variant("set", value),), "set", off_variant="set", version=version)
