"""Pure: an Unleash feature as a flag, and all that the flag cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flagbrake.model.clause import UNLEASH, Attribute, Clause, OffFlag, Op
from flagbrake.model.flag import (
    Distribution,
    Flag,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
    Serve,
    Targets,
    Variant,
    Weight,
)
from flagbrake.model.loss import Loss, Severity, Translated
from flagbrake.model.values import WHOLE
from flagbrake_unleash.constraints import USER_ID, attribute_of, clauses_of, is_network
from flagbrake_unleash.translate.dealing import Dealing
from flagbrake_unleash.translate.strategies import (
    DISABLED,
    Part,
    active,
    broken,
    denied,
    is_denial,
    is_plain,
    leaves_out,
    left_out,
    lists_of,
    mark_of,
    owned_strategy,
    rollout_of,
    takes_share,
)
from flagbrake_unleash.translate.variants import (
    clashes,
    enabled_name,
    kind_of_flag,
    tag_text,
    variants_of,
)


def flag_from_feature(
    feature: Part, segments: Mapping[int, str] | None = None, *, others: Mapping[str, Part] | None = None
) -> Flag:
    """As :func:`read_feature`, where what is lost does not matter."""
    known = None if segments is None else {number: {"name": name} for number, name in segments.items()}
    return read_feature(feature, known, others=others).result


def read_feature(
    feature: Part, segments: Mapping[int, Part] | None = None, *, others: Mapping[str, Part] | None = None
) -> Translated[Flag]:
    """The flag that a feature's document is.

    Args:
        feature: as the client API or flagbrake's control has it.
        segments: the documents of all segments by number; ``None`` where they are not known.
        others: all features by name, for what this one depends on.
    """
    return _Reading(feature, segments, others).read()


def segment_from(document: Part) -> Segment:
    """A segment of Unleash: everybody for whom all of its constraints hold."""
    rules = (SegmentRule(clauses_of(document.get("constraints") or ())),)
    return Segment(segment_name(document), rules=rules, description=document.get("description") or "")


def segment_name(document: Part) -> str:
    """Its name, which the client API may leave out; then its number."""
    return str(document.get("name") or document.get("id"))


class _Reading:
    def __init__(self, feature: Part, segments: Mapping[int, Part] | None, others: Mapping[str, Part] | None) -> None:
        self.feature, self.segments, self.others = feature, segments, others
        self.key: str = feature["name"]
        self.strategies = active(feature)
        self.owned = owned_strategy(feature)
        self.lists, self.denies, self.left_out = lists_of(feature), leaves_out(feature), left_out(feature)
        self.mark = mark_of(self.owned) if self.owned is not None else {}
        self.plain = is_plain(feature)
        self.losses: list[Loss] = []
        self.variants = variants_of(feature)
        self.kind = kind_of_flag(self.variants, self.mark)
        self.dealing = Dealing(feature, self.variants, self._lose)

    def read(self) -> Translated[Flag]:
        feature, names = self.feature, [v.name for v in self.variants]
        before = [s for s in self.strategies if s is not self.owned]
        # Unleash serves a feature without any strategy to everybody, once it is on.
        last = self.owned or ({"name": "default"} if feature["enabled"] and not self.strategies else None)
        default = self.dealing.nothing() if last is None else self.dealing.serve(last, outside=self.dealing.nothing())
        targets = tuple(self._targets())
        rules = (*self._rules(before), *(self._overrides("default", (), last) if last is not None else ()))
        prerequisites = self._prerequisites()
        if trouble := self._never():
            self._lose("strategies", f"{trouble}: the SDK answers off to everybody", "none", Severity.NOTE)
            default, targets, rules, prerequisites = self.dealing.nothing(), (), (), ()
        if self.denies and any(set(denied(s)) != set(self.left_out) for s in self.strategies[len(self.lists) :]):
            self._lose("strategies", "they leave out different units by name", "the last one's are left out by all")
        for name in clashes(feature):
            self._lose("variants", f"'{name}' has several values", "everybody gets the first")
        off = self.mark.get("off", self.dealing.name_of(value=False) if self.plain else None)
        variants = self.variants
        if DISABLED in _served(default, rules) and DISABLED not in names:
            variants = (*variants, Variant(DISABLED))
        flag = Flag(
            key=self.key,
            kind=self.kind,
            variants=variants,
            default=default,
            on=bool(feature["enabled"]),
            off_variant=off if off in names else None,
            targets=targets,
            rules=rules,
            prerequisites=prerequisites,
            tags=tuple(tag_text(t) for t in feature.get("tags") or ()),
            description=feature.get("description") or "",
            archived=bool(feature.get("archived")),
        )
        return Translated(flag, tuple(self.losses))

    def _lose(self, where: str, what: str, effect: str, severity: Severity = Severity.ANSWERS) -> None:
        self.losses.append(Loss(where, what, effect, severity))

    # --- what nobody gets ---------------------------------------------------------------------------

    def _never(self) -> str:
        """Why this feature is off for everybody although it is on."""
        for need in self.feature.get("dependencies") or ():
            parent = (self.others or {}).get(need["feature"])
            if need["feature"] == self.key or (parent is not None and parent.get("dependencies")):
                return f"it depends on '{need['feature']}', which depends on another feature"
            asks = need.get("enabled") is False and need.get("variants")
            if asks and parent is not None and not is_plain(parent):
                return f"it asks for a variant of '{need['feature']}' where that is off"
        return broken(self.strategies, self.segments)

    # --- who is asked for ---------------------------------------------------------------------------

    def _targets(self) -> Iterator[Targets]:
        # By number and variant: in the middle of a write two lists may have one number.
        merged: dict[tuple[int, str], list[str]] = {}
        for strategy in self.lists:
            served = str(self.dealing.serve(strategy, outside=None))
            merged.setdefault((mark_of(strategy)["target"], served), []).extend(strategy["constraints"][0]["values"])
        # Who is on a list as well is let in by it.
        listed = {unit for units in merged.values() for unit in units}
        if units := [unit for unit in self.left_out if unit not in listed]:
            place = mark_of(self.strategies[-1])["denied"]
            merged.setdefault((place, self.dealing.name_of(value=False)), []).extend(units)
        for (_, variant), named in sorted(merged.items(), key=lambda found: found[0][0]):
            yield Targets(variant, tuple(named))

    def _rules(self, strategies: Sequence[Part]) -> Iterator[Rule]:
        names: set[str] = set()
        for number, strategy in enumerate(strategies, 1):
            if number <= len(self.lists):
                continue
            noted = str(mark_of(strategy).get("rule") or number)
            name = noted if noted not in names else str(number)  # somebody has copied one
            names.add(name)
            clauses = tuple(self._clauses(strategy, number))
            # What nobody takes later is a plain feature's own to deal.
            later = [s for s in self.strategies[self.strategies.index(strategy) + 1 :] if rollout_of(s)]
            outside = self.dealing.nothing() if self.plain and not later and rollout_of(strategy) != WHOLE else None
            served = self.dealing.serve(strategy, outside=outside)
            yield from self._overrides(name, clauses, strategy)
            yield Rule(name, clauses, served, strategy.get("title") or "")

    def _overrides(self, name: str, clauses: tuple[Clause, ...], strategy: Part) -> Iterator[Rule]:
        """Variants of the feature itself may name units that get them whatever their share."""
        if strategy.get("variants"):
            return
        number = 0
        served = self.dealing.serve(strategy, outside=None)
        gate = served.gate if isinstance(served, Distribution) else None
        for variant in self.feature.get("variants") or ():
            for override in variant.get("overrides") or ():
                number += 1
                asked = Clause(
                    attribute_of(override["contextName"]), Op.IN, tuple(override["values"]), semantics=UNLEASH
                )
                serve: Serve = variant["name"]
                if gate is not None:
                    serve = Distribution((Weight(variant["name"], WHOLE),), gate=gate)
                yield Rule(f"{name}-{number}", (*clauses, asked), serve)

    def _clauses(self, strategy: Part, number: int) -> Iterator[Clause]:
        asked = [c for c in strategy.get("constraints") or () if not (self.denies and is_denial(strategy, c))]
        own = {str(c.get("contextName")) for c in asked} & {"environment", "appName"}
        if own:
            self._lose(
                f"strategies[{number - 1}]",
                f"it asks {' and '.join(sorted(own))}, which the SDK knows of itself",
                "here the context has to tell",
                Severity.EDGE,
            )
        patterns = [str(c.get("value")) for c in asked if c.get("operator") == "REGEX"]
        if any("\\b" in pattern or "\\B" in pattern for pattern in patterns):
            where = f"strategies[{number - 1}]"
            self._lose(where, "a pattern with a word boundary", "only ASCII letters make words", Severity.EDGE)
        yield from clauses_of(asked)
        yield from _special(strategy)
        for segment in strategy.get("segments") or ():
            known = (self.segments or {}).get(segment)
            name = str(segment) if known is None else segment_name({"id": segment, **known})
            yield Clause(Attribute(), Op.SEGMENT, (name,))

    # --- what it depends on -------------------------------------------------------------------------

    def _prerequisites(self) -> tuple[Prerequisite, ...]:
        return tuple(self._prerequisite(d) for d in self.feature.get("dependencies") or ())

    def _prerequisite(self, need: Part) -> Prerequisite:
        parent = (self.others or {}).get(need["feature"])
        wanted = tuple(need.get("variants") or ())
        on: tuple[str, ...] = ("on",)
        off: tuple[str, ...] = ("off",)
        if parent is not None:
            if any(0 < rollout_of(s) < WHOLE and "groupId" not in (s.get("parameters") or {}) for s in active(parent)):
                self._lose(
                    "dependencies",
                    f"the engine deals '{need['feature']}' by this feature's name here, for it has no group",
                    "dealt by its own",
                    Severity.UNITS,
                )
            shown = read_feature({**parent, "dependencies": ()}, self.segments).result
            off = (next(v.name for v in shown.variants if v.value is False),) if is_plain(parent) else (DISABLED,)
            on = tuple(name for name in shown.variant_names if name not in off)
            off = tuple(name for name in off if name in shown.variant_names)
            # One without a variant of its own is taken for any.
            wanted = (*wanted, *(n for n in on if n == enabled_name(shown.variants) or is_plain(parent)))
        if need.get("enabled") is False:
            return Prerequisite(need["feature"], off, OffFlag.MET)
        return Prerequisite(need["feature"], tuple(dict.fromkeys(wanted)) if need.get("variants") else on)


def _served(default: Serve, rules: Sequence[Rule]) -> set[str]:
    found: set[str] = set()
    for serve in (default, *(rule.serve for rule in rules)):
        if isinstance(serve, str):
            found.add(serve)
        else:
            found.update(w.variant for w in serve.weights)
            if serve.gate is not None and serve.gate.outside is not None:
                found.add(serve.gate.outside)
    return found


def _special(strategy: Part) -> Iterator[Clause]:
    """What strategies of old ask in a parameter; one that the SDK does not know holds for nobody."""
    parameters = strategy.get("parameters") or {}
    by_name = {"userWithId": ("userIds", USER_ID, Op.IN), "remoteAddress": ("IPs", "remoteAddress", Op.IN_CIDR)}
    name = strategy.get("name")
    if name in by_name:
        parameter, attribute, op = by_name[name]
        listed = parameters.get(parameter)
        units = [] if listed is None else [u.strip() for u in str(listed).split(",")]
        if op is Op.IN_CIDR:
            units = [u for u in units if is_network(u)]
        yield Clause(attribute_of(attribute), op, tuple(units), semantics=UNLEASH)
    elif not takes_share(strategy):
        yield Clause(Attribute(), Op.ALWAYS, negate=True, semantics=UNLEASH)
