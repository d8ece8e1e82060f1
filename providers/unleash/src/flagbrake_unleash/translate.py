"""Pure: an Unleash feature in one environment <-> a flag.

Strategies are asked in order; the first that holds decides the variant. So targets become the first strategies,
rules the next, and the default serve is the last one, the *owned* strategy, without constraints. A plain boolean
is what Unleash's own clients expect: on where a strategy holds, off elsewhere. Everything else has its values as
payloads of strategy variants.

What Unleash has no field for (the order of variants, the off variant, which strategy is a rule) stands as JSON in
the strategy parameter ``flagbrake``, which the server keeps and clients ignore. A feature made by others has none
and is read without.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import USER, Attribute, Clause, Op
from flagbrake.model.flag import (
    Bucketing,
    Distribution,
    Flag,
    Gate,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
    Serve,
    Targets,
    Variant,
    Weight,
)
from flagbrake.model.values import MISMATCH, WHOLE, FlagKind, kind_of, percent_of
from flagbrake_unleash.constraints import (
    MOST_VALUES,
    USER_ID,
    attribute_of,
    clauses_of,
    constraints_of,
    context_name,
)
from flagbrake_unleash.payload import payload_of, value_of_payload

#: Unleash's own hash: murmur3 of "group:unit", 1 to 100 for rollouts, 1 to 1000 for variants.
BUCKETING: Final = "unleash-murmur3"
#: The strategy parameter that holds what Unleash has no field for.
MARK: Final = "flagbrake"
#: The variant that Unleash itself answers when nothing holds; the name is reserved there.
DISABLED: Final = "disabled"
#: One percent, the step of a rollout, and a tenth of it, the step of a variant's weight.
_PERCENT, _TENTH = 1000, 100
_ROLLOUTS: Final = {"flexibleRollout", "gradualRolloutUserId", "gradualRolloutSessionId", "gradualRolloutRandom"}
_OUTSIDE: Final = {FlagKind.STRING: "", FlagKind.INTEGER: 0, FlagKind.FLOAT: 0.0, FlagKind.OBJECT: {}}

Document = dict[str, Any]
Part = Mapping[str, Any]


# --- reading ---------------------------------------------------------------------------------------------


def flag_from_feature(feature: Part, segments: Mapping[int, str] | None = None) -> Flag:
    """The flag that a feature's document is. ``segments`` gives names by number."""
    active = [s for s in feature["strategies"] if not s.get("disabled")]
    owned = owned_strategy(feature)
    mark = mark_of(owned) if owned is not None else {}
    variants = _variants(feature, active, mark)
    names = tuple(v.name for v in variants)
    kind = _kind(variants, mark)
    before = [s for s in active if s is not owned]
    reading = _Reading(feature["name"], variants, kind, segments or {})
    plain = is_plain(feature)
    off = mark.get("off", reading.name_of(value=False) if plain else None)
    return Flag(
        key=feature["name"],
        kind=kind,
        variants=variants,
        default=reading.default(feature, owned),
        on=bool(feature["enabled"]),
        off_variant=off if off in names else None,
        targets=tuple(reading.targets(before, owned)),
        rules=tuple(reading.rules(before)),
        prerequisites=tuple(_prerequisite(d) for d in feature.get("dependencies") or ()),
        tags=tuple(_tag(t) for t in feature.get("tags") or ()),
        description=feature.get("description") or "",
        archived=bool(feature.get("archived")),
    )


def owned_strategy(feature: Part) -> Part | None:
    """The last active strategy, if it asks nothing about the context: the one that serves everybody else."""
    active = [s for s in feature["strategies"] if not s.get("disabled")]
    if not active:
        return None
    last = active[-1]
    asked = [c for c in last.get("constraints") or () if not _is_denial(last, c)]
    known = last.get("name") in {"default", *_ROLLOUTS}
    return last if known and not asked and not last.get("segments") else None


def is_plain(feature: Part) -> bool:
    """True if the answer is on or off, without variants."""
    return not feature.get("variants") and not any(s.get("variants") for s in feature["strategies"])


