"""Which variant did this outcome belong to? Fixed at the start, recorded at the end."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from openfeature.track import TrackingEventDetails

from flagbrake.errors import ConfigError, Halted, InvalidInput, ToolDenied
from flagbrake.kill import halt, runtime
from flagbrake.kill.runtime import Runtime
from flagbrake.model.clause import Attribute
from flagbrake.model.kill import KillMode, Scope, ScopeKind
from flagbrake.model.manifest import Declaration, ScopeAttribute
from flagbrake.model.outcome import Result
from flagbrake.outcomes.run import current_run, report, run
from flagbrake.outcomes.token import RunToken, unit_hash
from flagbrake.outcomes.tracking import outcome_of
from tests.kill.support import AT, ENVIRONMENT, LaneInHand, declared

pytestmark = pytest.mark.usefixtures("installed")


def test_a_run_records_its_variant_and_success(kept):
    """One row: run id, flag, version, variant, hash of the unit, times, SUCCESS."""
    with run("agents.refunds", EvaluationContext("ann@example.com")) as r:
        assert (r.variant, r.value, r.version) == ("v2", "prompt two", 12)
        assert current_run() is r
    assert current_run() is None
    [row] = kept.outcomes
    assert (row.run_id, row.flag, row.variant, row.revision) == (r.id, "agents.refunds", "v2", 12)
    assert (row.result, row.metric, row.error_type) == (Result.SUCCESS, "run", "")
    assert row.unit == unit_hash("ann@example.com", ENVIRONMENT)
    assert "ann" not in repr(row)
    assert row.started_at <= row.finished_at
    assert row.duration_ms >= 0


@pytest.mark.parametrize(
    ("flag", "variant", "value"),
    [
        ("switch", "on", True),
        ("settings", "big", {"model": "large"}),
        ("count", "seven", 7),
        ("ratio", "half", 0.5),
        ("agents.refunds", "v2", "prompt two"),
    ],
)
def test_flags_of_every_type_decide_runs(flags, flag, variant, value):
    """The variant's name is recorded whatever the type; once the type is known, one evaluation per run."""
    with run(flag, "ann") as r:
        assert (r.variant, r.value) == (variant, value)
    before = flags.evaluations
    with run(flag, "ann"):
        pass
    assert flags.evaluations == before + 1


def test_the_variant_is_fixed_at_the_start(flags, kept):
    """A flag that changes in the middle of a run changes nothing for that run."""
    with run("agents.refunds", "ann") as r:
        flags.values["agents.refunds"] = ("v3", "prompt three")
        assert r.variant == "v2"
    assert kept.last.variant == "v2"


class Defect(Exception):
    pass


@pytest.mark.parametrize(
    ("raised", "result", "error_type"),
    [
        (Defect("x"), Result.FAILURE, "Defect"),
        (TimeoutError(), Result.FAILURE, "TimeoutError"),
        (ExceptionGroup("g", [Defect("x")]), Result.FAILURE, "Defect"),
        (KeyboardInterrupt(), Result.ABANDONED, "KeyboardInterrupt"),
        (GeneratorExit(), Result.ABANDONED, "GeneratorExit"),
        (SystemExit(1), Result.ABANDONED, "SystemExit"),
        (asyncio.CancelledError(), Result.ABANDONED, "CancelledError"),
    ],
)
def test_how_a_body_ends_is_what_is_recorded(kept, raised, result, error_type):
    """An exception is a failure of its type; a cancellation or Ctrl-C counts for nobody. All pass through."""

    def body():
        with run("agents.refunds", "ann"):
            raise raised

    with pytest.raises(type(raised)):
        body()
    assert (kept.last.result, kept.last.error_type) == (result, error_type)


def test_a_run_can_fail_without_raising(kept):
    """run.fail says why; an exception after it keeps that reason."""
    with run("agents.refunds", "ann") as r:
        r.fail("no answer found")
    assert (kept.last.result, kept.last.error_type) == (Result.FAILURE, "no answer found")


