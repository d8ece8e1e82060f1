"""All flags and segments of one moment, immutable: every answer comes from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, ParseError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from flagbrake.errors import FlagbrakeError, InvalidInput, Unsupported
from flagbrake.evaluate.checks import FLAG_NODE, SEGMENT_NODE, Node, needs_of_flag, needs_of_segment, troubles
from flagbrake.evaluate.clauses import Predicate
from flagbrake.evaluate.compile import Compiled, compile_flag, compile_segment
from flagbrake.evaluate.explanation import Explanation
from flagbrake.evaluate.serving import facts, off
from flagbrake.model.clause import OffFlag
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.values import MISMATCH, USE_DEFAULT

_NO_SEGMENTS: Final[Mapping[str, Segment]] = MappingProxyType({})


class Ruleset:
    """Flags and segments of one environment. Never changes: :meth:`changed` makes the next one.

    A flag or segment that cannot be evaluated (unknown bucketing or operator, a circle of prerequisites)
    never raises here: it stands in :attr:`rejected`, and its last good version goes on answering. Where
    there never was one, the flag answers PARSE_ERROR and the segment has no members.

    Each flag is compiled when it is first asked and never again; threads that ask at the same moment may
    compile twice, to the same answers. Nothing here takes a lock.

    ``clock`` tells the time to flags that ask for it (Unleash's ``currentTime``, where a context has none).
    """

    __slots__ = ("_answers", "_clock", "_flags", "_members", "_needs", "_rejected", "_segments")

    def __init__(
        self,
        flags: Mapping[str, Flag],
        segments: Mapping[str, Segment] = _NO_SEGMENTS,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._clock = clock
        self._flags: dict[str, Flag] = {}
        self._segments: dict[str, Segment] = {}
        self._needs: dict[Node, frozenset[Node]] = {}
        self._rejected: dict[Node, FlagbrakeError] = {}
        self._answers: dict[str, Compiled] = {}
        self._members: dict[str, Predicate] = {}
        self._take(flags, segments)

    # --- answering --------------------------------------------------------------------------------

    def evaluate(self, key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        """Answer one flag. The value is the variant's own object: do not change it.

        Value ``USE_DEFAULT`` means the caller's default: the flag is off and has no off variant.

        Raises:
            FlagNotFoundError: no such flag, or it is archived.
            TargetingKeyMissingError: a split needs the unit and the context does not name it.
            InvalidContextError: the targeting key is not a string.
            ParseError: the flag never had a version that can be evaluated.
        """
        try:
            answer = self._answers[key]
        except KeyError:
            answer = self._compile(key)
        return answer(context.targeting_key, context.attributes, self)

    def off(self, key: str) -> FlagResolutionDetails[Any] | None:
        """What a flag serves when it is off (reason DISABLED), ``None`` where there is no such flag."""
        flag = self.flag(key)
        return None if flag is None else off(flag, facts(flag))(None, {})

    def value_of(self, key: str, variant: str) -> Any:
        """The value of a variant, ``MISMATCH`` where there is no such flag or variant, or it has none."""
        flag = self.flag(key)
        found = flag.variant(variant) if flag is not None else None
        return MISMATCH if found is None or found.value is USE_DEFAULT else found.value

    def explain(self, key: str, context: EvaluationContext) -> Explanation:
        """Why a flag answers what it answers: every rule, clause, bucket and bound.

        Raises:
            NotFound: no such flag; the nearest is named.
        """
        from flagbrake.evaluate.explain import explain  # people ask for it, not agents

        return explain(self, key, context)

    # --- what is in it ----------------------------------------------------------------------------

    @property
    def flags(self) -> Mapping[str, Flag]:
        """The flags that can be evaluated, archived ones included."""
        return MappingProxyType(self._flags)

    def keys(self) -> AbstractSet[str]:
        """Every flag's key: archived ones too, and those of which no version can be evaluated."""
        if not self._rejected:
            return self._flags.keys()
        return self._flags.keys() | {key for kind, key in self._rejected if kind == FLAG_NODE}

    @property
    def segments(self) -> Mapping[str, Segment]:
        """The segments that can be evaluated."""
        return MappingProxyType(self._segments)

    @property
    def rejected(self) -> Mapping[str, FlagbrakeError]:
        """Why newer versions of flags (by key) and segments (``segment:KEY``) are not used."""
        return {k if kind == FLAG_NODE else f"{kind}:{k}": error for (kind, k), error in self._rejected.items()}

    def flag(self, key: str) -> Flag | None:
        """One flag as it is evaluated, ``None`` where there is none or it is archived."""
        found = self._flags.get(key)
        return None if found is None or found.archived else found

    def dependents(self, key: str) -> frozenset[str]:
        """The flags whose answer may depend on this flag's, directly or through others."""
        return self._asking([(FLAG_NODE, key)])

    def users_of(self, segments: Iterable[str]) -> frozenset[str]:
        """The flags whose answer may depend on these segments, directly or through others."""
        return self._asking([(SEGMENT_NODE, key) for key in segments])

    def _asking(self, asked: list[Node]) -> frozenset[str]:
        found: set[Node] = set()
        while asked:
            node = asked.pop()
            fresh = [n for n, needs in self._needs.items() if node in needs and n not in found]
            found.update(fresh)
            asked.extend(fresh)
        return frozenset(key for kind, key in found if kind == FLAG_NODE)

    def __len__(self) -> int:
        return len(self._flags)

    # --- the next one -----------------------------------------------------------------------------

    def changed(
        self, flags: Mapping[str, Flag | None], segments: Mapping[str, Segment | None] | None = None
    ) -> Ruleset:
        """The next ruleset: these flags and segments replaced, ``None`` removes. The rest stays compiled.

        A version that cannot be evaluated is not taken: the last good one stays, and
        :attr:`rejected` of the result says why until a good one comes or the flag is removed.
        """
        fresh = object.__new__(Ruleset)
        fresh._clock = self._clock
        fresh._flags = dict(self._flags)
        fresh._segments = dict(self._segments)
        fresh._needs = dict(self._needs)
        fresh._rejected = dict(self._rejected)
        fresh._answers = dict(self._answers)
        fresh._members = dict(self._members)
        fresh._take(flags, segments or {})
        return fresh

    def _take(self, flags: Mapping[str, Flag | None], segments: Mapping[str, Segment | None]) -> None:
        before: dict[Node, Flag | Segment | None] = {}
        for kind, changes in ((SEGMENT_NODE, segments), (FLAG_NODE, flags)):
            for key, thing in changes.items():
                node = (kind, key)
                self._rejected.pop(node, None)
                try:
                    needs = _needs_of(thing)
                except (InvalidInput, Unsupported) as error:
                    self._rejected[node] = error
                    continue
                last = self._put(node, thing, needs)
                if needs:  # what asks nothing can close no circle
                    before[node] = last
        self._undo_troubles(before)

    def _undo_troubles(self, before: dict[Node, Flag | Segment | None]) -> None:
        """Put back the last good version of changes that make a circle or a tower, until none is left."""
        while before and (found := troubles(self._needs, self._needs)):
            changed = frozenset(before)
            guilty = {node: t.error for t in found for node in (t.nodes & changed or t.under & changed)}
            if not guilty:
                return
            for node, error in guilty.items():
                last = before.pop(node)
                self._put(node, last, _needs_of(last))
                self._rejected[node] = error

    def _put(self, node: Node, thing: Flag | Segment | None, needs: frozenset[Node]) -> Flag | Segment | None:
        kind, key = node
        things: dict[str, Any] = self._flags if kind == FLAG_NODE else self._segments
        last: Flag | Segment | None = things.pop(key, None)
        (self._answers if kind == FLAG_NODE else self._members).pop(key, None)
        self._needs.pop(node, None)
        if thing is not None:
            things[key] = thing
            if needs:
                self._needs[node] = needs
        return last

    # --- what compiled flags ask ------------------------------------------------------------------

    def member(self, segment: str, key: str | None, attributes: Mapping[str, Any]) -> bool:
        """Is the context in this segment? A segment that does not exist has no members."""
        member = self._members.get(segment)
        if member is None:
            found = self._segments.get(segment)
            if found is None:
                return False
            member = self._members[segment] = compile_segment(found)
        return member(key, attributes, self)

    def serves(
        self, flag: str, variants: frozenset[str], key: str | None, attributes: Mapping[str, Any], off_flag: OffFlag
    ) -> bool:
        """Does that flag serve one of these variants? A missing flag does not.

        ``off_flag`` says what one that is off counts as; one that its own prerequisites stop is on, and serves its
        off variant.
        """
        given = self._given(flag, key, attributes)
        if given is None:
            return False
        if off_flag is OffFlag.SERVES or given.reason is not Reason.DISABLED or "prerequisite" in given.flag_metadata:
            return given.variant in variants
        return off_flag is OffFlag.MET

    def now(self) -> datetime | None:
        """The time as the ruleset's clock tells it, ``None`` without one."""
        return self._clock() if self._clock is not None else None

    def _given(self, flag: str, key: str | None, attributes: Mapping[str, Any]) -> FlagResolutionDetails[Any] | None:
        try:
            answer = self._answers[flag]
        except KeyError:
            if self.flag(flag) is None:
                return None
            answer = self._compile(flag)
        return answer(key, attributes, self)

    def _compile(self, key: str) -> Compiled:
        flag = self.flag(key)
        if flag is None:
            rejected = self._rejected.get((FLAG_NODE, key))
            if rejected is not None and key not in self._flags:
                raise ParseError(f"Flag '{key}' cannot be evaluated: {rejected}")
            raise FlagNotFoundError(f"Flag '{key}' does not exist.")
        answer = self._answers[key] = compile_flag(flag)
        return answer


def _needs_of(thing: Flag | Segment | None) -> frozenset[Node]:
    if thing is None:
        return frozenset()
    return needs_of_flag(thing) if isinstance(thing, Flag) else needs_of_segment(thing)
