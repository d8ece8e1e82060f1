"""Providers that need no vendor: the SDK's own in-memory one, and environment variables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openfeature.contrib.provider.envvar import EnvVarProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from flagbrake.evaluate import Ruleset
from flagbrake.model.flag import Flag
from flagbrake.model.values import FlagKind
from flagbrake_contract import Harness, ProviderCapability
from tests.peers.kit import Fleet, NotExpressible, Peer

Cap = ProviderCapability
_NO_VENDOR = "there is no vendor that could go away, refuse a key or hang"
_AWAY = dict.fromkeys((Cap.STALE, Cap.UNAVAILABLE_INIT, Cap.AUTHENTICATION, Cap.HANGING_INIT), _NO_VENDOR)


def in_memory_flag(flag: Flag, ruleset: Any) -> InMemoryFlag[Any]:
    """Targeting is a function of the application's: here it is our evaluator."""
    default = flag.default if isinstance(flag.default, str) else flag.variants[0].name
    if not flag.on and flag.off_variant is not None:
        raise NotExpressible("a disabled in-memory flag has no off variant")
    if not flag.on:
        return InMemoryFlag(default, {v.name: v.value for v in flag.variants}, {}, InMemoryFlag.State.DISABLED)

    def evaluate(_: Any, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        answer = ruleset().evaluate(flag.key, context)
        return FlagResolutionDetails(answer.value, reason=answer.reason, variant=answer.variant)

    targeted = flag.targets or flag.rules or flag.prerequisites or not isinstance(flag.default, str)
    variants = {v.name: v.value for v in flag.variants}
    return InMemoryFlag(default, variants, context_evaluator=evaluate if targeted else None)


@contextmanager
def in_memory(_: Path) -> Iterator[Harness]:
    """It has no way to change a flag, so the harness writes into its private dictionary."""
    flags: dict[str, Flag] = {}
    made: list[InMemoryProvider] = []

    def ruleset() -> Ruleset:
        return Ruleset(flags)

    def make() -> InMemoryProvider:
        made.append(InMemoryProvider({key: in_memory_flag(flag, ruleset) for key, flag in flags.items()}))
        return made[-1]

    def seed(flag: Flag) -> None:
        flags[flag.key] = flag
        for provider in made:
            provider._flags[flag.key] = in_memory_flag(flag, ruleset)

    def remove(key: str) -> None:
        del flags[key]
        for provider in made:
            provider._flags.pop(key, None)

    yield Harness(make, seed, remove=remove, in_process=True, capabilities=IN_MEMORY.capabilities, patience=2.0)


IN_MEMORY = Peer(
    "in-memory",
    "SDK InMemory",
    ("openfeature-sdk",),
    "flags as InMemoryFlag; it has no update method in this version, so the harness writes into its dictionary; "
    "targeting is an application's function, here our evaluator",
    in_memory,
    {
        **_AWAY,
        Cap.CONFIGURATION_CHANGE: "it has no update method in this version, so there is no change it could tell",
    },
)


def variable(flag: Flag) -> str:
    """A flag as the text of an environment variable."""
    if not isinstance(flag.default, str) or flag.targets or flag.rules or flag.prerequisites:
        raise NotExpressible("an environment variable is the same for everybody")
    if not flag.on:
        raise NotExpressible("an environment variable cannot be off")
    if "=" in flag.key or "\0" in flag.key:
        raise NotExpressible("no environment variable has such a name")
    variant = flag.variant(flag.default)
    assert variant is not None
    if flag.kind is FlagKind.STRING:
        text = str(variant.value)
    elif flag.kind is FlagKind.BOOLEAN:
        # What everybody would write; the provider takes bool() of it, so that only the empty text is False.
        text = "true" if variant.value else "false"
    else:
        text = json.dumps(variant.value)
    if "\0" in text:
        raise NotExpressible("an environment variable holds no NUL character")
    return text


@contextmanager
def env_var(_: Path) -> Iterator[Harness]:
    """The process's own environment, put back at the end."""
    before = dict(os.environ)
    fleet = Fleet()

    def seed(flag: Flag) -> None:
        os.environ[flag.key] = variable(flag)

    def remove(key: str) -> None:
        del os.environ[key]

    try:
        yield Harness(
            lambda: fleet.add(EnvVarProvider()),
            seed,
            remove=remove,
            in_process=True,
            capabilities=ENV_VAR.capabilities,
            patience=2.0,
        )
    finally:
        os.environ.clear()
        os.environ.update(before)


ENV_VAR = Peer(
    "env-var",
    "env-var",
    ("openfeature-provider-env-var",),
    'a flag is an environment variable of its key; True is "true", False is "false", other values are JSON',
    env_var,
    {
        **_AWAY,
        Cap.CONFIGURATION_CHANGE: "an operating system does not tell of changed variables",
        Cap.TARGETING: "a variable is the same for everybody",
        Cap.SPLITS: "a variable is the same for everybody",
        Cap.PREREQUISITES: "variables do not depend on each other",
        Cap.DISABLED_FLAGS: "a variable cannot be off",
        Cap.VARIANTS: "a variable has one value and no names for values",
    },
)
