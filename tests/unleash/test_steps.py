"""Pure: whichever of its calls is the last, a write of strategies leaves a flag that can be read."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flagbrake.model.clause import Attribute, Clause, Op
from flagbrake.model.flag import Flag, Rule, Targets, Variant, ramp
from flagbrake.model.values import FlagKind
from flagbrake_unleash.planning import Place, canonical, native, plan
from flagbrake_unleash.translate import feature_from_flag, flag_from_feature, mark_of, owned_strategy

UNITS = st.lists(st.sampled_from("abcdef"), max_size=4, unique=True).map(tuple)
PLACE = Place("default", "development", "key")


@st.composite
def flags(draw: st.DrawFn, kind: FlagKind) -> Flag:
    first, second = ("on", "off") if kind is FlagKind.BOOLEAN else ("v1", "v2")
    ones, others = draw(UNITS), draw(UNITS)
    lists = [Targets(first, ones), Targets(second, tuple(u for u in others if u not in ones))]
    named = draw(st.permutations(lists))
    rules = tuple(
        Rule(name, (Clause(Attribute(("plan",)), Op.IN, (name,)),), first)
        for name in draw(st.lists(st.sampled_from(["pro", "team", "free"]), unique=True, max_size=2))
    )
    given = {
        "default": ramp(first, draw(st.integers(0, 100)) * 1000, second),
        "targets": tuple(t for t in named if t.keys),
        "rules": rules,
    }
    if kind is FlagKind.BOOLEAN:
        return Flag.boolean("key", **given)
    return Flag("key", kind, (Variant("v1", "one"), Variant("v2", "two")), off_variant="v2", **given)


class Server:
    """As much of the server as strategies need."""

    def __init__(self, flag: Flag, orders: list[int]) -> None:
        self.numbers = itertools.count()
        self.document = canonical(feature_from_flag(flag))
        self.document |= {"unfinished": False}
        self.strategies = {
            f"old-{n}": {**s, "id": f"old-{n}", "sortOrder": order}
            for n, (s, order) in enumerate(zip(self.document["strategies"], orders, strict=False))
        }

    def now(self) -> dict[str, Any]:
        return {**self.document, "strategies": sorted(self.strategies.values(), key=lambda s: s["sortOrder"])}

    def obey(self, method: str, path: str, body: Any) -> None:
        last = path.rsplit("/", 1)[-1]
        if last == "set-sort-order":
            for each in body:
                self.strategies[each["id"]]["sortOrder"] = each["sortOrder"]
        elif method == "DELETE":
            del self.strategies[last]
            assert self.strategies, "a feature without a strategy is switched off"
        else:
            number = f"new-{next(self.numbers)}" if method == "POST" else last
            assert method == "POST" or number in self.strategies
            self.strategies[number] = {**body, "id": number}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Flag, Flag]:
    kind = draw(st.sampled_from([FlagKind.BOOLEAN, FlagKind.STRING]))
    return draw(flags(kind)), draw(flags(kind))


@settings(max_examples=300)
@given(pair=pairs(), apart=st.sampled_from([1, 2, 1000]))
def test_every_call_may_be_the_last(pair: tuple[Flag, Flag], apart: int) -> None:
    """After each call: the owned strategy is last, no two have one place, whoever is named before and afterwards is
    named, and for a variant of then or of now; after the last one it is what was meant."""
    before, after = pair
    server = Server(before, [n * apart for n in range(20)])
    meant = canonical(feature_from_flag(after, like=server.now()))
    known = lists(flag_from_feature(native(server.now()))) | lists(flag_from_feature(meant))
    stay = named(flag_from_feature(native(server.now()))) & named(flag_from_feature(meant))
    for call in plan(PLACE, server.now(), meant):
        server.obey(call.method, call.path, call.body)
        half = native(server.now())
        places = {(s["sortOrder"], "list" if "target" in mark_of(s) else n) for n, s in server.strategies.items()}
        assert all(isinstance(place, int) and place >= 0 for place, _ in places)
        assert len({place for place, _ in places}) == len(places), "one place for two that are not lists"
        assert owned_strategy(half) is half["strategies"][-1]
        assert stay <= named(flag_from_feature(half)), half["strategies"]
        assert lists(flag_from_feature(half)) <= known, "somebody is on a list on which nobody put them"
    assert native(server.now()) == meant
    assert not list(plan(PLACE, server.now(), meant))


def named(flag: Flag) -> set[str]:
    return {unit for target in flag.targets for unit in target.keys}


def lists(flag: Flag) -> set[tuple[str, str]]:
    return {(target.variant, unit) for target in flag.targets for unit in target.keys}