def test_a_killed_run_is_its_own_outcome(kept, lane):
    """A kill in the middle: KILLED, however the body leaves."""

    def stopped():
        with run("agents.refunds", "ann", scopes=["agent:refunds"]):
            lane.kill("agent:refunds")
            halt.check()

    with pytest.raises(Halted):
        stopped()
    assert kept.last.result is Result.KILLED
    lane.lift()

    def wrapped():
        with run("agents.refunds", "ann", scopes=["agent:refunds"]):
            lane.kill("agent:refunds")
            try:
                halt.check()
            except BaseException:  # noqa: BLE001 - some bodies do
                raise Defect("wrapped") from None

    with pytest.raises(Defect):
        wrapped()
    assert kept.last.result is Result.KILLED
    lane.lift()

    def denied():
        with run("agents.refunds", "ann"):
            lane.kill("tool:search", mode=KillMode.DENY_TOOL)
            halt.check_tool("search")

    with pytest.raises(ToolDenied):
        denied()
    assert kept.last.result is Result.KILLED


@pytest.mark.parametrize("mode", [KillMode.HALT, KillMode.DRAIN])
@pytest.mark.parametrize("scope", ["flag:agents.refunds", "agent:refunds", "service:pay", "tenant:acme", "*"])
def test_a_killed_run_does_not_start(kept, board, mode, scope):
    """Halt and drain refuse at the start, by the flag, its declared scopes, its context or what was given."""
    declaration = Declaration(
        "agents.refunds",
        scopes=(Scope.parse("agent:refunds"),),
        scope_attributes=(ScopeAttribute(ScopeKind.TENANT, Attribute(("tenantId",))),),
    )
    lane = LaneInHand(board, manifest=declared(declaration))
    lane.kill(scope, mode=mode)
    with (
        pytest.raises(Halted),
        run("agents.refunds", EvaluationContext("ann", {"tenantId": "acme"}), scopes=["service:pay"]),
    ):
        pytest.fail("the body ran")
    assert current_run() is None


def test_a_fallback_runs_with_its_variant(kept, board):
    """A fallback kill moves runs to another variant and stops none."""
    lane = LaneInHand(board)
    lane.kill("flag:agents.refunds", mode=KillMode.FALLBACK, serve="v1", serve_value="prompt one")
    with run("agents.refunds", "ann") as r:
        assert (r.variant, r.value) == ("v1", "prompt one")
    assert (kept.last.variant, kept.last.result) == ("v1", Result.SUCCESS)


def test_checks_inside_a_run_know_its_scopes(lane):
    """halt.check() without arguments covers the run's flag, and the runs around it."""

    def inner_of_a_killed_outer():
        with run("agents.refunds", "ann"), run("switch", "ann"):
            lane.kill("flag:agents.refunds")
            halt.check()

    with pytest.raises(Halted):
        inner_of_a_killed_outer()


def test_runs_nest(kept):
    """The inner run is current inside, the outer one again after it; each records itself."""
    with run("agents.refunds", "ann") as outer:
        with run("switch", "ann") as inner:
            assert current_run() is inner
        assert current_run() is outer
    assert [o.flag for o in kept.outcomes] == ["switch", "agents.refunds"]


async def test_runs_of_tasks_do_not_mix(kept):
    """Each task has its own current run."""

    async def body(user):
        async with run("agents.refunds", user) as r:
            await asyncio.sleep(0.01)
            assert current_run() is r
            return r.id

    ids = await asyncio.gather(*(body(f"u{n}") for n in range(20)))
    assert sorted(o.run_id for o in kept.outcomes) == sorted(ids)


async def test_a_kill_cancels_a_run_that_waits_in_a_block(kept, lane):
    """run and halt.scope together: the body is cancelled, Halted comes out, KILLED is recorded."""

    async def body():
        async with run("agents.refunds", "ann"), halt.scope():
            await asyncio.sleep(60)

    task = asyncio.create_task(body())
    await asyncio.sleep(0.01)
    threading.Thread(target=lane.kill, args=["flag:agents.refunds"]).start()
    with pytest.raises(Halted):
        await asyncio.wait_for(task, 5)
    assert kept.last.result is Result.KILLED


async def test_a_task_group_that_was_halted_is_killed(kept, lane):
    """Halted inside a group of exceptions is found."""

    async def child():
        lane.kill("flag:agents.refunds")
        halt.check()

    async def body():
        async with run("agents.refunds", "ann"), asyncio.TaskGroup() as group:
            group.create_task(child())

    with pytest.raises(BaseExceptionGroup):
        await body()
    assert kept.last.result is Result.KILLED


