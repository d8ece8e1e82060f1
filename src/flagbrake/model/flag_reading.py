"""JSON data to flags and segments, strictly: every variant named exists, every split makes 100 %."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import (
    DIALECTS,
    OURS,
    USER,
    Attribute,
    Case,
    Clause,
    Coercion,
    Contexts,
    Dates,
    ListMode,
    OffFlag,
    OnMissing,
    Op,
    Regex,
    Semantics,
    Semver,
)
from flagbrake.model.flag import (
    DEFAULT_BUCKETING,
    Bucketing,
    Distribution,
    Flag,
    Gate,
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
from flagbrake.model.reading import (
    Malformed,
    boolean,
    choice,
    each,
    fields,
    inside,
    integer,
    json_value,
    key,
    members,
    shown,
    suggestion,
    text,
    texts,
)
from flagbrake.model.values import MISMATCH, USE_DEFAULT, WHOLE, FlagKind, coerce, kind_of, percent_of, share_of

_KINDS: Final = members(FlagKind)
_OPS: Final = members(Op)
_SEMANTICS: Final[dict[str, dict[str, Any]]] = {
    "on_missing": members(OnMissing),
    "coercion": members(Coercion),
    "list_mode": members(ListMode),
    "case": members(Case),
    "regex": members(Regex),
    "semver": members(Semver),
    "dates": members(Dates),
    "contexts": members(Contexts),
    "off_flag": members(OffFlag),
}

_FLAG: Final = frozenset(
    [
        "key",
        "kind",
        "on",
        "variants",
        "off",
        "targets",
        "rules",
        "default",
        "prerequisites",
        "tags",
        "description",
        "archived",
        "version",
    ]
)
_CLAUSE: Final = frozenset(("attribute", "op", "values", "negate"))
_CLAUSE_ALL: Final = _CLAUSE | {"dialect"} | _SEMANTICS.keys()
_RULE: Final = frozenset(("id", "when", "serve", "description"))
_SPLIT: Final = frozenset(("split", "bucketing", "gate"))
_BUCKETING: Final = frozenset(("algorithm", "salt", "seed", "group", "attribute", "override", "buckets"))
_GATE: Final = frozenset(("share", "bucketing", "outside"))
_TARGETS: Final = frozenset(("variant", "keys", "kind"))
_PREREQUISITE: Final = frozenset(("flag", "variants", "off_flag"))
_VARIANT: Final = frozenset(("name", "value"))
_WEIGHT: Final = frozenset(("variant", "share"))
_SEGMENT: Final = frozenset(("key", "included", "excluded", "excluded_segments", "rules", "description", "version"))
_SEGMENT_RULE: Final = frozenset(("when", "share", "bucketing"))
_KEY_SET: Final = frozenset(("keys", "kind"))
#: Types whose values need no second look; the others may be of the kind after a lossless change.
_EXACT: Final = {FlagKind.BOOLEAN: bool, FlagKind.STRING: str, FlagKind.INTEGER: int}
_SCALARS: Final = frozenset((str, int, bool))
_DEFAULT: Final = Bucketing()
_OFF_FLAG: Final = members(OffFlag)


def flag(data: Any) -> Flag:
    """One flag; complaints are raised as Malformed."""
    fields(data, _FLAG, ("key", "kind", "variants", "default"), "a flag")
    kind = choice(_KINDS, data, "kind")
    variants = _variants(data["variants"], kind)
    names = frozenset([v.name for v in variants])
    if len(names) != len(variants):
        raise Malformed("two variants have the same name.", "a name for each", "variants")
    off = data.get("off")
    targets = each("targets", _targets, data["targets"]) if "targets" in data else ()
    prerequisites = each("prerequisites", _prerequisite, data["prerequisites"]) if "prerequisites" in data else ()
    rules = _rules(data["rules"]) if "rules" in data else ()
    read = Flag(
        key=key(data, "key"),
        kind=kind,
        variants=variants,
        default=inside("default", _serve, data["default"]),
        on=boolean(data, "on", default=True),
        off_variant=off,
        targets=targets,
        rules=rules,
        prerequisites=prerequisites,
        tags=texts("tags", data["tags"]) if "tags" in data else (),
        description=text(data, "description"),
        archived=boolean(data, "archived", default=False),
        version=integer(data, "version"),
    )
    if off is not None:
        _known(off, names, "off")
    _served(read.default, names, "default")
    for index, target in enumerate(targets):
        if target.variant not in names:
            _known(target.variant, names, "targets", f"[{index}]", "variant")
    for index, rule in enumerate(rules):
        _served(rule.serve, names, "rules", f"[{index}]", "serve")
    return read


def _known(name: Any, names: frozenset[str], *path: str) -> None:
    if type(name) is not str or name not in names:
        raise Malformed(f"{shown(name)} is not a variant of this flag.", suggestion(name, names), *path)


def _served(serve: Serve, names: frozenset[str], *path: str) -> None:
    if type(serve) is str:
        if serve not in names:
            _known(serve, names, *path)
        return
    assert isinstance(serve, Distribution)
    for index, weight in enumerate(serve.weights):
        if weight.variant not in names:
            _known(weight.variant, names, *path, "split", f"[{index}]", "variant")
    if serve.gate is not None and (serve.gate.outside is not None or path == ("default",)):
        _known(serve.gate.outside, names, *path, "gate", "outside")


def _variants(data: Any, kind: FlagKind) -> tuple[Variant, ...]:
    if type(data) is dict:
        data = [{"name": name, "value": value} for name, value in data.items()]

    exact = _EXACT.get(kind)

    def variant(item: Any) -> Variant:
        fields(item, _VARIANT, ("name",), "a variant")
        value = item.get("value", USE_DEFAULT)
        if type(value) is not exact and value is not USE_DEFAULT:
            value = inside("value", lambda value: _value(value, kind), value)
        return Variant(key(item, "name"), value)

    if not data:
        raise Malformed("a flag needs at least one variant.", '{"on": true, "off": false}', "variants")
    return each("variants", variant, data)


def _value(value: Any, kind: FlagKind) -> Any:
    if kind is FlagKind.OBJECT:
        return json_value(value)  # any: LaunchDarkly's JSON flags also hold null, texts and numbers
    found = kind_of(value)
    fitting = MISMATCH if found is None else coerce(value, kind)
    if fitting is MISMATCH:
        raise Malformed(f"{shown(value)} is not {_article(kind)}, the kind of this flag.", f"a value that is {kind}")
    return fitting


def _article(kind: FlagKind) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _rules(data: Any) -> tuple[Rule, ...]:
    rules = each("rules", _rule, data)
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        if rule.id in seen:
            raise Malformed(f"another rule has the id '{rule.id}'.", f"'{rule.id}-2'", "rules", f"[{index}]", "id")
        seen.add(rule.id)
    return rules


def _rule(data: Any) -> Rule:
    fields(data, _RULE, ("id", "when", "serve"), "a rule")
    serve = data["serve"]
    return Rule(
        key(data, "id"),
        each("when", _clause, data["when"]),
        serve if type(serve) is str else inside("serve", _serve, serve),
        text(data, "description") if "description" in data else "",
    )


def _clause(data: Any) -> Clause:
    # The usual clause by hand-made steps: flags by the thousand are read at every start.
    if type(data) is dict and len(data) == 3 and "attribute" in data and "op" in data and "values" in data:
        return _plain_clause(data, OURS)
    return _dialect_clause(data)


def _dialect_clause(data: Any) -> Clause:
    required = ("op",) if isinstance(data, dict) and data.get("op") in ("always", "segment") else ("attribute", "op")
    fields(data, _CLAUSE_ALL, required, "a condition")
    semantics = OURS
    if "dialect" in data:
        name = data["dialect"]
        if type(name) is not str or name not in DIALECTS:
            raise Malformed(f"{shown(name)} is not a dialect.", suggestion(name, DIALECTS), "dialect")
        semantics = DIALECTS[name]
    overrides = tuple([(n, choice(values, data, n)) for n, values in _SEMANTICS.items() if n in data])
    return _plain_clause(data, _semantics(semantics, overrides) if overrides else semantics)


@lru_cache(maxsize=256)
def _semantics(preset: Semantics, overrides: tuple[tuple[str, Any], ...]) -> Semantics:
    return replace(preset, **dict(overrides))


def _plain_clause(data: dict[str, Any], semantics: Semantics) -> Clause:
    name = data["op"]
    op = _OPS.get(name) if type(name) is str else None
    if op is None:
        op = choice(_OPS, data, "op")
    name = data.get("attribute", "")
    attribute = _parsed(name) if type(name) is str and name[:1] != ":" else inside("attribute", _attribute, name)
    values = data.get("values", [])
    if type(values) is not list:
        raise Malformed(f"must be a list, not {shown(values)}.", f"[{shown(values)}]", "values")
    for index, value in enumerate(values):
        if type(value) is not str and not (type(value) in _SCALARS or kind_of(value) is FlagKind.FLOAT):
            cure = "strings, finite numbers, true or false"
            raise Malformed(f"{shown(value)} cannot be compared with.", cure, "values", f"[{index}]")
    negate = boolean(data, "negate", default=False) if "negate" in data else False
    return Clause(attribute, op, tuple(values), negate, semantics)


@lru_cache(maxsize=4096)
def _parsed(name: str) -> Attribute:
    return Attribute.parse(name)


def _attribute(data: Any) -> Attribute:
    if type(data) is not str:
        raise Malformed(f"must be a string, not {shown(data)}.", "'country', '/org/name' or 'org:country'")
    attribute = _parsed(data)
    if not attribute.kind:
        raise Malformed(f"{shown(data)} has no context kind before the colon.", f"'user{data}'")
    return attribute


def _serve(data: Any) -> Serve:
    if type(data) is str:
        return data
    fields(data, _SPLIT, ("split",), "what to serve")
    weights = _weights(data["split"])
    bucketing = inside("bucketing", _bucketing, data["bucketing"]) if "bucketing" in data else _DEFAULT
    gate = inside("gate", _gate, data["gate"]) if data.get("gate") is not None else None
    return Distribution(weights, bucketing, gate)


def _weights(data: Any) -> tuple[Weight, ...]:
    if type(data) is dict:
        data = [{"variant": name, "share": share} for name, share in data.items()]
    weights = each("split", _weight, data)
    total = sum([w.share for w in weights])
    if total != WHOLE:
        fact = f"the shares make {percent_of(total)} % ({total:,} of {WHOLE:,})."
        raise Malformed(fact, "shares that make 100 % together", "split")
    return weights


def _weight(data: Any) -> Weight:
    if not (type(data) is dict and len(data) == 2 and "variant" in data and "share" in data):
        fields(data, _WEIGHT, ("variant", "share"), "a share")
    variant, share = data["variant"], data["share"]
    if type(share) is not int or not 0 <= share <= WHOLE:
        share = inside("share", _share, share)
    return Weight(variant if type(variant) is str else text(data, "variant"), share)


def _share(value: Any) -> int:
    if type(value) is int and 0 <= value <= WHOLE:
        return value
    if type(value) is str and value.endswith("%"):
        try:
            return share_of(value)
        except InvalidInput as error:
            raise Malformed(error.fact, error.cure) from None
    fact = f"{shown(value)} is not a share (a whole number from 0 to {WHOLE:,})."
    raise Malformed(fact, "12500 or '12.5%' for an eighth")


def _bucketing(data: Any) -> Bucketing:
    fields(data, _BUCKETING, (), "a bucketing")
    seed = data.get("seed")
    if seed is not None and type(seed) is not int:
        raise Malformed(f"must be a whole number, not {shown(seed)}.", "61", "seed")
    attribute = inside("attribute", _attribute, data["attribute"]) if "attribute" in data else _DEFAULT.attribute
    group = text(data, "group") if data.get("group") is not None else None
    override = inside("override", _attribute, data["override"]) if data.get("override") is not None else None
    buckets = data.get("buckets")
    if buckets is not None and (type(buckets) is not int or buckets < 1):
        raise Malformed(f"must be a whole number above 0, not {shown(buckets)}.", "1000", "buckets")
    algorithm, salt = text(data, "algorithm", DEFAULT_BUCKETING), text(data, "salt")
    return Bucketing(algorithm, salt, seed, group, attribute, override, buckets)


def _gate(data: Any) -> Gate:
    fields(data, _GATE, ("share",), "a gate")
    bucketing = inside("bucketing", _bucketing, data["bucketing"]) if "bucketing" in data else _DEFAULT
    outside = text(data, "outside") if data.get("outside") is not None else None
    return Gate(inside("share", _share, data["share"]), bucketing, outside)


def _targets(data: Any) -> Targets:
    fields(data, _TARGETS, ("variant", "keys"), "targets")
    return Targets(text(data, "variant"), texts("keys", data["keys"]), text(data, "kind", USER))


def _prerequisite(data: Any) -> Prerequisite:
    fields(data, _PREREQUISITE, ("flag", "variants"), "a prerequisite")
    off_flag = choice(_OFF_FLAG, data, "off_flag") if "off_flag" in data else OffFlag.UNMET
    return Prerequisite(key(data, "flag"), texts("variants", data["variants"]), off_flag)


def segment(data: Any) -> Segment:
    """One segment; complaints are raised as Malformed."""
    fields(data, _SEGMENT, ("key",), "a segment")
    return Segment(
        key(data, "key"),
        each("included", _key_set, data["included"]) if "included" in data else (),
        each("excluded", _key_set, data["excluded"]) if "excluded" in data else (),
        each("rules", _segment_rule, data["rules"]) if "rules" in data else (),
        text(data, "description"),
        integer(data, "version"),
        texts("excluded_segments", data["excluded_segments"]) if "excluded_segments" in data else (),
    )


def _key_set(data: Any) -> KeySet:
    fields(data, _KEY_SET, ("keys",), "a list of keys")
    return KeySet(texts("keys", data["keys"]), text(data, "kind", USER))


def _segment_rule(data: Any) -> SegmentRule:
    fields(data, _SEGMENT_RULE, ("when",), "a segment's rule")
    share = inside("share", _share, data["share"]) if "share" in data else WHOLE
    bucketing = inside("bucketing", _bucketing, data["bucketing"]) if "bucketing" in data else _DEFAULT
    return SegmentRule(each("when", _clause, data["when"]), share, bucketing)
