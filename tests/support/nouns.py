"""Random nouns for property tests, and a few fixed ones."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from flagbrake.model.clause import (
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
    Bucketing,
    Distribution,
    Flag,
    Gate,
    KeySet,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
    Targets,
    Variant,
    Weight,
    ramp,
)
from flagbrake.model.kill import EVERYTHING, Kill, KillMode, OnExpiry, Scope, ScopeKind, UnknownPolicy
from flagbrake.model.manifest import Declaration, ScopeAttribute
from flagbrake.model.values import USE_DEFAULT, WHOLE, FlagKind

names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
whole = st.integers(0, 2**53)
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | whole | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
values_of = {
    FlagKind.BOOLEAN: st.booleans(),
    FlagKind.STRING: texts,
    FlagKind.INTEGER: st.integers(-(2**63), 2**63),
    FlagKind.FLOAT: finite,
    FlagKind.OBJECT: st.lists(json_values, max_size=3) | st.dictionaries(texts, json_values, max_size=3),
}
semantics = st.builds(
    Semantics,
    st.sampled_from(OnMissing),
    st.sampled_from(Coercion),
    st.sampled_from(ListMode),
    st.sampled_from(Case),
    st.sampled_from(Regex),
    st.sampled_from(Semver),
    st.sampled_from(Dates),
    st.sampled_from(OffFlag),
    st.sampled_from(Contexts),
)


@st.composite
def attributes(draw):
    """Any attribute, also with colons, slashes and tildes in it."""
    path = draw(
        st.lists(st.sampled_from(["a", "a:b", "/", "~", "a/b", "~1", "", "targetingKey"]), min_size=1, max_size=3)
    )
    return Attribute(tuple(path), draw(st.sampled_from([USER, "org", "de vice", "/k"])))


@st.composite
def clauses(draw):
    """Any clause that JSON can hold, evaluable or not."""
    values = draw(st.lists(st.booleans() | whole | finite | texts, max_size=3))
    return Clause(draw(attributes()), draw(st.sampled_from(Op)), tuple(values), draw(st.booleans()), draw(semantics))


bucketings = st.builds(
    Bucketing,
    st.sampled_from(["flagbrake-1", "x"]),
    texts,
    st.none() | st.integers(),
    st.none() | texts,
    attributes(),
    st.none() | attributes(),
    st.none() | st.integers(1, 2000),
)


@st.composite
def distributions(draw, variants, *, passes=False):
    """Shares that make a whole. With ``passes`` a gate may let others go on to the next rule."""
    chosen = draw(st.lists(st.sampled_from(variants), min_size=1, max_size=4))
    cuts = sorted(draw(st.lists(st.integers(0, WHOLE), min_size=len(chosen) - 1, max_size=len(chosen) - 1)))
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, WHOLE], strict=True)]
    weights = tuple(Weight(n, s) for n, s in zip(chosen, shares, strict=True))
    outside = st.none() | st.sampled_from(variants) if passes else st.sampled_from(variants)
    gate = draw(st.none() | st.builds(Gate, st.integers(0, WHOLE), bucketings, outside))
    return Distribution(weights, draw(bucketings), gate)


@st.composite
def flags(draw):
    """Any flag that the codec must keep."""
    kind = draw(st.sampled_from(FlagKind))
    variant_names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    serves = st.sampled_from(variant_names) | distributions(variant_names)
    ruled = st.sampled_from(variant_names) | distributions(variant_names, passes=True)
    some_clauses = st.lists(clauses(), max_size=3).map(tuple)
    rule_ids = draw(st.lists(names, max_size=3, unique=True))
    keys = st.lists(texts, max_size=3).map(tuple)
    return Flag(
        key=draw(names),
        kind=kind,
        variants=tuple(Variant(name, draw(values_of[kind] | st.just(USE_DEFAULT))) for name in variant_names),
        default=draw(serves),
        on=draw(st.booleans()),
        off_variant=draw(st.none() | st.sampled_from(variant_names)),
        targets=tuple(
            draw(st.lists(st.builds(Targets, st.sampled_from(variant_names), keys, names), max_size=2)),
        ),
        rules=tuple(Rule(name, draw(some_clauses), draw(ruled), draw(texts)) for name in rule_ids),
        prerequisites=tuple(draw(st.lists(st.builds(Prerequisite, names, keys, st.sampled_from(OffFlag)), max_size=2))),
        tags=draw(keys),
        description=draw(texts),
        archived=draw(st.booleans()),
        version=draw(whole),
    )


@st.composite
def segments(draw):
    """Any segment."""
    key_sets = st.lists(st.builds(KeySet, st.lists(texts, max_size=3).map(tuple), names), max_size=2).map(tuple)
    some_clauses = st.lists(clauses(), max_size=2).map(tuple)
    keys = st.lists(texts, max_size=2).map(tuple)
    rules = st.lists(st.builds(SegmentRule, some_clauses, st.integers(0, WHOLE), bucketings), max_size=2).map(tuple)
    return Segment(draw(names), draw(key_sets), draw(key_sets), draw(rules), draw(texts), draw(whole), draw(keys))


scopes = st.just(EVERYTHING) | st.builds(
    Scope,
    st.sampled_from([k for k in ScopeKind if k is not ScopeKind.EVERYTHING]),
    st.lists(names.filter(lambda n: "." not in n), min_size=1, max_size=3).map(".".join),
)


def declarations():
    """Any declaration."""
    return st.builds(
        Declaration,
        names,
        st.none() | st.sampled_from(FlagKind),
        st.none() | texts,
        json_values,
        st.lists(scopes, max_size=2).map(tuple),
        st.lists(st.builds(ScopeAttribute, st.sampled_from(ScopeKind), attributes().filter(str)), max_size=2).map(
            tuple
        ),
        st.none() | st.sampled_from(UnknownPolicy),
        st.lists(attributes().filter(str), max_size=2).map(tuple),
    )


def kills():
    """Any kill, in UTC."""
    moments = st.datetimes(datetime(1970, 1, 1), datetime(9990, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    return st.builds(
        Kill,
        names,
        scopes,
        texts,
        texts,
        texts,
        moments,
        whole,
        st.sampled_from(KillMode),
        st.none() | texts,
        json_values,
        st.none() | moments,
        st.sampled_from(OnExpiry),
        texts,
        st.booleans(),
    )


def one_rule(*clauses, key="checkout", serve="on", default="off", **rest):
    """A boolean flag with one rule of these clauses."""
    return Flag.boolean(key, default=default, rules=(Rule("r", clauses, serve),), **rest)


def typical(key):
    """A flag as many are: two variants, four rules, a split, a few targets."""
    rules = [
        Rule(
            f"r{i}",
            (
                Clause(Attribute(("country",)), Op.IN, ("DE", "FR", f"X{i}")),
                Clause(Attribute(("age",)), Op.GREATER_OR_EQUAL, (18 + i,)),
            ),
            "v2" if i < 3 else ramp("v2", 12_500, "v1"),
        )
        for i in range(4)
    ]
    return Flag(
        key,
        FlagKind.STRING,
        (Variant("v1", "one"), Variant("v2", "two")),
        ramp("v2", 12_500, "v1"),
        off_variant="v1",
        targets=(Targets("v2", tuple(f"tester-{i}" for i in range(5))),),
        rules=tuple(rules),
        tags=("team-payments",),
        version=3,
    )


#: A flag with something in every field.
FULL = Flag(
    "full",
    FlagKind.STRING,
    (Variant("v1", "one"), Variant("v2", "two")),
    Distribution((Weight("v1", WHOLE),), Bucketing(salt="s", seed=1, group="g"), Gate(5, Bucketing(), "v2")),
    off_variant="v1",
    targets=(Targets("v2", ("a",), "org"),),
    rules=(Rule("r", (Clause(Attribute(("a",)), Op.IN, ("x",), negate=True),), "v2", "why"),),
    prerequisites=(Prerequisite("other", ("on",)),),
    tags=("t",),
    description="d",
    archived=True,
    version=2,
)
