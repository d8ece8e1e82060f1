"""Providers that are called wrongly: async, through the client, from threads, after a fork, with secrets."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from dataclasses import dataclass, field, replace
from typing import Any

from openfeature.exception import GeneralError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import AbstractProvider, Metadata

from flagbrake.model.state import Support
from flagbrake_contract.capability import ALL, ProviderCapability
from tests.contract.reference import ReferenceProvider, reference
from tests.contract.sabotage import Sabotage, failed, of_provider


class NoAsync(ReferenceProvider):
    """Async is not implemented."""

    async def resolve_boolean_details_async(self, flag_key, default_value, evaluation_context=None):
        raise GeneralError("use the sync provider")


class OtherAsync(ReferenceProvider):
    """The async path forgets the variant."""

    async def resolve_string_details_async(self, flag_key, default_value, evaluation_context=None):
        return replace(self.resolve_string_details(flag_key, default_value, evaluation_context), variant=None)


class SlowAsync(ReferenceProvider):
    """Waits for something that does not come."""

    async def resolve_string_details_async(self, flag_key, default_value, evaluation_context=None):
        await asyncio.sleep(60)
        return self.resolve_string_details(flag_key, default_value, evaluation_context)


class Uncancelled(ReferenceProvider):
    """Swallows cancellation."""

    async def resolve_string_details_async(self, flag_key, default_value, evaluation_context=None):
        try:
            await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            return failed(default_value)
        return self.resolve_string_details(flag_key, default_value, evaluation_context)


class OneAtATime(ReferenceProvider):
    """Refuses a second async call while one is on its way."""

    busy = 0

    async def resolve_string_details_async(self, flag_key, default_value, evaluation_context=None):
        if self.busy:
            return failed(default_value)
        self.busy += 1
        try:
            await asyncio.sleep(0)
            return self.resolve_string_details(flag_key, default_value, evaluation_context)
        finally:
            self.busy -= 1


class Renamed(ReferenceProvider):
    """Parameters by other names."""

    def resolve_float_details(self, key, default, context=None):
        return super().resolve_float_details(key, default, context)


class ContextDemanding(ReferenceProvider):
    """The context is not optional."""

    def resolve_object_details(self, flag_key, default_value, evaluation_context):
        return super().resolve_object_details(flag_key, default_value, evaluation_context)


@dataclass
class Unhashable(AbstractProvider):
    """A plain dataclass."""

    vendor: Any
    rules: Any = field(default=None, compare=False)

    def get_metadata(self):
        return Metadata("unhashable")

    def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
        return FlagResolutionDetails(default_value)

    resolve_string_details = resolve_integer_details = resolve_boolean_details
    resolve_float_details = resolve_object_details = resolve_boolean_details


class TrackWithoutContext(ReferenceProvider):
    """The published Unleash provider's signature."""

    def track(self, tracking_event_name):
        """Take no context."""


class TrackDemanding(ReferenceProvider):
    """Tracks somebody only."""

    def track(self, tracking_event_name, evaluation_context=None, tracking_event_details=None):
        assert evaluation_context is not None
        evaluation_context.targeting_key.upper()


class TrackByValue(ReferenceProvider):
    """Tracks numbers only."""

    def track(self, tracking_event_name, evaluation_context=None, tracking_event_details=None):
        float(tracking_event_details.value)


class NoHooks(ReferenceProvider):
    """None instead of a list."""

    def get_provider_hooks(self):
        return None


class Raising(ReferenceProvider):
    """Raises what is no OpenFeature error, past every protection."""

    def get_metadata(self):
        if self._serving:
            raise RuntimeError("no metadata now")
        return super().get_metadata()


