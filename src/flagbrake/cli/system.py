"""``init``, ``doctor``, ``history``, ``engine``, ``demo``, ``store grants``."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flagbrake import config as configuration
from flagbrake.cli.output import age
from flagbrake.errors import FlagbrakeError, InvalidInput, NotFound, Unsupported
from flagbrake.model.state import Capability, Support
from flagbrake.model.values import percent_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flagbrake.cli.session import Session
    from flagbrake.model.history import VendorEntry
    from flagbrake.wiring.health import Finding

_SHORT: Final = 60

store_app = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("init")(init)
    app.command("doctor")(doctor)
    app.command("history")(history)
    app.command("demo")(demo)


def init(
    context: typer.Context,
    url: Annotated[str | None, typer.Option("--url", help="Database; sqlite:///flagbrake.db unless given.")] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Serve feature_flags, kill_switches and agent_logs in place.")
    ] = False,
) -> None:
    """Write flagbrake.toml and create or upgrade the database."""
    session: Session = context.obj
    path = Path(session.config or configuration.FILE).absolute()
    fresh = not path.exists()
    if fresh:
        _write_settings(path, session.environment or "development", url)
        session.config = str(path)
    elif url is not None:
        raise InvalidInput(
            f"{path} exists, and init does not change it.", cure="set [store] url there, or another --config"
        )
    else:
        session.config = str(path)
    try:
        plane = session.open(create=True)
    except FlagbrakeError:
        if fresh:
            # A file that names a store that cannot be used would stand in the way of the next try.
            path.unlink(missing_ok=True)
        raise
    if fresh:
        session.out.line(f"Wrote {path}")
    session.say_where()
    session.out.line("The store is ready.")
    if adopt:
        from flagbrake.store.adopt import adopt as adopt_tables

        found = adopt_tables(plane.store)
        session.out.line(f"Adopted: {', '.join(found)}.")
        session.out.data(adopted=list(found))
    else:
        session.out.line("Next: flagbrake flag create new-search")
    session.out.data(config=str(path))


def _write_settings(path: Path, environment: str, url: str | None) -> None:
    from urllib.parse import urlsplit

    shown = url or configuration.DEFAULT_STORE
    if urlsplit(shown).password:
        raise InvalidInput(
            "The URL holds a password, which does not belong in a file.",
            cure='put it in an environment variable and write url = { env = "NAME" } in flagbrake.toml',
        )
    text = (
        "# Settings of flagbrake; every key: docs/reference/configuration.md\n"
        'use = "sql"                     # the provider; this line is the whole swap\n'
        f'environment = "{environment}"\n\n[store]\nurl = "{shown}"\n'
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error.strerror}).", cure="another folder") from error


def doctor(
    context: typer.Context,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the vendor too: keys, environment, permissions. Writes nothing.")
    ] = False,
    selftest: Annotated[
        bool,
        typer.Option(
            "--selftest", help="With --live: create, ramp, turn off, restore and archive the flag flagbrake-selftest."
        ),
    ] = False,
) -> int:
    """What works, what does not, and what to do about it."""
    session: Session = context.obj
    from flagbrake.wiring.health import examine, unopened

    processes, level = 0, 1
    found: list[Finding] = []
    try:
        session.say_where()
        if selftest:
            session.confirm("the self-test makes a flag of its own")
        _say(session, found, examine(session.plane))
        processes, level = len(session.plane.store.processes.live()), session.plane.level
        if live or selftest:
            from flagbrake.wiring.live import examine_live

            _say(session, found, examine_live(session.plane, selftest=selftest))
    except InvalidInput:
        raise
    except FlagbrakeError as error:
        _say(session, found, unopened(error, session.config, session.environment))
    session.out.data(
        findings=[{"level": f.level, "subject": f.subject, "text": f.text, "cure": f.cure} for f in found],
        live=processes,
        level=level,
    )
    return 1 if any(f.level == "failure" for f in found) else 0


def _say(session: Session, found: list[Finding], findings: Iterable[Finding]) -> None:
    """Print each finding as it is made, and keep it. What stands in the way of several is told once."""
    for finding in findings:
        if finding.level == "failure" and any(finding.text == told.text for told in found):
            found.append(finding)
            continue
        mark = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}[finding.level]
        style = {"ok": None, "warning": "yellow", "failure": "bold red"}[finding.level]
        session.out.line(f"{mark}  {finding.text}" + (f" Try: {finding.cure}" if finding.cure else ""), style=style)
        found.append(finding)


def history(
    context: typer.Context,
    subject: Annotated[
        str | None, typer.Argument(help="A flag, a scope or a rollout; everything unless given.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="How many entries.", min=1)] = 20,
) -> None:
    """Who did what, when and why; the audit chain is verified on the way.

    A flag's history ends with the vendor's own log, in which changes made elsewhere stand too.
    """
    session: Session = context.obj
    session.say_where()
    audit = session.plane.store.audit
    entries = session.plane.history(subject, limit=limit)
    broken = audit.verify()
    session.out.table(
        ("when", "who", "what", "subject", "change", "why"),
        [(f"{age(e.at)} ago", e.by, e.action, e.subject, change_of(e.before, e.after), e.reason) for e in entries],
        empty=f"Nothing recorded about {subject}." if subject else "Nothing recorded yet.",
    )
    if broken is not None:
        session.out.warn(f"the audit chain is broken at entry {broken}: somebody changed the table")
    vendor = _vendor_history(session, subject, limit) if subject else []
    if vendor:
        session.out.line(f"\n{session.plane.control.name} itself says:")
        rows = [(f"{age(e.at)} ago", e.by, e.action, e.reason) for e in vendor]
        session.out.table(("when", "who", "what", "why"), rows, empty="")
    session.out.data(entries=[asdict(e) for e in entries], chain_broken_at=broken, vendor=[asdict(e) for e in vendor])


def _vendor_history(session: Session, subject: str, limit: int) -> list[VendorEntry]:
    """What was changed elsewhere stands in the vendor's own log only; where that log is ours there is one."""
    control = session.plane.control
    key = subject.removeprefix("flag:")
    if control.audits_itself or ":" in key or control.capabilities.get(Capability.AUDIT) is not Support.FULL:
        return []
    try:
        return list(islice(control.history(key, limit), limit))
    except (NotFound, Unsupported):
        return []
    except FlagbrakeError as error:
        session.out.warn(f"the log of '{control.name}' could not be read: {error}")
        return []


