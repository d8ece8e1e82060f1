"""A flag while it is changed: what instructions may ask for, checked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flagbrake_launchdarkly.emulator.refusals import Refusal, invalid

Json = dict[str, Any]

WHOLE: Final = 100_000
OPERATORS: Final = frozenset(
    {
        "in", "endsWith", "startsWith", "matches", "contains",
        "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual",
        "before", "after", "semVerEqual", "semVerLessThan", "semVerGreaterThan", "segmentMatch",
    }
)  # fmt: skip


def new_id() -> str:
    """What LaunchDarkly gives to variations, rules and clauses."""
    return str(uuid.uuid4())


@dataclass(slots=True)
class Edit:
    """A working copy of one flag, and what its instructions may look at.

    Args:
        flag: the copy; instructions change it in place.
        environment: the key of the environment that instructions change; ``None`` when none is named.
        flags: every flag of the project, for prerequisites; never changed.
        members: who may maintain a flag.
        deleted: an instruction asked to delete the flag.
    """

    flag: Json
    environment: str | None
    flags: Mapping[str, Json]
    members: frozenset[str] = frozenset()
    deleted: bool = False

    @property
    def config(self) -> Json:
        """The flag in the environment that is changed."""
        if self.environment is None:
            raise invalid("environmentKey is required for this instruction")
        found: Json | None = self.flag["environments"].get(self.environment)
        if found is None:
            raise invalid(f"unknown environment '{self.environment}'")
        return found

    def index(self, variation_id: str) -> int:
        """The index of one of the flag's variations."""
        return index_of(self.flag, variation_id)

    def rule(self, rule_id: str) -> Json:
        """A rule of the environment."""
        for rule in self.config["rules"]:
            if rule["_id"] == rule_id:
                found: Json = rule
                return found
        raise invalid(f"there is no rule with ID '{rule_id}'")

    def clause(self, rule_id: str, clause_id: str) -> Json:
        """A clause of a rule."""
        for clause in self.rule(rule_id)["clauses"]:
            if clause["_id"] == clause_id:
                found: Json = clause
                return found
        raise invalid(f"there is no clause with ID '{clause_id}' in rule '{rule_id}'")

    def prerequisite(self, key: str, variation_id: str) -> Json:
        """A prerequisite, as an environment keeps it."""
        other = self.flags.get(key)
        if other is None:
            raise invalid(f"unknown prerequisite flag '{key}'")
        if self._leads_back(key):
            raise invalid(f"'{key}' depends on this flag itself")
        return {"key": key, "variation": index_of(other, variation_id)}

    def _leads_back(self, key: str) -> bool:
        """True if a flag is this one, or has it as a prerequisite, however far."""
        waiting, seen = [key], set()
        while waiting:
            one = waiting.pop()
            if one == self.flag["key"]:
                return True
            if one in seen or one not in self.flags or self.environment is None:
                continue
            seen.add(one)
            waiting += [p["key"] for p in self.flags[one]["environments"][self.environment]["prerequisites"]]
        return False


@dataclass(frozen=True, slots=True)
class Given:
    """An instruction's parameters, each of the type it must have."""

    data: Mapping[str, Any]

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self.data.get(name, default)
        if not isinstance(value, str) or (not value and default is None and name != "value"):
            raise invalid(f"{name} must be a string")
        return value or default or value

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = self.data.get(name)
        if not isinstance(value, bool):
            raise invalid(f"{name} must be a boolean")
        return value

    def items(self, name: str) -> Sequence[Any]:
        """A list."""
        value = self.data.get(name)
        if not isinstance(value, list):
            raise invalid(f"{name} must be a list")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        values = self.items(name)
        if not all(isinstance(value, str) for value in values):
            raise invalid(f"{name} must be a list of strings")
        return list(values)

    def objects(self, name: str) -> Iterator[Given]:
        """A list of objects."""
        for one in self.items(name):
            if not isinstance(one, dict):
                raise invalid(f"{name} must be a list of objects")
            yield Given(one)


def index_of(flag: Json, variation_id: str) -> int:
    """The index of a variation.

    Raises:
        Refusal: the flag has none with this ID.
    """
    for index, variation in enumerate(flag["variations"]):
        if variation["_id"] == variation_id:
            return index
    raise invalid(f"invalid variation ID '{variation_id}' for flag '{flag['key']}'")


