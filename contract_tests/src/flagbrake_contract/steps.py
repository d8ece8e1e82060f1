"""The steps of the OpenFeature specification's scenarios, performed on a harness through the OpenFeature client."""

from __future__ import annotations

import contextvars
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.hook import Hook
from openfeature.transaction_context import (
    ContextVarsTransactionContextPropagator,
    clear_transaction_context_propagator,
    set_transaction_context,
    set_transaction_context_propagator,
)

from flagbrake.model.flag import Flag
from flagbrake.model.values import FlagKind
from flagbrake_contract.ask import run
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import Broken, Said, holds, same

Table = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a scenario, and the table under it."""

    text: str
    table: Table = ()


class NoSuchStep(LookupError):
    """A step that nobody wrote down here."""


class Recorder(Hook):
    """An application's hook that keeps what it was given."""

    def __init__(self) -> None:
        self.called: dict[str, FlagEvaluationDetails[Any] | None] = {}

    def before(self, hook_context: Any, hints: Any) -> None:
        """Note it."""
        self.called["before"] = None

    def after(self, hook_context: Any, details: Any, hints: Any) -> None:
        """Keep the details."""
        self.called["after"] = details

    def error(self, hook_context: Any, exception: Exception, hints: Any) -> None:
        """Note it."""
        self.called["error"] = None

    def finally_after(self, hook_context: Any, details: Any, hints: Any) -> None:
        """Keep the details."""
        self.called["finally"] = details


class Adding(Hook):
    """An application's hook that adds to the context."""

    def __init__(self, context: EvaluationContext) -> None:
        self.context = context

    def before(self, hook_context: Any, hints: Any) -> EvaluationContext:
        """Add."""
        return self.context


@dataclass
class World:
    """One scenario under way."""

    h: Harness
    flags: Mapping[str, Flag]
    ending: ExitStack
    client: OpenFeatureClient | None = None
    key: str = ""
    kind: FlagKind = FlagKind.BOOLEAN
    default: Any = False
    attributes: dict[str, Any] = field(default_factory=dict)
    details: FlagEvaluationDetails[Any] | None = None
    recorder: Recorder | None = None
    levels: list[str] = field(default_factory=list)
    invocation: EvaluationContext = field(default_factory=EvaluationContext)
    received: list[EvaluationContext] = field(default_factory=list)

    @property
    def the_client(self) -> OpenFeatureClient:
        """The client of this scenario: its hooks and context are nobody else's."""
        if self.client is None:
            self.client = self.h.client
        return self.client

    @property
    def answer(self) -> FlagEvaluationDetails[Any]:
        """What the last evaluation gave."""
        if self.details is None:
            raise Broken(Said("an evaluation before its answer is looked at"), Said("none"), "the scenario")
        return self.details

    def getter(self, suffix: str) -> Any:
        """The client's getter of the type asked for."""
        return getattr(self.the_client, f"get_{self.kind.value}_details{suffix}")


Perform = Callable[..., None]
_STEPS: Final[list[tuple[re.Pattern[str], Perform]]] = []


def step(pattern: str) -> Callable[[Perform], Perform]:
    """Register the function that performs the steps of this form; its groups are the arguments."""

    def register(function: Perform) -> Perform:
        _STEPS.append((re.compile(pattern), function))
        return function

    return register


def _find(text: str) -> tuple[Perform, tuple[str, ...]]:
    for pattern, function in _STEPS:
        found = pattern.fullmatch(text)
        if found:
            return function, found.groups()
    raise NoSuchStep(text)


def understood(wanted: Step) -> bool:
    """True if the step is known."""
    try:
        _find(wanted.text)
    except NoSuchStep:
        return False
    return True


def perform(h: Harness, steps: Sequence[Step], flags: Mapping[str, Flag]) -> None:
    """Perform a scenario; contexts of the API and of a transaction end with it."""

    def whole() -> None:
        with ExitStack() as ending:
            world = World(h, flags, ending)
            for one in steps:
                function, groups = _find(one.text)
                function(world, *groups, *([one.table] if one.table else []))

    contextvars.copy_context().run(whole)


def value_of(kind: FlagKind, text: str) -> Any:
    """A value as the scenarios write it."""
    match kind:
        case FlagKind.BOOLEAN:
            return text.lower() == "true"
        case FlagKind.INTEGER:
            return int(text)
        case FlagKind.FLOAT:
            return float(text)
        case FlagKind.OBJECT:
            return json.loads(text.replace('\\"', '"') or "{}")
        case FlagKind.STRING:
            return text


# --- given -----------------------------------------------------------------------------------------------


@step(r"a stable provider|a provider is registered")
def _provider(world: World) -> None:
    assert world.the_client


@step(r'an? (\w+)-flag with key "([^"]*)" and a (?:default|fallback) value "(.*)"')
def _flag(world: World, kind: str, key: str, default: str) -> None:
    world.kind, world.key = FlagKind(kind.lower()), key
    world.default = value_of(world.kind, default)
    if key in world.flags:
        world.h.put(world.flags[key])


@step(r'a context containing a key "([^"]*)", with type "(\w+)" and with value "(.*)"')
def _attribute(world: World, name: str, kind: str, value: str) -> None:
    world.attributes[name] = value_of(FlagKind(kind.lower()), value)


