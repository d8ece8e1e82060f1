"""The guard around providers of ours and of strangers, through a real OpenFeature client."""

from __future__ import annotations

import asyncio

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, FlagNotFoundError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from flagbrake.model.clause import Attribute
from flagbrake.model.kill import KillMode, Scope, ScopeKind, UnknownPolicy
from flagbrake.model.manifest import Declaration, ScopeAttribute
from tests.kill.ours import ASK, SAFE, VALUES, Ours, details, details_async
from tests.kill.support import LaneInHand, declared, view


@pytest.mark.parametrize("flag", ASK)
async def test_without_a_kill_the_inner_answer_comes_through_unchanged(serve, lane, flag):
    """Value, variant, reason and metadata are the provider's own, sync and async."""
    client, _ = serve(Ours())
    for answer in (details(client, flag), await details_async(client, flag)):
        assert (answer.value, answer.variant, answer.reason) == (VALUES[flag], "v2", Reason.STATIC)
        assert answer.flag_metadata == {"version": 3}


@pytest.mark.parametrize("flag", ASK)
async def test_a_killed_flag_serves_its_declared_safe_variant(serve, board, flag):
    """All five types, sync and async: safe value, DISABLED, and who killed it."""
    client, _ = serve(Ours())
    lane = LaneInHand(board, manifest=declared(Declaration(flag, safe_variant="v1", safe_value=SAFE[flag])))
    made = lane.kill(f"flag:{flag}")
    for answer in (details(client, flag), await details_async(client, flag)):
        assert (answer.value, answer.variant, answer.reason) == (SAFE[flag], "v1", Reason.DISABLED)
        assert answer.error_code is None
        assert answer.flag_metadata == {
            "killed": True,
            "kill_id": made.id,
            "kill_scope": f"flag:{flag}",
            "kill_reason": "broken",
            "kill_epoch": 1,
            "kill_mode": "halt",
        }
    lane.lift()
    assert details(client, flag).value == VALUES[flag]


def test_a_safe_value_that_is_not_in_the_manifest_is_looked_up(serve, board):
    """The manifest names the variant, the provider knows its value."""
    client, _ = serve(Ours())
    LaneInHand(board, manifest=declared(Declaration("count", safe_variant="v1"))).kill("flag:count")
    assert (details(client, "count").value, details(client, "count").variant) == (1, "v1")


def test_an_undeclared_flag_serves_the_named_variant_or_off(serve, lane):
    """An emergency kill needs no declaration: the variant named on the spot, else the vendor's off variant."""
    client, _ = serve(Ours())
    made = lane.kill("flag:text", serve="v1")
    assert (details(client, "text").value, details(client, "text").variant) == ("old", "v1")
    lane.lift(made)
    lane.kill("flag:text")
    answer = details(client, "text")
    assert (answer.value, answer.variant, answer.flag_metadata["safe"]) == ("old", "v1", "undeclared")
    lane.kill("flag:switch")
    answer = details(client, "switch")
    assert (answer.value, answer.variant, answer.reason) == (True, None, Reason.DISABLED), "off without an off variant"


def test_a_fallback_serves_its_variant(serve, board):
    """fallback:v2 on a flag whose safe variant is v1 serves v2; a second, different one serves safe."""
    client, _ = serve(Ours())
    lane = LaneInHand(board, manifest=declared(Declaration("text", safe_variant="v1")))
    lane.kill("flag:text", mode=KillMode.FALLBACK, serve="v2")
    assert details(client, "text").value == "new"
    assert details(client, "text").flag_metadata["kill_mode"] == "fallback"
    lane.kill("flag:text", ident="second", mode=KillMode.FALLBACK, serve="v1")
    assert details(client, "text").value == "old"


