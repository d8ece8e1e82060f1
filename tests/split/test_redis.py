"""Redis: flags that a synchronizer of Split's put there, asked for by the real SDK in its consumer mode."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus
from openfeature.track import TrackingEventDetails

from flagbrake.errors import ConfigError, MissingExtra
from flagbrake_contract import EventsContract, Harness, ProviderCapability, ProviderContract, all_but
from flagbrake_split.emulator.compile import Hashing, compile_split
from flagbrake_split.provider import SplitProvider
from flagbrake_split.sdk_options import Mode, SdkOptions
from flagbrake_split.translate import split_from_flag
from tests.contract.harnesses import silent
from tests.split.files import EVALUATING
from tests.support.redis_server import OwnRedis, Redis, any_redis, own_redis
from tests.support.waiting import wait_until
from tests.support.watching import ANN, CHANGED, READY, STALE, Watched, watched

BOB = EvaluationContext("bob")


class Synchronizer:
    """Puts into Redis what Split's synchronizer puts there: flags, segments, and up to which change it has them."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.change = 0

    def key(self, name: str) -> str:
        """With the prefix."""
        return f"{self.redis.prefix}.SPLITIO.{name}"

    def put(self, name: str, default: str, **more: Any) -> None:
        """A flag that serves this to everybody, ``one`` while it is killed."""
        definition = {
            "name": name,
            "treatments": [{"name": "one"}, {"name": "two"}, {"name": "three"}],
            "defaultTreatment": "one",
            "defaultRule": [{"treatment": default, "size": 100}],
            **more,
        }
        self.bring(compile_split(definition, hashing=Hashing(1, 2, 2), change_number=0, traffic_type="user"))

    def bring(self, split: dict[str, Any]) -> None:
        """A flag as Split lets it be downloaded."""
        self.change += 1
        pipe = self.redis.client.pipeline()
        pipe.set(self.key(f"split.{split['name']}"), json.dumps({**split, "changeNumber": self.change}))
        pipe.set(self.key("trafficType.user"), 1)
        pipe.set(self.key("splits.till"), self.change)
        pipe.execute()

    def remove(self, name: str) -> None:
        """The flag was archived."""
        self.change += 1
        self.redis.client.delete(self.key(f"split.{name}"))
        self.redis.client.set(self.key("splits.till"), self.change)

    def segment(self, name: str, *members: str) -> None:
        """A segment with these keys."""
        self.redis.client.delete(self.key(f"segment.{name}"))
        if members:
            self.redis.client.sadd(self.key(f"segment.{name}"), *members)
        self.redis.client.set(self.key(f"segment.{name}.till"), self.change)

    def reported(self, what: str) -> list[dict[str, Any]]:
        """What SDKs left for the synchronizer to send: ``impressions`` or ``events``."""
        return [json.loads(one) for one in self.redis.client.lrange(self.key(what), 0, -1)]


class Fleet:
    """Providers over one Redis, for the contract."""

    def __init__(self, redis: OwnRedis) -> None:
        self.redis = redis
        self.synchronizer = Synchronizer(redis)
        self.synchronizer.put("first", "one")
        self.providers: list[SplitProvider] = []

    def provider(self, **options: Any) -> SplitProvider:
        """One more."""
        self.providers.append(provider(self.redis, **options))
        return self.providers[-1]

    def damage(self, key: str) -> None:
        """Half a document."""
        self.redis.client.set(self.synchronizer.key(f"split.{key}"), "{")
        self.synchronizer.put("first", "one")

    def restore(self) -> None:
        """Redis is back, and everybody asks it again."""
        self.redis.start()
        self.settle()

    def settle(self) -> None:
        """Return when every started provider knows of every change."""
        for one in self.providers:
            wait_until(lambda one=one: self._has(one), timeout=20, why="a look at Redis")

    def _has(self, one: SplitProvider) -> bool:
        consumer = one._connection._consumer if one._serving and one._connection is not None else None
        if consumer is None or not self.redis.running:
            return True
        return not consumer.away and bool(consumer._tills and consumer._tills[0] == str(self.synchronizer.change))


