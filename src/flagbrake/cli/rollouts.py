"""``flagbrake rollout`` and ``flagbrake engine``."""

from __future__ import annotations

import signal
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flagbrake.errors import InvalidInput
from flagbrake.model.flag import Distribution
from flagbrake.model.values import percent_of

if TYPE_CHECKING:
    from flagbrake.cli.session import Session
    from flagbrake.model.flag import Flag
    from flagbrake.rollout.service import RolloutStatus
    from flagbrake.store.rollouts import RolloutEvent

app = typer.Typer(help="Start, watch and steer rollouts.", no_args_is_help=True, rich_markup_mode=None)

Key = Annotated[str, typer.Argument(help="The flag's key, or the rollout's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]
Ticks = Annotated[int | None, typer.Option("--ticks", help="Stop after so many ticks.", min=1)]


def register(app: typer.Typer) -> None:
    """Add the commands that stand alone."""
    app.command("engine")(engine)


@app.command("start")
def start(
    context: typer.Context,
    flag: Annotated[str | None, typer.Argument(help="The flag's key; or give --plan.")] = None,
    canary: Annotated[str | None, typer.Argument(help="The variant to roll out.")] = None,
    plan: Annotated[Path | None, typer.Option("--plan", help="A plan in TOML.")] = None,
    baseline: Annotated[str | None, typer.Option("--baseline", help="Compared with; the one served now.")] = None,
    steps: Annotated[str | None, typer.Option("--steps", help="Percentages; 1,5,25,50,100.")] = None,
    bake: Annotated[str | None, typer.Option("--bake", help="Shortest time on each step; 10m.")] = None,
    interval: Annotated[str | None, typer.Option("--interval", help="Length of an analysis window; 30s.")] = None,
    settle: Annotated[str | None, typer.Option("--settle", help="Wait for runs still open at its end; 30s.")] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="Chance of a false rollback; 0.01.")] = None,
    here: Annotated[bool, typer.Option("--here", help="Run the engine in this process.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Take over from the flag's active rollout.")] = False,
    ticks: Ticks = None,
    reason: Reason = "",
) -> None:
    """Start a rollout. Without a live engine it refuses, unless --here."""
    from flagbrake.rollout.plan import Plan

    session: Session = context.obj
    session.say_where()
    if plan is not None:
        made = Plan.from_toml(plan)
    elif flag is not None and canary is not None:
        found = baseline or _baseline(session.plane.control.read(flag).flag, canary)
        made = Plan.from_options(
            flag, canary, found, steps=steps, bake=bake, interval=interval, settle=settle, alpha=alpha
        )
    else:
        raise InvalidInput(
            "Which flag, and which variant?", cure="flagbrake rollout start FLAG VARIANT, or --plan FILE"
        )
    session.confirm(f"roll out {made.canary} of {made.flag}")
    row = session.plane.rollouts.start(made, by=session.by, reason=reason, here=here, replace=replace)
    session.out.line(
        f"{session.plane.config.environment}: rollout {row.id} of {made.flag}: {made.canary} against {made.baseline}, "
        f"steps {', '.join(percent_of(s.share) for s in made.steps)} %"
    )
    session.out.data(rollout=row.id)
    if here:
        _loop(session, ticks, until=row.id)
        _show(session, session.plane.rollouts.status(row.id))


@app.command("status")
def status(
    context: typer.Context,
    flag: Annotated[
        str | None, typer.Argument(help="A flag's key or a rollout's id; all active ones unless given.")
    ] = None,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Follow it until it ends; Ctrl-C leaves.")] = False,
) -> None:
    """Where rollouts stand, what the judge sees, and when the engine last looked."""
    session: Session = context.obj
    session.say_where()
    service = session.plane.rollouts
    alarm = session.plane.watchdog().check(session.plane.store.clock.now())
    if alarm:
        session.out.warn(f"{alarm}. Try: flagbrake engine")
    if flag is None:
        found = service.all()
        for one in found:
            _show(session, one)
        if not found:
            session.out.line("No active rollout. Try: flagbrake rollout start FLAG VARIANT")
        session.out.data(rollouts=[asdict(one) for one in found], alarm=alarm)
        return
    one = service.status(flag)
    if watch and not session.as_json:
        one = _follow(session, one)
    _show(session, one)
    session.out.data(rollout=asdict(one), alarm=alarm)


@app.command("pause")
def pause(context: typer.Context, flag: Key, reason: Reason = "") -> None:
    """Hold the rollout where it is; the judge goes on looking."""
    _steer(context, "pause", flag, reason)


