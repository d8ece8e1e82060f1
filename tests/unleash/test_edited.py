"""What flagbrake wrote and people edited in Unleash since: it is read, and written again, as what it says now."""

from __future__ import annotations

import copy
import json
import logging
from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from openfeature.evaluation_context import EvaluationContext

from flagbrake.errors import InvalidInput
from flagbrake.evaluate import Ruleset
from flagbrake.model.clause import UNLEASH, Attribute, Clause, Op
from flagbrake.model.flag import Distribution, Flag, Gate, Rule, Serve, Targets, Variant, Weight, ramp
from flagbrake.model.loss import Severity
from flagbrake.model.values import FlagKind
from flagbrake_unleash.context import encoded
from flagbrake_unleash.edit import distributed
from flagbrake_unleash.planning import Place, canonical, document_of, plan
from flagbrake_unleash.steps import of_others, steps
from flagbrake_unleash.table import feature_of
from flagbrake_unleash.translate import feature_from_flag, flag_from_feature, read_feature, segment_from
from tests.proofs.unleash_random import World
from tests.proofs.unleash_twin import OWN, Seen, Theirs, answer, same

UNITS = [f"u{n}" for n in range(12)]
SEGMENT = {"id": 1, "name": "s1", "constraints": [{"contextName": "country", "operator": "IN", "values": ["DE"]}]}
EDITS = (
    *("append", "constraint", "copy", "disable", "drop a constraint", "invert", "new variant"),
    *("other value", "prepend", "remove", "rollout", "segment", "swap", "units"),
)
DE = Clause(Attribute(("country",)), Op.IN, ("DE",), semantics=UNLEASH)
TWO = (Variant("yes", value=True), Variant("no", value=False))
THREE = tuple(Variant(name, name.upper()) for name in "abc")


def random_flag(random: Random, key: str) -> Flag:
    """Targets, rules and a default, as flagbrake writes them; lists may share units."""
    variants = random.choice([TWO, THREE])
    names = [v.name for v in variants]

    def serve() -> Serve:
        one, other = random.sample(names, 2)
        return one if random.random() < 0.6 else ramp(one, random.randint(0, 100) * 1000, other)

    units = random.sample(UNITS, 7)
    lists = (tuple(units[:3]), tuple(units[random.choice([2, 3, 3]) :]))
    return Flag(
        key,
        FlagKind.BOOLEAN if variants is TWO else FlagKind.STRING,
        variants,
        serve(),
        off_variant=random.choice(names),
        targets=tuple(Targets(random.choice(names), named) for named in lists[: random.randint(0, 2)]),
        rules=tuple(
            Rule(f"r{n}", (Clause(Attribute((name,)), Op.IN, ("DE", "pro"), semantics=UNLEASH),), serve())
            for n, name in enumerate(random.sample(["country", "plan"], random.randint(0, 2)))
        ),
    )


def constraint(random: Random) -> dict[str, Any]:
    values = random.sample(["DE", "FR", *UNITS[:6]], 3)
    named = {"contextName": random.choice(["country", "userId"]), "operator": random.choice(["IN", "NOT_IN"])}
    return {**named, "values": values, "inverted": False, "caseInsensitive": False}


def edited(random: Random, edit: str, feature: dict[str, Any]) -> dict[str, Any]:  # noqa: C901, PLR0912 - a list
    """What the interface of Unleash lets people do."""
    feature = copy.deepcopy(feature)
    strategies = feature["strategies"]
    one = random.choice(strategies)
    fresh = {**copy.deepcopy(one), "constraints": [constraint(random)] * random.randint(0, 1)}
    fresh["parameters"] = {"rollout": random.choice(["50", "100"]), "stickiness": "default", "groupId": "g"}
    match edit:
        case "append" | "prepend":
            strategies.insert(len(strategies) if edit == "append" else 0, fresh)
        case "copy":
            strategies.insert(random.randint(0, len(strategies)), copy.deepcopy(one))
        case "constraint":
            one["constraints"].append(constraint(random))
        case "segment":
            one["segments"] = [1]
        case "rollout":
            one["parameters"]["rollout"] = str(random.randint(0, 100))
        case "disable":
            one["disabled"] = True
        case "remove" if len(strategies) > 1:
            strategies.remove(one)
        case "swap":
            random.shuffle(strategies)
        case "new variant" if one["variants"]:
            made = {"name": "green", "weight": 400, "stickiness": "default", "weightType": "fix"}
            one["variants"] = [{**one["variants"][0], "weight": 600}, {**made, "payload": _text("x")}]
        case "other value" if one["variants"]:
            random.choice(one["variants"])["payload"] = _text("y")
        case "drop a constraint" if one["constraints"]:
            one["constraints"].pop()
        case "invert" if one["constraints"]:
            one["constraints"][-1]["inverted"] ^= True
        case "units" if one["constraints"]:
            one["constraints"][0]["values"] = [*one["constraints"][0]["values"][1:], random.choice(UNITS)]
    return feature


