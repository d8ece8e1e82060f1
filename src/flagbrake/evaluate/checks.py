"""Refusing what cannot be evaluated, before it replaces something that can."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from flagbrake.errors import InvalidInput, Unsupported
from flagbrake.evaluate.bucketing import algorithm
from flagbrake.evaluate.operators import VALUELESS, test_of
from flagbrake.model.clause import OURS, Clause, Op
from flagbrake.model.flag import Bucketing, Distribution, Flag, Segment, Serve
from flagbrake.model.values import WHOLE, percent_of

#: A flag may stand on prerequisites (and segments) this many levels deep ...
DEEPEST: Final = 32
#: ... and one answer may ask this many flags and segments altogether.
MOST_ASKED: Final = 1000

#: A node of the graph of what asks what.
FLAG_NODE: Final = "flag"
SEGMENT_NODE: Final = "segment"
Node = tuple[str, str]
Graph = Mapping[Node, frozenset[Node]]

_NOTHING: Final[frozenset[Node]] = frozenset()
#: Ops whose values need no look when they are all texts.
_PLAIN: Final = frozenset((Op.IN, Op.EQUAL))


def check(
    flag: Flag, *, flags: Mapping[str, Flag] | None = None, segments: Mapping[str, Segment] | None = None
) -> None:
    """Refuse a flag that cannot be evaluated.

    With ``flags`` and ``segments`` (the rest of the environment) also what it refers to: prerequisites and
    segments that do not exist, and circles.

    Raises:
        InvalidInput: names flag, place, fact and cure.
        Unsupported: semantics of another vendor that cannot be evaluated yet.
    """
    needs = needs_of_flag(flag)
    if flags is None:
        return
    known = {**flags, flag.key: flag}
    for kind, key in sorted(needs):
        there: Iterable[str] = known if kind == FLAG_NODE else (segments or {})
        if key not in there:
            _refuse(f"flags.{flag.key}", f"the {kind} '{key}' does not exist.", f"create the {kind} '{key}' first")
    _check_variants_asked(flag, known)
    graph = {(FLAG_NODE, k): needs_of_flag(f) for k, f in known.items() if f.prerequisites or f.rules}
    graph.update({(SEGMENT_NODE, k): needs_of_segment(s) for k, s in (segments or {}).items()})
    for trouble in troubles(graph, [(FLAG_NODE, flag.key)]):
        raise trouble.error


def check_segment(segment: Segment) -> None:
    """Refuse a segment that cannot be evaluated. Raises as :func:`check`."""
    needs_of_segment(segment)


def _check_variants_asked(flag: Flag, known: Mapping[str, Flag]) -> None:
    for index, asked in enumerate(flag.prerequisites):
        for name in asked.variants:
            if known[asked.flag].variant(name) is None:
                fact = f"'{asked.flag}' has no variant '{name}'."
                _refuse(f"flags.{flag.key}.prerequisites[{index}]", fact, ", ".join(known[asked.flag].variant_names))


def _refuse(where: str, fact: str, cure: str) -> NoReturn:
    raise InvalidInput(f"{where}: {fact}", cure=cure)


# --- one flag, one segment -----------------------------------------------------------------------------


def needs_of_flag(flag: Flag) -> frozenset[Node]:
    """The flags and segments this flag asks, after checking all that can be checked in the flag alone.

    Raises:
        InvalidInput, Unsupported: it cannot be evaluated.
    """
    names = frozenset([v.name for v in flag.variants])
    needs = {(FLAG_NODE, p.flag) for p in flag.prerequisites}
    try:
        _check_serve(flag.default, names, "default")
        if flag.off_variant is not None and flag.off_variant not in names:
            _refuse("off", f"'{flag.off_variant}' is not a variant of this flag.", ", ".join(sorted(names)))
        for target in flag.targets:
            if target.variant not in names:
                _refuse("targets", f"'{target.variant}' is not a variant of this flag.", ", ".join(sorted(names)))
        for index, rule in enumerate(flag.rules):
            needs.update(_needs_of_clauses(rule.clauses, f"rules[{index}]"))
            _check_serve(rule.serve, names, f"rules[{index}].serve")
    except (InvalidInput, Unsupported) as error:
        raise type(error)(f"flags.{flag.key}.{error.fact}", cure=error.cure) from None
    return frozenset(needs) if needs else _NOTHING


def needs_of_segment(segment: Segment) -> frozenset[Node]:
    """As :func:`needs_of_flag`, for a segment."""
    needs: set[Node] = {(SEGMENT_NODE, key) for key in segment.excluded_segments}
    try:
        for index, rule in enumerate(segment.rules):
            needs.update(_needs_of_clauses(rule.clauses, f"rules[{index}]"))
            if rule.share != WHOLE:
                _check_bucketing(rule.bucketing, f"rules[{index}]")
    except (InvalidInput, Unsupported) as error:
        raise type(error)(f"segments.{segment.key}.{error.fact}", cure=error.cure) from None
    return frozenset(needs)


def _needs_of_clauses(clauses: tuple[Clause, ...], where: str) -> Iterator[Node]:
    for index, clause in enumerate(clauses):
        if clause.op in _PLAIN and clause.semantics is OURS:
            continue  # any value can be compared with; by far the commonest clause
        try:
            _check_clause(clause)
        except (InvalidInput, Unsupported) as error:
            raise type(error)(f"{where}.when[{index}]: {error.fact}", cure=error.cure) from None
        if clause.op is Op.SEGMENT:
            yield from ((SEGMENT_NODE, value) for value in clause.values)
        elif clause.op is Op.FLAG:
            yield (FLAG_NODE, clause.attribute.path[0])


def _check_clause(clause: Clause) -> None:
    if clause.op in VALUELESS:
        from flagbrake.evaluate.clauses import predicate

        predicate(clause)
    else:
        test_of(clause)


def _check_serve(serve: Serve, names: frozenset[str], where: str) -> None:
    if not isinstance(serve, Distribution):
        if serve not in names:
            _refuse(where, f"'{serve}' is not a variant of this flag.", ", ".join(sorted(names)))
        return
    total = 0
    for weight in serve.weights:
        if weight.variant not in names:
            _refuse(where, f"'{weight.variant}' is not a variant of this flag.", ", ".join(sorted(names)))
        if weight.share < 0:
            _refuse(where, f"the share of '{weight.variant}' is negative.", "0")
        total += weight.share
    if total != WHOLE:
        _refuse(where, f"the shares make {percent_of(total)} %.", "shares that make 100 % together")
    _check_bucketing(serve.bucketing, where)
    if serve.gate is not None:
        if serve.gate.outside not in names and not (serve.gate.outside is None and where != "default"):
            _refuse(where, f"'{serve.gate.outside}' is not a variant of this flag.", ", ".join(sorted(names)))
        if not 0 <= serve.gate.share <= WHOLE:
            _refuse(where, f"{serve.gate.share} is not a share.", f"0 to {WHOLE}")
        _check_bucketing(serve.gate.bucketing, where)


def _check_bucketing(bucketing: Bucketing, where: str) -> None:
    try:
        algorithm(bucketing.algorithm).locate(bucketing, "flag")
    except InvalidInput as error:
        raise InvalidInput(f"{where}.bucketing: {error.fact}", cure=error.cure) from None


# --- the graph of what asks what -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trouble:
    """A circle or a tower of what asks what.

    ``nodes`` are those at fault if they are what changed, ``under`` those at fault if no one of ``nodes`` is.
    """

    error: InvalidInput
    nodes: frozenset[Node]
    under: frozenset[Node] = _NOTHING


def troubles(graph: Graph, starts: Iterable[Node]) -> list[Trouble]:
    """Circles at or under ``starts``, and starts that stand too deep or ask too much. Without recursion."""
    found: list[Trouble] = []
    measured: dict[Node, tuple[int, int]] = {}  # depth, asked
    for start in starts:
        circle = _measure(graph, start, measured)
        if circle is not None:
            path = " -> ".join(f"'{key}'" for _, key in circle)
            kind, key = circle[0]
            fact = f"{kind}s.{key}: what it asks leads back to itself: {path}."
            found.append(Trouble(InvalidInput(fact, cure="take one of them out"), frozenset(circle)))
            continue
        depth, asked = measured[start]
        if depth > DEEPEST or asked > MOST_ASKED:
            kind, key = start
            fact = f"{kind}s.{key}: it stands on {depth} levels and {asked:,} flags and segments."
            error = InvalidInput(fact, cure=f"at most {DEEPEST} levels and {MOST_ASKED:,} altogether")
            found.append(Trouble(error, frozenset((start,)), _under(graph, start)))
    return found


def _under(graph: Graph, start: Node) -> frozenset[Node]:
    seen = {start}
    rest = [start]
    while rest:
        for node in graph.get(rest.pop(), _NOTHING) - seen:
            seen.add(node)
            rest.append(node)
    return frozenset(seen)


def _measure(graph: Graph, start: Node, measured: dict[Node, tuple[int, int]]) -> list[Node] | None:
    """Fill in depth and size of everything under ``start``; return a circle when there is one."""
    if start in measured:
        return None
    path = [start]
    on_path = {start}
    rest = [iter(graph.get(start, _NOTHING))]
    while path:
        step = next((n for n in rest[-1] if n not in measured), None)
        if step is None:
            node = path.pop()
            on_path.discard(node)
            rest.pop()
            under = [measured[n] for n in graph.get(node, _NOTHING)]
            depth = 1 + max((d for d, _ in under), default=0)
            # Bounded, or a few dozen doubling levels make numbers nobody can print.
            measured[node] = (depth, min(1 + sum(n for _, n in under), 10 * MOST_ASKED))
        elif step in on_path:
            return [*path[path.index(step) :], step]
        else:
            path.append(step)
            on_path.add(step)
            rest.append(iter(graph.get(step, _NOTHING)))
    return None
