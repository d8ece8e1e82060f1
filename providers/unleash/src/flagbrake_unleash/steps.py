"""Pure: the order in which the strategies of one feature become others, one call after the other.

A call may be the last one: the process dies, the server does not answer. So after each of them the feature is one
that can be read, and nobody who was named before and is named afterwards is missing in between:

* what is new stands in its place from the first moment, with a sort order of its own; the owned strategy stays last
* what is new comes before what is edited, and what goes comes last
* a unit that moves from one strategy to another is in the second before it leaves the first
* two lists of units that change places get other numbers in between, or they would be read as one
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flagbrake_unleash.translate import MARK, Document, Part, is_list, mark_of, names_units, served_values

#: What a strategy is, without its number and its place.
STRATEGY: Final = ("name", "title", "disabled", "parameters", "constraints", "segments", "variants")
#: Between two sort orders, so that something can come between later.
_APART: Final = 1000


def bare(strategy: Part) -> Document:
    """A strategy without its number and its place."""
    return {name: strategy[name] for name in STRATEGY}


@dataclass(slots=True, eq=False)
class Slot:
    """One place in the order: what stands there, what is to stand there; ``None`` is nothing."""

    old: Part | None
    new: Part | None
    order: int = 0
    #: What is there is not edited: the new one is made beside it, and it goes afterwards.
    beside: bool = False

    @property
    def leaves(self) -> bool:
        """Does what is there go?"""
        return self.new is None or self.beside

    @property
    def changes(self) -> bool:
        """Does it have to be written?"""
        return self.new is not None and (self.old is None or bare(self.old) != bare(self.new))


@dataclass(slots=True)
class Steps:
    """What to do, in this order. Strategies that are made, edited (by number) and deleted (numbers)."""

    #: New sort orders of those that are there, by number; the server sets all of them at once.
    moved: dict[str, int] = field(default_factory=dict)
    written: list[tuple[str | None, Document]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


def steps(now: Sequence[Part], meant: Sequence[Part]) -> Steps:
    """What makes the strategies ``meant`` of those that are there now."""
    slots = _slots(now, meant)
    made = Steps(moved=_placed(slots))
    for write in _scheduled(slots):
        made.written.append((write.number, {**bare(write.strategy), "sortOrder": write.order}))
    made.deleted = [slot.old["id"] for slot in slots if slot.old is not None and slot.leaves]
    return made


def _slots(now: Sequence[Part], meant: Sequence[Part]) -> list[Slot]:
    """The meant order, and what is to go behind what it is behind now; lists stay in front of all that are none."""
    pairs = paired(now, meant)
    slots = [Slot(pairs.get(number), strategy) for number, strategy in enumerate(meant)]
    for number, strategy in enumerate(now):
        if not any(slot.old is strategy for slot in slots):
            before = now[number - 1] if number else None
            place = next((n + 1 for n, slot in enumerate(slots) if before is not None and slot.old is before), 0)
            if not is_list(strategy):
                place = max(place, *(n + 1 for n, slot in enumerate(slots) if _is_list(slot)), 0)
            slots.insert(place, Slot(strategy, None))
    return slots


def _is_list(slot: Slot) -> bool:
    return any(strategy is not None and is_list(strategy) for strategy in (slot.old, slot.new))


def _placed(slots: Sequence[Slot]) -> dict[str, int]:
    """Give each slot its sort order; those that are there keep theirs if they leave room."""
    if not _fits(slots):
        for number, slot in enumerate(slots, 1):
            slot.order = number * _APART
    return {s.old["id"]: s.order for s in slots if s.old is not None and s.old["sortOrder"] != s.order}


def _fits(slots: Sequence[Slot]) -> bool:
    last: int | None = None
    waiting: list[Slot] = []
    for slot in slots:
        if slot.old is None:
            waiting.append(slot)
            continue
        there, room = slot.old["sortOrder"], len(waiting)
        before = last if last is not None else 0 if room else there - 1
        if there - before <= room:
            return False
        for number, each in enumerate(waiting, 1):
            each.order = before + (there - before) * number // (room + 1)
        slot.order = last = there
        waiting = []
    for number, each in enumerate(waiting, 1):
        each.order = (last or 0) + number * _APART
    return True


def paired(now: Sequence[Part], meant: Sequence[Part]) -> dict[int, Part]:
    """By place of a meant strategy the present one that becomes it: the equal one, else the one it was."""
    left = list(now)
    pairs: dict[int, Part] = {}
    for same in (_equal, _serving, _alike):
        for number, strategy in enumerate(meant):
            found = None if number in pairs else next((s for s in left if same(s, strategy)), None)
            if found is not None:
                pairs[number] = found
                left.remove(found)
    return pairs


@dataclass(frozen=True, slots=True)
class _Write:
    """One strategy to write: over that of this number, or a new one."""

    number: str | None
    strategy: Part
    order: int


def _scheduled(slots: Sequence[Slot]) -> Iterator[_Write]:
    """What to write, in order; a slot that no order would do for is written beside what is there."""
    there: dict[tuple[int, str], Part] = {(id(s), "old"): s.old for s in slots if s.old is not None}
    wanted = frozenset(unit for slot in slots if slot.new is not None for unit in _units(slot.new))
    free_number = itertools.count(1 + max((n for s in slots for n in _lists(s)), default=0))
    pending = [slot for slot in slots if slot.changes]
    pending.sort(key=lambda slot: slot.old is not None)
    while pending:
        safe = [slot for slot in pending if not _missed(slot, there, wanted)]
        slot = next((s for s in safe if not _in_the_way(s, there)), None) or next(iter(safe or pending))
        pending.remove(slot)
        slot.beside = slot.old is not None and slot not in safe
        for place in _in_the_way(slot, there):
            other = there[place] = _renumbered(there[place], next(free_number))
            yield _Write(other["id"], other, next(s.order for s in slots if id(s) == place[0]))
        assert slot.new is not None
        yield _Write(None if slot.old is None or slot.beside else slot.old["id"], slot.new, slot.order)
        there[id(slot), "new" if slot.beside else "old"] = slot.new


def _missed(slot: Slot, there: Mapping[tuple[int, str], Part], wanted: frozenset[str]) -> frozenset[str]:
    """The units that would be named nowhere if this one were written next."""
    if slot.old is None or slot.new is None:
        return frozenset()
    gone = (_units(slot.old) & wanted) - _units(slot.new)
    return gone.difference(*(_units(s) for place, s in there.items() if place != (id(slot), "old")))


def _in_the_way(slot: Slot, there: Mapping[tuple[int, str], Part]) -> list[tuple[int, str]]:
    """Those that say that they are the same list of units, and are for another variant."""
    assert slot.new is not None
    mine = mark_of(slot.new).get("target")
    edited = None if slot.beside else (id(slot), "old")
    return [
        place
        for place, s in there.items()
        if mine is not None
        and place != edited
        and "id" in s  # what has just been written is as it is meant
        and mark_of(s).get("target") == mine
        and _served(s) != _served(slot.new)
    ]


def _renumbered(strategy: Part, number: int) -> Document:
    mark = json.dumps({**mark_of(strategy), "target": number}, separators=(",", ":"))
    return {**strategy, "parameters": {**strategy["parameters"], MARK: mark}}


def _lists(slot: Slot) -> list[int]:
    found = [mark_of(s).get("target") for s in (slot.old, slot.new) if s is not None]
    return [number for number in found if isinstance(number, int)]


def _equal(one: Part, two: Part) -> bool:
    return bare(one) == bare(two)


def _serving(one: Part, two: Part) -> bool:
    return _alike(one, two) and _served(one) == _served(two)


def _alike(one: Part, two: Part) -> bool:
    return bool(one["name"] == two["name"]) and _role(one) == _role(two)


def _role(strategy: Part) -> Any:
    mark = mark_of(strategy)
    return (mark.get("rule"), mark.get("target"), bool(asked(strategy)))


def _served(strategy: Part) -> Any:
    return [(v["name"], v["weight"]) for v in strategy["variants"] if v["weight"]]


def asked(strategy: Part) -> list[Any]:
    """What a strategy asks about the context, apart from the units that flagbrake leaves out by name."""
    denies = "denied" in mark_of(strategy)
    return [c for c in strategy["constraints"] if not (denies and names_units(c, "NOT_IN"))]


def of_others(strategies: Iterable[Part]) -> list[Any]:
    """What strategies ask, and serve, that are no lists of units of flagbrake's: those it may put together anew."""
    return [(asked(strategy), served_values(strategy)) for strategy in strategies if not is_list(strategy)]


def _units(strategy: Part) -> frozenset[str]:
    """The units that flagbrake named here: to be let in, or left out by the owned strategy, which goes for all."""
    mark = mark_of(strategy)
    operator = "IN" if is_list(strategy) else "NOT_IN" if "denied" in mark and not asked(strategy) else ""
    return frozenset(unit for c in strategy["constraints"] if names_units(c, operator) for unit in c["values"])


def orders(strategies: Iterable[Part]) -> list[Part]:
    """Strategies as the server sorts them."""
    return sorted(strategies, key=lambda s: s.get("sortOrder") or 0)
