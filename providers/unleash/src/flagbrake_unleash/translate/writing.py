"""Pure: a flag as an Unleash feature."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import USER, Attribute, Clause, OffFlag, Op
from flagbrake.model.flag import Bucketing, Distribution, Flag, Prerequisite, Rule, Serve, Variant
from flagbrake.model.values import USE_DEFAULT
from flagbrake_unleash.constraints import MOST_VALUES, constraints_of, context_name
from flagbrake_unleash.payload import payload_of
from flagbrake_unleash.translate.serves import (
    bucketings_of,
    can_be_plain,
    gate_share,
    is_for_all,
    shares_of,
    whole_percent,
)
from flagbrake_unleash.translate.strategies import (
    BUCKETING,
    DISABLED,
    MARK,
    Document,
    Part,
    is_plain,
    listed,
    mark_of,
    owned_strategy,
)
from flagbrake_unleash.translate.variants import payloads_of, spelt_alike, tag_text, worth

#: The step of a variant's weight.
_TENTH: Final = 100
_THOUSAND: Final = 1000
_SESSION: Final = Attribute(("sessionId",))


def feature_from_flag(flag: Flag, segments: Mapping[str, int] | None = None, *, like: Part | None = None) -> Document:
    """The document that serves what the flag says. ``segments`` gives numbers by name; ``like`` is what is there now.

    Raises:
        InvalidInput: the flag says what Unleash cannot do, or not in its steps of 1 %.
    """
    like = like or {}
    writing = _Writing(flag, segments or {}, like)
    tags = {tag_text(tag): tag for tag in like.get("tags") or ()}
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
        "tags": [dict(tags.get(t) or {"type": "simple", "value": t}) for t in flag.tags],
        "dependencies": [_dependency(p) for p in flag.prerequisites],
    }


def strategy_from_serve(flag: Flag, serve: Serve, *, like: Part) -> Document:
    """One strategy that serves this to all whom it lets in, with variants if the feature has any.

    Raises:
        InvalidInput: as :func:`feature_from_flag`, and what takes variants or several strategies.
    """
    alone = Flag(flag.key, flag.kind, flag.variants, serve, off_variant=flag.off_variant)
    plain = is_plain(like)
    if plain and not can_be_plain(alone):
        raise InvalidInput(f"Flag '{flag.key}' is on or off in Unleash and has no variants.", cure="replace it")
    made = _Writing(alone, {}, like, plain=plain).strategies()
    if len(made) > 1:
        raise InvalidInput(
            f"In Unleash a share of flag '{flag.key}' and what is served outside of it are two strategies.",
            cure="replace it",
        )
    return made[0]


class _Writing:
    def __init__(self, flag: Flag, segments: Mapping[str, int], like: Part, *, plain: bool | None = None) -> None:
        self.flag, self.segments = flag, segments
        owned = owned_strategy(like) or {}
        parameters = owned.get("parameters") or {}
        #: Units stay where they are: what is there goes on being hashed as it was.
        self.group, self.stickiness = parameters.get("groupId"), parameters.get("stickiness")
        #: Weights that are there already may be finer than a new one.
        self.weights = [_weights_of(s) for s in like.get("strategies") or ()]
        #: So are payloads spelt as they were: of one value there are several spellings.
        self.payloads = payloads_of(like)
        self.title = owned.get("title") or ""
        self.plain = can_be_plain(flag) if plain is None else plain

    def strategies(self) -> list[Document]:
        made = [*self._targets(), *(s for rule in self.flag.rules for s in self._rule(rule))]
        default = self.flag.default
        gate = default.gate if isinstance(default, Distribution) else None
        if gate is not None and not self.plain and not self._is_nothing(gate.outside):
            assert isinstance(default, Distribution)
            made.append(self._strategy(replace(default, gate=replace(gate, outside=None)), [], {"rule": "default"}))
            default = str(gate.outside)
        made.append({**self._strategy(default, [], self._owned_mark(), owned=True), "title": self.title})
        keys, place = self._denied()
        for strategy in made if keys else []:
            if "target" in mark_of(strategy):
                continue
            chunks = (keys[i : i + MOST_VALUES] for i in range(0, len(keys), MOST_VALUES))
            strategy["constraints"] = [*(listed("NOT_IN", chunk) for chunk in chunks), *strategy["constraints"]]
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
                yield self._strategy(target.variant, [listed("IN", chunk)], {"target": number})

    def _denied(self) -> tuple[tuple[str, ...], int]:
        if not self.plain:
            return (), 0
        off = [(n, t) for n, t in enumerate(self.flag.targets) if not self._value(t.variant)]
        return tuple(k for _, t in off for k in t.keys), off[0][0] if off else 0

    def _rule(self, rule: Rule) -> Iterator[Document]:
        serve, outside = rule.serve, None
        if isinstance(serve, Distribution) and serve.gate is not None and not self.plain:
            outside = serve.gate.outside
            serve = replace(serve, gate=replace(serve.gate, outside=None))
        yield self._ruled(rule, serve, rule.id)
        if outside is not None:
            yield self._ruled(rule, outside, f"{rule.id}-outside")

    def _ruled(self, rule: Rule, serve: Serve, name: str) -> Document:
        asked = [
            c for clause in rule.clauses if clause.op is not Op.SEGMENT for c in constraints_of(clause, self.flag.key)
        ]
        made = self._strategy(serve, asked, {"rule": name})
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

    def _strategy(self, serve: Serve, constraints: list[Document], mark: Part, *, owned: bool = False) -> Document:
        group, stickiness = self._hashing(serve, owned=owned)
        if self.plain:
            rollout = self._true_share(serve)
        else:
            rollout = 0 if owned and self._is_nothing(serve) else whole_percent(gate_share(serve), self.flag.key)
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
            "variants": [] if self.plain else self._weighted(serve, stickiness, everything=owned),
        }

    def _weighted(self, serve: Serve, stickiness: str, *, everything: bool) -> list[Document]:
        if everything and self._is_nothing(serve):  # for nobody, to keep their values
            serve = next((v.name for v in self.flag.variants if v.value is not USE_DEFAULT), serve)
        shares = {name: share for name, share in shares_of(serve).items() if share}
        valueless = [name for name in shares if self._value(name) is USE_DEFAULT]
        if valueless:
            if len(shares) > 1 or everything or self._is_nothing(valueless[0]):
                raise InvalidInput(
                    f"Unleash cannot serve '{valueless[0]}' of flag '{self.flag.key}': it has no value.",
                    cure="a variant that has one",
                )
            return []
        if {name: share // _TENTH for name, share in shares.items()} not in self.weights:
            for share in shares.values():  # in the order in which they were named
                whole_percent(share, self.flag.key)
        made = [
            {
                "name": variant.name,
                "weight": shares.get(variant.name, 0) // _TENTH,
                "weightType": "fix",
                "stickiness": stickiness,
                **self._payload(variant),
            }
            for variant in self._in_order(shares)
            if shares.get(variant.name) or (everything and variant.value is not USE_DEFAULT)
        ]
        # One takes what the others leave: the server asks for it.
        next(v for v in made if v["weight"])["weightType"] = "variable"
        return made

    def _payload(self, variant: Variant) -> Document:
        there = self.payloads.get(variant.name, ...)
        if there is not ... and spelt_alike(worth(variant.name, there), variant.value):
            return {} if there is None else {"payload": dict(there)}
        return {"payload": payload_of(variant.value)}

    def _in_order(self, shares: Mapping[str, int]) -> list[Variant]:
        """Who is dealt to comes in the order of dealing: raising the first share moves nobody else."""
        dealt = list(shares)
        rest = (v for v in self.flag.variants if v.name not in shares)
        return [*sorted((v for v in self.flag.variants if v.name in shares), key=lambda v: dealt.index(v.name)), *rest]

    def _hashing(self, serve: Serve, *, owned: bool) -> tuple[str, str]:
        """Group and stickiness of a strategy: the engine deals its share and its variants by the same."""
        found = {
            (self.flag.key if b.group is None else b.group, self._sticky(b))
            for b in bucketings_of(serve)
            if b.algorithm == BUCKETING
        }
        if len(found) > 1:
            raise InvalidInput(
                f"A rule of flag '{self.flag.key}' deals its variants by another hash than its share.",
                cure="the same group and attribute for both",
            )
        if found:
            return found.pop()
        if not owned and is_for_all(serve):
            return self.group or self.flag.key, "default"
        return self.group or self.flag.key, self.stickiness or "default"

    def _sticky(self, bucketing: Bucketing) -> str:
        if bucketing.buckets not in {None, _THOUSAND}:
            raise InvalidInput(
                f"Unleash deals into 1000, and flag '{self.flag.key}' into {bucketing.buckets}.",
                cure="shares that make 100 % of Unleash's own",
            )
        if bucketing.override is None:
            return context_name(bucketing.attribute)
        if (bucketing.override, bucketing.attribute) == (Attribute(), _SESSION):
            return "default"
        raise InvalidInput(
            f"Unleash cannot deal flag '{self.flag.key}' by '{bucketing.override}', else '{bucketing.attribute}'.",
            cure="one attribute",
        )

    def _true_share(self, serve: Serve) -> int:
        true = sum(s for name, s in shares_of(serve).items() if self._value(name))
        return whole_percent(min(true, gate_share(serve)), self.flag.key)

    def _value(self, name: str) -> Any:
        found = self.flag.variant(name)
        return found.value if found is not None else None

    def _is_nothing(self, serve: Serve | None) -> bool:
        """Is this what Unleash itself answers when nothing holds?"""
        return serve == DISABLED and self._value(DISABLED) is USE_DEFAULT

    def _owned_mark(self) -> dict[str, Any]:
        flag = self.flag
        if self.plain:
            mark: dict[str, Any] = {}
            if [(v.name, v.value) for v in flag.variants] != [("on", True), ("off", False)]:
                mark["variants"] = {v.name: v.value for v in flag.variants}
            if flag.off_variant is None or self._value(flag.off_variant):
                mark["off"] = flag.off_variant
            return mark
        names = [v.name for v in flag.variants if v.value is not USE_DEFAULT]
        return {"kind": flag.kind.value, "variants": names, "off": flag.off_variant}


def _weights_of(strategy: Part) -> dict[str, int]:
    return {v["name"]: v["weight"] for v in strategy.get("variants") or () if v["weight"]}


def _mark(content: Part) -> str:
    return json.dumps(content, separators=(",", ":"))


def _dependency(prerequisite: Prerequisite) -> Document:
    if prerequisite.off_flag is OffFlag.MET or prerequisite.variants == ("off",):
        return {"feature": prerequisite.flag, "enabled": False, "variants": []}
    variants = [] if prerequisite.variants == ("on",) else list(prerequisite.variants)
    return {"feature": prerequisite.flag, "enabled": True, "variants": variants}