def test_a_stranger_without_our_methods_serves_the_manifest_or_the_default(serve, board):
    """An InMemoryProvider cannot be asked for variants: the manifest's value, else the caller's default."""
    client, _ = serve(
        InMemoryProvider({"text": InMemoryFlag("on", {"on": "new"}), "count": InMemoryFlag("on", {"on": 7})})
    )
    lane = LaneInHand(board, manifest=declared(Declaration("text", safe_variant="v1", safe_value="old")))
    assert details(client, "text").value == "new"
    lane.kill("*")
    assert (details(client, "text").value, details(client, "text").variant) == ("old", "v1")
    answer = details(client, "count")
    assert (answer.value, answer.variant, answer.reason) == (99, None, Reason.DISABLED)
    assert answer.flag_metadata["safe"] == "undeclared"


def test_the_wrong_type_is_a_mismatch_and_still_says_killed(serve, board):
    """A safe string asked as an integer: the default, TYPE_MISMATCH, and who killed it."""
    client, guard = serve(Ours())
    LaneInHand(board, manifest=declared(Declaration("count", safe_variant="v1", safe_value="old"))).kill("flag:count")
    assert details(client, "count").value == 99
    answer = guard.resolve_integer_details("count", 99)
    assert (answer.value, answer.error_code, answer.reason) == (99, ErrorCode.TYPE_MISMATCH, Reason.ERROR)
    assert answer.flag_metadata["killed"] is True


def test_a_caller_may_change_an_object_it_was_served(serve, board):
    """The safe value is copied: what one caller does to it no other caller sees."""
    client, _ = serve(Ours())
    LaneInHand(board, manifest=declared(Declaration("settings", safe_variant="v1", safe_value=SAFE["settings"]))).kill(
        "*"
    )
    details(client, "settings").value["model"].append("changed")
    assert details(client, "settings").value == {"model": ["small"]}


def test_scopes_from_manifest_and_context(serve, board):
    """A kill of an agent or of one tenant takes the flags declared for it."""
    declaration = Declaration(
        "text",
        safe_variant="v1",
        scopes=(Scope.parse("agent:refunds"),),
        scope_attributes=(ScopeAttribute(ScopeKind.TENANT, Attribute(("tenantId",))),),
    )
    client, _ = serve(Ours())
    lane = LaneInHand(board, manifest=declared(declaration))
    acme, other = EvaluationContext("u", {"tenantId": "acme"}), EvaluationContext("u", {"tenantId": "other"})
    lane.kill("tenant:acme")
    assert [details(client, "text", c).value for c in (acme, other, None)] == ["old", "new", "new"]
    lane.kill("agent:refunds")
    assert details(client, "text", other).value == "old"
    assert details(client, "count", acme).value == 7


def test_silence_closes_a_flag_whose_policy_is_closed(serve, board):
    """UNKNOWN with policy closed serves safe and says why."""
    client, _ = serve(Ours())
    manifest = declared(Declaration("text", safe_variant="v1", unknown_policy=UnknownPolicy.CLOSED))
    board.receive(view(1, manifest=manifest, valid_until=0.0))
    answer = details(client, "text")
    assert (answer.value, answer.flag_metadata["kill_id"]) == ("old", "unknown")
    assert details(client, "count").value == 7


def test_a_lane_that_went_back_closes_every_flag(serve, board):
    """Without a single kill left to read, a step back of the epoch still serves safe."""
    client, _ = serve(Ours())
    manifest = declared(Declaration("text", safe_variant="v1"))
    board.receive(view(7, manifest=manifest))
    assert details(client, "text").value == "new"
    board.receive(view(6, manifest=manifest))
    answer = details(client, "text")
    assert (answer.value, answer.reason) == ("old", Reason.DISABLED)
    assert "went back" in answer.flag_metadata["kill_reason"]


# --- strangers ---


