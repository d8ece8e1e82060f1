"""The control plane: what operators, the engine and a console hold."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from flagbrake import registry
from flagbrake.config import Config
from flagbrake.control.switch import KillSwitch
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import ConfigError, InvalidInput
from flagbrake.evaluate import Ruleset
from flagbrake.model.codec import declaration_to_data
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.ports.adapter import Adapter, StoreAccess
from flagbrake.ports.control import FlagControl
from flagbrake.ports.notify import Notifier
from flagbrake.store import Store, open_store
from flagbrake.wiring.settings import adapter_of, adapter_settings, configuration, declared

if TYPE_CHECKING:
    from flagbrake.rollout.engine import Engine
    from flagbrake.rollout.service import RolloutService
    from flagbrake.rollout.watchdog import Watchdog
    from flagbrake.store.audit import AuditEntry

_log = logging.getLogger("flagbrake.wiring")
#: Seconds between two looks at pending lanes and expired kills.
_CARE: Final = 10.0


class _Every:
    """Calls something at most every so many seconds."""

    def __init__(self, seconds: float, work: Callable[[], None]) -> None:
        self._seconds = seconds
        self._work = work
        self._due = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._seconds
            self._work()


def control_plane(
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    environment: str | None = None,
    use: str | None = None,
    create: bool = False,
) -> ControlPlane:
    """Open the control plane. Close it, or use it as a context manager.

    Args:
        config: a TOML file, the same as a mapping, or None to find ``flagbrake.toml``.
        environment: overrides the file.
        use: the provider; overrides the file.
        create: make or upgrade the database's tables.

    Raises:
        ConfigError: settings that cannot be used, no store, or no tables (``flagbrake init``).
        StoreUnavailable: the database did not answer.
    """
    settings = configuration(config, admin=True, environment=environment, use=use)
    adapter = adapter_of(settings, admin=True)
    url = settings.database()
    if url is None:
        raise ConfigError(
            f"'{settings.use}' keeps no kills and no audit, and no store is configured.",
            cure='[store] url = "sqlite:///flagbrake.db"',
        )
    store = open_store(url, project=settings.project, environment=settings.environment, create=create)
    return ControlPlane(settings, adapter, store)


class ControlPlane:
    """Everything that writes: one environment of one provider, with its store.

    ``control`` reads flags, ``writer`` writes them (locked, compared, verified), ``switch`` kills and
    restores, ``rollouts`` starts and steers rollouts.
    """

    def __init__(self, settings: Config, adapter: Adapter, store: Store) -> None:
        self.config = settings
        self.store = store
        self._adapter = adapter

    @cached_property
    def control(self) -> FlagControl:
        """The provider's management side."""
        return self._adapter.control(adapter_settings(self.config, StoreAccess(self.store)))

    @cached_property
    def writer(self) -> FlagWriter:
        """The only way to write a flag."""
        return FlagWriter(self.control, lock=self.store.locks, audit=self.store.audit)

    @cached_property
    def notifiers(self) -> tuple[Notifier, ...]:
        """The log, and what ``[notify]`` names."""
        tables: dict[str, Mapping[str, Any]] = {"log": {}, **self.config.notify}
        made = []
        for name, table in tables.items():
            try:
                made.append(registry.notifier(name)(**self.config.resolved(f"notify.{name}", table)))
            except TypeError as error:
                raise ConfigError(f"[notify.{name}]: {error}.", cure="docs/reference/configuration.md") from None
        return tuple(made)

    @cached_property
    def switch(self) -> KillSwitch:
        """Kill and restore."""
        return KillSwitch.over(self.store, writer=self.writer, manifest=self.manifest, notifiers=self.notifiers)

    @cached_property
    def engine(self) -> Engine:
        """The loop that drives rollouts; any number of processes may run one."""
        from flagbrake.metrics.agent_logs import AgentLogsSource
        from flagbrake.metrics.outcomes import OutcomesSource
        from flagbrake.rollout.engine import Engine

        return Engine(
            self.store,
            self.writer,
            sources={
                "outcomes": OutcomesSource(self.store.outcomes),
                "agent_logs": AgentLogsSource(self.store),
            },
            notifiers=self.notifiers,
            manifest=self.manifest,
        )

    @cached_property
    def rollouts(self) -> RolloutService:
        """Start, look at and steer rollouts."""
        from flagbrake.rollout.service import RolloutService

        return RolloutService(self.engine, silent_after=self.config.engine_silent_after)

    def watchdog(self) -> Watchdog:
        """Alarms when a rollout is active and no engine ticks."""
        from flagbrake.rollout.watchdog import Watchdog

        return Watchdog(self.store, notifiers=self.notifiers, silent_after=self.config.engine_silent_after)

    def drive(self, stop: threading.Event, *, ticks: int | None = None, until: str | None = None) -> None:
        """Be the engine, and finish what lanes and expiries have left over.

        Args:
            stop: ends it.
            ticks: ends it after so many.
            until: ends it when this rollout is over.
        """
        done = itertools.count(1)

        def over() -> bool:
            ticked_enough = ticks is not None and next(done) >= ticks
            return ticked_enough or (until is not None and self.rollouts.status(until).terminal)

        self.engine.run_forever(
            stop, interval=self.config.engine_interval, until=over, chores=_Every(_CARE, self._care)
        )

    def _care(self) -> None:
        """Lanes that are pending, kills that have expired, processes long gone: nobody else comes back to them."""
        self.switch.retry_pending()
        self.switch.announce_expired()
        self.store.processes.prune()

    def manifest(self) -> Manifest:
        """All declarations: the store's, and over them those of the configuration file."""
        stored = {}
        for row in self.store.manifest.all():
            try:
                stored[row.key] = row.decode()
            except InvalidInput as error:
                _log.error("The declaration of %s cannot be read and is left out: %s", row.key, error)
        return Manifest(MappingProxyType(stored)).merged(declared(self.config))

    def declare(self, declaration: Declaration, *, by: str, reason: str) -> None:
        """Put one declaration in the store, audited in the same transaction.

        Raises:
            StoreUnavailable, LockBusy, NotAllowed: nothing was written.
        """
        with self.store.db.transaction() as conn:
            before = self.store.manifest.get(declaration.flag, conn=conn)
            self.store.manifest.write(conn, declaration)
            self.store.audit.append(
                conn,
                at=self.store.clock.now(),
                by=by,
                action="declare",
                subject=declaration.flag,
                reason=reason,
                before=before.data() if before else None,
                after=declaration_to_data(declaration),
            )

    def history(self, subject: str | None, *, limit: int) -> list[AuditEntry]:
        """The audit about a flag, a scope or a rollout, newest first; of everything for ``None``.

        A flag's history has the kills of its own scope in it.
        """
        audit = self.store.audit
        if subject is None:
            return audit.entries(limit=limit)
        names = {subject, f"flag:{subject}", str(self.control.ref(subject))}
        found = [entry for name in names for entry in audit.entries(name, limit)]
        return sorted(found, key=lambda entry: entry.seq, reverse=True)[:limit]

    def ruleset(self) -> Ruleset:
        """All flags and segments as the evaluator sees them, for explanations."""
        flags = {state.flag.key: state.flag for state in self.control.states()}
        return Ruleset(flags, {segment.key: segment for segment in self.control.segments()})

    def place(self) -> str:
        """Where commands of this plane work: environment, project, provider, store."""
        c = self.config
        return f"environment {c.environment} · project {c.project} · {c.use} · {self.store.url_shown}"

    def close(self) -> None:
        """Close the control and the store."""
        if "control" in self.__dict__:
            self.control.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
