"""What every operator means in our dialect, and which fields of other dialects are honoured."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.evaluation_context import EvaluationContext

from flagbrake.errors import Unsupported
from flagbrake.evaluate import Ruleset, check
from flagbrake.model.clause import (
    DIALECTS,
    LAUNCHDARKLY,
    OURS,
    SPLIT,
    UNLEASH,
    Attribute,
    Case,
    Clause,
    Dates,
    ListMode,
    OnMissing,
    Op,
    Semver,
)
from tests.support.nouns import one_rule

EAST = timezone(timedelta(hours=2))


def matches(op, values, attributes, *, semantics=OURS, negate=False, attribute="x", key="u1"):
    clause = Clause(Attribute.parse(attribute), op, tuple(values), negate, semantics)
    rules = Ruleset({"checkout": one_rule(clause)})
    assert not rules.rejected, rules.rejected
    return rules.evaluate("checkout", EvaluationContext(key, attributes)).variant == "on"


YES_AND_NO = [
    # op, values, matching, not matching
    (Op.IN, ["DE", "FR"], ["DE", ["US", "FR"], ("DE",)], ["de", "D", "", 5, [], ["US"], {"DE": 1}]),
    (Op.IN, ["DE"], ["DE", ["DE", None]], ["FR", ["de"], True]),
    (Op.IN, [5], [5, 5.0, [1, 5]], ["5", 4, True, "5.0"]),
    (Op.IN, [1], [1, 1.0], [True, "1", [True]]),
    (Op.IN, [True], [True, [False, True]], [1, "true", False]),
    (Op.IN, ["5", 6], ["5", 6], [5, "6"]),
    (Op.IN, [], [], ["DE", 0, False, ""]),
    (Op.EQUAL, [5], [5, 5.0], ["5", True, 6]),
    (Op.EQUAL, ["pro"], ["pro"], ["Pro"]),
    (Op.STARTS_WITH, ["ab", "x"], ["abc", "x", ["q", "xy"]], ["bab", "", 5]),
    (Op.ENDS_WITH, ["@corp.com"], ["a@corp.com"], ["a@corp.com.evil", 1]),
    (Op.CONTAINS, ["b", "z"], ["abc", ["q", "z"]], ["", "xyy", 0]),
    (Op.MATCHES, [r"^a.c$", "qq"], ["abc", "xqqx"], ["abcd", 5, ""]),
    (Op.LESS, [18], [17, 17.9, -1, [40, 3]], [18, "17", True, 18.0]),
    (Op.LESS, [5, 18], [17], [18]),
    (Op.LESS_OR_EQUAL, [18], [18, 18.0], [18.1, "18"]),
    (Op.GREATER, [18, 65], [19], [18, True, "19", float("nan")]),
    (Op.GREATER_OR_EQUAL, [18], [18, 2**80], [17]),
    (Op.LESS, [], [], [1]),
    (Op.BETWEEN, [1, 3], [1, 2.5, 3], [0, 4, "2", True]),
    (Op.IS, [True], [True], [False, 1, "true", "True"]),
    (Op.IS, [False], [False], [True, 0, "false", ""]),
    (
        Op.AFTER,
        ["2026-06-01T00:00:00Z"],
        [
            "2026-06-01T00:00:01Z",
            "2026-06-01T01:00:00+00:30",
            datetime(2026, 6, 1, 0, 0, 1),  # noqa: DTZ001 - naive is UTC
            datetime(2026, 6, 1, 2, 0, 1, tzinfo=EAST),
            1780272001000,
            1780272001000.0,
        ],
        [
            "2026-06-01T00:00:00Z",
            "2026-06-01T02:00:00+02:00",
            datetime(2026, 6, 1, 2, tzinfo=EAST),
            datetime(2026, 6, 1),  # noqa: DTZ001
            "2026-06-02",
            "2026-06-02T00:00:00",
            "2026-02-30T00:00:00Z",
            "tomorrow",
            1780272000000,
            1780272001,
            True,
            float("inf"),
        ],
    ),
    (Op.BEFORE, [1780272000000], ["2026-05-31T23:59:59.999Z", 0], ["2026-06-01T00:00:00Z"]),
    (Op.ON_OR_AFTER, ["2026-06-01T00:00:00Z"], ["2026-06-01T00:00:00z"], ["2026-05-31T23:59:59Z"]),
    (Op.ON_OR_BEFORE, ["2026-06-01T00:00:00Z"], ["2026-06-01 00:00:00Z"], ["2026-06-01T00:00:01Z"]),
    (Op.ON, ["2026-06-01T12:00:00Z"], ["2026-06-01T00:00:00Z", "2026-06-02T01:00:00+02:00"], ["2026-06-02T00:00:00Z"]),
    (
        Op.BETWEEN_DATES,
        ["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"],
        ["2026-02-01T00:00:00Z"],
        ["2025-12-31T23:59:59Z"],
    ),
    (
        Op.SEMVER_EQUAL,
        ["2.0.0"],
        ["2.0.0", "2.0.0+build1"],
        ["2.0", "2", "v2.0.0", " 2.0.0", "2.0.0-rc.1", 2, "02.0.0"],
    ),
    (Op.SEMVER_LESS, ["1.0.0"], ["1.0.0-alpha", "0.9.9", "1.0.0-rc.1"], ["1.0.0", "1.0", "x"]),
    (Op.SEMVER_GREATER, ["1.0.0-alpha.9"], ["1.0.0-alpha.10", "1.0.0-beta", "1.0.0"], ["1.0.0-alpha.9", "1.0.0-9"]),
    (Op.SEMVER_GREATER_OR_EQUAL, ["1.9.0"], ["1.10.0", "1.9.0"], ["1.8.99"]),
    (Op.SEMVER_LESS_OR_EQUAL, ["1.9.0"], ["1.9.0"], ["1.10.0"]),
    (Op.SEMVER_BETWEEN, ["1.0.0", "2.0.0"], ["1.0.0", "1.5.0", "2.0.0"], ["2.0.1", "0.9.0", "2.0"]),
    (Op.SEMVER_IN, ["1.0.0", "2.0.0"], ["2.0.0"], ["1.5.0"]),
    (Op.SET_ANY, ["a", 1], [["x", "a"], "a", [1.0]], [["b"], [], [True], "1"]),
    (Op.SET_ALL, ["a", "b"], [["a", "b", "c"]], [["a"], "a", []]),
    (Op.SET_EQUAL, ["a", "b"], [["b", "a", "a"]], [["a", "b", "c"], ["a"], []]),
    (Op.SET_PART, ["a", "b"], [["a"], "b", ["a", "b"]], [["a", "c"], []]),
    (Op.IN_CIDR, ["10.0.0.0/8", "2001:db8::/32"], ["10.1.2.3", "2001:db8::1"], ["11.0.0.1", "::1", "ten", 10]),
    (Op.PRESENT, [], ["", 0, False, [], "x"], []),
    (Op.ALWAYS, [], ["x"], []),
]


def numbered(cases):
    """Test ids: the operator and its place in the table."""
    return [f"{case[0]}-{index}" for index, case in enumerate(cases)]


@pytest.mark.parametrize(("op", "values", "yes", "no"), YES_AND_NO, ids=numbered(YES_AND_NO))
def test_our_dialect(op, values, yes, no):
    """Types are strict, lists match by any element, and a negation is the opposite for everything present."""
    for value in yes:
        assert matches(op, values, {"x": value}), value
        assert not matches(op, values, {"x": value}, negate=True), value
    for value in no:
        assert not matches(op, values, {"x": value}), value
        assert matches(op, values, {"x": value}, negate=True), value


EVERY = [(op, values) for op, values, _, _ in YES_AND_NO if op not in {Op.PRESENT, Op.ALWAYS}]


@pytest.mark.parametrize(("op", "values"), EVERY, ids=numbered(EVERY))
def test_a_missing_attribute_matches_nothing(op, values):
    """Absent or null, nested or not: no match, negated or not."""
    for attribute in ("x", "/x/y", "org:x"):
        for attributes in ({}, {"x": None}, {"org": {}}, {"org": "text"}, {"x": {"y": None}}):
            for negate in (True, False):
                if attribute == "x" and attributes.get("x") is not None:
                    continue
                assert not matches(op, values, attributes, attribute=attribute, negate=negate)


def test_present_asks_for_absence_itself():
    """The one operator that is true, negated, for a missing attribute."""
    assert matches(Op.PRESENT, [], {}, negate=True)
    assert matches(Op.PRESENT, [], {"x": None}, negate=True)
    assert not matches(Op.PRESENT, [], {})


def test_texts_of_other_types():
    """A member of a string enumeration is its text; a list may hold what no operator compares with."""
    assert matches(Op.IN, ["in", "b"], {"x": Op.IN})
    assert matches(Op.IN, ["in"], {"x": [None, {}, Op.IN]})
    assert not matches(Op.IN, ["in"], {"x": Op.IN}, negate=True)


def test_where_attributes_are_read():
    """Own, nested, of another context kind, the key itself; a dot has no meaning."""
    for attribute, attributes in [
        ("x", {"x": "v"}),
        ("a.b", {"a.b": "v"}),
        ("/a/b", {"a": {"b": "v"}}),
        ("/a/b", {"a": MappingProxyType({"b": "v"})}),
        ("org:name", {"org": {"name": "v"}}),
        ("org:targetingKey", {"org": {"targetingKey": "v"}}),
        ("org:/unit/id", {"org": {"unit": {"id": "v"}}}),
        ("/user:name", {"user": {"name": "v"}}),
        ("/user:/unit/id", {"user": {"unit": {"id": "v"}}}),
    ]:
        assert matches(Op.IN, ["v"], attributes, attribute=attribute)
        assert not matches(Op.IN, ["v"], {"b": "v", "name": "v"}, attribute=attribute)
    assert matches(Op.IN, ["u1"], {}, attribute="targetingKey")
    assert not matches(Op.IN, [""], {}, attribute="targetingKey", key="")


def test_fields_of_other_dialects():
    """Missing, lists, case and lenient versions are honoured wherever they are written."""
    lax = replace(OURS, on_missing=OnMissing.AS_FALSE)
    assert matches(Op.IN, ["v"], {}, negate=True, semantics=lax)
    assert not matches(Op.IN, ["v"], {}, semantics=lax)
    alone = replace(OURS, list_mode=ListMode.NONE)
    assert not matches(Op.IN, ["v"], {"x": ["v"]}, semantics=alone)
    assert matches(Op.IN, ["v"], {"x": ["v"]}, semantics=alone, negate=True)
    folded = replace(OURS, case=Case.INSENSITIVE)
    for op, value in [
        (Op.IN, "STRASSE"),
        (Op.STARTS_WITH, "Str"),
        (Op.ENDS_WITH, "SSE"),
        (Op.CONTAINS, "RAß"),
        (Op.SET_ANY, "straße"),
    ]:
        assert matches(op, [value], {"x": "straße"}, semantics=folded), op
    assert matches(Op.MATCHES, ["^STR"], {"x": "straße"}, semantics=folded)
    for version, equal in [("2", True), ("2.0", True), ("2.0.0", True), ("v2", False), ("2.0.0.0", False)]:
        assert matches(Op.SEMVER_EQUAL, ["2.0.0"], {"x": version}, semantics=LAUNCHDARKLY) is equal


@pytest.mark.parametrize(
    ("op", "values", "semantics"),
    [
        (Op.IN, ("x",), replace(UNLEASH, list_mode=ListMode.ANY)),
        (Op.IN, ("x",), replace(SPLIT, case=Case.INSENSITIVE)),
        (Op.IN_CIDR, ("10.0.0.0/8",), SPLIT),
        (Op.SET_ANY, ("x",), UNLEASH),
        (Op.MATCHES, ("[a&&b]",), UNLEASH),
        (Op.SEMVER_EQUAL, ("1.0.0",), replace(SPLIT, semver=Semver.STRICT)),
        (Op.SEMVER_EQUAL, ("1.0.0",), replace(OURS, semver=Semver.SPLIT)),
        (Op.AFTER, (5,), replace(SPLIT, dates=Dates.ISO)),
        (Op.AFTER, (5,), replace(OURS, dates=Dates.EPOCH_SECONDS)),
        (Op.AFTER, ("2026-06-01T00:00:00Z",), replace(UNLEASH, dates=Dates.RFC3339_OR_MILLIS)),
        (Op.SEMVER_EQUAL, ("1.0.0",), replace(UNLEASH, semver=Semver.LENIENT)),
    ],
)
def test_what_is_not_honoured_is_refused(op, values, semantics):
    """Semantics that would need another reading are Unsupported when loaded, never a quiet false."""
    with pytest.raises(Unsupported, match=r"flags\.checkout\.rules\[0\]\.when\[0\]: .* cannot be evaluated (yet|here)"):
        check(one_rule(Clause(Attribute(("x",)), op, values, semantics=semantics)))


def test_every_dialect_has_the_valueless_operators():
    """Present and always mean the same everywhere."""
    for semantics in DIALECTS.values():
        assert matches(Op.PRESENT, [], {"x": 1}, semantics=semantics)
        assert matches(Op.ALWAYS, [], {}, semantics=semantics)


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.datetimes()
    | st.binary(max_size=2)
)
anything = anything | st.lists(anything, max_size=3) | st.dictionaries(st.text(max_size=2), anything, max_size=2)


@given(st.sampled_from([c for c in YES_AND_NO if c[0] is not Op.ALWAYS]), anything, st.booleans())
def test_no_attribute_breaks_a_clause(case, value, negate):
    """Whatever stands in an attribute, a clause answers; negation is the opposite unless it is missing."""
    op, values, _, _ = case
    plain = matches(op, values, {"x": value}, negate=negate)
    opposite = matches(op, values, {"x": value}, negate=not negate)
    assert plain is not opposite or (value is None and not plain and op is not Op.PRESENT)
