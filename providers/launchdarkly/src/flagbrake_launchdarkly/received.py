"""What the SDK has received: its feature store, which also knows how to tell an answer in OpenFeature's words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ldclient.impl.model import FeatureFlag
from ldclient.interfaces import FeatureStore
from ldclient.versioned_data_kind import FEATURES, SEGMENTS, VersionedDataKind
from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from flagbrake.model.clause import USER
from flagbrake.model.values import MISMATCH, USE_DEFAULT, WHOLE
from flagbrake_launchdarkly.names import DROPPED, NAMES, names_of

_log = logging.getLogger("flagbrake.launchdarkly")
_Node = tuple[VersionedDataKind, str]
#: What the SDK's model raises for a document that is none.
_MALFORMED: Final = (ValueError, TypeError, KeyError, AttributeError)


class Told(NamedTuple):
    """One outcome of a flag in OpenFeature's words; made once, shared by all answers."""

    reason: Reason
    variant: str | None
    metadata: Mapping[str, Any]
    #: True if a rollout by the targeting key decided.
    split: bool


class Known:
    """One flag as received."""

    __slots__ = ("_fallthrough", "_unit", "data", "flag", "names", "outcomes")

    def __init__(self, flag: FeatureFlag, unit: str = USER) -> None:
        self.flag = flag
        self._unit = unit
        self.data: Mapping[str, Any] = flag.to_json_dict()  # type: ignore[no-untyped-call]
        self.names = names_of(self.data)
        #: (variation index, what the SDK's reason holds) -> what is told.
        self.outcomes: dict[tuple[Any, ...], Told] = {}
        named = any(target.context_kind not in {NAMES, DROPPED} and target.values for target in flag.context_targets)
        asks = flag.rules or flag.prerequisites or named or any(target.values for target in flag.targets)
        self._fallthrough = Reason.DEFAULT if asks else Reason.STATIC

    def told(self, index: int | None, reason: Mapping[str, Any]) -> Told:
        """The outcome in OpenFeature's words."""
        kind = reason["kind"]
        served: Any = None
        if kind == "FALLTHROUGH":
            served, said = self.flag.fallthrough, self._fallthrough
        elif kind == "RULE_MATCH":
            served, said = self.flag.rules[reason["ruleIndex"]].variation_or_rollout, Reason.TARGETING_MATCH
        elif kind == "TARGET_MATCH":
            said = Reason.TARGETING_MATCH
        else:
            said = Reason.DISABLED
        rollout = served.rollout if served is not None and served.variation is None else None
        if rollout is not None:
            said = Reason.SPLIT
        made = Told(said, self.name(index), MappingProxyType(self._facts(index, reason)), _by_key(rollout, self._unit))
        self.outcomes[(index, *reason.values())] = made
        return made

    def name(self, index: int | None) -> str | None:
        """The variant's name: the one that travels with the flag, else the index."""
        if index is None:
            return None
        return self.names.get(index) or str(index)

    def index(self, name: str) -> int | None:
        """The variation of this name, ``None`` when there is none."""
        for index in range(len(self.flag.variations)):
            if self.name(index) == name:
                return index
        return None

    def off(self) -> FlagResolutionDetails[Any]:
        """What it serves when it is off."""
        index = self.flag.off_variation
        if index is None or not 0 <= index < len(self.flag.variations):
            return FlagResolutionDetails(USE_DEFAULT, reason=Reason.DISABLED)
        metadata = {"version": self.flag.version}
        return FlagResolutionDetails(
            self.flag.variations[index], reason=Reason.DISABLED, variant=self.name(index), flag_metadata=metadata
        )

    def value_of(self, variant: str) -> Any:
        """The value of a variant by its name, ``MISMATCH`` when there is none of this name."""
        index = self.index(variant)
        return MISMATCH if index is None else self.flag.variations[index]

    def _facts(self, index: int | None, reason: Mapping[str, Any]) -> dict[str, Any]:
        facts: dict[str, Any] = {"version": self.flag.version, "launchdarkly_reason": reason["kind"]}
        if index is not None:
            facts["launchdarkly_variation"] = index
        for theirs, ours in _FACTS.items():
            value = reason.get(theirs)
            if value is not None:
                facts[ours] = value
        return facts


