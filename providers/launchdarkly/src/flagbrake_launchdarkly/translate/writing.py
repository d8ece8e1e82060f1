"""The model -> flags and segments as SDKs receive them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flagbrake.evaluate.vendors.launchdarkly import SHA1
from flagbrake.model.clause import TARGETING_KEY, USER, Attribute, Clause, Contexts, OffFlag, Op
from flagbrake.model.flag import Bucketing, Distribution, Flag, KeySet, Prerequisite, Segment, SegmentRule, Serve
from flagbrake.model.loss import Severity
from flagbrake.model.values import WHOLE
from flagbrake_launchdarkly.names import name_targets
from flagbrake_launchdarkly.translate.attributes import NOTHING, write_attribute
from flagbrake_launchdarkly.translate.clauses import write_clauses
from flagbrake_launchdarkly.translate.kinds import Kinds, NoReference
from flagbrake_launchdarkly.translate.notes import Notes

Json = dict[str, Any]


def write_flag(flag: Flag, others: Mapping[str, Sequence[str]], notes: Notes, kinds: Kinds) -> Json:
    """One flag."""
    return _Writing(flag, others, notes, kinds).flag()


class _Writing:
    def __init__(self, flag: Flag, others: Mapping[str, Sequence[str]], notes: Notes, kinds: Kinds) -> None:
        self._flag = flag
        self._others = others
        self._notes = notes
        self._kinds = kinds
        self._index = {name: index for index, name in enumerate(flag.variant_names)}
        found = _salt([s for s in (flag.default, *(r.serve for r in flag.rules)) if isinstance(s, Distribution)])
        self._salt = flag.key if found is None else found

    def flag(self) -> Json:
        flag = self._flag
        targets, listed = self._targets()
        return {
            "key": flag.key,
            "version": flag.version,
            "deleted": flag.archived,
            "on": flag.on,
            "variations": [variant.value for variant in flag.variants],
            "offVariation": None if flag.off_variant is None else self._index[flag.off_variant],
            "fallthrough": self._serve(flag.default, "default"),
            "targets": targets,
            "contextTargets": listed,
            "rules": [
                {
                    "id": rule.id,
                    "clauses": write_clauses(rule.clauses, f"rules[{index}]", self._notes, self._kinds),
                    **self._serve(rule.serve, f"rules[{index}]"),
                }
                for index, rule in enumerate(flag.rules)
            ],
            "prerequisites": [self._prerequisite(p, i) for i, p in enumerate(flag.prerequisites)],
            "salt": self._salt,
            "trackEvents": False,
            "trackEventsFallthrough": False,
            "clientSide": False,
        }

    def _serve(self, serve: Serve, place: str) -> Json:
        if not isinstance(serve, Distribution):
            return {"variation": self._index[serve]}
        if serve.gate is not None and serve.gate.share != WHOLE:
            self._notes.grave(place, "LaunchDarkly has no gate before a rollout", "everybody takes part")
        kind, by = _bucket_by(serve.bucketing, place, self._notes, self._kinds)
        rollout: Json = {
            "kind": "rollout",
            "contextKind": kind,
            "variations": [{"variation": self._index[w.variant], "weight": w.share} for w in serve.weights],
            **by,
        }
        if serve.bucketing.seed is not None and serve.bucketing.algorithm == SHA1:
            rollout["seed"] = serve.bucketing.seed
        elif serve.bucketing.algorithm == SHA1:
            self._check_salt(serve.bucketing, place)
        else:
            _other_units(serve.bucketing, place, self._notes)
        return {"rollout": rollout}

    def _check_salt(self, bucketing: Bucketing, place: str) -> None:
        moved = bucketing.group not in {None, self._flag.key}
        if bucketing.salt != self._salt or moved:
            fact = "a flag has one key and one salt, and this rollout was dealt by others"
            self._notes.note(place, fact, "the shares are kept, other units get them", Severity.UNITS)

    def _targets(self) -> tuple[list[Json], list[Json]]:
        """Users' targets, and those of other kinds with a place for each of users among them."""
        users: dict[str, list[str]] = {}
        others: list[Json] = []
        named: set[tuple[str, str]] = set()
        for index, target in enumerate(self._flag.targets):
            try:
                kind = self._kinds.theirs(target.kind)
            except NoReference as bad:
                self._notes.grave(f"targets[{index}]", str(bad), "nobody is targeted by it")
                continue
            fresh = [key for key in dict.fromkeys(target.keys) if (kind, key) not in named]
            named.update((kind, key) for key in fresh)
            variation = self._index[target.variant]
            if kind != USER:
                others.append({"contextKind": kind, "variation": variation, "values": fresh})
                continue
            if target.variant in users:
                if others:
                    fact = "users' targets of one variant have one place among those of other kinds"
                    self._notes.edge(f"targets[{index}]", fact, "a context named by several kinds may get another one")
                users[target.variant] += fresh
            else:
                users[target.variant] = fresh
                others.append({"contextKind": USER, "variation": variation, "values": []})
        names = self._flag.variant_names
        carried = [] if names == tuple(map(str, range(len(names)))) else name_targets(names)
        apart = any(target["contextKind"] != USER for target in others) or bool(carried)
        targets = [{"variation": self._index[name], "values": keys} for name, keys in users.items()]
        return targets, [*others, *carried] if apart else []

    def _prerequisite(self, asked: Prerequisite, index: int) -> Json:
        place = f"prerequisites[{index}]"
        if asked.off_flag is not OffFlag.UNMET:
            fact = "a flag that is off is never what LaunchDarkly asks for"
            self._notes.grave(place, fact, "with the other flag off, this one serves its off variant")
        if len(asked.variants) != 1:
            fact = f"it asks for {len(asked.variants)} variants, and LaunchDarkly for exactly one"
            first = asked.variants[0] if asked.variants else "none"
            self._notes.grave(place, fact, f"it asks for '{first}' alone")
        if not asked.variants:
            return {"key": asked.flag, "variation": -1}
        wanted, names = asked.variants[0], tuple(self._others.get(asked.flag, ()))
        if wanted in names:
            return {"key": asked.flag, "variation": names.index(wanted)}
        if not names and wanted.isdecimal():
            return {"key": asked.flag, "variation": int(wanted)}
        fact = f"which variation of '{asked.flag}' is '{wanted}' is not known."
        raise self._notes.refusal(place, fact, "say what the variants of that flag are called")


