"""What a test file gives to the contract: a provider, a way in by the back door, and a vendor that can break."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Self

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.provider import FeatureProvider
from openfeature.provider.no_op_provider import NoOpProvider

from flagbrake.model.flag import Flag, Variant
from flagbrake.model.state import Capability, Support
from flagbrake.model.values import kind_of
from flagbrake.ports.control import FlagControl
from flagbrake.ports.lock import Lock
from flagbrake_contract.capability import ALL, ProviderCapability
from flagbrake_contract.rules import AnyCapability, Broken, Lacking, NotAsked, Said

_NUMBERS = itertools.count(1)

#: One ``track`` as the vendor got it: event, targeting key, value, attributes.
Arrived = tuple[str, str | None, float | None, Mapping[str, Any]]


@dataclass(slots=True)
class Session:
    """One started provider, and every event it emitted, in order, as (event, details)."""

    provider: FeatureProvider
    emitted: list[tuple[ProviderEvent, ProviderEventDetails]] = field(default_factory=list)

    def of(self, event: ProviderEvent) -> list[ProviderEventDetails]:
        """The events of one type."""
        return [details for kind, details in list(self.emitted) if kind is event]


class Harness:
    """Tools of one adapter under test. Only ``make_provider`` and ``seed`` are needed for a first run.

    Args:
        make_provider: a new provider over the same vendor, not initialised.
        seed: put a flag (new, or in place of the one with its key) into the vendor by the back door, not
            through the control under test.
        control: the control under test, for ``ControlContract``.
        lock: the lock that keeps two controllers apart; one inside this process when there is none.
        remove: delete a flag by the back door.
        settle: return when every started provider has seen all that was seeded.
        break_vendor: make the vendor unreachable; providers started before go on with what they have.
        restore_vendor: make it reachable again.
        make_rejected: a provider whose key the vendor refuses.
        make_hanging: a provider whose vendor accepts the connection and never answers.
        close: free everything; called once.
        capabilities: every ProviderCapability and how far the provider goes.
        known_deviations: rule id -> why it is broken and where that is tracked. A deviation that passes fails.
        secrets: texts that must appear in no repr, message or log line.
        audited: the audit entries of one flag, as (who, what was said) pairs, oldest first.
        refuse: by name of the error, a context manager under which the vendor refuses every write so
            (``"NotAllowed"``, ``"ApprovalRequired"``, ``"RetryLater"``).
        cannot_refuse: why the vendor never refuses so, by name of the error, or one reason for all of them. Each of
            the three stands in ``refuse`` or here: what is in neither fails.
        tracked: what the vendor got of ``track``, oldest first. Without it what arrives is not asked.
        damage: put something under this key that is no definition (a damaged row, half a document). Without it
            what a damaged definition does to the others is not asked.
        in_process: the vendor lives in this process's memory, so that a forked child has a vendor of its own.
        patience: seconds to wait for anything that should happen.
        start_within: the longest that ``initialize`` may take with the vendor away.
    """

    def __init__(  # noqa: PLR0913 - one name per tool, all but two optional
        self,
        make_provider: Callable[[], FeatureProvider],
        seed: Callable[[Flag], object],
        *,
        control: FlagControl | None = None,
        lock: Lock | None = None,
        remove: Callable[[str], object] | None = None,
        settle: Callable[[], object] = lambda: None,
        break_vendor: Callable[[], object] | None = None,
        restore_vendor: Callable[[], object] | None = None,
        make_rejected: Callable[[], FeatureProvider] | None = None,
        make_hanging: Callable[[], FeatureProvider] | None = None,
        close: Callable[[], object] = lambda: None,
        capabilities: Mapping[ProviderCapability, Support] = ALL,
        known_deviations: Mapping[str, str] | None = None,
        secrets: tuple[str, ...] = (),
        audited: Callable[[str], list[tuple[str, str]]] | None = None,
        refuse: Mapping[str, Callable[[], Any]] | None = None,
        cannot_refuse: Mapping[str, str] | str = MappingProxyType({}),
        tracked: Callable[[], Sequence[Arrived]] | None = None,
        damage: Callable[[str], object] | None = None,
        in_process: bool = False,
        patience: float = 10.0,
        start_within: float = 15.0,
    ) -> None:
        self.make_provider = make_provider
        self._seed = seed
        self.control = control
        self.lock = lock
        self._remove = remove
        self.settle = settle
        self._break = break_vendor
        self._restore = restore_vendor
        self._rejected = make_rejected
        self._hanging = make_hanging
        self._close = close
        self.capabilities = capabilities
        self.known_deviations = dict(known_deviations or {})
        self.secrets = secrets
        self._audited = audited
        self.refuse = dict(refuse or {})
        self.cannot_refuse = cannot_refuse
        self._tracked = tracked
        self._damage = damage
        self.in_process = in_process
        self.patience = patience
        self.start_within = start_within
        self._provider: FeatureProvider | None = None
        self._domain = ""
        # A rule may first ask for the shared provider from many threads at once.
        self._sharing = threading.Lock()

    # --- what the adapter declares ------------------------------------------------------------------

    def support(self, capability: AnyCapability) -> Support:
        """How far the adapter goes; an undeclared capability counts as FULL, and a rule says it is missing."""
        if isinstance(capability, Capability):
            return self.the_control.capabilities.get(capability, Support.FULL)
        return self.capabilities.get(capability, Support.FULL)

    @property
    def the_control(self) -> FlagControl:
        """The control, or a breach when the harness has none."""
        if self.control is None:
            raise Lacking("control", "give Harness(control=...), or leave ControlContract out")
        return self.control

    # --- flags by the back door -----------------------------------------------------------------------

    def key(self, hint: str = "flag") -> str:
        """A flag key that nobody has used."""
        return f"contract-{hint}-{next(_NUMBERS)}-{uuid.uuid4().hex[:6]}"

    def put(self, *flags: Flag) -> None:
        """Seed and settle."""
        for flag in flags:
            self._seed(flag)
        self.settle()

    def serving(self, value: Any, *, key: str = "", **rest: Any) -> Flag:
        """Seed a flag with two variants that serves ``value`` to everybody under the variant name ``served``."""
        flag = plain(key or self.key(), value, **rest)
        self.put(flag)
        return flag

    def delete(self, key: str) -> None:
        """Remove by the back door and settle."""
        if self._remove is None:
            raise Lacking("remove", "give Harness(remove=...)")
        self._remove(key)
        self.settle()

    # --- providers ------------------------------------------------------------------------------------

    @property
    def provider(self) -> FeatureProvider:
        """One started provider, shared by the rules that do no harm to it; bound to :attr:`client`."""
        with self._sharing:
            if self._provider is None:
                provider = self.make_provider()
                domain = f"contract-{uuid.uuid4().hex}"
                api.set_provider_and_wait(provider, domain)
                self._provider, self._domain = provider, domain
            return self._provider

    @property
    def client(self) -> OpenFeatureClient:
        """The OpenFeature client of :attr:`provider`."""
        assert self.provider
        return api.get_client(self._domain)

    @contextmanager
    def session(self, provider: FeatureProvider | None = None) -> Iterator[Session]:
        """A new provider, started as the SDK starts it but without the SDK; shut down at the end."""
        session = Session(provider or self.make_provider())

        def record(_: FeatureProvider, event: ProviderEvent, details: ProviderEventDetails) -> None:
            session.emitted.append((event, details))

        session.provider.attach(record)
        try:
            session.provider.initialize(EvaluationContext())
            self.settle()
            yield session
        finally:
            session.provider.shutdown()
            session.provider.detach()

    @contextmanager
    def bound(self, provider: FeatureProvider) -> Iterator[OpenFeatureClient]:
        """Bind a provider to a new domain of the OpenFeature API without starting it twice; unbind at the end."""
        domain = f"contract-{uuid.uuid4().hex}"
        try:
            with suppress(Exception):  # a failed start leaves the provider bound: the client's answers are the finding
                api.set_provider_and_wait(provider, domain)
            yield api.get_client(domain)
        finally:
            api.set_provider_and_wait(NoOpProvider(), domain)
            provider.shutdown()

    def rejected(self) -> FeatureProvider:
        """A provider whose key the vendor refuses."""
        if self._rejected is None:
            raise Lacking("make_rejected", "give Harness(make_rejected=...), or declare authentication less than FULL")
        return self._rejected()

    def hanging(self) -> FeatureProvider:
        """A provider whose vendor never answers."""
        if self._hanging is None:
            raise Lacking("make_hanging", "give Harness(make_hanging=...), or declare hanging-init less than FULL")
        return self._hanging()

    # --- the vendor -------------------------------------------------------------------------------------

    @contextmanager
    def broken(self) -> Iterator[None]:
        """The vendor is unreachable inside the block."""
        if self._break is None or self._restore is None:
            raise Lacking(
                "break_vendor and restore_vendor",
                "give Harness(break_vendor=..., restore_vendor=...), or declare stale and unavailable-init less than "
                "FULL",
            )
        self._break()
        try:
            yield
        finally:
            self._restore()

    def audited(self, key: str) -> list[tuple[str, str]]:
        """The audit entries of a flag: (who, comment)."""
        if self._audited is None:
            raise Lacking("audited", "give Harness(audited=...), or declare audit and comments less than FULL")
        return self._audited(key)

    def refusing(self, error: str) -> AbstractContextManager[Any]:
        """The vendor refuses every write with this error inside the block."""
        tool = self.refuse.get(error)
        if tool is not None:
            return tool()  # type: ignore[no-any-return]  # a context manager, says the docstring
        declared = self.cannot_refuse
        reason = declared if isinstance(declared, str) else declared.get(error, "")
        if reason.strip():
            raise NotAsked(f"the vendor never answers {error}: {reason}")
        raise Lacking(
            f"a way to be refused with {error}",
            f'give Harness(refuse={{"{error}": ...}}), or say why the vendor never does: cannot_refuse={{"{error}": '
            f'"..."}}',
        )

    def tracked(self) -> list[Arrived]:
        """What the vendor got of ``track``."""
        if self._tracked is None:
            raise NotAsked("the harness has no `tracked`: what arrives at the vendor cannot be seen")
        return list(self._tracked())

    def damage(self, key: str) -> None:
        """Put something that is no definition under a key, and settle."""
        if self._damage is None:
            raise NotAsked("the harness has no `damage`: a definition that is none cannot be put into the vendor")
        self._damage(key)
        self.settle()

    def close(self) -> None:
        """Shut the shared provider down and free everything."""
        if self._provider is not None:
            api.set_provider_and_wait(NoOpProvider(), self._domain)
            self._provider.shutdown()
            self._provider = None
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- waiting ----------------------------------------------------------------------------------------

    def eventually(self, condition: Callable[[], object], *, expected: str, came: Callable[[], object]) -> None:
        """Wait until ``condition`` is true, at most ``patience`` seconds."""
        if not wait(condition, self.patience):
            raise Broken(Said(f"{expected}, within {self.patience:g} s"), came())


def wait(condition: Callable[[], object], patience: float) -> bool:
    """Poll a condition; return whether it came true in time."""
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.005)
    return True


_OTHER: dict[str, Any] = {
    "boolean": False,
    "string": "another text",
    "integer": 987_654,
    "float": 987.25,
    "object": {"another": True},
}


def plain(key: str, value: Any, **rest: Any) -> Flag:
    """A flag that serves ``value`` (variant ``served``) to everybody, and another value (``other``) when off."""
    kind = kind_of(value)
    if kind is None:
        raise ValueError(f"{value!r} is no flag value.")
    other = (not value) if isinstance(value, bool) else _OTHER[kind.value]
    rest.setdefault("default", "served")
    rest.setdefault("off_variant", "other")
    return Flag(key, kind, (Variant("served", value), Variant("other", other)), **rest)
