"""Pure: one change to a feature's document that leaves all else of it as it is, whoever made it."""

from __future__ import annotations

from flagbrake.errors import InvalidInput
from flagbrake.model.flag import Flag, Serve
from flagbrake.model.values import MISMATCH, WHOLE, coerce
from flagbrake_unleash.translate import (
    PERCENT,
    Document,
    bucketings_of,
    is_plain,
    mark_of,
    owned_strategy,
    passes_on,
    rollout_of,
    shares_of,
    stickiness_of,
    strategy_from_serve,
    takes_share,
)


def switched(document: Document, *, on: bool) -> Document:
    """On or off, and nothing else.

    A feature without an active strategy gets one for 0 % first: the server would add one for everybody.
    """
    made = {**document, "enabled": on}
    if on and not document["enabled"] and all(s["disabled"] for s in document["strategies"]):
        made["strategies"] = [*document["strategies"], _owned(document["name"], 0)]
    return made


def distributed(document: Document, flag: Flag, serve: Serve, rule: str | None) -> Document:
    """The serve of the owned strategy, or of one rule; the units stay hashed as they are.

    Raises:
        InvalidInput: a share that Unleash cannot have, or strategies that cannot be told apart as rules.
    """
    meant = strategy_from_serve(flag, serve, like=document)
    strategies = list(document["strategies"])
    place = _place_of(document, rule)
    if place is None:
        if rule is not None:
            raise InvalidInput(f"Flag '{flag.key}' has no rule '{rule}'.", cure="flagbrake flag show")
        return {**document, "strategies": [*strategies, meant]}
    old = strategies[place]
    partial = meant["parameters"]["rollout"] != str(WHOLE // PERCENT)
    if partial and not takes_share(old):
        raise InvalidInput(
            f"A strategy '{old['name']}' of flag '{flag.key}' takes no share.", cure="another strategy, in Unleash"
        )
    later = any(rollout_of(s) for s in strategies[place + 1 :] if not s["disabled"])
    if partial and later and is_plain(document) and not passes_on(serve):
        raise InvalidInput(
            f"Whom rule '{rule}' of flag '{flag.key}' leaves out is asked by the strategies after it, and may be on.",
            cure="replace it",
        )
    strategies[place] = {**old, **_shared(old, meant, serve, flag.key)} if takes_share(old) else dict(old)
    if not is_plain(document):
        strategies[place]["variants"] = _as_before(meant["variants"], old)
    return {**document, "strategies": strategies}


def _shared(old: Document, meant: Document, serve: Serve, key: str) -> Document:
    """The strategy with its new share, by the name that the server has for all of its kind today."""
    wanted = meant["parameters"]
    parameters = {name: text for name, text in old["parameters"].items() if name != "percentage"}
    parameters = {"groupId": key, **parameters, "stickiness": stickiness_of(old)}
    if any(bucketing.group is not None for bucketing in bucketings_of(serve)):
        parameters |= {"groupId": wanted["groupId"], "stickiness": wanted["stickiness"]}
    parameters["rollout"] = wanted["rollout"]
    return {"name": "flexibleRollout", "parameters": dict(sorted(parameters.items()))}


def _place_of(document: Document, rule: str | None) -> int | None:
    strategies = document["strategies"]
    if rule is None:
        owned = owned_strategy(document)
        return None if owned is None else next(n for n, s in enumerate(strategies) if s is owned)
    active = [n for n, s in enumerate(strategies) if not s["disabled"]]
    named = next((n for n in active if mark_of(strategies[n]).get("rule") == rule), None)
    if named is not None or not rule.isdigit():
        return named
    number = int(rule) - 1
    return active[number] if 0 <= number < len(active) else None


def _as_before(variants: list[Document], old: Document) -> list[Document]:
    """Who has a variant keeps it as far as the new shares allow: the same stickiness, and the same order of dealing.

    A variant that this strategy had is worth there what it was.
    """
    order = [v["name"] for v in old["variants"] if v["weight"]]
    had = {v["name"]: v for v in old["variants"]}
    stickiness = next((v["stickiness"] for v in old["variants"]), stickiness_of(old))
    made = []
    for variant in sorted(variants, key=lambda v: order.index(v["name"]) if v["name"] in order else len(order)):
        payload = had.get(variant["name"], variant).get("payload")
        fresh = {name: value for name, value in variant.items() if name != "payload"}
        made.append({**fresh, "stickiness": stickiness, **({"payload": payload} if payload else {})})
    return made


def _owned(key: str, share: int) -> Document:
    return {
        "name": "flexibleRollout",
        "title": "",
        "disabled": False,
        "parameters": {"groupId": key, "rollout": str(share * 100 // WHOLE), "stickiness": "default"},
        "constraints": [],
        "segments": [],
        "variants": [],
    }


def check_flag(flag: Flag) -> None:
    """Refuse a definition that nobody could serve.

    Raises:
        InvalidInput: no variants, an unknown one served, or a value of another kind.
    """
    names = flag.variant_names
    served = [flag.default, *(rule.serve for rule in flag.rules), *(t.variant for t in flag.targets)]
    asked = [name for serve in served for name in shares_of(serve)] + ([flag.off_variant] if flag.off_variant else [])
    unknown = next((name for name in asked if name not in names), None)
    if not names or unknown is not None:
        raise InvalidInput(
            f"Flag '{flag.key}' has no variant '{unknown}'." if names else f"Flag '{flag.key}' has no variants.",
            cure=" or ".join(names) or "at least one",
        )
    for variant in flag.variants:
        if coerce(variant.value, flag.kind) is MISMATCH:
            raise InvalidInput(
                f"Variant '{variant.name}' of flag '{flag.key}' is no {flag.kind.value}.", cure="its kind"
            )
    for serve in served:
        shares = shares_of(serve)
        if sum(shares.values()) != WHOLE or any(not 0 <= s <= WHOLE for s in shares.values()):
            raise InvalidInput(f"The shares of flag '{flag.key}' do not make 100 %.", cure="shares that add up to 100")


def check_whole(flag: Flag) -> None:
    """Refuse a whole definition that nobody could serve.

    Raises:
        InvalidInput: as :func:`check_flag`, and several prerequisites.
    """
    check_flag(flag)
    if len(flag.prerequisites) > 1:
        # The server takes a second one for the first one's successor, and says nothing.
        named = ", ".join(prerequisite.flag for prerequisite in flag.prerequisites)
        raise InvalidInput(f"Unleash takes one prerequisite, and flag '{flag.key}' has {named}.", cure="one of them")
