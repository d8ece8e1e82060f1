"""Keys and contexts at their edges."""

from __future__ import annotations

import copy
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext

from flagbrake.model.flag import Targets
from flagbrake_contract.ask import ask, succeeds, user
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import add, area, holds, rule, same

area("keys", "Flag keys", repair="use the key as it is: no trimming, folding, splitting; quote it in URLs")
area("context", "Contexts", repair="read the context, never write to it; a missing one is an empty one")

KEYS: Final = (
    ("dotted", "agents.refunds.model", "A dot in a flag key has no meaning."),
    ("unicode", "größe-世界-🚦", "A flag key may be any Unicode text."),
    ("long", "long-" + "k" * 200, "A flag key may have 200 characters."),
    ("url", "a/b c?d#e%20f&g", "Characters with a meaning in URLs have none in a flag key."),
    ("punctuation", "a:b;c,d'e\"f\\g", "Punctuation in a flag key has no meaning."),
    ("digits", "12345", "A flag key may be all digits."),
    ("dunder", "__class__", "A flag key is data, never an attribute name."),
    ("wildcard", "%_*", "Wildcards of query languages have no meaning in a flag key."),
)


def _key(name: str, key: str, says: str) -> None:
    def check(h: Harness) -> None:
        unique = f"{key}{h.key('')}"
        h.serving("x", key=unique)
        same(succeeds(ask(h.provider, unique, "default")).value, "x", f"key {unique!r}")

    add(f"keys.{name}", check, text=says)


for _entry in KEYS:
    _key(*_entry)


@rule()
def keys_case(h: Harness) -> None:
    """Flag keys are case-sensitive."""
    key = h.serving("lower", key=h.key("case")).key
    h.serving("upper", key=key.upper())
    same(ask(h.provider, key, "default").value, "lower")
    same(ask(h.provider, key.upper(), "default").value, "upper")


@rule()
def keys_blanks(h: Harness) -> None:
    """Blanks are part of a key: asking for " key" does not answer "key"."""
    key = h.serving("x").key
    for odd in (f" {key}", f"{key} ", f"{key}\n"):
        same(str(ask(h.provider, odd, "default").error_code), "FLAG_NOT_FOUND", f"key {odd!r}")


@rule()
def keys_prefix(h: Harness) -> None:
    """A key that is the beginning of another is another flag."""
    key = h.serving("short").key
    h.serving("longer", key=f"{key}.more")
    same(ask(h.provider, key, "default").value, "short")
    same(ask(h.provider, f"{key}.more", "default").value, "longer")


@rule()
def context_none(h: Harness) -> None:
    """No context is an empty context: a flag that needs none answers."""
    same(succeeds(ask(h.provider, h.serving("x").key, "default", None)).value, "x")


@rule()
def context_empty(h: Harness) -> None:
    """An empty context: a flag that needs none answers."""
    same(succeeds(ask(h.provider, h.serving("x").key, "default", EvaluationContext())).value, "x")


@rule()
def context_no_targeting_key(h: Harness) -> None:
    """A context without a targeting key: a flag that needs none answers, targets or not."""
    flag = h.serving("x", targets=(Targets("other", ("ann",)),))
    for unit in (None, ""):
        context = EvaluationContext(unit, {"plan": "pro"})
        same(succeeds(ask(h.provider, flag.key, "default", context)).value, "x", f"targeting key {unit!r}")


@rule(Cap.TARGETING)
def context_long_key(h: Harness) -> None:
    """A targeting key of 1,000 characters is one unit like any other."""
    unit = "u" * 1000
    flag = h.serving("x", targets=(Targets("other", (unit,)),))
    same(succeeds(ask(h.provider, flag.key, "default", user(unit))).value, "another text")
    same(succeeds(ask(h.provider, flag.key, "default", user(unit[:-1]))).value, "x")


@rule(Cap.TARGETING)
def context_odd_keys(h: Harness) -> None:
    """Unicode, blanks and case in a targeting key count."""
    for unit, twin in (("größe 世界", "grosse 世界"), (" ann", "ann"), ("Ann", "ann"), ("a\tb", "a b")):
        flag = h.serving("x", targets=(Targets("other", (unit,)),))
        same(ask(h.provider, flag.key, "default", user(unit)).value, "another text", f"unit {unit!r}")
        same(ask(h.provider, flag.key, "default", user(twin)).value, "x", f"unit {twin!r}")


@rule()
def context_not_changed(h: Harness) -> None:
    """The provider changes nothing in the context it is given."""
    attributes: dict[str, Any] = {"plan": "pro", "org": {"name": "acme", "tags": ["a"]}, "kind": "org"}
    context = EvaluationContext("ann", attributes)
    before = copy.deepcopy(attributes)
    for key in (h.serving("x", targets=(Targets("other", ("bob",)),)).key, h.key("missing")):
        ask(h.provider, key, "default", context)
    same(dict(context.attributes), before)
    same(context.targeting_key, "ann")


@rule()
def context_many(h: Harness) -> None:
    """A thousand attributes disturb nothing."""
    context = EvaluationContext("ann", {f"attribute-{n}": n for n in range(1000)})
    same(succeeds(ask(h.provider, h.serving("x").key, "default", context)).value, "x")


@rule(Cap.TARGETING)
def context_not_remembered(h: Harness) -> None:
    """A context counts for its own evaluation only."""
    flag = h.serving("x", targets=(Targets("other", ("ann",)),))
    for unit, expected in (("ann", "another text"), ("bob", "x"), ("ann", "another text"), ("bob", "x")):
        came = ask(h.provider, flag.key, "default", user(unit)).value
        holds(came == expected, expected=f"{expected} for {unit}", came=came)
