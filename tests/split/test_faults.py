"""Split's bad days, as an agent lives through them: nothing is lost, nobody gets an exception, and the state is told.

What becomes of writes on such days is in test_control_refusals.py.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from openfeature.exception import ErrorCode
from openfeature.provider import ProviderStatus

from flagbrake.errors import RetryLater
from flagbrake.model.state import SetOn
from flagbrake_split.emulator import SplitEmulator, wire
from flagbrake_split.emulator.publisher import topic
from tests.split.controlling import control_of
from tests.split.vendor import ENVIRONMENT, Vendor, vendor
from tests.support.waiting import wait_until
from tests.support.watching import CHANGED, ERROR, READY, STALE, Watched, watched


def put(split: SplitEmulator, serves: str, name: str = "model", **more: Any) -> None:
    """A flag that serves this to everybody, ``one`` while it is killed."""
    definition = {
        "name": name,
        "treatments": [{"name": "one"}, {"name": "two"}, {"name": "three"}],
        "defaultTreatment": "one",
        "defaultRule": [{"treatment": serves, "size": 100}],
        **more,
    }
    split.put_definition(definition, ENVIRONMENT)


def members_get_two(segment: str) -> dict[str, Any]:
    """More of a definition: who is in the segment gets ``two``."""
    return {"treatments": [{"name": "one"}, {"name": "two", "segments": [segment]}]}


@pytest.fixture
def account() -> Iterator[Vendor]:
    """An emulator of one's own with the flag ``model`` in it."""
    with vendor() as made:
        put(made.emulator, "one")
        yield made


@contextmanager
def an_agent(account: Vendor, **options: Any) -> Iterator[Watched]:
    """An agent that knows the flag and has the stream."""
    with watched(account.provider(**options)) as seen:
        assert seen.value() == "one"
        assert account.emulator.wait_for(lambda: account.emulator.streams == 1)
        seen.told.clear()
        yield seen


@pytest.fixture
def agent(account: Vendor) -> Iterator[Watched]:
    """The same."""
    with an_agent(account) as seen:
        yield seen


# --- the stream -------------------------------------------------------------------------------------------------


def test_a_stream_cut_between_commit_and_message(account: Vendor, agent: Watched) -> None:
    """The message of a change goes down with the stream: it is asked for, and as the data flows nothing is stale."""
    account.emulator.publisher.cut_before_next()
    put(account.emulator, "two")
    agent.await_value("two")
    assert account.emulator.wait_for(lambda: account.emulator.streams == 1)
    put(account.emulator, "three")
    agent.await_value("three")
    assert agent.states() == []


@pytest.mark.parametrize("clean", [True, False])
def test_a_stream_that_breaks_again_and_again(account: Vendor, agent: Watched, *, clean: bool) -> None:
    """Each time it is opened again, and no change is lost in between."""
    for round_, serves in enumerate(("two", "three", "one", "two")):
        assert account.emulator.wait_for(lambda: account.emulator.streams == 1), round_
        account.emulator.cut(clean=clean)
        put(account.emulator, serves)
        agent.await_value(serves)
    assert agent.states() == []


def test_tokens_expire() -> None:
    """A token that ends every second is renewed again and again: changes go on arriving by stream, nothing is told."""
    with vendor(token_lifetime=601) as account:
        put(account.emulator, "one")
        with an_agent(account, refresh=600.0) as agent:
            tokens = account.emulator.sdk_plane._tokens
            for serves in ("two", "three", "two"):
                before = len(tokens)
                wait_until(lambda before=before: len(tokens) > before, why="another token")
                put(account.emulator, serves)
                agent.await_value(serves)
            assert agent.states() == []


def test_a_token_that_has_expired(account: Vendor, agent: Watched) -> None:
    """The stream's own word for it: a new token and a new stream, and what changed meanwhile."""
    account.emulator.publisher.error(40142)
    put(account.emulator, "two")
    agent.await_value("two")
    put(account.emulator, "three")
    agent.await_value("three")
    assert agent.states() == []


