"""What a provider tells without being asked: ready, changed, stale, back."""

from __future__ import annotations

import threading
from typing import ClassVar

from openfeature.event import ProviderEvent, ProviderEventDetails

from flagbrake_contract.ask import ask
from flagbrake_contract.capability import ProviderCapability as Cap
from flagbrake_contract.contract import Contract
from flagbrake_contract.harness import Harness, Session, wait
from flagbrake_contract.rules import Broken, Level, Said, area, holds, rule, same

CHANGED = ProviderEvent.PROVIDER_CONFIGURATION_CHANGED
READY, STALE, ERROR = ProviderEvent.PROVIDER_READY, ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_ERROR


class EventsContract(Contract):
    """Events, exact and once."""

    areas: ClassVar[tuple[str, ...]] = ("events", "stale")


area("events", "Events", repair="emit on every transition once, with exact flags_changed; see docs of AbstractProvider")
area(
    "stale",
    "Stale and back",
    repair="emit STALE when the connection is lost and READY when data flows again, once each",
)


def _changes(session: Session, key: str) -> list[ProviderEventDetails]:
    return [d for d in session.of(CHANGED) if d.flags_changed is None or key in d.flags_changed]


def _await_change(h: Harness, session: Session, key: str) -> ProviderEventDetails:
    h.eventually(
        lambda: _changes(session, key),
        expected=f"PROVIDER_CONFIGURATION_CHANGED for {key}",
        came=lambda: _events(session),
    )
    return _changes(session, key)[0]


def _events(session: Session) -> Said:
    return Said("; ".join(f"{e.name} {d.flags_changed or d.message or ''}" for e, d in session.emitted) or "no event")


@rule(Cap.EVENTS, spec="2.8.1", witness=True)
def events_ready_once(h: Harness) -> None:
    """An application that waits for READY sees it once per start.

    Repair: openfeature-sdk 0.10 emits READY itself after initialize; do not emit it there as well.
    """
    from openfeature import api

    seen: list[str] = []
    provider = h.make_provider()
    name = provider.get_metadata().name
    with h.bound(provider) as client:
        client.add_handler(READY, lambda details: seen.append(details.provider_name))
        # Seen late: the SDK runs a handler at once for a state that is reached already.
        wait(lambda: seen, h.patience)
        same(seen, [name])
    seen.clear()
    domain = h.key("domain")
    client = api.get_client(domain)
    client.add_handler(READY, lambda details: seen.append(details.provider_name))
    from openfeature.provider.no_op_provider import NoOpProvider

    other = h.make_provider()
    try:
        api.set_provider_and_wait(other, domain)
        wait(lambda: name in seen, h.patience)
        threading.Event().wait(0.05)
        holds(seen.count(name) == 1, expected="one READY", came=f"{seen.count(name)}")
    finally:
        api.set_provider_and_wait(NoOpProvider(), domain)
        other.shutdown()


@rule(Cap.CONFIGURATION_CHANGE, spec="2.8.1", witness=True)
def events_changed(h: Harness) -> None:
    """A changed flag is told: PROVIDER_CONFIGURATION_CHANGED."""
    key = h.serving("x").key
    with h.session() as session:
        session.emitted.clear()
        h.serving("y", key=key)
        _await_change(h, session, key)


@rule(Cap.CONFIGURATION_CHANGE)
def events_changed_exact(h: Harness) -> None:
    """flags_changed names the changed flag and no other."""
    key, other = h.serving("x").key, h.serving("x").key
    with h.session() as session:
        session.emitted.clear()
        h.serving("y", key=key)
        details = _await_change(h, session, key)
        holds(details.flags_changed == [key], expected=[key], came=details.flags_changed)
        holds(not any(other in (d.flags_changed or [other]) for d in session.of(CHANGED)),
              expected=f"nothing of {other}", came=_events(session))  # fmt: skip


@rule(Cap.CONFIGURATION_CHANGE)
def events_created(h: Harness) -> None:
    """A new flag is told by its key."""
    with h.session() as session:
        session.emitted.clear()
        key = h.serving("x").key
        details = _await_change(h, session, key)
        holds(details.flags_changed == [key], expected=[key], came=details.flags_changed)


