"""The control plane over Unleash's admin API. Reads what is, writes the least that makes it what is meant."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import ClassVar

from flagbrake.errors import FlagbrakeError, InvalidInput, NotFound
from flagbrake.model.change import intended
from flagbrake.model.clause import Op
from flagbrake.model.codec import checksum, dumps
from flagbrake.model.flag import Flag, Segment
from flagbrake.model.state import (
    Archive,
    Capability,
    Change,
    Create,
    FlagState,
    Replace,
    SetDistribution,
    SetOn,
    Support,
)
from flagbrake.model.words import counted
from flagbrake.ports.control import FlagControl, Remark
from flagbrake_unleash import errors
from flagbrake_unleash.api import Api
from flagbrake_unleash.edit import check_flag, check_whole, distributed, switched
from flagbrake_unleash.planning import (
    canonical,
    documents_of,
    native,
    plan,
)
from flagbrake_unleash.steps import of_others
from flagbrake_unleash.translate import Document, Part, feature_from_flag, flag_from_feature, segment_from

_log = logging.getLogger("flagbrake.unleash")


class UnleashControl(FlagControl):
    """One project and environment of an Unleash server.

    Unleash has no compare-and-swap and a change may take several calls; core's lock keeps our own writers apart.

    Args:
        url: the server's address, ending in ``/api``.
        token: for the admin API.
        project: flagbrake's name of the project.
        environment: flagbrake's name of the environment.
        native_project: Unleash's name of it.
        native_environment: Unleash's name of it.
        timeout: seconds for one reading request.
    """

    name: ClassVar[str] = "unleash"
    capabilities: ClassVar[Mapping[Capability, Support]] = MappingProxyType(
        {
            **dict.fromkeys(Capability, Support.FULL),
            # Two calls; two writers that saw the same version both succeed; off is False, whatever is safe;
            # its history tells who, not why.
            Capability.ATOMIC_ON_AND_SPLIT: Support.VENDOR_CANNOT,
            Capability.COMPARE_AND_SWAP: Support.VENDOR_CANNOT,
            Capability.OFF_SERVES_SAFE: Support.VENDOR_CANNOT,
            Capability.AUDIT: Support.VENDOR_CANNOT,
            Capability.COMMENTS: Support.VENDOR_CANNOT,
        }
    )
    split_resolution: ClassVar[int] = 1000
    reads_back: ClassVar[bool] = True

    def __init__(
        self,
        url: str,
        token: str,
        *,
        project: str,
        environment: str,
        native_project: str = "default",
        native_environment: str = "",
        timeout: float = 5.0,
    ) -> None:
        self.project = project
        self.environment = environment
        native = native_environment or environment
        self._api = Api(url, token, project=native_project, environment=native, timeout=timeout)

    def __repr__(self) -> str:
        return (
            f"UnleashControl({self._api.url!r}, project={self._api.project!r}, environment={self._api.environment!r})"
        )

    # --- reading ------------------------------------------------------------------------------------

    def read(self, key: str) -> FlagState:
        """One flag.

        Raises:
            NotFound: no such flag, or an archived one; the nearest keys are named.
            NotAllowed: the admin token is refused. VendorUnavailable: no answer.
        """
        return self._state(self._there(key))

    def states(self) -> Iterator[FlagState]:
        """All flags that are not archived: one call, and two for each that has several strategies."""
        documents = {document["name"]: document for document in self._api.documents()}
        names: Mapping[int, str] | None = None
        if any(_asks_segments(document) for document in documents.values()):
            names = self._segment_names()
        return self.readable(lambda document: self._state(document, names, documents), documents.values())

    def segments(self) -> Iterator[Segment]:
        """All segments."""
        return self.readable(segment_from, self._api.segments())

    def spelt(self, flag: Flag) -> Flag:
        """The definition in Unleash's dialect, dealt by its hash."""
        asked = (v for rule in flag.rules for clause in rule.clauses if clause.op is Op.SEGMENT for v in clause.values)
        numbers = {str(name): number for number, name in enumerate(dict.fromkeys(asked))}
        document = canonical(feature_from_flag(flag, numbers))
        shown = self._flag(document, {number: name for name, number in numbers.items()})
        return replace(shown, tags=flag.tags, description=flag.description, archived=flag.archived)

    def check_place(self) -> None:
        """Does the project have this environment?"""
        self._api.check_place()

    def remarks(self) -> Iterator[Remark]:
        """Does the token read here, and does the environment want change requests, by which a kill would be refused?"""
        self._api.check_place()
        export, here = self._api.export(), f"'{self._api.environment}'"
        count = sum(1 for _ in documents_of(export))
        yield Remark(f"the admin token reads {counted(count, 'flag')} of '{self._api.project}' in {here}")
        if halves := ", ".join(document["name"] for document in documents_of(export, unfinished=True)):
            yield Remark(
                f"begun and never finished, so not there: {halves}.",
                fine=False,
                cure="`flagbrake flag create` again, or archive them in Unleash",
            )
        if self._api.wants_change_requests():
            yield Remark(
                f"changes in {here} want a change request: turning a flag off is refused as well.",
                fine=False,
                cure="a token that may bypass them, and kills through the store",
            )

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    # --- writing ------------------------------------------------------------------------------------

    def apply(self, change: Change, *, expected: str | None = None, by: str = "", comment: str = "") -> FlagState:
        """Write one change. ``expected`` is compared with what is read just before, which is no compare-and-swap.

        Raises:
            NotFound, Conflict, InvalidInput, Unsupported: as the port says; nothing was written.
            ApprovalRequired: the environment wants change requests, or a release plan has the flag (Enterprise).
            VendorUnavailable: read it back: it may be written, or half of it.
        """
        now = self._now(change, expected)
        if expected is not None and (now is None or self._version(now) != expected):
            if now is None and not isinstance(change, Replace):
                raise errors.no_flag(change.key, self._api.keys(), self.environment)
            raise errors.moved(change.key, found=self._version(now) if now else "none", expected=expected)
        if isinstance(change, Archive):
            assert now is not None
            state = self._state(now)
            self._api.archive(change.key)
            return replace(state, flag=replace(state.flag, archived=True, on=False))
        meant = self._meant(change, now)
        switches_off = isinstance(change, SetOn) and not change.on
        if now is not None and not switches_off and self._api.has_plan(change.key):
            raise errors.planned(change.key)
        self._write(change.key, now, meant)
        if isinstance(change, SetOn):
            self._remark(change.key, "" if change.on else comment, by=by)
        return self.read(change.key)

    def _now(self, change: Change, expected: str | None) -> Document | None:
        """What is there, with the numbers of its strategies; ``None`` where nothing is and nothing need be."""
        if not isinstance(change, Create | Replace):
            return self._there(change.key)
        try:
            found = self._api.document(change.key)
        except NotFound:
            found = None
        if found is not None or isinstance(change, Create):
            return found
        self._meant(change, None)  # what is refused brings nothing back from the archive
        return None if expected is not None else self._api.revive(change.key)

    def _meant(self, change: Change, now: Document | None) -> Document:
        if isinstance(change, Replace) and change.native is not None:
            return self._put_back(change, now)
        if now is None:
            assert isinstance(change, Create | Replace)
            check_whole(change.flag)
            return canonical(feature_from_flag(change.flag, self._numbers(change.flag)))
        flag = self._flag(now)
        meant = intended(flag, change)
        match change:
            case SetOn(on=on):
                if change.off_variant is not None:
                    raise self.unsupported(Capability.OFF_SERVES_SAFE)
                return switched(native(now), on=on)
            case SetDistribution(turn_on=True):
                raise self.unsupported(Capability.ATOMIC_ON_AND_SPLIT)
            case SetDistribution(serve=serve, rule=rule):
                check_flag(meant)
                return distributed(native(now), flag, serve, rule)
        (check_whole if isinstance(change, Replace) else check_flag)(meant)
        self._lossless(now, flag, change)
        made = feature_from_flag(meant, self._numbers(meant), like=now)
        return canonical(made if isinstance(change, Replace) else {**made, "dependencies": now["dependencies"]})

    def _lossless(self, now: Document, flag: Flag, change: Change) -> None:
        """Refuse to rewrite what others made in a way that flagbrake does not write; a whole definition may."""
        if isinstance(change, Replace):
            return
        again = canonical(feature_from_flag(flag, self._numbers(flag), like=now))
        if of_others(again["strategies"]) != of_others(native(now)["strategies"]):
            raise InvalidInput(
                f"The strategies of '{change.key}' are of others' making; this would change more than its targets.",
                cure="change them in Unleash, or replace the whole definition",
            )

    def _put_back(self, change: Replace, now: Document | None) -> Document:
        document = change.native
        if not isinstance(document, dict) or document.get("name") != change.key:
            raise InvalidInput(f"The document to put in place of '{change.key}' is not its own.", cure="its own")
        try:
            return canonical(document)
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"The document of '{change.key}' is no feature: {error!r}.", cure="as read") from error

    def _write(self, key: str, now: Document | None, meant: Document) -> None:
        for call in plan(self._api.place(key), now or self._api.begin(key, meant), meant):
            self._api.send(call)

    def _remark(self, key: str, reason: str, *, by: str) -> None:
        """Note why it is off. The switch itself does not wait on it."""
        try:
            self._api.note(key, reason, by=by)
        except FlagbrakeError as error:
            _log.warning("the reason for switching '%s' could not be noted in Unleash: %s", key, error)

    # --- documents and flags ------------------------------------------------------------------------

    def _there(self, key: str) -> Document:
        found = self._api.document(key)
        if found is None:
            raise errors.no_flag(key, self._api.keys(), self.environment)
        return found

    def _segment_names(self) -> dict[int, str]:
        return {s["id"]: s["name"] for s in self._api.segments()}

    def _numbers(self, flag: Flag) -> dict[str, int]:
        asked = any(clause.op is Op.SEGMENT for rule in flag.rules for clause in rule.clauses)
        return {s["name"]: s["id"] for s in self._api.segments()} if asked else {}

    def _flag(
        self, document: Part, names: Mapping[int, str] | None = None, others: Mapping[str, Part] | None = None
    ) -> Flag:
        """``names`` of segments and ``others`` that it may depend on are asked for where they are not given."""
        if names is None and _asks_segments(document):
            names = self._segment_names()
        if others is None:
            others = dict(self._parents(document))
        return flag_from_feature(document, names, others=others)

    def _parents(self, document: Part) -> Iterator[tuple[str, Document]]:
        for need in document["dependencies"]:
            with suppress(NotFound):
                found = self._api.document(need["feature"])
                if found is not None:
                    yield need["feature"], found

    def _state(
        self, document: Document, names: Mapping[int, str] | None = None, others: Mapping[str, Part] | None = None
    ) -> FlagState:
        flag = self._flag(document, names, others)
        return FlagState(self.ref(flag.key), flag, self._version(document), native(document), datetime.now(UTC))

    def _version(self, document: Document) -> str:
        return checksum(dumps(native(document)))[:16]


def _asks_segments(document: Part) -> bool:
    return any(strategy["segments"] for strategy in document["strategies"])
