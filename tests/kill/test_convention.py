"""The convention, as properties: a kill only removes capability, in whatever order the lanes answer."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.evaluation_context import EvaluationContext

from flagbrake.kill.convention import (
    DENIES_TOOL,
    ENDS_RUN,
    REFUSES_RUN,
    STRICTNESS,
    Source,
    awaits_decision,
    context_scopes,
    covering,
    expired,
    flag_scopes,
    mode_of,
    refusing,
    rule,
    strictest,
    union,
)
from flagbrake.model.clause import Attribute
from flagbrake.model.kill import EVERYTHING, Kill, KillMode, OnExpiry, Scope, ScopeKind
from flagbrake.model.manifest import Declaration, ScopeAttribute
from tests.kill.support import AT, ENVIRONMENT, kill

parts = st.sampled_from(["a", "b", "ab", "a-b", "1"])
kinds = st.sampled_from([k for k in ScopeKind if k is not ScopeKind.EVERYTHING])
scopes = st.one_of(
    st.just(EVERYTHING),
    st.builds(Scope, kinds, st.lists(parts, min_size=1, max_size=3).map(".".join)),
)
variants = st.sampled_from(["v1", "v2", None])
kills = st.builds(
    Kill,
    id=st.sampled_from(["k1", "k2", "k3", "k4", "k5"]),
    scope=scopes,
    environment=st.just(ENVIRONMENT),
    reason=st.just("broken"),
    by=st.just("ann"),
    at=st.just(AT),
    epoch=st.integers(0, 5),
    mode=st.sampled_from(KillMode),
    serve=variants,
    serve_value=st.sampled_from([None, "one", "two"]),
    lane=st.sampled_from(["store", "vendor-flag"]),
    corrupt=st.booleans(),
)
several = st.lists(kills, max_size=5)
declarations = st.one_of(
    st.none(),
    st.builds(Declaration, flag=st.just("f"), safe_variant=variants, safe_value=st.sampled_from([None, "safe"])),
)


@given(scopes, scopes, scopes)
def test_covers_is_transitive(a, b, c):
    """If a covers b and b covers c then a covers c; every scope covers itself."""
    assert a.covers(a)
    if a.covers(b) and b.covers(c):
        assert a.covers(c)


@given(scopes, st.lists(parts, min_size=1, max_size=2))
def test_a_scope_covers_what_is_under_it_only(scope, below):
    """`agent:a` covers `agent:a.b` and not `agent:ab`; nothing narrower covers it back."""
    if scope.kind is ScopeKind.EVERYTHING:
        return
    under = Scope(scope.kind, ".".join([scope.path, *below]))
    assert scope.covers(under)
    assert not under.covers(scope)
    assert not scope.covers(Scope(scope.kind, scope.path + below[0]))


@given(several)
def test_the_strictest_wins_in_any_order(some):
    """The deciding kill does not depend on which lane answered first."""
    expected = strictest(some)
    if expected is None:
        assert not some
        return
    assert STRICTNESS[mode_of(expected)] == min(STRICTNESS[mode_of(k)] for k in some)
    if len(some) <= 4:
        for order in itertools.permutations(some):
            found = strictest(order)
            assert (found.id, found.lane, mode_of(found)) == (expected.id, expected.lane, mode_of(expected))


@given(several, kills, scopes, st.sampled_from([ENDS_RUN, REFUSES_RUN, DENIES_TOOL]))
def test_one_more_kill_only_refuses_more(some, more, scope, question):
    """What is refused stays refused when a kill is added, in every mode and for every question."""
    before = refusing(covering(some, [scope]), question)
    after = refusing(covering([*some, more], [scope]), question)
    if before is not None:
        assert after is not None


@given(several, kills, declarations)
def test_one_more_kill_never_brings_a_flag_back(some, more, declaration):
    """A killed flag stays killed, and the answer can only move towards the safe variant."""
    before, after = rule(some, declaration), rule([*some, more], declaration)
    assert after is not None
    if before is not None and declaration is not None and declaration.safe_variant:
        assert after.source is Source.SAFE or (
            mode_of(before.kill) is KillMode.FALLBACK and after.variant == before.variant
        )


@given(st.lists(several, max_size=3), scopes)
def test_the_effective_state_is_the_union_of_the_lanes(lanes, scope):
    """A scope is killed exactly if some lane kills it."""
    assert bool(covering(union(lanes), [scope])) == any(covering(lane, [scope]) for lane in lanes)


@given(several, declarations)
def test_a_ruling_does_not_depend_on_order(some, declaration):
    """The answer of a killed flag is the same in every process."""

    def answer(ruling):
        return ruling and (ruling.mode, ruling.source, ruling.variant)

    unique = list({(k.id, k.lane): k for k in some}.values())
    assert answer(rule(unique, declaration)) == answer(rule(unique[::-1], declaration))


DECLARED = Declaration("f", safe_variant="v1", safe_value="one")


def fallback(variant, **rest):
    return kill("flag:f", mode=KillMode.FALLBACK, serve=variant, **rest)


@pytest.mark.parametrize(
    ("some", "declaration", "source", "variant"),
    [
        ([kill("flag:f")], DECLARED, Source.SAFE, "v1"),
        ([kill("flag:f", serve="v0")], DECLARED, Source.SAFE, "v1"),
        ([kill("flag:f", serve="v0")], None, Source.NAMED, "v0"),
        ([kill("flag:f")], None, Source.OFF, None),
        ([fallback("v0")], DECLARED, Source.NAMED, "v0"),
        ([fallback("v0"), fallback("v0", ident="again")], DECLARED, Source.NAMED, "v0"),
        ([fallback("v0"), fallback("v2", ident="other")], DECLARED, Source.SAFE, "v1"),
        ([fallback("v0"), fallback("v2", ident="other")], None, Source.OFF, None),
        ([fallback("v0"), kill("agent:a", mode=KillMode.DENY_TOOL)], DECLARED, Source.SAFE, "v1"),
        ([fallback("v0"), kill("agent:a", mode=KillMode.DENY_TOOL)], None, Source.OFF, None),
        ([kill("agent:a", mode=KillMode.FALLBACK, serve="v0")], DECLARED, Source.SAFE, "v1"),
    ],
)
def test_what_a_killed_flag_serves(some, declaration, source, variant):
    """Declared safe variant, else the named one, else off; a fallback only alone and on flags."""
    ruling = rule(some, declaration)
    assert (ruling.source, ruling.variant) == (source, variant)
    assert ruling.undeclared == (source is Source.OFF)


def test_the_metadata_keys_are_those_of_the_convention():
    """Five keys and the mode; `safe` only where nothing was declared."""
    standing = {"killed", "kill_id", "kill_scope", "kill_reason", "kill_epoch", "kill_mode"}
    assert set(rule([kill("flag:f")], DECLARED).metadata()) == standing
    assert rule([kill("flag:f")], None).metadata() == {
        "killed": True,
        "kill_id": "k-flag:f",
        "kill_scope": "flag:f",
        "kill_reason": "broken",
        "kill_epoch": 1,
        "kill_mode": "halt",
        "safe": "undeclared",
    }


def test_a_corrupt_kill_halts_whatever_its_mode_says():
    """A row that cannot be read counts as the strictest."""
    assert mode_of(kill("flag:f", mode=KillMode.FALLBACK, serve="v2", corrupt=True)) is KillMode.HALT


def test_an_expired_kill_still_stands_and_is_marked():
    """Expiry never resurrects: the kill rules as before and is shown as expired."""
    made = kill("flag:f", expires_at=AT, on_expiry=OnExpiry.ASK)
    later = AT + timedelta(seconds=1)
    assert expired(made, later)
    assert awaits_decision(made, later)
    assert not awaits_decision(replace(made, on_expiry=OnExpiry.STAY), later)
    assert not expired(kill("flag:f"), later)
    assert rule([made], DECLARED) is not None


def test_scopes_of_a_flag_come_from_manifest_and_context():
    """flag:KEY always; the manifest's; tenant and the like from declared attributes."""
    declaration = Declaration(
        "agents.refunds",
        scopes=(Scope.parse("agent:refunds"),),
        scope_attributes=(
            ScopeAttribute(ScopeKind.TENANT, Attribute(("tenantId",))),
            ScopeAttribute(ScopeKind.VERSION, Attribute.parse("app:/build/version")),
            ScopeAttribute(ScopeKind.SERVICE, Attribute()),
            ScopeAttribute(ScopeKind.TENANT, Attribute.parse("/user:team")),
            ScopeAttribute(ScopeKind.MODEL, Attribute(("absent",))),
        ),
    )
    assert [str(s) for s in flag_scopes("agents.refunds", declaration)] == ["flag:agents.refunds", "agent:refunds"]
    attributes = {"tenantId": ["acme", 7], "app": {"build": {"version": "1.2"}}, "user": {"team": "red"}}
    context = EvaluationContext("svc", attributes)
    assert [str(s) for s in context_scopes(declaration, context)] == [
        "tenant:acme",
        "tenant:7",
        "version:1.2",
        "service:svc",
        "tenant:red",
    ]
    assert context_scopes(declaration, None) == ()
    assert context_scopes(declaration, EvaluationContext(None, {"app": "no mapping"})) == ()
