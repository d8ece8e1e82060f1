"""What the SDK has received: each flag in OpenFeature's words, and which flags a change makes answer anew."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from flagbrake.model.values import MISMATCH
from flagbrake_split.splits import WHITELIST, condition_type, for_everybody, individual_keys, reasons
from flagbrake_split.treatments import worth

_log = logging.getLogger("flagbrake.split")
_Node = tuple[str, str]
_FLAG, _SEGMENT, _RULES = "flag", "segment", "rule-based"

#: The SDK's answer where it has none.
CONTROL: Final = "control"


class Told(NamedTuple):
    """One outcome of a flag in OpenFeature's words; made once, shared by all answers."""

    reason: Reason
    metadata: Mapping[str, Any]


class Known:
    """One flag as received."""

    __slots__ = ("_fresh", "_reasons", "_rules", "document", "outcomes", "values", "version")

    def __init__(self, split: Any) -> None:
        self.document = document_of(split)
        self.version: int = split.change_number
        conditions = self.document["conditions"]
        served = [p["treatment"] for c in conditions for p in c.get("partitions") or ()]
        configured: Mapping[str, str | None] = self.document.get("configurations") or {}
        names = dict.fromkeys([*served, self.document["defaultTreatment"], *configured])
        # No treatment has this name. A flag of a file is filled up with it.
        names.pop(CONTROL, None)
        self.values = worth({name: configured.get(name) for name in names}).values
        self._fresh = frozenset(n for n, v in self.values.items() if isinstance(v, (dict, list)))
        self._reasons = reasons(self.document)
        self._rules = frozenset(c.get("label") or "" for c in conditions if not _nobodys_rule(c))
        self.outcomes: dict[str, Told] = {}

    def value(self, treatment: str) -> Any:
        """The value of a treatment, the caller's to change; ``MISMATCH`` when it is none of this flag."""
        value = self.values.get(treatment, MISMATCH)
        return copy.deepcopy(value) if treatment in self._fresh else value

    def told(self, label: str) -> Told:
        """What an impression label says."""
        reason = self._reasons.get(label, Reason.TARGETING_MATCH)
        facts: dict[str, Any] = {"version": self.version, "split_label": label}
        if label in self._rules:
            facts["rule"] = label
        made = self.outcomes[label] = Told(reason, MappingProxyType(facts))
        return made

    def off(self) -> FlagResolutionDetails[Any] | None:
        """What it serves when it is killed; ``None`` if that is nothing."""
        name = self.document["defaultTreatment"]
        value = self.value(name)
        if value is MISMATCH:
            return None
        return FlagResolutionDetails(
            value, reason=Reason.DISABLED, variant=name, flag_metadata={"version": self.version}
        )

    @property
    def prerequisites(self) -> tuple[tuple[str, frozenset[str]], ...]:
        """The flags it asks for, and the treatments that will do."""
        return tuple((p["n"], frozenset(p["ts"])) for p in self.document["prerequisites"])


def _nobodys_rule(condition: Mapping[str, Any]) -> bool:
    """Individual targets and the default are no rules."""
    if condition_type(condition) == WHITELIST and individual_keys(condition) is not None:
        return True
    return for_everybody(condition)


def document_of(split: Any) -> dict[str, Any]:
    """The split as JSON again. The SDK's own to_json breaks prerequisites into letters."""
    return {
        "name": split.name,
        "killed": split.killed,
        "defaultTreatment": split.default_treatment,
        "trafficAllocation": split.traffic_allocation,
        "trafficAllocationSeed": split.traffic_allocation_seed,
        "seed": split.seed,
        "algo": split.algo.value,
        "changeNumber": split.change_number,
        "configurations": dict(split._configurations or {}),  # noqa: SLF001 - the SDK shows one at a time only
        "prerequisites": [{"n": p.feature_flag_name, "ts": list(p.treatments)} for p in split.prerequisites],
        "conditions": [_condition(c) for c in split.conditions],
    }


def _condition(condition: Any) -> dict[str, Any]:
    try:
        made: dict[str, Any] = condition.to_json()
    except Exception:  # noqa: BLE001 - some matchers of the SDK cannot be written out; the rest can
        made = {
            "conditionType": condition.condition_type.name,
            "label": condition.label,
            "matcherGroup": {
                "combiner": "AND",
                "matchers": [{"matcherType": m._matcher_type, "negate": m._negate} for m in condition.matchers],  # noqa: SLF001
            },
            "partitions": [{"treatment": p.treatment, "size": p.size} for p in condition.partitions],
        }
    # Sets come out in any order.
    for matcher in made["matcherGroup"]["matchers"]:
        for data in matcher.values():
            if isinstance(data, dict) and isinstance(data.get("whitelist"), list):
                data["whitelist"] = sorted(data["whitelist"], key=str)
    return made