CALLS = [
    of_provider("async is not there", "async.boolean", NoAsync),
    of_provider("async forgets the variant", "async.string", OtherAsync),
    of_provider("async waits", "async.timeout", SlowAsync),
    of_provider("async swallows cancellation", "async.cancellation", Uncancelled),
    of_provider("one async call at a time", "async.many", OneAtATime),
    of_provider("parameters are renamed", "client.float", Renamed),
    of_provider("the context is not optional", "client.keywords", ContextDemanding),
    of_provider("a plain dataclass", "client.hashable", Unhashable),
    of_provider("track takes no context", "tracking.call", TrackWithoutContext),
    of_provider("track demands a context", "tracking.direct", TrackDemanding),
    of_provider("track demands details", "tracking.bare", TrackByValue),
    of_provider("no list of hooks", "hooks.list", NoHooks),
    of_provider("metadata that raises", "client.never_raises", Raising),
]


class Racy(ReferenceProvider):
    """Keeps the context of the call in the object."""

    def resolve(self, flag_key, context):
        self.context = context
        threading.Event().wait(0)
        os.sched_yield()
        return super().resolve(flag_key, self.context)


class Wavering(ReferenceProvider):
    """Now and then an older snapshot answers."""

    def take(self, keys):
        self.older = self.rules
        super().take(keys)

    def resolve(self, flag_key, context):
        self.count = self.__dict__.get("count", 0) + 1
        rules = self.__dict__.get("older", self.rules) if self.count % 7 == 0 else self.rules
        return rules.evaluate(flag_key, context)


class HalfStarted(ReferenceProvider):
    """The second caller does not wait for the first."""

    def initialize(self, evaluation_context):
        if self.__dict__.get("starting"):
            return
        self.starting = True
        threading.Event().wait(0.1)
        super().initialize(evaluation_context)


class Parental(ReferenceProvider):
    """Serves the process that made it."""

    def __init__(self, vendor, **rest):
        super().__init__(vendor, **rest)
        self.pid = os.getpid()

    def resolve(self, flag_key, context):
        if os.getpid() != self.pid:
            raise ProviderNotReadyError("Another process.")
        return super().resolve(flag_key, context)


class FrozenChild(ReferenceProvider):
    """After a fork it does not follow."""

    def __init__(self, vendor, **rest):
        super().__init__(vendor, **rest)
        self.pid = os.getpid()

    def heard(self, what, keys):
        if os.getpid() == self.pid:
            super().heard(what, keys)


class Chatty(ReferenceProvider):
    """Its repr shows the key."""

    def __repr__(self):
        return f"Chatty(key={self._key!r})"


class Logging(ReferenceProvider):
    """Logs the key."""

    def start(self, context):
        logging.getLogger("sabotage").debug("starting with %s", self._key)
        super().start(context)


class Blabbing(ReferenceProvider):
    """The key stands in the error."""

    def start(self, context):
        if not self.vendor.up:
            raise ProviderNotReadyError(f"GET /flags?key={self._key} failed.")
        super().start(context)


def _undeclared() -> Any:
    return reference(capabilities={c: s for c, s in ALL.items() if c is not ProviderCapability.FORK})


PROCESS = [
    of_provider("keeps the context in the object", "threads.right", Racy),
    of_provider("an older snapshot answers now and then", "threads.while_changing", Wavering),
    of_provider("the second start does not wait", "threads.start_together", HalfStarted),
    of_provider("serves one process", "fork.evaluates", Parental),
    of_provider("a forked child does not follow", "fork.follows", FrozenChild, patience=0.5),
    of_provider("the key in the repr", "secrets.repr", Chatty),
    of_provider("the key in the log", "secrets.log", Logging),
    of_provider("the key in the error", "secrets.error", Blabbing),
    Sabotage("a capability is not declared", "harness.capabilities", _undeclared),
    Sabotage("a deviation of no rule", "harness.deviations", lambda: reference(known_deviations={"no.rule": "a b"})),
    Sabotage("a deviation without a reason", "harness.deviations",
             lambda: reference(known_deviations={"values.boolean_true": ""})),
    Sabotage("a deviation that is none", "values.boolean_true",
             lambda: reference(known_deviations={"values.boolean_true": "it was broken once"})),
    Sabotage("a capability that works is declared away", "targeting.target",
             lambda: reference(capabilities={**ALL, ProviderCapability.TARGETING: Support.VENDOR_CANNOT})),
]  # fmt: skip

USES = [*CALLS, *PROCESS]
