"""Names of reserved vendor flags: one for every scope, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagbrake.errors import InvalidInput
from flagbrake.model.kill import EVERYTHING, Scope, ScopeKind
from flagbrake.model.reserved import (
    LONGEST,
    is_reserved,
    kill_flag,
    looks_like_kill,
    manifest_flag,
    new_kill_flag,
    scope_of,
)

DOTS = st.sampled_from([".", "-"])
KINDS = st.sampled_from([kind for kind in ScopeKind if kind is not ScopeKind.EVERYTHING])
PARTS = st.one_of(
    st.text(st.sampled_from("ab-_.é0:/* 5F"), min_size=1, max_size=8),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8),
).map(lambda text: text.replace(".", "x"))
SCOPES = st.one_of(st.just(EVERYTHING), st.builds(Scope, KINDS, st.lists(PARTS, min_size=1, max_size=4).map(".".join)))
#: What a vendor allows in a name, by what stands for the dot.
ALLOWED = {".": r"[A-Za-z][A-Za-z0-9._-]*", "-": r"[A-Za-z][A-Za-z0-9_-]*"}


@given(SCOPES, DOTS)
def test_every_scope_comes_back(scope: Scope, dot: str):
    """A scope's name is read as that scope, whatever its path holds."""
    assert scope_of(kill_flag(scope, dot=dot), dot=dot) == scope


@given(SCOPES, SCOPES, DOTS)
def test_no_two_scopes_share_a_name(one: Scope, two: Scope, dot: str):
    """Different scopes have different names."""
    assert (kill_flag(one, dot=dot) == kill_flag(two, dot=dot)) == (one == two)


@given(SCOPES, DOTS)
def test_names_hold_what_vendors_allow(scope: Scope, dot: str):
    """A name begins with a letter and holds only what the vendor takes."""
    name = kill_flag(scope, dot=dot)
    assert re.fullmatch(ALLOWED[dot], name)
    assert is_reserved(name, dot=dot)


@given(st.text(st.sampled_from("kilagent.-_2DEefrx*"), max_size=20).map(lambda rest: f"kill.agent.{rest}"), DOTS)
def test_a_name_is_read_only_if_it_is_the_scopes_own(name: str, dot: str):
    """What is read gives the same name again; everything else is refused, not guessed."""
    try:
        scope = scope_of(name, dot=dot)
    except InvalidInput:
        return
    assert kill_flag(scope, dot=dot) == name


@pytest.mark.parametrize(
    ("scope", "dotted", "dashed"),
    [
        ("agent:refunds.tools", "kill.agent.refunds.tools", "kill-agent-refunds-tools"),
        ("flag:new-checkout", "kill.flag.new-checkout", "kill-flag-new_2Dcheckout"),
        ("flag:new_checkout", "kill.flag.new_5Fcheckout", "kill-flag-new_5Fcheckout"),
        ("tenant:Åse & Co", "kill.tenant._C3_85se_20_26_20Co", "kill-tenant-_C3_85se_20_26_20Co"),
        ("*", "kill.everything", "kill-everything"),
    ],
)
def test_names_as_people_see_them(scope: str, dotted: str, dashed: str):
    """The table, by example."""
    assert (kill_flag(Scope.parse(scope)), kill_flag(Scope.parse(scope), dot="-")) == (dotted, dashed)


@pytest.mark.parametrize(
    "name",
    [
        "kill.switch.payments",  # a team's own flag
        "kill.agent",
        "kill.agent.",
        "kill.agent.a..b",
        "kill.agent.a_5f",  # lower case
        "kill.agent.a_41",  # an A needs no escape
        "kill.agent.a_2E",  # nor does a dot
        "kill.agent._C3",  # half a character
        "kill.agent.a_",
        "kill.agent.é",
        "kill.everything.else",
        "kill.*",
        "kills.agent.a",
        "kill",
        "",
    ],
)
def test_other_names_are_refused(name: str):
    """A name that is not the canonical one of a scope kills nothing."""
    with pytest.raises(InvalidInput):
        scope_of(name)


def test_the_declarations_have_a_name_of_their_own():
    """The manifest flag is reserved, and no kill."""
    assert [manifest_flag(), manifest_flag(dot="-")] == ["flagbrake.manifest", "flagbrake-manifest"]
    assert is_reserved("flagbrake.manifest")
    assert not looks_like_kill("flagbrake.manifest")
    assert not is_reserved("flagbrake.manifests")
    assert not is_reserved("skill.agent.x")


def test_long_names_are_refused_where_they_are_written():
    """A name that vendors do not take is refused with its length; it can still be read."""
    scope = Scope(ScopeKind.AGENT, "a" * LONGEST)
    assert scope_of(kill_flag(scope)) == scope
    with pytest.raises(InvalidInput, match="111 characters"):
        new_kill_flag(scope)


def test_what_is_no_text_has_no_name():
    """Half of a surrogate pair is refused as input, not as a codec's error."""
    with pytest.raises(InvalidInput):
        kill_flag(Scope(ScopeKind.AGENT, "a\ud800"))
