"""Pure: what a treatment is worth. One rule from treatment and configuration to a value, and its inverse.

A treatment is a name with, perhaps, a configuration: a text that holds JSON. The value of each treatment of a
flag follows from all its treatments and from the kind somebody declared for the flag, if anybody did:

1. A configuration ``{"value": X}`` with no other field, or one that is a JSON scalar or list ``X``, says the
   value outright: X. Any other JSON object is an object value. What is not JSON counts as no configuration.
2. The kind is the first of these that every treatment has a value of: the declared kind; the kind of the values
   said outright; boolean; object (if any treatment has an object); string.
3. As a **boolean**: the value said outright, else by the treatment's name, whatever its letters' case: ``on``
   and ``true``, ``off`` and ``false``. An object beside such a name is a configuration only, not the value.
   As a **string**: the value said outright, else the treatment's name.
   As an **integer** or **float**: the value said outright, else the name read as a number (if declared).
   As an **object**: the configuration; a treatment without one is worth ``{}``.

So ``on``/``off`` are True and False, ``red``/``blue`` are texts, ``v1`` with ``{"model": "a"}`` is that object,
and what Split has no room for is written as ``{"value": 5}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flagbrake.model.flag import Flag, Variant
from flagbrake.model.loss import Loss, Severity
from flagbrake.model.values import MISMATCH, FlagKind, coerce, kind_of

_BY_NAME: Final = {"on": True, "true": True, "off": False, "false": False}
#: The one field that says a value outright.
VALUE: Final = "value"
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class Worth:
    """The kind of a flag, the value of each of its treatments, and which configurations are no part of them."""

    kind: FlagKind
    values: Mapping[str, Any]
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class _Treatment:
    name: str
    outright: Any  # the value said outright, or _NOTHING
    content: Any  # the configuration as JSON, or _NOTHING
    readable: bool

    def value(self, kind: FlagKind, *, declared: bool) -> Any:
        if self.outright is not _NOTHING:
            fitting = coerce(self.outright, kind)
            if fitting is MISMATCH and kind is FlagKind.OBJECT and isinstance(self.content, dict):
                return self.content
            return fitting
        if kind is FlagKind.OBJECT:
            return {} if self.content is _NOTHING else self.content
        if kind is FlagKind.BOOLEAN:
            return _BY_NAME.get(self.name.lower(), MISMATCH)
        if kind is FlagKind.STRING:
            return self.name if self.content is _NOTHING else MISMATCH
        return coerce(_number(self.name), kind) if declared and self.content is _NOTHING else MISMATCH


def worth(treatments: Mapping[str, str | None], kind: FlagKind | None = None) -> Worth:
    """The values of these treatments (name -> configuration, ``None`` for none), by the rule of this module.

    ``kind`` is what somebody declared; it is not used where a treatment has no value of that kind, and the
    losses say so.
    """
    read = [_read(name, text) for name, text in treatments.items()]
    losses = [
        Loss(f"configurations.{t.name}", "not JSON", "none: the treatment counts as one without", Severity.NOTE)
        for t in read
        if not t.readable
    ]
    for tried in _candidates(read, kind):
        values = {t.name: t.value(tried, declared=tried is kind) for t in read}
        if MISMATCH not in values.values():
            break
    else:
        tried = FlagKind.STRING
        values = {t.name: _text(t) for t in read}
    if kind is not None and tried is not kind:
        fact = f"a treatment has no value of the declared kind {kind}"
        losses.append(Loss("treatments", fact, f"the flag counts as {tried}"))
    losses.extend(_unused(read, values, tried))
    return Worth(tried, values, tuple(losses))


def configurations(variants: tuple[Variant, ...], kind: FlagKind) -> dict[str, str]:
    """The configurations that make these variants worth their values: the inverse of :func:`worth`.

    The plainest that will do: none, objects as they are, or ``{"value": ...}`` for each.
    """
    wanted = {v.name: v.value for v in variants}
    if _means(dict.fromkeys(wanted), wanted, kind):
        return {}
    if kind is FlagKind.OBJECT:
        plain: dict[str, str | None] = {name: _dumps(value) for name, value in wanted.items()}
        if _means(plain, wanted, kind):
            return {name: text for name, text in plain.items() if text is not None}
    return {name: _dumps({VALUE: value}) for name, value in wanted.items()}


def kept_configurations(flag: Flag, native: Mapping[str, str | None]) -> dict[str, str]:
    """As :func:`configurations`, but the texts that are there stay where they already mean the flag's values."""
    names = set(flag.variant_names)
    there = {name: text for name, text in native.items() if name in names}
    texts = {v.name: there.get(v.name) for v in flag.variants}
    if any(text is not None for text in texts.values()):
        values = {v.name: v.value for v in flag.variants}
        found = worth(texts, flag.kind)
        if found.kind is flag.kind and same(found.values, values):
            return {name: text for name, text in texts.items() if text is not None}
    return configurations(flag.variants, flag.kind)