@rule(Cap.CONFIGURATION_CHANGE)
def events_deleted(h: Harness) -> None:
    """A deleted flag is told by its key."""
    key = h.serving("x").key
    with h.session() as session:
        session.emitted.clear()
        h.delete(key)
        details = _await_change(h, session, key)
        holds(details.flags_changed == [key], expected=[key], came=details.flags_changed)


@rule(Cap.CONFIGURATION_CHANGE)
def events_after_the_fact(h: Harness) -> None:
    """When the event arrives, the new value is served: a listener that evaluates sees it."""
    key = h.serving("x").key
    seen: list[str] = []
    provider = h.make_provider()
    with h.session(provider) as session:

        def listen(_: object, event: ProviderEvent, details: ProviderEventDetails) -> None:
            if event is CHANGED and key in (details.flags_changed or ()):
                seen.append(str(ask(provider, key, "default").value))

        session.provider.attach(listen)
        h.serving("y", key=key)
        h.eventually(lambda: seen, expected="an event", came=lambda: Said("none"))
    same(seen[0], "y")


@rule(Cap.CONFIGURATION_CHANGE)
def events_quiet(h: Harness) -> None:
    """Nothing changed, nothing told: evaluating, and seeding another flag, emit nothing about this one."""
    key = h.serving("x").key
    with h.session() as session:
        session.emitted.clear()
        for _ in range(20):
            ask(session.provider, key, "default")
        other = h.serving("x").key
        _await_change(h, session, other)
        holds(not _changes(session, key), expected=f"nothing about {key}", came=_events(session))


@rule(Cap.CONFIGURATION_CHANGE)
def events_once(h: Harness) -> None:
    """One change is told once, also after initialize was called twice."""
    key = h.serving("x").key
    with h.session() as session:
        from openfeature.evaluation_context import EvaluationContext

        session.provider.initialize(EvaluationContext())
        session.emitted.clear()
        h.serving("y", key=key)
        _await_change(h, session, key)
        marker = h.serving("marker").key
        _await_change(h, session, marker)
        told = len(_changes(session, key))
        holds(told == 1, expected="one event", came=f"{told}: {_events(session)}")


@rule(Cap.CONFIGURATION_CHANGE)
def events_order(h: Harness) -> None:
    """Changes are told in the order in which they happened."""
    with h.session() as session:
        session.emitted.clear()
        keys = [h.serving(str(n)).key for n in range(5)]
        for key in keys:
            _await_change(h, session, key)
        told = [k for d in session.of(CHANGED) for k in d.flags_changed or () if k in keys]
    same(told, keys)


@rule(Cap.CONFIGURATION_CHANGE)
def events_types(h: Harness) -> None:
    """flags_changed is a list of texts; event metadata has text keys and values of bool, str, int or float."""
    with h.session() as session:
        key = h.serving("x").key
        _await_change(h, session, key)
        for event, details in session.emitted:
            changed = details.flags_changed
            fine = changed is None or (isinstance(changed, list) and all(isinstance(k, str) for k in changed))
            holds(fine, expected="a list of texts, or None", came=f"{event.name}: {changed!r}")
            for name, value in (details.metadata or {}).items():
                holds(
                    isinstance(name, str) and isinstance(value, (bool, str, int, float)),
                    expected="text -> bool, str, int or float",
                    came=f"{event.name}: {name!r} -> {value!r}",
                )


@rule(Cap.EVENTS, Cap.CONFIGURATION_CHANGE)
def events_after_shutdown(h: Harness) -> None:
    """After shutdown nothing more is told."""
    key = h.serving("x").key
    with h.session() as watcher, h.session() as session:
        session.provider.shutdown()
        session.emitted.clear()
        h.serving("y", key=key)
        _await_change(h, watcher, key)
        holds(not session.emitted, expected="no event", came=_events(session))