class Duck:
    """Has the five getters and a name, and a track that lacks the context; nothing else."""

    def get_metadata(self):
        return Metadata("duck")

    def get_provider_hooks(self):
        return None

    def resolve_boolean_details(self, flag_key, default, ctx=None):
        return FlagResolutionDetails(True, variant="on")

    resolve_string_details = resolve_integer_details = resolve_float_details = resolve_object_details = (
        resolve_boolean_details
    )

    def track(self, name, details=None):
        raise AssertionError("called with a context it cannot take")


class Broken(AbstractProvider):
    """Breaks everything that can be broken."""

    def get_metadata(self):
        raise RuntimeError("no name")

    def get_provider_hooks(self):
        raise RuntimeError("no hooks")

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        raise RuntimeError("no answer")

    def resolve_string_details(self, flag_key, default_value, evaluation_context=None):
        return FlagResolutionDetails("junk", ErrorCode.FLAG_NOT_FOUND, "no such flag", Reason.DEFAULT)

    def resolve_integer_details(self, flag_key, default_value, evaluation_context=None):
        return None

    def resolve_float_details(self, flag_key, default_value, evaluation_context=None):
        raise FlagNotFoundError("no such flag")

    def resolve_object_details(self, flag_key, default_value, evaluation_context=None):
        return FlagResolutionDetails("not an object")

    def track(self, *arguments):
        raise RuntimeError("no tracking")


async def test_a_duck_is_served_and_killed(serve, lane):
    """No attach, no detach, no initialize, no async getters, hooks None, a track of another shape: all lived with."""
    client, guard = serve(Duck())
    assert client.get_boolean_value("switch", False) is True
    assert await client.get_boolean_value_async("switch", False) is True
    assert guard.get_metadata().name == "duck"
    client.track("clicked", EvaluationContext("u"))
    lane.kill("flag:switch")
    assert client.get_boolean_value("switch", False) is False
    guard.shutdown()
    guard.detach()


async def test_a_broken_provider_never_breaks_the_caller(serve, lane):
    """Every defect is the caller's default with an error code; async restores the default too."""
    client, guard = serve(Broken())
    assert guard.get_metadata().name == "Broken"
    client.track("clicked")
    for flag, code in [
        ("switch", ErrorCode.GENERAL),
        ("text", ErrorCode.FLAG_NOT_FOUND),
        ("count", ErrorCode.GENERAL),
        ("ratio", ErrorCode.FLAG_NOT_FOUND),
    ]:
        for answer in (details(client, flag), await details_async(client, flag)):
            assert (answer.value, answer.error_code, answer.reason) == (ASK[flag][1], code, Reason.ERROR)
    assert (await details_async(client, "settings")).value == {"model": []}
    lane.kill("*")
    assert details(client, "text").reason == Reason.DISABLED


class Slow(Ours):
    async def resolve_string_details_async(self, flag_key, default_value, evaluation_context=None):
        await asyncio.sleep(60 if flag_key == "slow" else 0)
        return FlagResolutionDetails("awaited", variant="v2")


async def test_native_async_getters_are_awaited(serve, lane):
    """A provider that really waits is awaited; a kill answers without it."""
    client, _ = serve(Slow())
    assert await client.get_string_value_async("text", "") == "awaited"
    lane.kill("flag:slow", serve="v1", serve_value="old")
    assert await client.get_string_value_async("slow", "") == "old"


async def test_a_cancelled_evaluation_ends_as_a_cancellation(serve, lane):
    """The SDK would turn it into an UnboundLocalError; the caller's next await is cancelled instead."""
    client, _ = serve(Slow())
    went_on = []

    async def body():
        went_on.append(await client.get_string_value_async("slow", "default"))
        await asyncio.sleep(0)
        went_on.append("and on")

    task = asyncio.create_task(body())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert went_on == ["default"]


async def test_a_timeout_around_an_evaluation_ends_as_a_timeout(serve, lane):
    """asyncio.timeout sees its own cancellation come back."""
    client, _ = serve(Slow())

    async def body():
        async with asyncio.timeout(0.01):
            await client.get_string_value_async("slow", "default")
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await body()