def mark_of(strategy: Part) -> Mapping[str, Any]:
    """What flagbrake noted in a strategy; nothing where somebody else wrote it."""
    text = (strategy.get("parameters") or {}).get(MARK)
    if not isinstance(text, str):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def rollout_of(strategy: Part) -> int:
    """The share of 100,000 that a strategy takes; what is not an integer from 0 to 100 takes nobody."""
    parameters = strategy.get("parameters") or {}
    if strategy.get("name") not in _ROLLOUTS:
        return WHOLE
    text = str(parameters.get("rollout", parameters.get("percentage", "")))
    return int(text) * _PERCENT if text.isascii() and text.isdigit() and int(text) <= 100 else 0


def denied(strategy: Part) -> tuple[str, ...]:
    """The units that a plain feature's strategies leave out one by one."""
    return tuple(v for c in strategy.get("constraints") or () if _is_denial(strategy, c) for v in c["values"])


def segment_from(document: Part) -> Segment:
    """A segment of Unleash: everybody for whom all of its constraints hold."""
    rules = (SegmentRule(clauses_of(document.get("constraints") or ())),)
    return Segment(document["name"], rules=rules, description=document.get("description") or "")


class _Reading:
    def __init__(self, key: str, variants: tuple[Variant, ...], kind: FlagKind, segments: Mapping[int, str]) -> None:
        self.key, self.variants, self.kind, self.segments = key, variants, kind, segments

    def name_of(self, *, value: bool) -> str:
        return next((v.name for v in self.variants if v.value is value), "on" if value else "off")

    def default(self, feature: Part, owned: Part | None) -> Serve:
        if owned is not None:
            return self.serve(owned)
        if is_plain(feature):
            # Unleash serves a feature without any strategy to everybody, once it is on.
            return self.name_of(value=bool(feature["enabled"]) and not feature["strategies"])
        return DISABLED if any(v.name == DISABLED for v in self.variants) else self.variants[0].name

    def serve(self, strategy: Part) -> Serve:
        share, bucketing = rollout_of(strategy), _bucketing(strategy, self.key)
        weights = _weights(strategy)
        if not weights:
            true, false = self.name_of(value=True), self.name_of(value=False)
            if share in {0, WHOLE}:
                return true if share else false
            return Distribution((Weight(true, share), Weight(false, WHOLE - share)), bucketing)
        gate = Gate(share, bucketing, self.variants[-1].name) if share != WHOLE else None
        if len(weights) == 1 and gate is None:
            return weights[0].variant
        return Distribution(tuple(weights), bucketing, gate)

    def targets(self, strategies: Sequence[Part], owned: Part | None) -> Iterator[Targets]:
        merged: dict[int, tuple[str, list[str]]] = {}
        for number, strategy in enumerate(strategies):
            mark = mark_of(strategy)
            if "target" in mark:
                served = self.serve(strategy)
                place = mark["target"] if isinstance(mark["target"], int) else number
                keys = next((c["values"] for c in strategy["constraints"] if c["contextName"] == USER_ID), ())
                merged.setdefault(place, (str(served), []))[1].extend(keys)
        last = owned if owned is not None else (strategies[-1] if strategies else None)
        if last is not None and (units := denied(last)):
            merged[mark_of(last).get("denied", len(merged))] = (self.name_of(value=False), list(units))
        for _, (variant, named) in sorted(merged.items()):
            yield Targets(variant, tuple(named))

    def rules(self, strategies: Sequence[Part]) -> Iterator[Rule]:
        for number, strategy in enumerate(strategies, 1):
            mark = mark_of(strategy)
            if "target" in mark:
                continue
            asked = [c for c in strategy.get("constraints") or () if not _is_denial(strategy, c)]
            clauses = (
                *clauses_of(asked),
                *_special(strategy),
                *(self._segment(s) for s in strategy.get("segments") or ()),
            )
            name = str(mark.get("rule") or number)
            yield Rule(name, clauses, self.serve(strategy), strategy.get("title") or "")

    def _segment(self, number: int) -> Clause:
        return Clause(Attribute(), Op.SEGMENT, (self.segments.get(number, str(number)),))