_FACTS: Final = {
    "ruleId": "rule",
    "ruleIndex": "launchdarkly_rule_index",
    "prerequisiteKey": "prerequisite",
    "inExperiment": "launchdarkly_in_experiment",
    "bigSegmentsStatus": "launchdarkly_big_segments",
}


def _by_key(rollout: Any, unit: str) -> bool:
    """Does this rollout ask for the targeting key? One of a single share does not."""
    if rollout is None or (rollout.context_kind or USER) != unit:
        return False
    bucket_by = None if rollout.is_experiment else rollout.bucket_by
    if bucket_by is not None and bucket_by.path not in {"key", "/key"}:
        return False
    # Laid end to end up to the whole; what is missing is the last one's.
    ends = [*accumulate(weighted.weight for weighted in rollout.variations[:-1]), WHOLE]
    return len({0, *(min(end, WHOLE) for end in ends)}) > 2


class Received(FeatureStore):
    """The SDK's feature store: reads take no lock, and ``changed`` hears which flags answer anew.

    The SDK compares versions of a flag only, and tells of a stale patch as of a change; here definitions are
    compared, and the flags that depend on a changed one (by prerequisite or segment) are told with it.
    """

    #: Is there data? An attribute and no property: the SDK reads it at every evaluation.
    initialized = False

    def __init__(self, changed: Callable[[list[str]], None], unit: str = USER) -> None:
        #: By key; replaced items, never changed ones. Deleted ones are gone, their versions stand in ``_gone``.
        self.flags: dict[str, Known] = {}
        self._segments: dict[str, Any] = {}
        self._gone: dict[_Node, int] = {}
        self._needs: dict[_Node, frozenset[_Node]] = {}
        self._writing = threading.Lock()
        self._changed = changed
        self._unit = unit

    def after_fork(self) -> None:
        """In the child: whoever held the lock is gone."""
        self._writing = threading.Lock()

    # --- reading ----------------------------------------------------------------------------------

    def get(self, kind: VersionedDataKind, key: str, callback: Callable[[Any], Any] = lambda item: item) -> Any:
        """One item, or ``None``."""
        if kind is FEATURES:
            known = self.flags.get(key)
            return callback(None if known is None else known.flag)
        return callback(self._segments.get(key))

    def all(self, kind: VersionedDataKind, callback: Callable[[Any], Any] = lambda items: items) -> Any:
        """All items."""
        if kind is FEATURES:
            return callback({key: known.flag for key, known in dict(self.flags).items()})
        return callback(dict(self._segments))

    # --- writing: the SDK's thread ------------------------------------------------------------------

    def init(self, all_data: Mapping[VersionedDataKind, Mapping[str, Any]]) -> None:
        """Take a whole new state."""
        flags = _decoded(FEATURES, all_data, self.flags, self._known)
        segments = _decoded(SEGMENTS, all_data, self._segments, lambda segment: segment)
        with self._writing:
            old_flags, old_segments = self.flags, self._segments
            touched: set[_Node] = {(FEATURES, k) for k in _differing(old_flags, flags)}
            touched |= {(SEGMENTS, k) for k in _differing(old_segments, segments)}
            before = self._needs
            self.flags, self._segments, self._gone = flags, segments, {}
            self._needs = {
                **{(SEGMENTS, key): _needs(segment, ()) for key, segment in segments.items()},
                **{(FEATURES, key): _needs(k.flag, k.flag.prerequisites) for key, k in flags.items()},
            }
            self.initialized = True
            changed = _flags(_closure(touched, self._needs) | _closure(touched, before))
        self._tell(changed)

    def upsert(self, kind: VersionedDataKind, item: Mapping[str, Any]) -> None:
        """Take a newer version of one item."""
        key = item["key"]
        if _deleted(item):
            self.delete(kind, key, item["version"])
            return
        try:
            decoded = kind.decode(item)
        except _MALFORMED as error:
            _log.error("LaunchDarkly sent %s '%s' that its SDK cannot read: %s", kind.namespace, key, error)
            return
        with self._writing:
            if self._version(kind, key) >= decoded.version:
                return
            self._gone.pop((kind, key), None)
            same = self._put(kind, key, decoded)
            changed = [] if same else _flags(_closure({(kind, key)}, self._needs))
        self._tell(changed)

    def delete(self, kind: VersionedDataKind, key: str, version: int) -> None:
        """Take an item out."""
        with self._writing:
            if self._version(kind, key) >= version:
                return
            self._gone[(kind, key)] = version
            there = (self.flags if kind is FEATURES else self._segments).pop(key, None)
            changed = _flags(_closure({(kind, key)}, self._needs)) if there is not None else []
            self._needs.pop((kind, key), None)
        self._tell(changed)

    def _version(self, kind: VersionedDataKind, key: str) -> int:
        found = self.get(kind, key)
        return self._gone.get((kind, key), -1) if found is None else int(found.version)

    def _put(self, kind: VersionedDataKind, key: str, item: Any) -> bool:
        """Put it in; return whether it says the same as before."""
        if kind is FEATURES:
            known, old = self._known(item), self.flags.get(key)
            self.flags[key] = known
            self._needs[(kind, key)] = _needs(item, item.prerequisites)
            return old is not None and _same(old, known)
        before = self._segments.get(key)
        self._segments[key] = item
        self._needs[(kind, key)] = _needs(item, ())
        return before is not None and _same(before, item)

    def _known(self, flag: FeatureFlag) -> Known:
        return Known(flag, self._unit)

    def _tell(self, changed: list[str]) -> None:
        if changed:
            self._changed(changed)