class Received:
    """The flags of one environment as the SDK's storages hold them, followed change by change.

    The SDK's own update events come from a thread each, so in any order, and name no flag when a segment
    changed. Here the storages' writing methods are wrapped, in the SDK's thread.

    Args:
        changed: called with the flags that answer anew, in the thread that brought the change.
    """

    def __init__(self, changed: Callable[[list[str]], None]) -> None:
        #: By key; replaced items, never changed ones.
        self.flags: dict[str, Known] = {}
        self._needs: dict[_Node, frozenset[_Node]] = {}
        self._writing = threading.RLock()
        self._changed = changed

    def after_fork(self) -> None:
        """In the child: whoever held the lock is gone."""
        self._writing = threading.RLock()

    def follow(self, splits: Any, segments: Any, rule_based: Any) -> None:
        """Follow the storages of a factory from now on, and take what they hold already."""
        self._wrap(splits, "update", lambda add, delete, _number: [*(s.name for s in add), *delete], self._flags_came)
        self._wrap(splits, "kill_locally", lambda name, *_: [name], self._flags_came)
        self._wrap(segments, "update", lambda name, add, gone, *_: [name] if add or gone else [], _segments_came)
        self._wrap(segments, "put", lambda segment: [segment.name] if segment.keys else [], _segments_came)
        self._wrap(rule_based, "update", lambda add, delete, _n: [*(s.name for s in add), *delete], self._rules_came)
        self.reconcile(splits, rule_based)

    def _wrap(
        self,
        storage: Any,
        method: str,
        names: Callable[..., list[str]],
        came: Callable[[Any, list[str]], Iterable[_Node]],
    ) -> None:
        original = getattr(storage, method, None)
        if original is None:
            return

        def followed(*args: Any) -> Any:
            with self._writing:
                result = original(*args)
                touched = set(came(storage, names(*args)))
                changed = _flags(_closure(touched, self._needs))
            self._tell(changed)
            return result

        setattr(storage, method, followed)

    def reconcile(self, splits: Any, rule_based: Any) -> None:
        """What came before the storages were followed, and what a former factory knew and this one does not."""
        with self._writing:
            if splits.get_change_number() < 0:
                return  # nothing has come: what a former factory knew still counts
            self._rules_came(rule_based, list(rule_based.get_segment_names()))
            touched = set(self._flags_came(splits, list({*splits.get_split_names(), *self.flags})))
            changed = _flags(_closure(touched, self._needs))
        self._tell(changed)

    def _flags_came(self, splits: Any, names: list[str]) -> Iterable[_Node]:
        for name in names:
            split = splits.get(name)
            before = self.flags.get(name)
            if split is None:
                yield from self._gone(name)
                continue
            try:
                known = Known(split)
            except Exception:  # noqa: BLE001 - one damaged flag may not keep the others from arriving
                _log.exception("Flag '%s' of Split cannot be read; it answers FLAG_NOT_FOUND.", name)
                yield from self._gone(name)
                continue
            self.flags[name] = known
            self._needs[_FLAG, name] = _needs(split, (n for n, _ in known.prerequisites))
            if before is None or before.document != known.document:
                yield _FLAG, name

    def _gone(self, name: str) -> Iterable[_Node]:
        """The flag answers nothing from now on, whatever becomes of what it asked for."""
        self._needs.pop((_FLAG, name), None)
        if self.flags.pop(name, None) is not None:
            yield _FLAG, name

    def _rules_came(self, rule_based: Any, names: list[str]) -> Iterable[_Node]:
        nodes = []
        for name in names:
            segment = rule_based.get(name)
            if segment is not None:
                excluded = ((_kind(s), s.name) for s in segment.excluded.get_excluded_segments())
                self._needs[_RULES, name] = _needs(segment, ()) | frozenset(excluded)
            nodes.append((_RULES, name))
        return nodes

    def _tell(self, changed: list[str]) -> None:
        if changed:
            self._changed(changed)


def _segments_came(_: Any, names: list[str]) -> Iterable[_Node]:
    return [(_SEGMENT, name) for name in names]


def _kind(excluded: Any) -> str:
    return _SEGMENT if excluded.type.value == "standard" else _RULES


def _needs(item: Any, prerequisites: Iterable[str]) -> frozenset[_Node]:
    """The flags and segments whose change may change this one's answer."""
    asked: set[_Node] = {(_FLAG, name) for name in prerequisites}
    for condition in item.conditions:
        for matcher in condition.matchers:
            for attribute, kind in _ASKS:
                name = getattr(matcher, attribute, None)
                if isinstance(name, str):
                    asked.add((kind, name))
    return frozenset(asked)


_ASKS: Final = (("_segment_name", _SEGMENT), ("_rbs_segment_name", _RULES), ("_split_name", _FLAG))


def _closure(nodes: set[_Node], needs: Mapping[_Node, frozenset[_Node]]) -> set[_Node]:
    """These and whatever asks them, directly or through others."""
    found, ahead = set(nodes), set(nodes)
    while ahead:
        ahead = {node for node, asked in needs.items() if node not in found and not asked.isdisjoint(ahead)}
        found |= ahead
    return found


def _flags(nodes: set[_Node]) -> list[str]:
    return sorted(name for kind, name in nodes if kind == _FLAG)