def same(one: Any, other: Any) -> bool:
    """Are two JSON values the same, types included (True is not 1, 1.0 is not 1)?"""
    return _dumps(one) == _dumps(other)


def _means(texts: Mapping[str, str | None], wanted: Mapping[str, Any], kind: FlagKind) -> bool:
    found = worth(texts)
    return found.kind is kind and same(found.values, wanted)


def _read(name: str, text: str | None) -> _Treatment:
    if text is None or (isinstance(text, str) and not text.strip()):
        return _Treatment(name, _NOTHING, _NOTHING, readable=True)
    try:
        content = json.loads(text, parse_constant=_refuse) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return _Treatment(name, _NOTHING, _NOTHING, readable=False)
    if content is None:
        return _Treatment(name, _NOTHING, _NOTHING, readable=True)
    if isinstance(content, dict):
        alone = content.get(VALUE) if content.keys() == {VALUE} else None
        return _Treatment(name, _NOTHING if alone is None else alone, content, readable=True)
    return _Treatment(name, content, content, readable=True)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)  # NaN and the infinities are not JSON


def _candidates(read: list[_Treatment], declared: FlagKind | None) -> list[FlagKind]:
    outright = {kind_of(t.outright) for t in read if t.outright is not _NOTHING}
    numbers = {FlagKind.INTEGER, FlagKind.FLOAT}
    candidates = [] if declared is None else [declared]
    if outright == numbers:
        candidates.append(FlagKind.FLOAT)
    elif len(outright) == 1:
        candidates.extend(k for k in outright if k is not None)
    candidates.append(FlagKind.BOOLEAN)
    if any(isinstance(t.content, dict) for t in read):
        candidates.append(FlagKind.OBJECT)
    return [*candidates, FlagKind.STRING]


def _text(treatment: _Treatment) -> str:
    return treatment.outright if isinstance(treatment.outright, str) else treatment.name


def _unused(read: list[_Treatment], values: Mapping[str, Any], kind: FlagKind) -> list[Loss]:
    losses = []
    for t in read:
        where = f"configurations.{t.name}"
        if kind is FlagKind.OBJECT and t.content is _NOTHING:
            losses.append(Loss(where, "no configuration in a flag of objects", "its value is {}", Severity.NOTE))
        elif t.content is not _NOTHING and not same(values[t.name], t.content) and not same(values[t.name], t.outright):
            # Beside a value stands what nobody asks OpenFeature for; a value that is not used was meant to be one.
            severity = Severity.NOTE if t.outright is _NOTHING else Severity.ANSWERS
            losses.append(Loss(where, "a configuration that is not the value", "only Split has it", severity))
    return losses


def _number(name: str) -> Any:
    try:
        found = json.loads(name, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return found if type(found) in (int, float) else None


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value is not _NOTHING else ""