def _text(value: str) -> dict[str, str]:
    return {"type": "string", "value": value}


def test_what_it_says_now_is_what_is_read() -> None:
    """1,200 features of flagbrake's, most of them edited once or twice: our evaluator answers as the engine does, or
    the reading tells that it cannot."""
    logging.getLogger("yggdrasil_engine.engine").setLevel(logging.CRITICAL + 1)
    random, seen, told = Random(5), Seen(), Counter[bool]()
    for number in range(1200):
        feature = feature_from_flag(random_flag(random, f"f{number}"))
        edits = random.sample(EDITS, random.choice([0, 1, 1, 2]))
        for edit in edits:
            feature = edited(random, edit, feature)
        read = read_feature(feature, {1: SEGMENT})
        told[lost := any(loss.severity is Severity.ANSWERS for loss in read.losses)] += 1
        if lost:
            continue
        rules = Ruleset({feature["name"]: read.result}, {"s1": segment_from(SEGMENT)}, clock=lambda: datetime.now(UTC))
        assert not rules.rejected, (edits, rules.rejected)
        # The client API leaves out what is disabled.
        shown = {**feature, "strategies": [s for s in feature["strategies"] if not s["disabled"]]}
        theirs = Theirs(World([shown], [SEGMENT]))
        for _ in range(15):
            unit = random.choice(UNITS)
            attributes = {"country": random.choice(["DE", "FR"]), "plan": random.choice(["pro", "x"])}
            asked = json.loads(encoded(EvaluationContext(unit, attributes), OWN))
            mine = answer(rules, feature, EvaluationContext(unit, {**attributes, **OWN}), seen)
            assert mine is not None
            other = theirs.ask(feature["name"], asked)
            assert same(mine, other), (edits, feature, unit, attributes, mine, other)
    assert 0 < told[True] < 200


def test_one_name_for_two_values_is_told() -> None:
    """Strategies may give one name different payloads, a flag may not: the reading says that answers differ, and
    setting targets, which would write one of them everywhere, is refused."""
    feature = canonical(feature_from_flag(Flag("f", FlagKind.STRING, THREE, "a", rules=(Rule("r", (DE,), "a"),))))
    feature["strategies"][0]["variants"][0]["payload"] = _text("other")
    (loss,) = read_feature(feature).losses
    assert loss.severity is Severity.ANSWERS
    assert "'a' has several values" in str(loss)
    again = canonical(feature_from_flag(flag_from_feature(feature), like=feature))
    assert of_others(again["strategies"]) != of_others(feature["strategies"])


def test_a_kind_that_the_values_are_not_of() -> None:
    """The kind that flagbrake noted counts as long as all values are of it."""
    feature = feature_from_flag(Flag("f", FlagKind.INTEGER, (Variant("a", 1), Variant("b", 2)), "a"))
    assert flag_from_feature(feature).kind is FlagKind.INTEGER
    feature["strategies"][0]["variants"][1]["payload"] = _text("two")
    assert flag_from_feature(feature).kind is FlagKind.OBJECT


def test_what_a_flag_has_no_field_for_stays() -> None:
    """Tags of other types, the title of the owned strategy, a csv payload, one with blanks in its JSON, none at all:
    written again with another default they are as they were."""
    listed = [{"type": "csv", "value": "a,b"}, {"type": "json", "value": '{"a": 1}'}, None]
    variants = [
        {"name": name, "weight": weight, "weightType": "variable", "stickiness": "default"}
        | ({} if payload is None else {"payload": payload})
        for name, weight, payload in zip("abc", (1000, 0, 0), listed, strict=True)
    ]
    mark = json.dumps({"kind": "object", "variants": ["a", "b", "c"], "off": None})
    owned = {
        "name": "flexibleRollout",
        "title": "everybody else",
        "disabled": False,
        "constraints": [],
        "segments": [],
        "parameters": {"rollout": "100", "stickiness": "default", "groupId": "f", "flagbrake": mark},
        "variants": variants,
    }
    empty = feature_from_flag(Flag.boolean("f"))
    tags = [{"type": "jira", "value": "AB-1"}, {"type": "simple", "value": "mine"}]
    feature = canonical({**empty, "strategies": [owned], "tags": tags})
    flag = flag_from_feature(feature)
    assert flag.tags == ("jira:AB-1", "mine")
    again = canonical(feature_from_flag(flag, like=feature))
    assert (again["tags"], again["strategies"][0]["title"]) == (feature["tags"], "everybody else")
    ramped = distributed(feature, flag, ramp("b", 30_000, "a"), None)
    for document in (again, ramped):
        payloads = {v["name"]: v.get("payload") for v in document["strategies"][0]["variants"]}
        assert payloads == dict(zip("abc", listed, strict=True))