def _special(strategy: Part) -> Iterator[Clause]:
    """What strategies of old ask in a parameter."""
    parameters = strategy.get("parameters") or {}
    by_name = {"userWithId": ("userIds", USER_ID), "remoteAddress": ("IPs", "remoteAddress")}
    name = strategy.get("name")
    if name in by_name:
        parameter, attribute = by_name[name]
        units = tuple(u.strip() for u in str(parameters.get(parameter, "")).split(",") if u.strip())
        yield Clause(attribute_of(attribute), Op.IN if name == "userWithId" else Op.IN_CIDR, units)
    elif name not in {"default", *_ROLLOUTS}:
        yield Clause(Attribute(), Op.ALWAYS, negate=True)  # the SDK does not know it either


def _variants(feature: Part, active: Sequence[Part], mark: Part) -> tuple[Variant, ...]:
    listed = [*feature.get("variants", ()), *(v for s in active for v in s.get("variants") or ())]
    if not listed:
        named = mark.get("variants")
        if isinstance(named, dict) and sorted(named.values()) == [False, True]:
            return tuple(Variant(name, value) for name, value in named.items())
        return (Variant("on", value=True), Variant("off", value=False))
    found: dict[str, Any] = {}
    for variant in listed:
        value = value_of_payload(variant.get("payload"))
        found.setdefault(variant["name"], variant["name"] if value is MISMATCH else value)
    order = [name for name in mark.get("variants", ()) if name in found]
    ordered = {name: found[name] for name in [*order, *found]}
    if owned_strategy(feature) is None and not feature.get("variants"):
        kind = kind_of(next(iter(found.values()))) or FlagKind.STRING
        ordered.setdefault(DISABLED, _OUTSIDE.get(kind, False))
    return tuple(Variant(name, value) for name, value in ordered.items())


def _kind(variants: Sequence[Variant], mark: Part) -> FlagKind:
    if mark.get("kind") in set(FlagKind):
        return FlagKind(mark["kind"])
    kinds = {kind_of(v.value) for v in variants if v.name != DISABLED}
    if kinds == {FlagKind.INTEGER, FlagKind.FLOAT}:
        return FlagKind.FLOAT
    return (kinds.pop() if len(kinds) == 1 else None) or FlagKind.STRING


def _weights(strategy: Part) -> list[Weight]:
    return [Weight(v["name"], v["weight"] * _TENTH) for v in strategy.get("variants") or () if v["weight"]]


def _bucketing(strategy: Part, key: str) -> Bucketing:
    parameters = strategy.get("parameters") or {}
    stickiness = parameters.get("stickiness") or "default"
    attribute = Attribute() if stickiness == "default" else Attribute((stickiness,))
    return Bucketing(BUCKETING, group=parameters.get("groupId") or key, attribute=attribute)


def _prerequisite(dependency: Part) -> Prerequisite:
    if not dependency.get("enabled", True):
        return Prerequisite(dependency["feature"], ("off",))
    return Prerequisite(dependency["feature"], tuple(dependency.get("variants") or ("on",)))


def _tag(tag: Part) -> str:
    return tag["value"] if tag["type"] == "simple" else f"{tag['type']}:{tag['value']}"


def _is_denial(strategy: Part, constraint: Part) -> bool:
    return (
        "denied" in mark_of(strategy)
        and constraint.get("contextName") == USER_ID
        and constraint.get("operator") == "NOT_IN"
    )


# --- writing ---------------------------------------------------------------------------------------------


def feature_from_flag(flag: Flag, segments: Mapping[str, int] | None = None, *, like: Part | None = None) -> Document:
    """The document that serves what the flag says. ``segments`` gives numbers by name; ``like`` is what is there now.

    Raises:
        InvalidInput: the flag says what Unleash cannot do, or not in its steps of 1 %.
    """
    like = like or {}
    writing = _Writing(flag, segments or {}, owned_strategy(like) if like else None)
    return {
        "name": flag.key,
        "type": like.get("type") or "release",
        "description": flag.description,
        "impressionData": bool(like.get("impressionData")),
        "stale": bool(like.get("stale")),
        "archived": flag.archived,
        "enabled": flag.on,
        "strategies": writing.strategies(),
        "variants": [],
        "tags": [_tag_from(t) for t in flag.tags],
        "dependencies": [_dependency(p) for p in flag.prerequisites],
    }


