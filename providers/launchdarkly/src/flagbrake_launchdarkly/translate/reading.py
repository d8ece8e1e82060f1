"""Flags and segments as SDKs receive them -> the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from flagbrake.evaluate.vendors.launchdarkly import SHA1
from flagbrake.model.clause import USER, Attribute
from flagbrake.model.flag import (
    Bucketing,
    Distribution,
    Flag,
    KeySet,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
    Serve,
    Targets,
    Variant,
    Weight,
)
from flagbrake.model.values import MISMATCH, WHOLE, FlagKind, coerce, kind_of
from flagbrake_launchdarkly.names import DROPPED, NAMES, dropped_of, names_of
from flagbrake_launchdarkly.translate.attributes import read_attribute
from flagbrake_launchdarkly.translate.conditions import read_clauses
from flagbrake_launchdarkly.translate.kinds import Kinds, NoReference
from flagbrake_launchdarkly.translate.notes import Notes

Json = Mapping[str, Any]
#: The names of other flags' variants, in the order of their variations.
Names = Mapping[str, Sequence[str]]

#: What decides about events and samples, never about answers.
_ANALYTICS: Final = ("trackEvents", "trackEventsFallthrough", "debugEventsUntilDate", "excludeFromSummaries")


def variant_names(data: Json) -> tuple[str, ...]:
    """The names of a flag's variations: those that travel with it, else the index."""
    count = len(data.get("variations") or ())
    known = names_of(data)
    names = tuple(known.get(index) or str(index) for index in range(count))
    return names if len(set(names)) == count else tuple(map(str, range(count)))


def read_flag(data: Json, others: Names, notes: Notes, kinds: Kinds) -> Flag:
    """One flag; a document that SDKs answer with an error is refused."""
    return _Reading(data, others, notes, kinds).flag()


