"""Through the OpenFeature client: values, status, tracking, hooks."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from openfeature.exception import OpenFeatureError
from openfeature.flag_evaluation import FlagEvaluationOptions
from openfeature.hook import Hook
from openfeature.provider import ProviderStatus
from openfeature.track import TrackingEventDetails

from flagbrake.model.values import FlagKind
from flagbrake_contract.ask import DEFAULTS, SOMEBODY, user
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import Said, add, area, holds, rule, same

area("client", "Through the OpenFeature client", repair="keep to the resolvers' signatures and types; the client calls "
     "with keywords flag_key, default_value, evaluation_context")  # fmt: skip
area(
    "tracking",
    "Tracking",
    repair="accept (name, context, details), all but the name optional; never raise, never block",
)
area("hooks", "Hooks", repair="get_provider_hooks returns a list")


# --- client, tracking, hooks -----------------------------------------------------------------------------------


def _client_rows() -> None:
    samples = {"boolean": True, "string": "x", "integer": 3, "float": 2.75, "object": {"a": [1]}}
    for name, value in samples.items():

        def through(h: Harness, value: Any = value, name: str = name) -> None:
            flag = h.serving(value)
            default = DEFAULTS[FlagKind(name)] if name != "boolean" else False
            details = getattr(h.client, f"get_{name}_details")(flag.key, default, SOMEBODY)
            holds(details.error_code is None, expected=value, came=f"{details.error_code}: {details.error_message}")
            same(details.value, value)
            same(getattr(h.client, f"get_{name}_value")(flag.key, default, SOMEBODY), value)

        add(f"client.{name}", through, spec="1.4.3", needs=(Cap.OBJECT,) if name == "object" else (),
            text=f"The OpenFeature client answers a {name} flag with its value and no error.")  # fmt: skip


_client_rows()


@rule(spec="1.4.10")
def client_never_raises(h: Harness) -> None:
    """No evaluation through the client raises: missing, mismatched, off, without a context."""
    flag = h.serving("x")
    off = h.serving("x", on=False, off_variant=None)
    for key in (flag.key, h.key("missing"), off.key, ""):
        for name, default in (("boolean", True), ("string", "d"), ("integer", 1), ("float", 1.5), ("object", {})):
            for context in (None, SOMEBODY, user(""), user("u", a=object())):
                getattr(h.client, f"get_{name}_details")(key, default, context)


@rule(spec="1.7.3")
def client_status(h: Harness) -> None:
    """A started provider's status is READY, and a changed flag leaves it so."""
    client = h.client
    h.serving("x", key=h.serving("x").key, on=False)
    came = client.get_provider_status()
    holds(came is ProviderStatus.READY, expected="READY", came=came.value)


@rule(spec="2.2.1")
def client_keywords(h: Harness) -> None:
    """Every resolver takes flag_key, default_value and evaluation_context by keyword, the last one optional."""
    for kind, default in DEFAULTS.items():
        getter = getattr(h.provider, f"resolve_{kind.value}_details")
        with suppress(OpenFeatureError):  # to say that there is no such flag, a provider may raise
            getter(flag_key=h.key("missing"), default_value=default)


@rule()
def client_hashable(h: Harness) -> None:
    """A provider is hashable and equal only to itself: the SDK keeps it as a dictionary key.

    Repair: no plain @dataclass; use eq=False, or an ordinary class.
    """
    one, two = h.make_provider(), h.make_provider()
    holds(hash(one) is not None and one != two, expected="two providers that differ", came="equal ones")


@rule(spec="2.7.1")
def tracking_call(h: Harness) -> None:
    """client.track with a context and details neither raises nor blocks."""
    h.client.track("checkout", SOMEBODY, TrackingEventDetails(99.5).add("currency", "EUR"))


@rule(spec="6.1.4")
def tracking_bare(h: Harness) -> None:
    """client.track with a name alone does not raise."""
    h.client.track("checkout")


@rule()
def tracking_direct(h: Harness) -> None:
    """provider.track takes (name, context, details) by position and does not raise without a context."""
    h.provider.track("checkout", None, None)
    h.provider.track("checkout", SOMEBODY)


@rule()
def tracking_arrives(h: Harness) -> None:
    """What is tracked arrives at the vendor: the event, who it is about, and its value. Asked where it can be seen.

    Repair: hand it to the vendor's own track; a track that does nothing loses events that people count on.
    """
    h.tracked()
    event = h.key("event")
    h.client.track(event, user("ann"), TrackingEventDetails(99.5).add("currency", "EUR"))
    h.eventually(
        lambda: [t for t in h.tracked() if t[0] == event], expected=f"{event} at the vendor", came=lambda: Said("none")
    )
    arrived = [t for t in h.tracked() if t[0] == event]
    same([t[:3] for t in arrived], [(event, "ann", 99.5)], "event, targeting key, value")
    same([t[3].get("currency") for t in arrived], ["EUR"], "attributes")


@rule(spec="2.3.1")
def hooks_list(h: Harness) -> None:
    """get_provider_hooks returns a list of hooks, before and after start."""
    for provider in (h.provider, h.make_provider()):
        hooks = provider.get_provider_hooks()
        holds(isinstance(hooks, list) and all(isinstance(x, Hook) for x in hooks), expected="a list", came=repr(hooks))


class _Recording(Hook):
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.provider: list[str] = []

    def before(self, hook_context: Any, hints: Any) -> None:
        self.seen.append("before")
        self.provider.append(hook_context.provider_metadata.name)

    def after(self, hook_context: Any, details: Any, hints: Any) -> None:
        self.seen.append("after")

    def error(self, hook_context: Any, exception: Exception, hints: Any) -> None:
        self.seen.append("error")

    def finally_after(self, hook_context: Any, details: Any, hints: Any) -> None:
        self.seen.append("finally")


@rule(spec="4.4.2")
def hooks_run(h: Harness) -> None:
    """An application's hooks run around a good answer: before, after, finally, with the provider's name."""
    hook = _Recording()
    flag = h.serving("x")
    h.client.get_string_value(flag.key, "default", SOMEBODY, FlagEvaluationOptions(hooks=[hook]))
    same(hook.seen, ["before", "after", "finally"])
    same(hook.provider, [h.provider.get_metadata().name])


@rule(spec="4.4.2")
def hooks_error(h: Harness) -> None:
    """Around an error answer they run as before, error, finally."""
    hook = _Recording()
    h.client.get_string_value(h.key("missing"), "default", SOMEBODY, FlagEvaluationOptions(hooks=[hook]))
    same(hook.seen, ["before", "error", "finally"])
