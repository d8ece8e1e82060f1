"""A vendor in memory that can do all a vendor does to its clients: the suite and its sabotage run on it."""

from __future__ import annotations

import copy
import itertools
import json
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.track import TrackingEventDetails

from flagbrake.errors import Conflict, InvalidInput, NotAllowed, NotFound, VendorUnavailable
from flagbrake.evaluate.checks import check
from flagbrake.evaluate.ruleset import Ruleset
from flagbrake.model.codec import checksum, dumps, flag_from_data, flag_to_data
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
    SetTargets,
    Support,
)
from flagbrake.ports.control import FlagControl
from flagbrake.ports.provider import FlagProvider
from flagbrake_contract import Harness
from flagbrake_contract.harness import Arrived

SECRET = "sdk-key-that-nobody-may-see"
Listener = Callable[[str, frozenset[str]], None]


class Vendor:
    """Flags as JSON documents, listeners, a key, and a switch for its availability."""

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.up = True
        self.refusal: Exception | None = None
        self.listeners: list[Listener] = []
        self.audit: list[tuple[str, str, str]] = []
        self.versions = itertools.count(1)
        self.tracked: list[Arrived] = []
        self.lock = threading.RLock()
        # A thread of the parent may hold the lock when a test forks.
        self.renew = lambda: setattr(self, "lock", threading.RLock())

    def put(self, flag: Flag) -> None:
        """Store a flag and tell everybody."""
        with self.lock:
            flag = replace(flag, version=next(self.versions))
            self.documents[flag.key] = dumps(flag_to_data(flag))
            self._tell("changed", frozenset({flag.key}))

    def delete(self, key: str) -> None:
        """Forget a flag and tell everybody."""
        with self.lock:
            del self.documents[key]
            self._tell("changed", frozenset({key}))

    def go(self, *, up: bool) -> None:
        """Go away or come back."""
        with self.lock:
            self.up = up
            self._tell("back" if up else "away", frozenset())

    def _tell(self, what: str, keys: frozenset[str]) -> None:
        if self.up or what == "away":
            for listener in list(self.listeners):
                listener(what, keys)

    def damage(self, key: str) -> None:
        """Half a document, told as a change."""
        with self.lock:
            self.documents[key] = '{"kind": "string", "variants": '
            self._tell("changed", frozenset({key}))

    def flags(self) -> dict[str, Flag]:
        """All flags that can be read."""
        found = {key: self.flag(key) for key in self.documents}
        return {key: flag for key, flag in found.items() if flag is not None}

    def flag(self, key: str) -> Flag | None:
        """One flag, ``None`` if it is not there or damaged."""
        try:
            return flag_from_data(json.loads(self.documents[key]))
        except (KeyError, ValueError):
            return None


class ReferenceProvider(FlagProvider):
    """Evaluates with our own evaluator from a snapshot of the vendor."""

    name: ClassVar[str] = "reference"
    follows_after_fork: ClassVar[bool] = True

    def __init__(self, vendor: Vendor, key: str = SECRET, *, hanging: bool = False) -> None:
        super().__init__()
        self.vendor = vendor
        self._key = key
        self._hanging = hanging
        self.rules = Ruleset({})

    def start(self, context: EvaluationContext) -> None:
        """Take a snapshot and listen."""
        if self._hanging:
            threading.Event().wait(0.2)
            raise VendorUnavailable("The vendor did not answer within 0.2 s.")
        if self._key != SECRET:
            raise NotAllowed("The vendor refuses this key.")
        if not self.vendor.up:
            raise VendorUnavailable("The vendor is away.")
        threading.Event().wait(0.002)  # as long as a vendor nearby takes
        with self.vendor.lock:
            self.rules = Ruleset(self.vendor.flags())
            self.vendor.listeners.append(self.heard)

    def stop(self) -> None:
        """Stop listening."""
        if self.heard in self.vendor.listeners:
            self.vendor.listeners.remove(self.heard)

    def heard(self, what: str, keys: frozenset[str]) -> None:
        """The vendor says something."""
        if what == "away":
            self.emit_provider_stale(ProviderEventDetails(message="The vendor is away."))
            return
        if what == "back":
            before = self.rules.flags
            now = self.vendor.flags()
            keys = frozenset(k for k in {*before, *now} if before.get(k) != now.get(k))
            self.emit_provider_ready(ProviderEventDetails())
        if keys:
            self.take(keys)
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(keys)))

    def take(self, keys: frozenset[str]) -> None:
        """Swap the snapshot."""
        self.rules = self.rules.changed({key: self.vendor.flag(key) for key in keys})

    def resolve(self, flag_key: str, context: EvaluationContext) -> FlagResolutionDetails[Any]:
        """From the snapshot."""
        return self.rules.evaluate(flag_key, context)

    def off_value(self, flag_key: str) -> FlagResolutionDetails[Any] | None:
        """The off variant."""
        return self.rules.off(flag_key)

    def value_of(self, flag_key: str, variant: str) -> Any:
        """A variant's value."""
        return self.rules.value_of(flag_key, variant)

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Hand it to the vendor."""
        details = tracking_event_details or TrackingEventDetails()
        unit = evaluation_context.targeting_key if evaluation_context else None
        self.vendor.tracked.append((tracking_event_name, unit, details.value, details.attributes))

    def keys(self) -> Collection[str]:
        """The snapshot's."""
        return self.rules.keys()