class _Reading:
    def __init__(self, data: Json, others: Names, notes: Notes, kinds: Kinds) -> None:
        self._data = data
        self._others = others
        self._notes = notes
        self._kinds = kinds
        self._names = variant_names(data)

    def flag(self) -> Flag:
        data, notes = self._data, self._notes
        if not self._names:
            raise notes.refusal("variations", "a flag needs at least one.", "[true, false]")
        self._analytics()
        kind, variants = _variants(data["variations"], self._names, notes)
        off = data.get("offVariation")
        made = Flag(
            key=data["key"],
            kind=kind,
            variants=variants,
            default=self._serve(data.get("fallthrough") or {}, "fallthrough"),
            on=bool(data.get("on")),
            off_variant=None if off is None else self._name(off, "offVariation"),
            targets=tuple(target for target in self._targets() if target.keys),
            rules=tuple(self._rules()),
            prerequisites=tuple(self._prerequisites()),
            tags=tuple(data.get("tags") or ()),
            description=data.get("description") or "",
            archived=bool(data.get("archived")),
            version=data.get("version") or 0,
        )
        gone = {self._names[index] for index in dropped_of(data) if index < len(self._names)} - _served(made)
        return replace(made, variants=tuple(v for v in made.variants if v.name not in gone)) if gone else made

    def _analytics(self) -> None:
        for name in _ANALYTICS:
            if self._data.get(name):
                self._notes.note(name, f"'{name}' is not kept", "none on answers: which events are sent")
        if self._data.get("samplingRatio") not in {None, 1}:
            self._notes.note(
                "samplingRatio", "the sampling ratio is not kept", "none on answers: which events are sent"
            )
        if self._data.get("migration"):
            effect = "none on answers: LaunchDarkly's migration helper reads its check ratio, nobody else does"
            self._notes.note("migration", "the settings of a migration flag are not kept", effect)

    def _name(self, index: Any, place: str) -> str:
        if not isinstance(index, int) or not 0 <= index < len(self._names):
            raise self._notes.refusal(place, f"there is no variation {index!r}.", f"0 to {len(self._names) - 1}")
        return self._names[index]

    def _serve(self, data: Json, place: str) -> Serve:
        if data.get("variation") is not None:
            return self._name(data["variation"], f"{place}.variation")
        rollout = data.get("rollout")
        if not rollout or not rollout.get("variations"):
            raise self._notes.refusal(place, "it serves neither a variation nor a rollout.", '{"variation": 0}')
        return self._rollout(rollout, f"{place}.rollout")

    def _rollout(self, data: Json, place: str) -> Distribution:
        weighted = data["variations"]
        names = [self._name(w.get("variation"), f"{place}.variations[{i}]") for i, w in enumerate(weighted)]
        shares = _shares([w.get("weight") or 0 for w in weighted], place, self._notes)
        bucket_by = data.get("bucketBy")
        if data.get("kind") == "experiment":
            effect = "none on answers: results of the experiment are not collected"
            self._notes.note(place, "it is an experiment", effect)
            bucket_by = None
        attribute = _bucket_by(bucket_by, data.get("contextKind"), f"{place}.bucketBy", self._notes, self._kinds)
        bucketing = Bucketing(SHA1, self._data.get("salt") or "", data.get("seed"), None, attribute)
        return Distribution(tuple(Weight(n, s) for n, s in zip(names, shares, strict=True)), bucketing)

    def _targets(self) -> Iterable[Targets]:
        users, of_users = self._data.get("targets") or (), self._kinds.ours(USER)
        listed = self._data.get("contextTargets") or ()
        for index, target in enumerate(users):
            name = self._name(target.get("variation"), f"targets[{index}].variation")
            if not listed:
                yield Targets(name, tuple(target["values"]), of_users)
        # With targets of other kinds, those of users count where a target of kind user stands in for them.
        counted: set[int] = set()
        for index, target in enumerate(listed):
            kind, variation = target.get("contextKind") or USER, target.get("variation")
            if kind in {NAMES, DROPPED}:
                continue
            name = self._name(variation, f"contextTargets[{index}].variation")
            if kind != USER:
                yield Targets(name, tuple(target["values"]), self._kinds.ours(kind))
                continue
            found = next((i for i, t in enumerate(users) if t["variation"] == variation), None)
            if found is not None and found not in counted:
                counted.add(found)
                yield Targets(name, tuple(users[found]["values"]), of_users)
        if listed:
            for index, target in enumerate(users):
                if index not in counted and target["values"]:
                    fact = "contextTargets has no target of kind user for this variation"
                    self._notes.note(f"targets[{index}]", fact, "none: the SDK does not ask these targets either")

    def _rules(self) -> Iterable[Rule]:
        seen: set[str] = set()
        for index, rule in enumerate(self._data.get("rules") or ()):
            place = f"rules[{index}]"
            name = rule.get("id") or f"rule-{index}"
            while name in seen:
                name = f"{name}-{index}"
            if name != rule.get("id"):
                self._notes.note(place, "it has no id of its own", f"none on answers: it is called '{name}'")
            seen.add(name)
            if rule.get("trackEvents"):
                self._notes.note(place, "'trackEvents' is not kept", "none on answers: which events are sent")
            clauses = read_clauses(rule, place, self._notes, self._kinds)
            yield Rule(name, clauses, self._serve(rule, place), rule.get("description") or "")

    def _prerequisites(self) -> Iterable[Prerequisite]:
        for index, asked in enumerate(self._data.get("prerequisites") or ()):
            names, variation = self._others.get(asked["key"], ()), asked["variation"]
            if 0 <= variation < len(names):
                yield Prerequisite(asked["key"], (names[variation],))
                continue
            if asked["key"] in self._others:
                fact, effect = f"'{asked['key']}' has no variation {variation}", "none: it fails in the SDK as well"
                self._notes.note(f"prerequisites[{index}]", fact, effect)
                yield Prerequisite(asked["key"], ())
            else:
                yield Prerequisite(asked["key"], (str(variation),))


def _served(flag: Flag) -> frozenset[str]:
    """The variants that something refers to."""
    found = {target.variant for target in flag.targets} | {flag.off_variant or ""}
    for serve in (flag.default, *(rule.serve for rule in flag.rules)):
        found.update([serve] if isinstance(serve, str) else [weight.variant for weight in serve.weights])
    return frozenset(found)


