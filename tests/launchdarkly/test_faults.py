"""LaunchDarkly's bad days: agents go on with what they know and say so; a write is reported when it was read back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openfeature.exception import ErrorCode
from openfeature.provider import ProviderStatus

from flagbrake.control.writer import FlagWriter
from flagbrake.errors import ApprovalRequired, Conflict, LockBusy, NotAllowed, RetryLater, Unavailable
from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Flag, Rule, Variant, ramp
from flagbrake.model.state import Archive, Replace, SetDistribution, SetOn
from flagbrake.model.values import FlagKind
from flagbrake.testing import MemoryLock
from tests.launchdarkly.vendor import ENVIRONMENT, Vendor
from tests.support.waiting import wait_until
from tests.support.watching import CHANGED, ERROR, READY, STALE, Watched, watched

FLAG = Flag("model", FlagKind.STRING, (Variant("v1", "one"), Variant("v2", "two")), "v1", off_variant="v1")


@pytest.fixture
def agent(launchdarkly: Vendor) -> Iterator[Watched]:
    """An agent that knows the flag."""
    launchdarkly.put(FLAG)
    with watched(launchdarkly.provider()) as seen:
        assert seen.value() == "one"
        seen.told.clear()
        yield seen


def test_a_cut_stream_is_stale_then_ready(launchdarkly: Vendor, agent: Watched) -> None:
    """A stream that is cut is told as STALE; answers go on; it is opened again and told as READY."""
    launchdarkly.emulator.cut()
    assert "last known" in str(agent.await_told(STALE).message)
    assert agent.value() == "one"
    agent.await_told(READY)
    assert agent.client.get_provider_status() is ProviderStatus.READY


def test_a_restart_of_the_vendor_is_lived_through(launchdarkly: Vendor, agent: Watched) -> None:
    """While the vendor is away the last known is served; what changed meanwhile is told when it is back."""
    launchdarkly.emulator.stop()
    agent.await_told(STALE)
    assert agent.value() == "one"
    launchdarkly.emulator.start()
    launchdarkly.control().apply(SetDistribution("model", "v2"), by="ann")
    agent.await_value("two")
    agent.await_told(READY)
    agent.await_told(CHANGED)


def test_a_key_refused_later_serves_the_last_known(launchdarkly: Vendor, agent: Watched) -> None:
    """A key that is refused while flags are known: ERROR, the last known is served, a new client recovers soon."""
    fault = launchdarkly.emulator.faults.add("/all", status=401)
    launchdarkly.emulator.cut()
    told = agent.await_told(ERROR)
    # FATAL would make the OpenFeature client answer defaults.
    assert told.error_code is not ErrorCode.PROVIDER_FATAL
    assert "401" in str(told.message)
    wait_until(lambda: fault.met >= 3, why="several attempts, which the SDK would space by minutes")
    assert agent.value() == "one"
    launchdarkly.emulator.faults.clear()
    agent.await_told(READY)
    launchdarkly.control().apply(SetDistribution("model", "v2"), by="ann")
    agent.await_value("two")


def test_a_key_refused_at_the_start_is_fatal_until_it_is_taken(launchdarkly: Vendor) -> None:
    """A start with a refused key is FATAL at once; when the key is taken after all, READY and answers."""
    launchdarkly.put(FLAG)
    fault = launchdarkly.emulator.faults.add("/all", status=401)
    with watched(launchdarkly.provider(timeout=30.0), failing=True) as agent:
        assert agent.client.get_provider_status() is ProviderStatus.FATAL
        assert agent.value() == "default"
        launchdarkly.emulator.faults.clear(fault)
        agent.await_told(READY)
        agent.await_value("one")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_storm_of_refusals_passes(launchdarkly: Vendor, agent: Watched, status: int) -> None:
    """Rate limits and server errors: STALE as long as they last, the last known is served, then READY."""
    fault = launchdarkly.emulator.faults.add("/all", status=status)
    launchdarkly.emulator.cut()
    agent.await_told(STALE)
    wait_until(lambda: fault.met >= 6, why="a storm")
    assert agent.value() == "one"
    assert [e for e, _ in agent.told] == [STALE]
    launchdarkly.emulator.faults.clear()
    agent.await_told(READY)


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_jumps_changes_nothing(
    launchdarkly: Vendor, agent: Watched, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """The wall clock jumps by a day: nothing is stale, changes arrive, a rate limit is still a matter of seconds."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    launchdarkly.control().apply(SetDistribution("model", "v2"), by="ann")
    agent.await_value("two")
    assert not [e for e, _ in agent.told if e is not CHANGED]
    until = str(int((real() + 20) * 1000))
    with launchdarkly.refusing(429, **{"X-Ratelimit-Reset": until}), pytest.raises(RetryLater) as refused:
        launchdarkly.control().apply(SetOn("model", on=False), by="ann")
    assert refused.value.after is not None
    # The vendor tells its time in whole seconds, and may be late with it.
    assert 10 < refused.value.after < 30


