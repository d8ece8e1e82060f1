"""Behaviour in common: the story of ``scenario.json``, told to every adapter under the guard."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext

from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Bucketing, Flag, Rule, Targets, Variant, ramp
from flagbrake.model.kill import Scope
from flagbrake.model.values import FlagKind
from flagbrake_contract.ask import DEFAULTS, Answer, ask, shown
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.guarding import METADATA, Guarded, guarded
from flagbrake_contract.harness import Harness
from flagbrake_contract.rules import Broken, Said, area, exactly, rule

area(
    "common",
    "Behaviour in common",
    repair="compare the step with scenario.json of this package: the same flags, contexts and kills give the same "
    "value, reason, variant, error code and kill metadata on every adapter",
)

#: Which of the units u-0 to u-63 have variant 2 at 30 %: murmur3_x86_32("contract/" + unit) * 100000 >> 32 < 30000.
BUCKETS: Final = "2121211111121112212221111221221221111122221112111221211111122111"
_NEEDED: Final = (Cap.TARGETING, Cap.SPLITS, Cap.DISABLED_FLAGS, Cap.VARIANTS, Cap.STANDARD_REASONS, Cap.OBJECT)


def story() -> dict[str, Any]:
    """The scenario file."""
    found: dict[str, Any] = json.loads(files("flagbrake_contract").joinpath("scenario.json").read_text("utf-8"))
    return found


def flag_of(key: str, data: dict[str, Any]) -> Flag:
    """A flag of the story under a fresh key."""
    rules = tuple(
        Rule(r["id"], (Clause(Attribute((r["attribute"],)), Op(r["op"]), tuple(r["values"])),), r["serve"])
        for r in data.get("rules", ())
    )
    return Flag(
        key,
        FlagKind(data["kind"]),
        tuple(Variant(name, value) for name, value in data["variants"].items()),
        data["default"],
        off_variant=data["off_variant"],
        targets=tuple(Targets(variant, tuple(keys)) for variant, keys in data.get("targets", {}).items()),
        rules=rules,
    )


@dataclass(slots=True)
class Teller:
    """The story under way: fresh keys for its flags, a guard, and what stands in the vendor now."""

    h: Harness
    g: Guarded
    told: dict[str, Any]
    keys: dict[str, str] = field(default_factory=dict)
    flags: dict[str, Flag] = field(default_factory=dict)

    def begin(self) -> None:
        """Seed all flags and declare their safe variants."""
        for name, data in self.told["flags"].items():
            self.keys[name] = self.h.key(name)
            self.flags[name] = flag_of(self.keys[name], data)
        self.keys["nothing"] = self.h.key("nothing")
        self.h.put(*self.flags.values())
        for name, data in self.told["declare"].items():
            value = self.told["flags"][name]["variants"][data["safe"]]
            scopes = tuple(map(Scope.parse, data["scopes"]))
            self.g.declare(self.keys[name], safe_variant=data["safe"], safe_value=value, scopes=scopes)
        self.g.show()

    def take(self, step: dict[str, Any]) -> None:
        """One step: do what it does, then ask what it asks."""
        if "ramp" in step:
            salt = Bucketing(salt=self.told["flags"][step["ramp"]]["salt"])
            self.change(step["ramp"], default=ramp(step["variant"], step["share"], step["rest"], salt))
        for name in step.get("off", ()):
            self.change(name, on=False)
        if "kill" in step:
            kind, _, path = step["kill"].partition(":")
            self.g.kill(f"{kind}:{self.keys.get(path, path)}" if path else kind)
        if "lift" in step:
            self.g.show()
        if "ask" in step:
            self.ask(step)

    def change(self, name: str, **fields: Any) -> None:
        """Another definition of a flag."""
        self.flags[name] = replace(self.flags[name], **fields)
        self.h.put(self.flags[name])

    def ask(self, step: dict[str, Any]) -> None:
        """The answer is the one written down."""
        kind = FlagKind(step.get("as") or self.flags[step["ask"]].kind)
        context = EvaluationContext(step["unit"], step.get("with", {}))
        answer = ask(self.g.guard, self.keys[step["ask"]], step.get("default", DEFAULTS[kind]), context, kind=kind)
        wrong = _differs(answer, step)
        if wrong:
            raise Broken(Said(json.dumps(step)), Said(f"{shown(answer)}, metadata {dict(answer.flag_metadata)}"), wrong)


def _differs(answer: Answer, step: dict[str, Any]) -> str:
    error = answer.error_code.value if answer.error_code else None
    killed, undeclared = step.get("killed", False), step.get("undeclared", False)
    holds = {
        "value": exactly(answer.value, step["value"]),
        "reason": "reason" not in step or str(answer.reason) == step["reason"],
        "variant": answer.variant == step.get("variant"),
        "error code": error == step.get("error"),
        "kill metadata": all((name in answer.flag_metadata) is killed for name in METADATA),
        "metadata `safe`": (answer.flag_metadata.get("safe") is not None) is undeclared,
    }
    return next((name for name, right in holds.items() if not right), "")


def tell(h: Harness) -> None:
    """The whole story."""
    told = story()
    with guarded(h) as g:
        teller = Teller(h, g, told)
        teller.begin()
        chapter = ""
        for step in told["steps"]:
            chapter = step.get("say", chapter)
            try:
                teller.take(step)
            except Broken as broken:
                broken.about = f"{chapter}: {broken.about}"
                raise


@rule(*_NEEDED)
def common_story(h: Harness) -> None:
    """The story of `scenario.json` (flags, contexts, a ramp, kills, off) gives the same answers on every adapter."""
    tell(h)


@rule(*_NEEDED)
def common_buckets(h: Harness) -> None:
    """With the same bucketing and salt the same units get the same variant on every adapter: the ones written here."""
    data = story()
    key = h.key("buckets")
    flag = replace(flag_of(key, data["flags"]["version"]), default=ramp("v2", 30_000, "v1", Bucketing(salt="contract")))
    h.put(flag)
    answers = (ask(h.provider, key, "d", EvaluationContext(f"u-{n}")).value for n in range(64))
    given = "".join("2" if value == "two" else "1" for value in answers)
    if given != BUCKETS:
        raise Broken(BUCKETS, given, "units u-0 to u-63 at 30 %")