class TestSplitRedis(ProviderContract, EventsContract):
    """Split's consumer mode. Nothing is written through it, and a password is no SDK key."""

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls) -> Iterator[Harness]:
        """One for all rules: they use keys of their own."""
        with own_redis() as redis, silent() as port:
            fleet = Fleet(redis)
            try:
                with Harness(
                    fleet.provider,
                    lambda flag: fleet.synchronizer.bring(split_from_flag(flag).result),
                    remove=fleet.synchronizer.remove,
                    settle=fleet.settle,
                    break_vendor=redis.stop,
                    restore_vendor=fleet.restore,
                    make_hanging=lambda: fleet.provider(redis_url=f"redis://127.0.0.1:{port}", timeout=0.5),
                    damage=fleet.damage,
                    patience=15.0,
                    capabilities=all_but(ProviderCapability.AUTHENTICATION),
                    known_deviations=EVALUATING,
                ) as made:
                    yield made
            finally:
                for one in fleet.providers:
                    one.shutdown()


def provider(redis: Redis, **options: Any) -> SplitProvider:
    """The provider over the real SDK, looking often."""
    quick = {"timeout": 3.0, "refresh": 0.05, "reconnect_delay": 0.02, "reconnect_max": 0.1}
    where = {"redis_url": redis.url, "redis_prefix": redis.prefix}
    return SplitProvider(SdkOptions(mode=Mode.REDIS, **{**where, **quick, **options}))


@pytest.fixture
def redis() -> Iterator[Redis]:
    """Some Redis."""
    with any_redis() as found:
        yield found


@pytest.fixture
def synchronizer(redis: Redis) -> Synchronizer:
    """Which has brought one flag."""
    made = Synchronizer(redis)
    made.put("model", "two")
    return made


@pytest.fixture
def agent(redis: Redis, synchronizer: Synchronizer) -> Iterator[Watched]:
    """An agent over it."""
    assert synchronizer.change
    with watched(provider(redis, impressions="debug")) as seen:
        yield seen


def test_flags_are_asked_for(synchronizer: Synchronizer, agent: Watched) -> None:
    """A flag, a new flag, a change, a kill, an end: each is served by the next answer, and told."""
    assert agent.value() == "two"
    synchronizer.put("model", "three")
    assert agent.value() == "three"
    assert "model" in (agent.await_told(CHANGED).flags_changed or [])
    synchronizer.put("other", "two")
    assert agent.value("other") == "two"
    synchronizer.put("model", "three", killed=True)
    killed = agent.client.get_string_details("model", "default", ANN)
    assert (killed.value, killed.reason) == ("one", Reason.DISABLED)
    synchronizer.remove("other")
    wait_until(
        lambda: agent.client.get_string_details("other", "default", ANN).error_code is ErrorCode.FLAG_NOT_FOUND,
        why="the end of the flag",
    )
    wait_until(lambda: list(agent.provider.keys()) == ["model"], why="the names")  # type: ignore[attr-defined]
    assert agent.states() == []


def test_segments(synchronizer: Synchronizer, agent: Watched) -> None:
    """Who is in a segment, and who leaves it."""
    synchronizer.segment("staff", "bob")
    synchronizer.put("model", "one", treatments=[{"name": "one"}, {"name": "two", "segments": ["staff"]}])
    assert (agent.value(context=BOB), agent.value()) == ("two", "one")
    synchronizer.segment("staff", "ann")
    assert (agent.value(context=BOB), agent.value()) == ("one", "two")


def test_impressions_and_events(synchronizer: Synchronizer, agent: Watched) -> None:
    """Evaluations and tracked events stand in the lists from which the synchronizer sends them."""
    assert agent.value() == "two"
    agent.client.track("paid", ANN, TrackingEventDetails(9.5).add("currency", "EUR"))
    wait_until(lambda: synchronizer.reported("impressions") and synchronizer.reported("events"), why="both")
    impression, event = synchronizer.reported("impressions")[0]["i"], synchronizer.reported("events")[0]["e"]
    assert (impression["k"], impression["f"], impression["t"]) == ("ann", "model", "two")
    assert (event["key"], event["eventTypeId"], event["value"]) == ("ann", "paid", 9.5)
    assert event["properties"] == {"currency": "EUR"}


def test_a_damaged_flag(synchronizer: Synchronizer, agent: Watched) -> None:
    """One that cannot be read is an error of its own and takes no other with it."""
    synchronizer.redis.client.set(synchronizer.key("split.bad"), "{")
    synchronizer.put("other", "two")
    assert agent.value("other") == "two"
    assert agent.client.get_string_details("bad", "default", ANN).value == "default"