def test_a_missing_flag_runs_with_the_default_and_records_nothing(kept):
    """No variant, nothing to attribute; the body runs all the same."""
    with run("missing", "ann", default="v0") as r:
        assert (r.variant, r.value, r.version, r.token) == (None, "v0", None, "")
        assert not r.track("resolved", ok=True)
    assert kept.outcomes == []


def test_recording_never_breaks_the_body(board, installed):
    """A recorder that raises, or none at all, changes nothing for the body."""

    class Broken:
        def put(self, outcome):
            raise RuntimeError("no")

    for queue in (Broken(), None):
        made = runtime.install(Runtime(board=board, environment=ENVIRONMENT, queue=queue, domain=installed.domain))
        with run("agents.refunds", "ann") as r:
            assert not r.track("resolved", ok=True)
        runtime.uninstall(made)


def test_a_stranger_without_variant_names_is_named_by_its_value(board, kept, installed):
    """A provider that only gives values: a boolean or a short text is its own name."""
    flags = {"plain": InMemoryFlag("", {"": "blue"}), "bool": InMemoryFlag("", {"": True})}
    api.set_provider_and_wait(InMemoryProvider(flags), f"{installed.domain}-plain")
    client = api.get_client(f"{installed.domain}-plain")
    with run("plain", "ann", client=client) as text, run("bool", "ann", client=client) as truth:
        assert (text.variant, truth.variant) == ("blue", "true")


def test_a_guard_on_another_domain_is_asked_directly(installed, board, kept):
    """The runtime's provider decides, also when it is not the default client's."""
    made = runtime.install(Runtime(board=board, environment=ENVIRONMENT, provider=installed.provider, queue=kept))
    try:
        with run("switch", "ann") as r:
            assert (r.variant, r.value) == ("on", True)
    finally:
        runtime.uninstall(made)


def test_the_targeting_key_may_come_from_the_client(installed, kept):
    """The unit is what the evaluation saw, not only what the call named."""
    client = api.get_client(installed.domain)
    client.context = EvaluationContext("from-client")
    with run("agents.refunds", client=client):
        pass
    assert kept.last.unit == unit_hash("from-client", ENVIRONMENT)


def test_a_run_is_used_once():
    """Entering the same run twice would record two outcomes under one id."""
    r = run("agents.refunds", "ann")
    with r:
        pass
    with pytest.raises(InvalidInput, match="used already"):
        r.__enter__()


def test_without_a_runtime_it_says_so(installed):
    """A run that nothing could stop does not start silently."""
    runtime.uninstall(installed)
    try:
        with pytest.raises(ConfigError):
            run("agents.refunds", "ann").__enter__()
    finally:
        runtime.install(installed)


# --- metrics, tokens, tracking ---


def test_metrics_of_a_run(kept):
    """run.track: one row per metric, joined to the run."""
    with run("agents.refunds", "ann") as r:
        assert r.track("resolved", ok=False, error="wrong amount")
        assert r.track("cost", value=0.25)
        assert not r.track("run", ok=True), "the run itself is recorded by leaving it"
    resolved, cost, whole = kept.outcomes
    assert (resolved.metric, resolved.result, resolved.error_type) == ("resolved", Result.FAILURE, "wrong amount")
    assert (cost.metric, cost.result, cost.value) == ("cost", Result.SUCCESS, 0.25)
    assert {o.run_id for o in kept.outcomes} == {r.id}
    assert whole.result is Result.SUCCESS


def test_a_token_carries_the_run_to_another_process(kept):
    """Feedback that comes hours later elsewhere joins the run it is about."""
    with run("agents.refunds", "ann") as r:
        token = json.loads(json.dumps(r.token))
    assert report(token, metric="thumbs", ok=False, value=1.0)
    row = kept.last
    assert (row.run_id, row.flag, row.variant, row.revision) == (r.id, "agents.refunds", "v2", 12)
    assert (row.metric, row.result, row.value, row.unit) == (
        "thumbs",
        Result.FAILURE,
        1.0,
        unit_hash("ann", ENVIRONMENT),
    )
    assert abs((row.started_at - r.started_at).total_seconds()) < 0.001


