"""``flagbrake flag``: list, show, create, set, target, declare, explain."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flagbrake.cli.parsing import context_of, serve_of, variants_of
from flagbrake.errors import InvalidInput
from flagbrake.kill.convention import flag_scopes
from flagbrake.model.clause import Attribute
from flagbrake.model.codec import flag_to_data
from flagbrake.model.flag import Distribution, Flag, Serve, Targets
from flagbrake.model.kill import Kill, Scope, ScopeKind
from flagbrake.model.manifest import Declaration, Manifest, ScopeAttribute
from flagbrake.model.state import Archive, Create, SetDistribution, SetOn, SetTargets
from flagbrake.model.values import percent_of
from flagbrake.model.words import counted

if TYPE_CHECKING:
    from flagbrake.cli.session import Session

app = typer.Typer(help="Read and write flags.", no_args_is_help=True, rich_markup_mode=None)

Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit.")]
Key = Annotated[str, typer.Argument(help="The flag's key.")]


@app.command("list")
def list_flags(context: typer.Context) -> None:
    """All flags of the environment."""
    session: Session = context.obj
    session.say_where()
    manifest = session.plane.manifest()
    killed = killed_flags(session)
    rows = []
    found = []
    for state in session.plane.control.states():
        flag = state.flag
        declared = manifest.get(flag.key)
        safe = (declared and declared.safe_variant) or "undeclared"
        rows.append((flag.key, flag.kind.value, state_of(flag, killed), serve_text(flag.default), safe, flag.version))
        kills = [str(kill.scope) for kill in killed(flag.key)]
        found.append({**flag_to_data(flag), "safe": declared.safe_variant if declared else None, "killed": kills})
    session.out.table(
        ("flag", "kind", "state", "serves", "safe", "version"),
        rows,
        empty="No flags yet. Try: flagbrake flag create new-search",
    )
    session.out.data(flags=found)


@app.command("show")
def show(context: typer.Context, key: Key) -> None:
    """One flag, whole."""
    session: Session = context.obj
    session.say_where()
    state = session.plane.control.read(key)
    flag = state.flag
    out = session.out
    declared = session.plane.manifest().get(key)
    killed = killed_flags(session)
    out.line(f"{flag.key}  {flag.kind.value}  {state_of(flag, killed)}  version {flag.version}")
    tell_kills(session, key, killed)
    if flag.description:
        out.line(f"  {flag.description}")
    values = {
        v.name: "" if v.name in flag.valueless else json.dumps(v.value, ensure_ascii=False) for v in flag.variants
    }
    out.table(
        ("variant", "value"), [(name, value or "the caller's default") for name, value in values.items()], empty=""
    )
    for targets in flag.targets:
        out.line(f"  target {counted(len(targets.keys), targets.kind)} -> {targets.variant}")
    for rule in flag.rules:
        out.line(f"  rule {rule.id}: {counted(len(rule.clauses), 'clause')} -> {serve_text(rule.serve)}")
    for needed in flag.prerequisites:
        out.line(f"  needs {needed.flag} = {' or '.join(needed.variants)}")
    out.line(f"  serves {serve_text(flag.default)}; off serves {flag.off_variant or 'what the caller passes in'}")
    safe = declared.safe_variant if declared and declared.safe_variant else "undeclared"
    scopes = ", ".join(str(s) for s in declared.scopes) if declared and declared.scopes else "-"
    out.line(f"  safe {safe}; scopes flag:{key}, {scopes}" if scopes != "-" else f"  safe {safe}; scope flag:{key}")
    out.data(flag=flag_to_data(flag), version=state.version, safe=declared.safe_variant if declared else None)


@app.command("create")
def create(
    context: typer.Context,
    key: Key,
    variant: Annotated[
        list[str] | None, typer.Option("--variant", help="NAME or NAME=VALUE (JSON or text); none: a boolean flag.")
    ] = None,
    default: Annotated[str | None, typer.Option("--default", help="Variant to serve; the first unless given.")] = None,
    off: Annotated[str | None, typer.Option("--off", help="Variant when off; the safe one unless given.")] = None,
    safe: Annotated[str | None, typer.Option("--safe", help="Variant to serve while killed.")] = None,
    scope: Annotated[list[str] | None, typer.Option("--scope", help="KIND:PATH that kills this flag too.")] = None,
    description: Annotated[str, typer.Option("--description", help="For people.")] = "",
    reason: Reason = "",
) -> None:
    """Create a flag, and declare what it serves while killed."""
    session: Session = context.obj
    session.say_where()
    scopes = tuple(Scope.parse(text) for text in scope or ())
    if variant:
        variants = variants_of(variant)
        names = [v.name for v in variants]
        for option, name in (("--default", default), ("--off", off), ("--safe", safe)):
            if name is not None and name not in names:
                raise InvalidInput(f"{option} '{name}' is not a variant of {key}.", cure=" or ".join(names))
        kind = _common_kind(key, variants)
        off_variant = off or safe or default or names[0]
        flag = Flag(key, kind, variants, default or names[0], off_variant=off_variant, description=description)
    else:
        flag = Flag.boolean(key, default=default or "off", description=description)
        safe = safe or "off"
        if safe not in flag.variant_names or flag.default not in flag.variant_names:
            raise InvalidInput(f"A boolean flag has the variants on and off, not '{safe}'.", cure="--safe off")
    session.confirm(f"create flag {key}")
    state = session.plane.writer.apply(Create(flag), by=session.by, reason=reason or "created")
    if safe or scopes:
        session.plane.declare(_declaration(flag, safe, scopes), by=session.by, reason=reason or "created")
    session.out.line(f"{session.plane.config.environment}: created {key}, serves {serve_text(flag.default)}")
    if not safe:
        session.out.line(
            f"  no safe variant declared. Try: flagbrake flag declare {key} --safe {flag.variant_names[0]}"
        )
    session.out.data(flag=flag_to_data(state.flag), safe=safe)


@app.command("declare")
def declare(
    context: typer.Context,
    key: Key,
    safe: Annotated[str | None, typer.Option("--safe", help="Variant to serve while killed.")] = None,
    scope: Annotated[list[str] | None, typer.Option("--scope", help="KIND:PATH that kills this flag too.")] = None,
    scope_attribute: Annotated[
        list[str] | None, typer.Option("--scope-attribute", help="KIND=ATTRIBUTE: a scope read from the context.")
    ] = None,
    reason: Reason = "",
) -> None:
    """Declare what a flag serves while killed, and which kills reach it."""
    session: Session = context.obj
    session.say_where()
    flag = session.plane.control.read(key).flag
    present = session.plane.manifest().get(key)
    safe = safe or (present.safe_variant if present else None)
    if safe is not None and flag.variant(safe) is None:
        raise InvalidInput(f"'{safe}' is not a variant of {key}.", cure=" or ".join(flag.variant_names))
    scopes = tuple(Scope.parse(text) for text in scope or ()) or (present.scopes if present else ())
    attributes = tuple(_scope_attribute(text) for text in scope_attribute or ())
    attributes = attributes or (present.scope_attributes if present else ())
    made = _declaration(flag, safe, scopes, attributes)
    session.confirm(f"declare {key}")
    session.plane.declare(made, by=session.by, reason=reason or "declared")
    told = ", ".join(str(s) for s in scopes) or "none beyond its own"
    session.out.line(
        f"{session.plane.config.environment}: {key} serves {safe or 'nothing declared'} while killed; scopes {told}"
    )
    session.out.data(flag=key, safe=safe, scopes=[str(s) for s in scopes])


@app.command("set")
def set_flag(
    context: typer.Context,
    key: Key,
    value: Annotated[list[str], typer.Argument(help="on | off | VARIANT | PERCENT (boolean) | VARIANT=PERCENT ...")],
    rule: Annotated[str | None, typer.Option("--rule", help="Change what this rule serves instead.")] = None,
    reason: Reason = "",
) -> None:
    """Turn a flag on or off, serve one variant, or split by percentage."""
    session: Session = context.obj
    session.say_where()
    before = session.plane.control.read(key)
    what = serve_of(before.flag, value)
    change: SetOn | SetDistribution
    if isinstance(what, bool):
        change = SetOn(key, what)
    else:
        change = SetDistribution(key, what, rule=rule, turn_on=not before.flag.on)
    session.confirm(f"set {key} to {' '.join(value)}")
    after = session.plane.writer.apply(change, by=session.by, reason=reason, expected=before.version)
    served = f"on, serves {serve_text(after.flag.default)}" if after.flag.on else "off"
    session.out.line(f"{session.plane.config.environment}: {key} is {served} (version {after.flag.version})")
    tell_kills(session, key, killed_flags(session))
    session.out.data(flag=flag_to_data(after.flag))


@app.command("target")
def target(
    context: typer.Context,
    key: Key,
    variant: Annotated[str, typer.Argument(help="The variant they get.")],
    units: Annotated[list[str], typer.Argument(help="Targeting keys.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take them off instead.")] = False,
    reason: Reason = "",
) -> None:
    """Give named users one variant, before any rule."""
    session: Session = context.obj
    session.say_where()
    before = session.plane.control.read(key)
    flag = before.flag
    if flag.variant(variant) is None:
        raise InvalidInput(f"'{variant}' is not a variant of {key}.", cure=" or ".join(flag.variant_names))
    named = dict.fromkeys(units)
    kept: dict[str, tuple[str, ...]] = {}
    others: list[Targets] = []
    for group in flag.targets:
        if group.kind != "user":
            others.append(group)
        else:
            kept[group.variant] = kept.get(group.variant, ()) + tuple(k for k in group.keys if k not in named)
    if not remove:
        kept[variant] = kept.get(variant, ()) + tuple(named)
    targets = (*(Targets(name, keys) for name, keys in kept.items() if keys), *others)
    session.confirm(f"target {counted(len(named), 'user')} on {key}")
    session.plane.writer.apply(SetTargets(key, targets), by=session.by, reason=reason, expected=before.version)
    done = "no longer targeted" if remove else f"get {variant}"
    session.out.line(f"{session.plane.config.environment}: {key}: {', '.join(named)} {done}")
    session.out.data(flag=key, variant=variant, units=list(named), removed=remove)


@app.command("archive")
def archive(context: typer.Context, key: Key, reason: Reason = "") -> None:
    """Archive a flag: it is not served any more, its definition and history stay."""
    session: Session = context.obj
    session.say_where()
    session.confirm(f"archive {key}")
    session.plane.writer.apply(Archive(key), by=session.by, reason=reason)
    session.out.line(f"{session.plane.config.environment}: {key} is archived")
    session.out.data(flag=key, archived=True)


@app.command("explain")
def explain(
    context: typer.Context,
    key: Key,
    user: Annotated[str | None, typer.Option("--user", help="The targeting key.")] = None,
    attribute: Annotated[list[str] | None, typer.Option("--attribute", "-a", help="NAME=VALUE (JSON or text).")] = None,
) -> None:
    """Why a user gets what they get: every rule, the bucket and its bounds."""
    session: Session = context.obj
    session.say_where()
    session.plane.control.read(key)
    explanation = session.plane.ruleset().explain(key, context_of(user, attribute or ()))
    killed = killed_flags(session)
    tell_kills(session, key, killed)
    session.out.line(explanation.render().rstrip())
    session.out.data(explanation=explanation.to_data(), killed=[str(kill.scope) for kill in killed(key)])


def killed_flags(session: Session) -> Callable[[str], list[Kill]]:
    """A question: which standing kills cover a flag, whoever asks for it?"""
    standing = [entry.kill for entry in session.plane.switch.standing().kills]
    manifest = session.plane.manifest() if standing else Manifest()

    def covering(key: str) -> list[Kill]:
        scopes = flag_scopes(key, manifest.get(key))
        return [kill for kill in standing if any(kill.scope.covers(scope) for scope in scopes)]

    return covering


def tell_kills(session: Session, key: str, killed: Callable[[str], list[Kill]]) -> None:
    """Say first what counts first: a killed flag serves its safe variant, whatever else is set."""
    declared = session.plane.manifest().get(key)
    serves = (declared and declared.safe_variant) or "its off variant (no safe one is declared)"
    for kill in killed(key):
        text = f"KILLED: {key} serves {serves} until {kill.scope} is restored: {kill.reason} (by {kill.by})"
        session.out.line(text, style="bold red")


def state_of(flag: Flag, killed: Callable[[str], list[Kill]]) -> str:
    """``on``, ``off`` or ``killed``."""
    return "killed" if killed(flag.key) else "on" if flag.on else "off"


def serve_text(serve: Serve) -> str:
    """``v1``, or ``v2 10 %, v1 90 %``."""
    if isinstance(serve, Distribution):
        return ", ".join(f"{w.variant} {percent_of(w.share)} %" for w in serve.weights)
    return serve


def _common_kind(key: str, variants: tuple[Any, ...]) -> Any:
    from flagbrake.model.values import FlagKind, kind_of

    kinds = {kind_of(v.value) for v in variants}
    if kinds == {FlagKind.INTEGER, FlagKind.FLOAT}:
        return FlagKind.FLOAT
    if len(kinds) != 1 or None in kinds:
        told = ", ".join(f"{v.name} is {kind_of(v.value) or 'null'}" for v in variants)
        raise InvalidInput(f"The variants of {key} are of different kinds: {told}.", cure="values of one kind")
    return kinds.pop()


def _declaration(
    flag: Flag, safe: str | None, scopes: tuple[Scope, ...], attributes: tuple[ScopeAttribute, ...] = ()
) -> Declaration:
    variant = flag.variant(safe) if safe else None
    if safe in flag.valueless:
        cure = " or ".join(name for name in flag.variant_names if name not in flag.valueless)
        raise InvalidInput(f"Variant '{safe}' of {flag.key} has no value, so it is not safe to serve.", cure=cure)
    return Declaration(flag.key, flag.kind, safe, variant.value if variant else None, scopes, attributes)


def _scope_attribute(text: str) -> ScopeAttribute:
    kind, equals, name = text.partition("=")
    if not equals or kind not in set(ScopeKind) or not name:
        raise InvalidInput(f"'{text}' does not say which attribute names which scope.", cure="tenant=tenantId")
    return ScopeAttribute(ScopeKind(kind), Attribute.parse(name))
