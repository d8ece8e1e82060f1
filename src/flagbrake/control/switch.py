"""The kill switch: one object with every verb about kills."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flagbrake.control import killing, leftovers, prior, restoring
from flagbrake.control.aim import look_around, take_aim
from flagbrake.control.coverage import covered, dependents
from flagbrake.control.deadlines import Overdue, call
from flagbrake.control.hearing import Nobody, look, name_of
from flagbrake.control.plane import Deadlines, Plane, Survey, reason_of
from flagbrake.control.prior import Prior
from flagbrake.control.vendor_off import Held, VendorOffLane
from flagbrake.control.writer import FlagWriter
from flagbrake.errors import FlagbrakeError, NotFound
from flagbrake.model.kill import Kill, KillMode, OnExpiry, Scope
from flagbrake.model.manifest import Manifest
from flagbrake.model.receipt import KillReceipt, LaneResult, Preview, RestoreReceipt, Standing
from flagbrake.ports.clock import Clock
from flagbrake.ports.kills import KillLane
from flagbrake.ports.notify import Notifier

if TYPE_CHECKING:
    from flagbrake.store import Store

#: A kill and a restore wait so many seconds for acknowledgements, unless said otherwise.
WAIT: Final = 10.0


class KillSwitch:
    """Kills and restores in one environment, over all its lanes at once. Threads may share it."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    @classmethod
    def over(  # noqa: PLR0913 - one name per part, all but three optional
        cls,
        store: Store,
        *,
        writer: FlagWriter,
        manifest: Callable[[], Manifest],
        notifiers: Sequence[Notifier] = (),
        lanes: Sequence[KillLane] = (),
        watched: Sequence[KillLane] = (),
        vendor_off: bool = False,
        clock: Clock | None = None,
        deadlines: Deadlines | None = None,
    ) -> KillSwitch:
        """The switch of a store's environment.

        ``lanes`` are those besides the store's own, ``watched`` those that are only read and lifted;
        ``vendor_off`` adds the one that also switches the vendor's flags off (never where the store itself is
        the vendor).
        """
        if vendor_off and not writer.control.audits_itself:
            off = VendorOffLane(
                writer,
                environment=store.environment,
                manifest=manifest,
                journal=store.audit,
                standing=store.kills.read,
                clock=clock or store.clock,
            )
            lanes = (*lanes, off)
        else:
            off = None

        def kept(kill_id: str) -> Sequence[Prior] | None:
            # The store keeps its own flags with a kill; those of a vendor are another matter.
            return _kept_by(store, kill_id) if writer.control.audits_itself else None

        return cls(
            Plane(
                environment=store.environment,
                store=store.url_shown,
                lanes=(store.kills, *lanes),
                listeners=store.processes,
                audit=store.audit,
                manifest=manifest,
                control=writer.control,
                writer=writer,
                notifiers=notifiers,
                keys=store.flags.keys if writer.control.audits_itself else None,
                kept=kept,
                held=off.held if off is not None else _nothing_held,
                clock=clock or store.clock,
                deadlines=deadlines or Deadlines(),
                watched=watched,
                unwritten=lambda: store.environment not in store.environments(),
            )
        )

    @classmethod
    def without_store(
        cls,
        records: Store,
        lane: KillLane,
        *,
        writer: FlagWriter,
        manifest: Callable[[], Manifest],
        notifiers: Sequence[Notifier] = (),
        vendor_off: bool = False,
    ) -> KillSwitch:
        """The switch of level 0: kills go to ``lane`` and nobody acknowledges; ``records`` keeps the audit."""
        off = VendorOffLane(
            writer,
            environment=records.environment,
            manifest=manifest,
            journal=records.audit,
            standing=lane.read,
            clock=records.clock,
        )
        return cls(
            Plane(
                environment=records.environment,
                store=writer.control.name,
                lanes=(lane, off) if vendor_off else (lane,),
                listeners=Nobody(),
                audit=records.audit,
                manifest=manifest,
                control=writer.control,
                writer=writer,
                notifiers=notifiers,
                held=off.held if vendor_off else _nothing_held,
                clock=records.clock,
                acknowledged_in="",
            )
        )

    def kill(  # noqa: PLR0913 - one command with its options, all named
        self,
        target: str | Scope,
        *,
        by: str,
        reason: str,
        mode: KillMode = KillMode.HALT,
        serve: str | None = None,
        expires_in: timedelta | None = None,
        on_expiry: OnExpiry = OnExpiry.STAY,
        with_dependents: bool = False,
        arm: bool = False,
        wait: float = WAIT,
    ) -> KillReceipt:
        """Kill a scope, everywhere at once, and wait until every live process has said that it applied it.

        Args:
            target: ``kind:path``, a flag's key or a scope's path without its kind, or ``*``.
            by: the person or program.
            reason: why, for people; may be empty in an emergency.
            mode: how runs stop; ``fallback`` needs a ``flag:`` scope and ``serve``.
            serve: the variant that the flag shall serve; for a ``flag:`` scope.
            expires_in: after this time it is marked expired; it stands until a person decides.
            on_expiry: whether an expiry also asks for that decision.
            with_dependents: also kill the flags that need a killed one as a prerequisite.
            arm: nobody is expected to listen now, or the scope is one that no list shows.
            wait: seconds for the acknowledgements.

        Returns:
            A receipt, only if somebody listens and all who do have applied it (or ``arm``).

        Raises:
            NotFound: no such scope here; the nearest is named. Or no such environment: nothing was ever written in
                it, nobody listens and the vendor does not have it. Nothing was written.
            InvalidInput: several things have this name, or the options do not fit. Nothing was written.
            Unsupported: what a vendor flag cannot carry, at level 0. Nothing was written.
            Unavailable: the flag of a fallback could not be read. Nothing was written.
            KillFailed: no durable lane took it; carries the receipt.
            KillUnheard: it is stored, but nobody listens, or not everybody confirmed, or it could not be
                checked whether the scope exists; carries the receipt.
            Interrupted: Ctrl-C ended the waiting; carries the receipt as far as it was known.
        """
        order = killing.Order(target, by, reason, mode, serve, expires_in, on_expiry, with_dependents, arm, wait)
        return killing.kill(self.plane, order)

    def restore(
        self,
        target: str | Scope,
        *,
        by: str,
        reason: str,
        lift_only: bool = False,
        overwrite: bool = False,
        wait: float = WAIT,
    ) -> RestoreReceipt:
        """Lift a kill (and those of dependents killed with it), if its flags are what they were before.

        Args:
            target: a kill's id, its scope, or the scope's path. Without one: :meth:`standing`.
            by: the person: to un-kill is never automatic.
            reason: why it is safe again; required.
            lift_only: lift it and keep what was edited meanwhile.
            overwrite: put back what was there before, then lift it.
            wait: seconds for the acknowledgements.

        Raises:
            NotFound: nothing of this name is killed here.
            InvalidInput: no reason, both options, or several scopes of this path.
            Conflict: a flag was edited since (``detail`` shows the difference), or nobody knows what it was.
                Nothing was lifted.
            RestoreIncomplete: a lane still holds it, so it still stands; repeat. Carries the receipt.
            KillUnheard: it is lifted, but not every live process confirmed. Carries the receipt.
            Interrupted: Ctrl-C ended the waiting for those; carries the receipt as far as it was known.
            FlagbrakeError: a flag or the audit could not be read or written. Nothing was lifted.
        """
        return restoring.restore(self.plane, restoring.Wish(target, by, reason, lift_only, overwrite, wait))

    def standing(self) -> Standing:
        """All kills that stand here: age, expired or not, lanes, by whom and why."""
        return self.plane.standing(watched=True)

    def preview(self, target: str | Scope, *, arm: bool = False) -> Preview:
        """What a kill would cover; nothing is written.

        Raises:
            NotFound, InvalidInput: as :meth:`kill`.
        """
        plane = self.plane
        aim = take_aim(plane, target, arm=arm, flag_needed=False)
        try:
            survey = call("survey", lambda: look_around(plane, aim, prerequisites=True), within=plane.deadlines.preview)
        except (FlagbrakeError, Overdue) as error:
            survey = Survey(aim.survey.catalogue, aim.survey.states, reason_of(error))
        flags = covered(aim.scope, survey.catalogue)
        live: tuple[str, ...] | None = None
        with contextlib.suppress(FlagbrakeError, Overdue):
            found = look(plane.listeners, plane.environment, deadline=plane.deadlines.look)
            # At level 0 nobody tells: that is not the same as nobody there.
            live = tuple(sorted(name_of(process) for process in found)) if plane.acknowledged_in else None
        return Preview(
            environment=plane.environment,
            store=plane.store,
            scope=aim.scope,
            covered=flags,
            dependents=None if survey.fault else dependents((c.flag for c in flags), survey.catalogue),
            live=live,
            warnings=killing.warnings(aim, flags, survey),
        )

    def retry_pending(self) -> tuple[LaneResult, ...]:
        """Finish in every lane what people began; the engine calls it in its loop."""
        return leftovers.retry_pending(self.plane)

    def announce_expired(self) -> tuple[Kill, ...]:
        """Tell, once each, of kills whose time is over; nothing comes back."""
        return leftovers.announce_expired(self.plane)


def _nothing_held(_: Kill) -> Mapping[str, Held]:
    return {}


def _kept_by(store: Store, kill_id: str) -> Sequence[Prior] | None:
    try:
        return prior.kept(store.kills.prior(kill_id))
    except NotFound:
        return None
