"""``emulate``: a vendor on this machine, for development and tests without an account."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flagbrake.cli.session import Session


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("emulate")(emulate)


def emulate(
    context: typer.Context,
    vendor: Annotated[str, typer.Argument(help="launchdarkly, split, unleash or an in-house adapter.")],
    port: Annotated[int, typer.Option("--port", "-p", help="On loopback; 0 takes a free one.", min=0, max=65535)] = 0,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Keep its flags here; in memory only unless given.")
    ] = None,
) -> None:
    """Run a vendor on this machine until Ctrl-C, and print the settings that lead to it."""
    session: Session = context.obj
    from flagbrake import registry

    environment = session.environment or "production"
    adapter = registry.adapter(vendor)
    with _terminable(), adapter.emulator(environment=environment, port=port, file=file) as emulator:
        session.out.line(f"{vendor} is emulated at {emulator.url} (Ctrl-C ends it). Nothing leaves this machine.")
        session.out.line(f"Its flags are kept in {file}." if file else "Its flags go with it; --file FILE keeps them.")
        session.out.line("\nflagbrake.toml, for agents:\n")
        session.out.line(f"use = {_toml(vendor)}\nenvironment = {_toml(environment)}\n")
        session.out.line(_table(vendor, emulator.settings))
        session.out.line('\n[store]\nurl = "sqlite:///flagbrake.db"')
        session.out.line("\nflagbrake.admin.toml beside it, for operators and the engine:\n")
        session.out.line(_table(vendor, emulator.admin_settings))
        session.out.data(
            vendor=vendor,
            url=emulator.url,
            environment=environment,
            settings=dict(emulator.settings),
            admin_settings=dict(emulator.admin_settings),
        )
        session.out.finish()
        emulator.wait()


@contextmanager
def _terminable() -> Iterator[None]:
    """Ctrl-C and SIGTERM are how it ends, not errors."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def _table(name: str, settings: Mapping[str, Any]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in settings.items())])


def _toml(value: Any) -> str:
    """A value in TOML; strings, booleans, numbers and lists of them look as they do in JSON."""
    return json.dumps(value, ensure_ascii=False)
