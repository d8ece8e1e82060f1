"""Pure: the parts of a definition that a control reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flagbrake.errors import InvalidInput
from flagbrake.model.flag import Distribution, Flag, Serve, Targets
from flagbrake.model.loss import Loss, Severity
from flagbrake.model.state import FlagState
from flagbrake.model.values import WHOLE
from flagbrake_split import errors
from flagbrake_split.api import JSON
from flagbrake_split.splits import INDIVIDUAL

#: One percent of 100,000: Split's buckets are whole percents.
STEP: Final = 1000
#: The fields of a definition that a writer decides.
WRITABLE: Final = (
    "treatments",
    "defaultTreatment",
    "baselineTreatment",
    "trafficAllocation",
    "rules",
    "defaultRule",
    "flagSets",
    "impressionsDisabled",
    "prerequisites",
    "killed",
)
#: The fields that are common to all environments.
ABOUT: Final = ("description", "tags")
#: What changes in a definition though nobody changes the flag.
NOISE: Final = frozenset({"lastTrafficReceivedAt"})
TIMES: Final = frozenset({"lastUpdateTime"})


def definition_in(state: FlagState) -> JSON:
    """The definition of a flag as read."""
    definition: JSON = state.native["definition"]
    return definition


def about_in(state: FlagState) -> JSON:
    """What is common to all environments, of a flag as read."""
    metadata: JSON = state.native["metadata"]
    return metadata


def part(document: Mapping[str, Any], names: Sequence[str]) -> JSON:
    """Some fields of a document, those that are there."""
    return {name: document[name] for name in names if document.get(name) is not None}


def writable(definition: Mapping[str, Any]) -> JSON:
    """The fields of a definition that a writer decides."""
    return part(definition, WRITABLE)


def kept(key: str, native: Any) -> tuple[JSON, JSON]:
    """The fields of a definition, and what is common to all environments, of a document that was kept.

    Raises:
        InvalidInput: it is no document of ours, or another flag's.
    """
    try:
        definition, metadata = native["definition"], native["metadata"]
        name = definition["name"]
    except (KeyError, TypeError) as error:
        raise InvalidInput(
            f"The document to put in place of '{key}' is not one of Split's.", cure="--lift-only"
        ) from error
    if name != key:
        raise InvalidInput(f"The document to put in place of '{key}' is the flag '{name}'.", cure=f"the one of '{key}'")
    return writable(definition), part(metadata, ABOUT)


def closed(fields: JSON) -> JSON:
    """The same flag, serving nothing but its default treatment."""
    treatments = [{k: v for k, v in t.items() if k not in {"keys", "segments"}} for t in fields["treatments"]]
    everybody = [{"treatment": fields["defaultTreatment"], "size": 100}]
    return {**fields, "treatments": treatments, "rules": [], "defaultRule": everybody}


def refuse_losses(key: str, losses: Sequence[Loss]) -> None:
    """Refuse what would be answered otherwise than it was meant; which units are in a share is the vendor's affair.

    Raises:
        InvalidInput: the first of those losses.
    """
    grave = [loss for loss in losses if loss.severity is Severity.ANSWERS]
    if grave:
        more = f" (and {len(grave) - 1} more)" if len(grave) > 1 else ""
        raise InvalidInput(f"Split cannot say flag '{key}' as it is: {grave[0]}{more}.", cure="change that part")


def buckets(key: str, serve: Serve) -> list[JSON]:
    """What is served, as buckets of whole percents.

    Raises:
        InvalidInput: a share between two percents (the nearest are told), or shares that do not add up.
    """
    if isinstance(serve, str):
        return [{"treatment": serve, "size": 100}]
    shares = [weight.share for weight in serve.weights]
    if sum(shares) != WHOLE or not all(0 <= share <= WHOLE for share in shares):
        raise InvalidInput(f"The shares of flag '{key}' do not add up to 100 %.", cure="shares that do")
    for share in shares:
        if share % STEP:
            raise errors.too_fine(key, share)
    return [{"treatment": w.variant, "size": w.share // STEP} for w in serve.weights if w.share]


def same_gate(before: Serve, serve: Serve) -> bool:
    """True if both let the same share of units in, and not all."""
    old = before.gate if isinstance(before, Distribution) else None
    new = serve.gate if isinstance(serve, Distribution) else None
    return old is not None and new is not None and (old.share, old.outside) == (new.share, new.outside)


def place_of_rule(flag: Flag, rule_id: str, rules: Sequence[JSON]) -> int:
    """Where in the definition a rule of the flag stands.

    Raises:
        InvalidInput: it stands in no one place.
    """
    ids = [rule.id for rule in flag.rules if not rule.id.startswith(INDIVIDUAL)]
    if rule_id not in ids:
        raise InvalidInput(
            f"'{rule_id}' of flag '{flag.key}' names units one by one: it serves one variant.", cure=", ".join(ids)
        )
    if len(ids) != len(rules):
        raise InvalidInput(
            f"A rule of flag '{flag.key}' cannot be read, so rules cannot be told apart.", cure="change it in Split"
        )
    return ids.index(rule_id)


def keys_by_treatment(key: str, targets: Sequence[Targets]) -> dict[str, list[str]]:
    """Individual keys by treatment.

    Raises:
        InvalidInput: targets of another context kind than users.
    """
    found: dict[str, list[str]] = {}
    for target in targets:
        if target.kind != "user":
            raise InvalidInput(f"Split targets users only, not '{target.kind}' (flag '{key}').", cure="a rule")
        found.setdefault(target.variant, []).extend(target.keys)
    return found