@rule(Cap.CONFIGURATION_CHANGE, Cap.REINITIALIZATION)
def events_after_restart(h: Harness) -> None:
    """A provider that was shut down and started again tells changes again, once each."""
    from openfeature.evaluation_context import EvaluationContext

    key = h.serving("x").key
    with h.session() as session:
        session.provider.shutdown()
        session.provider.initialize(EvaluationContext())
        h.settle()
        session.emitted.clear()
        h.serving("y", key=key)
        _await_change(h, session, key)
        marker = h.serving("marker").key
        _await_change(h, session, marker)
        told = len(_changes(session, key))
        holds(told == 1, expected="one event", came=f"{told}: {_events(session)}")


@rule(Cap.EVENTS)
def events_without_listener(h: Harness) -> None:
    """A provider that nobody attached to emits into nothing, and goes on."""
    from openfeature.evaluation_context import EvaluationContext

    key = h.serving("x").key
    provider = h.make_provider()
    try:
        provider.initialize(EvaluationContext())
        h.serving("y", key=key)
        h.eventually(
            lambda: ask(provider, key, "default").value == "y",
            expected="y",
            came=lambda: ask(provider, key, "default").value,
        )
    finally:
        provider.shutdown()


@rule(Cap.CONFIGURATION_CHANGE, spec="5.1.2")
def events_through_client(h: Harness) -> None:
    """A handler of the OpenFeature client receives the change with the provider's name."""
    key = h.serving("x").key
    seen: list[tuple[str, list[str] | None]] = []
    client = h.client

    def handler(details: object) -> None:
        seen.append((details.provider_name, details.flags_changed))  # type: ignore[attr-defined]  # the SDK adds the name

    client.add_handler(CHANGED, handler)
    try:
        h.serving("y", key=key)
        expected = (h.provider.get_metadata().name, [key])
        h.eventually(lambda: expected in seen, expected=str(expected), came=lambda: list(seen))
    finally:
        client.remove_handler(CHANGED, handler)


# --- stale --------------------------------------------------------------------------------------------------


@rule(Cap.STALE, spec="2.8.1", witness=True)
def stale_told(h: Harness) -> None:
    """A vendor that goes away is told: PROVIDER_STALE while the provider serves what it knew."""
    h.serving("x")
    with h.session() as session, h.broken():
        h.eventually(lambda: session.of(STALE), expected="PROVIDER_STALE", came=lambda: _events(session))


@rule(Cap.STALE, spec="2.8.1")
def stale_recovery(h: Harness) -> None:
    """When the vendor is back: PROVIDER_READY, after the STALE."""
    h.serving("x")
    with h.session() as session:
        with h.broken():
            h.eventually(lambda: session.of(STALE), expected="PROVIDER_STALE", came=lambda: _events(session))
            session.emitted.clear()
        h.eventually(lambda: session.of(READY), expected="PROVIDER_READY", came=lambda: _events(session))


@rule(Cap.STALE)
def stale_once(h: Harness) -> None:
    """One outage is one STALE and one READY, however long it lasts and however often it is noticed."""
    h.serving("x")
    with h.session() as session:
        session.emitted.clear()
        with h.broken():
            h.eventually(lambda: session.of(STALE), expected="PROVIDER_STALE", came=lambda: _events(session))
            threading.Event().wait(0.2)
        h.eventually(lambda: session.of(READY), expected="PROVIDER_READY", came=lambda: _events(session))
        threading.Event().wait(0.1)
        for event in (STALE, READY):
            told = len(session.of(event))
            holds(told == 1, expected=f"one {event.name}", came=f"{told}: {_events(session)}")


@rule(Cap.STALE)
def stale_changes_told(h: Harness) -> None:
    """What changed during the outage is told when the vendor is back."""
    key = h.serving("x").key
    with h.session() as session:
        with h.broken():
            h.eventually(lambda: session.of(STALE), expected="PROVIDER_STALE", came=lambda: _events(session))
        session.emitted.clear()
        h.serving("y", key=key)
        _await_change(h, session, key)


@rule(Cap.STALE, spec="5.1.4", level=Level.SHOULD)
def stale_message(h: Harness) -> None:
    """STALE says in its message what is missing."""
    h.serving("x")
    with h.session() as session, h.broken():
        if not wait(lambda: session.of(STALE), h.patience):
            raise Broken(Said("PROVIDER_STALE"), _events(session))
        holds(session.of(STALE)[0].message, expected="a message", came="none")
