"""What a change is called, and the flag that should come of it. For controls: every adapter's, and ours."""

from __future__ import annotations

from dataclasses import replace

from flagbrake.errors import Conflict, InvalidInput, NotFound
from flagbrake.model.flag import Distribution, Flag, Serve
from flagbrake.model.state import Archive, Change, Create, Replace, SetDistribution, SetOn, SetTargets


def verb(change: Change) -> str:
    """The change's name in audit entries: ``set-on``, ``set-distribution``, ``create``, ..."""
    match change:
        case SetOn():
            return "set-on"
        case SetDistribution():
            return "set-distribution"
        case SetTargets():
            return "set-targets"
        case Create():
            return "create"
        case Replace():
            return "replace"
        case Archive():
            return "archive"


def intended(flag: Flag | None, change: Change) -> Flag:
    """The flag as it should be after the change; ``flag`` is ``None`` when there is none yet.

    A ``Replace`` with a native document gives its ``flag``: what the document says is the adapter's to read.

    Raises:
        NotFound: there is no flag to change (an adapter that knows the other keys names the nearest itself).
        Conflict: Create, and the key exists.
        InvalidInput: an unknown variant or rule is named.
    """
    if isinstance(change, Create):
        if flag is not None:
            raise Conflict(f"Flag '{change.key}' exists already.", cure="another key, or change the one that is there")
        _check_variants(change.flag, change.flag.default)
        return change.flag
    if isinstance(change, Replace):
        return change.flag
    if flag is None:
        raise NotFound(f"There is no flag '{change.key}'.")
    match change:
        case SetOn(on=on, off_variant=off_variant):
            return _switched(flag, on=on, off_variant=off_variant)
        case SetDistribution(serve=serve, rule=rule, turn_on=turn_on):
            _check_variants(flag, serve)
            changed = replace(flag, on=True) if turn_on else flag
            return replace(changed, default=serve) if rule is None else _with_rule(changed, rule, serve)
        case SetTargets(targets=targets):
            for target in targets:
                _check_variants(flag, target.variant)
            return replace(flag, targets=targets)
        case Archive():
            return replace(flag, archived=True)


def _switched(flag: Flag, *, on: bool, off_variant: str | None) -> Flag:
    if off_variant is None:
        return replace(flag, on=on)
    _check_variants(flag, off_variant)
    return replace(flag, on=on, off_variant=off_variant)


def _check_variants(flag: Flag, serve: Serve) -> None:
    names = flag.variant_names
    asked = [serve] if isinstance(serve, str) else [weight.variant for weight in serve.weights]
    if isinstance(serve, Distribution) and serve.gate is not None and serve.gate.outside is not None:
        asked.append(serve.gate.outside)
    for name in asked:
        if name not in names:
            raise InvalidInput(f"Flag '{flag.key}' has no variant '{name}'.", cure=" or ".join(names))


def _with_rule(flag: Flag, rule_id: str, serve: Serve) -> Flag:
    if not any(rule.id == rule_id for rule in flag.rules):
        there = ", ".join(rule.id for rule in flag.rules) or "it has no rules"
        raise InvalidInput(f"Flag '{flag.key}' has no rule '{rule_id}'.", cure=there)
    rules = tuple(replace(rule, serve=serve) if rule.id == rule_id else rule for rule in flag.rules)
    return replace(flag, rules=rules)
