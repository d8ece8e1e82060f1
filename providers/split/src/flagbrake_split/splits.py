"""Pure: a split in the SDK's form (an entry of ``splitChanges``) <-> the flag."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from openfeature.flag_evaluation import Reason

from flagbrake.model.clause import OffFlag
from flagbrake.model.flag import Flag, Prerequisite, Rule, Serve, Targets, Variant
from flagbrake.model.loss import Loss, Severity, Translated
from flagbrake.model.values import FlagKind
from flagbrake_split.definition_matchers import definition_matcher, label
from flagbrake_split.hashing import (
    Hashing,
    allocation,
    gate_of,
    hashed,
    no_match,
    partitions_of,
    serve_of,
)
from flagbrake_split.matchers import Untranslatable, clause_of, matchers_of
from flagbrake_split.treatments import kept_configurations, worth

JSON = dict[str, Any]

WHITELIST: Final = "WHITELIST"
ROLLOUT: Final = "ROLLOUT"
#: Ids of rules that Split calls individual targets: they stand before the traffic allocation.
INDIVIDUAL: Final = "individual-"
_TRAFFIC_TYPE: Final = "user"


def flag_from_split(
    split: Mapping[str, Any], *, kind: FlagKind | None = None, tags: tuple[str, ...] = (), description: str = ""
) -> Translated[Flag]:
    """A split as a flag. ``kind`` is the declared kind, if there is one; see :mod:`flagbrake_split.treatments`.

    Individual keys become targets, conditions rules, a last condition for everybody the default, the traffic
    allocation a gate on all that is served from the first rollout condition on. A condition that no SDK of
    this vocabulary can read is left out and is a loss: the SDK answers ``control`` to the whole flag.
    """
    losses: list[Loss] = []
    reading = _Reading(split, losses)
    targets, rules, default = reading.conditions()
    configured: Mapping[str, str | None] = split.get("configurations") or {}
    names = dict.fromkeys([*reading.treatments, split["defaultTreatment"], *configured])
    values = worth({name: configured.get(name) for name in names}, kind)
    losses.extend(values.losses)
    version = split.get("changeNumber")
    flag = Flag(
        key=split["name"],
        kind=values.kind,
        variants=tuple(Variant(name, values.values[name]) for name in names),
        default=default,
        on=not split["killed"],
        off_variant=split["defaultTreatment"],
        targets=tuple(targets),
        rules=tuple(rules),
        prerequisites=tuple(
            Prerequisite(p["n"], tuple(p["ts"]), OffFlag.SERVES) for p in split.get("prerequisites") or ()
        ),
        tags=tags,
        description=description,
        archived=split.get("status", "ACTIVE") != "ACTIVE",
        version=version if isinstance(version, int) and version > 0 else 0,
    )
    return Translated(flag, tuple(losses))


class _Reading:
    """The conditions of one split, in order."""

    def __init__(self, split: Mapping[str, Any], losses: list[Loss]) -> None:
        self._split = split
        self._losses = losses
        self._default: str = split["defaultTreatment"]
        self._hashing = Hashing.of(split)
        self._gate = gate_of(split, self._hashing)
        self._targets: list[Targets] = []
        self._rules: list[Rule] = []
        self.treatments: list[str] = []

    def conditions(self) -> tuple[list[Targets], list[Rule], Serve]:
        conditions = list(self._split.get("conditions") or ())
        rollout = False
        for index, condition in enumerate(conditions):
            where = f"conditions[{index}]"
            individual = condition_type(condition) == WHITELIST
            rollout = rollout or not individual
            partitions = condition.get("partitions") or ()
            self.treatments.extend(p["treatment"] for p in partitions)
            gate = self._gate if rollout else None
            serve, losses = serve_of(partitions, where=where, default=self._default, hashing=self._hashing, gate=gate)
            self._losses.extend(losses)
            if index == len(conditions) - 1 and for_everybody(condition):
                return self._targets, self._rules, serve
            self._condition(condition, serve, where, individual=individual and not rollout)
        gate = self._gate if rollout else None
        return self._targets, self._rules, no_match(self._default, hashing=self._hashing, gate=gate)

    def _condition(self, condition: Mapping[str, Any], serve: Serve, where: str, *, individual: bool) -> None:
        keys = individual_keys(condition) if individual and not self._rules else None
        if keys is not None and isinstance(serve, str):
            self._targets.append(Targets(serve, tuple(keys)))
            return
        clauses = []
        for number, matcher in enumerate(condition["matcherGroup"]["matchers"]):
            try:
                clauses.append(clause_of(matcher))
            except Untranslatable as trouble:
                effect = "the SDK answers control to the whole flag; the rule is left out"
                self._losses.append(Loss(f"{where}.matchers[{number}]", str(trouble), effect))
                return
        taken = sum(rule.id.startswith(INDIVIDUAL) == individual for rule in self._rules)
        name = f"{INDIVIDUAL if individual else 'rule-'}{taken + 1}"
        self._rules.append(Rule(name, tuple(clauses), serve, condition.get("label") or ""))


def condition_type(condition: Mapping[str, Any]) -> str:
    """The type of a condition; it is an individual target where nothing is said, as for the SDK."""
    return str(condition.get("conditionType") or WHITELIST)


def for_everybody(condition: Mapping[str, Any]) -> bool:
    """Does this condition match whoever comes?"""
    matchers = condition["matcherGroup"]["matchers"]
    return len(matchers) == 1 and matchers[0]["matcherType"] == "ALL_KEYS" and not matchers[0].get("negate")


def individual_keys(condition: Mapping[str, Any]) -> list[str] | None:
    """The keys a condition names, ``None`` where it is more than a list of keys."""
    matchers = condition["matcherGroup"]["matchers"]
    if len(matchers) != 1 or matchers[0]["matcherType"] != WHITELIST or matchers[0].get("negate"):
        return None
    if (matchers[0].get("keySelector") or {}).get("attribute") is not None:
        return None
    return list(matchers[0]["whitelistMatcherData"]["whitelist"])


# --- the other way ---------------------------------------------------------------------------------------


def split_from_flag(
    flag: Flag, *, base: Mapping[str, Any] | None = None, rule_based: Collection[str] = ()
) -> Translated[JSON]:
    """A flag as a split. ``rule_based`` names the segments that have rules.

    ``base`` is the split it replaces: its seeds stay, and with them who is in which share; so do its traffic
    type, its flag sets and whatever else no flag says. Without it the flag's own seeds are used, and where it
    has none, seeds made up from its key.
    """
    there = base or {}
    without, flag = flag.valueless, flag.valued()
    writing = _Writing(flag, there, rule_based)
    effect = "what the treatment is worth, instead of the caller's default"
    writing.losses += [Loss(f"treatments.{name}", "a variant without a value", effect) for name in without]
    conditions = writing.conditions()
    document: JSON = {
        **there,
        "name": flag.key,
        "trafficTypeName": writing.traffic_type,
        "status": "ARCHIVED" if flag.archived else "ACTIVE",
        "changeNumber": there.get("changeNumber", flag.version),
        "killed": not flag.on,
        "defaultTreatment": writing.default_treatment,
        "algo": writing.hashed.hashing.algo,
        "seed": writing.hashed.hashing.seed,
        "trafficAllocation": writing.hashed.allocation,
        "trafficAllocationSeed": writing.hashed.hashing.allocation_seed,
        "configurations": kept_configurations(flag, there.get("configurations") or {}),
        "sets": list(there.get("sets") or ()),
        "impressionsDisabled": bool(there.get("impressionsDisabled", False)),
        "prerequisites": [{"n": p.flag, "ts": list(p.variants)} for p in flag.prerequisites],
        "conditions": conditions,
    }
    writing.unmentioned(document)
    return Translated(document, tuple(writing.losses))


class _Writing:
    """One flag on its way to a split."""

    def __init__(self, flag: Flag, base: Mapping[str, Any], rule_based: Collection[str]) -> None:
        self.losses: list[Loss] = []
        self._flag = flag
        self._base = base
        self._rule_based = rule_based
        self.traffic_type: str = base.get("trafficTypeName") or _TRAFFIC_TYPE
        self.default_treatment = self._default()
        known = Hashing.of(base) if "seed" in base else None
        self.hashed = hashed(flag, base=known, default=self.default_treatment)
        self.losses.extend(self.hashed.losses)
        for index, asked in enumerate(flag.prerequisites):
            if asked.off_flag is not OffFlag.SERVES:
                fact = f"'{asked.flag}' counts as {asked.off_flag} when it is off"
                effect = "in Split its default treatment counts"
                self.losses.append(Loss(f"prerequisites[{index}]", fact, effect, Severity.EDGE))

    def _default(self) -> str:
        flag = self._flag
        if flag.off_variant is not None:
            return flag.off_variant
        before = self._base.get("defaultTreatment")
        negative = next((v.name for v in flag.variants if v.value is False), flag.variant_names[-1])
        chosen = before if before in flag.variant_names else negative
        self.losses.append(Loss("off", "no off variant: the caller's default", f"Split serves '{chosen}' when killed"))
        return chosen

    def conditions(self) -> list[JSON]:
        flag = self._flag
        conditions = []
        for index, target in enumerate(flag.targets):
            if target.kind != "user":
                fact = f"targets of context kind '{target.kind}'"
                self.losses.append(Loss(f"targets[{index}]", fact, "they get what the rules say"))
                continue
            keys = {"matcherType": WHITELIST, "whitelistMatcherData": {"whitelist": list(target.keys)}}
            conditions.append(
                self._made(WHITELIST, "whitelisted", [self._matcher(keys)], target.variant, f"targets[{index}]")
            )
        leading = True
        for index, rule in enumerate(flag.rules):
            gated = self.hashed.allocation < 100
            leading = leading and (index < self.hashed.ungated if gated else rule.id.startswith(INDIVIDUAL))
            conditions.extend(self._rule(rule, f"rules[{index}]", WHITELIST if leading else ROLLOUT))
        everybody = self._matcher({"matcherType": "ALL_KEYS"})
        conditions.append(self._made(ROLLOUT, self._default_label(), [everybody], flag.default, "default"))
        return conditions

    def _rule(self, rule: Rule, where: str, kind: str) -> list[JSON]:
        try:
            alternatives, losses = matchers_of(
                rule.clauses, traffic_type=self.traffic_type, rule_based=self._rule_based
            )
        except Untranslatable as trouble:
            effect = "the rule is not written: whom it matched gets what follows"
            self.losses.append(Loss(f"{where}.clauses", str(trouble), effect))
            return []
        self.losses.extend(Loss(f"{where}.{loss.where}", loss.what, loss.effect, loss.severity) for loss in losses)
        made = []
        for matchers in alternatives:
            name = rule.description or label(definition_matcher(m) for m in matchers)
            made.append(self._made(kind, name, matchers, rule.serve, f"{where}.serve"))
        return made

    def _made(self, kind: str, named: str, matchers: list[JSON], serve: Serve, where: str) -> JSON:
        partitions, losses = partitions_of(serve, where=where)
        self.losses.extend(loss for loss in losses if loss not in self.losses)
        return {
            "conditionType": kind,
            "label": named,
            "matcherGroup": {"combiner": "AND", "matchers": matchers},
            "partitions": partitions,
        }

    def _matcher(self, matcher: JSON) -> JSON:
        return {
            "keySelector": {"trafficType": self.traffic_type, "attribute": None},
            "negate": False,
            **matcher,
        }

    def _default_label(self) -> str:
        conditions = self._base.get("conditions")
        kept = conditions[-1].get("label") if conditions and for_everybody(conditions[-1]) else None
        return kept or NO_MATCH

    def unmentioned(self, document: JSON) -> None:
        """Say which variants the split does not name."""
        named = {p["treatment"] for c in document["conditions"] for p in c["partitions"]}
        named |= {document["defaultTreatment"], *document["configurations"]}
        for name in self._flag.variant_names:
            if name not in named:
                effect = "none: nothing serves it"
                self.losses.append(Loss(f"variants.{name}", "not named in the SDK's form", effect, Severity.NOTE))


# --- why -------------------------------------------------------------------------------------------------


def reasons(split: Mapping[str, Any]) -> dict[str, Reason]:
    """The standard reason for each impression label of a split; labels of its conditions and the SDK's own.

    SPLIT where a bucket decided, the traffic allocation's included; DISABLED for a killed flag and failed
    prerequisites; STATIC for a flag that gives everybody the same without asking anything, DEFAULT for its
    default otherwise; else TARGETING_MATCH. Where conditions of one label would differ, SPLIT wins.
    """
    conditions = list(split.get("conditions") or ())
    gated = allocation(split) < 100
    asks = bool(split.get("prerequisites"))
    found: dict[str, Reason] = {
        "killed": Reason.DISABLED,
        "prerequisites not met": Reason.DISABLED,
        "not in split": Reason.SPLIT,
    }
    rollout = False
    for index, condition in enumerate(conditions):
        rollout = rollout or condition_type(condition) == ROLLOUT
        partitions = list(condition.get("partitions") or ())
        alone = len(partitions) == 1 and partitions[0]["size"] == 100
        if not alone or (gated and rollout):
            reason = Reason.SPLIT
        elif index == len(conditions) - 1 and for_everybody(condition):
            reason = Reason.STATIC if index == 0 and not asks else Reason.DEFAULT
        else:
            reason = Reason.TARGETING_MATCH
        named = condition.get("label") or ""
        found[named] = Reason.SPLIT if found.get(named) is Reason.SPLIT else reason
    unmatched = Reason.STATIC if not conditions and not asks else Reason.DEFAULT
    found.setdefault(NO_MATCH, Reason.SPLIT if gated and rollout else unmatched)
    return found


#: The SDK's label where no condition matched; the same text as the usual label of a default rule.
NO_MATCH: Final = "default rule"