class _Writing:
    def __init__(self, flag: Flag, segments: Mapping[str, int], owned: Part | None) -> None:
        self.flag, self.segments = flag, segments
        parameters = (owned or {}).get("parameters") or {}
        #: Units stay where they are: what is there goes on being hashed as it was.
        self.group, self.stickiness = parameters.get("groupId"), parameters.get("stickiness")
        self.plain = _can_be_plain(flag)

    def strategies(self) -> list[Document]:
        made = [*self._targets(), *(self._rule(rule) for rule in self.flag.rules)]
        made.append(self._strategy(self.flag.default, [], self._owned_mark(), everything=True))
        keys, place = self._denied()
        for strategy in made if keys else []:
            if "target" in mark_of(strategy):
                continue
            chunks = (keys[i : i + MOST_VALUES] for i in range(0, len(keys), MOST_VALUES))
            strategy["constraints"] = [*(_listed("NOT_IN", chunk) for chunk in chunks), *strategy["constraints"]]
            strategy["parameters"][MARK] = _mark({**mark_of(strategy), "denied": place})
        return made

    def _targets(self) -> Iterator[Document]:
        for number, target in enumerate(self.flag.targets):
            if target.kind != USER:
                raise InvalidInput(
                    f"Unleash knows users only: flag '{self.flag.key}' has targets of kind '{target.kind}'.",
                    cure="a rule over an attribute",
                )
            if self.plain and not self._value(target.variant):
                continue
            for start in range(0, len(target.keys), MOST_VALUES):
                chunk = target.keys[start : start + MOST_VALUES]
                yield self._strategy(target.variant, [_listed("IN", chunk)], {"target": number})

    def _denied(self) -> tuple[tuple[str, ...], int]:
        if not self.plain:
            return (), 0
        off = [(n, t) for n, t in enumerate(self.flag.targets) if not self._value(t.variant)]
        return tuple(k for _, t in off for k in t.keys), off[0][0] if off else 0

    def _rule(self, rule: Rule) -> Document:
        asked = [
            c for clause in rule.clauses if clause.op is not Op.SEGMENT for c in constraints_of(clause, self.flag.key)
        ]
        made = self._strategy(rule.serve, asked, {"rule": rule.id})
        made["title"] = rule.description
        made["segments"] = [n for clause in rule.clauses if clause.op is Op.SEGMENT for n in self._segment(clause)]
        return made

    def _segment(self, clause: Clause) -> Iterator[int]:
        if clause.negate or len(clause.values) != 1:
            raise InvalidInput(
                f"Unleash has no rule for 'outside of a segment' or 'in one of several' (flag '{self.flag.key}').",
                cure="a rule for each segment",
            )
        number = self.segments.get(str(clause.values[0]))
        if number is None:
            raise InvalidInput(f"There is no segment '{clause.values[0]}' (flag '{self.flag.key}').", cure="create it")
        yield number

    def _strategy(self, serve: Serve, constraints: list[Document], mark: Part, *, everything: bool = False) -> Document:
        group, stickiness = self._hashing(serve)
        rollout = self._true_share(serve) if self.plain else _whole_percent(_gate_share(serve), self.flag.key)
        parameters = {"rollout": str(rollout), "stickiness": stickiness, "groupId": group}
        if mark:
            parameters[MARK] = _mark(mark)
        return {
            "name": "flexibleRollout",
            "title": "",
            "disabled": False,
            "parameters": parameters,
            "constraints": constraints,
            "segments": [],
            "variants": [] if self.plain else self._weighted(serve, stickiness, everything=everything),
        }

    def _weighted(self, serve: Serve, stickiness: str, *, everything: bool) -> list[Document]:
        shares = shares_of(serve)
        for share in shares.values():  # in the order in which they were named
            _whole_percent(share, self.flag.key)
        made: list[Document] = []
        for variant in sorted(self.flag.variants, key=lambda v: v.name):
            share = shares.get(variant.name, 0)
            if share or everything:
                made.append(
                    {
                        "name": variant.name,
                        "weight": share // _TENTH,
                        "weightType": "fix",
                        "stickiness": stickiness,
                        "payload": payload_of(variant.value),
                    }
                )
        # One takes what the others leave: the server asks for it.
        next(v for v in made if v["weight"])["weightType"] = "variable"
        return made

    def _hashing(self, serve: Serve) -> tuple[str, str]:
        if isinstance(serve, Distribution) and serve.bucketing.algorithm == BUCKETING:
            attribute = serve.bucketing.attribute
            return serve.bucketing.group or self.flag.key, "default" if attribute == Attribute() else context_name(
                attribute
            )
        return self.group or self.flag.key, self.stickiness or "default"

    def _true_share(self, serve: Serve) -> int:
        return _whole_percent(sum(s for name, s in shares_of(serve).items() if self._value(name)), self.flag.key)

    def _value(self, name: str) -> Any:
        found = self.flag.variant(name)
        return found.value if found is not None else None

    def _owned_mark(self) -> dict[str, Any]:
        flag = self.flag
        if self.plain:
            mark: dict[str, Any] = {}
            if [(v.name, v.value) for v in flag.variants] != [("on", True), ("off", False)]:
                mark["variants"] = {v.name: v.value for v in flag.variants}
            if flag.off_variant is None or self._value(flag.off_variant):
                mark["off"] = flag.off_variant
            return mark
        return {"kind": flag.kind.value, "variants": list(flag.variant_names), "off": flag.off_variant}


