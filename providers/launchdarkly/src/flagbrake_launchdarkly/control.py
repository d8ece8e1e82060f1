"""The control plane: LaunchDarkly's management API. Every change of an environment is one semantic patch."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar, Final

from flagbrake.errors import (
    ApprovalRequired,
    Conflict,
    FlagbrakeError,
    InvalidInput,
    NotAllowed,
    NotFound,
    Unavailable,
)
from flagbrake.evaluate import check
from flagbrake.model.change import intended
from flagbrake.model.codec import flag_from_data, flag_to_data
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.history import VendorEntry
from flagbrake.model.state import (
    Archive,
    Capability,
    Change,
    Create,
    FlagState,
    Replace,
    SetDistribution,
    SetOn,
    SetTargets,
    Support,
)
from flagbrake.ports.control import FlagControl, Remark
from flagbrake_launchdarkly import patches
from flagbrake_launchdarkly.api import Api
from flagbrake_launchdarkly.documents import (
    Json,
    flag_of,
    kinds_named,
    names_in,
    native_of,
    targets_with_names,
    version_of,
)
from flagbrake_launchdarkly.options import ApiOptions
from flagbrake_launchdarkly.patches import Instruction, Variations
from flagbrake_launchdarkly.translate import flag_from_sdk, flag_to_sdk, segment_from_rest
from flagbrake_launchdarkly.translate.kinds import Kinds

_BY: Final = re.compile(r"(?P<why>.*?) ?\[flagbrake: (?P<by>[^\]]*)\]\Z", re.DOTALL)
_COMMENT: Final = 1000


class LaunchDarklyControl(FlagControl):
    """Flags of one environment of one LaunchDarkly project.

    What LaunchDarkly cannot do: a semantic patch has no condition, so two controllers are kept apart by the lock
    of the store and not by LaunchDarkly; ``expected`` is compared with a read just before the write.
    """

    name: ClassVar[str] = "launchdarkly"
    capabilities: ClassVar[Mapping[Capability, Support]] = MappingProxyType(
        {**dict.fromkeys(Capability, Support.FULL), Capability.COMPARE_AND_SWAP: Support.VENDOR_CANNOT}
    )
    split_resolution: ClassVar[int] = 1

    def __init__(self, options: ApiOptions, *, project: str, environment: str) -> None:
        self.project = project
        self.environment = environment
        self._api = Api(options)
        self._here = options.environment_key
        self._names_travel = options.variant_names
        self._kinds = Kinds(options.context_kind)
        self._manner = patches.Manner(self._kinds, names_travel=options.variant_names)

    # --- reading --------------------------------------------------------------------------------------

    def read(self, key: str) -> FlagState:
        """Read one flag, an archived one too.

        Raises:
            NotFound, NotAllowed, RetryLater, VendorUnavailable: as the port says.
        """
        return self._state(self._flag(key))

    def states(self) -> Iterator[FlagState]:
        """All flags that are not archived. One that LaunchDarkly's own SDK could not evaluate is left out."""
        reps = [rep for rep in self._api.flags(whole=True) if self._here in rep.get("environments", {})]
        names = {rep["key"]: names_in(rep, self._here) for rep in reps}
        return self.readable(lambda rep: self._state(rep, names), reps)

    def segments(self) -> Iterator[Segment]:
        """All segments; of a big segment only what its rules say."""
        return self.readable(lambda rep: segment_from_rest(rep, unit=self._kinds.unit).result, self._api.segments())

    def check_place(self) -> None:
        """Does the project have this environment?"""
        try:
            self._api.environment_rep()
        except NotFound as error:
            there = " or ".join(self._api.environments())
            raise NotFound(f"LaunchDarkly's project has no environment '{self._here}'.", cure=there) from error

    def remarks(self) -> Iterator[Remark]:
        """May the token write here, would a kill be refused, and do the flags name units as agents are named?"""
        yield from self._permissions()
        yield from self._units()

    def _permissions(self) -> Iterator[Remark]:
        approvals = self._api.environment_rep().get("approvalSettings") or {}
        if approvals.get("required"):
            yield Remark(
                f"changes in '{self._here}' demand an approval: turning a flag off is refused as well.",
                fine=False,
                cure="a service token that may bypass approvals, and kills through the store",
            )
        some = next(self._api.flags(whole=False), None)
        if some is None:
            yield Remark("there is no flag to try the token on")
            return
        try:
            self._api.try_write(some["key"])
            yield Remark(f"the token may turn flags off in '{self._here}' (tried without doing it)")
        except ApprovalRequired:
            return
        except NotAllowed as error:
            yield Remark(error.fact, fine=False, cure=error.cure)

    def _units(self) -> Iterator[Remark]:
        unit = self._kinds.unit
        configs = (rep.get("environments", {}).get(self._here) or {} for rep in self._api.flags(whole=True))
        named = Counter(kind for config in configs for kind in kinds_named(config))
        if named and unit not in named:
            others = ", ".join(f"'{kind}' ({count})" for kind, count in named.most_common())
            yield Remark(
                f"no flag in '{self._here}' names units of kind '{unit}', as which agents are evaluated "
                f"(context_kind); flags that name other kinds: {others}.",
                fine=False,
                cure=f'context_kind = "{named.most_common(1)[0][0]}", unless contexts bring that kind along',
            )

    def history(self, key: str, limit: int = 20) -> Iterator[VendorEntry]:
        """LaunchDarkly's audit log about a flag in this environment, newest first."""
        for item in self._api.log(key, limit):
            comment = item.get("comment") or ""
            ours = _BY.match(comment)
            who = (item.get("member") or {}).get("email") or (item.get("token") or {}).get("name") or ""
            at = datetime.fromtimestamp(item["date"] / 1000, UTC)
            said, by = (ours["why"], ours["by"]) if ours else (comment, who)
            yield VendorEntry(at, by, item.get("titleVerb") or "", said)

    # --- writing --------------------------------------------------------------------------------------

    def apply(self, change: Change, *, expected: str | None = None, by: str = "", comment: str = "") -> FlagState:
        """Write one change and return the flag as LaunchDarkly shows it then; what is true already writes nothing.

        Raises:
            ApprovalRequired: the environment demands an approval, or a change that waits there would break.
            Conflict: the flag exists already, is not at the expected version, or a release owns its weights.
            NotFound, InvalidInput, NotAllowed, RetryLater, VendorUnavailable: as the port says.
        """
        said = f"{comment} [flagbrake: {by}]".strip()[-_COMMENT:] if by else comment
        if isinstance(change, Create):
            return self._create(change.flag, said)
        try:
            rep = self._flag(change.key)
        except NotFound:
            if isinstance(change, Replace) and expected is None:
                return self._put_anew(change, said)
            raise
        if expected is not None and (there := version_of(rep, self._here)) != expected:
            raise Conflict(
                f"Flag '{change.key}' is at version {there}, not {expected}: somebody changed it.",
                cure="read it again and decide again",
            )
        return self._change(rep, change, said)

    def delete(self, key: str, *, by: str = "") -> None:
        """Delete a flag, in every environment, for good. For flags that a test made."""
        self._flag(key)
        self._api.delete(key)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def spelt(self, flag: Flag) -> Flag:
        """The definition in LaunchDarkly's dialect, dealt by its hash."""
        names = {asked.flag: asked.variants for asked in flag.prerequisites}
        written = flag_to_sdk(flag, names=names, unit=self._kinds.unit).result
        shown = flag_from_sdk({**written, "deleted": False}, names=names, unit=self._kinds.unit).result
        return replace(shown, tags=flag.tags, description=flag.description, archived=flag.archived)

    # --- one change -----------------------------------------------------------------------------------

    def _change(
        self, rep: Json, change: SetOn | SetDistribution | SetTargets | Replace | Archive, said: str
    ) -> FlagState:
        key, variations = rep["key"], self._variations(rep)
        if isinstance(change, Replace):
            return self._replace(rep, change, said)
        others = self._names_for(rep)
        flag = flag_of(rep, self._here, others, self._kinds.unit)
        meant = intended(flag, change)
        if replace(meant, version=flag.version) == flag:
            return self._state(rep, others)
        match change:
            case SetOn(on=on, off_variant=off_variant):
                # Nothing else is in the patch: a kill must not fail for anything but itself.
                wanted: list[Instruction] = [{"kind": "turnFlagOn" if on else "turnFlagOff"}]
                if off_variant is not None:
                    wanted.append({"kind": "updateOffVariation", "variationId": variations.id(off_variant)})
            case SetDistribution(serve=serve, rule=rule, turn_on=turn_on):
                self._refuse_release(key)
                wanted = [
                    *self._names(rep, variations),
                    self._serve(rule, patches.serve(serve, variations, self._kinds)),
                ]
                if turn_on:
                    wanted.append({"kind": "turnFlagOn"})
            case SetTargets(targets=targets):
                present = rep["environments"][self._here].get("contextTargets") or ()
                named = targets_with_names(rep, self._here) if self._names_travel else None
                wanted = [patches.targets(targets, present if named is None else named, variations, self._kinds)]
            case Archive():
                wanted = [{"kind": "archiveFlag"}]
        return self._state(self._api.instruct(key, wanted, said, here=not isinstance(change, Archive)), others)

    def _serve(self, rule: str | None, what: Instruction) -> Instruction:
        if rule is None:
            return {"kind": "updateFallthroughVariationOrRollout", **what}
        return {"kind": "updateRuleVariationOrRollout", "ruleId": rule, **what}

    def _names(self, rep: Json, variations: Variations) -> Iterator[Instruction]:
        named = targets_with_names(rep, self._here) if self._names_travel else None
        if named is not None:
            present = rep["environments"][self._here].get("contextTargets") or ()
            yield from patches.added_names(named, present, variations)

    def _refuse_release(self, key: str) -> None:
        release = self._api.active_release(key)
        if release is not None:
            raise Conflict(
                f"LaunchDarkly is releasing '{key}' itself ({release.get('kind', 'release')}, {release['status']}): "
                "it owns the weights until that ends.",
                cure="stop that release in LaunchDarkly first",
            )

    def _create(self, flag: Flag, said: str) -> FlagState:
        _check(intended(None, Create(flag)))
        others = self._others(flag)
        self._check_sayable(flag, others)
        patches.refuse_no_off(flag)
        rep = self._api.create(_body(flag, flag.default if isinstance(flag.default, str) else flag.variants[0].name))
        names = flag.variant_names
        wanted = patches.replaced(rep, flag, names, frozenset(), others, self._manner)
        with self._taken_back(flag.key):
            return self._state(self._api.instruct(flag.key, wanted, said), _called(others))

    @contextmanager
    def _taken_back(self, key: str) -> Iterator[None]:
        """A flag made a moment ago, off everywhere and never what was meant, goes when its definition is refused."""
        try:
            yield
        except Unavailable:
            raise  # it may be there, whole or off: reading tells
        except FlagbrakeError as error:
            try:
                self._api.delete(key)
            except FlagbrakeError:
                fact = f"'{key}' was made, and is off everywhere; its definition was refused: {error.fact}"
                raise Unavailable(fact, cure="delete it in LaunchDarkly, and create it again") from error
            raise

    def _replace(self, rep: Json, change: Replace, said: str) -> FlagState:
        self._refuse_release(rep["key"])
        if change.native is not None:
            operations, names = patches.put_back(rep, self._here, change.native), self._names_for(change.native)
            return self._state(self._api.patch(rep["key"], operations, said) if operations else rep, names)
        meant = change.flag
        _check(meant)
        others = self._others(meant)
        plan = patches.plan_variations(rep, self._here, names_in(rep, self._here), meant)
        self._check_sayable(meant, others)
        if rep["environments"][self._here].get("offVariation") is not None:
            patches.refuse_no_off(meant)
        if plan.first:
            rep = self._api.instruct(rep["key"], list(plan.first), said, here=False)
        wanted = patches.replaced(rep, meant, plan.names, plan.removed, others, self._manner)
        return self._state(self._api.instruct(rep["key"], [*plan.changed, *wanted], said), _called(others))

    def _put_anew(self, change: Replace, said: str) -> FlagState:
        """The flag of a document that is put back was deleted meanwhile."""
        if change.native is None:
            return self._create(change.flag, said)
        patches.kept_of(change.native, self._here, change.key)
        kept, names = change.native, self._names_for(change.native)
        shown = [{n: v[n] for n in ("value", "name", "description") if n in v} for v in kept["variations"]]
        body = {n: kept[n] for n in ("key", "name", "description", "tags", "temporary", "defaults") if n in kept}
        rep = self._api.create({**body, "variations": shown})
        ids = [{**old, "_id": new["_id"]} for old, new in zip(kept["variations"], rep["variations"], strict=True)]
        operations = patches.put_back(rep, self._here, {**kept, "variations": ids})
        with self._taken_back(rep["key"]):
            return self._state(self._api.patch(rep["key"], operations, said) if operations else rep, names)

    # --- inside ---------------------------------------------------------------------------------------

    def _flag(self, key: str) -> Json:
        try:
            rep = self._api.flag(key)
        except NotFound as error:
            raise self._no_flag(key) from error
        if self._here not in rep.get("environments", {}):
            there = ", ".join(sorted(rep.get("environments", {})))
            raise NotFound(f"LaunchDarkly's project has no environment '{self._here}'.", cure=there)
        return rep

    def _no_flag(self, key: str) -> NotFound:
        near = difflib.get_close_matches(key, [rep["key"] for rep in self._api.flags(whole=False)], n=3)
        cure = " or ".join(f"'{name}'" for name in near)
        return NotFound(f"There is no flag '{key}' in '{self.environment}'.", cure=cure)

    def _state(self, rep: Json, others: Mapping[str, Sequence[str]] | None = None) -> FlagState:
        """What it shows. After a write ``others`` was read before it: nothing may fail that has happened."""
        if self._here not in rep.get("environments", {}):
            rep = self._flag(rep["key"])  # an answer to a write may leave environments out
        flag = flag_of(rep, self._here, self._names_for(rep) if others is None else others, self._kinds.unit)
        version, native = version_of(rep, self._here), native_of(rep, self._here)
        return FlagState(self.ref(flag.key), flag, version, native, datetime.now(UTC))

    def _names_for(self, rep: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """The names of the variants of this flag's prerequisites."""
        asked = [one["key"] for one in rep["environments"][self._here].get("prerequisites") or ()]
        return _called(self._of(asked))

    def _others(self, flag: Flag) -> dict[str, Variations]:
        found = self._of([one.flag for one in flag.prerequisites])
        for one in flag.prerequisites:
            if one.flag not in found:
                raise InvalidInput(f"The prerequisite '{one.flag}' does not exist.", cure="create it first")
        return found

    def _of(self, keys: Sequence[str]) -> dict[str, Variations]:
        found = {}
        for key in dict.fromkeys(keys):
            try:
                found[key] = self._variations(self._api.flag(key))
            except NotFound:
                continue
        return found

    def _check_sayable(self, flag: Flag, others: Mapping[str, Variations]) -> None:
        patches.refuse_losses(flag_to_sdk(flag, names=_called(others), unit=self._kinds.unit))

    def _variations(self, rep: Json) -> Variations:
        return Variations(tuple(v["_id"] for v in rep["variations"]), names_in(rep, self._here))


def _check(flag: Flag) -> None:
    # What is written must be readable: the codec is stricter than the type checker.
    flag_from_data(flag_to_data(flag))
    check(flag)


def _called(others: Mapping[str, Variations]) -> dict[str, tuple[str, ...]]:
    return {key: variations.names for key, variations in others.items()}


def _body(flag: Flag, on: str) -> Json:
    names = flag.variant_names
    off = names.index(flag.off_variant) if flag.off_variant is not None else len(names) - 1
    return {
        "key": flag.key,
        "name": flag.key,
        "description": flag.description,
        "variations": [{"value": variant.value, "name": variant.name} for variant in flag.variants],
        "defaults": {"onVariation": names.index(on), "offVariation": off},
        "tags": list(flag.tags),
        "temporary": False,
    }


__all__ = ["LaunchDarklyControl"]
