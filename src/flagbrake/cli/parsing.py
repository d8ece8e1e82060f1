"""Words on the command line become nouns of the model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from openfeature.evaluation_context import EvaluationContext

from flagbrake.errors import InvalidInput
from flagbrake.model.flag import Bucketing, Distribution, Flag, Serve, Variant, Weight
from flagbrake.model.values import WHOLE, FlagKind, percent_of, share_of

_PERCENT = re.compile(r"^-?\d+(\.\d+)?%?$")


def value_of(text: str) -> Any:
    """JSON if it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        if text[:1] in {"{", "["}:
            raise InvalidInput(f"'{text}' is not JSON.", cure='such as {"color": "red"}') from None
        return text


def variants_of(words: Iterable[str]) -> tuple[Variant, ...]:
    """``v1`` (a string variant named for its value) or ``NAME=VALUE``."""
    found: dict[str, Variant] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not name:
            raise InvalidInput(f"'{word}' has no variant name.", cure="NAME or NAME=VALUE")
        if name in found:
            raise InvalidInput(f"Variant '{name}' is given twice.")
        found[name] = Variant(name, value_of(text) if equals else name)
    return tuple(found.values())


def serve_of(flag: Flag, words: list[str]) -> bool | Serve:
    """``on``/``off`` as a bool, one variant by name, or a distribution.

    Of percentages that leave a remainder, the rest goes to the one variant that is not named, or to the
    one served so far.
    """
    if len(words) == 1 and "=" not in words[0]:
        word = words[0]
        if flag.kind is FlagKind.BOOLEAN and word == "on" and flag.variant("on"):
            return "on"
        if word in {"on", "off"} and (flag.variant(word) is None or flag.kind is FlagKind.BOOLEAN):
            return word == "on"
        if flag.variant(word):
            return word
        if _PERCENT.match(word) and flag.kind is FlagKind.BOOLEAN and flag.variant("on"):
            return _split(flag, {"on": share_of(word)})
        raise InvalidInput(
            f"'{word}' is not a variant of {flag.key}.",
            cure=" or ".join(dict.fromkeys((*flag.variant_names, "on", "off"))),
        )
    shares: dict[str, int] = {}
    for word in words:
        name, equals, percent = word.partition("=")
        if not equals or flag.variant(name) is None:
            cure = " or ".join(f"{name}=10" for name in flag.variant_names)
            raise InvalidInput(f"'{word}' does not name a variant of {flag.key}.", cure=cure)
        shares[name] = share_of(percent)
    return _split(flag, shares)


def _split(flag: Flag, shares: dict[str, int]) -> Serve:
    total = sum(shares.values())
    if total > WHOLE:
        raise InvalidInput(f"The percentages of {flag.key} add up to {percent_of(total)}.", cure="100 in all")
    if total < WHOLE:
        rest = _remainder(flag, shares)
        shares = {**shares, rest: WHOLE - total}
    whole = [name for name, share in shares.items() if share == WHOLE]
    if whole and len(shares) == 1:
        return whole[0]
    present = flag.default if isinstance(flag.default, Distribution) else None
    return Distribution(
        tuple(Weight(name, share) for name, share in shares.items()), present.bucketing if present else Bucketing()
    )


def _remainder(flag: Flag, shares: dict[str, int]) -> str:
    others = [name for name in flag.variant_names if name not in shares]
    if len(others) == 1:
        return others[0]
    if isinstance(flag.default, str) and flag.default in others:
        return flag.default
    if isinstance(flag.default, Distribution):
        served = [w.variant for w in flag.default.weights if w.variant in others and w.share]
        if len(served) == 1:
            return served[0]
    if not others:
        total = percent_of(sum(shares.values()))
        raise InvalidInput(f"The percentages of {flag.key} add up to {total}, not 100.", cure="leave one of them out")
    raise InvalidInput(
        f"Who gets the rest of {flag.key} is not clear: {', '.join(others)}.", cure=f"add {others[0]}=PERCENT"
    )


def context_of(user: str | None, attributes: Iterable[str]) -> EvaluationContext:
    """``--user`` and ``--attribute NAME=VALUE`` as an evaluation context."""
    found: dict[str, Any] = {}
    for word in attributes:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise InvalidInput(f"'{word}' is not an attribute.", cure="NAME=VALUE")
        found[name] = value_of(text)
    return EvaluationContext(user, found)
