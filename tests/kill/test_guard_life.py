"""The guard's life: lifecycle, events, hooks, tracking, nesting, threads."""

from __future__ import annotations

import threading
import timeit
from functools import partial

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ProviderFatalError
from openfeature.hook import Hook
from openfeature.provider import ProviderStatus
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from openfeature.track import TrackingEventDetails

from flagbrake.kill.board import Board
from flagbrake.kill.guard import Guard
from flagbrake.model.clause import Attribute
from flagbrake.model.kill import Scope, ScopeKind
from flagbrake.model.manifest import Declaration, ScopeAttribute
from tests.kill.ours import Ours, details
from tests.kill.support import ENVIRONMENT, LaneInHand, declared
from tests.support.waiting import wait_until


class Lively(Ours):
    def __init__(self):
        super().__init__()
        self.tracked = []
        self.stopped = 0

    def stop(self):
        self.stopped += 1

    def get_provider_hooks(self):
        return [self.hook]

    def track(self, tracking_event_name, evaluation_context=None, tracking_event_details=None):
        self.tracked.append((tracking_event_name, evaluation_context.targeting_key, tracking_event_details.value))

    class _Count(Hook):
        def __init__(self):
            self.calls = 0

        def before(self, hook_context, hints):
            self.calls += 1

    hook = _Count()


def listen(client, event):
    heard = []
    client.add_handler(event, heard.append)
    return heard


def test_events_of_the_inner_provider_come_out_as_the_guards(serve, lane):
    """STALE and READY change the status of the registered provider; flags_changed is kept."""
    inner = Lively()
    client, _ = serve(inner)
    changed = listen(client, ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    inner.emit_provider_stale(ProviderEventDetails())
    assert client.get_provider_status() is ProviderStatus.STALE
    inner.emit_provider_ready(ProviderEventDetails())
    assert client.get_provider_status() is ProviderStatus.READY
    inner.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=["text"]))
    wait_until(lambda: changed, why="the event")
    assert changed[0].flags_changed == ["text"]


def test_kills_are_configuration_changes_of_the_flags_they_touch(serve, board):
    """The event names exactly the flags whose answer the kill may change, once per change."""
    lane = LaneInHand(
        board,
        manifest=declared(
            Declaration("text", scopes=(Scope.parse("agent:refunds"),)),
            Declaration("count"),
            Declaration("ratio", scope_attributes=(ScopeAttribute(ScopeKind.TENANT, Attribute(("tenantId",))),)),
        ),
    )
    client, _ = serve(Ours())
    changed = listen(client, ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)

    def next_change(n):
        wait_until(lambda: len(changed) >= n, why=f"event {n}")
        return changed[n - 1].flags_changed

    made = lane.kill("agent:refunds")
    assert next_change(1) == ["text"]
    lane.lift(made)
    assert next_change(2) == ["text"]
    lane.kill("flag:switch")
    assert next_change(3) == ["switch"]
    lane.kill("tenant:acme")
    assert next_change(4) == ["ratio"]
    lane.kill("*")
    assert next_change(5) == ["count", "ratio", "switch", "text"]
    lane.say()
    assert len(changed) == 5


def test_lifecycle_hooks_and_name_are_the_inner_providers(serve, lane, domain):
    """Initialised and shut down once each, hooks run, the client shows the inner name."""
    inner = Lively()
    Lively.hook.calls = 0
    client, guard = serve(inner)
    assert inner._serving
    details(client, "text")
    assert Lively.hook.calls == 1
    assert guard.get_metadata().name == "ours"
    api.set_provider_and_wait(InMemoryProvider({}), domain)
    wait_until(lambda: inner.stopped == 1, why="the inner provider is shut down")
    assert not guard.board._late, "the guard no longer listens"


def test_a_provider_that_cannot_start_fails_as_itself(board, domain):
    """The error of the inner initialize reaches the SDK with its own code."""

    class Refused(Ours):
        def start(self, context):
            raise ProviderFatalError("key rejected")

    with pytest.raises(ProviderFatalError):
        api.set_provider_and_wait(Guard(Refused(), board), domain)
    assert api.get_client(domain).get_provider_status() is ProviderStatus.FATAL
    assert api.get_client(domain).get_string_value("text", "default") == "default"


def test_tracking_goes_to_the_provider_and_to_the_outcomes(serve, lane):
    """Both get every call; one that fails does not keep it from the other."""
    got = []
    inner = Lively()
    client, _ = serve(inner, tracker=lambda *arguments: got.append(arguments))
    client.track("paid", EvaluationContext("u"), TrackingEventDetails(9.5))
    assert inner.tracked == [("paid", "u", 9.5)]
    assert got[0][0] == "paid"
    inner.tracked = None
    client.track("paid", EvaluationContext("u"), TrackingEventDetails(9.5))
    assert len(got) == 2


def test_evaluated_flags_are_remembered(serve, lane):
    """For the check at a change of vendor: every key that was asked for, bounded."""
    seen: set[str] = set()
    client, guard = serve(Ours(), seen=seen)
    details(client, "text")
    assert seen == {"text"}
    for n in range(11_000):
        guard.resolve_string_details(f"made-up-{n}", "")
    assert len(seen) == 10_000


def test_guards_nest(serve, board, lane):
    """A guard is a provider: one around another asks through it."""
    client, _ = serve(Guard(Ours(), Board(ENVIRONMENT)))
    lane.kill("flag:text")
    assert details(client, "text").value == "old"


def test_killing_while_sixteen_threads_evaluate(serve, board):
    """Every answer is wholly the old or wholly the safe one; after the kill none is the old one."""
    client, _ = serve(Ours())
    lane = LaneInHand(board, manifest=declared(Declaration("text", safe_variant="v1", safe_value="old")))
    wrong, killed, stop = [], threading.Event(), threading.Event()

    def ask():
        while not stop.is_set():
            after = killed.is_set()
            answer = details(client, "text")
            whole = (answer.value, answer.variant, bool(answer.flag_metadata.get("killed")))
            if whole not in {("new", "v2", False), ("old", "v1", True)} or (after and whole[0] == "new"):
                wrong.append(whole)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    lane.kill("flag:text")
    killed.set()
    wait_until(lambda: details(client, "text").value == "old")
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_guard_is_cheap(board, lane):
    """Beside the bare provider: a fraction of a microsecond, killed elsewhere or not."""
    inner = InMemoryProvider({"text": InMemoryFlag("on", {"on": "new"})})
    guard = Guard(inner, board)
    context = EvaluationContext("u")

    def cost(provider):
        ask = provider.resolve_string_details
        call = partial(ask, flag_key="text", default_value="", evaluation_context=context)
        return timeit.timeit(call, number=100) / 100

    def compare():
        costs = [(cost(inner), cost(guard)) for _ in range(300)]
        bare, guarded = (min(c) * 1e9 for c in zip(*costs, strict=True))
        return bare, guarded - bare

    bare, quiet = compare()
    lane.kill("flag:other")
    _, busy = compare()
    print(f"bare {bare:.0f} ns, guard +{quiet:.0f} ns, while another flag is killed +{busy:.0f} ns")
    assert quiet < bare
    assert busy < 2 * bare