# --- writes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def writer(launchdarkly: Vendor) -> FlagWriter:
    """The core's writer over the control."""
    launchdarkly.put(FLAG)
    return FlagWriter(launchdarkly.control(), lock=MemoryLock())


def _is_on(vendor: Vendor) -> bool:
    return bool(vendor.emulator.flag("model")["environments"][ENVIRONMENT]["on"])


def test_a_write_whose_answer_is_lost_is_read_back(launchdarkly: Vendor, writer: FlagWriter) -> None:
    """The connection breaks after the write: reading tells that it is there, so it is reported as done."""
    launchdarkly.emulator.faults.add("/api/v2/flags/*", method="PATCH", cut="after", times=1)
    assert writer.apply(SetOn("model", on=False), by="ann").flag.on is False
    assert not _is_on(launchdarkly)


def test_an_archiving_whose_answer_is_lost_is_read_back(launchdarkly: Vendor, writer: FlagWriter) -> None:
    """The same for a flag that is archived."""
    launchdarkly.emulator.faults.add("/api/v2/flags/*", method="PATCH", cut="after", times=1)
    assert writer.apply(Archive("model"), by="ann").flag.archived
    assert launchdarkly.emulator.flag("model")["archived"]


def test_a_write_that_takes_too_long_keeps_its_lock(launchdarkly: Vendor) -> None:
    """Nobody ended the request: the next writer waits until the lease has run out, and does not overlap it."""
    launchdarkly.put(FLAG)
    lock = MemoryLock()
    writer = FlagWriter(launchdarkly.control(api_timeout=0.5), lock=lock, wait=0.1)
    fault = launchdarkly.emulator.faults.add("/api/v2/flags/*", method="PATCH", hang=True, times=1)
    with pytest.raises(Unavailable, match="may still land"):
        writer.apply(SetOn("model", on=False), by="ann")
    with pytest.raises(LockBusy):
        writer.apply(SetOn("model", on=False), by="bob")
    launchdarkly.emulator.faults.clear(fault)


def test_a_write_that_never_arrived_is_not_reported(launchdarkly: Vendor, writer: FlagWriter) -> None:
    """The connection breaks before the write: reading tells that it is not there, so it is an error."""
    launchdarkly.emulator.faults.add("/api/v2/flags/*", method="PATCH", cut="before", times=1)
    with pytest.raises(Unavailable, match="not written"):
        writer.apply(SetOn("model", on=False), by="ann")
    assert _is_on(launchdarkly)


def test_a_write_that_cannot_be_read_back_is_not_reported(launchdarkly: Vendor, writer: FlagWriter) -> None:
    """The write is accepted and then nobody answers: it happened, and it is not reported as verified."""
    faults = launchdarkly.emulator.faults
    control = writer.control
    plain = control.apply

    def apply_then_break(*arguments: object, **more: object) -> object:
        state = plain(*arguments, **more)  # type: ignore[arg-type]
        faults.add("/api/v2/flags/*", method="GET", status=503)
        return state

    control.apply = apply_then_break  # type: ignore[method-assign,assignment]
    with pytest.raises(Unavailable, match="could not be verified"):
        writer.apply(SetOn("model", on=False), by="ann")
    assert not _is_on(launchdarkly)


def test_a_write_meets_a_server_error(launchdarkly: Vendor, writer: FlagWriter) -> None:
    """A 5xx on the write is read back, found not written, and said so."""
    launchdarkly.emulator.faults.add("/api/v2/flags/*", method="PATCH", status=503, times=1)
    with pytest.raises(Unavailable, match="not written"):
        writer.apply(SetOn("model", on=False), by="ann")


def test_reads_outlive_a_short_storm(launchdarkly: Vendor, writer: FlagWriter) -> None:
    """Two 5xx answers in a row to a read are asked again; the write goes through."""
    launchdarkly.emulator.faults.add("/api/v2/flags/*", method="GET", status=502, times=2)
    assert writer.apply(SetOn("model", on=False), by="ann").flag.on is False


