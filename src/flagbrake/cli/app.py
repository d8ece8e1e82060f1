"""The commands, put together."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flagbrake._version import __version__
from flagbrake.cli import adapter, emulate, flags, kills, rollouts, system
from flagbrake.cli.session import Session, hoist
from flagbrake.errors import FlagbrakeError, InvalidInput

# typer carries its own copy of click; its public BadParameter leads to the base of all usage errors.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

EVERYWHERE = (
    "Everywhere: --config FILE, -e/--environment NAME, --by PERSON, --json, -y/--yes (answers what is asked before a "
    "change in production; a kill asks nothing)."
)

app = typer.Typer(
    name="flagbrake",
    help="Feature flags with a brake: flags, kills and rollouts over any provider.",
    epilog=EVERYWHERE,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.add_typer(flags.app, name="flag", epilog=EVERYWHERE)
app.add_typer(rollouts.app, name="rollout", epilog=EVERYWHERE)
app.add_typer(system.store_app, name="store", epilog=EVERYWHERE)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Feature flags with a brake: flags, kills and rollouts over any provider."""
    if version:
        typer.echo(f"flagbrake {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


kills.register(app)
system.register(app)
rollouts.register(app)
adapter.register(app)
emulate.register(app)


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code."""
    values, rest = hoist(argv)
    session = Session(
        config=_text(values, "--config", "-c"),
        environment=_text(values, "--environment", "-e"),
        by=_text(values, "--by") or "",
        as_json="--json" in values,
        yes="--yes" in values or "-y" in values,
    )
    command = typer.main.get_command(app)
    try:
        result: Any = command.main(rest, prog_name="flagbrake", standalone_mode=False, obj=session)
    except _UsageError as error:
        text = str(getattr(error, "format_message", error.__str__)())
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(text)
            return 0
        raise InvalidInput(_sentence(text), cure=_help_of(error)) from None
    except FlagbrakeError as error:
        told = {"kind": type(error).__name__, "fact": error.fact, "cure": error.cure, "exit_code": error.exit_code}
        session.out.data(error=told)
        raise
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        return 130
    finally:
        session.close()
    return result if isinstance(result, int) else 0


def _text(values: dict[str, str | bool], *names: str) -> str | None:
    return next((str(values[name]) for name in names if name in values), None)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _help_of(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context else "flagbrake --help"