def serve_of(edit: Edit, given: Given) -> Json:
    """``variation`` or ``rollout`` from ``variationId`` or ``rolloutWeights``."""
    weights = given.data.get("rolloutWeights")
    if weights is None:
        return {"variation": edit.index(given.text("variationId"))}
    if given.data.get("variationId"):
        raise invalid("variationId and rolloutWeights cannot both be given")
    if not isinstance(weights, dict) or not weights:
        raise invalid("rolloutWeights must map variation IDs to weights")
    indexed = sorted((edit.index(variation_id), weight) for variation_id, weight in weights.items())
    rollout: Json = {"variations": [{"variation": index, "weight": weight} for index, weight in indexed]}
    rollout["contextKind"] = given.text("rolloutContextKind", "user")
    if given.data.get("rolloutBucketBy"):
        rollout["bucketBy"] = given.text("rolloutBucketBy")
    check_rollout(rollout, len(edit.flag["variations"]))
    return {"rollout": rollout}


def clauses_of(given: Given, name: str = "clauses") -> list[Json]:
    """The clauses of an instruction, each with an ID."""
    return [clause_of(one.data) for one in given.objects(name)]


def clause_of(data: Any) -> Json:
    """A clause as it is kept.

    Raises:
        Refusal: it is none.
    """
    if not isinstance(data, Mapping):
        raise invalid("a clause must be an object")
    given = Given(data)
    op = given.text("op")
    if op not in OPERATORS:
        raise invalid(f"unknown operator '{op}'")
    attribute = given.text("attribute", "segmentMatch" if op == "segmentMatch" else None)
    values = list(given.items("values"))
    negate = data.get("negate", False)
    if not isinstance(negate, bool):
        raise invalid("negate must be a boolean")
    kept = data.get("_id")
    clause_id = kept if isinstance(kept, str) and kept else new_id()
    clause: Json = {"_id": clause_id, "attribute": attribute, "op": op, "values": values}
    kind = data.get("contextKind")
    if op != "segmentMatch" or kind:
        clause["contextKind"] = given.text("contextKind", "user")
    return {**clause, "negate": negate}


def check_rollout(rollout: Any, variations: int) -> None:
    """Refuse a rollout whose weights are no integers, do not add up or name an unknown variation."""
    parts = rollout.get("variations") if isinstance(rollout, dict) else None
    if not isinstance(parts, list) or not parts:
        raise invalid("a rollout needs variations")
    total = 0
    for part in parts:
        weight = part.get("weight") if isinstance(part, dict) else None
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= WHOLE:
            raise invalid("weights must be integers between 0 and 100000")
        check_index(part.get("variation"), variations)
        total += weight
    if total != WHOLE:
        raise invalid(f"weights must sum to 100000, not {total}")


def check_index(value: Any, variations: int) -> None:
    """Refuse what is not the index of a variation."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < variations:
        raise invalid(f"variation index {value!r} is out of range")


def check_flag(flag: Json) -> None:
    """Refuse a flag that no longer holds together, whatever changed it.

    Raises:
        Refusal: an index, a weight, a clause or a target that does not fit.
    """
    count = len(flag["variations"])
    if count < 1:
        raise invalid("a flag needs variations")
    for side in ("onVariation", "offVariation"):
        check_index(flag["defaults"].get(side), count)
    for config in flag["environments"].values():
        _check_config(config, count)


def _check_config(config: Json, count: int) -> None:
    if not isinstance(config.get("on"), bool):
        raise invalid("on must be a boolean")
    if config.get("offVariation") is not None:
        check_index(config["offVariation"], count)
    _check_serve(config["fallthrough"], count)
    for rule in config["rules"]:
        _check_serve(rule, count)
        if any(one.get("op") not in OPERATORS or not isinstance(one.get("values"), list) for one in rule["clauses"]):
            raise invalid("a clause needs a known operator and values")
    _check_targets([*config["targets"], *config["contextTargets"]], count)
    if not all(isinstance(prerequisite.get("key"), str) for prerequisite in config["prerequisites"]):
        raise invalid("a prerequisite needs a key")


def _check_targets(targets: list[Json], count: int) -> None:
    seen: set[tuple[str, str]] = set()
    for target in targets:
        check_index(target.get("variation"), count)
        for value in target["values"]:
            if not isinstance(value, str):
                raise invalid("target values must be strings")
            where = (target.get("contextKind", "user"), value)
            if where in seen:
                raise invalid(f"key '{value}' is targeted more than once")
            seen.add(where)


def _check_serve(serve: Any, count: int) -> None:
    if not isinstance(serve, dict):
        raise invalid("a rule must serve a variation or a rollout")
    rollout, variation = serve.get("rollout"), serve.get("variation")
    if (rollout is None) == (variation is None):
        raise invalid("a rule must serve either a variation or a rollout")
    if rollout is not None:
        check_rollout(rollout, count)
    else:
        check_index(variation, count)


__all__ = [
    "OPERATORS",
    "WHOLE",
    "Edit",
    "Given",
    "Json",
    "Refusal",
    "check_flag",
    "check_index",
    "check_rollout",
    "clause_of",
    "clauses_of",
    "index_of",
    "new_id",
    "serve_of",
]
