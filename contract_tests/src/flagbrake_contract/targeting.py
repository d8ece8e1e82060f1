"""Who gets what: targets, rules, clauses, prerequisites, splits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from openfeature.exception import ErrorCode

from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Distribution, Prerequisite, Rule, Targets, Variant, Weight, ramp
from flagbrake.model.values import WHOLE, FlagKind
from flagbrake_contract.ask import ask, fails_with, succeeds, user
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness, plain
from flagbrake_contract.rules import Level, add, area, holds, rule, same

area(
    "targeting",
    "Targeting",
    repair="targets first, then rules in order, then the default; clauses as docs/reference of flagbrake.model.clause",
)
area(
    "splits",
    "Splits",
    repair="bucket the unit with the distribution's own algorithm, salt and attribute; lay the shares end to end",
)


def when(attribute: str, op: Op, *values: Any, negate: bool = False) -> Clause:
    """A clause in our dialect."""
    return Clause(Attribute.parse(attribute), op, values, negate)


def _ruled(h: Harness, *clauses: Clause) -> str:
    return h.serving("x", rules=(Rule("matched", clauses, "other"),)).key


_HIT: Final = "another text"


@dataclass(frozen=True, slots=True)
class Matches:
    """A clause that matches one set of attributes and not another."""

    name: str
    clause: Clause
    hit: dict[str, Any]
    miss: dict[str, Any]
    says: str


MATCHES: Final = (
    Matches("rule", when("plan", Op.IN, "pro"), {"plan": "pro"}, {"plan": "free"}, "A rule serves its variant."),
    Matches("several_values", when("plan", Op.IN, "pro", "max"), {"plan": "max"}, {"plan": "free"},
            "Several values of a clause mean any of them."),
    Matches("case_sensitive", when("plan", Op.IN, "pro"), {"plan": "pro"}, {"plan": "PRO"}, "Case matters."),
    Matches("missing_attribute", when("plan", Op.IN, "pro"), {"plan": "pro"}, {}, "A missing attribute is no match."),
    Matches("null_attribute", when("plan", Op.IN, "pro"), {"plan": "pro"}, {"plan": None}, "None is no match."),
    Matches("negated", when("plan", Op.IN, "pro", negate=True), {"plan": "free"}, {"plan": "pro"},
            "A negated clause matches what it did not."),
    Matches("negated_missing", when("plan", Op.IN, "pro", negate=True), {"plan": "free"}, {},
            "A missing attribute is no match, negated or not."),
    Matches("strict_types", when("level", Op.IN, 5), {"level": 5}, {"level": "5"}, '"5" is not 5.'),
    Matches("list_attribute", when("groups", Op.IN, "beta"), {"groups": ["a", "beta"]}, {"groups": ["a", "b"]},
            "A list attribute matches if any element does."),
    Matches("starts_with", when("mail", Op.STARTS_WITH, "ann@"), {"mail": "ann@x.org"}, {"mail": "bob@x.org"},
            "starts_with looks at the beginning."),
    Matches("ends_with", when("mail", Op.ENDS_WITH, "@x.org"), {"mail": "ann@x.org"}, {"mail": "ann@y.org"},
            "ends_with looks at the end."),
    Matches("contains", when("mail", Op.CONTAINS, "@x."), {"mail": "ann@x.org"}, {"mail": "ann@y.org"},
            "contains looks anywhere."),
    Matches("number", when("age", Op.GREATER_OR_EQUAL, 18), {"age": 18}, {"age": 17.9}, "Numbers compare as numbers."),
    Matches("less", when("age", Op.LESS, 18), {"age": 17}, {"age": 18}, "less excludes the bound."),
    Matches("less_missing", when("age", Op.LESS, 18), {"age": 17}, {}, "A missing number is not less than anything."),
    Matches("semver", when("app", Op.SEMVER_GREATER_OR_EQUAL, "2.10.0"), {"app": "2.10.1"}, {"app": "2.9.9"},
            "Versions compare by their parts, not as texts."),
    Matches("after", when("since", Op.AFTER, "2026-01-01T00:00:00Z"), {"since": datetime(2026, 6, 1, tzinfo=UTC)},
            {"since": datetime(2025, 6, 1, tzinfo=UTC)}, "A datetime compares as a moment."),
    Matches("after_text", when("since", Op.AFTER, "2026-01-01T00:00:00Z"), {"since": "2026-01-01T05:31:00+05:30"},
            {"since": "2026-01-01T05:29:00+05:30"}, "An RFC 3339 text is a moment, its offset counts."),
    Matches("after_naive", when("since", Op.AFTER, "2026-01-01T00:00:00Z"), {"since": datetime(2026, 6, 1)},  # noqa: DTZ001 - the case
            {"since": datetime(2025, 6, 1)}, "A naive datetime is a moment in UTC."),  # noqa: DTZ001 - the case
    Matches("datetime_no_number", when("since", Op.GREATER, 18), {"since": 19},
            {"since": datetime(2026, 6, 1, tzinfo=UTC)}, "A datetime is no number: it is not greater than one."),
    Matches("structure_no_text", when("org", Op.CONTAINS, "acme"), {"org": "acme corp"}, {"org": {"name": "acme"}},
            "A structure is no text: what its text would contain does not match."),
    Matches("nested", when("/org/plan", Op.IN, "pro"), {"org": {"plan": "pro"}}, {"org": {"plan": "free"}},
            "A path reads a nested attribute."),
    Matches("boolean", when("beta", Op.IS, True), {"beta": True}, {"beta": "true"}, "A boolean is a boolean."),
)  # fmt: skip


def _matches(row: Matches) -> None:
    def check(h: Harness) -> None:
        key = _ruled(h, row.clause)
        same(succeeds(ask(h.provider, key, "default", user("u", **row.hit))).value, _HIT, f"with {row.hit}")
        same(succeeds(ask(h.provider, key, "default", user("u", **row.miss))).value, "x", f"with {row.miss}")

    add(f"targeting.{row.name}", check, text=row.says, needs=(Cap.TARGETING,))


for _row in MATCHES:
    _matches(_row)


@rule(Cap.TARGETING)
def targeting_datetime_text(h: Harness) -> None:
    """A datetime compared with a text gives an answer, matching or not, and no error."""
    key = _ruled(h, when("since", Op.EQUAL, "2026-06-01T00:00:00+00:00"))
    same(succeeds(ask(h.provider, key, "default", user("u", since="2026-06-01T00:00:00+00:00"))).value, _HIT)
    for moment in (datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 1)):  # noqa: DTZ001 - the case
        answer = succeeds(ask(h.provider, key, "default", user("u", since=moment)), f"with {moment!r}")
        holds(answer.value in ("x", _HIT), expected=f"x or {_HIT}", came=answer.value)


@rule(Cap.TARGETING, witness=True)
def targeting_target(h: Harness) -> None:
    """A unit named in the targets gets their variant, everybody else the default."""
    flag = h.serving("x", targets=(Targets("other", ("ann", "bob")),))
    for unit, expected in (("ann", _HIT), ("bob", _HIT), ("cleo", "x"), ("Ann", "x"), ("ann ", "x")):
        same(succeeds(ask(h.provider, flag.key, "default", user(unit))).value, expected, f"unit {unit!r}")


@rule(Cap.TARGETING)
def targeting_zero_values(h: Harness) -> None:
    """A targeted zero value is served, not taken for nothing."""
    for value, zero in ((True, False), ("x", ""), (3, 0), (2.5, 0.0)):
        flag = plain(h.key("zero"), value, targets=(Targets("zero", ("ann",)),))
        h.put(_with_variant(flag, "zero", zero))
        default = {"bool": True, "str": "default", "int": 9, "float": 9.5}[type(value).__name__]
        same(succeeds(ask(h.provider, flag.key, default, user("ann"))).value, zero)


def _with_variant(flag: Any, name: str, value: Any) -> Any:
    from dataclasses import replace

    return replace(flag, variants=(*flag.variants, Variant(name, value)))


@rule(Cap.TARGETING)
def targeting_rule_and(h: Harness) -> None:
    """All clauses of a rule must match."""
    key = _ruled(h, when("plan", Op.IN, "pro"), when("country", Op.IN, "CH"))
    same(ask(h.provider, key, "default", user("u", plan="pro", country="CH")).value, _HIT)
    same(ask(h.provider, key, "default", user("u", plan="pro", country="DE")).value, "x")


@rule(Cap.TARGETING)
def targeting_first_rule(h: Harness) -> None:
    """The first rule that matches wins."""
    first = Rule("first", (when("plan", Op.IN, "pro"),), "served")
    second = Rule("second", (when("country", Op.IN, "CH"),), "other")
    key = h.serving("x", rules=(first, second)).key
    same(ask(h.provider, key, "default", user("u", plan="pro", country="CH")).value, "x")
    same(ask(h.provider, key, "default", user("u", country="CH")).value, _HIT)


@rule(Cap.TARGETING)
def targeting_target_before_rule(h: Harness) -> None:
    """Targets are asked before rules."""
    matching = Rule("matching", (when("plan", Op.IN, "pro"),), "other")
    key = h.serving("x", targets=(Targets("served", ("ann",)),), rules=(matching,)).key
    same(ask(h.provider, key, "default", user("ann", plan="pro")).value, "x")
    same(ask(h.provider, key, "default", user("bob", plan="pro")).value, _HIT)


@rule(Cap.TARGETING, Cap.STANDARD_REASONS, spec="2.2.5", level=Level.SHOULD)
def targeting_rule_reason(h: Harness) -> None:
    """A rule that serves one variant gives TARGETING_MATCH; falling through gives DEFAULT."""
    key = _ruled(h, when("plan", Op.IN, "pro"))
    same(str(ask(h.provider, key, "default", user("u", plan="pro")).reason), "TARGETING_MATCH")
    same(str(ask(h.provider, key, "default", user("u")).reason), "DEFAULT")


@rule(Cap.TARGETING)
def targeting_anonymous(h: Harness) -> None:
    """A rule over attributes needs no targeting key."""
    key = _ruled(h, when("plan", Op.IN, "pro"))
    same(succeeds(ask(h.provider, key, "default", user("", plan="pro"))).value, _HIT)


@rule(Cap.PREREQUISITES, witness=True)
def targeting_prerequisite(h: Harness) -> None:
    """A flag whose prerequisite serves another variant serves its off variant."""
    gate = h.serving("x")
    key = h.serving("x", prerequisites=(Prerequisite(gate.key, ("served",)),)).key
    same(succeeds(ask(h.provider, key, "default")).value, "x")
    h.serving("x", key=gate.key, default="other")
    same(succeeds(ask(h.provider, key, "default")).value, _HIT)


@rule(Cap.PREREQUISITES, Cap.DISABLED_FLAGS)
def targeting_prerequisite_off(h: Harness) -> None:
    """A prerequisite that is off has failed, whatever it serves."""
    gate = h.serving("x", on=False, off_variant="served")
    key = h.serving("x", prerequisites=(Prerequisite(gate.key, ("served",)),)).key
    same(succeeds(ask(h.provider, key, "default")).value, _HIT)


# --- splits -------------------------------------------------------------------------------------------------

_UNITS: Final = tuple(f"unit-{n}" for n in range(2000))


def _given(h: Harness, key: str) -> dict[str, Any]:
    return {unit: ask(h.provider, key, "default", user(unit)).value for unit in _UNITS}


@rule(Cap.SPLITS, witness=True)
def splits_shares(h: Harness) -> None:
    """A split of 30 % gives its variant to 30 % of 2,000 units, give or take five standard deviations."""
    key = h.serving("x", default=ramp("other", 30_000, "served")).key
    share = list(_given(h, key).values()).count(_HIT)
    holds(500 <= share <= 700, expected="500 to 700 of 2,000 units", came=f"{share}")


@rule(Cap.SPLITS)
def splits_sticky(h: Harness) -> None:
    """A unit gets the same variant at every call, also from another instance of the provider."""
    key = h.serving("x", default=ramp("other", 50_000, "served")).key
    first = _given(h, key)
    same(_given(h, key), first)
    with h.session() as another:
        for unit in _UNITS[:200]:
            same(ask(another.provider, key, "default", user(unit)).value, first[unit], f"unit {unit}")


@rule(Cap.SPLITS)
def splits_growing(h: Harness) -> None:
    """Growing a percentage never takes the variant away from a unit that had it."""
    key = h.key("growing")
    had: set[str] = set()
    for share in (0, 1_000, 5_000, 25_000, 50_000, WHOLE):
        h.serving("x", key=key, default=ramp("other", share, "served"))
        now = {unit for unit, value in _given(h, key).items() if value == _HIT}
        holds(had <= now, expected=f"all {len(had)} of the step before", came=f"{len(had - now)} lost at {share}")
        had = now
    same(len(had), len(_UNITS), "units at 100 %")


@rule(Cap.SPLITS)
def splits_zero(h: Harness) -> None:
    """At 0 % nobody gets the variant, at 100 % everybody."""
    key = h.key("bounds")
    h.serving("x", key=key, default=ramp("other", 0, "served"))
    same(set(_given(h, key).values()), {"x"})
    h.serving("x", key=key, default=ramp("other", WHOLE, "served"))
    same(set(_given(h, key).values()), {_HIT})


@rule(Cap.SPLITS)
def splits_independent(h: Harness) -> None:
    """Two flags split independently: being in one says nothing about the other."""
    one = h.serving("x", default=ramp("other", 50_000, "served")).key
    two = h.serving("x", default=ramp("other", 50_000, "served")).key
    first, second = _given(h, one), _given(h, two)
    agree = sum(first[unit] == second[unit] for unit in _UNITS)
    holds(850 <= agree <= 1150, expected="about half of 2,000 agree", came=f"{agree} agree")


@rule(Cap.SPLITS)
def splits_three(h: Harness) -> None:
    """A split may have more than two variants."""
    flag = _with_variant(plain(h.key("three"), "x"), "third", "third text")
    weights = (Weight("served", 20_000), Weight("other", 30_000), Weight("third", 50_000))
    from dataclasses import replace

    h.put(replace(flag, default=Distribution(weights)))
    given = list(_given(h, flag.key).values())
    for value, low, high in (("x", 300, 500), (_HIT, 500, 700), ("third text", 880, 1120)):
        holds(low <= given.count(value) <= high, expected=f"{low} to {high} x {value}", came=f"{given.count(value)}")


@rule(Cap.SPLITS, Cap.STANDARD_REASONS, spec="2.2.5", level=Level.SHOULD)
def splits_reason(h: Harness) -> None:
    """An answer out of a split says SPLIT."""
    key = h.serving("x", default=ramp("other", 50_000, "served")).key
    same(str(ask(h.provider, key, "default", user("u")).reason), "SPLIT")


@rule(Cap.SPLITS, Cap.TARGETING)
def splits_in_rule(h: Harness) -> None:
    """A rule may serve a split."""
    split = Rule("split", (when("plan", Op.IN, "pro"),), ramp("other", 50_000, "served"))
    key = h.serving("x", rules=(split,)).key
    pro = [ask(h.provider, key, "default", user(unit, plan="pro")).value for unit in _UNITS[:400]]
    holds(120 <= pro.count(_HIT) <= 280, expected="about half of 400", came=f"{pro.count(_HIT)}")
    same({ask(h.provider, key, "default", user(unit)).value for unit in _UNITS[:400]}, {"x"})


@rule(Cap.SPLITS, spec="2.2.7")
def splits_no_key(h: Harness) -> None:
    """A split cannot be decided without a targeting key: TARGETING_KEY_MISSING and the default."""
    key = h.serving("x", default=ramp("other", 50_000, "served")).key
    fails_with(
        ask(h.provider, key, "default", user(None, plan="pro")),  # type: ignore[arg-type]
        ErrorCode.TARGETING_KEY_MISSING,
        "default",
    )


@rule(Cap.SPLITS)
def splits_empty_key(h: Harness) -> None:
    """An empty targeting key is none: the SDK's own merge cannot tell them apart."""
    key = h.serving("x", default=ramp("other", 50_000, "served")).key
    fails_with(ask(h.provider, key, "default", user("")), ErrorCode.TARGETING_KEY_MISSING, "default")


@rule(Cap.SPLITS)
def splits_odd_units(h: Harness) -> None:
    """Long, blank and Unicode units are split like any other, without an error."""
    key = h.serving("x", default=ramp("other", 50_000, "served")).key
    for unit in (" ", "世界" * 10, "x" * 10_000, "a b c", "\u0000", "0"):
        succeeds(ask(h.provider, key, "default", user(unit)), f"unit {unit[:20]!r}")


@rule(Cap.SPLITS)
def splits_kinds(h: Harness) -> None:
    """Flags of every kind can be split."""
    for value, kind in (
        (True, FlagKind.BOOLEAN),
        (3, FlagKind.INTEGER),
        (2.5, FlagKind.FLOAT),
        ({"a": 1}, FlagKind.OBJECT),
    ):
        flag = h.serving(value, default=ramp("other", 50_000, "served"))
        answers = [succeeds(ask(h.provider, flag.key, None, user(u), kind=kind)).value for u in _UNITS[:60]]
        both = [v.value for v in flag.variants]
        holds(all(v in answers for v in both), expected="both values", came=f"{answers[:5]} ...")