class ReferenceControl(FlagControl):
    """Compare, write and read back under the vendor's lock."""

    name: ClassVar[str] = "reference"
    capabilities = dict.fromkeys(Capability, Support.FULL)
    audits_itself: ClassVar[bool] = True

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.project = "contract"
        self.environment = "test"

    def read(self, key: str) -> FlagState:
        """Read one flag."""
        if not self.vendor.up:
            raise VendorUnavailable("The reference vendor is away.", cure="wait")
        flag = self.vendor.flag(key)
        if flag is None and key in self.vendor.documents:
            raise InvalidInput(f"The document of '{key}' is damaged.", cure="put it back")
        if flag is None:
            near = [k for k in self.vendor.documents if k.startswith(key[:8])]
            raise NotFound(f"No flag '{key}'.", cure=", ".join(near))
        text = self.vendor.documents[key]
        # The definition without its counter, so that equal definitions have equal versions.
        version = checksum(dumps(flag_to_data(replace(flag, version=0)))) + f"-{flag.version}"
        return FlagState(self.ref(key), flag, version, json.loads(text), datetime.now(UTC))

    def states(self) -> Iterator[FlagState]:
        """All that is not archived."""
        states = self.readable(self.read, sorted(self.vendor.documents))
        return (state for state in states if not state.flag.archived)

    def segments(self) -> Iterator[Segment]:
        """None."""
        yield from ()

    def apply(self, change: Change, *, expected: str | None = None, by: str = "", comment: str = "") -> FlagState:
        """Write one change."""
        with self.vendor.lock:
            if self.vendor.refusal is not None:
                raise self.vendor.refusal
            try:
                before: FlagState | None = self.read(change.key)
            except NotFound:
                if not isinstance(change, Create | Replace):
                    raise
                before = None
            self.compare(change, before, expected)
            after = self.changed(change, before.flag if before else None)
            self.check(after)
            self.vendor.put(after)
            self.record(change.key, by, comment)
            return self.read(change.key)

    def compare(self, change: Change, before: FlagState | None, expected: str | None) -> None:
        """Refuse what somebody else changed."""
        if isinstance(change, Create) and before is not None:
            raise Conflict(f"Flag '{change.key}' exists.", cure="another key")
        if expected is not None and (before is None or before.version != expected):
            raise Conflict(f"Flag '{change.key}' was changed.", cure="read again")

    def check(self, flag: Flag) -> None:
        """Refuse what cannot be served."""
        flag_from_data(flag_to_data(flag))
        check(flag, flags=self.vendor.flags())

    def record(self, key: str, by: str, comment: str) -> None:
        """Audit."""
        self.vendor.audit.append((key, by, comment))

    def changed(self, change: Change, flag: Flag | None) -> Flag:  # noqa: PLR0911 - one per change
        """The flag after the change."""
        match change:
            case Create(flag=made):
                return made
            case Replace(flag=made, native=native):
                return flag_from_data(copy.deepcopy(native)) if native is not None else made
            case _:
                assert flag is not None
        match change:
            case SetOn(on=on, off_variant=off_variant):
                return replace(flag, on=on, off_variant=flag.off_variant if off_variant is None else off_variant)
            case SetTargets(targets=targets):
                return replace(flag, targets=targets)
            case Archive():
                return replace(flag, archived=True)
            case SetDistribution(serve=serve, rule=None, turn_on=turn_on):
                return replace(flag, default=serve, on=flag.on or turn_on)
            case SetDistribution(serve=serve, rule=rule):
                if rule not in [r.id for r in flag.rules]:
                    raise InvalidInput(f"Flag '{flag.key}' has no rule '{rule}'.", cure="its id")
                return replace(flag, rules=tuple(replace(r, serve=serve) if r.id == rule else r for r in flag.rules))
        raise AssertionError(change)


def reference(
    provider: Callable[[Vendor], Any] = ReferenceProvider,
    control: Callable[[Vendor], FlagControl] = ReferenceControl,
    **rest: Any,
) -> Harness:
    """A harness of the reference, or of a saboteur in its place."""
    vendor = Vendor()

    @contextmanager
    def refusing(error: Exception) -> Iterator[None]:
        vendor.refusal = error
        try:
            yield
        finally:
            vendor.refusal = None

    from flagbrake.errors import ApprovalRequired, NotAllowed, RetryLater

    tools: dict[str, Any] = {
        "control": control(vendor),
        "remove": vendor.delete,
        "break_vendor": lambda: vendor.go(up=False),
        "restore_vendor": lambda: vendor.go(up=True),
        "make_rejected": lambda: _made(provider, vendor, key="wrong"),
        "make_hanging": lambda: _made(provider, vendor, hanging=True),
        "secrets": (SECRET,),
        "audited": lambda key: [(by, comment) for k, by, comment in vendor.audit if k == key],
        "refuse": {
            "NotAllowed": lambda: refusing(NotAllowed("The token may only read.", cure="another token")),
            "ApprovalRequired": lambda: refusing(ApprovalRequired("Two people decide.", cure="ask bob")),
            "RetryLater": lambda: refusing(RetryLater("Too many writes.", after=3.0)),
        },
        "tracked": lambda: vendor.tracked,
        "damage": vendor.damage,
        "in_process": True,
        "patience": 3.0,
        "start_within": 3.0,
    }
    return Harness(lambda: provider(vendor), vendor.put, **{**tools, **rest})


def _made(provider: Callable[..., Any], vendor: Vendor, **rest: Any) -> Any:
    made = provider(vendor)
    inner = getattr(made, "inner", made)
    inner._key = rest.get("key", SECRET)
    inner._hanging = rest.get("hanging", False)
    return made