def _salt(distributions: list[Distribution]) -> str | None:
    """The salt that most rollouts without a seed were dealt by, if there is one."""
    salts = [d.bucketing.salt for d in distributions if d.bucketing.algorithm == SHA1 and d.bucketing.seed is None]
    if not salts:
        salts = [d.bucketing.salt for d in distributions if d.bucketing.salt]
    return max(salts, key=salts.count, default=None)


def _other_units(bucketing: Bucketing, place: str, notes: Notes) -> None:
    fact = f"LaunchDarkly deals units by its own algorithm, not by '{bucketing.algorithm}'"
    notes.note(place, fact, "the shares are kept, other units get them", Severity.UNITS)
    if bucketing.override is not None:
        notes.note(place, "it has no bucketing key beside the key", "the usual unit decides", Severity.UNITS)


def bucket_by(bucketing: Bucketing, kinds: Kinds) -> tuple[str, str | None]:
    """The context kind that a rollout is dealt by, and the reference, ``None`` for the key.

    Raises:
        NoReference: LaunchDarkly cannot name it.
    """
    contexts = Contexts.KEYED if bucketing.algorithm == SHA1 else Contexts.OPEN
    kind, text = write_attribute(bucketing.attribute, contexts, kinds)
    return kind, None if bucketing.attribute.path == (TARGETING_KEY,) else text


def _bucket_by(bucketing: Bucketing, place: str, notes: Notes, kinds: Kinds) -> tuple[str, Json]:
    try:
        kind, text = bucket_by(bucketing, kinds)
    except NoReference as bad:
        notes.grave(place, f"it is dealt by '{bucketing.attribute}', and {bad}", "it is dealt by the key of the unit")
        return kinds.unit, {}
    return kind, {} if text is None else {"bucketBy": text}


def write_segment(segment: Segment, notes: Notes, kinds: Kinds) -> Json:
    """One segment."""
    dealt = (r.bucketing for r in segment.rules if r.bucketing.algorithm == SHA1)
    salt = next((bucketing.salt for bucketing in dealt), segment.key)
    written: Json = {
        "key": segment.key,
        "version": segment.version,
        "deleted": False,
        **_keys("included", segment.included, notes, kinds),
        **_keys("excluded", segment.excluded, notes, kinds),
        "rules": [_segment_rule(segment, rule, index, salt, notes, kinds) for index, rule in enumerate(segment.rules)],
        "salt": salt,
        "unbounded": False,
    }
    return written


def _keys(side: str, sets: tuple[KeySet, ...], notes: Notes, kinds: Kinds) -> Json:
    users: list[str] = []
    others: list[Json] = []
    for index, named in enumerate(sets):
        try:
            kind = kinds.theirs(named.kind)
        except NoReference as bad:
            notes.grave(f"{side}[{index}]", str(bad), f"nobody is {side} by it")
            continue
        if kind == USER:
            users += named.keys
        else:
            others.append({"contextKind": kind, "values": list(named.keys)})
    return {side: list(dict.fromkeys(users)), f"{side}Contexts": others}


def _segment_rule(segment: Segment, rule: SegmentRule, index: int, salt: str, notes: Notes, kinds: Kinds) -> Json:
    place = f"rules[{index}]"
    # Who is in an excluded segment is in none of the rules.
    apart = (Clause(Attribute((NOTHING,)), Op.SEGMENT, segment.excluded_segments, negate=True),)
    clauses = rule.clauses + apart if segment.excluded_segments else rule.clauses
    written: Json = {"id": f"rule-{index}", "clauses": write_clauses(clauses, place, notes, kinds)}
    if rule.share == WHOLE and rule.bucketing.algorithm != SHA1:
        return written
    if rule.bucketing.algorithm != SHA1:
        _other_units(rule.bucketing, place, notes)
    elif rule.bucketing.salt != salt or rule.bucketing.seed is not None:
        fact = "a segment has one salt and no seed, and this rule was dealt by others"
        notes.note(place, fact, "the share is kept, other units get it", Severity.UNITS)
    kind, by = _bucket_by(rule.bucketing, place, notes, kinds)
    return {**written, "weight": rule.share, "rolloutContextKind": kind, **by}