@given(st.text(), st.text(), st.text(), st.integers(0, 10**9))
def test_tokens_come_back_as_they_were(flag, variant, environment, version):
    """Any names survive the way through the text, which is plain and URL-safe."""
    token = RunToken("id", environment, flag, version, variant, "u", AT)
    if any(0xD800 <= ord(c) <= 0xDFFF for c in flag + variant + environment):
        return
    assert RunToken.parse(str(token)) == token
    assert str(token).isascii()
    assert not set(str(token)) & set(" +/=&?")


@pytest.mark.parametrize("bad", ["", "r1.", "r1.e30", "r1.W10", "r2.abc", "r1.***", None, 7, "r1." + "A" * 500])
def test_what_is_no_token_is_refused(bad):
    """A token that somebody cut or made up is an error of the caller, said in one line."""
    with pytest.raises(InvalidInput, match="not a run token"):
        report(bad, metric="thumbs", ok=True)


def test_a_token_of_another_environment_is_refused():
    """Staging feedback never lands in production."""
    token = str(RunToken("id", "staging", "f", 1, "v", "u", AT))
    with pytest.raises(InvalidInput, match="staging"):
        report(token, metric="thumbs", ok=True)


def test_plain_openfeature_tracking_becomes_an_outcome(client, kept):
    """client.track with flag and variant in the attributes; run id, ok, error and value are optional."""
    details = TrackingEventDetails(2.5).add("flag", "agents.refunds").add("variant", "v2").add("ok", value=False)
    client.track("resolved", EvaluationContext("ann"), details.add("run_id", "mine").add("version", 12))
    row = kept.last
    assert (row.run_id, row.flag, row.variant, row.revision) == ("mine", "agents.refunds", "v2", 12)
    assert (row.metric, row.result, row.value, row.unit) == (
        "resolved",
        Result.FAILURE,
        2.5,
        unit_hash("ann", ENVIRONMENT),
    )


def test_tracking_inside_a_run_belongs_to_the_run(client, kept):
    """No attributes needed there; an event about another flag stays about that flag."""
    with run("agents.refunds", "ann") as r:
        client.track("resolved", EvaluationContext("ann"))
        assert (kept.last.run_id, kept.last.variant) == (r.id, "v2")
        other = TrackingEventDetails().add("flag", "switch").add("variant", "on")
        client.track("clicked", EvaluationContext("ann"), other)
        assert (kept.last.flag, kept.last.variant) == ("switch", "on")
        assert kept.last.run_id != r.id


def test_other_events_are_left_alone(client, kept):
    """An event that names no flag and happens outside of a run is no outcome; `run` cannot be forged."""
    client.track("page-view", EvaluationContext("ann"), TrackingEventDetails(1.0))
    client.track("run", EvaluationContext("ann"), TrackingEventDetails().add("flag", "f").add("variant", "v"))
    assert kept.outcomes == []


@pytest.mark.parametrize(
    ("attributes", "result"),
    [
        ({}, Result.SUCCESS),
        ({"ok": True}, Result.SUCCESS),
        ({"ok": False}, Result.FAILURE),
        ({"success": "false"}, Result.FAILURE),
        ({"success": "yes"}, Result.SUCCESS),
        ({"success": 0}, Result.FAILURE),
        ({"error": "Timeout"}, Result.FAILURE),
        ({"error": ""}, Result.SUCCESS),
    ],
)
def test_what_counts_as_a_failure(attributes, result):
    """ok or success false, in any spelling of logs, or an error type."""
    details = TrackingEventDetails(attributes={"flag": "f", "variant": "v", **attributes})
    assert outcome_of("m", None, details, environment="", now=AT).result is result


def test_a_unit_hash_tells_nothing_and_differs_per_environment():
    """Eight bytes, keyed; the same person in staging and production cannot be joined."""
    assert len(unit_hash("ann", "prod")) == 16
    assert unit_hash("ann", "prod") != unit_hash("ann", "staging")
    assert unit_hash("ann", "x" * 100) == unit_hash("ann", "x" * 100)
    assert unit_hash(None, "prod") == unit_hash("", "prod") == ""