@pytest.mark.parametrize("status", [401, 429, 503])
@pytest.mark.parametrize("path", ["/event-stream", "/api/v2/auth"])
def test_no_stream_to_be_had(account: Vendor, agent: Watched, path: str, status: int) -> None:
    """While there is no token or no stream, it is polled: changes arrive, nothing is stale; then it is streamed."""
    fault = account.emulator.faults.add(path, status=status)
    account.emulator.cut()
    wait_until(lambda: fault.met >= 3, why="several attempts")
    put(account.emulator, "two")
    agent.await_value("two")
    account.emulator.faults.clear()
    assert account.emulator.wait_for(lambda: account.emulator.streams == 1)
    assert agent.states() == []


def test_a_stream_that_is_refused_is_opened_later(
    account: Vendor, agent: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection itself is refused, as by a firewall: it is tried on, and opened when that ends."""
    refused: list[str] = []

    class Firewall(http.client.HTTPConnection):
        def connect(self) -> None:
            refused.append(self.host)
            raise ConnectionRefusedError

    with monkeypatch.context() as patched:
        patched.setattr("splitio.push.sse.HTTPConnection", Firewall)
        account.emulator.cut()
        wait_until(lambda: len(refused) >= 3, why="several attempts")
        put(account.emulator, "two")
        agent.await_value("two")
    assert account.emulator.wait_for(lambda: account.emulator.streams == 1)
    assert agent.states() == []


def test_a_stream_that_ended_before_it_was_noted(account: Vendor, agent: Watched) -> None:
    """The SDK notes that it has a stream after that has ended already, as two of its threads may: it opens another."""
    fault = account.emulator.faults.add("/api/v2/auth", status=503)
    account.emulator.cut()
    wait_until(lambda: fault.met >= 2, why="several attempts")
    agent.provider._connection._factory._sync_manager._push._running = True  # type: ignore[attr-defined]
    account.emulator.faults.clear()
    assert account.emulator.wait_for(lambda: account.emulator.streams == 1)


@pytest.mark.parametrize("kind", ["STREAMING_PAUSED", "STREAMING_DISABLED"])
def test_streaming_is_stopped_by_the_vendor(account: Vendor, agent: Watched, kind: str) -> None:
    """The vendor pauses or ends streaming: changes arrive by polling."""
    account.emulator.publisher.control(kind)
    account.emulator.publisher.hold()
    put(account.emulator, "two")
    agent.await_value("two")
    assert agent.states() == []


def test_nobody_publishes(account: Vendor, agent: Watched) -> None:
    """No publisher is left at the streaming service: changes arrive by polling; then by stream again."""
    account.emulator.publisher.occupancy(0)
    account.emulator.publisher.hold()
    put(account.emulator, "two")
    agent.await_value("two")
    account.emulator.publisher.release()
    account.emulator.publisher.occupancy(2)
    put(account.emulator, "three")
    agent.await_value("three")
    assert agent.states() == []


# --- messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instant", [None, *wire.Instant])
def test_messages_in_the_wrong_order(account: Vendor, agent: Watched, instant: wire.Instant | None) -> None:
    """The newer change is told first: it is served, and the older one does not come back."""
    publisher = account.emulator.publisher
    publisher.instant = instant
    publisher.hold()
    for serves in ("two", "one", "three"):
        put(account.emulator, serves)
    assert publisher.release(backwards=True) == 3
    agent.await_value("three")
    put(account.emulator, "two", "last")
    agent.await_value("two", "last")
    assert agent.value() == "three"


def test_a_message_that_follows_on_nothing(account: Vendor, agent: Watched) -> None:
    """A flag inside a message that names another change before it than the one that is known: it is not taken; asked
    for, it is.
    """
    emulator = account.emulator
    put(emulator, "two")
    agent.await_value("two")
    plane = emulator.state.planes[ENVIRONMENT]
    old = {**emulator.state.split(plane, plane.live["model"]), "defaultTreatment": "three", "killed": True}
    number = emulator.change_number(ENVIRONMENT)
    for before in (number - 7, number + 60_000):  # which the next change will not be: its number is a time in ms
        update = wire.split_update(number + 1, before=before, split={**old, "changeNumber": number + 1})
        emulator.hub.publish(topic(ENVIRONMENT, "splits"), wire.message(topic(ENVIRONMENT, "splits"), update, now=1))
    put(emulator, "one", "last")
    agent.await_value("one", "last", timeout=20)
    assert agent.value() == "two"


@pytest.mark.parametrize("damage", ["!", "bm90IHpsaWI="])
def test_a_message_that_cannot_be_read(account: Vendor, agent: Watched, damage: str) -> None:
    """The flag inside a message is damaged on its way: the change is asked for."""
    emulator = account.emulator
    emulator.publisher.hold()
    before = emulator.change_number(ENVIRONMENT)
    put(emulator, "two")
    update = {**wire.split_update(emulator.change_number(ENVIRONMENT)), "pcn": before, "c": 2, "d": damage}
    channel = topic(ENVIRONMENT, "splits")
    emulator.hub.publish(channel, wire.message(channel, update, now=time.time_ns() // 1_000_000))
    agent.await_value("two")


def test_a_download_that_fails_once(account: Vendor, agent: Watched) -> None:
    """A change is told, and the one download that it asks for fails: STALE, then the change, then READY."""
    account.emulator.publisher.instant = None
    account.emulator.faults.add("/api/splitChanges", status=503, times=1)
    put(account.emulator, "two")
    agent.await_value("two")
    agent.await_told(READY)
    assert agent.states() == [STALE, READY]


# --- segments ---------------------------------------------------------------------------------------------------


def test_a_segment_that_never_loads(account: Vendor) -> None:
    """At the start one segment does not load: the flags serve, with its members as everybody; STALE names it, as long
    as it lasts. When it loads its members get theirs, and READY is told.
    """
    account.emulator.put_segment("staff", ["ann"], ENVIRONMENT)
    put(account.emulator, "one", **members_get_two("staff"))
    fault = account.emulator.faults.add("/api/segmentChanges/staff", status=503)
    with watched(account.provider()) as agent:
        assert "Segment 'staff'" in str(agent.await_told(STALE).message)
        put(account.emulator, "three", "other")
        agent.await_value("three", "other")
        wait_until(lambda: fault.met >= 6, why="several attempts")
        assert agent.states() == [STALE]
        assert agent.value() == "one"
        account.emulator.faults.clear()
        agent.await_told(READY)
        agent.await_value("two")


def test_a_segment_that_hangs_keeps_nobody_waiting(account: Vendor, agent: Watched) -> None:
    """A change brings a segment whose download hangs: changes behind it arrive meanwhile."""
    account.emulator.put_segment("staff", ["ann"], ENVIRONMENT)
    fault = account.emulator.faults.add("/api/segmentChanges/*", hang=True)
    put(account.emulator, "one", **members_get_two("staff"))
    wait_until(lambda: fault.met, why="the segment's download")
    put(account.emulator, "three", "other")
    agent.await_value("three", "other", timeout=2)
    account.emulator.faults.clear()
    agent.await_value("two")


def test_a_segment_that_hangs_while_the_stream_opens(account: Vendor) -> None:
    """A stream opens while a segment hangs: changes of flags are read from it all the same."""
    account.emulator.put_segment("staff", ["ann"], ENVIRONMENT)
    put(account.emulator, "one", **members_get_two("staff"))
    with watched(account.provider(refresh=600.0)) as agent:
        agent.await_value("two")
        assert account.emulator.wait_for(lambda: account.emulator.streams == 1)
        fault = account.emulator.faults.add("/api/segmentChanges/*", hang=True)
        account.emulator.cut()
        assert account.emulator.wait_for(lambda: account.emulator.streams == 1)
        before = fault.met
        wait_until(lambda: fault.met > before, why="what the SDK does when a stream opens")
        put(account.emulator, "three", "other")
        agent.await_value("three", "other", timeout=2)


@pytest.mark.parametrize("instant", [None, wire.Instant.ZLIB])
def test_a_segment_that_is_older_than_its_flag(account: Vendor, instant: wire.Instant | None) -> None:
    """A change makes a flag ask for a segment that has long been there: it is loaded, and no later change waits."""
    account.emulator.put_segment("staff", ["ann"], ENVIRONMENT)
    account.emulator.publisher.instant = instant
    with an_agent(account, refresh=600.0, reconnect_delay=5.0, reconnect_max=15.0) as agent:
        put(account.emulator, "one", **members_get_two("staff"))
        agent.await_value("two")
        put(account.emulator, "three", "other")
        agent.await_value("three", "other", timeout=3)
        assert agent.states() == []


@pytest.mark.parametrize("body", ["<html>log in, please</html>", {}, []])
def test_somebody_else_answers_for_a_segment(account: Vendor, agent: Watched, body: Any) -> None:
    """A page of somebody else's in place of a segment: STALE, and the segment when it is mended."""
    account.emulator.put_segment("staff", ["ann"], ENVIRONMENT)
    account.emulator.faults.add("/api/segmentChanges/*", status=200, body=body)
    put(account.emulator, "one", **members_get_two("staff"))
    assert "cannot be read" in str(agent.await_told(STALE).message)
    account.emulator.faults.clear()
    agent.await_value("two")
    agent.await_told(READY)


def test_a_segment_that_nobody_asks_for_any_more(account: Vendor, agent: Watched) -> None:
    """A segment does not load, and then no flag asks for it: nothing is stale any more."""
    account.emulator.faults.add("/api/segmentChanges/*", status=503)
    put(account.emulator, "one", **members_get_two("staff"))
    agent.await_told(STALE)
    put(account.emulator, "three")
    agent.await_value("three")
    agent.await_told(READY)


def test_members_that_come_while_segments_are_down(account: Vendor) -> None:
    """A segment changes and its download fails: STALE, and the new member is known when it is mended."""
    account.emulator.put_segment("staff", ["bob"], ENVIRONMENT)
    put(account.emulator, "one", **members_get_two("staff"))
    with an_agent(account) as agent:
        account.emulator.faults.add("/api/segmentChanges/*", status=500, times=2)
        account.emulator.put_segment("staff", ["bob", "ann"], ENVIRONMENT)
        agent.await_value("two")
        agent.await_told(READY)
        assert agent.states() == [STALE, READY]


# --- the vendor as a whole ---------------------------------------------------------------------------------------


def test_a_restart_of_the_vendor_is_lived_through(account: Vendor, agent: Watched) -> None:
    """While the vendor is away the last known is served, and told as STALE; then what changed meanwhile, and READY."""
    account.emulator.stop()
    assert "last known" in str(agent.await_told(STALE).message)
    assert agent.value() == "one"
    assert agent.status is ProviderStatus.STALE
    put(account.emulator, "two")
    account.emulator.start()
    agent.await_value("two")
    agent.await_told(READY)
    wait_until(lambda: CHANGED in [event for event, _ in list(agent.told)], why="the change")
    assert agent.states() == [STALE, READY]
    assert agent.status is ProviderStatus.READY


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_storm_of_refusals_passes(account: Vendor, agent: Watched, status: int) -> None:
    """Rate limits and server errors on everything: STALE as long as they last, the last known is served, then READY."""
    fault = account.emulator.faults.add("/api/*", status=status)
    account.emulator.cut()
    agent.await_told(STALE)
    wait_until(lambda: fault.met >= 6, why="a storm")
    assert agent.value() == "one"
    assert agent.states() == [STALE]
    put(account.emulator, "two")
    account.emulator.faults.clear()
    agent.await_told(READY)
    agent.await_value("two")


def test_a_vendor_that_hangs(account: Vendor, agent: Watched) -> None:
    """Requests are accepted and not answered: evaluation waits for nobody, STALE is told, and it recovers."""
    account.emulator.faults.add("/api/*", hang=True)
    account.emulator.cut()
    begun = time.monotonic()
    assert agent.value() == "one"
    assert time.monotonic() - begun < 0.5
    agent.await_told(STALE)
    put(account.emulator, "two")
    account.emulator.faults.clear()
    agent.await_value("two")
    agent.await_told(READY)


def test_a_vendor_that_is_refused_at_the_start(account: Vendor) -> None:
    """Nobody answers at the start: it fails in time, defaults are served; when somebody does, READY and values."""
    provider = account.provider(account.emulator.url, timeout=0.5)
    account.emulator.stop()
    with watched(provider, failing=True) as agent:
        assert agent.status is ProviderStatus.ERROR
        assert agent.value() == "default"
        account.emulator.start()
        agent.await_told(READY)
        agent.await_value("one")
        put(account.emulator, "two")
        agent.await_value("two")


def test_a_key_refused_at_the_start_is_fatal_until_it_is_taken(account: Vendor) -> None:
    """A start with a refused key is FATAL at once; when the key is taken after all, READY and answers."""
    account.emulator.faults.add("/api/splitChanges", status=401)
    with watched(account.provider(timeout=30.0), failing=True) as agent:
        assert agent.status is ProviderStatus.FATAL
        assert agent.value() == "default"
        account.emulator.faults.clear()
        agent.await_told(READY)
        agent.await_value("one")


def test_a_key_refused_later_serves_the_last_known(account: Vendor, agent: Watched) -> None:
    """A key that is refused while flags are known: ERROR, the last known is served, and soon taken again."""
    fault = account.emulator.faults.add("/api/*", status=401)
    account.emulator.cut()
    told = agent.await_told(ERROR)
    # FATAL would make the OpenFeature client answer defaults.
    assert told.error_code is not ErrorCode.PROVIDER_FATAL
    assert "401" in str(told.message)
    wait_until(lambda: fault.met >= 3, why="several attempts")
    assert agent.value() == "one"
    put(account.emulator, "two")
    account.emulator.faults.clear()
    agent.await_told(READY)
    agent.await_value("two")


@pytest.mark.parametrize("body", ["<html>log in, please</html>", {}, {"ff": "none"}, []])
def test_somebody_else_answers(account: Vendor, agent: Watched, body: Any) -> None:
    """A portal, or a proxy, answers 200 with a page of its own: STALE, the last known is served, then it recovers."""
    account.emulator.faults.add("/api/splitChanges", status=200, body=body)
    account.emulator.cut()
    agent.await_told(STALE)
    assert agent.value() == "one"
    put(account.emulator, "two")
    account.emulator.faults.clear()
    agent.await_value("two")
    agent.await_told(READY)


@pytest.mark.parametrize("instant", [None, wire.Instant.ZLIB])
def test_one_flag_that_cannot_be_read(account: Vendor, agent: Watched, instant: wire.Instant | None) -> None:
    """A flag that the SDK cannot read takes no other with it, and what was known of it is served on."""
    emulator = account.emulator
    emulator.publisher.instant = instant
    with emulator.management.transaction():
        put(emulator, "two")
        emulator.state.planes[ENVIRONMENT].live["model"].raw = {"name": "model", "conditions": "none"}
    put(emulator, "three", "other")
    agent.await_value("three", "other")
    assert agent.value() in {"one", "two"}


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_jumps_changes_nothing(
    account: Vendor, agent: Watched, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """The wall clock jumps by a day: nothing is stale, changes arrive, a rate limit is still a matter of seconds."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    put(account.emulator, "two")
    agent.await_value("two")
    account.emulator.cut()
    put(account.emulator, "three")
    agent.await_value("three")
    assert agent.states() == []
    control = control_of(account.emulator)
    try:
        headers = {"X-RateLimit-Reset-Seconds-Org": "20"}
        account.emulator.faults.add("/internal/*", method="PUT", status=429, headers=headers)
        with pytest.raises(RetryLater) as refused:
            control.apply(SetOn("model", on=False), by="ann")
    finally:
        control.close()
    assert refused.value.after is not None
    assert 10 < refused.value.after < 30
