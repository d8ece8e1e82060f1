"""A kill in an environment that nobody has, or may have: a typing error is told, and keeps no kill from being made."""

from __future__ import annotations

import pytest

from flagbrake.errors import (
    KillUnheard,
    NotFound,
    VendorUnavailable,
)
from flagbrake.model.kill import Scope, ScopeKind
from tests.control.conftest import Bench
from tests.control.doubles import TableControl, agent_flag

KEY = "agents.refunds"
AGENT = Scope(ScopeKind.AGENT, "refunds")


def test_the_wrong_environment_is_no_success(opened, bench):
    """Listeners of another environment do not count, and the error names the environment."""
    bench.listen("one")
    staging = Bench(opened("flags", "staging"))
    staging.seed(agent_flag())
    with pytest.raises(KillUnheard, match="staging"):
        staging.switch().kill(KEY, by="ann", reason="x")
    assert bench.store.kills.read().kills == ()


class Placed(TableControl):
    """A vendor that knows its environments."""

    def __init__(self, *flags, answer=None):
        super().__init__(*flags)
        self.answer = answer or NotFound("Acme has no environment 'tset'.", cure="test")

    def check_place(self):
        raise self.answer


def test_an_environment_that_is_a_typing_error(opened):
    """Nobody ever wrote there, nobody listens, the vendor does not have it: nothing is killed, armed or not."""
    bench = Bench(opened("flags", "tset"))
    switch = bench.switch(control=Placed(agent_flag()))
    for target in (KEY, "*"):
        with pytest.raises(NotFound, match=r"nobody listens there: Acme has no environment 'tset'; .* Try: test"):
            switch.kill(target, by="ann", reason="x")
    with pytest.raises(NotFound, match="nothing was killed"):
        switch.kill(KEY, by="ann", reason="x", arm=True)
    assert bench.store.environments() == []
    assert switch.kill("agent:refunds", by="ann", reason="x", arm=True).kill.scope == AGENT, "who insists is believed"


def test_an_environment_that_may_be_one(opened):
    """A vendor that does not say, a process that listens, something ever written: each is enough to kill there."""
    away = VendorUnavailable("Acme does not answer.")
    bench = Bench(opened("flags", "tset"))
    assert bench.switch(control=Placed(agent_flag(), answer=away)).kill(KEY, by="ann", reason="x", arm=True).kill
    assert bench.switch(control=Placed(agent_flag())).kill(KEY, by="ann", reason="written", arm=True).kill
    other = Bench(opened("other", "tset"))
    other.listen("one")
    try:
        assert other.switch(control=Placed(agent_flag())).kill(KEY, by="ann", reason="x").hearing.complete
    finally:
        other.followers.pop().close()