def test_a_value_that_is_no_text(redis: Redis, synchronizer: Synchronizer, agent: Watched) -> None:
    """Bytes that are no text are one flag that cannot be read: changes of the others are seen, and an agent starts."""
    with type(redis.client).from_url(redis.url) as client:
        client.set(synchronizer.key("split.bad"), b"\xff\xfe")
    synchronizer.put("other", "two")
    wait_until(lambda: "other" in set(agent.provider.keys()), why="the next flag")  # type: ignore[attr-defined]
    assert agent.value("bad") == "default"
    another = provider(redis)
    another.initialize(EvaluationContext())
    another.shutdown()


def test_a_prefix_of_odd_letters(redis: Redis) -> None:
    """Letters that mean others in a pattern of Redis are letters: the names of flags are known."""
    redis.prefix = f"{redis.prefix}[a-c]*?\\"
    Synchronizer(redis).put("model", "two")
    with watched(provider(redis)) as agent:
        assert list(agent.provider.keys()) == ["model"]  # type: ignore[attr-defined]
        assert agent.value() == "two"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:a-secret/word@127.0.0.1:6379/0",
        "redis://:a-secret#word@127.0.0.1:6379/0",
        "a-secret@127.0.0.1:6379",
        "redis://:a-secret@127.0.0.1:99999",
        "redis://:a-secret@127.0.0.1:6379/0?surprise=1",
    ],
)
def test_an_address_that_is_none(redis: Redis, url: str) -> None:
    """The start says so at once, with a cure, and shows no part of a password."""
    made = provider(redis, redis_url=url)
    with pytest.raises(ConfigError, match="redis_url") as raised:
        made.start(EvaluationContext())
    shown = "".join(traceback.format_exception(raised.value))
    assert "a-secret" not in shown.replace(url, "")


def test_another_prefix(redis: Redis, synchronizer: Synchronizer) -> None:
    """Where no synchronizer has been the start fails and says so; when it comes, READY and answers."""
    with watched(provider(redis, redis_prefix=f"{redis.prefix}.b", timeout=0.3), failing=True) as agent:
        assert agent.status is ProviderStatus.ERROR
        assert agent.value() == "default"
        redis.prefix = f"{redis.prefix}.b"
        synchronizer.put("model", "two")
        agent.await_told(READY)
        agent.await_value("two")


# --- outages ----------------------------------------------------------------------------------------------------


@pytest.fixture
def own() -> Iterator[OwnRedis]:
    """One that may be stopped."""
    with own_redis() as found:
        yield found


@pytest.mark.parametrize("keep", [True, False])
def test_redis_is_restarted_while_it_is_asked(own: OwnRedis, *, keep: bool) -> None:
    """Redis goes, and comes back with what it had or with nothing: STALE, every answer is the last known, nobody gets
    an exception or waits; when the flags are there again, READY, and changes are served.
    """
    synchronizer = Synchronizer(own)
    synchronizer.segment("staff", "bob")
    synchronizer.put("model", "two")
    synchronizer.put("vip", "one", treatments=[{"name": "one"}, {"name": "two", "segments": ["staff"]}])
    answers: set[tuple[str, ...]] = set()
    asked, ended = threading.Semaphore(0), threading.Event()
    with watched(provider(own)) as agent:

        def ask() -> None:
            while not ended.is_set():
                answers.add((agent.value(), agent.value("vip", BOB), agent.value("vip")))
                asked.release()

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for stopped in (False, True):
                if stopped:
                    own.stop(keep=keep)
                    assert "Redis is not reached" in str(agent.await_told(STALE).message)
                for _ in range(50):
                    assert asked.acquire(timeout=2), "somebody waits for Redis"
            own.start()
            for _ in range(50):
                assert asked.acquire(timeout=2), "somebody waits for Redis"
            if not keep:
                assert agent.states() == [STALE], "there is nothing in it yet"
                synchronizer.segment("staff", "bob")
                for name in ("model", "vip"):
                    synchronizer.put(name, "two" if name == "model" else "one")
                synchronizer.put("vip", "one", treatments=[{"name": "one"}, {"name": "two", "segments": ["staff"]}])
            agent.await_told(READY)
        finally:
            ended.set()
            asking.join(10)
        assert not asking.is_alive()
        synchronizer.put("model", "three")
        agent.await_value("three")
        if keep:
            assert answers == {("two", "two", "one")}
        assert agent.states() == [STALE, READY]