def test_a_stale_document_is_a_conflict(launchdarkly: Vendor, writer: FlagWriter) -> None:
    """409 of LaunchDarkly's own lock is Conflict."""
    launchdarkly.emulator.faults.add("/api/v2/flags/*", method="PATCH", status=409)
    with pytest.raises(Conflict):
        writer.apply(SetOn("model", on=False), by="ann")


def test_a_token_that_may_only_read(launchdarkly: Vendor) -> None:
    """A reader's token reads; its write is NotAllowed. A wrong one is NotAllowed for both, and never shown."""
    launchdarkly.put(FLAG)
    reader = launchdarkly.control(api_token=launchdarkly.emulator.reader_token)
    assert reader.read("model").flag.key == "model"
    with pytest.raises(NotAllowed, match="Try: a token whose role"):
        reader.apply(SetOn("model", on=False), by="ann")
    wrong = launchdarkly.control(api_token="api-wrong-and-secret")
    with pytest.raises(NotAllowed) as refused:
        wrong.read("model")
    assert "api-wrong-and-secret" not in f"{refused.value} {wrong!r}"


def _started_release(vendor: Vendor) -> str:
    """A guarded release by LaunchDarkly itself, from v1 to v2; its path."""
    ids = [variation["_id"] for variation in vendor.emulator.flag("model")["variations"]]
    clause = {"contextKind": "user", "attribute": "kind", "op": "in", "values": ["user"], "negate": False}
    body = {
        "originalVariationId": ids[0],
        "targetVariationId": ids[1],
        "metrics": [{"metricKey": "errors"}],
        "phases": [{"clauses": [clause], "steps": [{"allocation": 10_000, "durationMillis": 60_000}]}],
    }
    made = _beta(vendor, "POST", "", body)
    return str(made["id"])


def _beta(vendor: Vendor, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    emulator = vendor.emulator
    url = f"{emulator.url}/api/v2/projects/default/flags/model/environments/{ENVIRONMENT}"
    headers = {"Authorization": emulator.api_token, "LD-API-Version": "beta"}
    answer = httpx.request(method, f"{url}/releases{path}", json=body, headers=headers)
    assert answer.status_code < 300, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_release_of_launchdarkly_owns_the_weights(launchdarkly: Vendor, writer: FlagWriter) -> None:
    """While LaunchDarkly releases the flag itself a split is refused, a kill is not; when it ended both work."""
    release = _started_release(launchdarkly)
    split = SetDistribution("model", ramp("v2", 10_000, "v1"))
    with pytest.raises(Conflict, match="guarded, in_progress"):
        writer.apply(split, by="ann")
    assert writer.apply(SetOn("model", on=False), by="ann").flag.on is False
    _beta(launchdarkly, "PUT", f"/{release}/stop", {"resolution": "roll_back_all_phases_and_remove_pending_phases"})
    assert writer.apply(split, by="ann").flag.on is False


def test_a_scheduled_change_that_would_break(launchdarkly: Vendor, writer: FlagWriter) -> None:
    """A change after which a scheduled one could not be made is refused as an approval, and nothing is written."""
    rule = Rule("r", (Clause(Attribute(("plan",)), Op.IN, ("pro",)),), "v2")
    launchdarkly.put(replace(FLAG, rules=(rule,)))
    emulator = launchdarkly.emulator
    later = [{"kind": "removeValuesFromClause", "ruleId": "r", "clauseId": "c", "values": []}]
    rules = emulator.flag("model")["environments"][ENVIRONMENT]["rules"]
    later[0]["clauseId"] = rules[0]["clauses"][0]["_id"]
    url = f"{emulator.url}/api/v2/projects/default/flags/model/environments/{ENVIRONMENT}/scheduled-changes"
    body = {"executionDate": int((time.time() + 3600) * 1000), "instructions": later}
    assert httpx.post(url, json=body, headers={"Authorization": emulator.api_token}).status_code == 201
    before = emulator.flag("model")
    with pytest.raises(ApprovalRequired, match=r"scheduled change.*Try: wait for the pending change"):
        writer.apply(Replace(FLAG), by="ann")
    assert emulator.flag("model") == before
    assert writer.apply(SetOn("model", on=False), by="ann").flag.on is False