@step(r'a context containing a key "([^"]*)" with null value')
def _null_attribute(world: World, name: str) -> None:
    world.attributes[name] = None


@step(r"a client with added hook")
def _hook(world: World) -> None:
    world.recorder = Recorder()
    world.the_client.add_hooks([world.recorder])


# --- when ------------------------------------------------------------------------------------------------


def _context(world: World) -> EvaluationContext:
    # Some vendors answer nobody without a targeting key; the scenarios are not about that.
    return EvaluationContext("somebody", world.attributes)


@step(r"the flag was evaluated with details")
def _evaluate(world: World) -> None:
    world.details = world.getter("")(world.key, world.default, _context(world))


@step(r"the flag was evaluated with details asynchronously")
def _evaluate_async(world: World) -> None:
    async def ask() -> FlagEvaluationDetails[Any]:
        found: FlagEvaluationDetails[Any] = await world.getter("_async")(world.key, world.default, _context(world))
        return found

    world.details = run(ask())


# --- then ------------------------------------------------------------------------------------------------


@step(r'the resolved details value should be "(.*)"')
def _value(world: World, text: str) -> None:
    same(world.answer.value, value_of(world.kind, text), "value")


@step(r'the reason should be "(\w+)"')
def _reason(world: World, reason: str) -> None:
    same(str(world.answer.reason), reason, "reason")


@step(r'the error-code should be "(\w+)"')
def _code(world: World, code: str) -> None:
    came = world.answer.error_code
    same(None if came is None else came.value, code, "error code")


@step(r'the variant should be "(.*)"')
def _variant(world: World, variant: str) -> None:
    same(world.answer.variant, variant, "variant")


@step(r'the flag key should be "(.*)"')
def _key(world: World, key: str) -> None:
    same(world.answer.flag_key, key, "flag key")


@step(r"the evaluation should complete without blocking")
def _complete(world: World) -> None:
    assert world.answer is not None


@step(r'the "([\w, ]+)" hooks? should have been executed')
def _executed(world: World, names: str) -> None:
    called = world.recorder.called if world.recorder else {}
    for name in names.split(", "):
        holds(name in called, expected=f"the {name} hook called", came=f"called: {', '.join(called) or 'none'}")


@step(r'the "([\w, ]+)" hooks? should be called with evaluation details')
def _called_with(world: World, names: str, table: Table) -> None:
    called = world.recorder.called if world.recorder else {}
    for name in names.split(", "):
        details = called.get(name)
        if details is None:
            raise Broken(Said(f"details given to the {name} hook"), Said("none"))
        for kind, attribute, text in table[1:]:
            came = getattr(details, attribute)
            expected = None if text in {"null", "None"} else value_of(FlagKind(kind.lower()), text)
            same(str(came) if isinstance(came, str) else came, expected, f"{attribute} in the {name} hook")


# --- merging contexts --------------------------------------------------------------------------------------


@step(r"a stable provider with retrievable context is registered")
def _retrievable(world: World) -> None:
    provider: Any = world.h.make_provider()
    inner = provider.resolve_boolean_details

    def recording(flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None) -> Any:
        world.received.append(evaluation_context or EvaluationContext())
        return inner(flag_key=flag_key, default_value=default_value, evaluation_context=evaluation_context)

    provider.resolve_boolean_details = recording
    world.client = world.ending.enter_context(world.h.bound(provider))


@step(r'[Aa] context entry with key "(.*)" and value "(.*)" is added to the "(.*)" level')
def _entry(world: World, key: str, value: str, level: str) -> None:
    added = EvaluationContext("somebody" if level == "Invocation" else None, {key: value})
    match level:
        case "API":
            before = api.get_evaluation_context()
            world.ending.callback(api.set_evaluation_context, before)
            api.set_evaluation_context(before.merge(added))
        case "Transaction":
            world.ending.callback(clear_transaction_context_propagator)
            set_transaction_context_propagator(ContextVarsTransactionContextPropagator())
            set_transaction_context(added)
        case "Client":
            world.the_client.context = added
        case "Before Hooks":
            world.the_client.add_hooks([Adding(added)])
        case _:
            world.invocation = added


@step(r"[Aa] table with levels of increasing precedence")
def _levels(world: World, table: Table) -> None:
    world.levels = [row[0] for row in table]


@step(r'[Cc]ontext entries for each level from API level down to the "(.*)" level, with key "(.*)" and value "(.*)"')
def _entries(world: World, last: str, key: str, value: str) -> None:
    for level in world.levels[: world.levels.index(last) + 1]:
        # The levels before the last hold something else: only the last may be seen.
        _entry(world, key, value if level == last else f"not {value}", level)


@step(r"[Ss]ome flag was evaluated")
def _some_flag(world: World) -> None:
    world.the_client.get_boolean_details(world.h.key("some"), default_value=False, evaluation_context=world.invocation)


@step(r'[Tt]he merged context contains an entry with key "(.*)" and value "(.*)"')
def _merged(world: World, key: str, value: str) -> None:
    if not world.received:
        raise Broken(Said("a call of the provider"), Said("none"))
    same(dict(world.received[-1].attributes).get(key), value, f"entry {key!r} in the provider's context")
