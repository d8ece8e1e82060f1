"""``kill``, ``kills``, ``restore``: for a tired operator at 3 a.m."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flagbrake.cli.output import age
from flagbrake.errors import Interrupted, InvalidInput, KillFailed, KillUnheard, RestoreIncomplete
from flagbrake.model.kill import KillMode, OnExpiry
from flagbrake.model.reading import reading
from flagbrake.model.receipt import KillReceipt, LaneResult, RestoreReceipt, Took
from flagbrake.model.words import counted
from flagbrake.rollout.durations import duration

if TYPE_CHECKING:
    from flagbrake.cli.session import Session

Wait = Annotated[float | None, typer.Option("--wait", help="Seconds to wait for live processes to confirm.", min=0)]
Arm = Annotated[bool, typer.Option("--arm", help="No live process is expected; store the kill for those to come.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("kill")(kill)
    app.command("kills")(kills)
    app.command("restore")(restore)


def kill(
    context: typer.Context,
    scope: Annotated[str, typer.Argument(help="KIND:PATH (agent:refunds), a flag's key, or *.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; everybody will see it.")] = "",
    mode: Annotated[KillMode, typer.Option("--mode", help="How strictly.")] = KillMode.HALT,
    serve: Annotated[str | None, typer.Option("--serve", help="Variant to serve, when none is declared.")] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="Such as 2h; it is then asked about, or stays.")
    ] = None,
    on_expiry: Annotated[OnExpiry, typer.Option("--on-expiry", help="Never a silent restore.")] = OnExpiry.ASK,
    with_dependents: Annotated[bool, typer.Option("--with-dependents", help="Flags that need it, too.")] = False,
    arm: Arm = False,
    wait: Wait = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show what it would cover, change nothing.")] = False,
) -> None:
    """Stop something, and wait until every live process has confirmed."""
    session: Session = context.obj
    session.say_where()
    plane = session.plane
    if preview:
        _show_preview(session, plane.switch.preview(scope))
        return
    with _telling(session):
        receipt = plane.switch.kill(
            scope,
            by=session.by,
            reason=reason,
            mode=mode,
            serve=serve,
            expires_in=reading(duration, expires, "--expires") if expires else None,
            on_expiry=on_expiry,
            with_dependents=with_dependents,
            arm=arm,
            wait=plane.config.kill_wait if wait is None else wait,
        )
    _show_kill(session, receipt)


def kills(context: typer.Context) -> None:
    """Everything that is killed here."""
    session: Session = context.obj
    session.say_where()
    standing = session.plane.switch.standing()
    rows = []
    for entry in standing.kills:
        notes = [f"expired {age(entry.kill.expires_at)} ago"] if entry.expired else []
        notes += [f"pending in {lane}" for lane in entry.pending]
        notes += ["being lifted"] if entry.lifting else []
        notes += ["unreadable: counts as killed"] if entry.kill.corrupt else []
        rows.append(
            (
                entry.kill.scope,
                entry.kill.mode.value,
                f"{age(entry.kill.at)} ago",
                entry.kill.by,
                entry.kill.reason,
                ", ".join(notes),
            )
        )
    session.out.table(("scope", "mode", "since", "by", "why", "note"), rows, empty="Nothing is killed here.")
    for lane, why in standing.unread:
        session.out.warn(f"the lane {lane} could not be read: {why}")
    session.out.data(kills=[_data(entry) for entry in standing.kills], unread=dict(standing.unread))


def restore(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Argument(help="A killed scope or a kill's id; lists them unless given.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why it may run again.")] = "",
    lift_only: Annotated[bool, typer.Option("--lift-only", help="Keep what was edited meanwhile.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Put back what was there before the kill.")] = False,
    wait: Wait = None,
) -> None:
    """Bring back exactly what was there before a kill."""
    session: Session = context.obj
    if target is None:
        kills(context)
        return
    session.say_where()
    if not reason.strip():
        raise InvalidInput("A restore needs a reason.", cure='--reason "fixed in v2.1"')
    session.confirm(f"restore {target}")
    plane = session.plane
    with _telling(session):
        receipt = plane.switch.restore(
            target,
            by=session.by,
            reason=reason,
            lift_only=lift_only,
            overwrite=overwrite,
            wait=plane.config.kill_wait if wait is None else wait,
        )
    _show_restore(session, receipt)


@contextmanager
def _telling(session: Session) -> Iterator[None]:
    """A kill or restore that is no success still tells what each lane said and who confirmed."""
    try:
        yield
    except Interrupted as interrupt:
        _show_receipt(session, interrupt.receipt)
        session.out.warn(f"Interrupted. {interrupt}")
        raise
    except KeyboardInterrupt:
        session.out.warn("Interrupted: it may be done already, and may still be. Try: flagbrake kills")
        raise
    except (KillFailed, KillUnheard, RestoreIncomplete) as error:
        if error.receipt is not None:
            _show_receipt(session, error.receipt)
        raise


def _show_receipt(session: Session, receipt: KillReceipt | RestoreReceipt) -> None:
    _show_lanes(session, receipt.lanes)
    if receipt.hearing.live:
        session.out.line(f"  confirmed by {receipt.hearing}")
    session.out.data(receipt=_data(receipt))


def _show_preview(session: Session, preview: Any) -> None:
    out = session.out
    out.line(f"{preview.environment}: killing {preview.scope} would cover")
    covered = preview.covered or ()
    out.table(("flag", "would serve"), [(c.flag, c.serves) for c in covered], empty="  no flag")
    for dependent in preview.dependents or ():
        out.line(f"  {dependent.flag} needs {dependent.needs}; --with-dependents kills it too")
    live = preview.live
    who = "nobody knows who" if live is None else counted(len(live), "live process")
    out.line(f"{who} would confirm")
    for warning in preview.warnings:
        out.warn(warning)
    out.data(preview=_data(preview))


def _show_kill(session: Session, receipt: KillReceipt) -> None:
    out, place = session.out, receipt.environment
    for entry in receipt.kills:
        out.line(
            f"{place}: {entry.scope} is killed ({entry.mode.value}), {entry.id}"
            + (f", epoch {entry.epoch}" if receipt.hearing.reported else ""),
            style="bold",
        )
    for covered in receipt.covered or ():
        out.line(f"  {covered.flag} serves {covered.serves}")
    _show_lanes(session, receipt.lanes)
    out.line(f"  confirmed by {receipt.hearing}" if receipt.hearing.live else f"  {receipt.hearing}")
    for text in (*receipt.doubts, *receipt.warnings, *_undelivered(receipt)):
        out.warn(text)
    out.data(receipt=_data(receipt))


def _show_restore(session: Session, receipt: RestoreReceipt) -> None:
    out, place = session.out, receipt.environment
    for entry in receipt.kills:
        out.line(f"{place}: {entry.scope} is restored ({entry.id} lifted)", style="bold")
    for flag in receipt.overwritten:
        out.line(f"  {flag}: the definition from before the kill is back")
    for other in receipt.still_killed:
        out.warn(f"{other.scope} is still killed: {other.reason} ({other.id})")
    _show_lanes(session, receipt.lanes)
    out.line(f"  confirmed by {receipt.hearing}" if receipt.hearing.live else f"  {receipt.hearing}")
    for text in (*receipt.warnings, *_undelivered(receipt)):
        out.warn(text)
    out.data(receipt=_data(receipt))


def _show_lanes(session: Session, lanes: tuple[LaneResult, ...]) -> None:
    for lane in lanes:
        took = f"in {lane.ms:.0f} ms" if lane.ms is not None else lane.detail
        state = {Took.TOOK: "took it", Took.PENDING: "PENDING", Took.FAILED: "FAILED"}[lane.took]
        session.out.line(f"  lane {lane.lane}: {state} {took}".rstrip())


def _undelivered(receipt: KillReceipt | RestoreReceipt) -> list[str]:
    return [f"the notifier {n.notifier} failed: {n.detail}" for n in receipt.notices if not n.delivered]


def _data(thing: Any) -> dict[str, Any]:
    return asdict(thing)