def test_a_ramp_of_a_boolean_that_has_variants() -> None:
    """A boolean whose rules take variants keeps them when its default is ramped, instead of being on without one."""
    flag = Flag.boolean("f", default=ramp("on", 30_000, "off"), rules=(Rule("r", (DE,), "off"),))
    document = canonical(feature_from_flag(flag))
    after = flag_from_feature(distributed(document, flag_from_feature(document), ramp("on", 40_000, "off"), None))
    assert isinstance(after.default, Distribution)
    assert {w.variant: w.share for w in after.default.weights} == {"on": 40_000, "off": 60_000}
    assert after.variant_names == ("on", "off")


@pytest.mark.parametrize("serve", [ramp("on", 40_000, "off"), "off"])
def test_a_part_of_a_rule_that_the_next_strategy_would_let_in(serve: Serve) -> None:
    """On or off without variants means: on where any strategy holds. A rule that leaves somebody out is refused where
    a later strategy may let them in; the last that lets anybody in may be ramped."""
    flag = Flag.boolean("f", default="on", rules=(Rule("r", (DE,), "on"),))
    document = canonical(feature_from_flag(flag))
    with pytest.raises(InvalidInput, match=r"rule 'r' of flag 'f'.*strategies after it"):
        distributed(document, flag_from_feature(document), serve, "r")
    flag = Flag.boolean("f", default="off", rules=(Rule("r", (DE,), "on"),))
    document = canonical(feature_from_flag(flag))
    (rule,) = flag_from_feature(distributed(document, flag_from_feature(document), serve, "r")).rules
    assert serve == "off" or rule.serve != "on"


def test_what_is_served_outside_of_a_share_is_not_dropped() -> None:
    """A share of a flag with variants and another variant outside of it takes two strategies: refused, not halved."""
    flag = Flag("f", FlagKind.STRING, THREE, "a")
    document = canonical(feature_from_flag(flag))
    gated = Distribution((Weight("b", 100_000),), gate=Gate(20_000, ramp("a", 0, "b").bucketing, "c"))
    with pytest.raises(InvalidInput, match="two strategies"):
        distributed(document, flag_from_feature(document), gated, None)


def _old(name: str, **parameters: str) -> dict[str, Any]:
    feature = feature_from_flag(Flag.boolean("f"))
    feature["strategies"] = [{**feature["strategies"][0], "name": name, "parameters": parameters}]
    return canonical(feature)


@pytest.mark.parametrize(
    ("name", "sticky"), [("gradualRolloutUserId", "userId"), ("gradualRolloutSessionId", "sessionId")]
)
def test_a_ramp_of_a_strategy_of_old(name: str, sticky: str) -> None:
    """It becomes a flexible rollout that deals as it did: the server has no other any more."""
    document = _old(name, percentage="30", groupId="g")
    made = distributed(document, flag_from_feature(document), ramp("on", 40_000, "off"), None)["strategies"][0]
    assert made["name"] == "flexibleRollout"
    assert made["parameters"] == {"groupId": "g", "rollout": "40", "stickiness": sticky}


def test_a_ramp_of_a_strategy_that_takes_no_share() -> None:
    """A list of users of old is for all of them: a ramp that would change nothing is refused."""
    document = _old("userWithId", userIds="ann,bob")
    with pytest.raises(InvalidInput, match="'userWithId' of flag 'f' takes no share"):
        distributed(document, flag_from_feature(document), ramp("on", 40_000, "off"), "1")


def test_two_lists_of_one_number_can_be_put_back() -> None:
    """A document that was read in the middle of a write may have them; a restore writes it all the same."""
    flag = Flag("f", FlagKind.STRING, THREE, "a", targets=(Targets("a", ("ann",)), Targets("b", ("bob",))))
    meant = canonical(feature_from_flag(flag))["strategies"]
    for strategy in meant[:2]:
        strategy["parameters"]["flagbrake"] = '{"target":0}'
    assert [strategy["parameters"] for _, strategy in steps([], meant).written] == [s["parameters"] for s in meant]


def test_overrides_of_variants_are_read() -> None:
    """Variants of the feature itself (of an older server) may name units that get them: the control sees them too."""
    variant = {"name": "a", "weight": 0, "weightType": "fix", "stickiness": "default"}
    named = [{"contextName": "userId", "values": ["ann"]}]
    variants = [{**variant, "overrides": named}, {**variant, "name": "b", "weight": 1000, "overrides": []}]
    here = {"name": "dev", "enabled": True, "strategies": [], "variants": variants}
    document = document_of({"name": "f", "environments": [here]}, "dev")
    assert [rule.serve for rule in flag_from_feature(document).rules] == ["a"]
    assert not list(plan(Place("p", "dev", "f"), document, canonical(document)))


def test_a_rule_for_all_but_some_units_is_told_as_a_rule() -> None:
    """Units that are left out by name do not hide that a rule has matched."""
    flag = Flag.boolean("f", default="off", targets=(Targets("off", ("bob",)),), rules=(Rule("r", (DE,), "on"),))
    step = feature_of(feature_from_flag(flag)).steps[0]
    assert (step.reason, step.metadata["rule"]) == ("TARGETING_MATCH", "r")
