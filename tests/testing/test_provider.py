"""MemoryProvider: the test double is a real provider."""

from __future__ import annotations

import subprocess
import sys

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

from flagbrake.errors import InvalidInput
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Bucketing, Distribution, Flag, KeySet, Rule, Segment, Weight
from flagbrake.model.values import FlagKind
from flagbrake.testing import MemoryProvider
from tests.support.waiting import wait_until

EMPTY = EvaluationContext()


@pytest.fixture
def provider():
    made = MemoryProvider([Flag.boolean("checkout")])
    made.initialize(EMPTY)
    yield made
    made.shutdown()


def test_serves_what_was_put(provider):
    """A flag that was put in is seen by the next evaluation."""
    assert provider.resolve_boolean_details("checkout", False).value is True
    provider.put(Flag.boolean("checkout", default="off"))
    assert provider.resolve_boolean_details("checkout", True).value is False


@pytest.mark.parametrize("value", [True, False, "blue", 7, 2.5, {"a": [1]}, [1, 2]])
def test_set_makes_a_flag_on_the_fly(provider, value):
    """``set`` serves any value to everybody, whether the flag existed, with another kind, or not."""
    for key in ("checkout", "new"):
        flag = provider.set(key, value)
        answer = provider.resolve(key, EMPTY)
        assert answer.value == value
        assert type(answer.value) is type(value)
        assert answer.reason == Reason.STATIC
        assert provider.flags[key] == flag


def test_set_keeps_the_variants(provider):
    """A value that is one of the flag's variants is served under its own name."""
    provider.set("checkout", False)
    assert provider.resolve("checkout", EMPTY).variant == "off"
    assert provider.flags["checkout"].variant_names == ("on", "off")


def test_true_is_not_one(provider):
    """A variant 1 is not mistaken for the value True."""
    provider.set("n", 1)
    assert provider.set("n", True).kind is FlagKind.BOOLEAN


def test_remove(provider):
    """A removed flag is FLAG_NOT_FOUND with the caller's default; removing it twice does not matter."""
    provider.remove("checkout")
    provider.remove("checkout")
    details = provider.resolve_boolean_details("checkout", True)
    assert (details.value, details.error_code) == (True, "FLAG_NOT_FOUND")


def test_events_name_exactly_the_changed_flags():
    """Configuration-changed names the flags of one step, and the users of a changed segment, and no others."""
    in_segment = (Clause(Attribute(), Op.SEGMENT, ("vip",)),)
    provider = MemoryProvider([Flag.boolean("a"), Flag.boolean("b", rules=(Rule("r", in_segment, "off"),))])
    seen = []
    domain = "test_events"
    api.set_provider_and_wait(provider, domain)
    client = api.get_client(domain)
    handler = lambda details: seen.append(details.flags_changed)  # noqa: E731
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, handler)

    def told(change, *arguments):
        count = len(seen)
        change(*arguments)
        wait_until(lambda: len(seen) > count, why="the event did not come")

    try:
        told(provider.put, Flag.boolean("c"), Flag.boolean("a", default="off"))
        told(provider.remove, "c")
        provider.remove("c")  # says nothing
        told(provider.put_segment, Segment("vip", (KeySet(("u1",)),)))
        told(provider.remove_segment, "vip")
    finally:
        client.remove_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, handler)
    assert seen == [["a", "c"], ["c"], ["b"], ["b"]]


def test_a_bad_flag_is_refused_and_nothing_is_put(provider):
    """In a test a flag that cannot be evaluated is an error at once, and its companions are not put either."""
    split = Distribution((Weight("on", 50_000), Weight("off", 50_000)), Bucketing("sha0"))
    with pytest.raises(InvalidInput, match=r"flags\.bad\.default\.bucketing: Bucketing 'sha0' is not known"):
        provider.put(Flag.boolean("good"), Flag.boolean("bad", default=split))
    assert set(provider.flags) == {"checkout"}


def test_records_tracking():
    """``client.track`` is kept, with context and details."""
    provider = MemoryProvider()
    api.set_provider_and_wait(provider, "test_tracking")
    context = EvaluationContext("u1")
    api.get_client("test_tracking").track("paid", context, TrackingEventDetails(9.5, {"flag": "checkout"}))
    (event,) = provider.tracked
    assert (event.name, event.context.targeting_key, event.details.value) == ("paid", "u1", 9.5)


def test_import_is_light():
    """The pytest plugin costs a test run nothing: no evaluator, no SQLAlchemy, no murmur."""
    code = (
        "import sys, flagbrake.testing as t; "
        "heavy = {'sqlalchemy', 'mmh3', 'openfeature', 'flagbrake.evaluate', 'pytest'} & set(sys.modules); "
        "assert not heavy, heavy; t.MemoryProvider().set('a', True); "
        "assert 'sqlalchemy' not in sys.modules and 'mmh3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
