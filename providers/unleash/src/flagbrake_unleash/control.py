"""The control plane over Unleash's admin API. Reads what is, writes the least that makes it what is meant."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import quote

from flagbrake.errors import Conflict, FlagbrakeError, InvalidInput, NotFound
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
from flagbrake.ports.control import FlagControl, Remark
from flagbrake.rest import Rest
from flagbrake_unleash import errors
from flagbrake_unleash.edit import check_flag, check_whole, distributed, switched
from flagbrake_unleash.planning import (
    UNFINISHED,
    Place,
    canonical,
    document_of,
    documents_of,
    is_unfinished,
    native,
    plan,
)
from flagbrake_unleash.steps import of_others
from flagbrake_unleash.translate import Document, Part, feature_from_flag, flag_from_feature, segment_from

_log = logging.getLogger("flagbrake.unleash")

#: The links to a feature that are ours begin so: they hold the reason for which it is off.
_REASON: Final = "Off: "

#: Seconds to wait for the answer to a write. Longer than core waits, and than a read may take: a change takes several
#: requests, and giving one up leaves half of it.
_PATIENCE: Final = 30.0


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
        self._project = native_project
        self._environment = native_environment or environment
        self._url = url
        self._rest = Rest("Unleash", f"{url}/admin", {"Authorization": token}, errors.explain, timeout=timeout)
        self._writes = replace(self._rest, timeout=max(timeout, _PATIENCE))

    def __repr__(self) -> str:
        return f"UnleashControl({self._url!r}, project={self._project!r}, environment={self._environment!r})"

    # --- reading ------------------------------------------------------------------------------------

    def read(self, key: str) -> FlagState:
        """One flag.

        Raises:
            NotFound: no such flag, or an archived one; the nearest keys are named.
            NotAllowed: the admin token is refused. VendorUnavailable: no answer.
        """
        return self._state(self._document(key))

    def states(self) -> Iterator[FlagState]:
        """All flags that are not archived: one call, and two for each that has several strategies."""
        documents = {document["name"]: document for document in self._documents()}
        names: Mapping[int, str] | None = None
        if any(_asks_segments(document) for document in documents.values()):
            names = self._segment_names()
        for document in documents.values():
            yield self._state(document, names, documents)

    def segments(self) -> Iterator[Segment]:
        """All segments."""
        yield from (segment_from(document) for document in self._segments())

    def spelt(self, flag: Flag) -> Flag:
        """The definition in Unleash's dialect, dealt by its hash."""
        asked = (v for rule in flag.rules for clause in rule.clauses if clause.op is Op.SEGMENT for v in clause.values)
        numbers = {str(name): number for number, name in enumerate(dict.fromkeys(asked))}
        document = canonical(feature_from_flag(flag, numbers))
        shown = self._flag(document, {number: name for name, number in numbers.items()})
        return replace(shown, tags=flag.tags, description=flag.description, archived=flag.archived)

    def remarks(self) -> Iterator[Remark]:
        """Does the token read here, and does the environment want change requests, by which a kill would be refused?"""
        export = self._export()
        count = sum(1 for _ in documents_of(export))
        yield Remark(f"the admin token reads {count} flags of '{self._project}' in '{self._environment}'")
        if halves := ", ".join(document["name"] for document in documents_of(export, unfinished=True)):
            yield Remark(
                f"begun and never finished, so not there: {halves}",
                fine=False,
                cure="`flagbrake flag create` again, or archive them in Unleash",
            )
        try:
            config = self._ask(f"/projects/{quote(self._project, safe='')}/change-requests/config")
        except NotFound:
            return  # the open-source edition has none
        wanted = any(
            e.get("environment") == self._environment and e.get("changeRequestEnabled")
            for e in (config if isinstance(config, list) else ())
        )
        if wanted:
            yield Remark(
                f"changes in '{self._environment}' want a change request: turning a flag off is refused as well.",
                fine=False,
                cure="a token that may bypass them, and kills through the store",
            )

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()
        self._writes.close()

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
                raise self._no_flag(change.key)
            raise errors.moved(change.key, found=self._version(now) if now else "none", expected=expected)
        if isinstance(change, Archive):
            assert now is not None
            state = self._state(now)
            self._writes.send("DELETE", self._place(change.key).feature)
            return replace(state, flag=replace(state.flag, archived=True, on=False))
        meant = self._meant(change, now)
        if now is not None and not (isinstance(change, SetOn) and not change.on):
            self._check_plan(change.key)
        self._write(change.key, now, meant)
        if isinstance(change, SetOn):
            self._remark(change.key, by=by, reason="" if change.on else comment)
        return self.read(change.key)

    def _now(self, change: Change, expected: str | None) -> Document | None:
        """What is there, with the numbers of its strategies; ``None`` where nothing is and nothing need be."""
        try:
            return self._document(change.key, nearest=not isinstance(change, Create | Replace))
        except NotFound:
            if isinstance(change, Create):
                return None
            if not isinstance(change, Replace):
                raise
            self._meant(change, None)  # what is refused brings nothing back from the archive
            return None if expected is not None else self._revived(change.key)

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

    def _check_plan(self, key: str) -> None:
        """A release plan's strategies (Enterprise) are served, and a feature's own document does not show them."""
        strategies = self._ask(f"{self._place(key).here}/strategies")
        if any(isinstance(s, dict) and s.get("milestoneId") for s in strategies):
            raise errors.planned(key)

    def _write(self, key: str, now: Document | None, meant: Document) -> None:
        for call in plan(self._place(key), now or self._begun(key, meant), meant):
            self._writes.send(call.method, call.path, json=call.body)

    def _begun(self, key: str, meant: Document) -> Document:
        """A feature that is not there yet, or is there in part because whoever made it came to grief."""
        mark = {"type": "simple", "value": UNFINISHED}
        fields = {name: meant[name] for name in ("name", "type", "description", "impressionData")}
        with suppress(Conflict):  # a feature can be made only with tags that there are
            self._writes.send("POST", "/tags", json=mark)
        try:
            self._writes.send(
                "POST", f"/projects/{quote(self._project, safe='')}/features", json={**fields, "tags": [mark]}
            )
        except Conflict:
            with suppress(NotFound):
                if is_unfinished(there := self._document(key, unfinished=True)):
                    return there
            raise
        return self._document(key, unfinished=True)

    def _remark(self, key: str, *, by: str, reason: str) -> None:
        """The reason why a flag is off, where people look at it in Unleash. The switch itself does not wait on it."""
        path = f"{self._place(key).feature}/link"
        try:
            for link in self._ask(self._place(key).feature).get("links") or ():
                if str(link.get("title") or "").startswith(_REASON):
                    self._rest.send("DELETE", f"{path}/{link['id']}")
            if reason:
                site = self._url.removesuffix("/api")
                where = f"{site}/projects/{self._project}/features/{key}/logs"
                self._rest.send("POST", path, json={"url": where, "title": f"{_REASON}{reason} ({by})"[:255]})
        except FlagbrakeError as error:
            _log.warning("the reason for switching '%s' could not be noted in Unleash: %s", key, error)

    # --- the API ------------------------------------------------------------------------------------

    def _place(self, key: str) -> Place:
        return Place(self._project, self._environment, key)

    def _document(self, key: str, *, nearest: bool = True, unfinished: bool = False) -> Document:
        if key in {"", ".", ".."}:
            raise self._no_flag(key)
        try:
            feature = self._ask(self._place(key).feature)
            feature["tags"] = self._ask(f"/features/{quote(key, safe='')}/tags")["tags"]
        except NotFound:
            raise (self._no_flag(key) if nearest else NotFound(f"There is no flag '{key}'.")) from None
        if feature.get("archived"):
            raise self._no_flag(key)
        if all(e["name"] != self._environment for e in feature.get("environments") or ()):
            raise NotFound(
                f"Unleash's project '{self._project}' has no environment '{self._environment}'.",
                cure=" or ".join(e["name"] for e in feature.get("environments") or ()) or "enable it there",
            )
        document = document_of(feature, self._environment)
        if is_unfinished(document) and not unfinished:
            raise self._no_flag(key) if nearest else NotFound(f"There is no flag '{key}'.")
        return document

    def _revived(self, key: str) -> Document | None:
        try:
            self._writes.send("POST", f"/projects/{quote(self._project, safe='')}/revive", json={"features": [key]})
            return self._document(key, nearest=False)
        except (NotFound, InvalidInput, Conflict):
            return None

    def _documents(self) -> Iterator[Document]:
        for document in documents_of(self._export()):
            if len(document["strategies"]) < 2:
                yield document
                continue
            with suppress(NotFound):  # it went in this moment
                yield self._document(document["name"], nearest=False)  # an export has strategies in no order at all

    def _export(self) -> Any:
        body = {"environment": self._environment, "project": self._project, "downloadFile": False}
        return errors.body(self._rest.send("POST", "/features-batch/export", json=body))

    def _ask(self, path: str) -> Any:
        return errors.body(self._rest.get(path))

    def _no_flag(self, key: str) -> NotFound:
        listed = self._ask(f"/projects/{quote(self._project, safe='')}/features")
        names = [f["name"] for f in listed.get("features") or ()]
        return errors.no_flag(key, names, self.environment)

    def _segments(self) -> list[Any]:
        return list(self._ask("/segments").get("segments") or ())

    def _segment_names(self) -> dict[int, str]:
        return {s["id"]: s["name"] for s in self._segments()}

    def _numbers(self, flag: Flag) -> dict[str, int]:
        asked = any(clause.op is Op.SEGMENT for rule in flag.rules for clause in rule.clauses)
        return {s["name"]: s["id"] for s in self._segments()} if asked else {}

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
                yield need["feature"], self._document(need["feature"], nearest=False)

    def _state(
        self, document: Document, names: Mapping[int, str] | None = None, others: Mapping[str, Part] | None = None
    ) -> FlagState:
        flag = self._flag(document, names, others)
        return FlagState(self.ref(flag.key), flag, self._version(document), native(document), datetime.now(UTC))

    def _version(self, document: Document) -> str:
        return checksum(dumps(native(document)))[:16]


def _asks_segments(document: Part) -> bool:
    return any(strategy["segments"] for strategy in document["strategies"])