def change_of(before: Any, after: Any) -> str:
    """What an audit entry changed of a flag, field by field; empty for one that changed none."""
    if not isinstance(before, dict) or not isinstance(after, dict) or "variants" not in after:
        return ""
    names = [name for name in after if name != "version" and before.get(name) != after[name]]
    return "; ".join(f"{name} {_short(before.get(name))} -> {_short(after[name])}" for name in names)


def _short(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("split"), list):
        return ", ".join(f"{w['variant']} {percent_of(w['share'])} %" for w in value["split"])
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


def demo(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep everything here instead of a temporary folder.")
    ] = None,
    capture: Annotated[Path | None, typer.Option("--capture", help="Write the terminal as an SVG file.")] = None,
) -> int:
    """The main job in under two minutes: a rollout that rolls itself back, a kill, a restore."""
    from flagbrake.demo.story import tell

    return tell(directory=directory, capture=capture)


@store_app.command("grants")
def grants(
    context: typer.Context,
    role: Annotated[str, typer.Option("--role", help="The database role that agents connect as.")] = "flagbrake_agent",
) -> None:
    """Print the SQL of the restricted role: read flags and kills, insert outcomes and acknowledgements."""
    session: Session = context.obj
    from flagbrake.store.grants import grants as grants_of

    text = grants_of("sqlite" if session.plane.store.db.is_sqlite else "postgresql", role)
    session.out.line(text)
    session.out.data(role=role, sql=text)