def _variants(values: Sequence[Any], names: Sequence[str], notes: Notes) -> tuple[FlagKind, tuple[Variant, ...]]:
    kind = _kind(values)
    if kind is None:
        fact = "its values are of several types, or one is null"
        notes.edge("variations", fact, "asked for a type that a variant does not have, the default is served")
        return FlagKind.OBJECT, tuple(Variant(n, v) for n, v in zip(names, values, strict=True))
    if kind is FlagKind.OBJECT:
        return kind, tuple(Variant(n, v) for n, v in zip(names, values, strict=True))
    return kind, tuple(Variant(n, coerce(v, kind)) for n, v in zip(names, values, strict=True))


def _kind(values: Sequence[Any]) -> FlagKind | None:
    """The kind that all values have; numbers are integers where none has a fraction."""
    kinds = {kind_of(value) for value in values}
    if len(kinds) == 1:
        return kinds.pop()
    if kinds == {FlagKind.INTEGER, FlagKind.FLOAT}:
        for kind in (FlagKind.INTEGER, FlagKind.FLOAT):
            if all(coerce(value, kind) is not MISMATCH for value in values):
                return kind
    return None


def _shares(weights: Sequence[int], place: str, notes: Notes) -> list[int]:
    """Weights as shares that make 100,000: what is over is cut, what is missing is the last one's."""
    shares, rest = [], WHOLE
    for index, weight in enumerate(weights):
        if weight < 0:
            raise notes.refusal(f"{place}.variations[{index}].weight", f"{weight} is negative.", "0")
        shares.append(min(weight, rest))
        rest -= shares[-1]
    if rest or shares != list(weights):
        shares[-1] += rest
        notes.note(place, f"its weights make {sum(weights):,}, not {WHOLE:,}", "none: dealt as the SDK deals them")
    return shares


def _bucket_by(text: str | None, kind: str | None, place: str, notes: Notes, kinds: Kinds) -> Attribute:
    ours = kinds.ours(kind)
    if text in {"kind", "/kind"}:
        if kinds.renamed and ours == USER:
            notes.grave(place, f"it is dealt by the word '{kind}', which is 'user' here", "all get another variant")
        return Attribute(("kind",), ours)  # the name of that kind, not all there are
    try:
        return read_attribute(text, kind, kinds) if text else Attribute(kind=ours)
    except NoReference as bad:
        raise notes.refusal(place, f"{text!r} is no reference: {bad}.", "a name, or '/a/b'") from None


def read_segment(data: Json, notes: Notes, kinds: Kinds) -> Segment:
    """One segment."""
    included, excluded = _keys(data, "included", kinds), _keys(data, "excluded", kinds)
    rules = tuple(_segment_rule(data, rule, index, notes, kinds) for index, rule in enumerate(data.get("rules") or ()))
    if data.get("unbounded"):
        # The SDK asks a store of its own for the members; here nobody can. Before its first generation it is empty.
        notes.grave("unbounded", "the members of a big segment are not in the document", "its rules alone count")
        included = excluded = ()
        rules = () if data.get("generation") is None else rules
    return Segment(
        key=data["key"],
        included=included,
        excluded=excluded,
        rules=rules,
        description=data.get("description") or "",
        version=data.get("version") or 0,
    )


def _keys(data: Json, side: str, kinds: Kinds) -> tuple[KeySet, ...]:
    users = data.get(side) or ()
    others = data.get(f"{side}Contexts") or ()
    sets = [KeySet(tuple(users), kinds.ours(USER))] if users else []
    sets += [KeySet(tuple(t["values"]), kinds.ours(t.get("contextKind"))) for t in others]
    return tuple(sets)


def _segment_rule(data: Json, rule: Json, index: int, notes: Notes, kinds: Kinds) -> SegmentRule:
    place = f"rules[{index}]"
    clauses = read_clauses(rule, place, notes, kinds)
    weight = rule.get("weight")
    if weight is None:
        return SegmentRule(clauses)
    kind = rule.get("rolloutContextKind")
    attribute = _bucket_by(rule.get("bucketBy"), kind, f"{place}.bucketBy", notes, kinds)
    share = min(max(weight, 0), WHOLE)
    return SegmentRule(clauses, share, Bucketing(SHA1, data.get("salt") or "", None, None, attribute))
