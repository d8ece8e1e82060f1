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
from flagbrake.control.deadlines import Job, Overdue
from flagbrake.control.flag_lane import FlagKillLane
from flagbrake.control.switch import KillSwitch
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import ConfigError, FlagbrakeError, InvalidInput, NotFound
from flagbrake.evaluate import Ruleset
from flagbrake.model.codec import checksum, declaration_to_data, manifest_from_data
from flagbrake.model.manifest import Declaration, Manifest
from flagbrake.model.reserved import manifest_flag
from flagbrake.ports.adapter import Adapter, StoreAccess
from flagbrake.ports.clock import SystemClock
from flagbrake.ports.control import FlagControl
from flagbrake.ports.notify import Notifier
from flagbrake.ports.provider import FlagProvider
from flagbrake.store import Store, open_store
from flagbrake.wiring.settings import adapter_of, adapter_settings, configuration, declared

if TYPE_CHECKING:
    from flagbrake.rollout.engine import Engine, Told
    from flagbrake.rollout.service import RolloutService
    from flagbrake.rollout.watchdog import Watchdog
    from flagbrake.store.audit import AuditEntry

_log = logging.getLogger("flagbrake.wiring")
#: Seconds between two looks at pending lanes and expired kills.
_CARE: Final = 10.0
#: Seconds to wait, by level, for declarations that the vendor holds; without a store there are no others.
_MANIFEST: Final = (1.5, 0.5)


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

    Without a store and with ``single_controller = true`` this is level 0: lock, journal and audit stand in a
    file of this machine, kills in the vendor's own flags.

    Raises:
        ConfigError: settings that cannot be used, no store, or no tables (``flagbrake init``).
        StoreUnavailable: the database did not answer.
    """
    settings = configuration(config, admin=True, environment=environment, use=use)
    adapter = adapter_of(settings, admin=True)
    url = settings.database()
    if url is None and not settings.single_controller:
        raise ConfigError(
            f"'{settings.use}' keeps no kills and no audit, and no store is configured.",
            cure='[store] url = "sqlite:///flagbrake.db"; or single_controller = true, if nobody else writes here',
        )
    level = 1 if url else 0
    store = open_store(
        url or _records(settings),
        project=settings.project,
        environment=settings.environment,
        create=create or not level,
    )
    return ControlPlane(settings, adapter, store, level=level)


def _records(settings: Config) -> str:
    """The local database of a controller without a store, one per project and vendor."""
    name = checksum(f"{settings.base}\n{settings.project}\n{settings.use}")
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{settings.state_dir} cannot be made ({error.strerror}).", cure="state_dir = ...") from error
    return f"sqlite:///{settings.state_dir / f'controller-{name}.db'}"


class ControlPlane:
    """Everything that writes: one environment of one provider, with its store.

    ``control`` reads flags, ``writer`` writes them (locked, compared, verified), ``switch`` kills and
    restores, ``rollouts`` starts and steers rollouts. At ``level`` 0 the store is a file of this machine, where
    the lock, the audit and the journal are; no process reads it.
    """

    def __init__(self, settings: Config, adapter: Adapter, store: Store, *, level: int = 1) -> None:
        self.config = settings
        self.store = store
        self.level = level
        self._from_vendor = Manifest()
        self._adapter = adapter

    @cached_property
    def control(self) -> FlagControl:
        """The provider's management side."""
        access = StoreAccess(self.store) if self.level else None
        return self._adapter.control(adapter_settings(self.config, access))

    def data_plane(self) -> FlagProvider:
        """The provider that an agent with these settings has, bare and not started."""
        access = StoreAccess(self.store) if self.level else None
        return self._adapter.provider(adapter_settings(self.config, access))

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
        ours = self.control.audits_itself
        flags = FlagKillLane(
            self.writer,
            environment=self.config.environment,
            journal=self.store.audit,
            keys=self.store.flags.keys if ours else None,
            clock=self.store.clock,
        )
        if self.level == 0:
            return KillSwitch.without_store(
                self.store,
                flags,
                writer=self.writer,
                manifest=self.manifest,
                notifiers=self.notifiers,
                vendor_off=self.config.kill_vendor_off,
            )
        return KillSwitch.over(
            self.store,
            writer=self.writer,
            manifest=self.manifest,
            notifiers=self.notifiers,
            lanes=(flags,) if self.config.kill_flags else (),
            vendor_off=self.config.kill_vendor_off,
            # Processes obey these flags whether we write them or not, so we show and lift them.
            watched=() if self.config.kill_flags else (flags,),
        )

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

    def drive(
        self, stop: threading.Event, *, ticks: int | None = None, until: str | None = None, told: Told | None = None
    ) -> None:
        """Be the engine, and finish what lanes and expiries have left over.

        Args:
            stop: ends it.
            ticks: ends it after so many.
            until: ends it when this rollout is over.
            told: hears of what happens in each rollout.
        """
        self.engine.told = told
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
        """All declarations as processes see them: the store's, then the vendor's manifest flag, then the file's."""
        # Beside the store's: a vendor that is slow must delay no kill by more than a moment.
        vendors = Job("manifest-flag", self._vendor_manifest)
        stored = {}
        for row in self.store.manifest.all():
            try:
                stored[row.key] = row.decode()
            except InvalidInput as error:
                _log.error("The declaration of %s cannot be read and is left out: %s", row.key, error)
        try:
            self._from_vendor = vendors.result(within=_MANIFEST[self.level])
        except (FlagbrakeError, OSError, Overdue) as error:
            _log.warning("the declarations in the vendor's flag could not be read: %s", error)
        return declared(self.config).merged(self._from_vendor).merged(Manifest(MappingProxyType(stored)))

    def _vendor_manifest(self) -> Manifest:
        key = manifest_flag(dot=self.control.reserved_dot)
        try:
            flag = self.control.read(key).flag
        except NotFound:
            return Manifest()
        if flag.archived or not flag.on:
            return Manifest()
        served = flag.variant(flag.default) if isinstance(flag.default, str) else None
        manifest, bad = manifest_from_data(served.value if served else None, where=key)
        for error in bad:
            _log.error("%s The entry is left out.", error)
        return manifest

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
        segments = {segment.key: segment for segment in self.control.segments()}
        return Ruleset(flags, segments, clock=SystemClock().now)

    def place(self) -> str:
        """Where commands of this plane work: environment, project, provider, store."""
        c = self.config
        records = f"level 0, records in {self.store.url_shown}" if self.level == 0 else self.store.url_shown
        return f"environment {c.environment} · project {c.project} · {c.use} · {records}"

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