def test_redis_hangs(own: OwnRedis) -> None:
    """Redis takes connections and answers nothing: one answer waits for it, a second or two; no other does."""
    Synchronizer(own).put("model", "two")
    with watched(provider(own)) as agent:
        assert agent.value() == "two"
        with own.hanging():
            assert agent.value() == "two"
            agent.await_told(STALE)
            begun = time.monotonic()
            assert {agent.value() for _ in range(100)} == {"two"}
            assert time.monotonic() - begun < 1
        agent.await_told(READY)


def test_redis_is_emptied(own: OwnRedis) -> None:
    """Redis loses its keys between two answers: what was read last is served, and STALE is told, until they are there
    again.
    """
    synchronizer = Synchronizer(own)
    synchronizer.put("model", "two")
    with watched(provider(own, refresh=600.0)) as agent:
        assert agent.value() == "two"
        own.client.flushall()
        assert agent.value() == "two"
        assert "no flags of a synchronizer" in str(agent.await_told(STALE).message)
        synchronizer.put("model", "three")
        agent.await_told(READY)
        assert agent.value() == "three"


def test_an_idle_agent_is_told(own: OwnRedis) -> None:
    """Nobody asks: that Redis is away is seen all the same."""
    synchronizer = Synchronizer(own)
    synchronizer.put("model", "two")
    with watched(provider(own)) as agent:
        own.stop()
        agent.await_told(STALE)
        assert agent.value() == "two"
        never = agent.client.get_string_details("never", "default", ANN)
        assert (never.value, never.error_code) == ("default", ErrorCode.GENERAL)
        agent.client.track("paid", ANN)
        own.start()
        agent.await_told(READY)


def test_redis_comes_later(own: OwnRedis) -> None:
    """Without Redis the start fails in time; when it is there, READY and answers."""
    synchronizer = Synchronizer(own)
    synchronizer.put("model", "two")
    own.stop()
    with watched(provider(own, timeout=0.3), failing=True) as agent:
        assert agent.status is ProviderStatus.ERROR
        assert agent.value() == "default"
        own.start()
        agent.await_told(READY)
        agent.await_value("two")


def test_a_second_start_looks_at_once(own: OwnRedis) -> None:
    """A start that failed, made again: Redis is asked now, and not after the pause."""
    made = provider(own, timeout=0.5, reconnect_delay=600.0, reconnect_max=600.0)
    try:
        with pytest.raises(ProviderNotReadyError, match=r"No flags from Redis .* Try: look whether Redis is running"):
            made.initialize(EvaluationContext())
        Synchronizer(own).put("model", "two")
        made.initialize(EvaluationContext())
        assert made.resolve("model", ANN).value == "two"
    finally:
        made.shutdown()


def named_threads() -> list[str]:
    """Ours."""
    return [thread.name for thread in threading.enumerate() if thread.name == "flagbrake-split-redis"]


def test_nothing_stays_behind(redis: Redis, synchronizer: Synchronizer) -> None:
    """Shut down, before or after Redis was reached, no thread goes on."""
    assert synchronizer.change
    for started in (True, False):
        made = provider(redis, redis_prefix=redis.prefix if started else "of-nobody", timeout=0.2)
        with nullcontext() if started else pytest.raises(ProviderNotReadyError):
            made.initialize(EvaluationContext())
        assert named_threads()
        made.shutdown()
        wait_until(lambda: not named_threads(), why="its thread")


def test_a_password(own: OwnRedis) -> None:
    """A password is used, one that is refused is told without showing it."""
    Synchronizer(own).put("model", "two")
    own.client.config_set("requirepass", "a-secret-word")
    own.client = type(own.client).from_url(own.url.replace("//", "//:a-secret-word@"), decode_responses=True)
    with watched(provider(own, redis_url=own.url.replace("//", "//:a-secret-word@"))) as agent:
        assert agent.value() == "two"
    wrong = provider(own, redis_url=own.url.replace("//", "//:a-wrong-word@"), timeout=0.5)
    with watched(wrong, failing=True) as agent:
        assert agent.value() == "default"
    assert "a-wrong-word" not in f"{wrong!r} {wrong.options!r} {agent.told}"


def test_without_the_client_of_redis(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client is an extra: without it the start names what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra, match=r"flagbrake-split\[redis\]"):
        provider(redis).start(EvaluationContext())