@app.command("resume")
def resume(context: typer.Context, flag: Key, reason: Reason = "") -> None:
    """Go on after a pause."""
    _steer(context, "resume", flag, reason)


@app.command("promote")
def promote(
    context: typer.Context,
    flag: Key,
    full: Annotated[bool, typer.Option("--full", help="All the way, not only the next step.")] = False,
    reason: Reason = "",
) -> None:
    """Go to the next step now."""
    _steer(context, "promote", flag, reason, full=full)


@app.command("abort")
def abort(context: typer.Context, flag: Key, reason: Reason = "") -> None:
    """Stop, and put back what was served before."""
    _steer(context, "abort", flag, reason)


def _steer(context: typer.Context, verb: str, flag: str, reason: str, **more: Any) -> None:
    session: Session = context.obj
    session.say_where()
    if verb in {"resume", "promote"}:
        session.confirm(f"{verb} the rollout of {flag}")
    found = getattr(session.plane.rollouts, verb)(flag, by=session.by, reason=reason, **more)
    _show(session, found)
    session.out.data(rollout=asdict(found))


def engine(
    context: typer.Context,
    ticks: Ticks = None,
) -> None:
    """Drive all rollouts of this environment until stopped. Run as many as you like: one leads, the rest stand by."""
    session: Session = context.obj
    session.say_where()
    session.out.news(f"Ticking every {session.plane.config.engine_interval:g} s; Ctrl-C stops.")
    _loop(session, ticks)


def _loop(session: Session, ticks: int | None, *, until: str | None = None) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def told(flag: str, rollout: str, event: RolloutEvent) -> None:
        # The judge counts in windows: a line for each would bury what it decided.
        if event.kind != "window":
            by = "" if event.by == "engine" else f"  (by {event.by})"
            session.out.news(
                f"{event.at:%Y-%m-%d %H:%M:%S} UTC  {flag} {rollout}  rollout-{event.kind}  {event.message}{by}"
            )

    session.plane.drive(stop, ticks=ticks, until=until, told=told)


def _follow(session: Session, one: RolloutStatus) -> RolloutStatus:
    from rich.live import Live
    from rich.text import Text

    stop = threading.Event()
    with Live(console=session.out.console, auto_refresh=False, transient=True) as live:
        while not one.terminal:
            live.update(Text("\n".join(lines_of(one))), refresh=True)
            if stop.wait(1.0):
                break
            one = session.plane.rollouts.status(one.id)
    return one


def _show(session: Session, one: RolloutStatus) -> None:
    for line in lines_of(one):
        session.out.line(line)


def lines_of(one: RolloutStatus) -> list[str]:
    """A rollout's status in plain words."""
    step = f"step {one.step + 1} of {len(one.steps)}" if one.step >= 0 else "not begun"
    stage = f", {one.stage.value}" if one.stage.value else ""
    lines = [
        f"{one.environment}: {one.flag} {one.id}: {one.phase.value}{stage}",
        f"  {one.canary} has {one.percent} % ({step}: {', '.join(one.steps)} %), against {one.baseline}",
    ]
    if one.words:
        lines.append(f"  {one.words}")
    if one.blind:
        lines.append(f"  the judge is blind: {one.blind}")
    for check in one.assessments:
        tally = dict(check.get("tally") or {})
        counts = ""
        if tally.get("canary"):
            counts = (
                f": {one.canary} {tally['canary_bad']} bad of {tally['canary']}, "
                f"{one.baseline} {tally['baseline_bad']} of {tally['baseline']}"
            )
        evidence = check.get("evidence") if counts and tally["canary"] else None
        told = f"; evidence {evidence:.3g}" if isinstance(evidence, (int, float)) else ""
        lines.append(f"  check {check.get('check', check.get('metric', ''))}: {check['verdict']}{counts}{told}")
    if not one.terminal:
        ticked = "never" if one.last_tick_age is None else f"{one.last_tick_age:.0f} s ago"
        alive = "live" if one.engine_live else "NOT RUNNING"
        lines.append(f"  engine {alive}, last tick {ticked}")
    return lines


def _baseline(flag: Flag, canary: str) -> str:
    if isinstance(flag.default, Distribution):
        served = [w.variant for w in flag.default.weights if w.variant != canary and w.share]
    else:
        served = [flag.default] if flag.default != canary else []
    if len(served) != 1:
        told = " or ".join(name for name in flag.variant_names if name != canary)
        raise InvalidInput(f"What {canary} of {flag.key} is compared with is not clear.", cure=f"--baseline {told}")
    return served[0]