def _can_be_plain(flag: Flag) -> bool:
    """True if on where any strategy holds, off elsewhere, says the same as first match."""
    if flag.kind is not FlagKind.BOOLEAN or sorted(v.value for v in flag.variants) != [False, True]:
        return False
    true = next(v.name for v in flag.variants if v.value)
    serves = [*(rule.serve for rule in flag.rules), flag.default]
    if any(isinstance(s, Distribution) and s.gate is not None for s in serves):
        return False
    if sum(t.variant != true for t in flag.targets) > 1:
        return False
    taken = [shares_of(serve).get(true, 0) for serve in serves]
    # A unit that one strategy passes over is asked again by the next: only the last that takes any may be partial.
    last = max((n for n, share in enumerate(taken) if share), default=0)
    return all(share == WHOLE for share in taken[:last])


def shares_of(serve: Serve) -> dict[str, int]:
    """The shares of a serve by variant, of 100,000."""
    if isinstance(serve, str):
        return {serve: WHOLE}
    found: dict[str, int] = {}
    for weight in serve.weights:
        found[weight.variant] = found.get(weight.variant, 0) + weight.share
    return found


def _gate_share(serve: Serve) -> int:
    return serve.gate.share if isinstance(serve, Distribution) and serve.gate is not None else WHOLE


def _whole_percent(share: int, key: str) -> int:
    if share % _PERCENT or not 0 <= share <= WHOLE:
        below = max(0, min(share - share % _PERCENT, WHOLE - _PERCENT))
        raise InvalidInput(
            f"{percent_of(share)} % of flag '{key}' is no step of Unleash, which takes whole percents.",
            cure=f"{percent_of(below)} or {percent_of(below + _PERCENT)}",
        )
    return share // _PERCENT


def _listed(operator: str, units: Sequence[str]) -> Document:
    return {
        "contextName": USER_ID,
        "operator": operator,
        "values": list(units),
        "inverted": False,
        "caseInsensitive": False,
    }


def _mark(content: Part) -> str:
    return json.dumps(content, separators=(",", ":"))


def _tag_from(text: str) -> Document:
    return {"type": "simple", "value": text}


def _dependency(prerequisite: Prerequisite) -> Document:
    if prerequisite.variants == ("off",):
        return {"feature": prerequisite.flag, "enabled": False, "variants": []}
    variants = [] if prerequisite.variants == ("on",) else list(prerequisite.variants)
    return {"feature": prerequisite.flag, "enabled": True, "variants": variants}