def _decoded(
    kind: VersionedDataKind,
    all_data: Mapping[VersionedDataKind, Any],
    old: Mapping[str, Any],
    made: Callable[[Any], Any],
) -> dict[str, Any]:
    """The items of a kind; one that the SDK cannot read leaves its last good version, and takes no other with it."""
    found: dict[str, Any] = {}
    for key, item in all_data.get(kind, {}).items():
        if _deleted(item):
            continue
        try:
            found[key] = made(kind.decode(item))
        except _MALFORMED as error:
            _log.error("LaunchDarkly sent %s '%s' that its SDK cannot read: %s", kind.namespace, key, error)
            if key in old:
                found[key] = old[key]
    return found


def _deleted(item: Any) -> bool:
    return bool(item.get("deleted"))


def _document(item: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = item.data if isinstance(item, Known) else item.to_json_dict()
    return found


def _same(one: Any, two: Any) -> bool:
    """The same definition. Their version is part of it: an experiment's start changes nothing else."""
    return _document(one) == _document(two)


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {key for key in old.keys() | new.keys() if key not in old or key not in new or not _same(old[key], new[key])}


def _needs(item: Any, prerequisites: Iterable[Any]) -> frozenset[_Node]:
    asked: set[_Node] = {(FEATURES, prerequisite.key) for prerequisite in prerequisites}
    for rule in item.rules:
        for clause in rule.clauses:
            if clause.op == "segmentMatch":
                asked.update((SEGMENTS, value) for value in clause.values if isinstance(value, str))
    return frozenset(asked)


def _closure(nodes: set[_Node], needs: Mapping[_Node, frozenset[_Node]]) -> set[_Node]:
    """These and whatever asks them, directly or through others."""
    found, ahead = set(nodes), set(nodes)
    while ahead:
        ahead = {node for node, asked in needs.items() if node not in found and not asked.isdisjoint(ahead)}
        found |= ahead
    return found


def _flags(nodes: set[_Node]) -> list[str]:
    return sorted(key for kind, key in nodes if kind is FEATURES)
