"""The control: flags of one workspace and environment, through the management API.

On is alive and off is killed: a killed flag serves its default treatment, which is our off variant, to everybody,
and keeps its rules. Ramps are written into the default rule; the traffic allocation stays as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Final

from flagbrake.errors import ConfigError, Conflict, FlagbrakeError, InvalidInput, NotFound, VendorUnavailable
from flagbrake.evaluate import check
from flagbrake.model.change import intended, verb
from flagbrake.model.codec import dumps, flag_from_data, flag_to_data
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.loss import Loss, Severity
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
from flagbrake.ports.clock import Clock, SystemClock
from flagbrake.ports.control import FlagControl, Remark
from flagbrake_split import documents, errors, translate
from flagbrake_split.api import JSON, ManagementApi, Words

_log = logging.getLogger("flagbrake.split")

#: So many names are looked through for the nearest.
_MOST_NAMES: Final = 1000

_CANNOT: Final = {
    # No version stands in a definition, no history can be asked for.
    Capability.COMPARE_AND_SWAP: Support.VENDOR_CANNOT,
    Capability.AUDIT: Support.VENDOR_CANNOT,
}


class SplitControl(FlagControl):
    """Flags in one environment of a Split workspace (a Harness FME project)."""

    name: ClassVar[str] = "split"
    capabilities: ClassVar[Mapping[Capability, Support]] = MappingProxyType(
        {**dict.fromkeys(Capability, Support.FULL), **_CANNOT}
    )
    split_resolution: ClassVar[int] = documents.STEP
    reads_back: ClassVar[bool] = True
    reserved_dot: ClassVar[str] = "-"

    def __init__(self, api: ManagementApi, *, project: str, environment: str, clock: Clock | None = None) -> None:
        self._api = api
        self.project = project
        self.environment = environment
        self._clock = clock or SystemClock()
        self._told: dict[str, Any] = {}

    # --- reading -----------------------------------------------------------------------------------------

    def read(self, key: str) -> FlagState:
        """One flag.

        Raises:
            NotFound: it is not configured in this environment; the nearest names are told.
            ConfigError: there is no such workspace or environment.
            VendorUnavailable, RetryLater, NotAllowed: no answer, not now, not you.
        """
        try:
            definition = self._api.definition(key)
        except NotFound:
            raise errors.no_flag(key, self._names(), self.environment) from None
        return self._state(definition, self._api.metadata(key))

    def states(self) -> Iterator[FlagState]:
        """All flags that are configured in this environment. Two lists: definitions, and what is common to them."""
        about = {metadata["name"]: metadata for metadata in self._api.all_metadata()}

        def read(definition: JSON) -> FlagState | None:
            if definition["name"] in about:
                return self._state(definition, about[definition["name"]])
            with contextlib.suppress(NotFound):  # created, or deleted, between the two lists
                return self.read(definition["name"])
            return None

        return (state for state in self.readable(read, self._api.all_definitions()) if state is not None)

    def segments(self) -> Iterator[Segment]:
        """All segments of this environment, with their keys or their rules."""
        for segment in self._api.segments():
            yield translate.segment_from_keys(segment["name"], segment["keys"])
        yield from self.readable(
            lambda segment: translate.segment_from_definition(segment).result, self._api.rule_based_segments()
        )

    def check_place(self) -> None:
        """Is this environment one of the workspace's?"""
        self._api.other_environments()

    def remarks(self) -> Iterator[Remark]:
        """How this workspace and environment want to be written to. Nothing is written, so the key's role stays open.

        Raises:
            ConfigError: there is no such workspace, or environment.
        """
        manners = self._api.manners()
        if manners.wants_approvals and manners.excepts_kills:
            yield Remark(
                f"{self.environment} wants changes approved, kills excepted: ramps and restores are refused.",
                fine=False,
                cure="a key that may skip approvals, for rollouts",
            )
        elif manners.wants_approvals:
            yield Remark(
                f"{self.environment} wants changes approved, kills too: a kill of the vendor's own flag is refused.",
                fine=False,
                cure="except kills from approvals in Split, or a key that may skip them",
            )
        else:
            yield Remark(f"{self.environment} wants no approvals")
        if manners.wants_words:
            yield Remark("the workspace wants title and comment: every change brings both")
        yield Remark("whether the key may write shows at the first write: Split has no dry run (--selftest tries)")

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def spelt(self, flag: Flag) -> Flag:
        """The definition in Split's dialect, its rules numbered, its seeds unknown."""
        written = translate.definition_from_flag(flag).result
        shown = translate.flag_from_definition(written).result
        return replace(shown, tags=flag.tags, description=flag.description, archived=flag.archived)

    # --- writing -----------------------------------------------------------------------------------------

    def apply(self, change: Change, *, expected: str | None = None, by: str = "", comment: str = "") -> FlagState:
        """Write one change; a change that is true already writes nothing.

        Raises:
            NotFound, Conflict, InvalidInput, ApprovalRequired, NotAllowed, RetryLater, Unsupported: nothing was
                written (of a new flag its name may exist, which the next attempt finds and goes on from).
            VendorUnavailable: read, it may have been.
        """
        title = f"{verb(change)} by {by}" if by else verb(change)
        words = Words(title, comment or title)
        before = self._before(change)
        if expected is not None and (before is None or before.version != expected):
            raise errors.moved(change.key, found=before.version if before else "none", expected=expected)
        match change:
            case Create():
                if before is not None:
                    raise errors.exists(change.key, self.environment)
                self._put(None, change, words)
                return self.read(change.key)
            case Replace():
                self._put(before, change, words)
                return self.read(change.key)
            case _ if before is None:
                raise errors.no_flag(change.key, self._names(), self.environment)
            case SetOn():
                self._switch(before, change, words)
            case SetDistribution():
                self._distribute(before, change, words)
            case SetTargets():
                self._target(before, change, words)
            case Archive():
                self._archive(change.key, words)
                return replace(before, flag=replace(before.flag, archived=True), read_at=self._clock.now())
        # None of these touched what is common to all environments.
        return self._state(self._api.definition(change.key), documents.about_in(before))

    def _before(self, change: Change) -> FlagState | None:
        try:
            return self.read(change.key)
        except NotFound:
            if isinstance(change, Create | Replace):
                return None
            raise
        except InvalidInput:
            if isinstance(change, Replace):
                return None  # what is there cannot be read: a whole definition takes its place
            raise

    def _switch(self, before: FlagState, change: SetOn, words: Words) -> None:
        definition = documents.definition_in(before)
        meant = intended(before.flag, change)
        if meant.off_variant != before.flag.off_variant:
            # One call for both: nobody is served the old default treatment by the kill, not even for a moment.
            after = {**definition, "killed": not change.on, "defaultTreatment": meant.off_variant}
            self._api.change_definition(change.key, documents.writable(definition), documents.writable(after), words)
        elif change.on is before.flag.on:
            return
        elif change.on:
            self._api.restore(change.key, words)
        else:
            self._api.kill(change.key, words)

    def _distribute(self, before: FlagState, change: SetDistribution, words: Words) -> None:
        intended(before.flag, change)
        definition = documents.definition_in(before)
        buckets = documents.buckets(change.key, change.serve)
        allocation = definition.get("trafficAllocation", 100)
        if change.rule is None and allocation != 100 and not documents.same_gate(before.flag.default, change.serve):
            raise errors.exposed(change.key, allocation)
        after = {**definition}
        if change.rule is None:
            after["defaultRule"] = buckets
        else:
            rules = list(definition.get("rules") or ())
            place = documents.place_of_rule(before.flag, change.rule, rules)
            rules[place] = {**rules[place], "buckets": buckets}
            after["rules"] = rules
        if change.turn_on:
            after["killed"] = False
        self._api.change_definition(change.key, documents.writable(definition), documents.writable(after), words)

    def _target(self, before: FlagState, change: SetTargets, words: Words) -> None:
        intended(before.flag, change)
        definition = documents.definition_in(before)
        keys = documents.keys_by_treatment(change.key, change.targets)
        treatments = [{**t, "keys": keys.get(t["name"], [])} for t in definition["treatments"]]
        for treatment, old in zip(treatments, definition["treatments"], strict=True):
            if not treatment["keys"] and not old.get("keys"):
                del treatment["keys"]
                treatment.update({"keys": old["keys"]} if "keys" in old else {})
        after = {**definition, "treatments": treatments}
        self._api.change_definition(change.key, documents.writable(definition), documents.writable(after), words)

    def _archive(self, key: str, words: Words) -> None:
        """Split archives in all environments at once. Where another one has the flag, it is taken out of this one."""
        act = self._api.remove_definition if self._is_elsewhere(key) else self._api.archive
        act(key, words)

    def _is_elsewhere(self, key: str) -> bool:
        for environment in self._api.other_environments():
            with contextlib.suppress(NotFound):
                self._api.definition(key, environment)
                return True
        return False

    # --- whole definitions ---------------------------------------------------------------------------------

    def _put(self, before: FlagState | None, change: Create | Replace, words: Words) -> None:
        """Put a whole definition in place of what is there, or of nothing."""
        native = change.native if isinstance(change, Replace) else None
        if native is not None:
            fields, about = documents.kept(change.key, native)
        else:
            fields, about = self._written(change.flag, before)
        if before is None and (fresh := self._begin(change, fields, about, words)) is not None:
            definition, metadata = fresh, self._api.metadata(change.key)
        elif before is not None:
            definition, metadata = documents.definition_in(before), documents.about_in(before)
        else:
            definition, metadata = self._api.definition(change.key), self._api.metadata(change.key)
        self._surely(change.key, definition, fields, words)
        self._api.change_metadata(change.key, documents.part(metadata, documents.ABOUT), about, words)

    def _written(self, flag: Flag, before: FlagState | None) -> tuple[JSON, JSON]:
        """The fields of a definition, and what is common to all environments, that say this flag."""
        flag_from_data(flag_to_data(flag))  # stricter than the type checker
        check(flag)
        base = documents.definition_in(before) if before is not None else None
        said = translate.definition_from_flag(flag, base=base, rule_based=self._rule_based(flag))
        documents.refuse_losses(flag.key, said.losses)
        return documents.writable(said.result), {
            "description": flag.description,
            "tags": [{"name": t} for t in flag.tags],
        }

    def _begin(self, change: Create | Replace, fields: JSON, about: JSON, words: Words) -> JSON | None:
        """Create what is not there yet; ``None`` if a definition turned up.

        An off flag begins closed: nobody is served anything but the default treatment before it is killed.
        """
        key, description = change.key, str(about.get("description") or "")
        try:
            self._api.create(key, description, words)
        except InvalidInput as error:
            raise errors.not_created(key, error) from error
        except Conflict:
            # The name exists: from another environment, from a creation that went half way, or archived.
            try:
                found = self._api.metadata(key)
            except NotFound:
                if isinstance(change, Create):
                    raise Conflict(
                        f"Flag '{key}' exists already: it is archived.",
                        cure="another key, or bring it back in Split",
                    ) from None
                self._api.unarchive(key, words)
                with contextlib.suppress(NotFound):
                    self._api.definition(key)
                    return None
            else:
                if isinstance(change, Create):
                    about.update({k: found[k] for k in documents.ABOUT if found.get(k)})
        first = fields if not fields.get("killed") else documents.closed(fields)
        self._api.create_definition(key, {k: v for k, v in first.items() if k != "killed"}, words)
        return self._api.definition(key)

    def _surely(self, key: str, before: JSON, fields: JSON, words: Words) -> None:
        """Write the fields; when the answer is lost, what is there tells whether they are written, once more if not."""
        old = documents.writable(before)
        wanted = {**fields, "killed": bool(fields.get("killed", False))}
        try:
            self._api.change_definition(key, old, wanted, words)
        except VendorUnavailable:
            found = documents.writable(self._api.definition(key))
            if found == old:
                self._api.change_definition(key, old, wanted, words)
            elif found != wanted:
                raise

    # --- inside --------------------------------------------------------------------------------------------

    def _state(self, definition: JSON, metadata: JSON) -> FlagState:
        about = documents.part(metadata, documents.ABOUT)
        tags = tuple(t["name"] for t in about.get("tags") or ())
        translated = translate.flag_from_definition(definition, tags=tags, description=about.get("description") or "")
        self._tell(definition, translated.losses)
        whole = {"definition": {k: v for k, v in definition.items() if k not in documents.NOISE}, "metadata": about}
        native = {**whole, "definition": {k: v for k, v in whole["definition"].items() if k not in documents.TIMES}}
        version = hashlib.sha256(dumps(whole).encode()).hexdigest()[:16]
        return FlagState(self.ref(definition["name"]), translated.result, version, native, self._clock.now())

    def _tell(self, definition: JSON, losses: Sequence[Loss]) -> None:
        """Once per version: what stands in the flag and cannot be read. It stays there whatever is written."""
        seen = (definition["name"], definition.get("lastUpdateTime"))
        grave = [loss for loss in losses if loss.severity is Severity.ANSWERS]
        if grave and self._told.get(seen[0]) != seen[1]:
            self._told[seen[0]] = seen[1]
            _log.warning("flag %s in %s cannot be read whole: %s", seen[0], self.environment, grave[0])

    def _rule_based(self, flag: Flag) -> Sequence[str]:
        """The names of segments that are rules, if this flag asks for segments at all."""
        if not any(clause.op == "segment" for rule in flag.rules for clause in rule.clauses):
            return ()
        return [segment["name"] for segment in self._api.rule_based_segments()]

    def _names(self) -> list[str]:
        """The names of flags here, for a better message: it may be left out.

        Raises:
            ConfigError: there is no such environment, so nothing is found in it.
        """
        try:
            return [d["name"] for d in itertools.islice(self._api.all_definitions(), _MOST_NAMES)]
        except ConfigError:
            raise
        except FlagbrakeError:
            return []
